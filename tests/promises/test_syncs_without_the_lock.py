"""Promises 1, 3, 4 and 6 where the lock was contended, so that a sync goes on while others append."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, verify
from keledger.journal import _limits as limits
from keledger.journal._anchor import anchor
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .power import Machine, die
from .support import Fault, Tell, WatchedDisk, counted_ids, failing, ignore, in_child, started_child


class Company(WatchedDisk):
    """A disk on which the lock is never free at once; *meanwhile* happens in the next sync of a segment, before it.

    It is told the sync's name: a fault makes the sync fail.
    """

    def __init__(self, meanwhile: Fault = ignore) -> None:
        self.meanwhile = meanwhile
        self.made: list[str] = []

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Let it happen once, where the lock was given back before the sync."""
        if name == "lock" and arguments[1] == 0:
            return False
        if name == "sync" and self.made[-1:] == ["unlock"]:
            meanwhile, self.meanwhile = self.meanwhile, ignore
            meanwhile(name)
        self.made.append(name)
        return call(*arguments)


@pytest.fixture
def begun(home: Home) -> Home:
    """A home with one event."""
    Appender(home).append([note("first")])
    return home


def present(home: Home, disk: Company | None = None) -> Appender:
    """An appender that has the newest segment open, so that it need not wait for syncs."""
    appender = Appender(home, disk=disk)
    with appender.locked():
        appender.writer()
    return appender


def append_meanwhile(home: Home, meanwhile: Fault) -> Appender:
    """Append "mine"; *meanwhile* happens between its write and its sync."""
    appender = Appender(home, disk=Company(meanwhile))
    appender.append([note("mine")])
    return appender


def texts(home: Home) -> list[str]:
    """What stands in the journal, in its order."""
    return [event["data"]["text"] for event in events(home) if event["type"] == "test.noted"]


def appending(appender: Appender, text: str) -> Fault:
    """An event is appended meanwhile."""

    def happen(_: str) -> None:
        appender.append([note(text)])

    return happen


def failed_behind(home: Home, others: Appender) -> Fault:
    """Somebody else appends, and then the sync fails."""

    def fault(name: str) -> None:
        others.append([note("theirs")])
        failing(errno.EIO)(name)

    return fault


def test_others_append_while_a_sync_goes_on(begun: Home) -> None:
    others = present(begun)
    append_meanwhile(begun, appending(others, "theirs"))
    assert texts(begun) == ["first", "mine", "theirs"]
    assert verify(begun).findings == []


def test_who_finds_the_lock_free_syncs_under_it(begun: Home) -> None:
    Appender(begun).append([note("second")])
    assert not begun.syncing.exists()


def test_many_go_on_at_once(begun: Home) -> None:
    """Each is written between the write and the sync of the one before."""
    inner: Fault = ignore
    for number in range(5, 1, -1):
        inner = appending(present(begun, Company(inner)), f"{number}")
    append_meanwhile(begun, inner)
    assert texts(begun) == ["first", "mine", "2", "3", "4", "5"]
    assert verify(begun).findings == []


