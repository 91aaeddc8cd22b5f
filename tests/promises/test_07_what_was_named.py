"""Promise 7: what an anchor or another home has taken in stays so, whatever became of the append that wrote it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from keledger.journal import AppendUnknown, Home, HomeError, verify
from keledger.journal import _limits as limits
from keledger.journal._anchor import anchor
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
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


@pytest.mark.parametrize("merged", [False, True])
def test_the_names_on_the_way_to_it_are_synced(begun: Home, monkeypatch: pytest.MonkeyPatch, merged: bool) -> None:
    """Whoever made them may have been killed before: then the line is synced, and nobody finds it after a power cut."""
    other = Home.at(begun.path.with_name("other"))
    Appender(other).append([note("theirs")])
    target = begun.journal / (other if merged else begun).writers()[0]
    machine = Machine(begun.path)

    class KilledThere(Disk):
        def sync_folder(self, descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}") == str(target):
                machine.kill()
            super().sync_folder(descriptor)

    with machine.running():
        if merged:
            merge(begun, other.path, appender=Appender(begun, disk=KilledThere()), actor="test")
        else:
            monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
            Appender(begun, disk=KilledThere()).append([note("in the next segment")])
    with machine.running():
        taken = anchor(begun)
    machine.cut_power(begun.path.with_name("after"))
    assert not verify(Home.at(begun.path.with_name("after")), anchors=[taken]).damaged
