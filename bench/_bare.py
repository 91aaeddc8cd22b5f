"""The floor of everything durable: one write and one fdatasync of the same bytes, to a file on the same disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keledger.journal import NewEvent
from keledger.journal._line import ZERO_HASH, encode_line

Append = Callable[[bytes], None]


@contextmanager
def bare_append(path: Path) -> Iterator[Append]:
    """A function that makes a line durable and does nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    sync = getattr(os, "fdatasync", os.fsync)

    def append(line: bytes) -> None:
        os.write(descriptor, line)
        sync(descriptor)

    try:
        yield append
    finally:
        os.close(descriptor)


def line_of(event: NewEvent) -> bytes:
    """The line that an appender would write for an event, but for its place in a chain."""
    time = "2026-10-24T12:00:00.000000Z"
    return encode_line(event, writer="0" * 16, time=time, seq=1_000, tick=1_000, previous=ZERO_HASH)[0]
