"""A machine whose power can be cut: the real file system, and a record of what of it had reached the disk.

What a process sees is the page cache, here the files themselves.  What a power cut leaves is less: of a file the
content at its last sync, of a folder the entries at its last sync.  Both are noted as the calls are made, below
``Disk``, on the functions of ``os``; so a sync that is dropped anywhere shows as a loss.  A sync that fails drops
the pages that it was to write, and tells so once, as Linux does: a later sync succeeds without them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .support import Fault

CHANGING = ("open", "mkdir", "write", "fsync", "fdatasync", "close", "replace", "link", "unlink", "rmdir", "chmod")
"""Calls that change something.  To die before any other is to die before the next of these."""

SYNCS = ("fsync", "fdatasync")

PAGE_BYTES = 4096


def _nothing(_descriptor: int) -> None:
    return None


class Died(BaseException):
    """The process that made a call has died in it: what it would still have done is not done."""


def die(_name: str) -> None:
    """A fault that ends everything a process does, but leaves this one for the test to go on in."""
    raise Died


class Machine:
    """What is below *folder*, and what of it a power cut would leave.  At first all of it is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self._prefix = f"{folder}{os.sep}"
        self._entries: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._lost_pages: dict[int, set[int]] = {}
        self._ours: dict[int, int] = {}
        self._dead = False
        self._forgets: Callable[[Path], bool] | None = None
        for path in (folder, *folder.rglob("*")):
            self._settle(path)

    @contextlib.contextmanager
    def running(
        self, at: int = 0, fault: Fault = die, *, forgets: Callable[[Path], bool] | None = None
    ) -> Iterator[None]:
        """Watch the calls made inside; *fault* happens before the *at*-th one that changes something.

        Syncs of what *forgets* is true for are left out, as by a program that does not make them.  A process that died
        by :func:`die` ends the block in silence, its descriptors closed and its lock with them.
        """
        self.calls, self._dead, self._forgets = [], False, forgets
        with pytest.MonkeyPatch.context() as patch:
            for module, name in [*((os, name) for name in CHANGING), (fcntl, "flock")]:
                real = _nothing if name in SYNCS else getattr(module, name)  # what a sync does is noted; nobody waits
                patch.setattr(module, name, self._watched(name, real, at, fault))
            with contextlib.suppress(Died):
                yield
        if self._dead:
            self._close_all()

    def kill(self) -> None:
        """From inside a call: the process that makes it dies here."""
        self._dead = True
        raise Died

    def _close_all(self) -> None:
        """What the kernel does for a process that has died."""
        for descriptor, inode in self._ours.items():
            with contextlib.suppress(OSError):  # closed as a file object
                if os.fstat(descriptor).st_ino == inode:
                    os.close(descriptor)
        self._ours = {}

    def cut_power(self, target: Path) -> None:
        """Make *target* what is on the disk after a power cut."""
        target.mkdir(mode=0o700, exist_ok=True)
        self._restore(os.stat(self.folder).st_ino, target)

    def _restore(self, folder: int, target: Path) -> None:
        for name, inode in self._entries.get(folder, {}).items():
            if inode in self._contents:
                (target / name).write_bytes(self._contents[inode])
                (target / name).chmod(0o600)
            else:
                (target / name).mkdir(mode=0o700)
                self._restore(inode, target / name)

    def _watched(self, name: str, real: Callable[..., Any], at: int, fault: Fault) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            subject = arguments[0]
            if not (
                subject in self._ours if isinstance(subject, int) else f"{subject}{os.sep}".startswith(self._prefix)
            ):
                return real(*arguments, **options)
            if self._dead:
                raise Died
            self.calls.append(name)
            if len(self.calls) == at:
                try:
                    fault(name)
                except Died:
                    self._dead = True
                    raise
                except OSError:
                    if name in SYNCS:
                        self.lose(subject)
                    raise
            result = real(*arguments, **options)
            self._note(name, subject, result, arguments)
            return result

        return call

    def _note(self, name: str, subject: Any, result: Any, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            self._ours[result] = os.fstat(result).st_ino
            if arguments[1] & os.O_EXCL:
                self._contents[os.fstat(result).st_ino] = b""  # the number may have been another file's
            elif arguments[1] & os.O_CREAT:
                self._contents.setdefault(os.fstat(result).st_ino, b"")
        elif name == "close":
            self._ours.pop(subject, None)
        elif name == "write":
            status = os.fstat(subject)
            written = range((status.st_size - result) // PAGE_BYTES, status.st_size // PAGE_BYTES + 1)
            self._lost_pages.get(status.st_ino, set()).difference_update(written)
        elif name in SYNCS:
            path = Path(os.readlink(f"/proc/self/fd/{subject}"))
            if self._forgets is None or not self._forgets(path):
                self._settle(path)
        elif name == "mkdir":
            self._contents.pop(os.stat(subject).st_ino, None)

    def _settle(self, path: Path) -> None:
        """A file's content or a folder's entries have reached the disk."""
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path) as entries:
                self._entries[status.st_ino] = {entry.name: entry.inode() for entry in entries}
            return
        content, before = bytearray(path.read_bytes()), self._contents.get(status.st_ino, b"")
        for page in self._lost_pages.get(status.st_ino, ()):
            start, end = page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, len(content))
            content[start:end] = before[start:end].ljust(end - start, b"\0")
        self._contents[status.st_ino] = bytes(content)

    def lose(self, descriptor: int) -> None:
        """A sync of this file has failed."""
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            first = len(self._contents[status.st_ino]) // PAGE_BYTES
            self._lost_pages.setdefault(status.st_ino, set()).update(range(first, status.st_size // PAGE_BYTES + 1))
