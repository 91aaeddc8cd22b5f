"""Holding calls to budgets: a hold before a call is made, and what ends it.

Every decision is taken under the home's lock over the fold of the whole journal, and is durable, as an event, before
anybody acts on it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from keledger.journal._asked_call import AskedCall
from keledger.journal._days import DAY_US
from keledger.journal._disk import Disk
from keledger.journal._errors import AppendUnknown, BudgetExceeded, HomeError, KeledgerError
from keledger.journal._filesystem import filesystem_kind
from keledger.journal._home import Home
from keledger.journal._identity import id_of_key, input_sha256, new_id
from keledger.journal._line import NewEvent
from keledger.journal._money import pico_to_usd
from keledger.journal._time import now_us, parse_time
from keledger.journal._validate import check_data, check_live_data
from keledger.journal._writer import Appender
from keledger.journal.prices import Book

from ._alerts import Alert, alerts_due, may_be_due
from ._fold import Fold
from ._guard import ATTEMPTS_MAX, Guard
from ._holders import Holders, left_files, remove_file, remove_spares_of_the_dead, why_lost
from ._passing import Progress
from ._refusing import Refused, refusal_of, refused_together, unreadable_refusals
from ._size import Size, size_call
from ._standing import Standing, present_standings, standings
from ._store import Place

Answer = TypeVar("Answer")


class Reservation(NamedTuple):
    """A hold: what is kept back for a call until it has ended."""

    hold_id: str
    amount_usd: str
    asked: AskedCall
    book: str
    alerts: tuple[str, ...] = ()
    """Sentences for the user."""


class _Stale(Exception):
    """The guard's state must be built anew, which is not done under the lock."""


def hold_id_of(call_id: str) -> str:
    """The id of the hold of a call: it can be found by the call alone."""
    return id_of_key("keledger:hold", call_id)


