"""Holder files: ``holds/<hold id>`` is locked for as long as the process lives that makes the call.

The kernel gives the lock back when the process ends, however it ends; so who finds it free, under the home's lock,
knows that nobody is left to say how the call went.  They are no cache: they stand for calls that are under way.

A file whose hold has ended is kept, locked, under a name that begins with a dot, and is given to the next hold of the
process: to rename it takes a third of the time that it takes to make one and remove it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from keledger.journal._boot import boot_id
from keledger.journal._disk import Disk, close_quietly
from keledger.journal._errors import AppendRefused
from keledger.journal._home import Home, remedy

_START_FIELD = 22
"""Of /proc/PID/stat, counted from 1: when the process started, in ticks since the boot (proc(5))."""


SPARES_MAX = 8
"""Files that are kept for the next holds of a process: as many as it mostly has calls under way at once."""

_all_holders: weakref.WeakSet[Holders] = weakref.WeakSet()


def _drop_inherited() -> None:
    for holders in list(_all_holders):
        holders.drop_inherited()


os.register_at_fork(after_in_child=_drop_inherited)


class Holders:
    """The holder files of this process's own calls."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self._folder, self._disk = str(home.path / "holds"), disk
        self._descriptors: dict[str, int] = {}
        self._spares: list[tuple[str, int]] = []
        self._opened: set[int] = set()
        """Descriptors of both, and of those that are just getting another name."""
        self._end = weakref.finalize(self, _remove_spares, disk, self._spares)
        _all_holders.add(self)

    def take(self, hold_id: str) -> dict[str, Any]:
        """Make and lock the file of a hold; returns what the hold's event says of its holder.

        Called under the home's lock, before the event is written.  Raises AppendRefused.
        """
        holder = this_process()
        path = f"{self._folder}/{hold_id}"
        try:
            if self._take_spare(hold_id, path):
                return holder
            self._descriptors[hold_id] = descriptor = self._create(path)
            self._opened.add(descriptor)
            if not self._disk.lock(descriptor, 0):
                self.let_go(hold_id)  # the file stands for somebody else's call
                raise OSError(errno.EWOULDBLOCK, "another process has locked it")
            os.write(descriptor, orjson.dumps(holder))
        except OSError as error:
            self._remove(hold_id)
            raise AppendRefused(
                f"cannot keep a hold in {self._folder}: {error.strerror}; nothing was reserved; {remedy(error)}"
            ) from error
        return holder

    def _take_spare(self, hold_id: str, path: str) -> bool:
        """Give a spare file the hold's name; False where that has one already, or the spare's is gone."""
        try:
            spare, descriptor = self._spares.pop()
        except IndexError:  # another thread has just closed this
            return False
        try:
            if not self._disk.exists(path):  # under the lock, under which alone they are made
                self._disk.replace(spare, path)
                self._descriptors[hold_id] = descriptor
                return True
        except OSError:
            pass
        self._remove_file(spare, descriptor)
        return False

    def give_back(self, hold_id: str) -> None:
        """Remove the file of a hold that has ended, or was never made; nothing where it is not this process's."""
        if len(self._spares) >= SPARES_MAX:
            self._remove(hold_id)
            return
        descriptor = self._descriptors.pop(hold_id, None)
        if descriptor is not None:
            spare = f"{self._folder}/.{hold_id}"
            try:
                self._disk.replace(f"{self._folder}/{hold_id}", spare)
            except OSError:  # removed by hand, perhaps
                self._remove_file(f"{self._folder}/{hold_id}", descriptor)
            else:
                self._spares.append((spare, descriptor))

    def _remove(self, hold_id: str) -> None:
        descriptor = self._descriptors.pop(hold_id, None)
        if descriptor is not None:
            self._remove_file(f"{self._folder}/{hold_id}", descriptor)

    def _remove_file(self, path: str, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            self._disk.remove(path)
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._opened.discard(descriptor)
        close_quietly(self._disk, descriptor)

    def let_go(self, hold_id: str) -> None:
        """Unlock the file of a hold whose call could not be journaled: whoever finds it calls the hold lost."""
        descriptor = self._descriptors.pop(hold_id, None)
        if descriptor is not None:
            self._close(descriptor)

    def has(self, hold_id: str) -> bool:
        """Whether this process keeps the hold."""
        return hold_id in self._descriptors

    def close(self) -> None:
        """Let go of all."""
        for hold_id in list(self._descriptors):
            self.let_go(hold_id)
        with contextlib.suppress(IndexError):
            while True:
                self._remove_file(*self._spares.pop())

    def _create(self, path: str) -> int:
        try:
            return self._disk.create_exclusive(path)
        except FileNotFoundError:
            self._disk.make_folder(Path(self._folder))
        except FileExistsError:  # left by a reservation that was never written
            return self._disk.open_append(Path(path))
        return self._disk.create_exclusive(path)

    def drop_inherited(self) -> None:
        """In a forked child: an open copy would keep the locks when the parent has died."""
        for descriptor in self._opened:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._opened.clear()
        self._descriptors.clear()
        self._spares.clear()


def _remove_spares(disk: Disk, spares: list[tuple[str, int]]) -> None:
    """At the end of the process, or of a ledger that nobody closed."""
    for path, descriptor in spares:
        with contextlib.suppress(OSError):
            disk.remove(path)
        close_quietly(disk, descriptor)
    spares.clear()


def this_process() -> dict[str, Any]:
    """Boot, process and its start: as a hold names its holder."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> dict[str, Any]:
    return {"boot_id": boot_id() or "unknown", "pid": pid, **_started(pid)}


def why_lost(home: Home, disk: Disk, hold_id: str, holder: Mapping[str, Any]) -> str | None:
    """Why nobody keeps a hold any more, in a word; None while somebody does.  Called under the home's lock.

    Where the file is missing, removed by hand or in a power cut, the process itself is asked for.
    """
    path = home.path / "holds" / hold_id
    try:
        descriptor = disk.open_to_lock(path)
    except FileNotFoundError:
        return None if _lives(holder) else "process_gone"
    except OSError:
        return None  # nobody can tell: it goes on counting
    try:
        return "process_ended" if disk.lock(descriptor, 0) else None
    except OSError:
        return None
    finally:
        close_quietly(disk, descriptor)


def remove_file(home: Home, disk: Disk, hold_id: str) -> None:
    """Remove the file that a dead process has left, once the hold's ending is journaled."""
    with contextlib.suppress(OSError):
        disk.remove(home.path / "holds" / hold_id)


def left_files(home: Home) -> list[str]:
    """The holds of which a file is there."""
    return [name for name in _names(home) if not name.startswith(".")]


def remove_spares_of_the_dead(home: Home, disk: Disk) -> None:
    """Remove the files that were kept for holds to come by processes that are gone.  Called under the home's lock."""
    for name in _names(home):
        if name.startswith(".") and why_lost(home, disk, name, {}) is not None:
            remove_file(home, disk, name)


def _names(home: Home) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(home.path / "holds"))
    return []


def _lives(holder: Mapping[str, Any]) -> bool:
    """Whether the very process is there: a number is given again, but not with the same start."""
    if holder.get("boot_id") != (boot_id() or "unknown"):
        return False
    pid = holder["pid"]
    started = _started(pid)
    if "started_ticks" in holder:
        return bool(started) and started["started_ticks"] == holder["started_ticks"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(pid: int) -> dict[str, int]:
    """When a process started; empty where the system does not tell, or there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            behind_name = file.read().rpartition(b")")[2].split()
        return {"started_ticks": int(behind_name[_START_FIELD - 3])}
    except (OSError, ValueError, IndexError):
        return {}
