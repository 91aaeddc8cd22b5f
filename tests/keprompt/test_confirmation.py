"""Calls that are to be confirmed: real KePrompts with somebody at their terminal, or nobody."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from keledger.journal import Home
from keledger.journal.capture import Installation, enable, find

from .support import PRIVATE, VERSIONS, Stage, end, events_of, own_venv, wait_for, write_prompt
from .terminal import QUESTION, Terminal

LOW = "0.0001"
"""Below what any call here is expected to cost."""

HIGH = "100"


def estimates(home: Home) -> list[dict[str, Any]]:
    return [event for event in events_of(home) if event["type"] == "estimate.made"]


def types(home: Home) -> list[str]:
    kept = ("call.", "hold.", "estimate.")
    return [event["type"] for event in events_of(home) if event["type"].startswith(kept)]


def answers(home: Home) -> list[str | None]:
    """What was answered before each call that was estimated."""
    return [event.get("confirm", {}).get("answer") for event in estimates(home)]


def keledgers_words(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("keledger: ")]


def check_nothing_private(stage: Stage, *texts: str) -> None:
    """No word of the user or the model is in the journal, the spool, or what was said."""
    files = [path for path in stage.home.path.rglob("*") if path.is_file()]
    if stage.home.spool.exists():
        files += stage.home.spool.iterdir()
    for text in (*texts, *(path.read_bytes().decode("utf-8", "replace") for path in files)):
        assert PRIVATE not in text
        assert "the-secret-question" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_a_yes_at_each_round_trip_of_a_tool_loop(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    with Terminal(stage) as terminal:
        ask = "tool the-secret-question"
        status, output, errors = terminal.run(
            stage.watched(stage.chat(ask), "--confirm-above", LOW, "--budget", "1.00"), "y\n", "YES\n"
        )
        shown = terminal.look()
    assert status == 0, errors
    assert json.loads(output)["success"] is True
    assert shown.count(QUESTION) == 2
    assert shown.count("openai/gpt-5-mini: ") == 2
    assert "expected to cost $0.0" in shown
    assert types(stage.home) == ["estimate.made", "call.reserved", "call.completed"] * 2
    for told, call in zip(estimates(stage.home), stage.calls(), strict=True):
        assert call["estimate_id"] == told["id"]
        assert told["confirm"] == {"above_usd": LOW, "answer": "yes"}
        assert told["call_id"] == call["id"]
        assert told["prompt"] == call["prompt"] == "Ask"
    [closing] = keledgers_words(errors)
    assert re.search(r"2 calls, .*, \$0\.\d{6} \(estimated \$0\.\d{6}\); today", closing)
    stage.check_against_provider()
    check_nothing_private(stage, shown, "\n".join(keledgers_words(errors)))


@pytest.mark.parametrize("typed", ["n\n", "\n", "\x04", "yess\n", "ja\n", "x" * 2_000 + "\n", "\u00ff\x01 y y\n"])
def test_anything_but_a_yes_is_a_no(stage: Stage, typed: str) -> None:
    with Terminal(stage) as terminal:
        status, output, errors = terminal.run(stage.watched(stage.chat("hello"), "--confirm-above", LOW), typed)
    assert (status, stage.provider.asked) == (1, [])
    assert f"it may cost more than ${LOW}, and it was not confirmed" in json.loads(output)["error"]
    refused, closing = keledgers_words(errors)
    assert refused == f"keledger: call refused: it may cost more than ${LOW}, and it was not confirmed"
    assert closing == "keledger: 0 calls (1 not confirmed)"
    assert types(stage.home) == ["estimate.made"]
    assert answers(stage.home) == ["no"]


def test_a_no_in_the_middle_of_a_tool_loop_keeps_what_was_answered(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        command = stage.watched(stage.chat("tool"), "--confirm-above", LOW, "--budget", "1.00")
        status, output, errors = terminal.run(command, "y\n", "n\n")
    assert (status, len(stage.provider.asked)) == (1, 1)
    assert json.loads(output)["success"] is False
    assert types(stage.home) == ["estimate.made", "call.reserved", "call.completed", "estimate.made"]
    assert answers(stage.home) == ["yes", "no"]
    closing = keledgers_words(errors)[-1]
    assert closing.startswith("keledger: 1 call (1 not confirmed), ")
    chat_id = stage.calls()[0]["session"]
    assert stage.run([str(stage.keprompt), "chat", "get", chat_id, "--json"]).returncode == 0


def test_above_nothing_every_call_that_costs_is_asked_for(stage: Stage) -> None:
    ended = stage.run(stage.watched(stage.chat("hello"), "--confirm-above", "0"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert "it may cost more than $0, and there is no terminal" in keledgers_words(ended.stderr)[0]
    assert answers(stage.home) == ["no_terminal"]


def test_below_the_limit_nobody_is_asked_and_the_estimate_is_journaled(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        status, _, _ = terminal.run(stage.watched(stage.chat("hello"), "--confirm-above", HIGH))
        assert terminal.look() == ""
    assert status == 0
    assert types(stage.home) == ["estimate.made", "call.completed"]
    assert answers(stage.home) == [None]
    assert stage.calls()[0]["estimate_id"] == estimates(stage.home)[0]["id"]


def test_without_a_terminal_it_is_not_made(stage: Stage) -> None:
    ended = stage.start(stage.watched(stage.chat("hello"), f"--confirm-above={LOW}"))
    status, output, errors = end(ended)
    assert (status, stage.provider.asked) == (1, [])
    assert "there is no terminal to ask for leave at" in json.loads(output)["error"]
    assert keledgers_words(errors) == [
        f"keledger: call refused: it may cost more than ${LOW}, and there is no terminal to ask for leave at",
        "keledger: 0 calls (1 not confirmed)",
    ]
    assert answers(stage.home) == ["no_terminal"]


def test_ctrl_c_at_the_question_ends_it_and_is_a_no(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        command = stage.watched(stage.chat("hello"), "--confirm-above", LOW, "--budget", "1.00")
        status, _, errors = terminal.run(command, "\x03")
    assert (status, stage.provider.asked) == (128 + signal.SIGINT, [])
    assert types(stage.home) == ["estimate.made"]
    assert answers(stage.home) == ["no"]
    assert keledgers_words(errors)[-1].startswith("keledger: 0 calls (1 not confirmed)")


def test_a_terminal_that_is_closed_at_the_question_is_no_yes(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        running = terminal.start(stage.watched(["env", *stage.chat("hello")], "--confirm-above", LOW))
        terminal.wait_for_questions(1)
        terminal.close()
        assert end(running)[0] != 0
    assert stage.provider.asked == []
    assert answers(stage.home) in (["no"], ["no_terminal"])


def test_a_keprompt_that_is_killed_at_the_question_leaves_no_hold(stage: Stage) -> None:
    pid_file = stage.folder / "pid"
    program = f'echo $$ > {pid_file}; exec "$@"'
    with Terminal(stage) as terminal:
        command = stage.watched(
            ["sh", "-c", program, "sh", *stage.chat("hello")], "--confirm-above", LOW, "--budget", "1.00"
        )
        running = terminal.start(command)
        terminal.wait_for_questions(1)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        assert end(running)[0] == 128 + signal.SIGKILL
    assert types(stage.home) == ["estimate.made"]
    assert answers(stage.home) == ["no"]


def test_a_launcher_that_is_killed_at_the_question_lets_nothing_go(stage: Stage) -> None:
    with TemporaryDirectory(prefix="kl-") as runtime, Terminal(stage) as terminal:
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        (stage.workspace / "keledger.toml").write_text(f"confirm_above_usd = {LOW}\n")
        pid_file = stage.folder / "pid"
        launched = " ".join(stage.watched(stage.chat("hello")))
        running = terminal.start(["sh", "-c", f"{launched} & echo $! > {pid_file}; wait; sleep 0.1; wait"])
        terminal.wait_for_questions(1)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        terminal.type("y\n")
        _, _, errors = end(running)
    assert stage.provider.asked == []
    assert "keledger: call refused: keledger does not answer" in errors


def test_what_was_typed_before_the_question_answers_nothing(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        terminal.type("y\ny\n")
        running = terminal.start(stage.watched(stage.chat("hello"), "--confirm-above", LOW))
        terminal.wait_for_questions(1)
        terminal.look(0.5)
        assert running.poll() is None
        terminal.type("n\n")
        assert end(running)[0] == 1
    assert answers(stage.home) == ["no"]


def test_two_of_a_run_take_turns(stage: Stage) -> None:
    one, other = (
        " ".join(["env", f"KEPROMPT_DATABASE_URL=sqlite:///{number}.db", *stage.chat("hello"), f">{number}.json"])
        for number in range(2)
    )
    with Terminal(stage) as terminal:
        running = terminal.start(stage.watched(["sh", "-c", f"{one} & {other} & wait"], "--confirm-above", LOW))
        terminal.wait_for_questions(1)
        terminal.look(1.0)
        assert terminal.shown.count(QUESTION) == 1
        terminal.type("y\n")
        terminal.wait_for_questions(2)
        terminal.type("n\n")
        _, _, errors = end(running)
    assert sorted(str(answer) for answer in answers(stage.home)) == ["no", "yes"]
    assert len(stage.provider.asked) == 1
    assert keledgers_words(errors)[-1].startswith("keledger: 1 call (1 not confirmed), ")


def test_in_the_background_it_waits_until_it_is_brought_up(stage: Stage) -> None:
    inner = " ".join(stage.watched(stage.chat("hello"), "--confirm-above", LOW))
    script = f'{inner} & until [ -n "$(jobs -s)" ]; do sleep 0.1; done; echo stopped; fg >/dev/null; echo done:$?'
    with Terminal(stage) as terminal:
        running = terminal.start(["bash", "--norc", "-i", "-c", script])
        terminal.wait_for_questions(1)
        terminal.type("y\n")
        _, output, _ = end(running)
    assert "stopped" in output
    assert "done:0" in output
    assert answers(stage.home) == ["yes"]


def test_a_terminal_in_raw_mode_is_answered_with_one_key(stage: Stage) -> None:
    inner = " ".join(stage.watched(stage.chat("hello"), "--confirm-above", LOW))
    with Terminal(stage) as terminal:
        running = terminal.start(["sh", "-c", f"stty raw -echo </dev/tty; {inner}"])
        terminal.wait_for_questions(1)
        terminal.type("y")
        assert end(running)[0] == 0
    assert answers(stage.home) == ["yes"]


@pytest.fixture
def enabled(stage: Stage) -> Installation:
    """The stage's KePrompt in a small environment of its own, enabled."""
    stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    return enable(find(str(stage.keprompt)))