class Enforcement:
    """Reserves and settles for the calls of one process.  Safe to share between threads, and after a fork."""

    def __init__(self, home: Home, disk: Disk, appender: Appender) -> None:
        self.guard = Guard(home, disk, appender)
        self._home, self._disk, self._appender = home, disk, appender
        self._holders = Holders(home, disk)
        self._on_network: bool | None = None

    @staticmethod
    def as_held(asked: AskedCall, book: Book) -> Reservation:
        """The reservation that a call will have, by which its event can be made."""
        return Reservation(hold_id_of(asked.data["call_id"]), "0", asked, book.sha256)

    def close(self) -> None:
        """Let go of the holds that are open still, and give all descriptors back."""
        self._holders.close()
        self.guard.close()

    def reserve(self, asked: AskedCall, *, declared: Sequence[Mapping[str, str]], book: Book) -> Reservation | None:
        """Keep back what a call may cost; None where no budget covers it.

        Raises BudgetExceeded where one says no, which is journaled then, and where a budget that blocks cannot be
        asked or its hold cannot be made durable: nothing must be sent without one.
        """
        decision = _Decision(self, asked, declared, book)
        try:
            self._append(decision.decide)
        except KeledgerError as error:
            is_journaled = isinstance(error, AppendUnknown)
            if decision.may_go_on and is_journaled:
                return decision.reservation  # perhaps there is one: its call shall end it
            decision.give_back(journaled=is_journaled)
            if decision.may_go_on:
                return None
            raise BudgetExceeded(f"no call goes out without its hold while a budget blocks: {error}") from error
        except BaseException:
            decision.give_back(journaled=True)
            raise
        if decision.refused is not None:
            raise decision.refused
        return decision.reservation

    def settle(self, event: NewEvent, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Append a call's event, which ends its hold where it has one; returns the alerts that it gave rise to."""
        sentences: list[str] = []

        def decide(fold: Fold) -> list[NewEvent]:
            started_us = parse_time(data["started_at"])
            added = fold.added_by(data, event.id)
            due: list[Alert] = []
            if may_be_due(fold, data, started_us, added):
                stand = standings(fold, data, started_us)
                due = alerts_due(fold, stand, added=added, now_us=now_us(), call_id=event.id)
            sentences[:] = [alert.sentence for alert in due]
            if not due:
                self.guard.expect([(event, data)])
            return [event, *(alert.event for alert in due)]

        hold_id = data.get("hold_id")
        try:
            self._append(decide)
        except BaseException:
            if hold_id is not None:
                self._holders.let_go(hold_id)
            raise
        if hold_id is not None:
            self._holders.give_back(hold_id)
        return tuple(sentences)

    def release(self, call_id: str, cause: str) -> None:
        """End the hold of a call that was never sent; nothing where it has none that is open."""
        hold_id = hold_id_of(call_id)

        def decide(fold: Fold) -> list[NewEvent]:
            hold = fold.store.holds.get(hold_id)
            if hold is None or hold["state"] != "open":
                return []
            return [_hold_event("hold.released", hold_id, cause)]

        try:
            self._append(decide)
        except BaseException:
            self._holders.let_go(hold_id)
            raise
        self._holders.give_back(hold_id)

    def reserved(self, call_id: str) -> Reservation | None:
        """The hold of a call, as the journal has it; None where it has none, or that is settled."""
        hold_id = hold_id_of(call_id)

        def ask(fold: Fold) -> Reservation | None:
            hold = fold.store.holds.get(hold_id)
            if hold is None:
                return None
            data = dict(self.guard.read_event(Place(*hold["place"]))["data"])
            asked = AskedCall(data, parse_time(data["started_at"]))
            return Reservation(hold_id, data["amount_usd"], asked, data["book"])

        return self.ask(ask)

    def covers(self, asked: AskedCall, declared: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """How the windows stand that cover a call, the declared ones first."""

        def ask(fold: Fold) -> list[dict[str, Any]]:
            found = standings(fold, asked.data, asked.started_us, declared)
            return [each.as_row() for each in sorted(found, key=lambda each: each.budget is not None)]

        return self.ask(ask)

    def find_lost(self, progress: Progress | None = None) -> list[str]:
        """End the holds of the home's own writers that nobody keeps any more; returns their ids.

        In a home that can only be read nothing is journaled: whoever looks sees them as they are.
        """
        if self._is_read_only():
            return []
        found: list[str] = []

        def decide(fold: Fold) -> list[NewEvent]:
            events = self.lost_events(fold)
            found[:] = [orjson.loads(event.data)["hold_id"] for event in events]
            self._remove_left(fold)
            return events

        self._append(decide, progress)
        for hold_id in found:
            remove_file(self._home, self._disk, hold_id)
        return found

    def ask(self, ask: Callable[[Fold], Answer], progress: Progress | None = None) -> Answer:
        """What the fold says, brought up to the journal's end.  A home in which nobody has written is left as it is."""
        if not self._home.writers():
            return ask(self.guard.of_nothing())
        if self._is_read_only():
            return ask(self.guard.of_journal(progress))
        answers: list[Answer] = []

        def decide(fold: Fold) -> list[NewEvent]:
            answers.append(ask(fold))
            return []

        self._append(decide, progress)
        return answers[-1]

    def _is_read_only(self) -> bool:
        return self._home.path.is_dir() and not os.access(self._home.path, os.W_OK)

    def append_one(self, decide: Callable[[Fold], NewEvent]) -> str:
        """Append what is decided under the lock, and fold it; returns its id."""
        decided: list[NewEvent] = []

        def append(fold: Fold) -> list[NewEvent]:
            decided[:] = [decide(fold)]
            return decided

        self._append(append)
        with contextlib.suppress(KeledgerError):  # it stands; whoever cannot open the home shall know that it blocks
            self._append(lambda fold: [])
        return decided[0].id

    def lost_events(self, fold: Fold) -> list[NewEvent]:
        """An event for each open hold of the home's own writers that nobody keeps any more.  Called under the lock."""
        events = []
        for hold_id, hold in fold.store.holds.items():
            if hold["state"] == "open" and hold["writer"] in fold.own_writers and not self._holders.has(hold_id):
                cause = why_lost(self._home, self._disk, hold_id, hold["holder"])
                if cause is not None:
                    events.append(_hold_event("hold.lost", hold_id, cause))
        return events

    def _remove_left(self, fold: Fold) -> None:
        """Remove the files of who died before the hold was journaled, or behind its ending.  Called under the lock."""
        for hold_id in left_files(self._home):
            hold = fold.store.holds.get(hold_id)
            if (hold is None or hold["state"] != "open") and not self._holders.has(hold_id):
                remove_file(self._home, self._disk, hold_id)
        remove_spares_of_the_dead(self._home, self._disk)

    def raise_alerts(self, recorded: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """Raise the alerts that are due in the present windows of calls that were recorded; a sentence for each.

        A window that is over is not told of: whoever records old calls is not spending.
        """
        calls = list(recorded)
        sentences: list[str] = []
        instant_us = now_us()

        def decide(fold: Fold) -> list[NewEvent]:
            touched = {
                (each.key, each.budget): each
                for data in calls
                for each in standings(fold, data, parse_time(data["started_at"]))
                if each.window.start_us <= instant_us < each.window.end_us
            }
            due = alerts_due(fold, touched.values(), added={}, now_us=instant_us)
            sentences[:] = [alert.sentence for alert in due]
            return [alert.event for alert in due]

        self._append(decide)
        return tuple(sentences)

    def raise_present_alerts(self, name: str) -> tuple[str, ...]:
        """Raise the alerts that are due in the present windows of a budget, as when it was set below what is spent."""
        sentences: list[str] = []
        instant_us = now_us()

        def decide(fold: Fold) -> list[NewEvent]:
            budget = fold.budgets.get(name)
            stand = present_standings(fold, budget, instant_us) if budget is not None else ()
            due = alerts_due(fold, stand, added={}, now_us=instant_us)
            sentences[:] = [alert.sentence for alert in due]
            return [alert.event for alert in due]

        self._append(decide)
        return tuple(sentences)

    def refuse_network(self, fold: Fold) -> None:
        """Raise HomeError where locks cannot be relied on, and a budget that blocks relies on them."""
        if self._on_network is None:
            self._on_network = filesystem_kind(self._home.path).place == "network"
        if self._on_network:
            raise HomeError(
                f"{self._home.path} is on a network filesystem, where one machine does not see another's locks: no "
                "budget can block there; put the home on a disk of this machine (KELEDGER_HOME)"
            )

    def take_hold(self, hold_id: str) -> dict[str, Any]:
        """Make the holder file of a hold; see :meth:`Holders.take`."""
        return self._holders.take(hold_id)

    def drop_hold(self, hold_id: str, *, journaled: bool) -> None:
        """Remove the holder file of a hold that was not made; let it be found where it may have been *journaled*."""
        if journaled:
            self._holders.let_go(hold_id)
        else:
            self._holders.give_back(hold_id)

    def lose(self, fold: Fold) -> bool:
        """Journal the holds that nobody keeps any more; whether there were any.  Called under the lock."""
        events = self.lost_events(fold)
        if events:
            self._appender.append_locked(events)
            for event in events:
                remove_file(self._home, self._disk, orjson.loads(event.data)["hold_id"])
        return bool(events)

    def _append(self, decide: Callable[[Fold], Sequence[NewEvent]], progress: Progress | None = None) -> None:
        """Append what is decided under the lock, over a fold that is brought up to the journal's end."""

        def decided() -> Sequence[NewEvent]:
            if not (self.guard.catch_up() and self.guard.flush_if_due()):
                raise _Stale
            try:
                return decide(self.guard.fold)
            except KeledgerError:
                raise
            except sqlite3.Error:  # a page is damaged that was not asked for before
                self.guard.close()
                raise _Stale from None
            except BaseException:
                self.guard.close()  # what was being read may be kept in part
                raise

        for _ in range(ATTEMPTS_MAX):
            try:
                self._appender.append(decided, self.guard.fold_meanwhile)
                return
            except _Stale:
                self.guard.rebuild(progress=progress)
        raise self.guard.never_ready()


class _Decision:
    """One call's: what is decided on it under the lock, and what came of that."""

    def __init__(
        self, enforcement: Enforcement, asked: AskedCall, declared: Sequence[Mapping[str, str]], book: Book
    ) -> None:
        self._enforcement, self._asked, self._declared, self._book = enforcement, asked, declared, book
        self._hold_id = hold_id_of(asked.data["call_id"])
        self._is_held = False
        self.reservation: Reservation | None = None
        self.refused: BudgetExceeded | None = None
        self._covers: bool | None = None

    @property
    def may_go_on(self) -> bool:
        """Whether no budget that blocks covers the call, as far as that is known."""
        if self._covers is None:
            return not self._declared and self._enforcement.guard.says_that_none_blocks
        return not self._covers

    def give_back(self, *, journaled: bool) -> None:
        """Undo what was done for a hold that is not to be; where it may be *journaled*, it is left to be found lost."""
        if self._is_held:
            self._enforcement.drop_hold(self._hold_id, journaled=journaled)

    def decide(self, fold: Fold) -> list[NewEvent]:
        """The events of the decision."""
        asked = self._asked
        stand = standings(fold, asked.data, asked.started_us, self._declared)
        unreadable = unreadable_refusals(fold) if fold.unreadable and fold.blocks else []
        self._covers = bool(unreadable) or any(each.blocks for each in stand)
        if not stand and not unreadable:
            return []
        if self._covers:
            self._enforcement.refuse_network(fold)
        size = size_call(fold, stand, asked, self._book)
        amount = size.hold_pico
        refusals = unreadable or refusals_of(stand, size, asked.data)
        if refusals and any(each.cause == "limit" for each in refusals) and self._enforcement.lose(fold):
            # What somebody's death left behind may be given back, by a budget that does so: asked once more.
            if not self._enforcement.guard.catch_up():
                raise _Stale
            return self.decide(self._enforcement.guard.fold)
        if refusals:
            self.refused = refused_together(refusals)
            return [self._event("call.blocked", size, {"refusals": [each.data for each in refusals]}, new_id())[0]]
        return self._reserve(fold, stand, size, amount)

    def _reserve(self, fold: Fold, stand: Sequence[Standing], size: Size, amount: int) -> list[NewEvent]:
        holder = self._enforcement.take_hold(self._hold_id)
        self._is_held = True
        amount_usd = pico_to_usd(amount)
        own = {"amount_usd": amount_usd, "budgets": [each.as_data() for each in stand], "holder": holder}
        event, data = self._event("call.reserved", size, own, self._hold_id)
        self._enforcement.guard.expect([(event, data)])
        said = _clock_set_back(fold, self._asked)
        self.reservation = Reservation(self._hold_id, amount_usd, self._asked, self._book.sha256, said)
        return [event]

    def _event(
        self, kind: str, size: Size, own: Mapping[str, Any], event_id: str
    ) -> tuple[NewEvent, Mapping[str, Any]]:
        data = {**self._asked.data, "book": self._book.sha256, **own}
        if size.told is not None:
            data["size"] = size.told
        check_live_data(kind, data)
        return NewEvent.of(kind, event_id, data), data


def refusals_of(stand: Sequence[Standing], size: Size, asked: Mapping[str, Any]) -> list[Refused]:
    """What the windows that cover a call have against a hold of this size."""
    found, amount = [], size.hold_pico
    for each in stand:
        if not each.blocks:
            continue
        cause = size.causes.get(id(each))
        left = each.left_pico
        if cause is not None:
            found.append(refusal_of(each, cause[0], detail=cause[1], asked=asked))
        elif amount > max(left, 0) or (size.is_unknown and left <= 0):
            found.append(refusal_of(each, "limit", amount=amount, asked=asked))
    return found


def _clock_set_back(fold: Fold, asked: AskedCall) -> tuple[str, ...]:
    """A sentence where the call is of a day before what is journaled already: it counts in a window that was over."""
    started_at = asked.data["started_at"]
    if started_at >= fold.latest or parse_time(fold.latest) - asked.started_us < DAY_US:
        return ()
    sentence = (
        f"the clock stands at {started_at}, before events of {fold.latest} that are journaled already: this call "
        "counts in the windows of its own time; set the clock right"
    )
    return (sentence,)


def _hold_event(kind: str, hold_id: str, cause: str) -> NewEvent:
    """An ending of a hold; known by it alone, for there is one of a kind, whoever finds it and how."""
    data = {"input_sha256": input_sha256(kind, {"hold_id": hold_id}), "hold_id": hold_id, "cause": cause}
    check_data(kind, data)
    return NewEvent.of(kind, id_of_key(f"keledger:{kind}", hold_id), data)
