"""Appending: what stands on disk after it, alone and among threads, processes and forks."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, Home, HomeError, Ledger, _segment, scan_journal, verify
from keledger.journal import _limits as limits
from keledger.journal._home import machine_id
from keledger.journal._line import ZERO_HASH
from keledger.journal._segment import Finding, scan_segment
from keledger.journal._writer import Appender

from .support import call, calls, events, newest_segment, note


def test_events_stand_in_order_without_gaps(home: Home) -> None:
    appender = Appender(home)
    first = appender.append([note("a"), note("b")])
    second = appender.append([note("c")])
    found = events(home)
    assert [event["seq"] for event in found] == [1, 2, 3, 4]
    assert [event["tick"] for event in found] == [1, 2, 3, 4]
    assert [event["id"] for event in found[1:]] == [item.id for item in (*first, *second)]
    assert found[0]["type"] == "segment.opened"
    assert found[0]["data"]["reason"] == "first"


def test_nothing_is_open_to_others(home: Home) -> None:
    Appender(home).append([note()])
    for path in (home.path, *home.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_no_events_are_no_write(home: Home) -> None:
    assert Appender(home).append([]) == []
    assert not home.path.exists()


def test_a_segment_rotates_before_it_is_too_large(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 4096)
    appender = Appender(home)
    for number in range(40):
        appender.append([note(f"{number:0200d}")])
    (writer,) = home.writers()
    sizes = [path.stat().st_size for path in home.segments(writer)]
    assert len(sizes) > 3
    assert max(sizes) <= 4096
    assert {event["data"]["reason"] for event in events(home) if event["type"] == "segment.opened"} == {"first", "full"}
    assert [event["seq"] for event in events(home)] == list(range(1, 41 + len(sizes)))
    assert verify(home).findings == []


def test_an_event_larger_than_a_segment_still_gets_one(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1024)
    appender = Appender(home)
    appender.append([note("x" * 5000)])
    appender.append([note("y" * 5000)])
    assert verify(home).lines == 4
    assert verify(home).findings == []


def test_the_largest_line_fits_and_one_byte_more_is_refused(home: Home) -> None:
    appender = Appender(home)
    appender.append([note()])
    line = newest_segment(home).read_bytes().splitlines(keepends=True)[-1]
    # seq and tick grow from one digit to one digit, so the envelope stays as long as it was
    room = limits.LINE_BYTES_MAX - len(line)
    before = newest_segment(home).read_bytes()
    with pytest.raises(AppendRefused, match=f"{limits.LINE_BYTES_MAX + 1} bytes long"):
        appender.append([note("x" * (room + 1))])
    assert newest_segment(home).read_bytes() == before
    appender.append([note("x" * room)])
    assert len(newest_segment(home).read_bytes()) == len(before) + limits.LINE_BYTES_MAX
    assert verify(home).findings == []


def test_a_torn_tail_is_sealed_off_and_kept(home: Home) -> None:
    appender = Appender(home)
    appender.append([note("kept")])
    segment = newest_segment(home)
    whole = segment.read_bytes()
    torn = b'{"specversion":"1.0","id":"' + bytes(904)
    with segment.open("ab") as file:
        file.write(torn)
    assert [finding.kind for finding in scan_journal(home).findings] == ["tail_torn"]
    Appender(home).append([note("after")])
    assert segment.read_bytes() == whole + torn
    opened = events(home)[2]
    assert opened["data"]["reason"] == "unclean_tail"
    assert opened["data"]["seals"][0]["length_bytes"] == len(whole)
    assert opened["data"]["seals"][0]["residue_bytes"] == len(torn)
    assert [(finding.kind, finding.damage) for finding in verify(home).findings] == [("residue_sealed", False)]


def test_lines_and_a_torn_tail_of_another_process_are_told_apart(home: Home) -> None:
    one, two = Appender(home), Appender(home)
    one.append([note("one")])
    two.append([note("two"), note("three")])
    with newest_segment(home).open("ab") as file:
        file.write(b"torn")
    one.append([note("four")])
    assert [event["data"].get("text") for event in events(home)] == [None, "one", "two", "three", None, "four"]
    assert not verify(home).damaged


def test_an_empty_segment_is_taken_over(home: Home) -> None:
    """A full disk leaves an empty file at a refusal; a thousand refusals must not leave a thousand."""
    Appender(home).append([note("before")])
    empty = newest_segment(home).with_name("00000002.jsonl")
    empty.touch(mode=0o600)
    Appender(home).append([note("after")])
    assert newest_segment(home) == empty
    assert [event["seq"] for event in events(home)] == [1, 2, 3, 4]
    assert verify(home).findings == []


def test_many_headless_segments_are_sealed_within_a_line(home: Home) -> None:
    Appender(home).append([note("before")])
    first = newest_segment(home)
    for number in range(2, 5002):
        first.with_name(f"{number:08d}.jsonl").write_bytes(b"{")
    for _ in range(2):
        Appender(home).append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == [None, "before", None, "after", "after"]
    assert not verify(home).damaged


@pytest.mark.parametrize("content", [b'{"specversion"', bytes(500)])
def test_a_headless_segment_is_skipped_and_sealed_at_nothing(home: Home, content: bytes) -> None:
    Appender(home).append([note("before")])
    segment = newest_segment(home)
    headless = segment.with_name("00000002.jsonl")
    headless.write_bytes(content)
    Appender(home).append([note("after")])
    assert newest_segment(home).name == "00000003.jsonl"
    assert [event["seq"] for event in events(home)] == [1, 2, 3, 4]
    seals = {seal["file"]: seal["length_bytes"] for seal in events(home)[2]["data"]["seals"]}
    assert seals == {"00000001.jsonl": segment.stat().st_size, "00000002.jsonl": 0}
    assert headless.read_bytes() == content
    assert not verify(home).damaged


def test_two_appenders_see_each_other_and_follow_a_rotation(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2048)
    one, two = Appender(home), Appender(home)
    for _ in range(15):
        one.append([note("one")])
        two.append([note("two")])
    assert [event["seq"] for event in events(home)] == list(range(1, len(events(home)) + 1))
    assert verify(home).findings == []


def test_a_home_that_was_removed_is_made_anew(home: Home) -> None:
    appender = Appender(home)
    appender.append([note()])
    shutil.rmtree(home.path)
    appender.append([note("new")])
    assert len(events(home)) == 2


def test_threads_share_one_appender(home: Home) -> None:
    appender = Appender(home)
    threads = [threading.Thread(target=lambda: [appender.append([note()]) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(home)) == 201
    assert verify(home).findings == []


def test_a_forked_child_appends_beside_its_parent(home: Home) -> None:
    appender = Appender(home)
    appender.append([note("parent")])
    child = os.fork()
    if child == 0:
        try:
            for _ in range(20):
                appender.append([note("child")])
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(20):
        appender.append([note("parent")])
    assert os.waitpid(child, 0)[1] == 0
    assert len(events(home)) == 42
    assert verify(home).findings == []


def test_a_fork_under_the_lock_does_not_keep_it(home: Home) -> None:
    appender = Appender(home)
    appender.append([note()])
    with appender.locked():
        child = os.fork()
        if child == 0:
            threading.Event().wait(3)
            os._exit(0)
    Appender(home).append([note("while the child lives")])
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert len(events(home)) == 3


def test_the_lock_is_waited_for_only_so_long(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    one, two = Appender(home), Appender(home)
    one.append([note()])
    with one.locked(), pytest.raises(AppendRefused, match="another process has held"):
        two.append([note()])
    two.append([note()])
    assert len(events(home)) == 3


def test_another_machine_id_starts_a_new_writer_that_continues(home: Home) -> None:
    Appender(home).append([note("here")])
    (old,) = home.writers()
    identity = home.path / "writer.json"
    identity.write_text(identity.read_text().replace(machine_id(), "f" * 32))
    Appender(home).append([note("elsewhere")])
    (new,) = set(home.writers()) - {old}
    first = next(event for event in events(home) if event["source"].endswith(new))
    assert first["data"]["continues"] == [old]
    assert first["tick"] == 3  # above all that stand in this home, whoever wrote them
    assert verify(home).findings == []


def test_a_moved_home_starts_a_new_writer(home: Home) -> None:
    Appender(home).append([note()])
    moved = Home.at(home.path.rename(home.path.with_name("elsewhere")))
    Appender(moved).append([note()])
    assert len(moved.writers()) == 2


@pytest.mark.parametrize("content", ["", "{", '{"writer":"xyz"}', "[]"])
def test_an_unreadable_identity_is_named(home: Home, content: str) -> None:
    Appender(home).append([note()])
    (home.path / "writer.json").write_text(content)
    with pytest.raises(HomeError, match=r"writer\.json cannot be read"):
        Appender(home).append([note()])


def test_a_line_that_is_being_written_is_a_tail_whatever_follows_while_it_is_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that crosses a page can be seen in part; the rest, and more, may be there at the next look."""
    appender = Appender(home)
    for number in range(4):
        appender.append([note(f"{number}")])
    path = newest_segment(home)
    content = path.read_bytes()
    torn = content.index(b"\n", content.index(b'"1"')) + 100
    path.write_bytes(content[:torn])
    misfit = _segment._misfit

    def grows(*about: Any) -> Finding:
        path.write_bytes(content)
        return misfit(*about)

    monkeypatch.setattr(_segment, "_misfit", grows)
    found = scan_segment(path, ZERO_HASH)
    assert (found.findings, found.lines, found.torn_at) == ([], 3, found.end)
    monkeypatch.undo()
    assert scan_segment(path, found.last_hash, start=found.end).lines == 2


