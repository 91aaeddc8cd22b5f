"""Promise 7: what an anchor or another home has taken in stays so, whatever became of the append that wrote it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendUnknown, Home, HomeError, verify
from keledger.journal._anchor import anchor
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._unsynced import find_unsynced, remember_unsynced
from keledger.journal._writer import Appender
from tests.journal.support import newest_segment, note

from .company import Company
from .power import Machine
from .support import FaultyDisk, WatchedDisk, counted_ids, failing

Named = Callable[[], None]
"""Holds the home to what was named."""


def by_an_anchor(home: Home, disk: Disk | None = None) -> Named:
    taken = anchor(home, disk=disk)

    def hold() -> None:
        assert not verify(home, anchors=[taken]).damaged

    return hold


def by_a_merge(home: Home, disk: Disk | None = None) -> Named:
    other = Home.at(home.path.with_name("other"))

    def take() -> None:
        merge(other, home.path, appender=Appender(other, disk=disk), actor="test")

    take()
    return take  # copies that went two ways are refused


NAMING = [by_an_anchor, by_a_merge]


class Ended(BaseException):
    """A signal handler ends the program, or so it seems."""


class Interrupted(WatchedDisk):
    """A disk in whose first sync a signal arrives, after it has had its effect."""

    arrived = False

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Raise it once."""
        result = call(*arguments)
        if name == "sync" and not self.arrived:
            self.arrived = True
            raise Ended
        return result


@pytest.mark.parametrize("naming", NAMING)
def test_a_line_whose_append_a_signal_ended(begun: Home, naming: Callable[[Home], Named]) -> None:
    appender = Appender(begun, disk=Interrupted())
    with pytest.raises(Ended):
        appender.append([note("of the append that was ended")])
    hold = naming(begun)
    appender.append([note("later")])
    hold()
    assert len(counted_ids(begun)) == 3


@pytest.mark.parametrize("naming", NAMING)
@pytest.mark.parametrize("sync_fails", [True, False], ids=["a failed sync", "a short write"])
def test_a_line_behind_which_no_segment_could_be_begun(
    begun: Home, naming: Callable[[Home], Named], sync_fails: bool
) -> None:
    class Failing(WatchedDisk):
        fails = True

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if self.fails and (name == "create_exclusive" or (name == "sync" and sync_fails)):
                raise OSError(errno.ENOSPC, "No space left on device")
            if self.fails and name == "write" and not sync_fails:
                return call(arguments[0], arguments[1][:-20])
            return call(*arguments)

    disk = Failing()
    appender, events = Appender(begun, disk=disk), [note("whole"), note("perhaps whole")]
    with pytest.raises(AppendUnknown):
        appender.append(events)
    disk.fails = False
    hold = naming(begun)
    appender.append(events)
    hold()
    assert len(counted_ids(begun)) == 3
    assert not verify(begun).damaged


