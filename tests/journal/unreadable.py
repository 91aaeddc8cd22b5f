"""Segments that the system does not let be read: by their mode, or with the error of a failing disk."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import _segment

_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2
"""What lets root read whatever its mode says (capabilities(7))."""


@contextlib.contextmanager
def modes_bind() -> Iterator[None]:
    """Let modes bind this thread, though it is root's.  Processes that are started meanwhile are as before."""
    if os.geteuid() != 0 or sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the same again for higher numbers
    assert libc.capget(header, sets) == 0
    had = sets[0]
    sets[0] = had & ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = had
        assert libc.capset(header, sets) == 0


def shut(path: Path) -> None:
    """Take everybody's right to a file."""
    path.chmod(0)
    with contextlib.suppress(PermissionError), open(path, "rb"):
        pytest.skip("root reads whatever its mode says")


class _FailingFile(io.FileIO):
    """A file on a disk that cannot read from byte ``bad_at`` on.  As of the system, the error names no file."""

    bad_at = 0

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self.bad_at - self.tell())]
        if not wanted:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(wanted) or 0


@contextlib.contextmanager
def failing_disk(bad: Path, bad_at: int = 0) -> Iterator[None]:
    """Let what reads segments meet EIO in one of them, from a byte on."""

    def opened(path: Any, mode: str = "r", buffering: int = -1) -> Any:
        if Path(path) != bad:
            return builtins.open(path, mode, buffering)
        file = _FailingFile(path)
        file.bad_at = bad_at
        return io.BufferedReader(file, buffering if buffering > 0 else io.DEFAULT_BUFFER_SIZE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segment, "open", opened, raising=False)
        yield
