"""The line where a call is to be estimated or confirmed: the real ends of it, nonsense, slowness, and death."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keledger.cli._run_request import open_estimating
from keledger.journal import Home, Ledger
from keledger.journal._money import pico_to_usd, usd_to_pico
from keledger.journal.capture import client
from keledger.journal.capture._foresight_server import ForesightServer

from .line_ends import begin_facts, connect
from .support import events_of

LOW = "0.000001"
REQUEST: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Name three lakes."}]}
FLAGS = {"run_flags": {"confirm_above": LOW}}


class Asking:
    """A server that looks ahead, in a thread, and the other end of its line."""

    def __init__(self, home: Home, open_ledger: Callable[[], Ledger] | None = None) -> None:
        self.said: list[str] = []
        self.server = ForesightServer(
            open_ledger or (lambda: Ledger.open(home.path)), self.said.append, lambda: open_estimating(str(home.path))
        )
        self.end, theirs = socket.socketpair()
        self.end.settimeout(60)
        self.server.adopt(theirs)
        self._received = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self.server.has_clients:
            self.server.serve(None)
        self.server.close()

    def send(self, **message: Any) -> None:
        self.end.sendall(client.encode(message))

    def reply(self) -> dict[str, Any] | None:
        """The next message; None where the line was hung up."""
        while b"\n" not in self._received:
            received = self.end.recv(65536)
            if not received:
                return None
            self._received += received
        text, self._received = self._received.split(b"\n", 1)
        found: dict[str, Any] = json.loads(text)
        return found

    def kinds(self, number: int) -> list[str]:
        return [str((self.reply() or {"type": "end"})["type"]) for _ in range(number)]

    def finish(self) -> None:
        self.end.close()
        self._thread.join()


@pytest.fixture
def asking(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    opened = Asking(home)
    yield opened
    opened.finish()


def told(home: Home) -> list[tuple[str, str | None]]:
    return [(event["type"], event.get("confirm", {}).get("answer")) for event in events_of(home)]


def made(home: Home) -> list[tuple[str, str | None]]:
    return [each for each in told(home) if each[0].startswith(("estimate.", "call.", "hold."))]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "request", "begin": begin_facts(**FLAGS), "request": REQUEST}],
        [{"type": "answer", "begin": begin_facts(**FLAGS), "answer": "yes"}],
        [{"type": "answer", "begin": begin_facts(**FLAGS)}],
        [{"type": "request", "begin": begin_facts(**FLAGS)}],
        [{"type": "choose", "begin": begin_facts()}],
        [{"type": "unsent"}],
        [{"type": "unsent", "id": ["no", "id"]}],
    ],
)
def test_what_nobody_asked_for_is_hung_up_on(asking: Asking, home: Home, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        asking.send(**message)
    assert asking.reply() is None
    asking.finish()
    assert not home.path.exists() or made(home) == []


def test_an_answer_counts_for_the_call_that_was_asked_about_and_once(asking: Asking, home: Home) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    assert asking.kinds(1) == ["show"]
    asking.send(type="request", begin=begin, request=REQUEST)
    assert asking.kinds(1) == ["confirm"]
    asking.send(type="answer", begin=begin, answer="no")
    assert asking.kinds(1) == ["refuse"]
    asking.send(type="answer", begin=begin, answer="yes")
    assert asking.reply() is None
    asking.finish()
    assert made(home) == [("estimate.made", "no")]


def asked_about(asking: Asking, above_usd: str, model: str) -> bool:
    """Whether a call of this model is asked about with that limit.  It is not made."""
    begin = begin_facts(run_flags={"confirm_above": above_usd}, model=model)
    asking.send(type="begin", begin=begin)
    assert asking.kinds(1) == ["show"]
    asking.send(type="request", begin=begin, request={**REQUEST, "model": model})
    [kind] = asking.kinds(1)
    if kind == "confirm":
        asking.send(type="answer", begin=begin, answer="no")
        return asking.kinds(1) == ["refuse"]
    asking.send(type="unsent", id=begin["id"])
    assert kind == "go"
    return False


def test_it_is_the_cost_of_nine_of_ten_that_decides(asking: Asking, home: Home) -> None:
    assert asked_about(asking, LOW, REQUEST["model"])
    [cost] = [event["cost"] for event in events_of(home) if event["type"] == "estimate.made"]
    p90_pico = usd_to_pico(cost["p90_usd"])
    assert usd_to_pico(cost["p50_usd"]) < p90_pico - 1
    assert asked_about(asking, pico_to_usd(p90_pico - 1), REQUEST["model"])
    assert not asked_about(asking, cost["p90_usd"], REQUEST["model"])


def test_a_cost_that_nobody_knows_is_above_any_limit(asking: Asking) -> None:
    assert asked_about(asking, "1000000", "gpt-nobody-knows")
    assert not asked_about(asking, "1000000", REQUEST["model"])


@pytest.mark.parametrize("answer", ["maybe", None, ["yes"], "y", True])
def test_an_answer_that_is_none_lets_nothing_go(asking: Asking, home: Home, answer: object) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    asking.send(type="request", begin=begin, request=REQUEST)
    assert asking.kinds(2) == ["show", "confirm"]
    asking.send(type="answer", begin=begin, answer=answer)
    assert asking.reply() is None
    asking.finish()
    assert made(home) == [("estimate.made", "no")]


@pytest.mark.parametrize("how", ["hangs up", "takes it back"])
def test_who_leaves_at_the_question_has_said_no(asking: Asking, home: Home, how: str) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    asking.send(type="request", begin=begin, request=REQUEST)
    assert asking.kinds(2) == ["show", "confirm"]
    if how == "takes it back":
        asking.send(type="unsent", id=begin["id"])
    asking.finish()
    assert made(home) == [("estimate.made", "no")]
    assert (asking.server.unconfirmed, asking.server.unsent) == (1, 0)


def test_another_client_cannot_answer(asking: Asking, home: Home) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    asking.send(type="request", begin=begin, request=REQUEST)
    assert asking.kinds(2) == ["show", "confirm"]
    ours, theirs = socket.socketpair()
    asking.server.adopt(theirs)
    ours.settimeout(60)
    ours.sendall(client.encode({"type": "answer", "begin": begin, "answer": "yes"}))
    asking.send(type="covers", begin=begin)  # wakes the server, which takes the other one's word as well
    assert ours.recv(1) == b""
    assert asking.kinds(1) == ["covered"]
    asking.send(type="answer", begin=begin, answer="yes")
    assert asking.kinds(1) == ["go"]
    asking.send(type="unsent", id=begin["id"])
    ours.close()


def test_a_request_of_ten_megabytes_passes_and_a_line_of_two_without_being_asked_does_not(
    asking: Asking, home: Home
) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    assert asking.kinds(1) == ["show"]
    content = "Seen \U0001f98a and é, and so on. " * 400_000
    asking.send(type="request", begin=begin, request={**REQUEST, "messages": [{"role": "user", "content": content}]})
    assert asking.kinds(1) == ["confirm"]
    asking.send(type="answer", begin=begin, answer="no")
    assert asking.kinds(1) == ["refuse"]
    with contextlib.suppress(ConnectionError):
        asking.end.sendall(b"x" * 2_000_000)
        assert asking.reply() is None


@pytest.mark.parametrize(
    "request_body",
    [
        None,
        [],
        7,
        "",
        {},
        {"messages": []},
        {"messages": [{"role": "user", "content": "\ud800 alone"}]},
        {"messages": [{"role": "user", "content": [{"type": ["odd"], "text": {"a": 1}}]}]},
        {"messages": {"a": {"b": [[[[1]]]]}}},
        json.loads("[" * 500 + "]" * 500),
    ],
)
def test_a_request_that_cannot_be_counted_is_asked_about_all_the_same(asking: Asking, request_body: object) -> None:
    begin = begin_facts(**FLAGS)
    asking.send(type="begin", begin=begin)
    asking.send(type="request", begin=begin, request=request_body)
    assert asking.kinds(2) == ["show", "confirm"]
    asking.send(type="answer", begin=begin, answer="yes")
    assert asking.kinds(1) == ["go"]
    asking.send(type="unsent", id=begin["id"])


def say(line: client.Line, monkeypatch: pytest.MonkeyPatch, answer: str) -> list[list[str]]:
    """Have the user answer so; the questions that were put."""
    asked: list[list[str]] = []

    def ask_user(sentences: list[str]) -> str:
        asked.append(sentences)
        return answer

    monkeypatch.setattr(client.beside("asking"), "ask_user", ask_user)
    return asked


def test_a_client_shows_what_json_has_no_word_for_as_nothing(
    asking: Asking, line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GO_WAIT_S", 60)
    connect(line, monkeypatch, asking.end)
    asked = say(line, monkeypatch, "yes")
    for odd in ({"temperature": float("nan")}, {"messages": b"bytes"}):
        assert line.begin(begin_facts(**FLAGS), {**REQUEST, **odd}) is None
    assert [sentences[0].startswith("this call cannot be estimated: ") for sentences in asked] == [True, True]


def test_a_keledger_that_is_slow_to_show_is_waited_for(
    home: Home, line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GUARD_WAIT_S", 60)
    monkeypatch.setenv("KELEDGER_RUN_FLAGS", json.dumps(FLAGS["run_flags"]))
    waited = threading.Event()

    def open_ledger() -> Ledger:
        assert waited.wait(60)  # the client has given up on a quick answer
        return Ledger.open(home.path)

    slow = Asking(home, open_ledger)
    said: list[str] = []
    monkeypatch.setattr(client, "say", lambda sentence: (said.append(sentence), waited.set()))
    connect(line, monkeypatch, slow.end)
    asked = say(line, monkeypatch, "no")
    refusal = line.begin(begin_facts(**FLAGS), REQUEST)
    assert refusal is not None
    assert "it was not confirmed" in refusal
    assert len(asked) == len(said) == 1
    slow.finish()
    assert made(home) == [("estimate.made", "no")]


def test_a_keledger_that_dies_while_the_user_thinks_lets_nothing_go(
    line: client.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(client, "GO_WAIT_S", 60)
    connect(line, monkeypatch, ours)

    def serve() -> None:
        messages = theirs.makefile("r")
        next(messages)
        begin = json.loads(next(messages))["begin"]
        theirs.sendall(client.encode({"type": "show", "id": begin["id"], "blocks": True}))
        assert json.loads(next(messages))["request"] == REQUEST
        theirs.sendall(client.encode({"type": "confirm", "id": begin["id"], "sentences": ["it is dear"]}))
        messages.close()
        theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    say(line, monkeypatch, "yes")
    refusal = line.begin(begin_facts(), REQUEST)
    thread.join()
    assert refusal == "keledger does not answer, and this call must not be sent without its leave"


def test_a_fault_stops_nobody_who_asked_for_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))

    class Faulty(Ledger):
        def confirm_above(self, begin: Any) -> str | None:
            raise RuntimeError("the words of the user")

    broken = Asking(home, lambda: Faulty.open(home.path))
    for flags, kind in (({}, "go"), (FLAGS, "refuse")):
        broken.send(type="begin", begin=begin_facts(**flags))
        assert broken.kinds(1) == [kind]
    broken.finish()
    assert "the words of the user" not in " ".join(broken.said)


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("confirm_above_usd = 0.25\n", True),
        ('project = "a"\n  "confirm_above_usd" = "0.25"\n', True),
        ("confirm_above_usd = [[[", True),
        ("# confirm_above_usd = 0.25\n", False),
        ('project = "confirm_above_usd"\n', False),
        ("", False),
    ],
)
def test_a_client_knows_without_toml_whether_a_file_has_calls_confirmed(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch, text: str, stands: bool
) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "keledger.toml").write_text(text)
    (tmp_path / "keledger.toml").chmod(0o600)
    assert client.confirmation_stands(str(inner)) is stands
    (tmp_path / "keledger.toml").chmod(0o666)
    assert client.confirmation_stands(str(inner)) is False
    assert client.confirmation_stands(None) is False
    home.path.mkdir()
    home.config.write_text(text)
    assert client.confirmation_stands(None) is stands
