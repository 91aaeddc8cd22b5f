"""What a restart of the machine takes with it: lines that were read and had never been synced.

A reader sees what stands in the page cache.  An appender that is killed between its write and its sync leaves whole
lines there, which a power cut may take in any part: sectors from their middle, while their end stays.  So a position
that was taken before a restart holds only where every line below it, as far as it was read since the restart before,
is held to its hash again.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

from ._home import Home
from ._reader import Position, read_bounds
from ._segment import scan_segment

_LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A UUID that the kernel draws at each start (random(4)); the same in every container."""

_DARWIN_BOOT_ID = b"kern.bootsessionuuid"
"""The like of it on macOS, by sysctl(3)."""


@functools.cache
def boot_id() -> str:
    """Which start of the machine this is; empty where the system does not tell, so that any two may differ."""
    if sys.platform == "darwin":
        found = ctypes.create_string_buffer(64)
        size = ctypes.c_size_t(len(found))
        failed = ctypes.CDLL(None).sysctlbyname(_DARWIN_BOOT_ID, found, ctypes.byref(size), None, ctypes.c_size_t(0))
        return "" if failed else found.value.decode("ascii", "replace")
    try:
        return _LINUX_BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def chain_leads_to(home: Home, writer: str, position: Position, first_segment: int) -> bool:
    """Whether one unbroken chain of hashes leads from the beginning of a segment to *position*.

    Then every line in between is the one that stood there when the position was taken.  Raises OSError.
    """
    paths = {int(path.stem): path for path in home.segments(writer)}
    heads, seals = read_bounds({number: path for number, path in paths.items() if number >= first_segment})
    seals[position.segment] = position.offset_bytes
    previous: bytes | None = None
    for number in range(first_segment, position.segment + 1):
        if seals.get(number) == 0:
            continue  # it was never an event's place, whether it is there or not
        head = heads.get(number)
        if head is None or previous not in (None, head.prev_hash):
            return False
        scan = scan_segment(paths[number], head.prev_hash, length=seals.get(number))
        if scan.findings or scan.torn_at is not None:
            return False
        previous = scan.last_hash
    return previous is not None and previous.hex() == position.hash
