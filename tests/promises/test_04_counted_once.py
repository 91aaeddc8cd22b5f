"""Promise 4: an event counts once, after any number of copies, retries, restored backups and merges."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, KeledgerError, Ledger, MergeRefused, own_writers, verify
from keledger.journal import _limits as limits
from keledger.projections import ReportOptions, digest, open_projection, report_daily
from tests.cli.support import json_lines, keledger
from tests.journal.support import call, calls

from .support import FAILURES, FaultyDisk, failing, ignore

CALL_PICO = "515000000"
"""What :func:`tests.journal.support.call` costs."""


def record(home: Home, *keys: str, disk: FaultyDisk | None = None) -> None:
    """Record calls under keys of the caller, which name the same call on every machine."""
    with Ledger(home, program="test", disk=disk) as ledger:
        ledger.record_many([call(id=key, session=key, time="2026-11-21T12:00:00Z") for key in keys])


def counted(home: Home) -> list[str]:
    """The sessions of the calls that count, which are their keys; the sums agree with them."""
    with open_projection(home) as projection:
        rows = projection.query("SELECT session, CAST(cost_pico AS VARCHAR) FROM call_fact ORDER BY session")
        totals = report_daily(projection, ReportOptions()).totals
    assert totals["calls"] == len(rows)
    assert {cost for _, cost in rows} <= {CALL_PICO}
    return [session for session, _ in rows]


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def copied(home: Home, path: Path) -> Home:
    """A copy of the whole home, as a backup has it."""
    shutil.copytree(home.path, path)
    return Home.at(path)


def restored(home: Home, backup: Home) -> None:
    """Put a backup in the home's place: it goes on as the same writer."""
    shutil.rmtree(home.path)
    shutil.copytree(backup.path, home.path)


def merged(target: Home, *sources: Home) -> Home:
    """Take in other homes, one after the other."""
    with Ledger.open(target.path) as ledger:
        for source in sources:
            ledger.merge(source.path)
    return target


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize("code", FAILURES[:2], ids=lambda code: errno.errorcode[code])
def test_a_call_sent_again_after_any_failure_counts_once(home: Home, tmp_path: Path, code: int) -> None:
    """Into one home, whatever the failures before left there; in the end each key counts once."""
    counting = FaultyDisk()
    record(Home.at(tmp_path / "counted"), "first", disk=counting)
    keys = [f"{at:03d}" for at in range(1, len(counting.made) + 1)]
    for at, key in enumerate(keys, 1):
        for late in (False, True):
            with contextlib.suppress(KeledgerError):
                record(home, key, disk=FaultyDisk(at, failing(code), late=late))
        record(home, key)
    assert len(calls(home)) > len(keys)  # some of what had failed does appear
    assert counted(home) == keys
    assert not verify(home).damaged


def test_one_file_recorded_on_two_machines_counts_once_after_merging_both_ways(tmp_path: Path) -> None:
    given = json_lines(*(call(session=f"{number}", time="2026-11-21T12:00:00Z") for number in range(4)))
    file = tmp_path / "calls.jsonl"
    file.write_text(given)
    homes = [Home.at(tmp_path / name) for name in ("one", "two")]
    for home in homes:
        for _ in range(2):  # and twice on each
            assert keledger("--home", str(home.path), "record", str(file)).status == 0
    for target, source in itertools.permutations(homes):
        merged(target, source)
    for home in homes:
        assert counted(home) == ["0", "1", "2", "3"]
        assert not verify(home).damaged
    assert digest_of(homes[0]) == digest_of(homes[1])


def test_a_restored_backup_that_goes_on_counts_once(home: Home, tmp_path: Path) -> None:
    record(home, "a", "b")
    backup = copied(home, tmp_path / "backup")
    record(home, "c")
    lost = copied(home, tmp_path / "lost")
    restored(home, backup)
    record(home, "b", "c", "d")  # what is known to have been recorded is recorded again, and something new
    assert counted(home) == ["a", "b", "c", "d"]
    assert not verify(home).damaged
    assert counted(merged(Home.at(tmp_path / "third"), backup)) == ["a", "b"]
    for target, source in ((home, lost), (lost, home)):
        before = counted(target)
        with pytest.raises(MergeRefused, match="went two ways"):
            merged(target, source)
        assert counted(target) == before
        assert not verify(target).damaged


