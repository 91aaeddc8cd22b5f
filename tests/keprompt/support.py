"""A stage for a real KePrompt: its workspace, a local provider that does as the prompt says, and keledger around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import orjson

from keledger.cli.demo import REDIRECT, Answer, LocalProvider, Request, ToolCall
from keledger.journal import Home, scan_journal
from keledger.journal.usage import token_totals

KELEDGER = (sys.executable, "-m", "keledger")
VERSIONS = ("3.1.0", "2.16.1", "2.14.0")
NEWEST = VERSIONS[0]

WAIT_S = 60.0
"""For what happens within milliseconds, unless the machine is very busy."""

SECRET = "sk-the-key-that-nobody-may-see"
PRIVATE = "the-words-of-the-user"

GENAI_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}


def answer(request: Request) -> Answer:
    """What the words of the user's last message ask for; without any, an answer with all kinds of tokens."""
    words = request.text.split()
    if request.tool_results == 0 and "tool" in words:
        weather = ToolCall("get_weather", {"city": "Bern"})
        delay_s = WAIT_S if "late" in words else 0
        return Answer(tool=weather, input_tokens=2_310, cache_write_tokens=2_048, delay_s=delay_s)
    if request.tool_results == 0 and "nested" in words:
        return Answer(tool=ToolCall("ask_inside"))
    for tier in ("default", "priority"):
        if tier in words:
            return Answer(service_tier=tier)
    if "slow" in words:
        return Answer(delay_s=WAIT_S)
    if "hang-up" in words:
        return Answer(hang_up=True)
    if "html" in words:
        return Answer(body=b"<html>All is well</html>")
    if "null-usage" in words:
        return Answer(body=b'{"id":"r-1","model":"gpt-5-mini","choices":[],"usage":null}')
    if "odd-usage" in words:  # good for a price, but KePrompt stumbles over the missing message
        return Answer(
            body=b'{"id":"r-2","usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12},"choices":3}'
        )
    for status in (429, 500):
        if str(status) in words:
            return Answer(status=status)
    return Answer(
        text=f"An answer to {PRIVATE}",
        input_tokens=2_402, cache_read_tokens=2_048, output_tokens=118, reasoning_tokens=64,
    )  # fmt: skip


PROMPT = """\
.prompt "name":"Ask", "version":"2.0.1", "params":{"model":"openai/gpt-5-mini","ask":"hello"%s}
.functions get_weather, ask_inside
.system Be brief.
.user <<ask>>
.exec
"""

FUNCTIONS = """\
#!/bin/sh
if [ "$1" = --list-functions ]; then
    echo '[{"name": "get_weather", "description": "Weather.", "parameters": {"type": "object", "properties": {}}},
           {"name": "ask_inside", "description": "Asks.", "parameters": {"type": "object", "properties": {}}}]'
elif [ "$1" = ask_inside ]; then
    exec sh ./inside.sh
else
    echo sunny
fi
"""

MODELS = {
    "gpt-5-mini": {"litellm_provider": "openai", "mode": "chat"},
    "claude-haiku-4-5": {"litellm_provider": "anthropic", "mode": "chat"},
    "gemini/gemini-2.5-flash": {"litellm_provider": "gemini", "mode": "chat"},
}
PRICES_OF_KEPROMPT = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


@dataclass
class Stage:
    """A workspace of KePrompt's in a folder of its own, with a provider behind it."""

    folder: Path
    provider: LocalProvider
    keprompt: Path

    def __post_init__(self) -> None:
        self.home = Home.at(self.folder / "home")
        self.workspace = self.folder / "work"
        make_workspace(self.workspace)
        self.environment = {
            name: value for name, value in os.environ.items() if name.upper() not in FOREIGN_VARIABLES
        } | {
            "KELEDGER_HOME": str(self.home.path),
            "KELEDGER_LOCAL_PROVIDER": self.provider.url,
            "PYTHONPATH": str(REDIRECT),
            "OPENAI_API_KEY": SECRET,
            "ANTHROPIC_API_KEY": SECRET,
            "GEMINI_API_KEY": SECRET,
            "COLUMNS": "200",
        }

    def chat(self, ask: str, *settings: str) -> list[str]:
        """The command of a new chat."""
        return [str(self.keprompt), "chat", "new", "--prompt", "ask", "--json", "--set", f"ask={ask}", *settings]

    def reply(self, chat_id: str, ask: str, *settings: str) -> list[str]:
        """The command that goes on with a chat."""
        return [
            str(self.keprompt),
            "chat",
            "reply",
            chat_id,
            ask,
            "--json",
            *(("--set", *settings) if settings else ()),
        ]

    def watched(self, command: list[str], *options: str) -> list[str]:
        """A command under ``keledger run``."""
        return [*KELEDGER, "run", *options, "--", *command]

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command, cwd=self.workspace, env={**self.environment, **environment}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=WAIT_S * 4,
        )  # fmt: skip

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command in a session of its own, so that signals can be sent to it as a terminal does."""
        options = {"start_new_session": True} | options
        return subprocess.Popen(
            command, cwd=self.workspace, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def calls(self) -> list[dict[str, Any]]:
        """The ``data`` of every call that was made, in the journal's order; with the type of its event."""
        return [event for event in events_of(self.home) if event["type"] in ("call.completed", "call.failed")]

    def check_against_provider(self) -> None:
        """Every answer with a usage object is journaled once, with these tokens, at genai-prices' price."""
        journaled = {call["response_id"]: call for call in self.calls() if "response_id" in call}
        sent = {sent.response_id: sent for sent in self.provider.sent if sent.usage is not None}
        assert journaled.keys() == sent.keys()
        for response_id, call in journaled.items():
            request, usage = sent[response_id].request, sent[response_id].usage
            assert usage is not None
            assert json.loads(call["usage_raw"]) == usage
            assert token_totals(call["usage"])[:2] == totals_as_sent(request.shape, usage)
            assert Decimal(call["cost"]["total_usd"]) == price_by_genai(request, usage, call["started_at"])


