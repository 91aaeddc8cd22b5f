"""Promise 7, and 1: a merge whose sync has failed is not done by running it again, nor is its home anchored.

The kernel tells of a failed sync once.  Whoever comes later finds the bytes in place, and syncs with success; what was
lost stays lost, and a power cut shows it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, _settled, verify
from keledger.journal import _limits as limits
from keledger.journal import _merge as merging
from keledger.journal._anchor import anchor
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._unsynced import find_unsynced, remember_unsynced
from keledger.journal._writer import Appender
from tests.journal.support import note

from .power import Machine
from .support import counted_ids

REFUSED = r"a sync of .* has failed: a power cut may take lines .* put a copy in its place"


@pytest.fixture
def grown(begun: Home) -> tuple[Home, Home]:
    """A home, and another one that it has merged and that has grown since."""
    other = Home.at(begun.path.with_name("other"))
    appender = Appender(other)
    appender.append([note("taken")])
    merge_again(begun, other)
    appender.append([note("to be taken " + "x" * 3000), note("to be taken, too " + "x" * 5000)])
    return begun, other


def merge_again(home: Home, other: Home, disk: Disk | None = None) -> None:
    merge(home, other.path, appender=Appender(home, disk=disk), actor="test")


def begin_next_segment(home: Home) -> None:
    """Begin the next segment with a line that does not fit any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
        Appender(home).append([note("in the next segment")])


def path_of(home: Home, other: Home) -> Path:
    """The first segment of the other's writer in *home*."""
    return home.journal / other.writers()[0] / "00000001.jsonl"


def lost_after_a_power_cut(machine: Machine, home: Home, wanted: set[str]) -> set[str]:
    after = home.path.with_name(f"after-{os.urandom(4).hex()}")
    machine.cut_power(after)
    return wanted - set(counted_ids(Home.at(after)))


class SyncFails(Disk):
    """A disk whose first sync of a writer's file fails, with all later ones where it *stays* so."""

    def __init__(self, machine: Machine, folder: Path, *, at: int = 1, stays: bool = False) -> None:
        self.machine, self.folder, self.left, self.stays = machine, f"{folder}{os.sep}", at, stays

    def sync(self, descriptor: int) -> None:
        """Fail, and lose what was to be written."""
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.folder):
            self.left -= 1
            if self.left == 0:
                self.machine.lose(descriptor)
                self.fail()
        if self.left <= 0 and self.stays:
            self.fail()
        super().sync(descriptor)

    def fail(self) -> None:
        """Tell of it."""
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for a while"])
def test_it_is_not_done_by_running_it_again(grown: tuple[Home, Home], stays: bool) -> None:
    home, other = grown
    wanted = set(counted_ids(other))
    machine = Machine(home.path)
    with machine.running():
        with pytest.raises(HomeError, match="then merge again"):
            merge_again(home, other, SyncFails(machine, path_of(home, other).parent, at=2, stays=stays))
        for action in (lambda: merge_again(home, other), lambda: anchor(home)):
            with pytest.raises(HomeError, match=REFUSED):
                action()
        Appender(home).append([note("goes on")])
    assert lost_after_a_power_cut(machine, home, wanted), "nothing was in danger"


def test_what_it_says_is_to_be_done_lets_it_go_on(grown: tuple[Home, Home]) -> None:
    home, other = grown
    with pytest.raises(HomeError):
        merge_again(home, other, SyncFails(Machine(home.path), path_of(home, other).parent, at=2))
    with pytest.raises(HomeError) as refused:
        merge_again(home, other)
    command = re.search(r"\((cp .*)\)$", str(refused.value))
    assert command is not None
    assert "&& sync &&" in command[1], "the copy would be no better than what it stands for"
    subprocess.run(["sh", "-c", command[1]], check=True)
    assert path_of(home, other).stat().st_mode & 0o777 == 0o600
    merge_again(home, other)
    anchor(home)
    assert set(counted_ids(other)) <= set(counted_ids(home))
    assert not verify(home).damaged