def test_a_copied_home_goes_on_as_another_writer(home: Home, tmp_path: Path) -> None:
    """Beside the first one: the home's path differs, so both may append, and be merged in any order."""
    record(home, "a", "b")
    copy = copied(home, tmp_path / "copy")
    record(home, "b", "c")
    record(copy, "b", "c", "d")
    assert len(copy.writers()) == 2
    ways = [merged(Home.at(tmp_path / f"way-{n}"), *order) for n, order in enumerate(([home, copy], [copy, home]))]
    merged(home, copy)
    for each in (home, *ways):
        assert counted(each) == ["a", "b", "c", "d"]
        assert not verify(each).damaged
    assert len({digest_of(each) for each in (home, *ways)}) == 1


def test_one_writer_that_went_two_ways_is_refused_and_each_way_stands_alone(home: Home, tmp_path: Path) -> None:
    record(home, "a")
    backup = copied(home, tmp_path / "backup")
    record(home, "b")
    one_way = copied(home, tmp_path / "one way")
    restored(home, backup)
    record(home, "c")
    both = merged(Home.at(tmp_path / "both"), one_way)
    assert counted(both) == ["a", "b"]
    with pytest.raises(MergeRefused, match="went two ways"):
        merged(both, home)
    for each, keys in ((one_way, ["a", "b"]), (home, ["a", "c"]), (both, ["a", "b"])):
        assert counted(each) == keys
        assert not verify(each).damaged


def test_an_id_with_another_input_counts_as_its_first_copy(home: Home, tmp_path: Path) -> None:
    """Told on two machines: whichever is merged into the other, one of the two counts, and both are named."""
    other = Home.at(tmp_path / "other")
    record(home, "a")
    with Ledger.open(other.path) as ledger:
        ledger.record(**call(id="a", session="another"))
    for target, source in ((home, other), (other, home)):
        merged(target, source)
        assert len(counted(target)) == 1
        assert [finding.kind for finding in verify(target).findings] == ["conflict"]
    assert counted(home) == counted(other)


# Segments that are not where they were.


