"""What ``doctor`` sees of the machine: versions, filesystem, space, whether a sync works, the clock, KePrompt."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator

from ._check import Check, note, ok, problem
from ._disk import Disk, write_new
from ._doctor_journal import look_at_ends, version_key
from ._filesystem import filesystem_kind, nearest_existing
from ._home import Home
from ._limits import SEGMENT_BYTES_MAX
from ._time import format_time, now_us, parse_time
from ._unsynced import find_unsynced, tell_unsynced
from .prices import shipped_manifest

PYTHON_MIN = "3.11"
SUPPORTED = {
    "click": ("8.2", "9"),
    "duckdb": ("1.5", "3"),
    "orjson": ("3.10", "4"),
    "pydantic": ("2.11", "3"),
}
"""What keledger stands on: from a release on, and below one.  A test holds it to pyproject.toml."""

SPACE_BYTES_MIN = SEGMENT_BYTES_MAX
"""Below one segment's size a disk is as good as full."""

SPACE_BYTES_LOW = 1024 * 1024 * 1024
"""About a million calls."""

INODES_MIN = 1000
"""A home has some hundred files; with fewer left the next segment or price file may not be made."""

CLOCK_TOLERANCE_S = 2.0
"""Clocks that are kept right by the network are within some ten milliseconds; FAT keeps even seconds."""


def check_versions() -> Iterator[Check]:
    """Whether Python and what keledger stands on are of releases that it was tested with."""
    import keledger

    told = []
    if version_key(platform.python_version()) < version_key(PYTHON_MIN):
        told.append(
            problem("versions", f"Python {platform.python_version()} is too old", f"use Python {PYTHON_MIN} or later")
        )
    found = [f"keledger {keledger.__version__}", f"Python {platform.python_version()}"]
    for name, (least, below) in SUPPORTED.items():
        install = shlex.join([sys.executable, "-m", "pip", "install", f"{name}>={least},<{below}"])
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told.append(problem("versions", f"{name} is not installed", install))
            continue
        found.append(f"{name} {version}")
        if not version_key(least) <= version_key(version) < version_key(below):
            message = f"{name} {version} is not of the releases {least} to below {below} that keledger works with"
            told.append(problem("versions", message, install))
    yield from told or [ok("versions", ", ".join(found))]


def check_filesystem(home: Home) -> Iterator[Check]:
    """Whether locks and syncs mean what they say where the home is."""
    found = filesystem_kind(home.path)
    if found.place == "network":
        yield problem(
            "filesystem",
            f"{home.path} is on a network filesystem ({found.kind}): locks and syncs cannot be relied on, and "
            "budgets will refuse it",
            "set KELEDGER_HOME to a disk of this machine",
        )
    elif found.place == "memory":
        message = f"{home.path} is in memory ({found.kind}): a restart empties it"
        yield note("filesystem", message, "set KELEDGER_HOME to a disk, unless this is meant")
    elif found.place == "unknown":
        message = f"{home.path} is on a filesystem that keledger does not know ({found.kind})"
        yield note("filesystem", message, "make sure that it is a disk of this machine")
    elif found.kind == "overlay":
        message = f"{home.path} is in a container's own layer (overlay), which goes with the container"
        yield note("filesystem", message, "set KELEDGER_HOME to a volume")
    else:
        yield ok("filesystem", f"{found.kind}, a disk of this machine")


def check_space(home: Home) -> Iterator[Check]:
    """Whether the disk takes more events and more files."""
    found = os.statvfs(nearest_existing(home.path))
    free_bytes, free_files = found.f_bavail * found.f_frsize, found.f_favail
    if free_bytes < SPACE_BYTES_MIN:
        yield problem("space", f"{free_bytes / 1e6:,.1f} MB are free on the home's disk", "make room on it")
    elif found.f_files and free_files < INODES_MIN:  # some filesystems have no such limit and say 0
        yield problem("space", f"the home's disk takes {free_files:,} more files", "delete files that are not needed")
    elif free_bytes < SPACE_BYTES_LOW:
        yield note("space", f"{free_bytes / 1e6:,.1f} MB are free on the home's disk", "make room on it soon")
    else:
        yield ok("space", f"{free_bytes / 1e9:,.1f} GB are free")


def check_sync(home: Home) -> Iterator[Check]:
    """Write, sync and remove one small file, as writer.json is written; and hold its time to this machine's clock."""
    disk, probe = Disk(), home.path / f".doctor.{os.getpid()}.{os.urandom(4).hex()}"
    before_s = time.time()
    try:
        write_new(disk, probe, b"keledger doctor writes this to see whether it can, and removes it\n")
        written_s = os.stat(probe).st_mtime
        after_s = time.time()
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.remove(probe)
    yield ok("sync", "a file was written, synced and removed again")
    skew_s = max(before_s - written_s, written_s - after_s)
    if skew_s > CLOCK_TOLERANCE_S:
        message = f"the filesystem's clock differs by {skew_s:,.0f} s from this machine's"
        yield problem("sync", message, "set both by the network (NTP)")


def check_unsynced(home: Home) -> Iterator[Check]:
    """Whether a sync of what was named or merged has failed, which the kernel tells once only."""
    for path in find_unsynced(home):
        yield problem("sync", *tell_unsynced(path))


def check_clock(home: Home, *, there: bool) -> Iterator[Check]:
    """Whether the wall clock can be right, as far as that shows: calls belong to the day that it says."""
    now, listed = now_us(), shipped_manifest().list_date
    if format_time(now)[:10] < listed:
        message = f"the clock says {format_time(now)[:10]}, but this keledger's price list is of {listed}"
        yield problem("clock", message, "set the clock")
        return
    newest = look_at_ends(home).newest_of_own if there else ""
    ahead_s = (parse_time(newest) - now) / 1e6 if newest else 0.0
    if ahead_s > CLOCK_TOLERANCE_S:
        message = f"the newest event was written at {newest}, {ahead_s:,.0f} s ahead of the clock"
        yield problem("clock", message, "set the clock; it was ahead then, or is behind now")
    else:
        yield ok("clock", f"{format_time(now)[:19]}Z, behind no event of this home")


def check_keprompt() -> Iterator[Check]:
    """Which KePrompts are found on PATH and beside keledger, and whether they are watched."""
    from .capture import KePromptUnusable, find_all

    found = list(find_all())
    for place in found:
        if isinstance(place, KePromptUnusable):
            yield note("keprompt", str(place), "name its Python: keledger keprompt status --python INTERPRETER")
            continue
        named = f"keprompt {place.version} of {place.interpreter}"
        if not place.enabled:
            yield ok("keprompt", f"{named} is journaled under keledger run alone (keledger keprompt enable: always)")
        elif not place.intact:
            message = f"{named} is to be journaled by a keledger that is gone"
            yield problem("keprompt", message, "run keledger keprompt enable, or disable")
        elif not place.fits:
            message = f"{named} calls models in a way that this keledger does not know, and is not journaled"
            yield problem("keprompt", message, "look for a newer keledger")
        else:
            yield ok("keprompt", f"{named} is journaled whenever it runs")
    if not found:
        yield ok("keprompt", "no keprompt is on PATH or beside keledger")