def _append_many(path: Path, number: int, count: int) -> None:
    appender = Appender(Home.at(path))
    for index in range(count):
        appender.append([note(f"{number}:{index}")])


def _read_until(path: Path, enough: int, failures: multiprocessing.Queue[str]) -> None:
    home, positions, lines = Home.at(path), {}, 0
    while lines < enough:
        scan = scan_journal(home, positions)
        if scan.findings or scan.rewound:
            failures.put(f"{scan.findings} {scan.rewound}")
            return
        positions = scan.positions
        lines += scan.lines
        time.sleep(0.005)


def test_eight_processes_append_while_two_read(home: Home) -> None:
    per_process = 2000
    Appender(home).append([note("first")])
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    writers = [context.Process(target=_append_many, args=(home.path, n, per_process)) for n in range(8)]
    readers = [
        context.Process(target=_read_until, args=(home.path, 8 * per_process + 2, failures), daemon=True)
        for _ in range(2)
    ]
    for process in (*readers, *writers):
        process.start()
    for process in (*writers, *readers):
        process.join(120)
        assert process.exitcode == 0
    assert failures.empty(), failures.get()
    found = events(home)
    assert [event["seq"] for event in found] == list(range(1, 8 * per_process + 3))
    texts = [event["data"]["text"] for event in found if event["type"] == "test.noted"]
    assert len(set(texts)) == 8 * per_process + 1
    for number in range(8):
        own = [text for text in texts if text.startswith(f"{number}:")]
        assert own == [f"{number}:{index}" for index in range(per_process)]
    assert verify(home).findings == []


