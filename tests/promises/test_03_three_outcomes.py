"""Promise 3: done; refused (nothing of it can appear); unknown (it may appear).  Sending it again is always safe."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, NewEvent, verify
from keledger.journal import _limits as limits
from keledger.journal._writer import Appender
from tests.journal.support import newest_segment, note

from .power import Machine
from .support import (
    FAILURES,
    SCRIPT_EVENTS,
    FaultyDisk,
    Outcomes,
    Tell,
    WatchedDisk,
    append_once,
    append_script,
    counted_ids,
    failing,
    in_child,
    kill_me,
    script_calls,
    script_events,
)

pytestmark = pytest.mark.usefixtures("small_segments", "quick_syncs")

CODES = [pytest.param(code, id=errno.errorcode[code]) for code in FAILURES]


def check_outcomes(home: Home, outcomes: Outcomes) -> None:
    """What was said of each event holds, now and after others have appended; what is unknown may be sent again."""
    sent = len(outcomes.done) + len(outcomes.refused) + len(outcomes.unknown)
    assert sent == SCRIPT_EVENTS
    for _ in range(2):
        counted = counted_ids(home)
        assert set(outcomes.done) <= set(counted)
        assert set(outcomes.refused).isdisjoint(counted)
        append_script(home)
    again = [*outcomes.unknown, *outcomes.refused]
    append_once(home, None, [note("again", event_id) for event_id in again])
    counted = counted_ids(home)
    assert {*outcomes.done, *again} <= set(counted)
    assert len(counted) == sent + 2 * SCRIPT_EVENTS
    assert [finding for finding in verify(home).findings if finding.damage] == []


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("late", [False, True], ids=["instead of the call", "after its effect"])
def test_each_call_fails_once(tmp_path: Path, code: int, late: bool) -> None:
    calls = script_calls(tmp_path)
    assert len(calls) > 50
    spared = 0
    for at, name in enumerate(calls, 1):
        home = Home.at(tmp_path / f"home-{at}")
        outcomes = append_once(home, FaultyDisk(at, failing(code), late=late), script_events())
        try:
            check_outcomes(home, outcomes)
        except AssertionError as error:
            raise AssertionError(f"call {at}, {name}: {outcomes}") from error
        assert len(outcomes.done) >= SCRIPT_EVENTS - 1, (at, name)
        spared += len(outcomes.done) == SCRIPT_EVENTS
    assert spared > 10  # a failed write or sync is made good in the next segment


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("code", CODES)
def test_each_call_fails_from_some_moment_on(tmp_path: Path, code: int) -> None:
    for at, name in enumerate(script_calls(tmp_path), 1):
        home = Home.at(tmp_path / f"home-{at}")
        outcomes = append_once(home, FaultyDisk(at, failing(code), persistent=True), script_events())
        try:
            check_outcomes(home, outcomes)
        except AssertionError as error:
            raise AssertionError(f"from call {at}, {name}, on: {outcomes}") from error


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("name", ["write", "sync", "sync_folder", "create_exclusive"])
def test_one_kind_of_call_fails_for_a_while(tmp_path: Path, name: str) -> None:
    """Two calls of a kind after one another, so that making it good in the next segment fails too."""

    class ForAWhile(FaultyDisk):
        def around(self, called: str, call: Callable[..., Any], *arguments: Any) -> Any:
            self.persistent = len(self.made) <= self.at
            return super().around(called, call, *arguments)

    seen = set()
    for at in range(1, script_calls(tmp_path).count(name) + 1):
        for late in (False, True):
            home = Home.at(tmp_path / f"home-{at}-{late}")
            outcomes = append_once(home, ForAWhile(at, failing(errno.EIO), (name,), late=late), script_events())
            check_outcomes(home, outcomes)
            seen |= {kind for kind in ("refused", "unknown") if getattr(outcomes, kind)}
    assert seen


@pytest.mark.usefixtures("company")
def test_a_refused_event_does_not_come_back_after_a_power_cut(tmp_path: Path) -> None:
    """Nor does a power cut make an event that is done unknown; whichever call had failed, and whether for long."""
    counted = Machine(_folder(tmp_path, "counted"))
    with counted.running():
        append_script(Home.at(counted.folder / "home"))
    for at in range(1, len(counted.calls) + 1):
        machine = Machine(_folder(tmp_path, f"machine-{at}"))
        with machine.running(at, failing(errno.ENOSPC)):
            outcomes = append_once(Home.at(machine.folder / "home"), None, script_events())
        for name, target in (("cut", tmp_path / f"cut-{at}"), ("kept", machine.folder)):
            if name == "cut":
                machine.cut_power(target)
            home = Home.at(target / "home")
            for _ in range(2):
                assert set(outcomes.refused).isdisjoint(counted_ids(home)), (at, name)
                assert set(outcomes.done) <= set(counted_ids(home)), (at, name)
                append_script(home)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.usefixtures("company")
def test_a_kill_at_any_call_may_be_answered_by_sending_all_again(tmp_path: Path) -> None:
    """A child that is really killed: whatever it had acknowledged stands, and the rest may be sent again."""
    for at in range(1, len(script_calls(tmp_path)) + 1):
        for late in (False, True):
            home, events = Home.at(tmp_path / f"home-{at}-{late}"), script_events()
            ended = in_child(partial(_send_and_tell, home, FaultyDisk(at, kill_me, late=late), events))
            assert ended.killed, (at, late)
            assert set(ended.told) <= set(counted_ids(home)), (at, late)
            Appender(home).append(events)
            assert sorted(counted_ids(home)) == sorted(event.id for event in events), (at, late)
            assert not verify(home).damaged, (at, late)


def _send_and_tell(home: Home, disk: FaultyDisk, events: Sequence[NewEvent], tell: Tell) -> None:
    appender = Appender(home, disk=disk)
    for event in events:
        appender.append([event])
        tell(event.id)
    appender.close()


def test_a_dead_disk_says_that_the_event_may_appear(home: Home) -> None:
    class Dead(WatchedDisk):
        dead = False

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if self.dead and name in ("sync", "create_exclusive"):
                raise OSError(errno.EIO, "lost")
            return super().around(name, call, *arguments)

    disk = Dead()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    disk.dead = True
    event = note("second")
    with pytest.raises(AppendUnknown, match="send it again under its id"):
        appender.append([event])
    disk.dead = False
    appender.append([event])
    assert counted_ids(home)[-1] == event.id


def test_a_write_that_failed_though_its_bytes_were_taken_is_unknown(home: Home) -> None:
    class Liar(WatchedDisk):
        lying = False

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if self.lying and name in ("write", "create_exclusive"):
                if name == "write":
                    call(*arguments)
                raise OSError(errno.EIO, "lost")
            return call(*arguments)

    disk = Liar()
    appender = Appender(home, disk=disk)
    appender.append([note("first")])
    disk.lying = True
    event = note("second")
    with pytest.raises(AppendUnknown):
        appender.append([event])
    assert event.id in counted_ids(home)
    disk.lying = False
    appender.append([event])
    assert counted_ids(home).count(event.id) == 1
    assert not verify(home).damaged


def test_batches_behind_a_durable_one_are_unknown_together(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was sent at once is sent again: *refused* would be a lie about the first half."""
    monkeypatch.setattr(limits, "BATCH_BYTES_MAX", 2000)
    Appender(home).append([note("before")])
    disk = FaultyDisk()
    appender = Appender(home, disk=disk)
    events = script_events()
    disk.names, disk.at, disk.persistent, disk.fault = ("write",), 2, True, failing(errno.ENOSPC)
    with pytest.raises(AppendUnknown, match="send all again under their ids"):
        appender.append(events)
    disk.at = 0
    shown = set(counted_ids(home)) & {event.id for event in events}
    assert 0 < len(shown) < len(events)
    appender.append(events)
    assert sorted(counted_ids(home)[1:]) == sorted(event.id for event in events)
    assert not verify(home).damaged


