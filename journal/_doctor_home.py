"""What ``doctor`` sees of a home from the outside: owner, modes, strange files, configuration, lock and spool."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ._attributes import read_toml
from ._check import Check, failed, note, ok, problem
from ._disk import Disk
from ._errors import HomeError, UsageError
from ._filesystem import nearest_existing
from ._home import SEGMENT_NAME, WRITER_NAME, Home
from ._spool import Spool
from ._zone import report_zone

NAMED_MAX = 3
"""So many files of one kind are named, the others counted."""

LOCK_LOOK_S = 0.5
"""How long the lock is looked at: an append holds it for milliseconds."""

_LOCKS = Path("/proc/locks")
_FILES = frozenset(("lock", "writer.json", "merging", "unsynced", "identity.key", "config.toml"))
_FOLDERS = frozenset(("journal", "prices", "projections", "guard", "holds"))
_PACKED_NAME = re.compile(r"\d{8}\.jsonl\.zst")
_PRICE_NAME = re.compile(r"[0-9a-f]{64}")
_DRAFT_NAME = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""What a file that ``write_new`` writes is called until it is whole; other names with a dot are not keledger's."""


def check_home(home: Home) -> Iterator[Check]:
    """Whether the home is there and ours, or can be made."""
    try:
        there = home.check()
    except (HomeError, OSError) as error:
        yield failed("home", error)
        return
    if there:
        yield ok("home", f"{home.path} is there and yours alone")
        return
    above = nearest_existing(home.path)
    if not above.is_dir():
        yield problem("home", f"{home.path} cannot be made, {above} is not a folder", "set KELEDGER_HOME to a folder")
    elif not os.access(above, os.W_OK | os.X_OK):
        yield problem(
            "home", f"{home.path} cannot be made, {above} may not be written", "set KELEDGER_HOME to a folder of yours"
        )
    else:
        yield ok("home", f"{home.path} is not there yet and will be made with the first event")


def check_files(home: Home) -> Iterator[Check]:
    """Owner, mode and kind of everything in the home, and what does not belong there.  Nothing is opened."""
    found: dict[str, list[Path]] = defaultdict(list)
    count = 0
    for path, status in _walk(home.path, found["unreadable"]):
        count += 1
        for flaw in _flaws(home, path, status):
            found[flaw].append(path)
    told = [
        say("files", *_worded(words, found[flaw], home))
        for say, flaws in ((problem, _PROBLEMS), (note, _NOTES))
        for flaw, words in flaws.items()
        if found[flaw]
    ]
    noun = "file or folder" if count == 1 else "files and folders"
    yield from told or [ok("files", f"{count:,} {noun}, all yours alone")]


_PROBLEMS = {
    "unreadable": ("{names} cannot be looked into", "run chmod u+rwx on {them}"),
    "foreign": ("{names} {belong} to somebody else", "look at what {they_are}, then take {them} over with chown"),
    "open": ("{names} {are} open to others", "run chmod -R go= {home}"),
    "strange": ("{names} {are} not what belongs there, a plain file or a folder", "move {them} away"),
}
_NOTES = {
    "shut": ("{names} may not be written by you", "run chmod u+w on {them}, unless this is a copy to be kept as it is"),
    "linked": (
        "{names} {have} another name elsewhere (hard links), which changes with every append",
        "copy {them} instead of linking {them}",
    ),
    "leftover": ("{names} {were} left behind by a process that died", "delete {them} once nothing is running"),
    "unknown": ("{names} {do} not belong in a home", "move {them} away"),
}
_OF_ONE = {
    "are": "is", "belong": "belongs", "do": "does", "have": "has", "them": "it", "they_are": "it is", "were": "was",
}  # fmt: skip
_OF_SEVERAL = {**{word: word for word in _OF_ONE}, "they_are": "they are"}


def _worded(words: tuple[str, str], paths: list[Path], home: Home) -> Iterator[str]:
    """A message and a remedy, as they are said of one file or of several."""
    number = _OF_ONE if len(paths) == 1 else _OF_SEVERAL
    return (text.format(names=_named(paths), home=home.path, **number) for text in words)


