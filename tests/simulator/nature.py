"""The world's own time, randomness and limits, put in place of the real ones while it lasts."""

from __future__ import annotations

import _thread
import io
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Self

import pytest

from keledger.journal import (
    _attributes,
    _bad_tail,
    _disk,
    _home,
    _identity,
    _ledger,
    _library,
    _lock,
    _merge,
    _settled,
    _spool,
    _tail,
    _time,
    _unsynced,
    _writer,
)
from keledger.journal import _limits as limits
from keledger.journal.prices import _shipped
from keledger.projections import _build

from .kernel import FileControl, Kernel

_BEGINNING_NS = 1_795_000_000 * 10**9
"""A day in November 2026."""

_LOCK_WAIT_S = 1e-6
"""Of real time, as little as there is: the wait is over before it is looked at (:class:`_NoThreads`)."""

_OPERATING_SYSTEM = (_attributes, _disk, _home, _identity, _ledger, _library, _merge, _settled, _spool)
"""The modules of the write side that use ``os``; each of them must come through the kernel."""


class Clock:
    """Stands in for ``time``: a clock that goes on by itself, jumps, or stands still."""

    def __init__(self) -> None:
        self.now_ns = _BEGINNING_NS
        self.step_ns = 1_000_000

    def time_ns(self) -> int:
        """The wall clock."""
        self.now_ns += self.step_ns
        return self.now_ns

    monotonic_ns = time_ns

    @staticmethod
    def monotonic() -> float:
        """Waiting takes no time."""
        return 0.0


class _NoThreads:
    """Stands in for ``_thread`` where a thread would wait for the lock: the process itself waits, if it can."""

    allocate_lock = staticmethod(_thread.allocate_lock)

    @staticmethod
    def start_new_thread(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        """Do at once what the thread would do."""
        function(*arguments)


class _Said(io.TextIOBase):
    """Stands in for ``sys.stderr``: each process has its own."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def write(self, text: str) -> int:
        if self._kernel.current is not None:
            self._kernel.current.said += text
        return len(text)


@contextmanager
def simulated(
    kernel: Kernel, clock: Clock, book: Path, *, segment_bytes_max: int, cache_at_once: bool
) -> Iterator[None]:
    """Put the kernel, the clock and the price book in *book* below the write side.  One world at a time."""

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(clock.now_ns / 10**9, tz)

    with pytest.MonkeyPatch.context() as patch:
        for module in _OPERATING_SYSTEM:
            if hasattr(module, "os"):
                patch.setattr(module, "os", kernel)
        patch.setattr(_disk, "fcntl", FileControl(kernel))
        patch.setattr(_disk, "_thread", _NoThreads)
        patch.setattr(_merge, "shutil", kernel)
        # Of killed processes: a real fork would close the numbers that they had, which are others' by then.
        patch.setattr(_writer, "_appenders", weakref.WeakSet())
        for module in (_time, _identity, _library, _lock, _settled):
            patch.setattr(module, "time", clock)
        patch.setattr(_tail, "datetime", Datetime)
        patch.setattr(_shipped, "_FOLDER", book)
        patch.setattr(_attributes, "os_user", lambda: "somebody")
        patch.setattr(sys, "stderr", _Said(kernel))
        patch.setattr(socket, "gethostname", lambda: "a-machine")
        patch.setattr(_home, "machine_id", lambda: kernel.current and kernel.current.computer.identity)
        for module in (_build, _unsynced):
            patch.setattr(module, "boot_id", lambda: kernel.current and str(kernel.current.computer.starts))
        patch.setattr(limits, "SEGMENT_BYTES_MAX", segment_bytes_max)
        patch.setattr(limits, "LOCK_WAIT_S", _LOCK_WAIT_S)
        patch.setattr(limits, "LOCK_ASKED_TIMES", 2)
        patch.setattr(_bad_tail, "RECHECK_WAIT_S", 0.0)
        if cache_at_once:
            patch.setattr("keledger.journal._adoption._SAVE_EVERY_BYTES", -1)
        yield
