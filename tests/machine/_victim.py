"""A program that forks victims: processes that append to a home while they are traced.

It imports once, then takes one JSON object a line on stdin: ``{"flow": …, "home": …, "told": …}``.  For each it
forks a child, prints the child's process id, and once the child is gone its exit code.  The child waits for a line
on stdin before it begins, so that a tracer can be put on it; what is acknowledged it writes to the file *told*, one
id a line.  Run as ``python -m tests.machine._victim``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, Ledger
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import call, note

EVENTS = 6
SEGMENT_BYTES = 2300
"""So small that six notes need two segments."""
ENTERED, LEFT = "> ", "< "
"""What stands in the told file before and after each call of a :class:`MarkedDisk`."""

_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, -1  # linux/prctl.h: where Yama lets only parents trace

Tell = Callable[[str], None]


class MarkedDisk(Disk):
    """A disk that tells when its calls begin and end, so that a trace shows what came from elsewhere."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in vars(Disk):
            return found

        def marked(*arguments: Any) -> Any:
            self.tell(ENTERED + name)
            try:
                return found(*arguments)
            finally:
                self.tell(LEFT + name)

        return marked


def _twice(attempt: Callable[[], Any]) -> None:
    """Do it, and once more where that failed: what a caller does who keeps its ids."""
    with contextlib.suppress(AppendRefused, AppendUnknown, HomeError):
        attempt()
        return
    attempt()


def append_notes(home: Home, tell: Tell, count: int = EVENTS, disk: Disk | None = None) -> None:
    """Notes, one append each: a first open and a rotation."""
    appender = Appender(home, disk=disk)
    for number in range(count):
        event = note(f"{number}" + "x" * 300)
        _twice(lambda event=event: appender.append([event]))  # type: ignore[misc]
        tell(event.id)


class Company(Disk):
    """A disk on which the lock is never free at once, as if another process had it: syncs go on without it."""

    def lock(self, descriptor: int, wait_s: float) -> bool:
        """Take it where it is waited for."""
        return wait_s > 0 and super().lock(descriptor, wait_s)


def append_in_company(home: Home, tell: Tell) -> None:
    """Notes, each of which finds the lock taken; fewer, for the flow is longer."""
    append_notes(home, tell, EVENTS - 2, Company())


def append_one_note(home: Home, tell: Tell) -> None:
    """One note: what whoever comes next does."""
    append_notes(home, tell, 1)


def record_calls(home: Home, tell: Tell, count: int = 2) -> None:
    """Calls, the first of which adopts a price book."""
    opened: list[Ledger] = []
    _twice(lambda: opened.append(Ledger.open(home.path)))
    for number in range(count):
        fields = call(id=f"call-{os.getpid()}-{number}")
        found: list[str] = []
        _twice(lambda fields=fields, found=found: found.append(opened[0].record(**fields)))  # type: ignore[misc]
        tell(found[0])


def record_one_call(home: Home, tell: Tell) -> None:
    """One call: what whoever comes next does."""
    record_calls(home, tell, 1)


def do_everything(home: Home, tell: Tell) -> None:
    """Whatever writes to a home, by way of a marked disk: record, rotate, void, merge, spool."""
    other = Home.at(home.path.with_name("other"))
    with Ledger.open(other.path) as ledger:
        ledger.record_many([call() for _ in range(4)])
    with Ledger(home, program="test", disk=MarkedDisk(tell)) as ledger:
        (first, *_) = ledger.record_many([call() for _ in range(4)])
        ledger.record(**call())
        ledger.revert_void(first, f"{ledger.void(first, 'by mistake')} was the mistake")
        ledger.merge(other.path)
        ledger._spool.keep({"id": "01980000-0000-7000-8000-000000000001", "provider": "openai", "model": "m"}, None)
        ledger.record(**call())


FLOWS: dict[str, Callable[[Home, Tell], None]] = {
    flow.__name__: flow
    for flow in (append_notes, append_in_company, append_one_note, record_calls, record_one_call, do_everything)
}


def _live(flow: str, home: str, told: str) -> None:
    """In the child."""
    sys.stdin.readline()
    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(text: str) -> None:
        os.write(descriptor, f"{text}\n".encode())

    FLOWS[flow](Home.at(home), tell)


def _requests() -> Iterator[dict[str, str]]:
    while line := sys.stdin.readline():
        yield json.loads(line)


def main() -> None:
    limits.SEGMENT_BYTES_MAX = SEGMENT_BYTES
    with Ledger.open(Path(sys.argv[1]) / "warm") as ledger:  # so that no victim imports anything
        ledger.record(**call())
        ledger.prepare()
    for request in _requests():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if sys.platform == "linux":
                    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
                _live(**request)
                status = 0
            except Exception:  # noqa: BLE001 - whatever it is, nothing of the parent's must go on in the child
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
