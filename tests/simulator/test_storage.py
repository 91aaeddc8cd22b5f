"""The simulated disk keeps what was synced, may lose what was not, and then loses it in every way that it knows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from keledger.journal import AppendRefused, Home, NewEvent, scan_journal
from keledger.journal._disk import Disk
from keledger.journal._identity import new_id
from keledger.journal._writer import Appender

from .faults import Fault, Faults
from .kernel import Kernel
from .nature import Clock, simulated
from .processes import Computer, Crash, Process, Violation
from .run import run_world
from .storage import FileNode, Storage

MANY = 300
"""Power cuts of one state: each way of losing something is drawn at least once in a twentieth of them."""


class Planned(Faults):
    """Faults that a test names, by the system call; each once."""

    def __init__(self, **faults: Fault) -> None:
        super().__init__(Random(0))
        self.faults = faults

    @property
    def rate(self) -> float:
        return 1.0

    def draw(self, call: str) -> Fault | None:
        return self.faults.pop(call, None)


@contextmanager
def machine(root: Path, seed: int = 0, **faults: Fault) -> Iterator[tuple[Kernel, Process]]:
    """A machine with one process running, in a folder that is its disk."""
    root.mkdir()
    kernel = Kernel(Random(seed), root)
    computer = Computer(Storage(root), "it", {"XDG_STATE_HOME": str(root / "state")}, Planned(**faults))
    process = kernel.start("one", computer)
    with (
        simulated(kernel, Clock(), root, segment_bytes_max=10_000, cache_at_once=False),
        kernel.running(process),
    ):
        yield kernel, process
        kernel.end()


def write(path: Path, *, sync: bool, sync_name: bool) -> None:
    """Make a file through the product's disk."""
    disk = Disk()
    folder = disk.open_folder(path.parent)
    descriptor = disk.create_exclusive(path)
    disk.write(descriptor, b"x" * 5000)
    if sync:
        disk.sync(descriptor)
    if sync_name:
        disk.sync_folder(folder)
    disk.close(descriptor)
    disk.close(folder)


def left_by_power_cuts(tmp_path: Path, *, sync: bool, sync_name: bool) -> set[bytes | None]:
    """What is found of a file after many power cuts; None where its name is gone."""
    found: set[bytes | None] = set()
    for seed in range(MANY):
        with machine(tmp_path / str(seed), seed) as (kernel, process):
            path = process.computer.storage.root / "file"
            write(path, sync=sync, sync_name=sync_name)
            kernel.cut_power(process.computer)
            found.add(path.read_bytes() if path.exists() else None)
    return found


def test_what_is_synced_stays(tmp_path: Path) -> None:
    assert left_by_power_cuts(tmp_path, sync=True, sync_name=True) == {b"x" * 5000}


def test_a_name_that_is_not_synced_may_be_gone(tmp_path: Path) -> None:
    assert left_by_power_cuts(tmp_path, sync=True, sync_name=False) == {b"x" * 5000, None}


def test_data_that_are_not_synced_may_be_there_in_part(tmp_path: Path) -> None:
    found = left_by_power_cuts(tmp_path, sync=False, sync_name=True) - {None}
    assert {b"", b"x" * 5000, bytes(5000)} <= found
    whole = [content for content in found if content is not None]
    assert any(content.startswith(b"x") and set(content) == {0, ord("x")} for content in whole)  # the end is missing
    assert any(content.startswith(b"\0") and content.endswith(b"x") for content in whole)  # the beginning is
    assert any(0 < len(content) < 5000 and len(content) % 512 for content in whole)  # cut in the middle of a sector
    assert any(set(content) - {0, ord("x")} for content in whole)  # somebody's old bytes


@pytest.mark.parametrize("seed", range(20))
def test_a_rename_that_is_not_synced_is_made_or_not(tmp_path: Path, seed: int) -> None:
    with machine(tmp_path / "disk", seed) as (kernel, process):
        folder = process.computer.storage.root
        write(folder / "old", sync=True, sync_name=True)
        Disk().replace(folder / "old", folder / "new")
        kernel.cut_power(process.computer)
        assert [path.name for path in folder.iterdir()] in (["old"], ["new"])


def test_a_second_sync_brings_nothing_back() -> None:
    lost = set()
    for seed in range(MANY):
        node = FileNode()
        node.append(b"lost?")
        node.fail_sync()
        node.append(b"kept")
        node.sync()
        content = node.after_power_cut(Random(seed))
        assert content.endswith(b"kept")
        lost.add(content != b"lost?kept")
    assert lost == {True, False}


def test_a_killed_process_does_nothing_more(tmp_path: Path) -> None:
    with machine(tmp_path / "disk", mkdir=Fault("kill")) as (_, process):
        root = process.computer.storage.root
        with pytest.raises(Crash):
            Disk().make_folder(root / "folder")
        with pytest.raises(Crash):
            Disk().open_folder(root)
        assert not process.descriptors
        assert not list(root.iterdir())


def test_what_a_killed_process_wrote_is_there(tmp_path: Path) -> None:
    with machine(tmp_path / "disk", fdatasync=Fault("kill")) as (_, process):
        path = process.computer.storage.root / "file"
        with pytest.raises(Crash):
            write(path, sync=True, sync_name=True)
        assert path.read_bytes() == b"x" * 5000


def test_faults_reach_the_product(tmp_path: Path) -> None:
    with machine(tmp_path / "disk", flock=Fault("errno", errno.ENOLCK)) as (_, process):
        home = Home.at(process.computer.storage.root / "home")
        appender = Appender(home)
        event = NewEvent.of("test.noted", new_id(), {})
        with pytest.raises(AppendRefused, match="No locks available"):
            appender.append([event])
        appender.append([event])
        assert scan_journal(home).lines == 2


@pytest.mark.parametrize("name", ["journal", "prices"])
def test_truth_is_not_removed_nor_renamed_over(tmp_path: Path, name: str) -> None:
    with machine(tmp_path / "disk") as (_, process):
        folder = process.computer.storage.root / "home" / name
        for path in (folder.parent, folder):
            Disk().make_folder(path)
        write(folder / "file", sync=True, sync_name=True)
        write(folder / "draft", sync=True, sync_name=True)
        with pytest.raises(Violation, match="removed"):
            Disk().remove(folder / "file")
        with pytest.raises(Violation, match="renamed over"):
            Disk().replace(folder / "draft", folder / "file")


def test_a_call_that_is_not_simulated_is_told(tmp_path: Path) -> None:
    with (
        machine(tmp_path / "disk") as (kernel, _),
        pytest.raises(AttributeError, match=r"os\.truncate is not simulated"),
    ):
        kernel.truncate("file", 0)


def test_a_seed_decides_everything() -> None:
    assert len({(run.trace, str(run.counts)) for run in (run_world(7), run_world(7))}) == 1


def test_nothing_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    run_world(8)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
