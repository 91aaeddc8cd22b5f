"""The home: one folder of one OS user, and which writer it is.

::

    home/
      lock           one flock file, never deleted
      writer.json    who writes here
      merging        stands only while a merge puts other writers' files in place
      unsynced       segments that were named or merged though a sync of them had failed; only until a restart
      journal/<writer>/00000001.jsonl
      prices/<sha256>
      projections/   guard/   caches
      config.toml    optional
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import stat
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._disk import Disk, write_new
from ._errors import HomeError
from ._plain_file import read_plain_file

WRITER_NAME = re.compile(r"[0-9a-f]{16}")
SEGMENT_NAME = re.compile(r"(?!0{8})[0-9]{8}\.jsonl")  # from 00000001 on


def default_home() -> Path:
    """``KELEDGER_HOME``, else ``$XDG_DATA_HOME/keledger``, else ``~/.local/share/keledger``."""
    given = os.environ.get("KELEDGER_HOME")
    if given:
        return Path(given).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    if data and Path(data).is_absolute():  # the XDG specification: a relative path is to be ignored
        return Path(data) / "keledger"
    return Path("~/.local/share/keledger").expanduser()


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one home.  Making this object touches nothing."""

    path: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str] | None = None) -> Home:
        """The home at *path*, or the default one, as an absolute path.

        Raises HomeError for a relative one where the working folder is gone.
        """
        chosen = Path(path).expanduser() if path is not None else default_home()
        try:
            return cls(Path(os.path.abspath(chosen)))
        except FileNotFoundError:
            raise HomeError(
                f"the working folder is gone, and the home's path {chosen} is a relative one: give an absolute path"
            ) from None

    @property
    def journal(self) -> Path:
        """Truth: the writers' folders."""
        return self.path / "journal"

    @property
    def prices(self) -> Path:
        """Truth: price layers and book manifests by their SHA-256."""
        return self.path / "prices"

    @property
    def lock(self) -> Path:
        """The flock file of all appenders."""
        return self.path / "lock"

    @property
    def projections(self) -> Path:
        """Caches of the read side."""
        return self.path / "projections"

    @property
    def config(self) -> Path:
        """The user's optional configuration."""
        return self.path / "config.toml"

    @property
    def merging(self) -> Path:
        """Marker: other writers' files are being put in place, so ticks must be looked up."""
        return self.path / "merging"

    @property
    def unsynced(self) -> Path:
        """Segments of which a sync has failed: see :mod:`._unsynced`."""
        return self.path / "unsynced"

    @property
    def spool(self) -> Path:
        """Where calls wait that the journal could not take: outside the home, which may be full or read-only."""
        state = os.environ.get("XDG_STATE_HOME")
        base = Path(state) if state and Path(state).is_absolute() else Path("~/.local/state").expanduser()
        key = hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:16]
        return base / "keledger" / "spool" / key

    def check(self) -> bool:
        """Whether the home is there.  Raises HomeError where something else is, or it is not safe to use."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HomeError(f"cannot look at {self.path}: {error.strerror}") from None
        if stat.S_ISLNK(found.st_mode):
            target = os.path.realpath(self.path)
            raise HomeError(f"{self.path} is a symbolic link: set KELEDGER_HOME to where it leads, {target}")
        if not stat.S_ISDIR(found.st_mode):
            raise HomeError(f"{self.path} is not a folder: move it away or set KELEDGER_HOME to a folder")
        if found.st_uid != os.geteuid():
            raise HomeError(
                f"{self.path} belongs to user id {found.st_uid}, not to you: a home has one user; "
                "set KELEDGER_HOME to a folder of your own"
            )
        if found.st_mode & 0o077 and any(self.path.iterdir()):
            mode = stat.S_IMODE(found.st_mode)
            raise HomeError(f"{self.path} is open to others (mode {mode:04o}): run chmod 700 {self.path}")
        return True

    def create(self, disk: Disk) -> None:
        """Make the home and its folders where they are missing, each entry synced."""
        try:
            if not self.check():
                for folder in reversed([self.path, *self.path.parents]):
                    if not folder.exists():
                        disk.make_folder(folder)
            elif os.stat(self.path).st_mode & 0o077:
                os.chmod(self.path, 0o700)  # an empty folder that somebody made for us
            disk.make_folder(self.journal)
            disk.make_folder(self.prices)
        except OSError as error:
            raise HomeError(f"cannot make the home {self.path}: {error.strerror}; {remedy(error)}") from error

    def writers(self) -> list[str]:
        """All writers that have a folder here, sorted."""
        try:
            with os.scandir(self.journal) as entries:
                return sorted(entry.name for entry in entries if WRITER_NAME.fullmatch(entry.name) and entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HomeError(f"cannot read {self.journal}: {error.strerror}") from None

    def segments(self, writer: str) -> list[Path]:
        """The segment files of a writer in their order; see :meth:`strangers` for what else has such a name."""
        return self.segments_and_strangers(writer)[0]

    def strangers(self, writer: str) -> list[Path]:
        """What is named like a segment but is a link, FIFO, device or folder: never opened, for opening may block."""
        return self.segments_and_strangers(writer)[1]

    def segments_and_strangers(self, writer: str) -> tuple[list[Path], list[Path]]:
        """Both, by one look at the folder."""
        folder = self.journal / writer
        try:
            with os.scandir(folder) as entries:
                found = sorted(
                    (entry.name, entry.is_file(follow_symlinks=False))
                    for entry in entries
                    if SEGMENT_NAME.fullmatch(entry.name)
                )
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise HomeError(f"cannot read {folder}: {error.strerror}") from None
        return [folder / name for name, plain in found if plain], [folder / name for name, plain in found if not plain]


def remedy(error: OSError) -> str:
    """What a user can do about an error of the operating system, as the end of a message."""
    if error.errno == errno.EROFS:
        return "it is read-only: set KELEDGER_HOME to a folder that can be written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room on that disk"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: close some or raise the limit (ulimit -n)"
    if error.errno == errno.EIO:
        return "the disk may be failing: keep a copy of the home and check it"
    if error.errno == errno.ETIMEDOUT:
        return "the disk is slow or hangs: try again"
    if error.errno == errno.EEXIST:
        return "something else stands in its place: run keledger verify"
    return "set KELEDGER_HOME to a folder that you may write to"


@dataclass(frozen=True, slots=True)
class WriterIdentity:
    """Who writes in a home: *writer* is 16 random hex, *continues* the home's writers before it, oldest first."""

    writer: str
    continues: tuple[str, ...] = ()