def test_a_batch_is_synced_under_the_lock_but_for_its_end(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent in several pieces is finished before anybody else writes."""
    monkeypatch.setattr(limits, "BATCH_BYTES_MAX", 1000)
    disk = Company(failing(errno.EIO))
    Appender(begun, disk=disk).append([note(f"{number}" + "x" * 700) for number in range(3)])
    assert "share" not in disk.made
    assert len(texts(begun)) == 4


# Where such a sync fails.


def test_a_line_that_nobody_went_on_behind_is_sealed_off(begun: Home) -> None:
    append_meanwhile(begun, failing(errno.EIO))
    assert texts(begun) == ["first", "mine"]
    assert [event["data"]["reason"] for event in events(begun) if event["type"] == "segment.opened"] == [
        "first",
        "sync_failed",
    ]
    assert not verify(begun).damaged


def test_what_others_wrote_behind_it_stands(begun: Home) -> None:
    """Their own sync may have succeeded, so nothing of the segment is sealed off; the event is written once more."""
    others = present(begun)
    append_meanwhile(begun, failed_behind(begun, others))
    assert texts(begun) == ["first", "mine", "theirs", "mine"]
    assert len(counted_ids(begun)) == 3
    assert newest_segment(begun).name == "00000002.jsonl"
    assert verify(begun).findings == []
    others.append([note("later")])
    assert newest_segment(begun).name == "00000002.jsonl"


@pytest.mark.parametrize("opener", ["the one that failed", "another"])
def test_nobody_goes_on_in_the_segment(begun: Home, opener: str) -> None:
    """Also where the one that failed does not come back: the next segment's name stands before others may go on."""
    others = present(begun)
    others.append([note("second")])
    left = newest_segment(begun)

    class Never(Company):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "lock" and "create_exclusive" in self.made:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().around(name, call, *arguments)

    event = note("mine")
    appender = Appender(begun, disk=(Never if opener == "another" else Company)(failing(errno.EIO)))
    if opener == "another":
        with pytest.raises(AppendUnknown, match="may appear"):
            appender.append([event])
    else:
        appender.append([event])
    length = left.stat().st_size
    others.append([note("later")])
    assert left.stat().st_size == length
    assert newest_segment(begun) != left
    Appender(begun).append([event])
    assert len(counted_ids(begun)) == 4
    assert not verify(begun).damaged


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
@pytest.mark.parametrize("goes_on", [False, True], ids=["nobody behind it", "others behind it"])
def test_where_the_next_segment_cannot_be_named(begun: Home, code: int, goes_on: bool) -> None:
    """The one that failed knows not to go on in it; whoever was there is told of the failure by the kernel."""
    others = present(begun)

    class Full(Company):
        full = True

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "create_exclusive" and self.full:
                raise OSError(code, os.strerror(code))
            return super().around(name, call, *arguments)

    disk = Full(failed_behind(begun, others) if goes_on else failing(errno.EIO))
    appender, event = Appender(begun, disk=disk), note("mine")
    with pytest.raises(AppendUnknown, match=r"may appear.*send it again under its id"):
        appender.append([event])
    left = newest_segment(begun)
    length = left.stat().st_size
    disk.full = False
    appender.append([event])
    assert left.stat().st_size == length
    assert len(counted_ids(begun)) == 2 + goes_on
    assert not verify(begun).damaged


def test_a_rotation_meets_a_sync_that_fails(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both make the next segment, which is one file."""
    others = present(begun)

    def rotate(name: str) -> None:
        others.append([note("theirs")])
        with monkeypatch.context() as patch:
            patch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
            others.append([note("behind")])
        failing(errno.EIO)(name)

    append_meanwhile(begun, rotate)
    assert texts(begun) == ["first", "mine", "theirs", "behind", "mine"]
    assert [path.name for path in begun.segments(begun.writers()[0])] == ["00000001.jsonl", "00000002.jsonl"]
    assert verify(begun).findings == []


def test_the_next_segment_is_named_while_another_process_makes_it(begun: Home) -> None:
    """An appender that rotates finds the empty file that a failed sync has made an instant before."""
    others = present(begun)
    others.append([note("second")])
    newest = newest_segment(begun)

    class Late(WatchedDisk):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "write" and newest.exists() and not newest.with_name("00000002.jsonl").exists():
                newest.with_name("00000002.jsonl").touch(mode=0o600)
                return call(arguments[0], arguments[1][:50])
            return call(*arguments)

    Appender(begun, disk=Late()).append([note("third")])
    assert texts(begun) == ["first", "second", "third"]
    assert not verify(begun).damaged


@pytest.mark.parametrize("goes_on", [False, True], ids=["nobody behind it", "others behind it"])
def test_a_power_cut_after_it_loses_nothing_acknowledged(tmp_path: Path, goes_on: bool) -> None:
    """What the failed sync should have written is gone; the event stands behind it, acknowledged."""
    (tmp_path / "machine").mkdir(mode=0o700)
    machine = Machine(tmp_path / "machine")
    home = Home.at(machine.folder / "home")
    with machine.running():
        others = Appender(home)
        others.append([note("first")])
        append_meanwhile(home, failed_behind(home, others) if goes_on else failing(errno.EIO))
    machine.cut_power(tmp_path / "cut")
    cut = Home.at(tmp_path / "cut" / "home")
    assert list(dict.fromkeys(texts(cut))) == (["first", "mine", "theirs"] if goes_on else ["first", "mine"])
    assert not verify(cut).damaged


# Whoever needs the end of the journal waits for syncs that go on.


def hold(home: Home) -> None:
    """Take the lock for longer than an append."""
    with Appender(home).locked():
        pass


def merge_from(home: Home) -> None:
    """Merge the home into another one."""
    other = Home.at(home.path.with_name("other"))
    merge(other, home.path, appender=Appender(other), actor="test")


WAITING: dict[str, tuple[Callable[[Home], object], type[Exception], str]] = {
    "opening a segment": (lambda home: Appender(home).append([note("theirs")]), AppendRefused, "nothing was written"),
    "holding the lock": (hold, AppendRefused, "nothing was written"),
    "anchoring": (anchor, HomeError, "nothing was anchored"),
    "being merged": (merge_from, HomeError, "merge again"),
}


@pytest.mark.parametrize("what", WAITING)
def test_a_sync_that_goes_on_is_waited_for(begun: Home, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Not for ever: a disk that hangs is told in one sentence."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    act, error, text = WAITING[what]
    met = list[str]()

    def meanwhile(_: str) -> None:
        with pytest.raises(error, match=f"has not finished its sync within 0 s.*{text}") as told:
            act(begun)
        met.append(str(told.value))

    append_meanwhile(begun, meanwhile)
    assert len(met) == 1
    assert "\n" not in met[0]
    act(begun)


def test_the_threads_of_one_process_sync_one_after_another(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a descriptor, and the kernel tells a failed sync to each descriptor once."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    refused = list[str]()

    def append(appender: Appender) -> None:
        try:
            appender.append([note("thread")])
        except AppendRefused as error:
            refused.append(str(error))

    def meanwhile(_: str) -> None:
        thread = threading.Thread(target=append, args=(appender,))
        thread.start()
        thread.join()

    appender = Appender(begun, disk=Company(meanwhile))
    appender.append([note("mine")])
    assert len(refused) == 1
    assert "a thread of this process" in refused[0]
    append(appender)
    assert texts(begun) == ["first", "mine", "thread"]


def test_a_child_forked_in_the_middle_goes_its_own_way(begun: Home) -> None:
    """It waits for its parent's sync as any other process does, and does not end it."""

    def child(tell: Tell) -> None:
        limits.LOCK_WAIT_S = 0.05
        try:
            appender.append([note("child")])
        except AppendRefused as error:
            tell("waited" if "sync" in str(error) else str(error))

    def meanwhile(_: str) -> None:
        told.extend(in_child(child).told)

    told = list[str]()
    appender = Appender(begun, disk=Company(meanwhile))
    appender.append([note("mine")])
    assert told == ["waited"]
    assert in_child(child).told == []
    appender.append([note("later")])
    assert texts(begun) == ["first", "mine", "child", "later"]


def test_a_process_killed_in_the_middle_keeps_nobody_waiting(begun: Home) -> None:
    def act(tell: Tell) -> None:
        def hang(_: str) -> None:
            tell("written")
            threading.Event().wait()

        append_meanwhile(begun, hang)

    with started_child(act) as child:
        assert child.wait_for_line() == "written"
        child.send(9)
        assert child.ended().killed
    Appender(begun).append([note("later")])
    assert texts(begun) == ["first", "mine", "later"]
    assert verify(begun).findings == []


def test_a_power_cut_in_the_middle_leaves_whole_lines(tmp_path: Path) -> None:
    """Of lines that several processes have written and none has synced."""
    (tmp_path / "machine").mkdir(mode=0o700)
    machine = Machine(tmp_path / "machine")
    home = Home.at(machine.folder / "home")
    with machine.running():
        others = Appender(home, disk=Company())
        others.append([note("first")])
        append_meanwhile(home, appending(present(home, Company(die)), "theirs"))
    machine.cut_power(tmp_path / "cut")
    cut = Home.at(tmp_path / "cut" / "home")
    assert texts(cut) == ["first"]
    Appender(cut).append([note("later")])
    assert sorted(texts(cut)) == ["first", "later"]
    assert verify(cut).findings == []


@pytest.mark.parametrize("place", ["a folder", "a FIFO"])
def test_without_the_second_lock_the_sync_happens_under_the_first(begun: Home, place: str) -> None:
    """What stands in its place is told where a segment is opened, and costs an appender that is open nothing."""
    appender = Appender(begun, disk=Company())
    appender.append([note("second")])
    appender.close()
    appender.append([note("third")])
    begun.syncing.unlink()
    (begun.syncing.mkdir if place == "a folder" else lambda: os.mkfifo(begun.syncing))()
    disk = Company()
    with pytest.raises(HomeError, match="syncing is not a regular file"):
        Appender(begun, disk=disk).append([note("refused")])
    assert texts(begun) == ["first", "second", "third"]
