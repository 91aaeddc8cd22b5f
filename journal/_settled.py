"""The end of a journal as a merge or an anchor may name it: no sync goes on, and what stands there is synced."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from . import _limits as limits
from ._disk import Disk, close_quietly
from ._errors import HomeError
from ._home import Home, read_writer
from ._unsynced import refuse_unsynced, remember_unsynced


@contextlib.contextmanager
def settled(home: Home, disk: Disk) -> Iterator[None]:
    """Hold a home's lock as one who only reads may take it, while no sync goes on.

    Raises OSError: FileNotFoundError where there is no lock, as in a copy, to which nobody appends; TimeoutError, with
    what was waited for, after ``LOCK_WAIT_S``.
    """
    deadline_s = time.monotonic() + limits.LOCK_WAIT_S
    descriptor = disk.open_to_lock(home.lock)
    try:
        if not disk.lock(descriptor, limits.LOCK_WAIT_S):
            what = f"another process has held {home.lock} for {limits.LOCK_WAIT_S:.0f} s"
            raise TimeoutError(errno.ETIMEDOUT, what, str(home.lock))
        wait_for_syncs(home, disk, deadline_s)
        _tell_appenders(home, disk)
        yield
    finally:
        _give_back(disk, descriptor)


def _tell_appenders(home: Home, disk: Disk) -> None:
    """Let appenders know that lines may be named: one whose sync has failed must not seal off its own any more.

    Where this user may not write, no appender of his does.
    """
    try:
        lock = disk.open_lock(home.lock)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return
        raise
    try:
        disk.grow(lock)
    finally:
        close_quietly(disk, lock)


def wait_for_syncs(home: Home, disk: Disk, deadline_s: float) -> None:
    """Wait until no sync of a newest segment goes on.  Whoever calls holds the home's lock, so that none begins.

    Raises OSError; TimeoutError where one has not ended before *deadline_s*, of the monotonic clock.
    """
    for writer in home.writers():
        for path in home.segments(writer)[-2:]:  # behind one that was left there may be nothing but the next one's name
            _wait_for_syncs_of(path, disk, deadline_s)


def _wait_for_syncs_of(path: Path, disk: Disk, deadline_s: float) -> None:
    try:
        descriptor = disk.open_to_lock(path)
    except HomeError:  # no plain file: nobody writes there
        return
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT):
            return
        raise
    try:
        if not disk.lock(descriptor, max(0.0, deadline_s - time.monotonic())):
            what = f"another process has not finished its sync of {path.name} within {limits.LOCK_WAIT_S:.0f} s"
            raise TimeoutError(errno.ETIMEDOUT, what, str(path))
    finally:
        _give_back(disk, descriptor)


def _give_back(disk: Disk, descriptor: int) -> None:
    """Give a lock back, also for a child that was forked meanwhile and has the descriptor open, too."""
    with contextlib.suppress(OSError):
        disk.unlock(descriptor)
    close_quietly(disk, descriptor)


def sync_named(home: Home, disk: Disk, path: Path) -> None:
    """Sync a segment of which a line is to be named: who wrote it may have died before its sync.  Under the lock.

    Where that fails, nobody may go on there: the kernel tells no one else.  Raises OSError; HomeError where it
    has failed before.
    """
    refuse_unsynced(home, [path.parent.name])
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        disk.sync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a filesystem that syncs nothing
            leave(home, disk, path)
        raise
    finally:
        close_quietly(disk, descriptor)


def leave(home: Home, disk: Disk, path: Path) -> None:
    """Let nobody go on in a segment of which a sync has failed, nor name a line of it.  Under the lock.

    Behind one that the home's present writer may go on in, the next one's file is made, empty: whoever appends next
    opens it.  Not in the home of another user, who could not open it.
    """
    with contextlib.suppress(OSError, HomeError):
        if os.stat(path).st_uid != os.geteuid():
            return
        remember_unsynced(home, disk, path)
        present = read_writer(home)
        if present is not None and path.parent.name == present.writer:
            close_quietly(disk, disk.create_exclusive(path.with_name(f"{int(path.stem) + 1:08d}.jsonl")))
