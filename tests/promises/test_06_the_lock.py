"""Promise 6: who is stopped, killed, stuck or forked with the lock in hand stops nobody for long, nor gives it away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import AppendRefused, Home, _disk, verify
from keledger.journal import _limits as limits
from keledger.journal._anchor import anchor
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from tests.journal.support import events, newest_segment, note

from .support import Tell, counted_ids, in_child, started_child


def test_a_stopped_holder_of_the_lock_is_not_waited_for_for_ever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process that is stopped with the lock in its hand; it goes on as if nothing had been."""
    assert limits.LOCK_WAIT_S == 5.0
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
    Appender(home).append([note("before")])

    def hold(tell: Tell) -> None:
        appender = Appender(home)
        with appender.locked():
            tell("held")
            signal.sigwait({signal.SIGUSR1})
            appender.append_locked([note("holder")])
        tell("let go")

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with started_child(hold) as child:
            assert child.wait_for_line() == "held"
            child.send(signal.SIGSTOP)
            waiting = Appender(home)
            for _ in range(2):
                with pytest.raises(AppendRefused, match="another process has held"):
                    waiting.append([note("refused")])
            child.send(signal.SIGUSR1)
            child.send(signal.SIGCONT)
            assert child.wait_for_line() == "let go"
            waiting.append([note("after")])
            assert child.ended().status == 0
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert [event["data"].get("text") for event in events(home)] == [None, "before", "holder", "after"]


def test_a_killed_holder_of_the_lock_holds_it_no_more(home: Home) -> None:
    def hold(tell: Tell) -> None:
        with Appender(home).locked():
            tell("held")
            signal.pause()

    with started_child(hold) as child:
        assert child.wait_for_line() == "held"
        child.send(signal.SIGKILL)
        Appender(home).append([note("after")])
        assert child.ended().killed
    assert len(counted_ids(home)) == 1


def test_a_thread_that_is_stuck_is_not_waited_for_for_ever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
    appender = Appender(home)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with appender.locked():
            held.set()
            let_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(AppendRefused, match="a thread of this process has held"):
        appender.append([note("refused")])
    let_go.set()
    thread.join()
    appender.append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == [None, "after"]


# Processes made from one that has the journal open.


def append_in_process(path: Path, name: str) -> None:
    """What a process of a pool does; at the top, so that it can be named in another interpreter."""
    appender = Appender(Home.at(path))
    for number in range(10):
        appender.append([note(f"{name} {number}")])


class Interrupted(BaseException):
    """What a signal handler raises."""


def test_a_wait_that_was_interrupted_takes_no_lock_later(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that waits may begin only when the number of the lock's descriptor is in use again."""
    appender, late = Appender(home), list[threading.Thread]()
    appender.append([note("first")])
    may_begin = threading.Event()

    def begin_late(wait: Callable[..., object], arguments: tuple[object, ...]) -> None:
        def run() -> None:
            may_begin.wait()
            wait(*arguments)

        late.append(threading.Thread(target=run))
        late[0].start()
        raise Interrupted

    with Appender(home).locked(), monkeypatch.context() as patch:
        patch.setattr(_disk._thread, "start_new_thread", begin_late)
        with pytest.raises(Interrupted):
            appender.append([note("interrupted")])
    appender.append([note("second")])
    may_begin.set()
    late[0].join()
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
    Appender(home).append([note("third")])
    assert [event["data"].get("text") for event in events(home)] == [None, "first", "second", "third"]


def test_a_signal_as_the_lock_is_given_back_keeps_it_for_nobody(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Signalled(Disk):
        signals = True

        def lock(self, descriptor: int, wait_s: float) -> bool:
            return wait_s > 0 and super().lock(descriptor, wait_s)

        def unlock(self, descriptor: int) -> None:
            if self.signals:
                self.signals = False
                raise Interrupted
            super().unlock(descriptor)

    Appender(home).append([note("first")])
    appender = Appender(home, disk=Signalled())
    with pytest.raises(Interrupted):
        appender.append([note("interrupted")])
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
    Appender(home).append([note("second")])
    assert not verify(home).damaged


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_of_every_start_method_append_beside_each_other(home: Home, method: str) -> None:
    appender = Appender(home)
    appender.append([note("parent")])
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=append_in_process, args=(home.path, f"{n}")) for n in range(3)]
    for process in processes:
        process.start()
    appender.append([note("parent")])
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(counted_ids(home)) == 32
    assert verify(home).findings == []


