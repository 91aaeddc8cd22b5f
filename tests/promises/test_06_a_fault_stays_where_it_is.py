"""Promise 6: after a fault the next segment is opened under the lock, no sync is retried, and nothing old is harmed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, verify
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .power import Machine
from .support import (
    FAILURES,
    Fault,
    RecordingDisk,
    ShortWrites,
    Step,
    WatchedDisk,
    append_once,
    append_script,
    counted_ids,
    failing,
    script_events,
)

CODES = [pytest.param(code, id=errno.errorcode[code]) for code in FAILURES]


class RecordedFaults(RecordingDisk):
    """A disk that writes down what is done, on which one call of a name fails; a short write is one, too."""

    def __init__(self, name: str, at: int, fault: Fault | None) -> None:
        super().__init__()
        self.name, self.at, self.fault = name, at, fault
        self.failed_at: int | None = None

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Let the fault happen within the record."""
        if name != self.name:
            return super().around(name, call, *arguments)
        self.at -= 1
        if self.at != 0:
            return super().around(name, call, *arguments)
        self.failed_at = len(self.trace)
        return super().around(name, self._failing(call), *arguments)

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*arguments: Any) -> Any:
            if self.fault is None:
                return call(arguments[0], arguments[1][:100])
            return self.fault(self.name)

        return fail


FAULTS = [
    pytest.param("write", None, id="a short write"),
    *(pytest.param("write", code, id=f"write {errno.errorcode[code]}") for code in FAILURES),
    *(pytest.param("sync", code, id=f"sync {errno.errorcode[code]}") for code in FAILURES),
]


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize(("name", "code"), FAULTS)
def test_the_next_segment_is_synced_before_the_lock_is_let_go(tmp_path: Path, name: str, code: int | None) -> None:
    """The first write and the first sync are those of writer.json and of the first segment's first line."""
    for at in (3, 4, 7):
        home = Home.at(tmp_path / f"home-{at}")
        disk = RecordedFaults(name, at, failing(code) if code is not None else None)
        append_script(home, disk)
        assert disk.failed_at is not None
        left = disk.path_at(disk.failed_at)
        behind = disk.trace[disk.failed_at + 1 :]
        path = left.with_name(f"{int(left.stem) + 1:08d}.jsonl")
        until_unlock = behind[: next(index for index, step in enumerate(behind) if step.call == "unlock")]
        done = [(step.call, step.path) for step in until_unlock]
        wanted = [("create_exclusive", path), ("write", path), ("sync", path), ("sync_folder", path.parent)]
        places = [done.index(step) for step in wanted]
        assert places == sorted(places)
        assert untouched(behind, left)
        assert len(counted_ids(home)) == 6
        assert not verify(home).damaged


def untouched(steps: list[Step], path: Path) -> bool:
    """Whether a file is neither written nor synced in these steps."""
    return not any(step.path == path and step.call in ("write", "sync", "open_append") for step in steps)


@pytest.mark.usefixtures("small_segments", "quick_syncs")
def test_a_failed_sync_is_never_retried(tmp_path: Path) -> None:
    """Wherever in the script a sync fails, the file that it was for is left for good, by other processes too.

    The kernel has told one process only; another must not even find the file as the newest one.
    """
    syncs = RecordingDisk()
    append_script(Home.at(tmp_path / "counted"), syncs)
    for at in range(2, len(syncs.steps("sync")) + 1):  # the first is that of writer.json, written anew by its name
        home = Home.at(tmp_path / f"home-{at}")
        disk, other = RecordedFaults("sync", at, failing(errno.EIO)), RecordingDisk()
        appender = Appender(home, disk=disk)
        done = []
        for event in script_events():
            with contextlib.suppress(AppendRefused, AppendUnknown):
                appender.append([event])
                done.append(event.id)
            if disk.failed_at is not None and not other.trace:
                append_script(home, other, done.append)
        appender.close()
        assert disk.failed_at is not None
        left = disk.path_at(disk.failed_at)
        assert untouched(disk.trace[disk.failed_at + 1 :], left), at
        assert untouched(other.trace, left), at
        assert set(done) <= set(counted_ids(home))
        assert not verify(home).damaged


def test_what_was_written_before_a_failed_sync_is_sealed_off(home: Home) -> None:
    Appender(home).append([note("first")])
    event = note("second")
    disk = RecordedFaults("sync", 1, failing(errno.EIO))
    Appender(home, disk=disk).append([event])
    found = [item for item in events(home) if item["id"] == event.id]
    assert len(found) == 1
    assert events(home)[2]["data"]["reason"] == "sync_failed"
    assert [finding.kind for finding in verify(home).findings] == ["residue_sealed"]


