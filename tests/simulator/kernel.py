"""The operating system as the write side sees it: every system call of a simulated process goes through here.

:class:`Kernel` stands in for the modules ``os`` and ``fcntl`` in the modules that write (see :mod:`.nature`), below the
product's own ``Disk``: so each call that ``Disk`` is made of is a place where things go wrong, and ``Disk`` itself is
on trial.  Calls are carried out on real files, for readers open those; nothing is really synced, it is only written
down in :class:`.storage.Storage`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

from .faults import Fault
from .processes import Crash, Processes, Violation, failing
from .storage import Change, FileNode, FolderNode, Node, Storage

_HARMLESS = frozenset(
    [
        "PathLike", "fsdecode", "fsencode", "fspath", "geteuid", "listdir", "scandir", "stat", "strerror",
    ]
)  # fmt: skip
"""What reads only, and may be had as it is.  Whatever else a module of the write side asks for must be simulated."""


_GIVES_UP = 0.02
"""How likely the time of somebody who waits for a lock is up, each time that another one gets it."""


class Kernel(Processes):
    """Stands in for ``os`` where the write side uses it."""

    def __init__(self, chance: Random, world: Path) -> None:
        super().__init__(chance)
        self.path = _Paths(world)

    def _to_sync(self, descriptor: int) -> Node:
        """What a descriptor is open on, before it is synced, on this machine's disk or another's.

        A file that was opened past the kernel, for reading, is looked up by its path.
        """
        path = _path_of(descriptor)
        storage = self._disk_of(path)
        if storage is not None and storage.read_only:
            raise failing(errno.EROFS, descriptor)
        node = self._open.get(descriptor)
        if node is None and storage is not None:
            node = storage.find(path)
        return node or FileNode()

    def _disk_of(self, path: str) -> Storage | None:
        """The disk that a path leads to, this machine's or another's."""
        return next((storage for storage in self._storages if storage.holds(path)), None)

    def _file(self, descriptor: int) -> FileNode:
        node = self._open[descriptor]
        assert isinstance(node, FileNode)
        return node

    @property
    def _storage(self) -> Storage:
        assert self.current is not None
        return self.current.computer.storage

    @property
    def _full(self) -> bool:
        return self.current is not None and self.current.computer.full

    # The calls of os

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        """open(2)."""
        name = str(path)
        self._enter("open", name)
        if _is_truth(name) and flags & (os.O_TRUNC | os.O_WRONLY | os.O_RDWR) and not flags & os.O_APPEND:
            raise Violation(f"{name} is opened for writing at any place: what is journaled is only appended to")
        if self._storage.read_only and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise failing(errno.EROFS, name)
        disk = self._disk_of(name)
        there = disk.find(name) if disk is not None else None
        if flags & os.O_CREAT and there is None and self._full and self.chance.random() < 0.5:
            raise failing(errno.ENOSPC, name)
        descriptor = os.open(path, flags, mode)
        if there is None:
            there = FileNode()
            if flags & os.O_CREAT:
                folder, last = (disk or self._storage).folder_of(name)
                folder.change(Change(last, there))
            elif flags & (os.O_WRONLY | os.O_RDWR):
                os.close(descriptor)
                raise LookupError(f"{name} was not made on the simulated disk of {self.current}")
        self._open[descriptor] = there
        assert self.current is not None
        self.current.descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        """close(2): the descriptor is gone also where it fails."""
        fault = self._enter("close", descriptor)
        os.close(descriptor)
        del self._open[descriptor]
        assert self.current is not None
        self.current.descriptors.discard(descriptor)
        self.turns.wake()
        if fault is not None:
            raise failing(fault.code, descriptor)

    def dup(self, descriptor: int) -> int:
        """dup(2)."""
        self._enter("dup", descriptor)
        copy = os.dup(descriptor)
        self._open[copy] = self._open[descriptor]
        assert self.current is not None
        self.current.descriptors.add(copy)
        return copy

    def write(self, descriptor: int, data: bytes) -> int:
        """write(2): all, less (the disk is full, a signal), or nothing; a killed process may leave a part."""
        fault = self._enter("write", f"{descriptor} {len(data)} bytes")
        length = len(data)
        if self._full:
            length = self.chance.choice([0, 0, self.chance.randrange(length + 1)])
            if not length:
                raise failing(errno.ENOSPC, descriptor)
        elif fault is not None:
            length = self.chance.randrange(length + 1)
        if length:
            part = bytes(data[:length])
            os.write(descriptor, part)
            self._file(descriptor).append(part)
        if fault is not None and fault.kind == "kill":
            assert self.current is not None
            self.kill(self.current)
            raise Crash
        return length

    def fdatasync(self, descriptor: int) -> None:
        """fdatasync(2) of a file: what was written is durable, or in doubt for good."""
        fault = self._enter("fdatasync", descriptor)
        node = self._to_sync(descriptor)
        assert isinstance(node, FileNode)
        self._sync_file(descriptor, node, fault)

    def fsync(self, descriptor: int) -> None:
        """fsync(2) of a folder or file."""
        fault = self._enter("fsync", descriptor)
        node = self._to_sync(descriptor)
        if isinstance(node, FileNode):
            self._sync_file(descriptor, node, fault)
        elif fault is None:
            node.sync()
        else:
            self._storage.read_only = self.chance.random() < 0.3
            raise failing(fault.code, descriptor)

    def _sync_file(self, descriptor: int, node: FileNode, fault: Fault | None) -> None:
        if fault is None or self._full:  # a full local disk refuses at the write
            node.sync()
            if descriptor in node.untold:
                node.untold.discard(descriptor)
                raise failing(errno.EIO, descriptor)
            return
        node.fail_sync()
        node.untold = {other for other, opened in self._open.items() if opened is node and other != descriptor}
        assert self.current is not None
        self.current.spared = True
        if self.chance.random() < 0.3:
            self._forget_pages(descriptor, node)
        raise failing(fault.code, descriptor)

    def _forget_pages(self, descriptor: int, node: FileNode) -> None:
        """After a failed sync a read may show what is on the disk: here nothing yet, so NULs."""
        path = f"/proc/self/fd/{descriptor}"
        if not os.path.exists(path):  # not Linux: then it goes on showing what was written
            return
        with open(path, "r+b", buffering=0) as file:
            for written in node.unsynced:
                nuls = bytes(written.end - written.start)
                node.content[written.start : written.end] = nuls
                file.seek(written.start)
                file.write(nuls)

    def mkdir(self, path: str | Path, mode: int = 0o777) -> None:
        """mkdir(2)."""
        name = str(path)
        self._enter("mkdir", name)
        if self._full and self.chance.random() < 0.5 and not os.path.exists(name):
            raise failing(errno.ENOSPC, name)
        os.mkdir(path, mode)
        folder, last = self._storage.folder_of(name)
        folder.change(Change(last, FolderNode()))

    def link(self, source: str | Path, target: str | Path, *, follow_symlinks: bool = True) -> None:
        """link(2)."""
        self._enter("link", f"{source} {target}")
        os.link(source, target, follow_symlinks=follow_symlinks)
        folder, last = self._storage.folder_of(str(target))
        folder.change(Change(last, self._storage.find(str(source))))

    def replace(self, source: str | Path, target: str | Path) -> None:
        """rename(2)."""
        name = str(target)
        self._enter("replace", f"{source} {name}")
        if _is_truth(name) and os.path.lexists(name):
            raise Violation(f"{name} is renamed over: what is in journal/ and prices/ is never replaced")
        os.replace(source, target)
        storage = self._disk_of(name) or self._storage
        folder, last = storage.folder_of(name)
        before, old = storage.folder_of(str(source))
        node = before.entries[old]
        if before is folder:
            folder.change(Change(last, node, renamed_from=old))
        else:  # two folders, synced each for itself
            before.change(Change(old, None))
            folder.change(Change(last, node))

    def unlink(self, path: str | Path) -> None:
        """unlink(2)."""
        name = str(path)
        self._enter("unlink", name)
        folder, last = (self._disk_of(name) or self._storage).folder_of(name)
        if _is_truth(name) and not last.startswith("."):
            raise Violation(f"{name} is removed: nothing in journal/ and prices/ ever is")
        os.unlink(path)
        folder.change(Change(last, None))

    remove = unlink

    def chmod(self, path: str | Path, mode: int) -> None:
        """chmod(2)."""
        self._enter("chmod", path)
        os.chmod(path, mode)

    def access(self, path: str, mode: int) -> bool:
        """access(2), which tells an error and an absence alike."""
        return self._enter("access", path) is None and os.access(path, mode)

    def fstat(self, descriptor: int) -> os.stat_result:
        """fstat(2)."""
        self._enter("fstat", descriptor)
        return os.fstat(descriptor)

    def lstat(self, path: str | Path) -> os.stat_result:
        """lstat(2), which reads only; but what it tells may be old when the process goes on."""
        if self.current is not None:
            self._let_others()
        return os.lstat(path)

    def sched_yield(self) -> None:
        """sched_yield(2)."""
        self._let_others()

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """pread(2)."""
        self._enter("pread", descriptor)
        return os.pread(descriptor, length, offset)

    def getpid(self) -> int:
        """One number for all, above any that Linux gives: to the product, whoever left something behind is dead."""
        return 2**22 + 1

    def getcwd(self) -> str:
        """No folder of the real machine, whose name would come into the events."""
        return "/"

    def urandom(self, length: int) -> bytes:
        """Randomness that the seed decides."""
        return self.chance.randbytes(length)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of the running process."""
        assert self.current is not None
        return self.current.computer.environment

    # The calls of fcntl and shutil

    def flock(self, descriptor: int, operation: int) -> None:
        """flock(2), on the real file.  Who must wait does so in a crowd, and else does not get the lock."""
        releases = bool(operation & fcntl.LOCK_UN)
        self._enter("unlock" if releases else "flock", descriptor)
        while True:
            try:
                fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                process = self.current
                if operation & fcntl.LOCK_NB or process is None or not self.turns.takes_part(process):
                    raise
                if not self.patient and self.chance.random() < _GIVES_UP:
                    raise failing(errno.EINTR, descriptor) from None
                self.trace.append((process.name, "waits", descriptor))
                try:
                    self.turns.wait_for_lock(process)
                finally:
                    self.current = process
                if not process.alive:
                    raise Crash from None
            else:
                break
        if releases:
            self.turns.wake()

    def rmtree(self, path: str | Path, ignore_errors: bool = False) -> None:
        """shutil.rmtree; the storage notices what is gone when the power is cut."""
        try:
            self._enter("rmtree", path)
        except OSError:
            if ignore_errors:
                return
            raise
        if not os.path.lexists(path):
            return
        shutil.rmtree(path, ignore_errors=ignore_errors)
        folder, last = self._storage.folder_of(str(path))
        if last in folder.entries:
            folder.change(Change(last, None))

    def __getattr__(self, name: str) -> Any:
        if name in _HARMLESS or name.startswith("O_") or name in ("F_OK", "R_OK", "W_OK", "X_OK"):
            return getattr(os, name)
        raise AttributeError(f"os.{name} is not simulated: say in tests/simulator/kernel.py what it does to a disk")


class _Paths:
    """Stands in for ``os.path``: as it is, but that a real path does not tell where the world is."""

    def __init__(self, world: Path) -> None:
        self._world = os.path.realpath(world)

    def realpath(self, path: str | Path) -> str:
        """The same in each run of a world: it is written into ``writer.json``, and names the spool."""
        return os.path.realpath(path).replace(self._world, "")

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)


class FileControl:
    """Stands in for ``fcntl``."""

    LOCK_EX, LOCK_NB, LOCK_UN, LOCK_SH = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN, fcntl.LOCK_SH
    F_FULLFSYNC = 51

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.flock = kernel.flock

    def fcntl(self, descriptor: int, command: int) -> None:
        """F_FULLFSYNC, as macOS syncs."""
        assert command == self.F_FULLFSYNC
        self._kernel.fdatasync(descriptor)


def _path_of(descriptor: int) -> str:
    """The path that a descriptor was opened by."""
    if sys.platform == "darwin":
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _is_truth(path: str) -> bool:
    """Whether a path is in a home's ``journal/`` or ``prices/``."""
    return "/home/journal/" in path or "/home/prices/" in path
