"""Leave to send: what both ends of the line do where a budget may be in the way, and where keledger cannot answer."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from keledger.journal import Home, HomeError, Ledger, format_time, now_us
from keledger.journal.budgets import budget_fields
from keledger.journal.capture import client

from .line_ends import OK, Serving, begin_facts, connect, journaled
from .support import events_of, wait_for

DECLARED = [{"scope": "run", "limit_usd": "100"}]
TOO_SMALL = [{"scope": "run", "limit_usd": "0.000001"}]


@pytest.fixture(params=["declared", "standing"])
def begin(request: pytest.FixtureRequest, home: Home) -> dict[str, Any]:
    """What is told before a call that a budget covers which blocks: its own, or one that keledger left word of."""
    if request.param == "declared":
        return begin_facts(run="a-run", declared=DECLARED)
    leave_word(home)
    return begin_facts(run="a-run")


def leave_word(home: Home) -> None:
    (home.path / "guard").mkdir(mode=0o700, parents=True)
    (home.path / "guard" / "blocking").touch()
    home.path.chmod(0o700)


class Unwilling(Ledger):
    """A ledger that fails where it should decide, or decides only when it may."""

    may_answer: threading.Event | None = None

    def reserve(self, begin: Mapping[str, Any]) -> Any:
        if self.may_answer is None:
            raise HomeError("the disk is full")
        self.may_answer.wait()
        return super().reserve(begin)


def unwilling(home: Home, may_answer: threading.Event | None = None) -> Serving:
    ledger = Unwilling(home, program="test")
    ledger.may_answer = may_answer
    return Serving(home, lambda: ledger)


def patient(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setattr(client, name, 60)


def test_a_refused_call_is_no_call(
    serving: Serving, line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(line, monkeypatch, serving.end)
    patient(monkeypatch, "GUARD_WAIT_S", "DONE_WAIT_S")
    refusal = line.begin(begin_facts(run="a-run", declared=TOO_SMALL))
    assert refusal is not None
    assert serving.said == [f"call refused: {refusal}"]
    allowed = begin_facts(run="a-run", declared=DECLARED)
    assert line.begin(allowed) is None
    assert line.end(allowed, OK)
    serving.finish()
    assert journaled(home) == [(allowed["id"], "ok")]
    assert (serving.server.refused, serving.server.recorded) == (1, 1)


def test_a_fault_of_keledgers_refuses_only_where_a_budget_blocks(
    line: client.Line, home: Home, begin: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, "GUARD_WAIT_S", "GO_WAIT_S")
    serving = unwilling(home)
    connect(line, monkeypatch, serving.end)
    refusal = line.begin(begin)
    assert refusal is not None
    assert refusal.startswith("the disk is full; ")
    if "declared" in begin:
        assert line.begin(begin_facts()) is None
    serving.finish()


def test_a_home_that_cannot_be_opened_is_tried_again_where_a_budget_blocks(
    line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, "GUARD_WAIT_S", "GO_WAIT_S")
    home.path.write_text("a file, where the home belongs")
    serving = Serving(home)
    connect(line, monkeypatch, serving.end)
    guarded = begin_facts(run="a-run", declared=DECLARED)
    refusal = line.begin(guarded)
    assert refusal is not None
    assert str(home.path) in refusal
    assert line.begin(begin_facts()) is None
    home.path.unlink()
    assert line.begin(guarded) is None
    serving.finish()
    assert (guarded["id"], "unknown") in journaled(home)


def test_leave_that_comes_too_late_is_given_back(
    line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    may_answer = threading.Event()
    serving = unwilling(home, may_answer)
    connect(line, monkeypatch, serving.end)
    begin = begin_facts(run="a-run", declared=DECLARED)
    refusal = line.begin(begin)
    assert refusal is not None
    assert capsys.readouterr().err.endswith(f"keledger: call refused: {refusal}\n")
    may_answer.set()
    serving.finish()
    assert serving.server.unsent == 1
    assert [event["type"] for event in events_of(home) if "hold" in event["type"] or "call" in event["type"]] == [
        "call.reserved", "hold.released",
    ]  # fmt: skip


def test_a_declared_budget_of_nothing_lets_nothing_go(
    serving: Serving, line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(line, monkeypatch, serving.end)
    patient(monkeypatch, "GUARD_WAIT_S")
    refusal = line.begin(begin_facts(run="a-run", declared=[{"scope": "session", "limit_usd": "1"}]))
    assert refusal is not None
    assert "it is declared for the call's session, and the call names none" in refusal


@pytest.mark.usefixtures("line")
def test_a_server_asks_to_wait_where_a_budget_blocks(serving: Serving, begin: dict[str, Any]) -> None:
    serving.end.settimeout(60)
    serving.end.sendall(client.encode({"type": "begin", "begin": begin}))
    with serving.end.makefile("r") as replies:
        assert [json.loads(next(replies))["type"] for _ in range(2)] == ["wait", "go"]


def test_who_is_asked_to_wait_waits_and_says_so(
    line: client.Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    patient(monkeypatch, "GUARD_WAIT_S")
    asked = threading.Event()

    def say(kind: str, identifier: str) -> None:
        theirs.sendall(json.dumps({"type": kind, "id": identifier}).encode() + b"\n")

    def answer_slowly() -> None:
        with theirs.makefile("r") as messages:
            next(messages)
            identifier = json.loads(next(messages))["begin"]["id"]
        say("wait", identifier)
        asked.wait(client.GO_WAIT_S * 6)  # nobody sets it: this is longer than who was not asked would wait
        say("go", identifier)

    thread = threading.Thread(target=answer_slowly)
    thread.start()
    assert line.begin(begin_facts()) is None
    assert capsys.readouterr().err.startswith("keledger: budgets are being asked, which takes long ")
    thread.join()
    ours.close()
    theirs.close()


def test_who_was_asked_to_wait_does_not_go_without_leave(line: client.Line, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    begin = begin_facts()
    theirs.sendall(json.dumps({"type": "wait", "id": begin["id"]}).encode() + b"\n")
    assert line.begin(begin) is not None
    *_, last = theirs.recv(65536).splitlines()
    assert json.loads(last) == {"type": "unsent", "id": begin["id"]}
    ours.close()
    theirs.close()


def test_without_keledger_nothing_is_sent_where_a_budget_blocks(
    line: client.Line, begin: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = line.begin(begin)
    assert refusal is not None
    assert capsys.readouterr().err == f"keledger: call refused: {refusal}\n"


def test_without_keledger_and_without_budgets_everything_is_sent(
    line: client.Line, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line.begin(begin_facts()) is None
    assert capsys.readouterr().err == ""


def test_who_was_hung_up_on_calls_again_where_a_budget_blocks(
    line: client.Line, home: Home, begin: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, "GUARD_WAIT_S")
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    theirs.close()
    assert line.begin(begin) is not None
    serving = Serving(home)
    monkeypatch.setattr(client, "dial", lambda _: serving.end)
    assert line.begin(begin) is None
    serving.finish()
    assert [status for _, status in journaled(home)] == ["unknown"]


def test_what_covers_a_call_is_told(serving: Serving, line: client.Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.Line().covers(begin_facts()) is None
    connect(line, monkeypatch, serving.end)
    patient(monkeypatch, "DONE_WAIT_S")
    rows = line.covers(begin_facts(run="a-run", declared=DECLARED))
    assert rows is not None
    assert ("100", "0", "100") in [(row["limit_usd"], row["spent_usd"], row["left_usd"]) for row in rows]


def test_a_call_that_cannot_be_told_of_goes_only_where_no_budget_blocks(
    line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd:
        @property
        def prompt(self) -> None:
            raise RuntimeError

    monkeypatch.setattr(client, "line", line)
    client.Call(Odd(), {}, "Call-01").begin()
    assert "a fault of its own (RuntimeError in announce)" in capsys.readouterr().err
    monkeypatch.setenv("KELEDGER_RUN_FLAGS", '{"budget":"0.5"}')
    with pytest.raises(client.CallRefused):
        client.Call(Odd(), {}, "Call-01").begin()
    monkeypatch.delenv("KELEDGER_RUN_FLAGS")
    leave_word(home)
    with pytest.raises(client.CallRefused):
        client.Call(Odd(), {}, "Call-01").begin()


def test_what_is_to_be_said_of_a_hold_is_said(
    serving: Serving, line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(line, monkeypatch, serving.end)
    patient(monkeypatch, "GUARD_WAIT_S")
    now = {"started_at": format_time(now_us())}
    assert line.begin(begin_facts(run="a-run", declared=DECLARED) | now) is None
    assert serving.said == []
    years_ago = {"started_at": "2020-01-01T00:00:00.000000Z"}
    assert line.begin(begin_facts(run="a-run", declared=DECLARED) | years_ago) is None
    [sentence] = serving.said
    assert "2020-01-01" in sentence


@pytest.mark.parametrize("action", ["block", "warn"])
def test_while_nobody_knows_whether_a_budget_blocks_its_answer_is_waited_for(home: Home, action: str) -> None:
    marker = home.path / "guard" / "blocking"
    with Ledger.open(home.path) as holder, Ledger.open(home.path) as builder:
        holder.budgets.set(budget_fields("all", limit="5", period="day", action=action))
        shutil.rmtree(marker.parent)
        building = threading.Thread(target=builder._enforcing().guard.rebuild)
        with holder._appender.locked():  # without which nothing can be built to its end
            building.start()
            wait_for(marker.exists)
        building.join()
        assert marker.exists() is (action == "block")


def test_word_that_is_left_while_one_waits_is_heeded(
    line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    monkeypatch.setattr(client, "GO_WAIT_S", 1)

    def find_out() -> None:
        with theirs.makefile("r") as messages:
            next(messages)
            assert json.loads(next(messages))["type"] == "begin"
        leave_word(home)

    thread = threading.Thread(target=find_out)
    thread.start()
    assert line.begin(begin_facts()) is not None
    thread.join()
    ours.close()
    theirs.close()