def test_after_a_restart_the_disk_shows_what_there_is(
    grown: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = grown
    with pytest.raises(HomeError):
        merge_again(home, other, SyncFails(Machine(home.path), path_of(home, other).parent))
    monkeypatch.setattr("keledger.journal._unsynced.boot_id", lambda: "the next start")
    merge_again(home, other)
    assert set(counted_ids(other)) <= set(counted_ids(home))


def test_a_home_that_was_copied_merges_the_one_it_was_copied_from(begun: Home) -> None:
    """The old writer is one of its own, to which nobody appends here any more: a name would be in a merge's way."""
    copy = Home.at(begun.path.with_name("copy"))
    shutil.copytree(begun.path, copy.path, ignore=shutil.ignore_patterns("lock"))
    Appender(copy).append([note("in the copy")])
    Appender(begun).append([note("to be taken")])
    target = path_of(copy, begun)
    with pytest.raises(HomeError):
        merge_again(copy, begun, SyncFails(Machine(copy.path), target.parent))
    assert find_unsynced(copy) == [target]
    begin_next_segment(begun)
    copy.unsynced.unlink()
    merge_again(copy, begun)
    assert set(counted_ids(begun)) <= set(counted_ids(copy))


@pytest.mark.parametrize("at", [1, 2])
def test_a_home_that_was_set_back_merges_a_newer_copy_of_itself(begun: Home, at: int) -> None:
    """The lines are those of its present writer: nobody goes on behind them, and no merge is done by its second run,
    nor does that append anything, which would be another way than the copy's."""
    backup, newer = (begun.path.with_name(name) for name in ("backup", "newer"))
    shutil.copytree(begun.path, backup)
    Appender(begun).append([note("to be taken")])
    shutil.copytree(begun.path, newer)
    shutil.rmtree(begun.path)
    shutil.copytree(backup, begun.path)
    writer = begun.writers()[0]
    with pytest.raises(HomeError):
        merge_again(begun, Home.at(newer), SyncFails(Machine(begun.path), begun.journal / writer, at=at))
    assert [path.stat().st_size > 0 for path in begun.segments(writer)] == [True, False]
    with pytest.raises(HomeError, match=REFUSED):
        merge_again(begun, Home.at(newer))


def test_nothing_is_put_above_what_a_killed_merge_left_unsynced(grown: tuple[Home, Home]) -> None:
    """It was killed before its sync of one segment; the next one lacks only the segment behind that."""
    home, other = grown
    begin_next_segment(other)
    wanted, machine = set(counted_ids(other)), Machine(home.path)

    class Killed(SyncFails):
        def fail(self) -> None:
            machine.kill()

    killed = Killed(machine, path_of(home, other).parent, at=2)
    killed.machine = Machine(home.path)  # the bytes are only not synced: no sync of them has failed
    with machine.running():
        merge_again(home, other, killed)
    assert len(home.segments(other.writers()[0])) == 1
    with machine.running():
        merge_again(home, other)
    assert not lost_after_a_power_cut(machine, home, wanted)


def test_a_merge_that_failed_while_another_one_planned(
    grown: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second had looked before the first one failed, and then lacks only what is behind that."""
    home, other = grown
    begin_next_segment(other)
    failing = SyncFails(Machine(home.path), path_of(home, other).parent, at=2)
    remove = merging._remove_staging_of_the_dead

    def meanwhile(at: Home) -> None:
        monkeypatch.setattr(merging, "_remove_staging_of_the_dead", remove)
        with pytest.raises(HomeError, match="then merge again"):
            merge_again(home, other, failing)

    monkeypatch.setattr(merging, "_remove_staging_of_the_dead", meanwhile)
    with pytest.raises(HomeError, match=REFUSED):
        merge_again(home, other)


def test_a_merge_that_finds_nothing_new_syncs_under_the_lock(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else somebody could go on behind a line between the failure of its sync and the name that forbids it."""
    other = Home.at(begun.path.with_name("other"))
    Appender(other).append([note("theirs")])
    merge_again(begun, other)
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    held: list[bool] = []

    class Looking(Disk):
        def sync(self, descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(begun.journal)):
                lock = self.open_lock(begun.lock)
                held.append(not self.lock(lock, 0))
                self.close(lock)
            super().sync(descriptor)

    merge_again(begun, other, Looking())
    assert held
    assert all(held)


def test_an_anchor_above_a_segment_that_an_older_release_went_on_behind(
    grown: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = grown
    with pytest.raises(HomeError):
        merge_again(home, other, SyncFails(Machine(home.path), path_of(home, other).parent, at=2))
    begin_next_segment(other)
    with monkeypatch.context() as patch:  # it does not know of the memory
        for module in (merging, _settled):
            patch.setattr(module, "refuse_unsynced", lambda home, writers: None)
        merge_again(home, other)
    with pytest.raises(HomeError, match=REFUSED):
        anchor(home)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"{}", b'[{"path":1}]', b'[{"path":"/etc/passwd"}]', b"\xff", b"\0" * 64]
)
def test_a_memory_that_a_power_cut_has_torn_is_over(grown: tuple[Home, Home], content: bytes) -> None:
    home, other = grown
    home.unsynced.write_bytes(content)
    merge_again(home, other)
    assert set(counted_ids(other)) <= set(counted_ids(home))


def test_something_else_in_its_place_is_told(grown: tuple[Home, Home]) -> None:
    home, other = grown
    os.mkfifo(home.unsynced)
    actions: list[Callable[[], object]] = [lambda: merge_again(home, other), lambda: anchor(home)]
    for action in actions:
        with pytest.raises(HomeError, match=r"cannot read .*unsynced: it is not a regular file"):
            action()


def test_it_is_remembered_of_each_file(begun: Home) -> None:
    others = [Home.at(begun.path.with_name(name)) for name in ("one", "two")]
    for other in others:
        Appender(other).append([note("theirs")])
        merge_again(begun, other)
    paths = [newest_segment_of(begun, other) for other in others]
    for path in (*paths, paths[0]):
        remember_unsynced(begun, Disk(), path)
    assert sorted(find_unsynced(begun)) == sorted(paths)
    assert not [path for path in begun.path.iterdir() if path.name.startswith(".")]
    paths[0].unlink()
    assert find_unsynced(begun) == paths[1:]


def newest_segment_of(home: Home, other: Home) -> Path:
    return home.segments(other.writers()[0])[-1]
