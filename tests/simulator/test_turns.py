"""Processes of a crowd meet at every system call, wait for each other's locks, and do so as the seed says."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest

from keledger.journal import Home, NewEvent, scan_journal
from keledger.journal._disk import Disk
from keledger.journal._identity import new_id
from keledger.journal._writer import Appender

from .faults import Faults
from .kernel import Kernel
from .nature import Clock, simulated
from .processes import Computer, Process
from .storage import Storage
from .turns import Deadlock

NAMES = ("one", "two", "three")


class Quiet(Faults):
    """Nothing goes wrong."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.calm = True


def append_at_once(root: Path, seed: int) -> list[tuple[str, ...]]:
    """Three processes append three events each, one after the other.  Returns what they did, in order."""
    root.mkdir()
    kernel = Kernel(Random(seed), root)
    kernel.patient = True
    computer = Computer(Storage(root), "it", {"XDG_STATE_HOME": str(root / "state")}, Quiet())
    home = Home.at(root / "home")

    def live(process: Process) -> None:
        with kernel.running(process):
            appender = Appender(home)
            for _ in range(3):
                appender.append([NewEvent.of("test.noted", new_id(), {})])
            appender.close()

    with simulated(kernel, Clock(), root, segment_bytes_max=10_000, cache_at_once=False):
        processes = [kernel.start(name, computer) for name in NAMES]
        kernel.turns.run({process: partial(live, process) for process in processes})
        with kernel.running(processes[0]):
            assert scan_journal(home).lines == 1 + len(NAMES) * 3
        kernel.end()
    return [tuple(str(part).replace(str(root), "") for part in entry) for entry in kernel.trace]


def test_one_waits_while_another_is_between_its_write_and_its_sync(tmp_path: Path) -> None:
    seen = set()
    for seed in range(10):
        writer = ""
        for name, call, *_ in append_at_once(tmp_path / str(seed), seed):
            if call in ("write", "fdatasync"):
                writer = name if call == "write" else ""
            elif writer and name != writer:
                seen.add(call)
    assert {"flock", "waits", "fstat", "pread"} <= seen


def test_a_seed_decides_whose_turn_it_is(tmp_path: Path) -> None:
    first, again, other = (append_at_once(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first == again != other


def test_a_deadlock_is_told(tmp_path: Path) -> None:
    """Each has one lock, and waits for the other's."""
    kernel = Kernel(Random(0), tmp_path)
    kernel.patient = True
    computer = Computer(Storage(tmp_path), "it", {}, Quiet())

    def live(process: Process, first: str, second: str) -> None:
        with kernel.running(process):
            disk = Disk()
            disk.lock(disk.open_lock(tmp_path / first), 1)
            while not all(has_lock.values()):
                has_lock[process] = True
                kernel.lstat(tmp_path)
            disk.lock(disk.open_lock(tmp_path / second), 1)

    with simulated(kernel, Clock(), tmp_path, segment_bytes_max=10_000, cache_at_once=False):
        one, two = kernel.start("one", computer), kernel.start("two", computer)
        has_lock = {one: False, two: False}
        with pytest.raises(Deadlock):
            kernel.turns.run({one: partial(live, one, "a", "b"), two: partial(live, two, "b", "a")})
        kernel.end()


@pytest.mark.parametrize("seed", range(10))
def test_what_comes_out_of_one_ends_the_crowd(tmp_path: Path, seed: int) -> None:
    kernel = Kernel(Random(seed), tmp_path)
    computer = Computer(Storage(tmp_path), "it", {}, Quiet())
    processes = [kernel.start(name, computer) for name in NAMES]

    def live(process: Process) -> None:
        with kernel.running(process), contextlib.ExitStack() as stack:
            stack.callback(kernel.lstat, tmp_path)  # what each does on its way out is still its own
            for number in range(100):
                kernel.lstat(tmp_path)
                if process is processes[0] and number == 5:
                    raise LookupError("of the first")
            pytest.fail("it went on")

    with pytest.raises(LookupError, match="of the first"):
        kernel.turns.run({process: partial(live, process) for process in processes})
    kernel.end()


@pytest.mark.parametrize("release", ["unlock", "close", "kill"])
def test_a_lock_goes_to_who_waits(tmp_path: Path, release: str) -> None:
    kernel = Kernel(Random(0), tmp_path)
    kernel.patient = True
    computer = Computer(Storage(tmp_path), "it", {}, Quiet())
    holder, heir = kernel.start("holder", computer), kernel.start("heir", computer)
    path, order = tmp_path / "lock", list[Process]()
    releases: dict[str, Callable[[int], None]] = {
        "unlock": Disk().unlock,
        "close": Disk().close,
        "kill": lambda _: kernel.kill(holder),
    }

    def until(happened: Callable[[], object]) -> None:
        for _ in range(1000):
            if happened():
                return
            kernel.lstat(tmp_path)
        pytest.fail("it never happened")

    def hold() -> None:
        with kernel.running(holder):
            descriptor = Disk().open_lock(path)
            kernel.flock(descriptor, fcntl.LOCK_EX)
            order.append(holder)
            until(lambda: kernel.turns.waits)
            releases[release](descriptor)
            if holder.alive:
                until(lambda: heir in order)

    def inherit() -> None:
        with kernel.running(heir):
            until(lambda: order)
            kernel.flock(Disk().open_lock(path), fcntl.LOCK_EX)
            order.append(heir)

    with simulated(kernel, Clock(), tmp_path, segment_bytes_max=10_000, cache_at_once=False):
        kernel.turns.run({holder: hold, heir: inherit})
        kernel.end()
    assert order == [holder, heir]
