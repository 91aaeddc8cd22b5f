"""The home's one lock, among threads, processes and forks."""

from __future__ import annotations

import contextlib
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

    def release(self) -> None:
        """Give the lock back."""
        try:
            if os.getpid() != self._pid:
                self.close()  # forked while it was held: the lock is the parent's to give back
            elif self._descriptor is not None:
                self._disk.unlock(self._descriptor)
        except OSError:  # closing it gives it back too; what was appended is durable either way
            self.close()
        finally:
            self._mutex.release()

    def _forked(self) -> bool:
        """Whether this process was forked; an inherited descriptor shares the parent's lock: it is closed, never
        unlocked."""
        if os.getpid() == self._pid:
            return False
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self.close()
        return True

    def close(self) -> None:
        """Give the descriptor back; it is opened again when it is needed."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._disk.close(self._descriptor)
            self._descriptor = None

    def _take(self, wait_s: float) -> None:
        taken = False
        try:
            descriptor = self._open()
            taken = self._disk.lock(descriptor, wait_s)
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