def test_what_stands_in_the_way_of_a_later_batch_makes_it_unknown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not the disk: a FIFO has the name of the next segment."""
    monkeypatch.setattr(limits, "BATCH_BYTES_MAX", 2000)
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2500)
    appender = Appender(home)
    appender.append([note("before")])
    os.mkfifo(newest_segment(home).with_name("00000002.jsonl"))
    events = script_events()
    with pytest.raises(AppendUnknown, match=r"is not a regular file.*send all again under their ids"):
        appender.append(events)
    assert 0 < len(counted_ids(home)) - 1 < len(events)


def test_what_is_too_long_is_refused_before_anything_is_written(home: Home) -> None:
    appender = Appender(home)
    appender.append([note("before")])
    good, long = note("good"), note("x" * limits.LINE_BYTES_MAX)
    with pytest.raises(AppendRefused, match="bytes long"):
        appender.append([good, long])
    assert {good.id, long.id}.isdisjoint(counted_ids(home))
    appender.append([good])
    assert counted_ids(home)[-1] == good.id


def test_open_files_that_are_used_up_refuse(home: Home) -> None:
    """The real thing: no descriptor is left, for a first open as for a rotation; when some are, all goes on."""

    def use_up(tell: Tell) -> None:
        appender = Appender(home)
        appender.append([note("before")])
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
        soft = max(others) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        outcomes = Outcomes()
        for event in script_events():
            try:
                appender.append([event])
            except AppendRefused:
                outcomes.refused.append(event.id)
            else:
                outcomes.done.append(event.id)
        assert outcomes.done, "an open segment needs no descriptor"
        assert outcomes.refused, "a rotation does"
        for descriptor in others:
            os.close(descriptor)
        assert set(outcomes.done) <= set(counted_ids(home))
        assert set(outcomes.refused).isdisjoint(counted_ids(home))
        appender.append([note("again", event_id) for event_id in outcomes.refused])
        assert {*outcomes.done, *outcomes.refused} <= set(counted_ids(home))
        assert not verify(home).damaged

    assert in_child(use_up).status == 0
