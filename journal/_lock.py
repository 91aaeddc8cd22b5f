"""The home's lock, among threads, processes and forks; and the syncs that go on without it.

An appender that had to wait for the lock gives it back between its write and its sync: the kernel makes the syncs of
several processes one (measured with eight on two cores: 1.4 times the events of one process, where syncing under the
lock has 0.7 to 1.0).  Until its sync has ended it shares a flock on the segment itself, which whoever opens that
segment takes alone for a moment, under the lock.  So nobody goes on in a file of which a failed sync is known to
another process only: the kernel tells that to the descriptors that were open then.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from . import _limits as limits
from ._disk import Disk, close_quietly
from ._errors import AppendRefused, HomeError, LockHeld
from ._home import Home, remedy

Seen = tuple[int, int]
"""Size and time of the lock file; its time, should somebody have cut it, or made it anew."""

UNSEEN: Seen = (-1, -1)


class HomeLock:
    """A flock on ``home/lock`` behind a mutex of this process; waited for at most ``LOCK_WAIT_S``."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self._home, self._disk = home, disk
        self._mutex = threading.RLock()  # it knows whose it is, so that an interrupted thread gives back its own only
        self._pid = os.getpid()
        self._descriptor: int | None = None
        self._is_given_back = False
        self.seen: Seen = UNSEEN
        """Changes with each :meth:`tell_others` of another process: as of when the lock was last acquired."""
        self.deadline_s = 0.0
        """Until when to wait, of the monotonic clock, since the lock was last asked for."""
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
        deadline_s = time.monotonic() + limits.LOCK_WAIT_S
        if not self._mutex.acquire(blocking=False) and not self._mutex.acquire(timeout=limits.LOCK_WAIT_S):
            raise LockHeld(self._timeout("a thread of this process"))
        self._is_given_back, self.deadline_s = False, deadline_s
        self._take(deadline_s)
        return forked

    def give_back(self) -> None:
        """Let other processes write, but no thread of this one, until :meth:`release`."""
        try:
            if self._descriptor is not None:
                self._disk.unlock(self._descriptor)
        except OSError:  # closing it gives it back too
            self.close()
        self._is_given_back = True  # only now: whoever is interrupted above still gives it back in the end

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

    def tell_others(self) -> bool:
        """Let other appenders look for a name that they must find.  Raises OSError.

        Returns whether nobody else has told anything since the lock was acquired, so that :attr:`seen` is this alone.

        They would otherwise have to ask for two names on every append that are hardly ever there, which costs more
        than the rest of what they look at.  The lock file grows by a byte instead, and its size is had with the links
        that are looked at anyway.  It is never synced: after a power cut nobody lives who remembers a size.
        """
        self.is_news = True
        if self._descriptor is None:
            return False
        expected = self.seen[0] + 1
        self._disk.grow(self._descriptor)
        self._look(self._descriptor)
        return self.seen[0] == expected

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep the other threads of this process out, without the lock; False where one is in, or this one itself."""
        taken = not self.is_mine and self._mutex.acquire(timeout=limits.LOCK_WAIT_S)
        try:
            yield taken
        finally:
            if taken:
                self._mutex.release()

    def close(self) -> None:
        """Give the descriptor back; it is opened again when it is needed."""
        if self._descriptor is not None:
            close_quietly(self._disk, self._descriptor)
            self._descriptor = None

    def drop_inherited(self) -> None:
        """In a forked child: close the descriptor, which would keep the parent's lock, and forget who held it."""
        self._pid = os.getpid()
        self._mutex = threading.RLock()
        self.close()

    def _take(self, deadline_s: float) -> None:
        taken = False
        try:
            while not taken:
                descriptor = self._descriptor if self._descriptor is not None else self._open()
                self.was_contended = not self._disk.lock(descriptor, 0)
                if self.was_contended and not self._disk.lock(descriptor, max(0.0, deadline_s - time.monotonic())):
                    raise LockHeld(self._timeout("another process"))
                taken = self._look(descriptor) > 0
                if not taken:
                    self.close()  # the home was removed, and the lock with it
        except OSError as error:
            raise AppendRefused(f"cannot lock {self._home.lock}: {error.strerror}; nothing was written") from error
        finally:
            if not taken:
                self.close()  # so that a wait that was given up cannot take the lock later

    def _look(self, descriptor: int) -> int:
        """Take in what others have told; returns the number of the lock file's names."""
        status = self._disk.status(descriptor)
        seen = (status.st_size, status.st_mtime_ns)
        if seen != self.seen:
            self.seen, self.is_news = seen, True
        return status.st_nlink

    def _open(self) -> int:
        self._home.create(self._disk)
        try:
            self._descriptor = descriptor = self._disk.open_lock(self._home.lock)
        except OSError as error:
            raise HomeError(f"cannot open {self._home.lock}: {error.strerror}; {remedy(error)}") from error
        return descriptor

    def _timeout(self, who: str) -> str:
        return (
            f"{who} has held {self._home.lock} for {limits.LOCK_WAIT_S:.0f} s: nothing was written; "
            "find it with fuser or lsof, or try again"
        )
