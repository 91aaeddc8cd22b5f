"""``keledger demo``: the main job on a stage of its own.

A real KePrompt is run against a provider on 127.0.0.1.  Everything it writes, the keledger home and its own HOME
included, is in a temporary folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from keledger.journal import KeledgerError

from ._group import command
from .demo import REDIRECT, Answer, LocalProvider, Request, ToolCall

WORKSPACE = Path(__file__).parent / "demo" / "workspace"

OF_THE_USER = ("DATABASE_URL", "KEPROMPT_DATABASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that would lead KePrompt away from the stage, in either case of their letters."""

LEFT_WITH = {
    "OPENAI_API_KEY": "imaginary",
    "ANTHROPIC_API_KEY": "imaginary",
    "GEMINI_API_KEY": "imaginary",
    "PYTHONPATH": str(REDIRECT),
}


class DemoFailed(KeledgerError):
    """The demo cannot run, or did not go as it should."""


@command(name="demo", examples=("keledger demo", "keledger demo --keep"))
@click.option("--keep", is_flag=True, help="Keep the folder with the journal, and say where it is.")
def demo(keep: bool) -> None:
    """Show it all: three chats of a real KePrompt, journaled and reported.

    The provider is a program on 127.0.0.1 and the money imaginary.  The journal is in a temporary folder; your own
    is not touched.
    """
    if importlib.util.find_spec("keprompt") is None:
        pip = shlex.join([sys.executable, "-m", "pip", "install", "keprompt"])
        raise DemoFailed(f"the demo needs KePrompt beside keledger: {pip}")
    folder = Path(tempfile.mkdtemp(prefix="keledger-demo-"))
    try:
        with LocalProvider(answer) as provider:
            Stage.build(folder, provider.url).play()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo()
    if keep:
        click.echo(f"All of it is in {folder}.  More: keledger --home {folder / 'home'} sql 'FROM calls'")
    else:
        click.echo("The folder of this demo is deleted; keledger demo --keep leaves it for a closer look.")
    click.echo("Your own calls: keledger run -- keprompt chat new --prompt NAME")


def answer(request: Request) -> Answer:
    """What the local provider says, with the kinds of tokens that are easily counted wrong."""
    if request.shape == "openai":
        return Answer(
            text="Good morning! I hope that your day is off to a fine start.",
            input_tokens=1_412, cache_read_tokens=1_024, output_tokens=214, reasoning_tokens=192,
        )  # fmt: skip
    if request.shape == "gemini":
        return Answer(status=429)
    if request.tool_results == 0:
        tool = ToolCall("get_weather", {"city": "Bern"})
        return Answer(tool=tool, input_tokens=2_310, cache_write_tokens=2_048, output_tokens=61)
    return Answer(
        text="Yes, take one along: light rain is expected in Bern from three o'clock on.",
        input_tokens=2_402, cache_read_tokens=2_048, output_tokens=34,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: a workspace of KePrompt's and an environment that leads nowhere else."""

    workspace: Path
    environment: dict[str, str]

    @classmethod
    def build(cls, folder: Path, provider_url: str) -> Stage:
        """Set up the stage in an empty folder."""
        functions = folder / "work" / "prompts" / "functions"
        functions.mkdir(parents=True)
        for prompt in WORKSPACE.glob("*.prompt"):
            shutil.copy(prompt, functions.parent)
        shutil.copy(WORKSPACE / "models.json", functions / "model_prices_and_context_window.json")
        shutil.copy(WORKSPACE / "weather.sh", functions / "weather")
        (functions / "weather").chmod(0o700)  # a wheel does not keep the mode
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.upper() not in OF_THE_USER and not name.startswith(("KELEDGER_", "XDG_"))
        }
        environment |= LEFT_WITH
        environment |= {
            "HOME": str(folder),
            "KELEDGER_HOME": str(folder / "home"),
            "KELEDGER_LOCAL_PROVIDER": provider_url,
        }
        return cls(folder / "work", environment)

    def play(self) -> None:
        """Run the chats, then the reports.  Raises DemoFailed where one does not do what it should."""
        version = importlib.metadata.version("keprompt")
        click.secho(
            f"KePrompt {version} is real, the provider is a program on 127.0.0.1, the money imaginary.", bold=True
        )
        self.chat("hello", "An answer with cached and reasoning tokens:")
        weather = self.chat("weather", "A model that calls a tool, hence two calls:")
        self.chat("summary", "A provider that refuses:", succeeds=False)
        self.report(["daily", "--breakdown"], "What the day cost:")
        self.report(["session", weather], "Where the money of one chat went:")

    def chat(self, prompt: str, about: str, *, succeeds: bool = True) -> str:
        """Run one chat under ``keledger run`` and return its id."""
        shown = ["chat", "new", "--prompt", prompt]
        self.announce(about, ["run", "--", "keprompt", *shown])
        command = ["run", "--", sys.executable, "-m", "keprompt", *shown, "--json"]
        ended = self.run(command, captured=True)
        try:
            envelope = json.loads(ended.stdout)
        except ValueError:
            envelope = {}
        if (ended.returncode == 0) is not succeeds or not isinstance(envelope.get("chat_id"), str):
            raise DemoFailed(f"KePrompt ended with status {ended.returncode} and said: {ended.stdout[-400:]}")
        if succeeds:
            click.echo(envelope["ai_response"])
        click.echo(ended.stderr, err=True, nl=False)
        return str(envelope["chat_id"])

    def report(self, arguments: list[str], about: str) -> None:
        """Show one report."""
        self.announce(about, arguments)
        ended = self.run([*arguments, "--pretty"])
        if ended.returncode != 0:
            raise DemoFailed(f"keledger {shlex.join(arguments)} ended with status {ended.returncode}")

    def run(self, arguments: Sequence[str], *, captured: bool = False) -> subprocess.CompletedProcess[str]:
        """Run keledger itself on the stage."""
        sys.stdout.flush()
        return subprocess.run(
            [sys.executable, "-m", "keledger", *arguments],
            cwd=self.workspace, env=self.environment, stdin=subprocess.DEVNULL, text=True, check=False,
            capture_output=captured,
        )  # fmt: skip

    def announce(self, about: str, arguments: Sequence[str]) -> None:
        """Say what comes next, and how one would type it."""
        click.echo()
        click.echo(about)
        click.secho(f"$ keledger {shlex.join(arguments)}", bold=True)
