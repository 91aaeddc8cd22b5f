"""Which start of the machine this is: what stands in the page cache only goes with it."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

_LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A UUID that the kernel draws at each start (random(4)); the same in every container."""

_DARWIN_BOOT_ID = b"kern.bootsessionuuid"
"""The like of it on macOS, by sysctl(3)."""


@functools.cache
def boot_id() -> str:
    """Which start of the machine this is; empty where the system does not tell, so that any two may differ."""
    if sys.platform == "darwin":
        import ctypes  # which no other system needs, and which takes a millisecond

        found = ctypes.create_string_buffer(64)
        size = ctypes.c_size_t(len(found))
        failed = ctypes.CDLL(None).sysctlbyname(_DARWIN_BOOT_ID, found, ctypes.byref(size), None, ctypes.c_size_t(0))
        return "" if failed else found.value.decode("ascii", "replace")
    try:
        return _LINUX_BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
