"""An appender that finds the lock taken, and what happens while its sync goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from keledger.journal import Home
from keledger.journal._writer import Appender
from tests.journal.support import events, note

from .support import Fault, WatchedDisk, failing, ignore


class Company(WatchedDisk):
    """A disk on which the lock is never free at once; *meanwhile* happens in the next sync of a segment, before it.

    It is told the sync's name: a fault makes the sync fail.
    """

    def __init__(self, meanwhile: Fault = ignore) -> None:
        self.meanwhile = meanwhile
        self.made: list[str] = []

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Let it happen once, where the lock was given back before the sync."""
        if name == "lock" and arguments[1] == 0:
            return False
        if name == "sync" and self.made[-1:] == ["unlock"]:
            meanwhile, self.meanwhile = self.meanwhile, ignore
            meanwhile(name)
        self.made.append(name)
        return call(*arguments)


def present(home: Home, disk: Company | None = None) -> Appender:
    """An appender that has the newest segment open, so that it need not wait for syncs."""
    appender = Appender(home, disk=disk)
    with appender.locked():
        appender.writer()
    return appender


def append_meanwhile(home: Home, meanwhile: Fault) -> Appender:
    """Append "mine"; *meanwhile* happens between its write and its sync."""
    appender = Appender(home, disk=Company(meanwhile))
    appender.append([note("mine")])
    return appender


def texts(home: Home) -> list[str]:
    """What stands in the journal, in its order."""
    return [event["data"]["text"] for event in events(home) if event["type"] == "test.noted"]


def appending(appender: Appender, text: str) -> Fault:
    """An event is appended meanwhile."""

    def happen(_: str) -> None:
        appender.append([note(text)])

    return happen


def failed_behind(home: Home, others: Appender) -> Fault:
    """Somebody else appends, and then the sync fails."""

    def fault(name: str) -> None:
        others.append([note("theirs")])
        failing(errno.EIO)(name)

    return fault
