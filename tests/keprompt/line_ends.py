"""The two real ends of a line: a server in a thread with a ledger, and a client's line whose waits are short."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from keledger.journal import Home, Ledger, scan_journal
from keledger.journal.capture import client
from keledger.journal.capture._server import CallServer

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
OK = {"status": "ok", "http_status": 200, "usage_raw": USAGE, "duration_ms": 3}


def begin_facts(**facts: Any) -> dict[str, Any]:
    """What a client tells before a call."""
    return {
        "id": client.uuid7(),
        "started_at": "2026-11-21T19:00:00.000000Z",
        "provider": "openai",
        "model": "gpt-5-mini",
        "cwd": "/",
        **facts,
    }


def journaled(home: Home) -> list[tuple[str, str]]:
    """The id and status of every call that was made."""
    events = [json.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]
    made = ("call.completed", "call.failed")
    return [(event["id"], event["data"]["status"]) for event in events if event["type"] in made]


class Serving:
    """A server in a thread, with a real ledger, until its clients have gone."""

    def __init__(self, home: Home, open_ledger: Callable[[], Ledger] | None = None) -> None:
        self.said: list[str] = []
        self.server = CallServer(open_ledger or (lambda: Ledger.open(home.path)), self.said.append)
        ours, theirs = socket.socketpair()
        self.end = ours
        self.server.adopt(theirs)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while self.server.has_clients:
            self.server.serve(None)
        self.server.close()

    def finish(self) -> None:
        """Hang up as a client that ends, and wait until all it said is dealt with."""
        self.end.close()
        self.thread.join()


def connect(line: client.Line, monkeypatch: pytest.MonkeyPatch, end: socket.socket) -> None:
    """Give a line its connection."""
    monkeypatch.setenv("KELEDGER_SOCKET", "unused")
    monkeypatch.setattr(client, "dial", lambda _: end)
    line.hello()