class Dying(RecordingDisk):
    """A disk on which, while it is ``dead``, syncs fail and no file can be made."""

    dead = False

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Fail as a disk does that is going."""
        if self.dead and name in ("sync", "create_exclusive"):
            return super().around(name, failing(errno.EIO), name)
        return super().around(name, call, *arguments)


def test_a_file_whose_sync_failed_is_left_for_good(home: Home) -> None:
    """Also where the next segment could not be opened at once: a later sync of that file would tell a lie."""
    disk = Dying()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    disk.dead = True
    unknown = note("second")
    with pytest.raises(AppendUnknown):
        appender.append([unknown])
    disk.dead = False
    left, start = newest_segment(home), len(disk.trace)
    appender.append([unknown, note("third")])
    assert untouched(disk.trace[start:], left)
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "second", "third"]
    assert not verify(home).damaged


def test_after_two_failures_in_a_row_nobody_goes_on_behind_the_second(home: Home) -> None:
    """A write fails, and then the sync in the next segment; another process is told of neither."""
    Appender(home).append([note("first")])

    class Failing(WatchedDisk):
        writes = syncs = 0

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            self.writes += name == "write"
            self.syncs += name == "sync"
            if (name == "write" and self.writes == 1) or (name == "sync" and self.writes == 3):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*arguments)

    event, disk = note("second"), Failing()
    appender = Appender(home, disk=disk)
    with pytest.raises(AppendUnknown):
        appender.append([event])
    left = home.segments(home.writers()[0])[1]
    length = left.stat().st_size
    Appender(home).append([note("third")])
    assert left.stat().st_size == length
    appender.append([event])
    assert sorted(set(counted_ids(home))) == sorted(counted_ids(home))
    assert len(counted_ids(home)) == 3
    assert not verify(home).damaged


@pytest.mark.parametrize("in_company", [False, True])
def test_a_dead_process_line_that_a_failed_sync_took_is_not_sealed_in(home: Home, in_company: bool) -> None:
    """After a failed sync the kernel may show what is on the disk: nothing, where a killed process had written."""
    Appender(home).append([note("first")])
    path = newest_segment(home)
    durable = path.stat().st_size
    Appender(home).append([note("of a process that died before its sync")])

    class Shown(Disk):
        failed = False

        def lock(self, descriptor: int, wait_s: float) -> bool:
            return (wait_s > 0 or not in_company) and super().lock(descriptor, wait_s)

        def sync(self, descriptor: int) -> None:
            if self.failed:
                return super().sync(descriptor)
            self.failed = True
            lost = path.stat().st_size - durable
            file.seek(durable)
            file.write(bytes(lost))
            file.flush()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with path.open("r+b") as file:
        Appender(home, disk=Shown()).append([note("second")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "second"]
    assert not verify(home).damaged


def test_what_others_wrote_after_a_failure_of_unknown_extent_stands(home: Home) -> None:
    """Where not even the file's size can be asked, nobody knows whether others went on in it: nothing is sealed off."""

    class Blind(WatchedDisk):
        failing = blind = False

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            self.blind |= self.failing and name == "write"
            if self.blind and name in ("write", "create_exclusive", "status"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments)

    disk = Blind()
    appender, others = Appender(home, disk=disk), Appender(home)
    appender.append([note("first")])
    disk.failing = True
    with pytest.raises(AppendRefused):
        appender.append([note("second")])
    disk.failing = disk.blind = False
    others.append([note("third")])
    appender.append([note("fourth")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", "third", None, "fourth"]
    assert not verify(home).damaged


def test_a_segment_whose_first_line_was_not_synced_is_continued_by_nobody(home: Home) -> None:
    """Another process would find the line whole: so the next segment is there before it can look."""
    disk = RecordedFaults("sync", 2, failing(errno.EIO))  # the first is that of writer.json
    with contextlib.suppress(AppendRefused):
        Appender(home, disk=disk).append([note("first")])
    left = disk.path_at(disk.failed_at or 0)
    size = left.stat().st_size
    Appender(home).append([note("by another one")])
    assert left.stat().st_size == size
    assert events(home)[-1]["data"] == {"text": "by another one"}
    assert not verify(home).damaged


@pytest.mark.parametrize("extra", range(-2, 3))
def test_what_follows_a_lost_page_is_not_lost_with_it(tmp_path: Path, extra: int) -> None:
    """The unknown line ends about where a page does: the pages of a failed sync stay lost after later ones."""
    folder = tmp_path / "machine"
    folder.mkdir(mode=0o700)
    machine, home = Machine(folder), Home.at(folder / "home")
    with machine.running():
        appender = Appender(home)
        appender.append([note("first")])
        room = 3 * 4096 - newest_segment(home).stat().st_size - len(_line_of(home)) + len("first")
    with machine.running(3, failing(errno.EIO)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Disk, "create_exclusive", lambda *_: failing(errno.EIO)("create_exclusive"))
        with pytest.raises(AppendUnknown):
            appender.append([note("x" * (room + extra))])
    assert machine.calls[:3] == ["flock", "write", "fdatasync"]
    acknowledged = note("after")
    with machine.running():
        appender.append([acknowledged])
    machine.cut_power(tmp_path / "cut")
    assert acknowledged.id in counted_ids(Home.at(tmp_path / "cut" / "home"))


def _line_of(home: Home) -> bytes:
    return newest_segment(home).read_bytes().splitlines(keepends=True)[-1]


@pytest.mark.parametrize("keep", [0, 1, 76, 200, -1])
def test_a_short_write_moves_on_to_the_next_segment(home: Home, keep: int) -> None:
    Appender(home).append([note("first")])
    first = newest_segment(home)
    appender = Appender(home, disk=ShortWrites(1, keep))
    appender.append([note("second")])
    appender.append([note("third")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "second", "third"]
    assert events(home)[2]["data"]["reason"] == "write_failed"
    assert first != newest_segment(home)
    assert not verify(home).damaged


class Full(RecordingDisk):
    """A disk without room, while it is ``full``: files can be made, but hold nothing."""

    full = False

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Refuse every byte."""
        if self.full and name == "write":
            return super().around(name, failing(errno.ENOSPC), name)
        return super().around(name, call, *arguments)


def test_a_full_disk_refuses_and_harms_nothing(home: Home) -> None:
    disk = Full()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    (first,) = home.segments(home.writers()[0])
    before = first.read_bytes()
    disk.full = True
    for _ in range(20):
        with pytest.raises(AppendRefused, match="make room"):
            appender.append([note("refused")])
    assert first.read_bytes() == before
    assert [event["data"].get("text") for event in events(home)] == [None, "first"]
    assert len(home.segments(home.writers()[0])) < 5  # a disk that is full is not filled with empty files
    disk.full = False
    appender.append([note("again")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "again"]
    assert not verify(home).damaged


def test_a_damaged_head_does_not_cost_the_lines_below_it(home: Home) -> None:
    Appender(home).append([note("one"), note("two")])
    path = newest_segment(home)
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + b"?" + whole[41:])
    assert [event["data"]["text"] for event in events(home)] == ["one", "two"]
    Appender(home).append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == ["one", "two", None, "after"]
    assert verify(home).damaged


@pytest.mark.usefixtures("small_segments", "quick_syncs")
def test_other_appenders_go_on_beside_one_whose_disk_fails(home: Home) -> None:
    """Three appenders, one of them with a dying disk: the others never notice, and nothing of theirs is harmed."""
    disk = Dying()
    bad, good, better = Appender(home, disk=disk), Appender(home), Appender(home)
    acknowledged = []
    for number in range(12):
        disk.dead = number % 3 == 1
        for appender in (good, bad, better):
            event = note(f"{number}" + "x" * 200)
            try:
                appender.append([event])
            except (AppendUnknown, AppendRefused):
                assert appender is bad
                appender.append([event]) if not disk.dead else None
            else:
                acknowledged.append(event.id)
    assert set(acknowledged) <= set(counted_ids(home))
    assert not verify(home).damaged


@pytest.mark.usefixtures("small_segments", "quick_syncs")
@pytest.mark.parametrize("code", CODES)
def test_what_was_acknowledged_before_a_fault_keeps_its_place(home: Home, code: int) -> None:
    """Seq, tick, time and hash of every earlier event: a fault adds a segment, and changes nothing before it."""
    append_script(home)
    before = events(home)
    for name in ("write", "sync", "create_exclusive", "sync_folder", "status", "lock"):
        append_once(home, RecordedFaults(name, 1, failing(code)), script_events())
        now = events(home)
        assert now[: len(before)] == before
        before = now


@pytest.fixture
def torn(home: Home) -> Path:
    """A segment with a torn tail behind the line of a process that died before its sync; its path."""
    appender = Appender(home)
    appender.append([note("first")])
    appender.append([note("of a process that died")])
    appender.close()
    with open(newest_segment(home), "ab") as file:
        file.write(b'{"torn')
    return newest_segment(home)


def test_what_a_failed_sync_before_sealing_has_taken_is_not_sealed_in(home: Home, torn: Path) -> None:
    """Some filesystems show at once that what they could not write is lost."""

    class Dropping(WatchedDisk):
        dropped = False

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "sync" and not self.dropped:
                self.dropped = True
                file.seek(start)
                file.write(bytes(length - start))
                file.flush()
                raise OSError(errno.EIO, "Input/output error")
            return call(*arguments)

    start, length = torn.read_bytes().index(b"of a process that died"), torn.stat().st_size
    with open(torn, "r+b") as file:
        Appender(home, disk=Dropping()).append([note("later")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "later"]
    assert not verify(home).damaged


def test_a_signal_in_that_sync_leaves_nothing_open(home: Home, torn: Path) -> None:
    class Interrupted(Exception):
        pass

    class Signalled(WatchedDisk):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "sync":
                raise Interrupted
            return call(*arguments)

    appender = Appender(home, disk=Signalled())
    with pytest.raises(Interrupted):
        appender.append([note("never written")])
    appender.close()
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(torn) not in opened
