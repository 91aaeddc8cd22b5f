"""Merging: other writers' bytes as they are, each event counted once, or nothing at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, JournalDamaged, KeledgerError, Ledger, MergeRefused, UsageError, verify
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._writer import Appender

from .support import call, calls, events, newest_segment, note, tree_bytes
from .tampering import append_body, next_body


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """Another machine's home with three calls."""
    found = Home.at(tmp_path / "other")
    with Ledger.open(found.path) as ledger:
        for number in range(3):
            ledger.record(**call(session="other", client_call_id=str(number)))
    return found


def test_events_and_books_come_as_they_are(ledger: Ledger, home: Home, other: Home) -> None:
    ledger.record(**call(session="mine"))
    theirs = tree_bytes(other.journal)
    merged = ledger.merge(other.path, "the laptop's calls")
    assert merged.lines == 5
    assert {name: content for name, content in tree_bytes(home.journal).items() if name in theirs} == theirs
    assert len(calls(home)) == 4
    last = [event for event in events(home) if event["type"] == "merge.completed"][-1]
    assert last["tick"] == 1 + max(event["tick"] for event in events(home) if event is not last and event != last)
    assert last["data"]["writers"][0]["seq"] == 5
    assert last["data"]["reason"] == "the laptop's calls"
    assert verify(home).findings == []
    assert not home.merging.exists()


def test_merging_again_changes_nothing(ledger: Ledger, home: Home, other: Home) -> None:
    ledger.merge(other.path)
    before = tree_bytes(home.path)
    assert ledger.merge(other.path).lines == 0
    assert tree_bytes(home.path) == before


def test_a_longer_copy_extends_what_is_here(
    ledger: Ledger, home: Home, other: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.merge(other.path)
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 8000)
    with Ledger.open(other.path) as more:
        for _ in range(20):
            more.record(**call(session="later"))
    assert len(other.segments(other.writers()[0])) > 2
    ledger.merge(other.path)
    assert len(calls(home)) == 23
    assert verify(home).findings == []


def test_a_torn_tail_is_not_taken(ledger: Ledger, home: Home, other: Home) -> None:
    with newest_segment(other).open("ab") as file:
        file.write(b'{"torn')
    ledger.merge(other.path)
    assert len(calls(home)) == 3
    assert not verify(home).damaged


def test_ticks_go_on_above_what_was_merged(ledger: Ledger, home: Home, other: Home) -> None:
    with Ledger.open(other.path) as more:
        more.record_many([call() for _ in range(50)])
    ledger.record(**call())
    ledger.merge(other.path)
    ledger.record(**call())
    last = max(events(home), key=lambda event: event["tick"])
    assert last["source"] != f"/keledger/{other.writers()[0]}"


def test_damage_refuses_everything(ledger: Ledger, home: Home, other: Home) -> None:
    ledger.record(**call())
    path = newest_segment(other)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = tree_bytes(home.path)
    with pytest.raises(JournalDamaged, match="nothing was merged"):
        ledger.merge(other.path)
    assert tree_bytes(home.path) == before


def test_two_ways_of_one_writer_are_refused(ledger: Ledger, home: Home, other: Home, tmp_path: Path) -> None:
    copy = Home.at(tmp_path / "copy")
    shutil.copytree(other.path, copy.path)
    ledger.merge(other.path)
    # a restored backup that goes on as the same writer: only possible where machine and path are the same
    shutil.rmtree(other.path)
    shutil.copytree(copy.path, other.path)
    for place in (other,):
        with Ledger.open(place.path) as forked:
            forked.record(**call(session="one way"))
    with Ledger.open(home.path) as opened:
        opened.merge(other.path)
    shutil.rmtree(other.path)
    shutil.copytree(copy.path, other.path)
    with Ledger.open(other.path) as forked:
        forked.record(**call(session="another way"))
    before = tree_bytes(home.path)
    with pytest.raises(MergeRefused, match="went two ways: seq 6 differs"):
        ledger.merge(other.path)
    assert tree_bytes(home.path) == before