@functools.cache
def machine_id() -> str:
    """A name for this machine that is equal after a restart, hashed: the raw one is not for publishing."""
    raw = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            raw = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if raw:
            break
    raw = raw or f"{sys.platform}:{uuid.getnode():012x}"
    return hashlib.sha256(f"keledger machine {raw}".encode()).hexdigest()[:32]


def read_writer(home: Home) -> WriterIdentity | None:
    """The home's writer as ``writer.json`` has it; None where there is none, it was made elsewhere or lost its folder.

    A writer whose folder is gone must not begin again at its first line: a backup of it could never be merged.
    """
    stored = _stored_writer(home)
    if stored is None or (stored["machine"], stored["home"]) != (machine_id(), os.path.realpath(home.path)):
        return None
    if not (home.journal / stored["writer"]).is_dir():
        return None
    return WriterIdentity(stored["writer"], tuple(stored["continues"]))


def own_writers(home: Home) -> tuple[str, ...]:
    """The home's own writers, oldest first: the present one and those it continues."""
    stored = _stored_writer(home)
    return () if stored is None else (*stored["continues"], stored["writer"])


def make_writer(home: Home, disk: Disk) -> WriterIdentity:
    """Begin a new writer that continues the one in ``writer.json``, if any.  Called under the lock."""
    identity = WriterIdentity(os.urandom(8).hex(), own_writers(home))
    disk.make_folder(home.journal / identity.writer)
    content = {
        "writer": identity.writer,
        "machine": machine_id(),
        "home": os.path.realpath(home.path),
        "continues": list(identity.continues),
    }
    write_new(disk, home.path / "writer.json", (json.dumps(content, indent=1) + "\n").encode())
    return identity


def _stored_writer(home: Home) -> dict[str, Any] | None:
    path = home.path / "writer.json"
    try:
        stored: dict[str, Any] = json.loads(read_plain_file(path))
        fits = WRITER_NAME.fullmatch(stored["writer"]) and all(map(WRITER_NAME.fullmatch, stored["continues"]))
        if fits and isinstance(stored["machine"], str) and isinstance(stored["home"], str):
            return stored
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise HomeError(f"{path} cannot be read as a writer's identity: restore it, or remove it to begin a new writer")
