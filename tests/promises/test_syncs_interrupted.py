"""Promises 1, 3, 4 and 6 where a signal, a fork, a kill or a power cut comes into a sync without the lock."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, Home, verify
from keledger.journal import _limits as limits
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .company import Company, append_meanwhile, appending, present, texts
from .power import Machine, die
from .support import Tell, WatchedDisk, counted_ids, in_child, started_child


class Interrupted(Exception):
    """Raised by a signal's handler."""


@pytest.mark.parametrize("in_company", [False, True])
def test_a_signal_in_a_sync_that_fails_leaves_the_segment(begun: Home, in_company: bool) -> None:
    """What was raised instead of the failure says nothing of it, so nobody may go on behind the line."""
    others = present(begun)

    class Hung(Company):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "sync":
                raise Interrupted
            return super().around(name, call, *arguments) if in_company else call(*arguments)

    event = note("mine")
    with pytest.raises(Interrupted):
        Appender(begun, disk=Hung()).append([event])
    length = (left := begun.segments(begun.writers()[0])[0]).stat().st_size
    others.append([note("theirs")])
    Appender(begun).append([event])
    assert left.stat().st_size == length
    assert len(counted_ids(begun)) == 3
    assert not verify(begun).damaged


def test_what_a_signal_interrupted_is_sealed_off_by_the_same_appender(begun: Home) -> None:
    class Hung(WatchedDisk):
        hung = True

        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "sync" and self.hung:
                self.hung = False
                raise Interrupted
            return call(*arguments)

    appender = Appender(begun, disk=Hung())
    with pytest.raises(Interrupted):
        appender.append([note("mine")])
    appender.append([note("later")])
    assert texts(begun) == ["first", "later"]
    assert not verify(begun).damaged


def test_a_signal_at_any_place_leaves_the_lock_free(home: Home) -> None:
    """Real signals at random moments: afterwards another process can append, and so can this thread."""

    def act(tell: Tell) -> None:
        limits.LOCK_WAIT_S = 0.2
        signal.signal(signal.SIGALRM, interrupt)
        appender, others, chance = Appender(home), Appender(home), random.Random(7)
        for number in range(1500):
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.random() * 0.0006 + 1e-5)
                appender.append([note(f"{number}")])
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                tell("interrupted")
                others.append([note("others")])
        appender.append([note("at last")])
        tell("done")

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    ended = in_child(act)
    assert ended.status == 0
    assert ended.told[-1] == "done"
    assert ended.told.count("interrupted") > 50
    assert not verify(home).damaged


def test_a_signal_handler_that_appends_in_the_middle_of_an_append_is_refused(begun: Home) -> None:
    """At once, and the append that it interrupted goes on."""
    refused = list[str]()

    def handle(_: str) -> None:
        with pytest.raises(AppendRefused, match="in the middle of an append") as told:
            appender.append([note("handler")])
        refused.append(str(told.value))

    appender = Appender(begun, disk=Company(handle))
    appender.append([note("mine")])
    assert len(refused) == 1
    assert texts(begun) == ["first", "mine"]


