"""The line between a client and keledger, with the real ends of it: refusals, slowness, nonsense, and death."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger
from keledger.journal.capture import client
from keledger.journal.capture._server import CallServer

from .line_ends import OK, USAGE, Serving, begin_facts, connect, journaled


def test_calls_of_several_threads_share_a_connection(
    serving: Serving, line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GO_WAIT_S", 60)
    monkeypatch.setattr(client, "DONE_WAIT_S", 60)
    connect(line, monkeypatch, serving.end)
    both_began = threading.Barrier(2)
    told: list[bool] = []

    def call() -> None:
        begin = begin_facts()
        assert line.begin(begin) is None
        both_began.wait()
        told.append(line.end(begin, OK))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [True, True]
    assert [status for _, status in journaled(home)] == ["ok", "ok"]


def test_an_end_alone_suffices_and_twice_is_once(
    serving: Serving, line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "DONE_WAIT_S", 60)
    connect(line, monkeypatch, serving.end)
    begin = begin_facts()
    assert line.end(begin, OK)
    assert line.end(begin, OK)
    assert journaled(home) == [(begin["id"], "ok")]


def test_the_end_of_the_file_makes_an_announced_call_unknown(
    serving: Serving, line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(line, monkeypatch, serving.end)
    lost, taken_back = begin_facts(), begin_facts()
    line.begin(lost)
    line.begin(taken_back)
    line.unsent(taken_back)
    serving.finish()
    assert journaled(home) == [(lost["id"], "unknown")]
    assert serving.server.unsent == 1


@pytest.mark.parametrize(
    "nonsense",
    [b'{"type":"hello","protocol":99}\n', b"GET / HTTP/1.1\r\n", b"[]\n", b'{"type":"end"}\n', b"x" * 1_100_000],
)
def test_who_speaks_otherwise_is_hung_up_on(serving: Serving, home: Home, nonsense: bytes) -> None:
    serving.end.settimeout(60)
    with contextlib.suppress(ConnectionError):  # reset, where it was cut off in the middle of a sentence
        serving.end.sendall(nonsense)
        assert serving.end.recv(1) == b""
    serving.thread.join()
    assert not home.path.exists()


def test_a_refusal_reaches_the_caller_before_anything_is_sent(
    line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    monkeypatch.setattr(client, "GO_WAIT_S", 60)
    monkeypatch.setattr(client, "line", line)
    call = client.Call(None, {}, "Call-01")

    def refuse() -> None:
        messages = theirs.makefile("r")
        next(messages)
        begin = json.loads(next(messages))["begin"]
        messages.close()
        theirs.sendall(json.dumps({"type": "refuse", "id": begin["id"], "text": "nothing is left"}).encode() + b"\n")

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(client.CallRefused, match="nothing is left"):
        call.begin()
    thread.join()
    ours.close()
    theirs.close()


def test_a_keledger_that_does_not_answer_costs_a_moment_and_no_call(
    line: client.Line, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = socket.socketpair()
    connect(line, monkeypatch, ours)
    monkeypatch.setattr(client, "line", line)
    call = client.Call(None, {}, "Call-01")
    call.begin()
    exchange = client.Exchange(asked=True)
    call.end(exchange, {"usage": USAGE}, None)
    [spooled] = home.spool.iterdir()
    assert str(spooled) in capsys.readouterr().err
    # It wakes up after all: both tell of the same call, which counts once.
    late = CallServer(lambda: Ledger.open(home.path), lambda _: None)
    late.adopt(theirs)
    ours.close()
    while late.has_clients:
        late.serve(None)
    late.close()
    with Ledger.open(home.path) as ledger:
        ledger.bring_in_spooled()
    found = journaled(home)
    assert {identifier for identifier, _ in found} == {spooled.stem}
    assert {status for _, status in found} == {"ok"}


def test_requests_that_surely_never_left(tmp_path: Path) -> None:
    class NewConnectionError(OSError):
        pass

    class MaxRetryError(Exception):
        reason = NewConnectionError("refused")

    asked = client.Exchange(asked=True)
    assert client.never_left(asked, ConnectionError(MaxRetryError()))
    assert client.never_left(client.Exchange(asked=False), ValueError())
    assert not client.never_left(asked, ConnectionError("reset by peer"))
    assert not client.never_left(asked, KeyboardInterrupt())
    assert not client.never_left(asked, None)
    asked.response = object()
    assert not client.never_left(asked, ConnectionError(MaxRetryError()))