def test_a_copy_above_the_newest_segment_is_not_gone_on_from(home: Home) -> None:
    Appender(home).append([note("one"), note("two")])
    (writer,) = home.writers()
    shutil.copy(newest_segment(home), home.journal / writer / "00000099.jsonl")
    Appender(home).append([note("three")])
    found = events(home)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert [event["data"].get("text") for event in found] == [None, "one", "two", None, "three"]


def test_a_child_that_leaves_the_lock_behind_leaves_it_to_its_parent(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Appender(home)
    with parent.locked():
        child = os.fork()
        if child == 0:
            parent._locked.__exit__(None)  # what leaving the block does
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
        with pytest.raises(AppendRefused, match="has held"):
            Appender(home).append([note()])
        parent.append_locked([note("mine")])


def test_a_writer_whose_folder_is_gone_is_not_begun_again(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(id="kept"))
        shutil.copytree(home.path, tmp_path / "backup")
        shutil.rmtree(home.journal / home.writers()[0])
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(id="later"))
        ledger.merge(tmp_path / "backup")
    assert len(calls(home)) == 2
    assert not verify(home).damaged


def test_a_file_far_above_the_others_costs_one_finding(home: Home) -> None:
    Appender(home).append([note("one")])
    (writer,) = home.writers()
    (home.journal / writer / "99999998.jsonl").touch()
    missing = [finding for finding in verify(home).findings if finding.kind == "segment_missing"]
    assert len(missing) == 1
    assert "00000002.jsonl: the files from here to 99999997.jsonl are missing" in missing[0].message
    assert "no segment above denies that nothing there was an event" in missing[0].message
    assert not missing[0].damage  # the end of a journal is told by anchors alone


def test_what_is_no_folder_is_no_writer(home: Home) -> None:
    Appender(home).append([note("one")])
    (home.journal / "0123456789abcdef").touch()
    assert len(events(home)) == 2
    Appender(home).append([note("two")])
