"""Calls that are watched: held for before they are made, and recorded when they have ended, whatever became of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from ._asked_call import AskedCall, asked_call
from ._calls import build_call
from ._cleaning import DEPTH_MAX, json_safe
from ._errors import BudgetExceeded, InputRefused, KeledgerError, LockHeld
from ._identity import ID_PATTERN
from ._json import is_plain
from ._line import NewEvent
from ._opened_home import OpenedHome
from ._validate import check_live_data
from .usage import CONTEXT_FIELDS, pricing_context, token_totals

if TYPE_CHECKING:
    from .budgets._enforcement import Reservation

_COUNTED_BY = frozenset(("provider", "model", "prompt", "prompt_version", "session", "run", "client"))
"""Fields of a call, beside its attributes, that say which budgets cover it: a held call keeps them to its end."""

_ID = re.compile(ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a recorded call."""

    id: str
    status: str
    cost_state: str
    total_usd: str | None
    input_tokens: int
    output_tokens: int
    journaled: bool = True
    """False where the journal could not take it: the call waits in the spool, for the reason in ``problem``."""
    problem: str | None = None
    alerts: tuple[str, ...] = ()
    """Thresholds of budgets that it crossed, a sentence each."""


class Watching(OpenedHome):
    """What a ledger does for calls under way.  A watched call is repaired, never refused for its content; where the
    journal cannot take it, it waits in the spool."""

    def reserve(self, begin: Mapping[str, Any]) -> Reservation | None:
        """Keep back what a call may cost that is about to be made; None where no budget covers it.

        *begin* is what :meth:`record_hook` takes; beside it ``request``, what is told of the request
        (:func:`.shape_of`), and ``declared``, budgets of the call's own run and session:
        ``[{"scope": "run", "limit_usd": "0.5"}]``.

        Raises BudgetExceeded where a budget says no, or one that blocks cannot be asked: the call must not be made.
        Where the journal cannot be read and no budget that blocks is known of, the call may be.
        """
        declared = begin.get("declared") or ()
        if (known := self._reserved.get(begin["id"])) is not None:
            return known
        try:
            book = self._current_book()
            if not (self._has_budgets or declared or self._is_marked()):
                return None
            asked = self._asked(begin)
            for each in declared:
                if each["scope"] not in asked.data:
                    raise InputRefused(f"it is declared for the call's {each['scope']}, and the call names none")
            self._adopt_due()
            enforcement = self._enforcing()
        except (KeledgerError, OSError) as error:
            if declared or self._is_marked():
                raise BudgetExceeded(f"no call goes out while a budget blocks that cannot be asked: {error}") from error
            return None
        reservation = enforcement.reserve(asked, declared=declared, book=book)
        if reservation is not None:
            self._reserved[begin["id"]] = reservation
        return reservation

    def release(self, call_id: str, cause: str = "not_sent") -> None:
        """Give the hold of a call back that was never sent; nothing where it has none.  Raises as appending does."""
        if self._reserved.pop(call_id, None) is not None:
            self._enforcing().release(call_id, cause)

    def covers(self, begin: Mapping[str, Any]) -> list[dict[str, Any]]:
        """How the budgets stand that cover a call, those first that it declares: a row for each, money as text."""
        declared = begin.get("declared") or ()
        self._current_book()
        if not (self._has_budgets or declared):
            return []
        return self._enforcing().covers(self._asked(begin), declared)

    def record_hook(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Recorded:
        """Record a call that was watched: what was known before it, and after (None: the program died in between).

        *begin* holds ``id`` (the event's), fields of a call, and where its attributes come from: ``attributes`` (the
        call itself), ``run_flags``, ``environment``, ``cwd``; ``origin`` is ``hook`` unless given.  A watched call is
        repaired, never refused; where the journal cannot take it, it is spooled.
        """
        begin, _ = _safe(begin)
        end = _safe(end)[0] if end is not None else None
        held = self._reserved.pop(begin["id"], None)
        try:
            event, alerts = self._append_watched(begin, end, held)
        except Exception as error:  # noqa: BLE001 - whatever it is, a finished call must not go down with it
            self._spool.keep(begin, end)
            problem = str(error) if isinstance(error, KeledgerError) else f"{self.home.path}: {_told(error)}"
            return Recorded(str(begin["id"]), "unknown", "unknown", None, 0, 0, journaled=False, problem=problem)
        except BaseException:  # Ctrl-C: the call is kept first
            self._spool.keep(begin, end)
            raise
        return replace(_recorded(event), alerts=alerts)

    def bring_in_spooled(self) -> int:
        """Journal what waits in the spool; returns how many calls that were.  What cannot be taken goes on waiting."""
        count = 0
        for path, content in self._spool.waiting():
            with contextlib.suppress(Exception):  # one file that cannot be taken must not keep the others waiting
                try:
                    self._append_spooled(content["begin"], content["end"])
                except LockHeld:
                    break  # each of the others would be waited for as long
                self._spool.remove(path)
                count += 1
        return count

    def _append(self, events: Sequence[NewEvent]) -> None:
        self._append_adopting(events)
        if self._spool.is_waiting():
            self.bring_in_spooled()

    def _append_watched(
        self, begin: Mapping[str, Any], end: Mapping[str, Any] | None, held: Reservation | None
    ) -> tuple[NewEvent, tuple[str, ...]]:
        """Append a watched call, and settle its hold; returns the event and the alerts that it gave rise to."""
        event, data = self._watched_event(begin, end, held)
        if held is None and not self._has_budgets:
            self._append([event])
            return event, ()
        self._adopt_due()
        alerts = self._enforcing().settle(event, data)
        if self._spool.is_waiting():
            self.bring_in_spooled()
        return event, alerts

    def _append_spooled(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> None:
        """Append a call that has waited: its hold, if it had one, is of a process that has ended, or lost already."""
        self._current_book()
        if not (self._has_budgets or begin.get("declared")):
            self._append_adopting([self._watched_event(begin, end, None)[0]])
            return
        held = self._enforcing().reserved(str(begin["id"]))
        event, data = self._watched_event(begin, end, held)
        self._adopt_due()
        self._enforcing().settle(event, data)

    def _asked(self, begin: Mapping[str, Any]) -> AskedCall:
        begin, plain = _safe(begin)
        return asked_call(
            begin,
            self._attributes_of(begin),
            _context(begin, {}),
            os_user=self._attributes.os_user,
            plain=plain,
        )

    def _attributes_of(self, begin: Mapping[str, Any]) -> dict[str, Any]:
        return self._attributes.resolve(
            begin.get("attributes") or {},
            flags=begin.get("run_flags"),
            environment=begin.get("environment") or {},
            folder=begin.get("cwd"),
            live=True,
        )

    def _watched_event(
        self, begin: Mapping[str, Any], end: Mapping[str, Any] | None, held: Reservation | None
    ) -> tuple[NewEvent, dict[str, Any]]:
        """The event of a watched call and its data.  What its hold says of it is repeated, and its book prices it."""
        ended: Mapping[str, Any] = end if end is not None else {"status": "unknown", "error_type": "ClientDied"}
        told = {**begin, **(end or {})}
        fields = {**begin, **ended, "pricing_context": _context(begin, ended)}
        attributes, book = None, None
        if held is not None:
            fields |= {name: begin.get(name) for name in _COUNTED_BY & ended.keys()}
            fields["started_at"] = held.asked.data["started_at"]
            attributes = held.asked.data
            book = self._store.load_book(held.book)
        built = build_call(
            fields,
            attributes if attributes is not None else self._attributes_of(begin),
            book=book or self._current_book(),
            origin=str(begin.get("origin") or "hook"),
            os_user=self._attributes.os_user,
            live=True,
            fingerprint=told,
            plain=is_plain(told),
        )
        if held is not None:
            built.data["hold_id"] = held.hold_id
        event_id = begin["id"]
        if not isinstance(event_id, str) or _ID.fullmatch(event_id) is None:
            raise InputRefused("the call's id is no UUID in its one spelling")
        check_live_data(built.type, built.data)
        return NewEvent.of(built.type, event_id, built.data), built.data

    def _is_marked(self) -> bool:
        """Whether the home is marked as one where a budget blocks: another process may just have set the first one."""
        return os.path.lexists(self._blocking)


def _safe(given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """What is told of a watched call, as JSON values, and whether it came as plain ones."""
    if type(given) is dict and is_plain(given, DEPTH_MAX):
        return given, True
    return json_safe(given, strict=False), False


def _context(begin: Mapping[str, Any], ended: Mapping[str, Any]) -> dict[str, str]:
    """What a price may hang on: what was answered stands above what was asked for, also where it says that the standard
    price holds."""
    told = {**(begin.get("pricing_context") or {}), **(ended.get("pricing_context") or {})}
    return {name: told[name] for name in told.keys() - CONTEXT_FIELDS} | pricing_context(told)


def _told(error: Exception) -> str:
    """An unexpected error by its kind; its text may quote the call."""
    return (error.strerror or "") if isinstance(error, OSError) else f"unexpected {type(error).__name__}"


def _recorded(event: NewEvent) -> Recorded:
    data = orjson.loads(event.data)
    totals = token_totals(data["usage"])
    cost = data["cost"]
    return Recorded(
        event.id,
        data["status"],
        cost["state"],
        cost.get("total_usd"),
        totals.input_tokens,
        totals.output_tokens,
    )