def _walk(folder: Path, unreadable: list[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder, links not followed; folders that cannot be read are added to *unreadable*.

    What goes away meanwhile is passed over, and so is what caches are being built in: nobody else gets into there.
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError:
        unreadable.append(folder)
        return
    for path in paths:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        yield path, status
        if stat.S_ISDIR(status.st_mode) and not path.name.startswith("work-"):
            yield from _walk(path, unreadable)


def _flaws(home: Home, path: Path, status: os.stat_result) -> Iterator[str]:
    is_folder, is_file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    if status.st_uid != os.geteuid():
        yield "foreign"
    if not is_folder and not is_file:
        # A configuration may be a link, as those who keep all of theirs in one place have it.
        if path != home.config or not stat.S_ISLNK(status.st_mode):
            yield "strange"
        return
    if path.parent == home.path and path.name in (_FILES if is_folder else _FOLDERS):
        yield "strange"
    if status.st_mode & 0o077:
        yield "open"
    if not status.st_mode & 0o200:
        yield "shut"
    if is_file and status.st_nlink > 1:
        yield "linked"
    if _DRAFT_NAME.fullmatch(path.name) or (path.parent == home.path and path.name.startswith("merge-")):
        yield "leftover"
    elif path.name.startswith(".") or not _belongs(home, path):
        yield "unknown"


def _belongs(home: Home, path: Path) -> bool:
    """Whether the home's layout has such a name there; the caches are their makers' business."""
    if path.parent == home.path:
        return path.name in _FILES | _FOLDERS
    if path.parent == home.journal:
        return WRITER_NAME.fullmatch(path.name) is not None
    if path.parent.parent == home.journal:
        return (SEGMENT_NAME.fullmatch(path.name) or _PACKED_NAME.fullmatch(path.name)) is not None
    return path.parent != home.prices or _PRICE_NAME.fullmatch(path.name) is not None


def _named(paths: list[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:NAMED_MAX])
    return names if len(paths) <= NAMED_MAX else f"{names} and {len(paths) - NAMED_MAX:,} more"


def check_config(home: Home) -> Iterator[Check]:
    """Whether config.toml can be read, by its user alone."""
    path = home.config
    if not os.path.lexists(path):
        yield ok("config", "there is no config.toml, and need not be one")
        return
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        yield problem("config", f"{path} is not a plain file", "move it away")
        return
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        yield problem("config", f"{path} can be written by others, who may say whose calls these are", "chmod 600 it")
    try:
        read_toml(path)
    except HomeError as error:
        yield problem("config", str(error), "mend it, or move it away")
        return
    try:
        zone = report_zone(home)
    except UsageError as error:
        yield problem("config", f"reports have no time zone, {error}", "mend it there")
        return
    yield ok("config", f"{path} can be read; days are those of {zone}")


def check_lock(home: Home) -> Iterator[Check]:
    """Whether the lock is a file that can be locked, and whether somebody holds it at the moment.

    For how long a lock has been held cannot be known; an append holds it for milliseconds.
    """
    if not os.path.lexists(home.lock):
        yield ok("lock", "nothing was appended yet" if not home.writers() else "the next append makes the lock file")
        return
    disk = Disk()
    try:
        descriptor = disk.open_to_lock(home.lock)
    except HomeError as error:
        yield failed("lock", error)
        return
    except OSError as error:
        yield problem("lock", f"{home.lock} cannot be opened ({error.strerror})", "it must be a plain file of your own")
        return
    try:
        deadline = time.monotonic() + LOCK_LOOK_S
        while not _is_free(descriptor):
            if time.monotonic() >= deadline:
                holder = _holder(disk.status(descriptor))
                yield note(
                    "lock",
                    f"{holder} has held {home.lock} for longer than an append takes",
                    "appends wait for 5 s and then keep calls in the spool; find it with fuser or lsof",
                )
                return
            time.sleep(0.02)
        yield ok("lock", f"{home.lock} is free")
    finally:
        disk.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _holder(status: os.stat_result) -> str:
    """Who took a file's flock, as Linux lists it in /proc/locks (proc(5)); forked children share it."""
    try:
        listed = _LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return "another process"
    for line in listed.splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(status.st_ino):
            name = _process_name(fields[4])
            return f"process {fields[4]} ({name})" if name else f"process {fields[4]}, or a child it has left behind,"
    return "another process"


def _process_name(pid: str) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def check_spool(home: Home) -> Iterator[Check]:
    """Whether calls wait outside the home, and whether anybody else could have put them there."""
    folder = home.spool
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        yield ok("spool", "no call waits to be journaled")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield problem("spool", f"{folder} is not a folder, so calls that cannot be journaled are lost", "move it away")
        return
    spool = Spool(home, Disk())
    if spool.is_open():
        yield problem(
            "spool",
            f"{folder} can be written by others, so nothing in it is believed",
            f"look at what is in it, then run chmod 700 {folder}",
        )
        return
    names = [name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith(".")]
    waiting = sum(1 for _ in spool.waiting())
    if waiting:
        noun = "call waits" if waiting == 1 else "calls wait"
        yield note("spool", f"{waiting:,} {noun} in {folder} to be journaled", "the next append brings them in")
    if len(names) > waiting:
        unread = len(names) - waiting
        noun = "file in {} is no call" if unread == 1 else "files in {} are no calls"
        message = f"{unread:,} {noun.format(folder)} that this release can read"
        yield problem("spool", message, "upgrade keledger, or look at them and move them away")
    if not names:
        yield ok("spool", "no call waits to be journaled")
