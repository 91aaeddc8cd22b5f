"""Every system call of an append, killed at or failing once, in a real process under strace.

The faults of ``tests/promises`` are put into the one class that makes the system calls; here the kernel's side
of it is looked at.  So these tests also hold that the class is the whole truth: nothing else changes a home.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, verify
from keledger.journal._writer import Appender
from tests.journal.support import call, events, newest_segment, note

from ._needs import need_strace
from ._strace import Died, Victims, victims
from ._trace import Call, PowerCut
from ._victim import ENTERED, EVENTS, LEFT

pytestmark = pytest.mark.machine

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EMFILE", "EINTR")
FAILING = ("openat", "write", "fdatasync", "fsync", "flock", "mkdir", "rename", "link", "pread64", "access")
FLOWS = {"append_notes": EVENTS, "append_in_company": EVENTS - 2, "record_calls": 2}
"""What each flow acknowledges when it ends."""
NEXT = {"append_notes": "append_one_note", "append_in_company": "append_one_note", "record_calls": "record_one_call"}
"""What the next process does."""


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    need_strace()
    with victims(tmp_path_factory.mktemp("machine") / "victims") as running:
        yield running


def _with_torn_tail(home: Home) -> None:
    Appender(home).append([note("first")])
    with newest_segment(home).open("ab") as file:
        file.write(b'{"specversion":"1.0","id":"01')


BEGINNINGS = {"new home": lambda _: None, "torn tail": _with_torn_tail}


def _places(died: Died, home: Home, names: tuple[str, ...]) -> list[Call]:
    """The calls on the home of these names: where faults are put."""
    return [made for made in died.calls if made.name in names and any(str(home.path) in path for path in made.paths)]


def _check(home: Home, acknowledged: list[str]) -> None:
    """What was acknowledged is there, once, in a journal that has no damage."""
    found = [event["id"] for event in events(home)]
    assert set(acknowledged) <= set(found)
    assert len(acknowledged) == len(set(acknowledged))
    result = verify(home)
    assert not result.damaged, result.findings


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("flow", FLOWS)
def test_a_kill_at_every_call_loses_nothing_acknowledged(
    forked: Victims, tmp_path: Path, flow: str, beginning: str
) -> None:
    counted = Home.at(tmp_path / "counted")
    BEGINNINGS[beginning](counted)
    whole = forked.run(flow, counted.path)
    assert (whole.status, len(whole.acknowledged)) == (0, FLOWS[flow])
    places = [made for made in _places(whole, counted, FAILING) if made.changes or made.name == "flock"]
    assert len(places) > 20
    for made in places:
        home = Home.at(tmp_path / f"{made.name}-{made.nth}")
        BEGINNINGS[beginning](home)
        killed = forked.run(flow, home.path, f"{made.name}:signal=KILL:when={made.nth}")
        assert killed.status == -signal.SIGKILL, made
        after = forked.run(NEXT[flow], home.path)
        assert after.status == 0, made
        _check(home, killed.acknowledged + after.acknowledged)
        shutil.rmtree(home.path)


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("flow", FLOWS)
def test_each_call_fails_once_and_sending_again_loses_nothing(
    forked: Victims, tmp_path: Path, flow: str, code: str
) -> None:
    counted = Home.at(tmp_path / "counted")
    for made in _places(forked.run(flow, counted.path), counted, FAILING):
        home = Home.at(tmp_path / f"{made.name}-{made.nth}")
        failed = forked.run(flow, home.path, f"{made.name}:error={code}:when={made.nth}")
        assert (failed.status, len(failed.acknowledged)) == (0, FLOWS[flow]), made
        Appender(home).append([note("after")])
        _check(home, failed.acknowledged)
        settled = PowerCut(home.path, failed.told)
        settled.follow(failed.calls)
        assert not settled.problems, (made, settled.problems)
        shutil.rmtree(home.path)


@pytest.mark.parametrize("flow", FLOWS)
def test_nothing_is_acknowledged_before_it_is_synced(forked: Victims, tmp_path: Path, flow: str) -> None:
    home = Home.at(tmp_path / "deep" / "er" / "home")
    died = forked.run(flow, home.path)
    settled = PowerCut(home.path, died.told)
    settled.follow(died.calls)
    assert settled.acknowledged == FLOWS[flow]
    assert not settled.problems


@pytest.mark.parametrize("flow", FLOWS)
def test_what_a_killed_process_left_unsynced_is_synced_by_the_next(forked: Victims, tmp_path: Path, flow: str) -> None:
    counted = Home.at(tmp_path / "counted")
    for made in _places(forked.run(flow, counted.path), counted, ("fsync", "fdatasync")):
        home = Home.at(tmp_path / f"{made.name}-{made.nth}")
        killed = forked.run(flow, home.path, f"{made.name}:signal=KILL:when={made.nth}")
        settled = PowerCut(home.path, killed.told)
        settled.follow(killed.calls)
        settled.told = (after := forked.run(NEXT[flow], home.path)).told
        settled.follow(after.calls)
        assert not settled.problems, (made, settled.problems)
        shutil.rmtree(home.path)


def test_nothing_but_the_disk_class_changes_a_home(forked: Victims, tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    died = forked.run("do_everything", home.path)
    assert died.status == 0
    marks = iter(died.told.read_text().splitlines())
    inside, seen = None, set()
    for made in died.calls:
        if made.path == str(died.told) and made.name == "write":
            mark = next(marks)
            inside = mark.removeprefix(ENTERED) if mark.startswith(ENTERED) else None
            assert inside or mark.startswith(LEFT), mark
        elif made.changes and made.path.startswith((f"{home.journal}/", f"{home.prices}/", f"{home.path}/")):
            if made.path.startswith(f"{home.path}/merge-") and made.name in ("unlinkat", "unlink", "rmdir"):
                continue  # what a merge had staged is taken away again; it is no part of the journal
            assert inside is not None, made
            seen.add(inside)
    assert {"make_folder", "create_exclusive", "write", "sync", "sync_folder", "link", "replace"} <= seen
    assert not verify(home).damaged
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
