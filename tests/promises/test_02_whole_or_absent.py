"""Promise 2: a torn tail (part of a line, NULs, garbage) is never an event and always reported."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, NewEvent, scan_journal, verify
from keledger.journal import _limits as limits
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .support import Tell, WatchedDisk, counted_ids, in_child, kill_me, started_child

pytestmark = pytest.mark.usefixtures("quick_syncs")


def texts(home: Home) -> list[str]:
    """What the noted events say, each once."""
    return list(dict.fromkeys(event["data"]["text"] for event in events(home) if event["type"] == "test.noted"))


def kinds(home: Home) -> list[str]:
    """The findings of a reader, by kind."""
    return [finding.kind for finding in scan_journal(home).findings]


# Short writes, made by the kernel at a limit on the size of files: a write falls short or fails with EFBIG.


def nothing(_home: Home) -> None:
    """No segment yet: what falls short is the first line of the first one."""


def one_event(home: Home) -> None:
    """A segment with an event: what falls short is a later line."""
    Appender(home).append([note("before")])


def torn(home: Home) -> None:
    """A torn tail: what falls short is the first line of the next segment."""
    one_event(home)
    with newest_segment(home).open("ab") as file:
        file.write(b"{")


def next_file_bytes(prepare: Callable[[Home], None], home: Home) -> tuple[int, int]:
    """How long the file is that the next append writes to, before and after it."""
    prepare(home)
    Appender(home).append([note("measured")])
    *_, newest = home.segments(home.writers()[0])
    lines = newest.read_bytes().splitlines(keepends=True)
    after = sum(map(len, lines))
    return (after - len(lines[-1]) if prepare is one_event else 0), after


@pytest.mark.parametrize("prepare", [nothing, one_event, torn])
def test_a_write_torn_at_any_byte_is_no_event(tmp_path: Path, prepare: Callable[[Home], None]) -> None:
    start, end = next_file_bytes(prepare, Home.at(tmp_path / "measured"))
    assert end - start > 250

    def tear_each(tell: Tell) -> None:
        """One child for all: the limit is soft, so it can be lifted again."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for length in range(start, end + 1):
            home = Home.at(tmp_path / f"home-{length}")
            prepare(home)
            event = note("measured")
            resource.setrlimit(resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))
            outcome = send(home, [event])
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            tell(f"{length} {outcome} {event.id}")

    ended = in_child(tear_each)
    assert ended.status == 0
    told = list(zip(*[iter(ended.told)] * 3, strict=True))
    assert len(told) == end + 1 - start
    outcomes = {outcome for _, outcome, _ in told}
    assert {"done", "refused"} <= outcomes <= {"done", "refused"}
    for length, outcome, event_id in told:
        home = Home.at(tmp_path / f"home-{length}")
        assert (length, event_id in counted_ids(home)) == (length, outcome == "done")
        Appender(home).append([note("after")])
        assert (length, event_id in counted_ids(home)) == (length, outcome == "done")
        assert not verify(home).damaged
        shutil.rmtree(home.path)


def send(home: Home, batch: Sequence[NewEvent]) -> str:
    """Append once, and say what came of it."""
    try:
        Appender(home).append(batch)
    except AppendRefused:
        return "refused"
    except AppendUnknown:
        return "unknown"
    return "done"


def test_a_batch_torn_at_any_byte_shows_whole_lines_only(tmp_path: Path) -> None:
    """Its whole lines may appear where the next segment could not be opened: that is what *unknown* says."""
    origin = Home.at(tmp_path / "origin")
    Appender(origin).append([note("before")])
    batch = [note(f"{number}") for number in range(3)]
    start = newest_segment(origin).stat().st_size
    Appender(origin).append(batch)
    whole = newest_segment(origin).read_bytes()
    lines = whole[start:].splitlines(keepends=True)
    ends = [start + sum(map(len, lines[: number + 1])) for number in range(3)]

    class Full(WatchedDisk):
        """Takes what fits below a length, and nothing new after that, until there is room again."""

        room: int | None = None

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if self.room is None or name not in ("write", "create_exclusive"):
                return call(*arguments)
            if name == "create_exclusive" or os.fstat(arguments[0]).st_size >= self.room:
                raise OSError(28, "No space left on device")
            return call(arguments[0], arguments[1][: self.room - os.fstat(arguments[0]).st_size])

    for length in range(start, len(whole)):
        home = Home.at(tmp_path / f"home-{length}")
        disk = Full()
        appender = Appender(home, disk=disk)
        appender.append([note("before")])
        disk.room = length
        whole_lines = sum(end <= length for end in ends)
        with pytest.raises(AppendUnknown if whole_lines else AppendRefused):
            appender.append(batch)
        assert texts(home) == ["before", "0", "1", "2"][: 1 + whole_lines], length
        assert kinds(home) == ([] if length in (start, *ends) else ["tail_torn"]), length
        disk.room = None
        appender.append(batch)
        assert texts(home) == ["before", "0", "1", "2"], length
        assert not verify(home).damaged
        shutil.rmtree(home.path)


