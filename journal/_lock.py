"""The home's lock, among threads, processes and forks; and the syncs that go on without it.

An appender that had to wait for the lock gives it back between its write and its sync: the kernel makes the syncs of
several processes one (measured with eight: 2.4 to 3.2 times the events of one process, where syncing under the lock
has 0.7 to 1.0).  Until its sync has ended it shares a flock on the segment itself, which whoever opens that segment
takes alone for a moment, under the lock.  So nobody goes on in a file of which a failed sync is known to another
process only: the kernel tells that to the descriptors that were open then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path

from . import _limits as limits
from ._disk import Disk
from ._errors import AppendRefused, HomeError, LockHeld
from ._home import Home, remedy


class HomeLock:
    """A flock on ``home/lock`` behind a mutex of this process; waited for at most ``LOCK_WAIT_S``."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self._home, self._disk = home, disk
        self._mutex = threading.RLock()  # it knows whose it is, so that an interrupted thread gives back its own only
        self._pid = os.getpid()
        self._descriptor: int | None = None
        self._is_given_back = False
        self._size_seen = -1
        self.was_contended = False
        """Whether another process had the lock when it was last acquired."""
        self.is_news = True
        """Whether a name may have been made in the journal since this was last set to False: see :meth:`tell_others`.
        Known as soon as the lock is acquired."""

    @property
    def is_mine(self) -> bool:
        """Whether this thread is between :meth:`acquire` and :meth:`release`."""
        return self._mutex._is_owned()  # type: ignore[attr-defined,no-any-return]  # as threading.Condition asks it

    def acquire(self) -> bool:
        """Take the lock, to be given back by :meth:`release`.  Makes the home where it is missing.

        Returns whether this process was forked since the last call: what it inherited was dropped then.  Raises
        AppendRefused and HomeError.
        """
        forked = os.getpid() != self._pid
        if forked:
            self.drop_inherited()
        wait_s = limits.LOCK_WAIT_S
        if not self._mutex.acquire(blocking=False):
            begun = time.monotonic()
            if not self._mutex.acquire(timeout=wait_s):
                raise LockHeld(self._timeout("a thread of this process"))
            wait_s = max(0.0, wait_s - (time.monotonic() - begun))
        self._is_given_back = False
        self._take(wait_s)
        return forked

    def give_back(self) -> None:
        """Let other processes write, but no thread of this one, until :meth:`release`."""
        self._is_given_back = True
        try:
            if self._descriptor is not None:
                self._disk.unlock(self._descriptor)
        except OSError:  # closing it gives it back too
            self.close()

    def release(self) -> None:
        """Give the lock back.  Only for whom :attr:`is_mine` holds; once more is harmless as long as it does."""
        try:
            if os.getpid() != self._pid:
                self.close()  # forked while it was held: the lock is the parent's to give back
            elif self._descriptor is not None and not self._is_given_back:
                self._disk.unlock(self._descriptor)
        except OSError:  # what was appended is durable either way
            self.close()
        self._mutex.release()  # last, so that whoever is interrupted above finds out and does it again

    def tell_others(self) -> None:
        """Before a name is made that other appenders must find: let them look for it.  Raises OSError.

        They would otherwise have to ask for two names on every append that are hardly ever there, which costs more
        than the rest of what they look at.  The lock file grows by a byte instead, and its size is had with the links
        that are looked at anyway.  It is never synced: after a power cut nobody lives who remembers a size.
        """
        self.is_news = True
        if self._descriptor is not None:
            self._disk.grow(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back; it is opened again when it is needed."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._disk.close(self._descriptor)
            self._descriptor = None

    def drop_inherited(self) -> None:
        """In a forked child: close the descriptor, which would keep the parent's lock, and forget who held it."""
        self._pid = os.getpid()
        self._mutex = threading.RLock()
        self.close()

    def _take(self, wait_s: float) -> None:
        taken = False
        try:
            while not taken:
                descriptor = self._descriptor if self._descriptor is not None else self._open()
                self.was_contended = not self._disk.lock(descriptor, 0)
                if self.was_contended and not self._disk.lock(descriptor, wait_s):
                    raise LockHeld(self._timeout("another process"))
                taken = self._is_in_place(descriptor)
        except OSError as error:
            raise AppendRefused(f"cannot lock {self._home.lock}: {error.strerror}; nothing was written") from error
        finally:
            if not taken:
                self.close()  # so that a wait that was given up cannot take the lock later

    def _is_in_place(self, descriptor: int) -> bool:
        """Take in the lock file's size; False where the home was removed, and the lock with it."""
        status = self._disk.status(descriptor)
        if status.st_nlink == 0:
            self.close()
            return False
        if status.st_size != self._size_seen:
            self._size_seen = status.st_size
            self.is_news = True
        return True

    def _open(self) -> int:
        self._home.create(self._disk)
        try:
            self._descriptor = descriptor = self._disk.open_lock(self._home.lock)
        except OSError as error:
            raise HomeError(f"cannot open {self._home.lock}: {error.strerror}; {remedy(error)}") from error
        self._size_seen = -1  # another file's size says nothing about this one
        return descriptor

    def _timeout(self, who: str) -> str:
        return (
            f"{who} has held {self._home.lock} for {limits.LOCK_WAIT_S:.0f} s: nothing was written; "
            "find it with fuser or lsof, or try again"
        )


def wait_for_syncs(home: Home, disk: Disk) -> None:
    """Wait until no sync of a newest segment goes on.  Whoever calls holds the home's lock, so that none begins.

    Raises OSError; TimeoutError where one has not ended within ``LOCK_WAIT_S``.
    """
    for writer in home.writers():
        for path in home.segments(writer)[-1:]:
            _wait_for_syncs_of(path, disk)


def _wait_for_syncs_of(path: Path, disk: Disk) -> None:
    try:
        descriptor = disk.open_to_lock(path)
    except HomeError:  # no plain file: nobody writes there
        return
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT):
            return
        raise
    try:
        if not disk.lock(descriptor, limits.LOCK_WAIT_S):
            what = f"another process has not finished its sync of {path.name} within {limits.LOCK_WAIT_S:.0f} s"
            raise TimeoutError(errno.ETIMEDOUT, what, str(path))
    finally:
        disk.close(descriptor)
