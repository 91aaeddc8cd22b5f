"""Runs of real KePrompts under ``keledger run``: each call is journaled once, with the tokens that were sent."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

import pytest

from .support import PRIVATE, SECRET, VERSIONS, Stage, end, make_workspace


@pytest.mark.parametrize("version", VERSIONS)
def test_a_conversation_with_a_tool_a_reply_and_other_models(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    first = stage.run(stage.watched(stage.chat("tool")))
    assert first.returncode == 0, first.stderr
    chat_id = json.loads(first.stdout)["chat_id"]
    for command in (
        stage.reply(chat_id, f"and now? {PRIVATE}"),
        stage.reply(chat_id, "and by another model?", "model=anthropic/claude-haiku-4-5"),
        stage.chat("hello", "model=gemini/gemini-2.5-flash"),
    ):
        ended = stage.run(stage.watched(command))
        assert ended.returncode == 0, ended.stderr
        assert re.fullmatch(r"keledger: 1 call, .+ tokens, \$.+; today \$.+\n", ended.stderr)
    calls = stage.calls()
    assert [(call["provider"], call["model"], call["statement"]) for call in calls] == [
        ("openai", "gpt-5-mini", "04 .exec"),
        ("openai", "gpt-5-mini", "04 .exec"),
        ("openai", "gpt-5-mini", "07 .exec"),
        ("anthropic", "claude-haiku-4-5", "10 .exec"),
        ("google", "gemini-2.5-flash", "04 .exec"),
    ]
    assert [call["session"] for call in calls[:4]] == [chat_id] * 4 != [calls[4]["session"]] * 4
    assert [call["client_call_id"] for call in calls[:3]] == [
        f"{chat_id}-exec001-Call-01",
        f"{chat_id}-exec001-Call-02",
        f"{chat_id}-exec002-Call-01",
    ]
    for call in calls:
        assert call["type"] == "call.completed"
        assert call["status"] == "ok"
        assert call["http_status"] == 200
        assert call["client"] == f"keprompt {version}"
        assert call["prompt"] == "Ask"
        assert call["prompt_version"] == "2.0.1"
        assert call["origin"] == "hook"
        assert f"keprompt:{call['session']}:{call['client_call_id']}" in call["call_keys"]
    assert len({call["run"] for call in calls}) == 4
    stage.check_against_provider()


@pytest.mark.parametrize("version", VERSIONS)
def test_stdout_is_the_same_with_and_without(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    alone = stage.run(stage.chat("tool"))
    watched = stage.run(stage.watched(stage.chat("tool")))
    assert without_what_changes(watched.stdout) == without_what_changes(alone.stdout)
    assert alone.stdout.encode().count(b"\n") == watched.stdout.encode().count(b"\n")
    assert (alone.returncode, watched.returncode) == (0, 0)
    assert watched.stderr.removeprefix(alone.stderr).startswith("keledger: 2 calls, ")


def without_what_changes(output: str) -> str:
    """KePrompt's output without chat ids, times and durations, which no two runs have in common."""
    chat_id = json.loads(output)["chat_id"]
    output = output.replace(chat_id, "CHAT")
    output = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "TIME", output)
    return re.sub(r"\d+\.\d+( seconds|s\b)|(_time\": )[\d.e-]+", r"SECONDS\1\2", output)


def test_the_tier_that_answered_decides_the_price(stage: Stage) -> None:
    for ask in ("default", "priority"):
        stage.run(stage.watched(stage.chat(ask)))
    standard, priority = stage.calls()
    assert "pricing_context" not in standard
    assert priority["pricing_context"] == {"service_tier": "priority"}


def test_nothing_private_is_journaled(stage: Stage) -> None:
    for ask in (PRIVATE, f"429 {PRIVATE}", f"html {PRIVATE}"):
        stage.run(stage.watched(stage.chat(ask, "model=gemini/gemini-2.5-flash"), "--budget", "1.00"))
    assert len(stage.calls()) == 3
    for path in stage.home.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PRIVATE.encode() not in content
            assert SECRET.encode() not in content


def test_sixteen_runs_at_once(stage: Stage) -> None:
    def of_its_own(command: list[str], name: str) -> str:
        # KePrompts that share a database lock each other out of it.
        return f"KEPROMPT_DATABASE_URL=sqlite:///{name}.db {shlex.join(command)}"

    pairs = [
        f"{of_its_own(stage.chat('hello'), f'a{number}')} & {of_its_own(stage.chat('tool'), f'b{number}')}; wait"
        for number in range(8)
    ]
    running = [stage.start(stage.watched(["sh", "-c", pair])) for pair in pairs]
    ended = [end(process) for process in running]
    assert [(status, errors[:20]) for status, _, errors in ended] == [(0, "keledger: 3 calls, 7")] * 8
    calls = stage.calls()
    assert len(calls) == 24
    assert len({call["run"] for call in calls}) == 8
    assert len({call["session"] for call in calls}) == 16
    stage.check_against_provider()


@pytest.mark.parametrize("options", [(), ("--budget", "1.00")])
def test_keprompt_as_a_library_in_threads_and_forked_children(stage: Stage, options: tuple[str, ...]) -> None:
    program = """
import os, threading
from keprompt.keprompt_vm import VM

def ask():
    VM(prompt_ref="ask", params={"ask": "hello"}).execute()

ask()
threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
child = os.fork()
ask()
if child == 0: os._exit(0)
os.waitpid(child, 0)
"""
    ended = stage.run(stage.watched([str(stage.keprompt.parent / "python"), "-c", program], *options))
    assert ended.stderr.splitlines()[-1].startswith("keledger: 6 calls, ")
    assert len({call["run"] for call in stage.calls()}) == 1
    assert [("hold_id" in call) for call in stage.calls()] == [bool(options)] * 6
    stage.check_against_provider()


def test_a_nested_run_belongs_to_the_outer_one(stage: Stage) -> None:
    inside = stage.workspace / "inside"
    make_workspace(inside)
    plain = " ".join(stage.chat("hello"))
    again = " ".join(stage.watched(stage.chat("hello"), "--quiet", "--team", "inner", "--tag", "depth=2"))
    (stage.workspace / "inside.sh").write_text(f"cd inside && {plain} && {again}\n")
    outer = stage.watched(stage.chat("nested"), "--project", "outer", "--team", "outer", "--tag", "kind=tool")
    ended = stage.run(outer)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("keledger:") == 1
    assert "keledger: 4 calls, " in ended.stderr
    calls = stage.calls()
    assert len({call["run"] for call in calls}) == 1
    assert len({call["session"] for call in calls}) == 3
    assert [(call["project"], call["team"], call["tags"]) for call in calls] == [
        ("outer", "outer", {"kind": "tool"}),
        ("outer", "outer", {"kind": "tool"}),
        ("outer", "inner", {"kind": "tool", "depth": "2"}),
        ("outer", "outer", {"kind": "tool"}),
    ]
    stage.check_against_provider()