class DiesInWrite(WatchedDisk):
    """A disk whose process is killed inside its *at*-th write, when *keep* bytes of it were taken."""

    def __init__(self, at: int, keep: int) -> None:
        self.at, self.keep = at, keep

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Write a part, and die."""
        if name == "write":
            self.at -= 1
            if self.at == 0:
                call(arguments[0], arguments[1][: self.keep])
                kill_me()
        return call(*arguments)


BIG_BATCH = 8
"""Events of 250 kB each: a write of 2 MB, of which a kill may leave any part."""


def big_batch(name: str) -> list[NewEvent]:
    return [note(f"{name}-{number} " + "x" * 250_000) for number in range(BIG_BATCH)]


@pytest.mark.parametrize("keep", [0, 1, 4096, 249_999, 250_200, 250_201, 1_048_576, 1_999_999])
def test_the_next_writer_is_not_glued_to_a_line_torn_by_a_kill(home: Home, keep: int) -> None:
    alive = Appender(home)
    alive.append([note("before")])
    batch = big_batch("dead")
    assert in_child(lambda _: Appender(home, disk=DiesInWrite(1, keep)).append(batch)).killed
    left = newest_segment(home).read_bytes()
    after = note("after")
    alive.append([after])
    shown = [event["data"]["text"] for event in events(home) if event["type"] == "test.noted"]
    whole = left.count(b"\n") - 2
    assert [text.split(" ")[0] for text in shown] == ["before", *(f"dead-{n}" for n in range(whole)), "after"]
    assert home.segments(home.writers()[0])[0].read_bytes()[: len(left)] == left
    assert not verify(home).damaged


def test_kills_at_random_inside_big_writes_harm_no_other_writer(home: Home) -> None:
    alive = Appender(home)
    sent = [note("before")]
    alive.append(sent)
    chance = random.Random(20261121)

    def write_on(tell: Tell) -> None:
        appender = Appender(home)
        for number in range(1000):
            batch = big_batch(str(number))
            tell("writing")
            appender.append(batch)
            tell(" ".join(event.id for event in batch))

    for _ in range(8):
        with started_child(write_on) as child:
            child.wait_for_line()
            time.sleep(chance.random() * 0.01)
            child.send(signal.SIGKILL)
            acknowledged = [told for told in child.ended().told if told != "writing"]
        sent.append(note("after"))
        alive.append(sent[-1:])
        assert set(acknowledged) <= set(counted_ids(home))
    assert {event.id for event in sent} <= set(counted_ids(home))
    assert not verify(home).damaged


# Tails that nobody wrote whole.


@pytest.fixture
def written(home: Home) -> tuple[Home, Path, bytes]:
    """A home with two events, its segment and that segment's bytes."""
    Appender(home).append([note("one"), note("two")])
    return home, newest_segment(home), newest_segment(home).read_bytes()


def test_nuls_of_any_length_up_to_a_page_are_reported_and_no_event(written: tuple[Home, Path, bytes]) -> None:
    home, path, whole = written
    with path.open("ab") as file:
        for length in range(1, 4097):
            file.write(b"\0")
            file.flush()
            found = scan_journal(home)
            assert [(finding.kind, finding.offset_bytes) for finding in found.findings] == [("tail_torn", len(whole))]
            assert (length, found.lines) == (length, 3)


def wrong_hash(whole: bytes) -> bytes:
    """A whole line, shaped like an event, that nobody chained."""
    return whole.splitlines(keepends=True)[-1].replace(b'"two"', b'"ten"')


