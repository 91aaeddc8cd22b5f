"""Every system call that changes ``journal/`` or ``prices/``, in one place, so that faults can be put here.

:class:`Disk` is what production uses.  A test passes a subclass whose calls fail, tear or forget.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from pathlib import Path

from . import _limits as limits
from ._errors import HomeError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


_waiting: set[int] = set()
"""Descriptors on which threads wait for a lock."""


def _close_waiting(descriptor: int) -> None:
    _waiting.discard(descriptor)
    os.close(descriptor)


def _drop_inherited() -> None:
    """In a forked child, which has none of the threads: an open copy would keep a lock that the parent gets."""
    while _waiting:
        os.close(_waiting.pop())


os.register_at_fork(after_in_child=_drop_inherited)


class Disk:
    """Thin calls on files and folders.  All raise OSError; none retries a failed sync."""

    def make_folder(self, path: Path) -> bool:
        """Create one folder (0700) and sync the entry that names it.  False where it was there already.

        The entry of the folder above is synced as well: whoever made that may have died before it was durable.
        """
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                os.mkdir(path, FOLDER_MODE)
            except FileExistsError:
                return False
            os.fsync(parent)
        finally:
            os.close(parent)
        self.sync_name(path.parent)
        return True

    def sync_name(self, path: Path) -> None:
        """Sync the entry that names a folder, where its parent may be read, and is on a filesystem that syncs."""
        try:
            above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return
        try:
            os.fsync(above)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
                raise
        finally:
            os.close(above)

    def open_append(self, path: Path) -> int:
        """Open an existing file for reading and appending.  A link, FIFO or device is refused, never waited for."""
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return _regular(os.open(path, flags), path)

    def create_exclusive(self, path: Path | str) -> int:
        """Create a file (0600) that must not exist yet, for reading and appending."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, FILE_MODE)

    def open_lock(self, path: Path) -> int:
        """Open the lock file, made where it is missing, for locking and appending; it is never deleted."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return _regular(os.open(path, flags, FILE_MODE), path)

    def open_to_lock(self, path: Path) -> int:
        """Open a file to lock it, or to see it locked, as one who may not be allowed to write to it."""
        return _regular(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), path)

    def lock(self, descriptor: int, wait_s: float) -> bool:
        """Take the exclusive flock within *wait_s*, at once where that is 0; False where somebody else kept it.

        After waiting in vain, and after an exception, the caller must close the descriptor: only then is it sure that
        the lock is not taken later.  The lock is mostly held for less than it takes to fall asleep and wake up, so it
        is asked for some times first.  The kernel queues who then blocks in flock, so waiting is fair (measured with
        eight appenders: asking on and on starved some for seconds); as nothing but a signal bounds a blocking call, and
        a library must not send itself any, a short-lived thread makes it.  That thread has a descriptor of its own: the
        caller's number may be another file's by the time that it runs.
        """
        if self._lock_at_once(descriptor):
            return True
        if wait_s <= 0:
            return False
        for _ in range(limits.LOCK_ASKED_TIMES):
            os.sched_yield()
            if self._lock_at_once(descriptor):
                return True
        taken = _thread.allocate_lock()
        taken.acquire()
        waiting = os.dup(descriptor)
        _waiting.add(waiting)

        def wait() -> None:
            try:
                fcntl.flock(waiting, fcntl.LOCK_EX)
                taken.release()
            except OSError:
                pass
            finally:
                _close_waiting(waiting)

        try:
            _thread.start_new_thread(wait, ())
        except RuntimeError:  # no thread may be started: at a limit on them, or as the interpreter ends
            _close_waiting(waiting)
            return self._ask_until(descriptor, time.monotonic() + wait_s)
        return taken.acquire(timeout=wait_s)

    def _ask_until(self, descriptor: int, deadline_s: float) -> bool:
        while time.monotonic() < deadline_s:
            time.sleep(0.002)
            if self._lock_at_once(descriptor):
                return True
        return False

    def _lock_at_once(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return False
        return True

    def share(self, descriptor: int) -> None:
        """Take the shared flock, at once or not at all."""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock(self, descriptor: int) -> None:
        """Give the lock back for every copy of the descriptor, forked ones included."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def status(self, descriptor: int) -> os.stat_result:
        """Size, links, owner of an open file."""
        return os.fstat(descriptor)

    def exists(self, path: str) -> bool:
        """Whether anything has this name.  Not ``access``, which tells any failure as an absence: a segment that
        another process has left would be gone on in.
        """
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def read_at(self, descriptor: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Read up to *length_bytes* at an offset."""
        return os.pread(descriptor, length_bytes, offset_bytes)

    def write(self, descriptor: int, data: bytes) -> int:
        """One write(2).  Returns how many bytes were taken; the caller treats fewer than given as a failure."""
        return os.write(descriptor, data)

    def grow(self, descriptor: int) -> None:
        """Make the lock file a byte longer.  What stands in it means nothing."""
        if not os.write(descriptor, b"."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def begin_sync(self, descriptor: int, offset_bytes: int, length_bytes: int) -> None:
        """Let the disk begin with what was just written, where it can be told to, while its caller does something else.

        Nothing is stable before :meth:`sync` has returned.  On Linux that these bytes will not be needed is heard as:
        write them now (mm/fadvise.c); what is shorter than a page stays in the cache all the same.
        """
        if sys.platform == "linux" and length_bytes <= limits.BEGUN_BYTES_MAX:
            os.posix_fadvise(descriptor, offset_bytes, length_bytes, os.POSIX_FADV_DONTNEED)

    def sync(self, descriptor: int) -> None:
        """Bring a file's data to stable storage.  On macOS only F_FULLFSYNC does that."""
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(descriptor)

    def open_folder(self, path: Path) -> int:
        """Open a folder for :meth:`sync_folder`: before the change in it, so that no error is forgotten."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_folder(self, descriptor: int) -> None:
        """Bring a folder's entries to stable storage."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name that must not exist yet."""
        os.link(source, target, follow_symlinks=False)

    def replace(self, source: Path | str, target: Path | str) -> None:
        """Rename over: for files beside ``journal/`` only, never for one in it."""
        os.replace(source, target)

    def remove(self, path: Path | str) -> None:
        """Remove a file that is not truth: a spooled call that is journaled now, a marker."""
        os.unlink(path)


def _regular(descriptor: int, path: Path) -> int:
    """Pass on the descriptor of a regular file of this user; close anything else and refuse it."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise HomeError(f"{path} is not a regular file: move it away; keledger writes to plain files only")
    if found.st_uid != os.geteuid():
        os.close(descriptor)
        raise HomeError(f"{path} belongs to user id {found.st_uid}, not to you: use a home of your own (KELEDGER_HOME)")
    return descriptor


def sync_folder(disk: Disk, path: Path) -> None:
    """Bring the names in a folder to stable storage.  Raises OSError."""
    folder = disk.open_folder(path)
    try:
        disk.sync_folder(folder)
    finally:
        close_quietly(disk, folder)


def close_quietly(disk: Disk, descriptor: int) -> None:
    """Close a file whose content is synced, given up or only read: nothing that closing tells matters any more."""
    with contextlib.suppress(OSError):
        disk.close(descriptor)


def write_new(disk: Disk, path: Path, data: bytes, *, synced: bool = True) -> None:
    """Write a small file beside the journal, whole and *synced*, over an older one of its name.

    The bytes go to a temporary name first; the folder is synced after the rename, through a descriptor that was
    opened before it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    folder = disk.open_folder(path.parent)
    try:
        descriptor = disk.create_exclusive(temporary)
        try:
            try:
                view = data
                while view:
                    view = view[disk.write(descriptor, view) :]
                if synced:
                    disk.sync(descriptor)
            finally:
                disk.close(descriptor)
            disk.replace(temporary, path)
        except BaseException:
            disk.remove(temporary)
            raise
        if synced:
            disk.sync_folder(folder)
    finally:
        disk.close(folder)
