"""Other writers' segments here of which a sync has failed, remembered until the machine restarts.

The kernel tells of a failed sync once and then holds the lost bytes for written, so a merge that is run again would
find them there, sync with success, and promise what a power cut may take.  Behind a line of the home's own writer the
next segment is begun instead; another writer's file has no such place.  What is remembered need not survive a power
cut: after that the file shows what is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

import orjson

from ._boot import boot_id
from ._disk import Disk, write_new
from ._errors import HomeError
from ._home import Home
from ._plain_file import read_plain_file


def remember_unsynced(home: Home, disk: Disk, path: Path) -> None:
    """Remember that a sync of a segment has failed.  Called under the lock.

    Where nothing can be written any more nothing is remembered: then no merge can end either.
    """
    with contextlib.suppress(OSError, HomeError):
        kept = [_entry(home, other) for other in find_unsynced(home) if other != path]
        write_new(disk, home.unsynced, orjson.dumps([*kept, _entry(home, path)]) + b"\n")


def find_unsynced(home: Home) -> list[Path]:
    """The segments of which a sync has failed since the machine was started, as far as they are the same files still.

    Raises HomeError where that cannot be read.
    """
    try:
        entries = orjson.loads(read_plain_file(home.unsynced))
        found = [(home.journal / entry["path"], entry) for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HomeError(f"cannot read {home.unsynced}: {error.strerror}; move it away") from error
    except (ValueError, KeyError, TypeError):
        return []  # not synced before its machine lost power: what it spoke of is over
    return [path for path, entry in found if os.path.lexists(path) and entry == _entry(home, path)]


def refuse_unsynced(path: Path) -> HomeError:
    """What to raise where such a segment is to be built upon."""
    return HomeError("; ".join(tell_unsynced(path)))


def tell_unsynced(path: Path) -> tuple[str, str]:
    """What to say of such a segment, and what its user can do."""
    name, copy = shlex.quote(str(path)), shlex.quote(f"{path}.copy")
    return (
        f"a sync of {path} has failed: a power cut may take lines that stand there",
        f"check the disk, then put a copy in its place (cp -p {name} {copy} && mv {copy} {name})",
    )


def _entry(home: Home, path: Path) -> dict[str, str | int]:
    status = os.lstat(path)
    return {
        "path": str(path.relative_to(home.journal)),
        "device": status.st_dev,
        "inode": status.st_ino,
        "boot": boot_id(),
    }
