"""Faults put into the one module that makes system calls: after each, nothing acknowledged is lost or doubled."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, scan_journal, verify
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender

from .support import events, newest_segment, note, tree_bytes

CALLS = ("make_folder", "open_append", "create_exclusive", "open_lock", "lock", "unlock", "status", "exists", "read_at",
         "write", "sync", "open_folder", "sync_folder", "close", "replace")  # fmt: skip
FAILURES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EMFILE)


class FaultyDisk(Disk):
    """A disk on which the *nth* counted call does *fault* instead of (or before) what it is for."""

    def __init__(self, at: int, fault: Callable[[str], None], names: tuple[str, ...] = CALLS) -> None:
        self.at, self.fault, self.names = at, fault, names
        self.made: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name in CALLS and name in self.names:

            def counted(*arguments: Any) -> Any:
                self.made.append(name)
                if len(self.made) == self.at:
                    self.fault(name)
                return found(*arguments)

            return counted
        return found


def _raise(code: int) -> Callable[[str], None]:
    def fault(name: str) -> None:
        raise OSError(code, os.strerror(code), name)

    return fault


def _kill(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _append_some(home: Home, disk: Disk, acknowledged: Callable[[str], None]) -> None:
    """Six events into small segments: a first open, appends, and a rotation."""
    appender = Appender(home, disk=disk)
    for number in range(6):
        event = note(f"{number}" + "x" * 300)
        for attempt in range(2):
            try:
                appender.append([event])
            except (AppendRefused, AppendUnknown, HomeError):
                if attempt:
                    raise
            else:
                acknowledged(event.id)
                break


def _append_and_tell(home: Home, disk: Disk, descriptor: int) -> None:
    """In a child: write the id of each acknowledged event to a pipe."""
    _append_some(home, disk, lambda event_id: os.write(descriptor, event_id.encode()) and None)
    os._exit(0)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2300)


def _counted_ids(home: Home) -> list[str]:
    """Ids as a report counts them: copies of one id are one event."""
    return list(dict.fromkeys(event["id"] for event in events(home) if event["type"] == "test.noted"))


def _number_of_calls(tmp_path: Path) -> int:
    disk = FaultyDisk(0, _kill)
    _append_some(Home.at(tmp_path / "counted"), disk, lambda _: None)
    return len(disk.made)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("code", FAILURES, ids=lambda code: errno.errorcode[code])
def test_each_call_fails_once_and_a_retry_loses_nothing(tmp_path: Path, code: int) -> None:
    for at in range(1, _number_of_calls(tmp_path) + 1):
        home = Home.at(tmp_path / f"home-{at}")
        acknowledged: list[str] = []
        disk = FaultyDisk(at, _raise(code))
        _append_some(home, disk, acknowledged.append)
        assert len(acknowledged) == 6, (at, disk.made[at - 1])
        Appender(home).append([note("after")])
        assert set(acknowledged) <= set(_counted_ids(home)), (at, disk.made[at - 1])
        assert not verify(home).damaged, (at, disk.made[at - 1], verify(home).findings)


@pytest.mark.usefixtures("small_segments")
def test_a_kill_at_every_call_loses_nothing_acknowledged(tmp_path: Path) -> None:
    for at in range(1, _number_of_calls(tmp_path) + 1):
        home = Home.at(tmp_path / f"home-{at}")
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            _append_and_tell(home, FaultyDisk(at, _kill), send)
        os.close(send)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        told = os.read(receive, 65536).decode()
        os.close(receive)
        acknowledged = [told[start : start + 36] for start in range(0, len(told), 36)]
        Appender(home).append([note("after")])
        assert set(acknowledged) <= set(_counted_ids(home)), at
        assert not verify(home).damaged, (at, verify(home).findings)


def test_a_write_torn_at_any_byte_is_no_event(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    Appender(home).append([note("first")])
    size = newest_segment(home).stat().st_size
    event = note("torn")
    line_bytes = len(event.data) + 270
    for length in range(0, line_bytes, 7):
        copy = Home.at(tmp_path / f"copy-{length}")
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            Appender(copy).append([note("first")])
            start = newest_segment(copy).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (start + length, start + length))
            try:
                Appender(copy).append([event])
            except AppendRefused:
                os._exit(7)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ids = _counted_ids(copy)
        assert (status == 7) == (event.id not in ids), (length, status, size)
        Appender(copy).append([event])
        assert _counted_ids(copy)[-1] == event.id
        assert not verify(copy).damaged


class ShortWrites(Disk):
    """A disk that takes only part of the *nth* write of an event."""

    def __init__(self, at: int, keep: int) -> None:
        self.at, self.keep, self.writes = at, keep, 0

    def write(self, descriptor: int, data: bytes) -> int:
        self.writes += 1
        return super().write(descriptor, data[: self.keep] if self.writes == self.at else data)


@pytest.mark.parametrize("keep", [0, 1, 76, 200, -1])
def test_a_short_write_moves_on_to_the_next_segment(home: Home, keep: int) -> None:
    Appender(home).append([note("first")])
    first = newest_segment(home)
    disk = ShortWrites(1, keep)
    appender = Appender(home, disk=disk)
    appender.append([note("second")])
    appender.append([note("third")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "second", "third"]
    assert events(home)[2]["data"]["reason"] == "write_failed"
    assert first != newest_segment(home)
    assert not verify(home).damaged


def test_a_failed_sync_is_never_retried(home: Home) -> None:
    class NoSync(Disk):
        failing: int | None = None
        synced: list[int] = []  # noqa: RUF012

        def sync(self, descriptor: int) -> None:
            self.synced.append(os.fstat(descriptor).st_ino)
            if os.fstat(descriptor).st_ino == self.failing:
                raise OSError(errno.EIO, "lost")
            super().sync(descriptor)

    disk = NoSync()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    disk.failing, disk.synced = newest_segment(home).stat().st_ino, []
    event = note("second")
    appender.append([event])
    assert disk.synced.count(disk.failing) == 1
    found = [item for item in events(home) if item["id"] == event.id]
    assert len(found) == 1  # the copy whose sync failed was sealed off
    assert events(home)[2]["data"]["reason"] == "sync_failed"
    assert [finding.kind for finding in verify(home).findings] == ["residue_sealed"]


def test_a_dead_disk_says_that_the_event_may_appear(home: Home) -> None:
    class Dead(Disk):
        dead = False

        def sync(self, descriptor: int) -> None:
            if self.dead:
                raise OSError(errno.EIO, "lost")
            super().sync(descriptor)

        def create_exclusive(self, path: Path) -> int:
            if self.dead:
                raise OSError(errno.EIO, "lost")
            return super().create_exclusive(path)

    disk = Dead()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    disk.dead = True
    event = note("second")
    with pytest.raises(AppendUnknown, match="send it again under its id"):
        appender.append([event])
    disk.dead = False
    appender.append([event])
    assert _counted_ids(home)[-1] == event.id


def test_a_full_disk_refuses_and_harms_nothing(home: Home) -> None:
    class Full(Disk):
        full = False

        def write(self, descriptor: int, data: bytes) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(descriptor, data)

    disk = Full()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    before = newest_segment(home).read_bytes()
    disk.full = True
    for _ in range(3):
        with pytest.raises(AppendRefused, match="make room"):
            appender.append([note("refused")])
    assert home.segments(home.writers()[0])[0].read_bytes() == before
    disk.full = False
    appender.append([note("again")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", None, "again"]


@pytest.fixture
def damaged_places(home: Home) -> tuple[Home, bytes, Path]:
    appender = Appender(home)
    appender.append([note("one"), note("two"), note("three")])
    path = newest_segment(home)
    return home, path.read_bytes(), path


def test_every_flipped_byte_is_found_and_stays_local(damaged_places: tuple[Home, bytes, Path]) -> None:
    home, whole, path = damaged_places
    lines = whole.splitlines(keepends=True)
    starts = [sum(map(len, lines[:index])) for index in range(len(lines) + 1)]
    for offset in range(len(whole)):
        flipped = bytearray(whole)
        flipped[offset] ^= 0x01
        path.write_bytes(flipped)
        result = verify(home)
        assert result.damaged, offset
        line = next(index for index in range(len(lines)) if starts[index] <= offset < starts[index + 1])
        lost = 2 if offset == starts[line + 1] - 1 else 1  # a lost line feed glues two lines together
        assert result.lines >= len(lines) - lost, offset
    path.write_bytes(whole)
    assert not verify(home).findings


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda lines: [*lines[:1], *lines[2:]], id="dropped"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], id="swapped"),
        pytest.param(lambda lines: [*lines[:2], lines[1], *lines[2:]], id="repeated"),
        pytest.param(lambda lines: [*lines[:2], lines[1].replace(b'"one"', b'"two"'), *lines[2:]], id="inserted"),
        pytest.param(lambda lines: [lines[0], lines[1].replace(b'"one"', b'"eno"'), *lines[2:]], id="changed"),
    ],
)
def test_tampering_shows(damaged_places: tuple[Home, bytes, Path], edit: Callable[[list[bytes]], list[bytes]]) -> None:
    home, whole, path = damaged_places
    path.write_bytes(b"".join(edit(whole.splitlines(keepends=True))))
    assert verify(home).damaged


def test_a_damaged_last_line_is_sealed_off_by_the_next_append(damaged_places: tuple[Home, bytes, Path]) -> None:
    home, whole, path = damaged_places
    path.write_bytes(whole[:-100] + b"?" + whole[-99:])
    assert [finding.kind for finding in verify(home).findings] == ["tail_torn"]
    Appender(home).append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == [None, "one", "two", None, "after"]


def test_a_damaged_head_does_not_cost_the_lines_below_it(damaged_places: tuple[Home, bytes, Path]) -> None:
    home, whole, path = damaged_places
    path.write_bytes(whole[:40] + b"?" + whole[41:])
    assert [event["data"]["text"] for event in events(home)] == ["one", "two", "three"]
    Appender(home).append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == ["one", "two", "three", None, "after"]
    assert verify(home).damaged


def test_a_missing_segment_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1500)
    appender = Appender(home)
    for _ in range(12):
        appender.append([note("x" * 100)])
    (writer,) = home.writers()
    gone = home.segments(writer)[1]
    gone.unlink()
    findings = verify(home).findings
    assert {"segment_missing", "chain_broken"} <= {finding.kind for finding in findings}
    assert any(str(gone) in finding.message for finding in findings)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_plain_file_is_refused_and_never_waited_for(home: Home, tmp_path: Path, kind: str) -> None:
    Appender(home).append([note()])
    lock = home.lock
    lock.unlink()
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    before = tree_bytes(home.journal)
    with pytest.raises(HomeError, match="lock"):
        Appender(home).append([note()])
    assert tree_bytes(home.journal) == before


def test_a_reader_does_not_judge_a_line_that_is_being_written(home: Home) -> None:
    appender = Appender(home)
    appender.append([note("first")])
    with appender.locked(), newest_segment(home).open("ab") as file:
        file.write(b'{"specversion"')
        file.flush()
        assert scan_journal(home).findings == []
