"""Processes that run at the same time: before each system call the seed decides which of them goes on.

Every process of a crowd has a thread, and one thread at a time has the turn.  Whoever must wait for a lock is passed
over until one was given back; so an appender may be left between its write and its sync, or between letting go of one
lock and taking the next, for as long as it takes the others to do anything at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from random import Random
from threading import Semaphore, Thread
from typing import Generic, TypeVar

_Who = TypeVar("_Who", bound=Hashable)


class Stopped(BaseException):
    """The crowd is broken up, for one of it has failed."""


class Deadlock(AssertionError):
    """Everybody waits for a lock, so nobody will give one back."""


@dataclass(slots=True)
class _Runner:
    thread: Thread
    turn: Semaphore = field(default_factory=lambda: Semaphore(0))
    waits: bool = False


class Turns(Generic[_Who]):
    """Whose turn it is.  Without a crowd nobody ever waits."""

    def __init__(self, chance: Random) -> None:
        self.waits = 0
        """How often somebody had to wait for a lock."""
        self._chance = chance
        self._runners: dict[_Who, _Runner] = {}
        self._over = Semaphore(0)
        self._failed: BaseException | None = None
        self._restless = 1.0

    def run(self, lives: Mapping[_Who, Callable[[], None]]) -> None:
        """Let all live at the same time.  Raises what came out of the first that failed."""
        self._failed = None
        self._restless = self._chance.choice([0.2, 0.5, 1.0])
        self._runners = {who: _Runner(Thread(target=self._live, args=(who, life))) for who, life in lives.items()}
        threads = [runner.thread for runner in self._runners.values()]
        for thread in threads:
            thread.start()
        self._hand_on()
        self._over.acquire()
        for thread in threads:
            thread.join()
        if self._failed is not None:
            raise self._failed

    def takes_part(self, who: _Who | None) -> bool:
        """Whether somebody is of the crowd, and so can wait."""
        return who in self._runners

    def pass_on(self, who: _Who | None) -> None:
        """Let another go on, or not; returns when it is the turn of *who* again."""
        runner = self._runners.get(who) if who is not None else None
        if runner is None or not (runner.waits or self._chance.random() < self._restless):
            return
        if self._failed is None:
            chosen = self._choose()
            if chosen is not runner:
                chosen.turn.release()
                runner.turn.acquire()
        if self._failed is not None:  # each goes to its end alone
            raise Stopped

    def wait_for_lock(self, who: _Who) -> None:
        """Return when it is the turn of *who* again, after somebody has given a lock back."""
        self.waits += 1
        self._runners[who].waits = True
        self.pass_on(who)

    def wake(self) -> None:
        """A lock may be free."""
        for runner in self._runners.values():
            runner.waits = False

    def _live(self, who: _Who, life: Callable[[], None]) -> None:
        self._runners[who].turn.acquire()
        try:
            if self._failed is None:
                life()
        except BaseException as error:  # noqa: BLE001 - it comes out of run()
            self._failed = self._failed or error
        del self._runners[who]
        self._hand_on()

    def _hand_on(self) -> None:
        if not self._runners:
            self._over.release()
        else:
            self._choose().turn.release()

    def _choose(self) -> _Runner:
        """Whose turn is next.  Where all wait, they are woken to be told so."""
        able = [runner for runner in self._runners.values() if not runner.waits]
        if not able:
            self._failed = self._failed or Deadlock("everybody waits for a lock that nobody will give back")
            self.wake()
            able = list(self._runners.values())
        return self._chance.choice(able)