def test_an_exhausted_tick_is_refused(ledger: Ledger, home: Home, other: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MERGED_TICK_MAX", 3)
    with pytest.raises(MergeRefused, match="tick 5"):
        ledger.merge(other.path)


def test_a_missing_book_is_named(ledger: Ledger, home: Home, other: Home) -> None:
    for path in other.prices.iterdir():
        path.unlink()
    with pytest.raises(JournalDamaged, match="No such file or directory; named by"):
        ledger.merge(other.path)


def test_what_is_no_other_home_is_named(ledger: Ledger, home: Home, tmp_path: Path) -> None:
    ledger.record(**call())
    with pytest.raises(UsageError, match="no folder journal"):
        ledger.merge(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="this home itself"):
        ledger.merge(home.path)


class _Dies(Disk):
    def __init__(self, at: int) -> None:
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def link(self, source: Path, target: Path) -> None:
        self._count()
        super().link(source, target)

    def sync_folder(self, descriptor: int) -> None:
        self._count()
        super().sync_folder(descriptor)

    def write(self, descriptor: int, data: bytes) -> int:
        self._count()
        return super().write(descriptor, data)

    def remove(self, path: Path) -> None:
        self._count()
        super().remove(path)


def test_a_merge_that_is_killed_anywhere_can_be_run_again(tmp_path: Path, other: Home) -> None:
    killed = 0
    for at in range(1, 60):
        home = Home.at(tmp_path / f"home-{at}")
        Appender(home).append([note("mine")])
        child = os.fork()
        if child == 0:
            merge(home, other.path, appender=Appender(home, disk=_Dies(at)), actor="test")
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        killed += 1
        Appender(home).append([note("after")])
        after = max(event["tick"] for event in events(home))
        assert next(event for event in events(home) if event["tick"] == after)["data"] == {"text": "after"}, at
        merge(home, other.path, appender=Appender(home), actor="test")
        assert len(calls(home)) == 3, at
        assert {path.name for path in home.path.iterdir()} <= {"journal", "lock", "prices", "writer.json"}, at
        assert not verify(home).damaged, (at, verify(home).findings)
    else:
        pytest.fail("the merge never ran through")
    assert killed > 8


def test_a_full_disk_leaves_the_journal_as_it_was(ledger: Ledger, home: Home, other: Home) -> None:
    class Full(Disk):
        def write(self, descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    ledger.record(**call())
    before = tree_bytes(home.path)
    with pytest.raises((OSError, KeledgerError)):
        merge(home, other.path, appender=Appender(home, disk=Full()), actor="test")
    assert tree_bytes(home.path) == before


def test_a_merge_that_tore_a_file_goes_on_where_it_stopped(ledger: Ledger, home: Home, other: Home) -> None:
    class Torn(Disk):
        torn = False

        def write(self, descriptor: int, data: bytes) -> int:
            if self.torn:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.torn = len(data) > 300
            return super().write(descriptor, data[:300])

    ledger.merge(other.path)
    with Ledger.open(other.path) as more:
        more.record_many([call(session="later") for _ in range(3)])
    with pytest.raises(HomeError, match="make room"):
        merge(home, other.path, appender=Appender(home, disk=Torn()), actor="test")
    assert "tail_torn" in {finding.kind for finding in verify(home).findings}
    ledger.merge(other.path)
    assert len(calls(home)) == 6
    assert not verify(home).damaged


def test_a_tag_that_looks_like_a_book_does_not_stop_a_merge(ledger: Ledger, other: Home, home: Home) -> None:
    with Ledger.open(other.path) as more:
        more.record(**call(tags={"book": "ab" * 32}))
    ledger.merge(other.path)
    assert len(calls(home)) == 4


def test_a_contradiction_shows_behind_damage(ledger: Ledger, home: Home, other: Home, tmp_path: Path) -> None:
    copy = Home.at(tmp_path / "copy")
    shutil.copytree(other.path, copy.path)
    with Ledger.open(other.path) as one_way:
        one_way.record(**call(session="one way"))
    ledger.merge(other.path)
    shutil.rmtree(other.path)
    shutil.copytree(copy.path, other.path)
    with Ledger.open(other.path) as another_way:
        another_way.record(**call(session="another way"))
    mine = home.journal / other.writers()[0] / "00000001.jsonl"
    lines = mine.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"gpt-5-mini", b"gpt-5-mina", 1)
    mine.write_bytes(b"".join(lines))
    with pytest.raises(MergeRefused, match="went two ways"):
        ledger.merge(other.path)


def test_a_line_with_white_space_is_merged_once(ledger: Ledger, home: Home, other: Home) -> None:
    """No release writes one, and ``verify`` has nothing against it."""
    body = next_body(newest_segment(other)).replace(b'":', b'": ')
    append_body(newest_segment(other), body)
    assert not verify(other).damaged
    first = ledger.merge(other.path)
    assert first.lines == 6
    Appender(other).append([note("later")])
    assert ledger.merge(other.path).lines == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"specversion":"1.0","id":"zz","source":"/keledger/%b","type":"x","v":1,"time":"t","seq":6,"tick":6,"data":{}',
        b'{"specversion":"1.0","id":"%b","type":["x"]',
        b"[1,2",
    ],
)
def test_lines_that_are_no_events_are_not_merged(ledger: Ledger, home: Home, other: Home, body: bytes) -> None:
    path = newest_segment(other)
    body = body.replace(b"%b", other.writers()[0].encode())
    previous = bytes.fromhex(path.read_bytes()[-67:-3].decode())
    digest = hashlib.sha256(previous + body).hexdigest().encode()
    with path.open("ab") as file:
        file.write(b'%b,"hash":"%b"}\n' % (body, digest))
    ledger.record(**call())
    before = tree_bytes(home.path)
    assert verify(other).damaged
    with pytest.raises(JournalDamaged, match="nothing was merged"):
        ledger.merge(other.path)
    assert tree_bytes(home.path) == before