@pytest.mark.parametrize("of_home", [False, True])
def test_files_say_so_where_keprompt_runs_alone(stage: Stage, enabled: Installation, of_home: bool) -> None:
    write_setting(stage, of_home, LOW)
    with Terminal(stage) as terminal:
        status, output, _ = terminal.run(stage.chat("hello"), "y\n")
        assert (status, json.loads(output)["success"]) == (0, True)
    with Terminal(stage) as terminal:
        assert terminal.run(stage.chat("hello"), "n\n")[0] == 1
    assert stage.run(stage.chat("hello")).returncode == 1
    wait_for(lambda: len(estimates(stage.home)) == 3)
    assert answers(stage.home) == ["yes", "no", "no_terminal"]
    assert len(stage.provider.asked) == 1
    assert types(stage.home) == ["estimate.made", "call.completed", "estimate.made", "estimate.made"]


def write_setting(stage: Stage, of_home: bool, value: str) -> Path:
    folder = stage.home.path if of_home else stage.workspace
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / ("config.toml" if of_home else "keledger.toml")
    path.write_text(f"confirm_above_usd = {value}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("of_home", [False, True])
@pytest.mark.parametrize("value", ["-0.1", "-1", '"much"', "nan", "true", "[1]"])
def test_a_wrong_amount_in_a_file_is_told_and_refuses(stage: Stage, of_home: bool, value: str) -> None:
    name = write_setting(stage, of_home, value).name
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    [said] = keledgers_words(ended.stderr)
    assert said.startswith(f"keledger: call refused: {name}: confirm_above_usd: ")
    assert "is no limit: give an amount in USD" in said


@pytest.mark.parametrize("of_home", [False, True])
def test_a_file_that_cannot_be_read_and_says_so_refuses(stage: Stage, of_home: bool) -> None:
    path = write_setting(stage, of_home, "0.25")
    path.write_text(f"{path.read_text()}what = is this\n")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    [said] = keledgers_words(ended.stderr)
    assert said.startswith("keledger: call refused: ")
    assert str(path) in said
    path.write_text("what = is this\n")  # which says nothing of confirming: no reason to stop anybody
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0


@pytest.mark.parametrize("amount", ["-0.1", "-1", "NaN", "much", "1e400", ""])
def test_a_wrong_amount_on_the_command_line_starts_nothing(stage: Stage, amount: str) -> None:
    ended = stage.run(stage.watched(["touch", "started"], "--confirm-above", amount))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"keledger: --confirm-above: '{amount}' is no limit: ")
    assert ended.stderr.count("\n") == 1
    assert not (stage.workspace / "started").exists()