def test_the_threads_of_one_process_sync_one_after_another(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a descriptor, and the kernel tells a failed sync to each descriptor once."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    refused = list[str]()

    def append(appender: Appender) -> None:
        try:
            appender.append([note("thread")])
        except AppendRefused as error:
            refused.append(str(error))

    def meanwhile(_: str) -> None:
        thread = threading.Thread(target=append, args=(appender,))
        thread.start()
        thread.join()

    appender = Appender(begun, disk=Company(meanwhile))
    appender.append([note("mine")])
    assert len(refused) == 1
    assert "a thread of this process" in refused[0]
    append(appender)
    assert texts(begun) == ["first", "mine", "thread"]


def test_a_child_forked_in_the_middle_goes_its_own_way(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its parent's sync as any other process does, and does not end it."""
    monkeypatch.setattr(limits, "SYNC_WAIT_S", 0.05)

    def child(_: Tell) -> None:
        Appender(begun).append([note("child")])

    def meanwhile(_: str) -> None:
        statuses.append(in_child(child).status)

    statuses = list[int]()
    appender = Appender(begun, disk=Company(meanwhile))
    appender.append([note("mine")])
    assert statuses == [0]
    reasons = [event["data"]["reason"] for event in events(begun) if event["type"] == "segment.opened"]
    assert reasons == ["first", "sync_pending"]
    appender.append([note("later")])
    assert texts(begun) == ["first", "mine", "child", "later"]


@pytest.mark.parametrize("where", ["waiting for the lock", "in its sync"])
def test_a_child_keeps_no_lock_of_a_parent_that_died(begun: Home, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A thread is in the middle of an append, another one forks, the parent is killed, the child lives on."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.5)
    monkeypatch.setattr(limits, "SYNC_WAIT_S", 0.5)

    def parent(tell: Tell) -> None:
        reached = threading.Event()

        def hang(_: str = "") -> None:
            reached.set()
            threading.Event().wait()

        class Waiting(WatchedDisk):
            def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
                if name == "lock" and arguments[1] > 0:
                    call(*arguments)
                    hang()
                return False if name == "lock" and arguments[1] == 0 else call(*arguments)

        disk = Company(hang) if where == "in its sync" else Waiting()
        threading.Thread(target=Appender(begun, disk=disk).append, args=([note("mine")],), daemon=True).start()
        reached.wait()
        with started_child(lambda _: signal.pause()) as child:
            tell(str(child.pid))
            signal.pause()

    with started_child(parent) as dying:
        orphan = int(dying.wait_for_line())
        dying.send(signal.SIGKILL)
        assert dying.wait() == -signal.SIGKILL
        try:
            Appender(begun).append([note("later")])
            assert newest_segment(begun).name == "00000001.jsonl"
        finally:
            os.kill(orphan, signal.SIGKILL)
    assert texts(begun)[-1] == "later"


def test_a_process_killed_in_the_middle_keeps_nobody_waiting(begun: Home) -> None:
    def act(tell: Tell) -> None:
        def hang(_: str) -> None:
            tell("written")
            threading.Event().wait()

        append_meanwhile(begun, hang)

    with started_child(act) as child:
        assert child.wait_for_line() == "written"
        child.send(9)
        assert child.ended().killed
    Appender(begun).append([note("later")])
    assert texts(begun) == ["first", "mine", "later"]
    assert verify(begun).findings == []


def test_a_power_cut_in_the_middle_leaves_whole_lines(tmp_path: Path) -> None:
    """Of lines that several processes have written and none has synced."""
    (tmp_path / "machine").mkdir(mode=0o700)
    machine = Machine(tmp_path / "machine")
    home = Home.at(machine.folder / "home")
    with machine.running():
        others = Appender(home, disk=Company())
        others.append([note("first")])
        append_meanwhile(home, appending(present(home, Company(die)), "theirs"))
    machine.cut_power(tmp_path / "cut")
    cut = Home.at(tmp_path / "cut" / "home")
    assert texts(cut) == ["first"]
    Appender(cut).append([note("later")])
    assert sorted(texts(cut)) == ["first", "later"]
    assert verify(cut).findings == []


def test_without_the_second_flock_the_sync_happens_under_the_lock(begun: Home) -> None:
    class NoShare(Company):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "share":
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
            return super().around(name, call, *arguments)

    disk = NoShare()
    Appender(begun, disk=disk).append([note("second")])
    assert disk.made.index("sync") < disk.made.index("unlock", disk.made.index("write"))
    assert texts(begun) == ["first", "second"]


def test_where_no_thread_may_be_started_the_lock_is_asked_for(begun: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    others = Appender(begun)
    with others.locked(), pytest.raises(AppendRefused, match="another process has held"):
        Appender(begun).append([note("refused")])
    Appender(begun, disk=Company()).append([note("second")])
    assert texts(begun) == ["first", "second"]


@pytest.fixture
def headed(begun: Home, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A process was killed in the sync of the next segment's first line: it stands there, and is not on the disk."""
    machine = Machine(begun.path)

    class Killed(WatchedDisk):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            if name == "sync" and newest_segment(begun).stem == "00000002":
                machine.kill()
            return call(*arguments)

    with machine.running(), monkeypatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
        Appender(begun, disk=Killed()).append([note("never written")])
    assert newest_segment(begun).stem == "00000002"
    return machine


class Losing(WatchedDisk):
    """A disk on which the *at*-th sync fails and loses what it was to write; *full* for one new name after it."""

    def __init__(self, machine: Machine, at: int, *, full: bool = False) -> None:
        self.machine, self.left, self.full = machine, at, full

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Fail once."""
        self.left -= name == "sync"
        if name == "sync" and self.left == 0:
            self.machine.lose(arguments[0])
            raise OSError(errno.EIO, "Input/output error")
        if name == "write" and self.full and self.left <= 0:
            self.full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*arguments)


def test_a_failed_sync_takes_no_dead_process_first_line_along(begun: Home, headed: Machine) -> None:
    """It says where the segment below ends."""
    event = note("acknowledged")
    with headed.running():
        Appender(begun, disk=Losing(headed, 2)).append([event])
    after = Home.at(begun.path.with_name("after"))
    headed.cut_power(after.path)
    assert event.id in counted_ids(after)
    assert not verify(after).damaged


@pytest.mark.parametrize("full", [False, True], ids=["room", "no room at first"])
def test_where_that_line_cannot_be_synced_the_next_segment_is_begun(begun: Home, headed: Machine, full: bool) -> None:
    """Behind that line, which may have been named; so a power cut shows that it is lost, and takes nothing else."""
    event, others = note("acknowledged at last"), set(counted_ids(begun))
    with headed.running():
        appender = Appender(begun, disk=Losing(headed, 1, full=full))
        if full:
            with pytest.raises(AppendRefused, match="nothing was written"):
                appender.append([event])
        appender.append([event])
        assert newest_segment(begun).stem == "00000003"
    assert not verify(begun).damaged
    after = Home.at(begun.path.with_name("after"))
    headed.cut_power(after.path)
    assert set(counted_ids(after)) == {event.id, *others}
    assert {finding.kind for finding in verify(after).findings if finding.damage} == {"chain_broken", "segment_short"}


def test_where_it_is_seen_to_be_lost_the_chain_goes_on_without_it(begun: Home, headed: Machine) -> None:
    class Dropping(Losing):
        def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return super().around(name, call, *arguments)
            except OSError:
                os.ftruncate(arguments[0], 0)
                raise

    Appender(begun, disk=Dropping(headed, 1)).append([note("goes on")])
    assert newest_segment(begun).stem == "00000003"
    assert not verify(begun).damaged
    assert len(counted_ids(begun)) == 2
