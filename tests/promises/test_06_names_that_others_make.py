"""Promise 6: an appender goes on where others have begun, though it does not ask for their names on every append."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, verify
from keledger.journal import _limits as limits
from keledger.journal import _newest as newest
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .support import FaultyDisk, WatchedDisk, counted_ids, failing


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appenders look for names only where they were told to, however long that is ago."""
    monkeypatch.setattr(limits, "LOOKED_US_MAX", 10**18)


def looked(home: Home) -> Appender:
    """An appender that has looked, with nothing told since."""
    appender = Appender(home)
    for text in ("first", "second"):
        appender.append([note(text)])
    return appender


def rotate(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another appender begin the next segment."""
    with monkeypatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
        Appender(home).append([note("in the next segment")])


@pytest.mark.usefixtures("only_told")
def test_the_next_segment_is_gone_on_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    appender = looked(home)
    for count in (2, 3, 4):
        rotate(home, monkeypatch)
        appender.append([note("after")])
        assert newest_segment(home).stem == f"{count:08d}"
        assert events(home)[-1]["data"] == {"text": "after"}
    assert not verify(home).damaged


@pytest.mark.usefixtures("only_told")
def test_ticks_are_above_those_of_a_merge_that_died(home: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    Appender(other).append([note(str(number)) for number in range(20)])
    appender, dying = looked(home), Appender(home)
    with dying.locked():
        dying.begin_merge()
        for writer in other.writers():
            shutil.copytree(other.journal / writer, home.journal / writer)
    appender.append([note("after")])
    last = max(events(home), key=lambda event: int(event["tick"]))
    assert last["data"] == {"text": "after"}
    assert not home.merging.exists()
    assert not verify(home).damaged


@pytest.mark.usefixtures("only_told")
def test_a_lock_file_that_was_made_anew_says_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be just as long as the one before."""
    appender = looked(home)
    length = home.lock.stat().st_size
    home.lock.unlink()
    rotate(home, monkeypatch)
    assert home.lock.stat().st_size == length
    appender.append([note("after")])
    assert events(home)[-1]["data"] == {"text": "after"}
    assert not verify(home).damaged


@pytest.mark.parametrize("passes_us", [limits.LOOKED_US_MAX, -1], ids=["a second later", "the clock is set back"])
def test_a_segment_of_which_nobody_told_is_found(home: Home, monkeypatch: pytest.MonkeyPatch, passes_us: int) -> None:
    """Nobody tells of a segment that another hand put there."""
    now_us = 1_795_000_000_000_000
    monkeypatch.setattr(newest, "now_us", lambda: now_us)
    appender = looked(home)
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "grow", lambda disk, descriptor: None)
        rotate(home, monkeypatch)
    now_us += passes_us
    appender.append([note("after")])
    assert [event["data"].get("text") for event in events(home)][-3:] == [None, "in the next segment", "after"]
    assert not verify(home).damaged


def test_who_cannot_tell_others_begins_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Appender(home).append([note("first")])
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
    with pytest.raises(AppendRefused, match="Input/output error; nothing was written"):
        Appender(home, disk=FaultyDisk(1, failing(errno.EIO), ["grow"])).append([note("refused")])
    assert newest_segment(home).stem == "00000001"


@pytest.mark.parametrize("in_company", [False, True])
def test_who_cannot_tell_others_leaves_a_failed_sync_all_the_same(home: Home, in_company: bool) -> None:
    """Whoever comes new must not go on behind it; who was there is told by the kernel."""

    class Failing(WatchedDisk):
        fails = True

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "lock" and in_company and arguments[1] == 0:
                return False
            if name == "grow" or (name == "sync" and self.fails):
                self.fails = self.fails and name == "grow"
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*arguments)

    Appender(home).append([note("first")])
    left, event = newest_segment(home), note("its sync fails")
    Appender(home, disk=Failing()).append([event])
    length = left.stat().st_size
    Appender(home).append([note("later")])
    assert left.stat().st_size == length
    assert len(counted_ids(home)) == 3
    assert not verify(home).damaged


def test_a_home_that_is_removed_while_the_lock_is_waited_for(home: Home) -> None:
    """The lock that was got is that of no home any more."""

    class Removing(Disk):
        times = 2

        def lock(self, descriptor: int, wait_s: float) -> bool:
            if self.times and home.lock.exists():
                self.times -= 1
                shutil.rmtree(home.path)
            return super().lock(descriptor, wait_s)

    event = note("kept")
    Appender(home, disk=Removing()).append([event])
    assert counted_ids(home) == [event.id]
    assert not verify(home).damaged


def test_a_segment_that_was_left_behind_is_told_of_also_where_it_is_empty(home: Home) -> None:
    """After two failed syncs only the next file's name stands, and that name is made by nobody who opens it."""
    appender = looked(home)
    before = home.lock.stat().st_size
    event = note("twice")
    with pytest.raises(AppendUnknown):
        Appender(home, disk=FaultyDisk(1, failing(errno.EIO), ["sync"], persistent=True)).append([event])
    assert home.lock.stat().st_size > before
    appender.append([event])
    assert sorted(set(counted_ids(home))) == sorted(counted_ids(home))
    assert not verify(home).damaged


def test_a_name_is_made_also_behind_a_segment_that_cannot_be_read_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails to sync may fail to read.  Whoever comes new would be told of no failure."""
    appender = Appender(home, disk=FaultyDisk(2, failing(errno.EIO), ["sync"]))
    Appender(home).append([note("first")])
    left, event = newest_segment(home), note("its sync fails")

    def unreadable(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    appender.append([note("second")])
    with monkeypatch.context() as patch:
        patch.setattr(newest, "what_stands", unreadable)
        with pytest.raises(AppendUnknown, match="the next segment could not be opened"):
            appender.append([event])
    length = left.stat().st_size
    Appender(home).append([note("later")])
    assert left.stat().st_size == length
    appender.append([event])
    assert len(counted_ids(home)) == len(set(counted_ids(home))) == 4
    assert not verify(home).damaged