def test_a_folder_and_an_inner_run_can_only_tighten(stage: Stage) -> None:
    write_setting(stage, False, HIGH)
    assert stage.run(stage.watched(stage.chat("hello"), "--confirm-above", LOW)).returncode == 1
    inner = stage.watched(stage.chat("hello"), "--confirm-above", HIGH)
    assert stage.run(stage.watched(inner, "--confirm-above", LOW)).returncode == 1
    inner = stage.watched(stage.chat("hello"), "--confirm-above", LOW)
    assert stage.run(stage.watched(inner, "--confirm-above", HIGH)).returncode == 1
    assert [event["confirm"]["above_usd"] for event in estimates(stage.home)] == [LOW] * 3
    assert stage.provider.asked == []


def add_unpriced_model(stage: Stage, name: str = "gpt-nobody-knows") -> None:
    path = stage.workspace / "prompts" / "functions" / "model_prices_and_context_window.json"
    models = json.loads(path.read_text())
    models[name] = {"litellm_provider": "openai", "mode": "chat"}
    path.write_text(json.dumps(models))


def test_a_model_without_a_price_is_asked_about(stage: Stage) -> None:
    add_unpriced_model(stage)
    with Terminal(stage) as terminal:
        command = stage.watched(stage.chat("hello", "--set", "model=openai/gpt-nobody-knows"), "--confirm-above", HIGH)
        status, _, errors = terminal.run(command, "y\n")
        assert "what it costs is not known: nobody has a price for " in terminal.look()
    assert status == 0, errors
    assert answers(stage.home) == ["yes"]
    assert "(no estimate: nobody knew a price)" in errors