TAILS: dict[str, Callable[[bytes], bytes]] = {
    "one byte": lambda whole: b"{",
    "a line feed": lambda whole: b"\n",
    "nuls to a sector": lambda whole: bytes(-len(whole) % 512 or 512),
    "nuls to a page": lambda whole: bytes(-len(whole) % 4096),
    "nuls and a line feed": lambda whole: bytes(511) + b"\n",
    "garbage": lambda whole: random.Random(1).randbytes(700),
    "garbage in lines": lambda whole: b"\n".join(random.Random(2).randbytes(90) for _ in range(9)) + b"\n",
    "a whole line with a wrong hash": wrong_hash,
    "two of them": lambda whole: wrong_hash(whole) * 2,
    "the last line again": lambda whole: whole.splitlines(keepends=True)[-1],
    "the first line again": lambda whole: whole.splitlines(keepends=True)[0],
    "a line without its end": lambda whole: wrong_hash(whole)[:-1],
    "a hash alone": lambda whole: whole[-76:],
    "old content of the disk": lambda whole: whole[len(whole) // 2 : -20],
    "more than a line may hold": lambda whole: b"x" * (limits.LINE_BYTES_MAX * 2 + 1),
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_tail_is_reported_sealed_off_and_kept(written: tuple[Home, Path, bytes], tail: str) -> None:
    home, path, whole = written
    added = TAILS[tail](whole)
    assert added
    path.write_bytes(whole + added)
    assert texts(home) == ["one", "two"]
    assert kinds(home) == ["tail_torn"]
    assert [finding.kind for finding in verify(home).findings if finding.damage] == ["tail_torn"]
    Appender(home).append([note("three")])
    assert texts(home) == ["one", "two", "three"]
    assert path.read_bytes() == whole + added
    assert [(finding.kind, finding.damage) for finding in verify(home).findings] == [("residue_sealed", False)]


@pytest.mark.parametrize("tail", TAILS)
def test_an_open_appender_sees_the_tail_too(home: Home, tail: str) -> None:
    appender = Appender(home)
    appender.append([note("one"), note("two")])
    path, whole = newest_segment(home), newest_segment(home).read_bytes()
    path.write_bytes(whole + TAILS[tail](whole))
    appender.append([note("three")])
    assert texts(home) == ["one", "two", "three"]
    assert [(finding.kind, finding.damage) for finding in verify(home).findings] == [("residue_sealed", False)]


def test_a_segment_cut_at_any_byte_shows_its_whole_lines(written: tuple[Home, Path, bytes]) -> None:
    home, path, whole = written
    lines = whole.splitlines(keepends=True)
    ends = [sum(map(len, lines[: index + 1])) for index in range(len(lines))]
    for length in range(len(whole) - 1, -1, -1):
        os.truncate(path, length)
        found = scan_journal(home)
        assert (length, found.lines) == (length, sum(end <= length for end in ends))
        clean = length in (0, *ends)
        headless = length < ends[0]
        assert clean or [finding.kind for finding in found.findings][-1:] == [
            "segment_headless" if headless else "tail_torn"
        ], (length, found.findings)


def test_a_damaged_last_line_is_sealed_off_by_the_next_append(written: tuple[Home, Path, bytes]) -> None:
    """Without an anchor nobody can tell it from a line that was never whole; it is reported until it is sealed."""
    home, path, whole = written
    path.write_bytes(whole[:-100] + b"?" + whole[-99:])
    assert [finding.kind for finding in verify(home).findings] == ["tail_torn"]
    Appender(home).append([note("after")])
    assert texts(home) == ["one", "after"]
    assert [(finding.kind, finding.damage) for finding in verify(home).findings] == [("residue_sealed", False)]


def test_a_last_line_damaged_below_a_later_segment_stays_damage(
    written: tuple[Home, Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a segment seals was acknowledged: nothing that is written later makes it a note."""
    home, path, whole = written
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1000)
    Appender(home).append([note("in the next segment")])
    assert newest_segment(home) != path
    path.write_bytes(whole[:-100] + b"?" + whole[-99:])
    for _ in range(2):
        assert "line_damaged" in {finding.kind for finding in verify(home).findings if finding.damage}
        Appender(home).append([note("after")])
    assert texts(home) == ["one", "in the next segment", "after"]


def test_a_reader_does_not_judge_a_line_that_is_being_written(home: Home) -> None:
    """While an appender has the lock and the bytes behind the last line become more, they may become a line."""
    appender = Appender(home)
    appender.append([note("first")])
    ended = threading.Event()

    def write_on() -> None:
        with newest_segment(home).open("ab", buffering=0) as file:
            while not ended.wait(0.001):
                file.write(b"x")

    with appender.locked():
        writing = threading.Thread(target=write_on)
        writing.start()
        try:
            while newest_segment(home).read_bytes().endswith(b"\n"):
                time.sleep(0.001)
            assert scan_journal(home).findings == []
        finally:
            ended.set()
            writing.join()


@pytest.mark.parametrize("changed", ["a torn tail", "a changed last line"])
def test_whoever_keeps_the_lock_hides_no_tail(written: tuple[Home, Path, bytes], changed: str) -> None:
    """An appender writes a batch at once, so what does not change for long is no line on its way."""
    home, path, whole = written
    path.write_bytes(whole + b'{"specversion"' if changed == "a torn tail" else whole[:-100] + b"?" + whole[-99:])
    with Appender(home).locked():
        found = verify(home)
        assert [finding.kind for finding in found.findings] == kinds(home) == ["tail_torn"]
        assert f"{home.lock} was held while they were looked at, by whom cannot be known" in found.findings[0].message
    assert "was held" not in verify(home).findings[0].message


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_a_tail_is_told_where_the_lock_is_none(
    written: tuple[Home, Path, bytes], make: Callable[[Path], object]
) -> None:
    home, path, whole = written
    path.write_bytes(whole + b"{")
    home.lock.unlink()
    make(home.lock)
    assert [finding.kind for finding in verify(home).findings] == kinds(home) == ["tail_torn"]