FOREIGN_VARIABLES = {
    "DATABASE_URL", "KEPROMPT_DATABASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
}  # fmt: skip


def make_workspace(folder: Path, keledger: str = "") -> None:
    """A workspace with the prompt ``ask``; *keledger* is what its parameters say of keledger, as JSON."""
    functions = folder / "prompts" / "functions"
    functions.mkdir(parents=True)
    write_prompt(folder, keledger)
    (functions / "tools").write_text(FUNCTIONS)
    (functions / "tools").chmod(0o755)
    models = {name: {**model, **PRICES_OF_KEPROMPT} for name, model in MODELS.items()}
    (functions / "model_prices_and_context_window.json").write_text(json.dumps(models))


def events_of(home: Home) -> list[dict[str, Any]]:
    """The ``data`` of every event in a journal, in its order, with the event's id and type."""
    events = [orjson.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]
    return [event["data"] | {"type": event["type"], "id": event["id"]} for event in events]


def write_prompt(folder: Path, keledger: str = "") -> None:
    """Write the prompt ``ask``."""
    parameters = f',"keledger":{keledger}' if keledger else ""
    (folder / "prompts" / "ask.prompt").write_text(PROMPT % parameters)


def write_lines(folder: Path, ahead: str = "", keledger: str = "", behind: str = "") -> None:
    """Write the prompt ``ask`` with lines put behind its first one, and behind its last."""
    write_prompt(folder, keledger)
    path = folder / "prompts" / "ask.prompt"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{ahead}{rest}{behind}")


def totals_as_sent(shape: str, usage: Mapping[str, Any]) -> tuple[int, int]:
    """Input and output tokens by the provider's own reference, cached and reasoning ones included."""
    if shape == "openai":
        return usage["prompt_tokens"], usage["completion_tokens"]
    if shape == "anthropic":
        cached = usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
        return usage["input_tokens"] + cached, usage["output_tokens"]
    return usage["promptTokenCount"], usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)


def price_by_genai(request: Request, usage: Mapping[str, Any], started_at: str) -> Decimal:
    """What genai-prices makes of the same usage at the same time."""
    provider = GENAI_PROVIDERS[request.shape]
    root = "usageMetadata" if request.shape == "gemini" else "usage"
    flavour = "chat" if request.shape == "openai" else "default"
    extracted = genai_prices.extract_usage(
        {root: dict(usage), "model": request.model, "modelVersion": request.model},
        provider_id=provider,
        api_flavor=flavour,
    )
    return genai_prices.calc_price(
        extracted.usage,
        model_ref=request.model,
        provider_id=provider,
        genai_request_timestamp=datetime.fromisoformat(started_at),
    ).total_price


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)
    return found


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit status, stdout and stderr of a process that is about to end."""
    try:
        output, errors = process.communicate(timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output, errors


def own_venv(folder: Path, keprompt: Path) -> Path:
    """A small environment of its own that sees the packages of another one; its ``keprompt`` script."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site_packages = next((folder / "lib").glob("python*")) / "site-packages"
    for package in next((keprompt.parent.parent / "lib").glob("python*/site-packages")).iterdir():
        if package.suffix != ".pth":
            (site_packages / package.name).symlink_to(package)
    script = folder / "bin" / "keprompt"
    script.write_text(f"#!{folder}/bin/python\nimport sys\nfrom keprompt.keprompt import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return script