@pytest.fixture
def segments(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A home with five keys in more than three segments."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2500)
    for key in "abcde":
        record(home, key)
    (writer,) = home.writers()
    paths = home.segments(writer)
    assert len(paths) > 3
    return paths


def copy_as_next(paths: Sequence[Path]) -> None:
    """The first segment stands a second time, behind the last."""
    shutil.copyfile(paths[0], paths[0].with_name(f"{len(paths) + 1:08d}.jsonl"))


def copy_far_behind(paths: Sequence[Path]) -> None:
    shutil.copyfile(paths[1], paths[0].with_name("00000099.jsonl"))


def copy_over_the_next(paths: Sequence[Path]) -> None:
    shutil.copyfile(paths[0], paths[1])


def swap(paths: Sequence[Path]) -> None:
    first, second = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(second)
    paths[2].write_bytes(first)


def rename_the_last(paths: Sequence[Path]) -> None:
    paths[-1].rename(paths[0].with_name("00000042.jsonl"))


def lose_the_first(paths: Sequence[Path]) -> None:
    paths[0].unlink()


def lose_one(paths: Sequence[Path]) -> None:
    paths[1].unlink()


def copy_to_another_writer(paths: Sequence[Path]) -> None:
    folder = paths[0].parent.with_name("0123456789abcdef")
    folder.mkdir(mode=0o700)
    shutil.copyfile(paths[0], folder / paths[0].name)


def copy_all_to_another_writer(paths: Sequence[Path]) -> None:
    shutil.copytree(paths[0].parent, paths[0].parent.with_name("0123456789abcdef"))


def move_to_another_writer(paths: Sequence[Path]) -> None:
    folder = paths[0].parent.with_name("0123456789abcdef")
    folder.mkdir(mode=0o700)
    paths[1].rename(folder / paths[1].name)


DOUBLED = [copy_as_next, copy_far_behind, copy_to_another_writer, copy_all_to_another_writer]
MISPLACED = [*DOUBLED, copy_over_the_next, swap, rename_the_last, lose_the_first, lose_one, move_to_another_writer]


@pytest.mark.parametrize("misplace", MISPLACED, ids=lambda misplace: misplace.__name__)
def test_segments_that_are_missing_renamed_or_doubled_are_found_and_count_nothing_twice(
    home: Home, segments: list[Path], misplace: Callable[[Sequence[Path]], None], tmp_path: Path
) -> None:
    misplace(segments)
    found = counted(home)
    assert sorted(set(found)) == found
    assert set(found) <= set("abcde")
    assert found == [*"abcde"] or misplace not in DOUBLED
    assert verify(home).damaged
    other = Home.at(tmp_path / "other")
    with pytest.raises(KeledgerError, match="nothing was merged"):
        merged(other, home)
    record(home, *"abcde", "f")
    assert counted(home) == [*"abcde", "f"]


def test_a_last_segment_that_is_gone_is_counted_again_when_it_comes_back(
    home: Home, segments: list[Path], tmp_path: Path
) -> None:
    """Nothing shows that the end is missing but another copy: merging one brings it back, once."""
    whole = copied(home, tmp_path / "whole")
    segments[-1].unlink()
    assert set(counted(home)) < set("abcde")
    with contextlib.suppress(MergeRefused):  # the home goes on as the writer whose end it lacks
        merged(home, whole)
    other = merged(Home.at(tmp_path / "other"), whole)
    assert counted(other) == [*"abcde"]


# Any history.

EXAMPLES = int(os.environ.get("KELEDGER_TEST_EXAMPLES", "12"))
"""Each takes about half a second; more are worth their time after a change of what counts or of the write path."""

KEYS = "abc"
keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)
machines = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("record"), machines, keys),
    st.tuples(st.just("fail"), machines, st.tuples(keys, st.integers(1, 60), st.sampled_from(FAILURES), st.booleans())),
    st.tuples(st.just("merge"), machines, st.none()),
    st.tuples(st.just("back up"), machines, st.none()),
    st.tuples(st.just("restore"), machines, st.none()),
    st.tuples(st.just("tear"), machines, st.integers(1, 300)),
)


@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=2, max_size=10))
def test_after_any_history_each_call_counts_once(history: list[tuple[str, int, Any]]) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("fsync", "fdatasync"):
            patch.setattr(f"os.{name}", ignore)
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 4000)
        homes = [Home.at(folder / f"home-{number}") for number in range(2)]
        known: list[set[str]] = [set(), set()]
        backups: dict[int, tuple[Home, set[str]]] = {}
        for number, (kind, machine, given) in enumerate(history):
            home, other = homes[machine], homes[1 - machine]
            if kind == "record":
                record(home, *given)
                known[machine].update(given)
            elif kind == "fail":
                sent, at, code, late = given
                with contextlib.suppress(KeledgerError):
                    record(home, *sent, disk=FaultyDisk(at, failing(code), late=late))
                    known[machine].update(sent)
            elif kind == "merge" and other.path.exists() and calls(other):
                with contextlib.suppress(MergeRefused):
                    merged(home, other)
                    known[machine].update(event["data"]["session"] for event in calls(other))
            elif kind == "back up" and home.path.exists():
                backups[machine] = copied(home, folder / f"backup-{number}"), set(known[machine])
            elif kind == "restore" and machine in backups:
                backup, held = backups[machine]
                restored(home, backup)
                known[machine] = set(held)
            elif kind == "tear" and (written := segments_of(home)):
                with written[-1].open("ab") as file:
                    file.write(b'{"specversion":"1.0","id":"'.ljust(given, b"\0")[:given])
        for home, held in zip(homes, known, strict=True):
            if home.path.exists():
                shown = {event["data"]["session"] for event in calls(home)}
                assert held <= shown
                assert counted(home) == sorted(shown)
                assert {finding.kind for finding in verify(home).findings if finding.damage} <= {"tail_torn"}


def segments_of(home: Home) -> list[Path]:
    """The segments of the home's own writer; none where a fault came before the first."""
    return home.segments(own[-1]) if (own := own_writers(home)) else []
