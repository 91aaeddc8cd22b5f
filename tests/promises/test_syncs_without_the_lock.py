"""Promises 1, 3, 4 and 6 where the lock was contended, so that a sync goes on while others append."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, MergeRefused, verify
from keledger.journal import _limits as limits
from keledger.journal._anchor import anchor
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .company import Company, append_meanwhile, appending, failed_behind, present, texts
from .power import Machine
from .support import Fault, RecordingDisk, WatchedDisk, counted_ids, failing, ignore


def test_others_append_while_a_sync_goes_on(begun: Home) -> None:
    others = present(begun)
    append_meanwhile(begun, appending(others, "theirs"))
    assert texts(begun) == ["first", "mine", "theirs"]
    assert verify(begun).findings == []


def test_who_finds_the_lock_free_syncs_under_it(begun: Home) -> None:
    disk = RecordingDisk()
    Appender(begun, disk=disk).append([note("second")])
    assert disk.steps("sync")[-1] < disk.steps("unlock")[-1]
    assert disk.steps("share") == []


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
    "holding the lock": (hold, AppendRefused, "nothing was written"),
    "anchoring": (anchor, HomeError, "nothing was anchored"),
    "being merged": (merge_from, MergeRefused, "try again"),
}


@pytest.mark.parametrize("what", WAITING)
def test_a_sync_that_goes_on_is_waited_for(begun: Home, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Not for ever: a disk that hangs is told in one sentence."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    act, error, text = WAITING[what]
    met = list[str]()

    def meanwhile(_: str) -> None:
        with pytest.raises(error, match=f"has not finished its sync of 00000001.jsonl within 0 s.*{text}") as told:
            act(begun)
        met.append(str(told.value))

    append_meanwhile(begun, meanwhile)
    assert len(met) == 1
    assert "\n" not in met[0]
    act(begun)


def test_who_opens_the_segment_waits_for_a_sync_that_fails(begun: Home) -> None:
    """And finds then that the segment was left."""
    newcomer = Appender(begun, disk=(disk := Company()))
    thread = threading.Thread(target=newcomer.append, args=([note("theirs")],))

    def meanwhile(name: str) -> None:
        thread.start()
        while "open_append" not in disk.made:
            time.sleep(0.001)
        failing(errno.EIO)(name)

    append_meanwhile(begun, meanwhile)
    thread.join()
    assert set(texts(begun)) == {"first", "mine", "theirs"}
    left, _ = begun.segments(begun.writers()[0])
    assert b"theirs" not in left.read_bytes()
    assert not verify(begun).damaged


def test_nobody_is_kept_waiting_by_a_process_that_was_stopped_in_its_sync(
    begun: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens its segment begins the next one, which all go on in."""
    monkeypatch.setattr(limits, "SYNC_WAIT_S", 0.05)
    others = present(begun)

    def meanwhile(_: str) -> None:
        Appender(begun).append([note("newcomer")])
        others.append([note("theirs")])
        Appender(begun).append([note("second newcomer")])

    append_meanwhile(begun, meanwhile)
    assert texts(begun) == ["first", "mine", "newcomer", "theirs", "second newcomer"]
    reasons = [event["data"]["reason"] for event in events(begun) if event["type"] == "segment.opened"]
    assert reasons == ["first", "sync_pending"]
    assert verify(begun).findings == []
