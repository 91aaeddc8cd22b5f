"""``keledger run --estimate`` and ``keledger estimate FILE.prompt``: real KePrompts up to their first call."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import KELEDGER, PRIVATE, VERSIONS, Stage, events_of
from .test_confirmation import estimates, types


def chats(database: Path) -> int:
    """How many chats a database has; 0 where it is not there."""
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        return int(connection.execute("SELECT count(*) FROM chats").fetchone()[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_it_shows_the_estimate_and_makes_no_request(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    ended = stage.run(stage.watched(stage.chat(f"hello {PRIVATE}"), "--estimate"))
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    [row] = told["rows"]
    assert (row["provider"], row["model"]) == ("openai", "gpt-5-mini")
    assert 0 < row["input_tokens"]["p5"] <= row["input_tokens"]["p50"] <= row["input_tokens"]["p95"]
    assert "recorded" not in told
    assert PRIVATE not in ended.stdout + ended.stderr
    assert stage.provider.asked == []
    assert chats(stage.workspace / "prompts" / "chats.db") == 0
    assert not stage.home.path.exists() or events_of(stage.home) == []


def test_record_journals_what_was_told(stage: Stage) -> None:
    ended = stage.run(stage.watched(stage.chat(PRIVATE), "--estimate", "--record", "--json", "--project", "crm"))
    assert ended.returncode == 0
    [event] = estimates(stage.home)
    assert json.loads(ended.stdout)["recorded"] == [event["id"]]
    assert (event["origin"], event["prompt"], event["project"]) == ("command", "Ask", "crm")
    assert "call_id" not in event
    assert types(stage.home) == ["estimate.made"]
    for path in stage.home.path.rglob("*"):
        assert not path.is_file() or PRIVATE not in path.read_bytes().decode("utf-8", "replace")


def test_a_table_for_people(stage: Stage) -> None:
    ended = stage.run(stage.watched(stage.chat("hello"), "--estimate", "--pretty"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "gpt-5-mini" in ended.stdout
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(ended.stdout)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reply_is_estimated_with_all_that_was_said_before(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    first = json.loads(stage.run(stage.watched(stage.chat("hello " * 500))).stdout)
    told = stage.run(stage.watched(stage.reply(first["chat_id"], "and now?"), "--estimate"))
    assert told.returncode == 0, told.stderr
    [row] = json.loads(told.stdout)["rows"]
    assert row["input_tokens"]["p50"] > 500
    assert len(stage.provider.asked) == 1
    # The chat stands as it was: the same reply goes on with it.
    assert stage.run(stage.watched(stage.reply(first["chat_id"], "and now?"))).returncode == 0


@pytest.mark.parametrize("where", ["KEPROMPT_DATABASE_URL", "DATABASE_URL", "keprompt.toml"])
def test_another_database_of_chats_is_read_and_left_alone(stage: Stage, where: str) -> None:
    database = stage.folder / "elsewhere.db"
    if where == "keprompt.toml":
        (stage.workspace / where).write_text(f'[database]\nurl = "sqlite:///{database}"\n')
    else:
        stage.environment[where] = f"sqlite:///{database}"
    first = json.loads(stage.run(stage.watched(stage.chat("hello"))).stdout)
    before = database.read_bytes()
    told = stage.run(stage.watched(stage.reply(first["chat_id"], "and now?"), "--estimate"))
    assert told.returncode == 0, told.stderr
    assert database.read_bytes() == before
    assert not (stage.workspace / "prompts" / "chats.db").exists()


def test_no_key_is_needed(stage: Stage) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        del stage.environment[name]
    assert stage.run(stage.watched(stage.chat("hello"), "--estimate")).returncode == 0
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 1  # which KePrompt says by itself


def test_inside_of_a_run_nothing_of_it_is_the_runs(stage: Stage) -> None:
    inner = stage.watched(stage.chat("hello"), "--estimate", "--json")
    ended = stage.run(stage.watched(inner, "--budget", "0.000001"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rows"]
    assert types(stage.home) == []
    outer = stage.run(stage.watched(stage.watched(stage.chat("hello")), "--estimate"))
    assert outer.returncode == 0
    assert json.loads(outer.stdout)["rows"]
    assert stage.provider.asked == []


def test_a_command_without_a_call(stage: Stage) -> None:
    ended = stage.run(stage.watched(["sh", "-c", "echo done; exit 3"], "--estimate"))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == (
        "done\nkeledger: there is nothing to estimate: the command ended without a call of a model\n"
    )
    assert stage.run(stage.watched(["true"], "--estimate")).returncode == 1


def test_a_tool_loop_and_several_calls_end_at_the_first(stage: Stage) -> None:
    script = " ; ".join(" ".join(stage.chat(ask)) for ask in ("tool", "hello"))
    ended = stage.run(stage.watched(["sh", "-c", script], "--estimate"))
    assert ended.returncode == 0
    assert len(json.loads(ended.stdout)["rows"]) == 1
    assert stage.provider.asked == []


def test_a_keprompt_that_cannot_be_watched_does_not_get_to_its_call(stage: Stage) -> None:
    package = stage.workspace / "keprompt"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text('__version__ = "9.0.0"\n')
    (package / "AiProvider.py").write_text(
        "class AiProvider:\n    def make_api_request(self, request):\n        open('sent', 'w')\n"
    )
    program = "from keprompt.AiProvider import AiProvider; AiProvider().make_api_request(1)"
    command = [sys.executable, "-c", program]
    ended = stage.run(stage.watched(command, "--estimate"), PYTHONPATH=str(stage.workspace))
    assert ended.returncode == 1
    assert "keledger: only an estimate was asked for, and this KePrompt would make its calls" in ended.stderr
    assert not (stage.workspace / "sent").exists()
    assert stage.run(stage.watched(command), PYTHONPATH=str(stage.workspace)).returncode == 0
    assert (stage.workspace / "sent").exists()


def estimate_file(stage: Stage, *arguments: str, folder: Path | None = None) -> tuple[int, str, str]:
    path = os.pathsep.join((str(stage.keprompt.parent), os.environ["PATH"]))
    stage.environment["PATH"] = path
    ended = stage.run([*KELEDGER, "estimate", *arguments])
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_a_prompt_file_is_rendered_by_keprompt(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    counts = []
    for ask in ("hi", f"hi {PRIVATE} " * 200):
        status, output, errors = estimate_file(stage, "prompts/ask.prompt", "--set", f"ask={ask}", "--json")
        assert status == 0, errors
        assert PRIVATE not in output + errors
        counts.append(json.loads(output)["rows"][0]["input_tokens"]["p50"])
    assert counts[1] > counts[0] + 800
    assert (stage.provider.asked, chats(stage.workspace / "prompts" / "chats.db")) == ([], 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('.prompt "name":"Ask", "version":\n.exec\n', ".prompt"),
        ('.prompt "name":"Ask","version":"1"\n.user hi\n.exec\n', "No model specified"),
        ('.prompt "name":"Ask","version":"1","params":{"model":"openai/gpt-0"}\n.user hi\n.exec\n', "gpt-0"),
        ('.prompt "name":"Ask","version":"1","params":{"model":"openai/gpt-5-mini"}\n.exec not json\n', "not json"),
        ('.prompt "name":"Ask","version":"1"\n.print hi\n.exit\n', "without a call"),
        ("just a text\n", "must be a .prompt statement"),
    ],
)  # fmt: skip
def test_a_prompt_that_keprompt_cannot_run_is_told_in_one_sentence(stage: Stage, content: str, said: str) -> None:
    (stage.workspace / "prompts" / "ask.prompt").write_text(content)
    status, output, errors = estimate_file(stage, "prompts/ask.prompt", "--set", "ask=hi")
    assert (status, output) == (1, "")
    assert errors.startswith("keledger: there is nothing to estimate: ")
    assert (errors.count("\n"), "[red]" in errors, "\u2502" in errors) == (1, False, False)
    assert said in errors
    assert stage.provider.asked == []


def test_a_prompt_file_is_compared_over_models_and_taken_many_times(stage: Stage) -> None:
    asked = ("prompts/ask.prompt", "--set", "ask=hi", "--json")
    _, output, _ = estimate_file(stage, *asked)
    [own] = json.loads(output)["rows"]
    status, output, errors = estimate_file(stage, *asked, "--model", "gpt-5-mini,claude-haiku-4-5", "--record")
    assert status == 0, errors
    rows = json.loads(output)["rows"]
    assert [row["model"] for row in rows] == ["gpt-5-mini", "claude-haiku-4-5"]
    assert rows[0]["input_tokens"] == own["input_tokens"]
    assert rows[1]["method"].startswith("proxy:o200k_base*")
    journaled = estimates(stage.home)
    assert [event["model"] for event in journaled] == ["gpt-5-mini", "claude-haiku-4-5"]
    assert {event["prompt"] for event in journaled} == {"Ask"}
    status, output, errors = estimate_file(stage, *asked, "--calls", "100")
    assert status == 0, errors
    [many] = json.loads(output)["rows"]
    assert (many["calls"], many["counted_tokens"]) == (100, 100 * own["counted_tokens"])
    status, output, errors = estimate_file(stage, *asked, "--model", "gpt-0")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("keledger: gpt-0 has no price here")
    assert stage.provider.asked == []


@pytest.mark.parametrize("value", ["ask", "=hi", " =hi"])
def test_a_variable_has_a_name_and_a_value(stage: Stage, value: str) -> None:
    status, output, errors = estimate_file(stage, "prompts/ask.prompt", "--set", value)
    assert (status, output) == (2, "")
    assert "is not NAME=VALUE" in errors


def test_a_prompt_that_says_nothing(stage: Stage) -> None:
    path = stage.workspace / "prompts" / "ask.prompt"
    path.write_text("\n")
    status, output, errors = estimate_file(stage, "prompts/ask.prompt")
    assert (status, output) == (1, "")
    assert errors.endswith(
        "prompts/ask.prompt is empty: write what KePrompt is to do, such as .prompt, .user and .exec\n"
    )
    path.write_text('.prompt "name":"Ask","version":"1","params":{"model":"openai/gpt-5-mini"}\n.exec\n')
    status, output, errors = estimate_file(stage, "prompts/ask.prompt")
    assert (status, output) == (1, "")
    problem = "there is nothing to count: the prompt is empty, so give it a text"
    assert errors == f"keledger: call refused: this call cannot be estimated: {problem}\n"


def test_a_prompt_that_is_nowhere(stage: Stage) -> None:
    status, output, errors = estimate_file(stage, "prompts/nothing.prompt")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "prompts/nothing.prompt" in errors