@pytest.mark.parametrize("naming", NAMING)
def test_a_line_whose_sync_failed_without_the_lock(
    begun: Home, naming: Callable[[Home], Named], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is somebody else's between the failure and the second attempt."""
    held: list[Named] = []
    again = Appender._append_again

    def meanwhile(self: Appender, *arguments: Any) -> Any:
        held.append(naming(begun))
        return again(self, *arguments)

    monkeypatch.setattr(Appender, "_append_again", meanwhile)
    Appender(begun, disk=Company(failing(errno.EIO))).append([note("mine")])
    (hold,) = held
    hold()
    assert len(counted_ids(begun)) == 2
    assert not verify(begun).damaged


@pytest.mark.parametrize("naming", NAMING)
def test_where_nothing_was_named_it_is_sealed_off(begun: Home, naming: Callable[[Home], Named]) -> None:
    """For a power cut may take it: so what was named before says nothing of what comes then."""
    hold = naming(begun)
    Appender(begun, disk=Company(failing(errno.EIO))).append([note("mine")])
    hold()
    assert [finding.kind for finding in verify(begun).findings] == ["residue_sealed"]


@pytest.mark.parametrize("naming", [by_an_anchor, by_a_merge])
def test_a_sync_that_fails_for_who_names_lets_nobody_go_on(begun: Home, naming: Callable[[Home, Disk], Named]) -> None:
    """Of a process that died before its sync the line is there to be seen, and the kernel tells nobody else."""
    other = Home.at(begun.path.with_name("other"))
    Appender(other).append([note("theirs")])
    left = newest_segment(begun)
    length, others = left.stat().st_size, Appender(begun)
    with pytest.raises(HomeError, match=r"nothing was anchored|then merge again"):
        naming(begun, FaultyDisk(1, failing(errno.EIO), ["sync"]))
    others.append([note("later")])
    assert left.stat().st_size == length
    assert newest_segment(begun) != left
    assert not verify(begun).damaged


def test_of_another_writer_it_makes_no_name(begun: Home) -> None:
    """Nobody appends there, and a later merge must find the place free."""
    other = Home.at(begun.path.with_name("other"))
    Appender(other).append([note("theirs")])
    merge(begun, other.path, appender=Appender(begun), actor="test")
    (theirs,) = other.writers()
    with pytest.raises(HomeError, match="nothing was anchored"):
        anchor(begun, disk=FaultyDisk(1, failing(errno.EIO), ["sync"], persistent=True))
    assert len(begun.segments(theirs)) == 1


def test_each_segment_of_which_a_line_is_taken_is_synced(begun: Home) -> None:
    """Also where nothing stands behind it but the next one's name."""
    appender = Appender(begun, disk=Interrupted())
    with pytest.raises(Ended):
        appender.append([note("perhaps not synced")])
    (writer,) = begun.writers()
    assert [path.stat().st_size > 0 for path in begun.segments(writer)] == [True, False]
    synced: list[int] = []

    class Watched(Disk):
        def sync(self, descriptor: int) -> None:
            synced.append(os.fstat(descriptor).st_ino)
            super().sync(descriptor)

    other = Home.at(begun.path.with_name("other"))
    merge(other, begun.path, appender=Appender(other, disk=Watched()), actor="test")
    assert len(counted_ids(other)) == 2
    assert {path.stat().st_ino for path in begun.segments(writer)} <= set(synced)


@pytest.fixture
def half_taken(begun: Home) -> tuple[Home, Home]:
    """A home, and another one that it has merged and that has grown since."""
    other = Home.at(begun.path.with_name("other"))
    appender = Appender(other)
    appender.append([note("taken")])
    merge(begun, other.path, appender=Appender(begun), actor="test")
    appender.append([note("to be taken " + "x" * 3000), note("to be taken, too " + "x" * 3000)])
    return begun, other


def merge_again(home: Home, other: Home, disk: Disk | None = None) -> None:
    merge(home, other.path, appender=Appender(home, disk=disk), actor="test")


class SyncFails(Disk):
    """A disk whose first sync of a writer's file fails."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder, self.fails = machine, f"{folder}{os.sep}", True

    def sync(self, descriptor: int) -> None:
        if self.fails and os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.folder):
            self.fails = False
            self.machine.lose(descriptor)
            raise OSError(errno.EIO, "Input/output error")
        super().sync(descriptor)


def test_a_merge_is_not_done_by_running_it_again_after_its_sync_failed(half_taken: tuple[Home, Home]) -> None:
    """The second one finds the bytes there and syncs with success: what was lost stays lost in a power cut."""
    home, other = half_taken
    (theirs,) = other.writers()
    left, wanted = newest_segment(other).read_bytes(), set(counted_ids(other))
    machine = Machine(home.path)
    disk = SyncFails(machine, home.journal / theirs)
    with machine.running():
        with pytest.raises(HomeError, match="then merge again"):
            merge_again(home, other, disk)
        for action in (lambda: merge_again(home, other), lambda: anchor(home)):
            with pytest.raises(HomeError, match=r"a sync of .* has failed: .* put a copy in its place"):
                action()
        Appender(home).append([note("goes on")])
    machine.cut_power(home.path.with_name("without"))
    assert not wanted <= set(counted_ids(Home.at(home.path.with_name("without")))), "nothing was in danger"

    path = home.journal / theirs / "00000001.jsonl"
    assert path.read_bytes() == left
    with machine.running():
        copy = path.with_name("copy")
        copy.write_bytes(left)
        copy.chmod(0o600)
        os.replace(copy, path)
        merge_again(home, other)
    machine.cut_power(home.path.with_name("with"))
    assert wanted <= set(counted_ids(Home.at(home.path.with_name("with"))))


def test_after_a_restart_the_disk_shows_what_there_is(
    half_taken: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = half_taken
    (theirs,) = other.writers()
    with pytest.raises(HomeError):
        merge_again(home, other, SyncFails(Machine(home.path), home.journal / theirs))
    monkeypatch.setattr("keledger.journal._unsynced.boot_id", lambda: "the next start")
    merge_again(home, other)
    assert set(counted_ids(other)) <= set(counted_ids(home))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b'[{"path":1}]', b"\xff"])
def test_a_note_of_it_that_a_power_cut_has_torn_is_over(half_taken: tuple[Home, Home], content: bytes) -> None:
    home, other = half_taken
    home.unsynced.write_bytes(content)
    merge_again(home, other)
    assert set(counted_ids(other)) <= set(counted_ids(home))


def test_something_else_in_its_place_is_told(half_taken: tuple[Home, Home]) -> None:
    home, other = half_taken
    os.mkfifo(home.unsynced)
    for action in (lambda: merge_again(home, other), lambda: anchor(home)):
        with pytest.raises(HomeError, match=r"cannot read .*unsynced: .* move it away"):
            action()


def test_it_is_remembered_of_each_file(begun: Home) -> None:
    disk, others = Disk(), [Home.at(begun.path.with_name(name)) for name in ("one", "two")]
    for other in others:
        Appender(other).append([note("theirs")])
        merge_again(begun, other)
    paths = [path for other in others for path in begun.segments(other.writers()[0])]
    for path in (*paths, paths[0]):
        remember_unsynced(begun, disk, path)
    assert sorted(find_unsynced(begun)) == sorted(paths)
    paths[0].unlink()
    assert find_unsynced(begun) == paths[1:]
