"""Bytes behind a segment's last line: torn, or a line that is just being written."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ._disk import Disk, close_quietly
from ._errors import HomeError
from ._home import Home, read_writer
from ._segment import Finding, scan_segment

RECHECK_WAIT_S = 0.5
"""How long a reader waits for the lock to look at a bad tail again; an append holds it for milliseconds."""


def bad_tail(home: Home, path: Path, last_hash: bytes, end: int, lines: int, *, locked: bool) -> Finding | None:
    """What to tell of the bytes behind *end*, where the *lines*-th line ends; None where they may be on their way.

    They are looked at again under the lock, which the caller may have already (*locked*).  Where it is not to be had,
    they are still no line on its way if they stand after the wait as they stood before it, for an appender writes all
    of its lines in one write.  Raises OSError where the segment cannot be read.
    """
    if locked or not home.lock.exists():
        return _look_again(home, path, last_hash, end, lines)
    disk = Disk()
    try:
        descriptor = disk.open_to_lock(home.lock)
    except (OSError, HomeError):  # nothing that anybody can lock: then the tail is told as it is seen
        return _look_again(home, path, last_hash, end, lines)
    try:
        if _may_look(disk, descriptor, 0):
            return _look_again(home, path, last_hash, end, lines)
        before = _digest_from(path, end)
        if _may_look(disk, descriptor, RECHECK_WAIT_S):
            return _look_again(home, path, last_hash, end, lines)
        if not RECHECK_WAIT_S or _digest_from(path, end) != before:  # without a wait the same bytes say nothing
            return None
        held = (
            f"; {home.lock} was held while they were looked at, by whom cannot be known, and they stood unchanged for "
            f"{RECHECK_WAIT_S} s"
        )
        return _look_again(home, path, last_hash, end, lines, held)
    finally:
        close_quietly(disk, descriptor)


def _may_look(disk: Disk, descriptor: int, wait_s: float) -> bool:
    """Whether the lock was taken, or cannot be taken by anybody: not every filesystem has locks."""
    try:
        return disk.lock(descriptor, wait_s)
    except OSError:
        return True


def _look_again(
    home: Home, path: Path, last_hash: bytes, end: int, lines: int, circumstances: str = ""
) -> Finding | None:
    again = scan_segment(path, last_hash, start=end, first_line=lines + 1)
    if again.torn_at is None:
        return None
    length = path.stat().st_size - again.torn_at
    message = (
        f"{path} has {length} bytes after its last whole line (byte {again.torn_at}): they are no event; "
        f"{_what_becomes_of_it(home, path.parent.name)}{circumstances}"
    )
    return Finding("tail_torn", str(path), message, (again.line_number or lines) + 1, again.torn_at)


def _what_becomes_of_it(home: Home, writer: str) -> str:
    try:
        own = read_writer(home)
    except HomeError:
        own = None
    if own is not None and own.writer == writer:
        return "the next append seals them off"
    return "nothing appends to this writer here, so they stay"


def _digest_from(path: Path, start: int) -> bytes:
    """The SHA-256 of a file's bytes from *start* on."""
    with open(path, "rb") as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").digest()