def test_a_name_cannot_hide_what_is_asked(stage: Stage) -> None:
    add_unpriced_model(stage, "gpt-\x1b[2K\r\u202ecosts nothing")
    write_prompt(stage.workspace)
    prompt = stage.workspace / "prompts" / "ask.prompt"
    escaped = json.dumps("openai/gpt-\x1b[2K\r\u202ecosts nothing")
    prompt.write_text(prompt.read_text().replace('"openai/gpt-5-mini"', escaped))
    with Terminal(stage) as terminal:
        terminal.run(stage.watched(stage.chat("hello"), "--confirm-above", HIGH), "n\n")
        shown = terminal.look()
    assert "\\x1b[2K\\r\\u202ecosts nothing" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_budget_beside_it_has_the_last_word(stage: Stage) -> None:
    with Terminal(stage) as terminal:
        command = stage.watched(stage.chat("hello"), "--confirm-above", LOW, "--budget", "0.000001")
        status, _, errors = terminal.run(command, "y\n")
    assert (status, stage.provider.asked) == (1, [])
    assert types(stage.home) == ["estimate.made", "call.blocked"]
    assert answers(stage.home) == ["yes"]
    assert "keledger: 0 calls (1 refused by a budget)" in errors


@pytest.mark.parametrize("typed", ["y\n", "n\n"])
def test_a_home_that_cannot_be_opened_does_not_unask(stage: Stage, typed: str) -> None:
    stage.home.path.write_text("a file, where the home belongs")
    with Terminal(stage) as terminal:
        status, _, _ = terminal.run(stage.watched(stage.chat("hello"), "--confirm-above", HIGH), typed)
        assert "this call cannot be estimated: " in terminal.look()
    assert len(stage.provider.asked) == (typed == "y\n") == (status == 0)


def test_once_the_launcher_is_gone_a_file_still_lets_nothing_go(stage: Stage) -> None:
    write_setting(stage, False, HIGH)
    with TemporaryDirectory(prefix="kl-") as runtime:
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        running = stage.start(stage.watched(stage.chat("late tool")))
        wait_for(lambda: stage.provider.asked)
        running.kill()
        running.wait()
        stage.provider.hurry()
        errors = end(running)[2]
    assert len(stage.provider.asked) == 1
    assert "keledger: call refused: keledger does not answer" in errors


def test_a_request_of_ten_megabytes_is_counted_and_asked_about(stage: Stage) -> None:
    text = "The quick brown fox — der schnelle Fuchs 🦊. " * 230_000
    (stage.workspace / "prompts" / "long.prompt").write_text(
        f'.prompt "name":"Long","version":"1","params":{{"model":"openai/gpt-5-mini"}}\n.user {text}\n.exec\n'
    )
    command = [str(stage.keprompt), "chat", "new", "--prompt", "long", "--json"]
    with Terminal(stage) as terminal:
        started = time.monotonic()
        status, _, errors = terminal.run(stage.watched(command, "--confirm-above", "0.01"), "n\n")
        assert time.monotonic() - started < 300
    assert status == 1, errors
    assert stage.provider.asked == []
    [told] = estimates(stage.home)
    assert told["input_tokens"]["p50"] > 2_000_000
