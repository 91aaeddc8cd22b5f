"""Calls that go wrong: what was refused, what may have been billed, what never left; and journals that go wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from keledger.journal import Ledger

from .support import VERSIONS, Stage, end, wait_for


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [429, 500])
def test_a_refusal_is_a_failed_call_that_costs_nothing(
    stage_of: Callable[[str], Stage], version: str, status: int
) -> None:
    stage = stage_of(version)
    ended = stage.run(stage.watched(stage.chat(f"tool then {status}")))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["success"] is False
    first, refused = stage.calls()
    assert first["status"] == "ok"
    assert refused["type"] == "call.failed"
    assert (refused["status"], refused["http_status"], refused["error_type"]) == ("error", status, "Exception")
    assert refused["usage"] == {}
    assert (refused["cost"]["state"], refused["cost"]["total_usd"], refused["cost"]["lines"]) == ("priced", "0", [])
    assert "keledger: 2 calls (1 failed), " in ended.stderr
    stage.check_against_provider()


@pytest.mark.parametrize(
    ("ask", "http_status", "error_type"),
    [
        ("html", 200, "JSONDecodeError"),
        ("null-usage", 200, "AttributeError"),
        ("hang-up", None, "ConnectionError"),
    ],
)
def test_an_answer_that_says_nothing_may_have_been_billed(
    stage: Stage, ask: str, http_status: int | None, error_type: str
) -> None:
    ended = stage.run(stage.watched(stage.chat(ask)))
    assert ended.returncode == 1
    [call] = stage.calls()
    assert (call["type"], call["status"]) == ("call.failed", "unknown")
    assert (call.get("http_status"), call["error_type"]) == (http_status, error_type)
    assert call["cost"]["state"] == "unknown"
    assert "total_usd" not in call["cost"]
    assert "keledger: 1 call (1 without an answer), 0 input + 0 output tokens, cost unknown; " in ended.stderr


def test_an_answer_counts_that_keprompt_stumbles_over(stage: Stage) -> None:
    ended = stage.run(stage.watched(stage.chat("odd-usage")))
    assert ended.returncode == 1
    [call] = stage.calls()
    assert (call["status"], call["response_id"], call["usage"]["output_text"]) == ("ok", "r-2", 5)
    assert call["cost"]["total_usd"] == "0.00001175"  # 7 x 0.25 + 5 x 2 USD a million


def test_a_request_that_never_left_is_no_call(stage: Stage) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        ended = stage.run(stage.watched(stage.chat("hello")), KELEDGER_LOCAL_PROVIDER=closed)
    assert ended.returncode == 1
    assert stage.calls() == []
    assert ended.stderr.endswith("keledger: 0 calls (1 never sent)\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interrupt_during_the_second_call(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    running = stage.start(stage.watched(stage.chat("tool slow")))
    wait_for(lambda: len(stage.provider.asked) == 2)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to the launcher and to KePrompt
    status, _, errors = end(running)
    assert status == 128 + signal.SIGINT
    first, interrupted = stage.calls()
    assert first["status"] == "ok"
    assert (interrupted["status"], interrupted["error_type"]) == ("unknown", "KeyboardInterrupt")
    assert interrupted["session"] == first["session"]
    assert interrupted["duration_ms"] >= 0
    assert "keledger: 2 calls (1 without an answer), " in errors
    stage.check_against_provider()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_alone_reaches_keprompt(stage: Stage, number: signal.Signals) -> None:
    running = stage.start(stage.watched(stage.chat("slow")))
    wait_for(lambda: stage.provider.asked)
    running.send_signal(number)
    assert end(running)[0] == 128 + number
    assert [call["status"] for call in stage.calls()] == ["unknown"]


def test_a_killed_keprompt_leaves_an_unknown_call(stage: Stage) -> None:
    pid_file = stage.folder / "pid"
    program = f'echo $$ > {pid_file}; exec "$@"'
    running = stage.start(stage.watched(["sh", "-c", program, "sh", *stage.chat("slow")]))
    wait_for(lambda: stage.provider.asked)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert end(running)[0] == 128 + signal.SIGKILL
    [call] = stage.calls()
    assert (call["status"], call["error_type"]) == ("unknown", "ClientDied")


def test_calls_of_a_launcher_that_was_killed_are_spooled_and_brought_in(stage: Stage) -> None:
    with TemporaryDirectory(prefix="kl-") as runtime:  # for the socket, which nobody removes this time
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        running = stage.start(stage.watched(stage.chat("tool slow")))
        wait_for(lambda: len(stage.provider.asked) == 2)
        running.kill()
        running.wait()
        stage.provider.hurry()
        assert "keledger: a call could not be journaled and waits in " in end(running)[2]
    with Ledger.open(stage.home.path) as ledger:
        ledger.bring_in_spooled()
    assert [call["status"] for call in stage.calls()] == ["ok", "ok"]
    stage.check_against_provider()


def test_a_home_that_cannot_be_used_stops_nobody(stage: Stage) -> None:
    stage.home.path.write_text("a file, where the home belongs")
    ended = stage.run(stage.watched(stage.chat("tool")))
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["success"] is True
    sentence, line = ended.stderr.splitlines()
    assert str(stage.home.path) in sentence
    assert line == "keledger: 0 calls (2 not journaled yet)"
    spooled = list(stage.home.spool.iterdir())
    assert len(spooled) == 2
    assert {path.stat().st_mode & 0o777 for path in spooled} == {0o600}
    stage.home.path.unlink()
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    assert len(stage.calls()) == 3
    assert list(stage.home.spool.iterdir()) == []
    stage.check_against_provider()


def test_a_call_that_can_be_kept_nowhere_is_on_stderr(stage: Stage, tmp_path: Path) -> None:
    stage.home.path.write_text("a file, where the home belongs")
    (tmp_path / "state").write_text("a file, where the spool belongs")
    ended = stage.run(stage.watched(stage.chat("hello")), XDG_STATE_HOME=str(tmp_path / "state"))
    assert ended.returncode == 0
    [line] = [line for line in ended.stderr.splitlines() if "keledger_spool" in line]
    call = json.loads(line[line.index("{") :])
    assert call["end"]["usage_raw"]["prompt_tokens"] == 2_402
