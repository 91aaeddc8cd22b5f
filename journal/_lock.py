"""The home's lock, among threads, processes and forks; and the syncs that go on without it.

An appender that had to wait for the lock gives it back between its write and its sync: the kernel makes the syncs of
several processes one (measured with eight: 2.4 to 3.2 times the events of one process, where syncing under the lock
has 0.7 to 1.0).  Until its sync has ended it shares a second flock, for which whoever opens a segment waits while
holding the lock.  So nobody goes on in a file of which a failed sync is known to another process only: the kernel
tells that to the descriptors that were open then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time

from . import _limits as limits
from ._disk import Disk
from ._errors import AppendRefused, HomeError
from ._home import Home, remedy


class HomeLock:
    """A flock on ``home/lock`` behind a mutex of this process; waited for at most ``LOCK_WAIT_S``."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self._home, self._disk = home, disk
        self._mutex = threading.Lock()
        self._pid = os.getpid()
        self._descriptor: int | None = None
        self._syncing: int | None = None
        self._is_given_back = False
        self.was_contended = False
        """Whether another process had the lock when it was last acquired."""

    def acquire(self) -> bool:
        """Take the lock, to be given back by :meth:`release`.  Makes the home where it is missing.

        Returns whether this process was forked since the last call: what it inherited was dropped then.  Raises
        AppendRefused and HomeError.
        """
        forked = self._forked()
        wait_s = limits.LOCK_WAIT_S
        if not self._mutex.acquire(blocking=False):
            begun = time.monotonic()
            if not self._mutex.acquire(timeout=wait_s):
                raise AppendRefused(self._timeout("a thread of this process"))
            wait_s = max(0.0, wait_s - (time.monotonic() - begun))
        try:
            self._take(wait_s)
        except BaseException:
            self._mutex.release()
            raise
        return forked

    def give_back_before_sync(self) -> bool:
        """Let other processes write, but no thread of this one, until :meth:`release`; False where that cannot be."""
        assert self._descriptor is not None
        try:
            if self._syncing is None:
                self._syncing = self._disk.open_lock(self._home.syncing)
            self._disk.share(self._syncing)
        except (OSError, HomeError):  # the lock is kept, then
            return False
        self._is_given_back = True
        try:
            self._disk.unlock(self._descriptor)
        except OSError:
            self._close_lock()
        return True

    def release(self) -> None:
        """Give the lock back, or end what :meth:`give_back_before_sync` began."""
        try:
            if os.getpid() != self._pid:
                self.close()  # forked while it was held: the lock is the parent's to give back
            elif self._is_given_back:
                if self._syncing is not None:
                    self._disk.unlock(self._syncing)
            elif self._descriptor is not None:
                self._disk.unlock(self._descriptor)
        except OSError:  # closing it gives it back too; what was appended is durable either way
            self.close()
        finally:
            self._is_given_back = False
            self._mutex.release()

    def close(self) -> None:
        """Give the descriptors back; they are opened again when they are needed."""
        self._close_lock()
        if self._syncing is not None:
            with contextlib.suppress(OSError):
                self._disk.close(self._syncing)
            self._syncing = None

    def _close_lock(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._disk.close(self._descriptor)
            self._descriptor = None

    def _forked(self) -> bool:
        """Whether this process was forked; an inherited descriptor shares the parent's lock: it is closed, never
        unlocked."""
        if os.getpid() == self._pid:
            return False
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._is_given_back = False
        self.close()
        return True

    def _take(self, wait_s: float) -> None:
        taken = False
        try:
            descriptor = self._open()
            self.was_contended = not self._disk.lock(descriptor, 0)
            taken = not self.was_contended or self._disk.lock(descriptor, wait_s)
        except OSError as error:
            raise AppendRefused(f"cannot lock {self._home.lock}: {error.strerror}; nothing was written") from error
        finally:
            if not taken:
                self.close()  # so that a wait that was given up cannot take the lock later
        if not taken:
            raise AppendRefused(self._timeout("another process"))

    def _open(self) -> int:
        if self._descriptor is not None and self._disk.status(self._descriptor).st_nlink == 0:
            self.close()  # the home was removed
        if self._descriptor is None:
            self._home.create(self._disk)
            try:
                self._descriptor = self._disk.open_lock(self._home.lock)
            except OSError as error:
                raise HomeError(f"cannot open {self._home.lock}: {error.strerror}; {remedy(error)}") from error
        return self._descriptor

    def _timeout(self, who: str) -> str:
        return (
            f"{who} has held {self._home.lock} for {limits.LOCK_WAIT_S:.0f} s: nothing was written; "
            "find it with fuser or lsof, or try again"
        )


def wait_for_syncs(home: Home, disk: Disk) -> None:
    """Wait until every sync that goes on without the home's lock has ended.  Whoever calls holds that lock, so that
    none begins meanwhile.

    Raises OSError; TimeoutError where one has not ended within ``LOCK_WAIT_S``.
    """
    if not disk.exists(str(home.syncing)):
        return
    descriptor = disk.open_to_lock(home.syncing)
    try:
        if not disk.lock(descriptor, limits.LOCK_WAIT_S):
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"another process has not finished its sync within {limits.LOCK_WAIT_S:.0f} s",
                str(home.syncing),
            )
    finally:
        disk.close(descriptor)