def test_a_child_forked_while_another_thread_appends_is_not_stuck(home: Home) -> None:
    """The mutex is held by a thread that the child does not have, and the lock by its parent."""
    appender = Appender(home)
    appender.append([note("before")])
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with appender.locked():
            held.set()
            let_go.wait()
            appender.append_locked([note("parent")])

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with started_child(lambda _: appender.append([note("child")])) as child:
        let_go.set()
        thread.join()
        assert child.ended().status == 0
    appender.append([note("after")])
    assert [event["data"].get("text") for event in events(home)] == [None, "before", "parent", "child", "after"]
    assert verify(home).findings == []


def test_a_child_forked_inside_the_lock_neither_has_it_nor_gives_it_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
    appender = Appender(home)
    appender.append([note("before")])

    def leave_and_append(tell: Tell) -> None:
        appender._locked.end(failed=False)
        with pytest.raises(AppendRefused, match="another process"):
            Appender(home).append([note("child")])
        appender.close()

    with appender.locked():
        assert in_child(leave_and_append).status == 0
        with pytest.raises(AppendRefused, match="another process"):
            Appender(home).append([note("other")])
        appender.append_locked([note("parent")])
    assert [event["data"].get("text") for event in events(home)] == [None, "before", "parent"]


def by_anchoring(home: Home, disk: Disk) -> None:
    anchor(home, disk=disk)


def by_merging(home: Home, disk: Disk) -> None:
    other = Home.at(home.path.with_name("other"))
    merge(other, home.path, appender=Appender(other, disk=disk), actor="test")


@pytest.mark.parametrize("reading", [by_anchoring, by_merging])
@pytest.mark.parametrize("file", ["lock", "segment"])
def test_a_child_forked_while_another_thread_reads_keeps_no_lock(
    home: Home, monkeypatch: pytest.MonkeyPatch, reading: Callable[[Home, Disk], None], file: str
) -> None:
    """It has the descriptor open, too, and lives on."""
    Appender(home).append([note("before")])
    locked = home.lock if file == "lock" else newest_segment(home)
    held, let_go = threading.Event(), threading.Event()

    class Slow(Disk):
        def lock(self, descriptor: int, wait_s: float) -> bool:
            taken = super().lock(descriptor, wait_s)
            if os.path.samestat(os.fstat(descriptor), locked.stat()) and not held.is_set():
                held.set()
                let_go.wait()
            return taken

    thread = threading.Thread(target=reading, args=(home, Slow()))
    thread.start()
    held.wait()

    def live_on(tell: Tell) -> None:
        tell("here")
        signal.pause()

    with started_child(live_on) as child:
        assert child.wait_for_line() == "here"
        let_go.set()
        thread.join()
        monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.1)
        Appender(home).append([note("after")])
        child.send(signal.SIGKILL)
        child.ended()
    assert len(home.segments(home.writers()[0])) == 1
    assert len(counted_ids(home)) == 2


def test_closing_waits_for_an_append_of_another_thread(home: Home, tmp_path: Path) -> None:
    """A descriptor that was closed meanwhile may be that of another file, which would be written to."""
    writing, let_go = threading.Event(), threading.Event()

    class Slow(Disk):
        slow = False

        def write(self, descriptor: int, data: bytes) -> int:
            if self.slow:
                writing.set()
                let_go.wait()
            return super().write(descriptor, data)

    disk = Slow()
    appender = Appender(home, disk=disk)
    appender.append([note("before")])
    disk.slow = True
    appending = threading.Thread(target=appender.append, args=([note("meanwhile")],))
    appending.start()
    writing.wait()
    closing = threading.Thread(target=appender.close)
    closing.start()
    closing.join(0.05)
    others = [open(tmp_path / f"another {number}", "a+b") for number in range(3)]  # noqa: SIM115
    let_go.set()
    appending.join()
    closing.join()
    for other in others:
        with other:
            assert other.seek(0, 2) == 0
    assert len(counted_ids(home)) == 2
    appender.append([note("after")])


def test_a_signal_handler_that_closes_in_an_append_breaks_nothing(home: Home, tmp_path: Path) -> None:
    class Signalled(Disk):
        def write(self, descriptor: int, data: bytes) -> int:
            appender.close()
            with open(tmp_path / "another", "wb"):
                return super().write(descriptor, data)

    appender = Appender(home, disk=Signalled())
    appender.append([note("whole")])
    assert len(counted_ids(home)) == 1
    assert (tmp_path / "another").stat().st_size == 0
