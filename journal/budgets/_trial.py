"""A budget on trial: calls of the past, held to what no home has set, by the same fold and the same decisions.

Nothing is journaled and nobody waits.  Whoever runs a trial says what happened, in the order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from keledger.journal._asked_call import AskedCall
from keledger.journal._identity import new_id
from keledger.journal._money import pico_to_usd
from keledger.journal._time import format_time, parse_time
from keledger.journal.prices import Book

from ._alerts import alerts_due
from ._enforcement import hold_id_of, refusals_of
from ._fold import Fold
from ._passing import REBUILD_ROWS
from ._policy import Budget, read_budget
from ._scopes import Scopes
from ._size import size_call
from ._standing import Standing, standings
from ._store import Place, Store

_WRITER = "trial"
_NUMBER = 2
"""Of the budget's scope: the two below are built in."""

STAND_IN = "p99"
"""What is held in the place of ``max`` for a call of whose request nothing was journaled: the largest other one."""


class Verdict(NamedTuple):
    """What the budget says to a call that is about to be made.

    *refusals* are as ``call.blocked`` has them, and *alerts* the data of the thresholds that were found crossed.
    *stands_in* says that the hold is not the one of the policy, which cannot be told any more.
    """

    covered: bool
    hold_pico: int
    refusals: Sequence[Mapping[str, Any]]
    alerts: Sequence[Mapping[str, Any]]
    stands_in: bool


class Trial:
    """One budget and nothing else.  Times must not go back between calls of its methods."""

    def __init__(self, fields: Mapping[str, Any], path: Path) -> None:
        """*fields* are what :func:`.budget_fields` made; the sums stand in a file at *path*, which is made."""
        self.budget: Budget = read_budget({"id": new_id(), "tick": 0, "data": fields})
        self._store = Store(path, new=True)
        scopes = Scopes({_NUMBER: self.budget.scope})
        self._fold = Fold(self._store, scopes, own_writers=(_WRITER,), read_event=_nothing)
        self._fold.budgets[self.budget.name] = self.budget
        self._lines = 0

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def window_start_us(self, instant_us: int) -> int:
        """When the window began in which an instant lies."""
        return self._fold.scopes[_NUMBER].window(instant_us).start_us

    def covers(self, data: Mapping[str, Any], instant_us: int) -> bool:
        """Whether the budget covers a call of these recorded fields."""
        return self._fold.scopes[_NUMBER].key(data, instant_us) is not None

    def reserve(self, data: Mapping[str, Any], started_us: int, book: Book) -> Verdict:
        """Decide on a call that begins now, and hold what it may cost where it may go out.

        *data* are the fields of ``call.reserved`` that are known before a hold is: who asks for what; *book* prices it.
        """
        asked = AskedCall(dict(data), started_us)
        stand = standings(self._fold, data, started_us)
        if not stand:
            return Verdict(False, 0, (), (), stands_in=False)
        stands_in = self.budget.hold == "max" and "request" not in data
        if stands_in:
            stand = [each._replace(budget=self.budget._replace(hold=STAND_IN)) for each in stand]
        size = size_call(self._fold, stand, asked, book)
        refusals = refusals_of(stand, size, data)
        if refusals:
            return Verdict(True, size.hold_pico, [each.data for each in refusals], (), stands_in)
        alerts = self._alerts(stand, {}, started_us, data["call_id"])
        reserved = {
            **data,
            "started_at": format_time(started_us),
            "amount_usd": pico_to_usd(size.hold_pico),
            "holder": {},
            "book": book.sha256,
        }
        self._take("call.reserved", hold_id_of(data["call_id"]), reserved, started_us)
        return Verdict(True, size.hold_pico, (), alerts, stands_in)

    def settle(self, call_id: str, data: Mapping[str, Any], ended_us: int) -> Sequence[Mapping[str, Any]]:
        """A call has ended, of which *data* is what its event says; returns the data of the alerts."""
        data = {**data, "hold_id": hold_id_of(call_id)}
        stand = standings(self._fold, data, parse_time(data["started_at"]))
        alerts = self._alerts(stand, self._fold.added_by(data, call_id), ended_us, call_id) if stand else []
        self._take("call.completed" if data["status"] == "ok" else "call.failed", call_id, data, ended_us)
        return alerts

    def adjust(self, event_id: str, data: Mapping[str, Any], effective_us: int) -> None:
        """Money beside the calls is booked."""
        self._take("charge.adjusted", event_id, data, effective_us)

    def _alerts(
        self, stand: Sequence[Standing], added: Mapping[int, int], now_us: int, call_id: str
    ) -> list[Mapping[str, Any]]:
        due = alerts_due(self._fold, stand, added=added, now_us=now_us, call_id=call_id)
        found = [(alert.event.id, orjson.loads(alert.event.data)) for alert in due]
        for event_id, data in found:
            self._take("alert.raised", event_id, data, now_us)
        return [data for _, data in found]

    def _take(self, kind: str, event_id: str, data: Mapping[str, Any], at_us: int) -> None:
        self._lines += 1
        event = {"id": event_id, "type": kind, "v": 1, "time": format_time(at_us), "data": data}
        self._fold.take(event, Place(_WRITER, 0, self._lines))
        if self._store.changed_rows > REBUILD_ROWS:
            self._store.flush({})


def _nothing(place: Place) -> Mapping[str, Any]:
    raise LookupError(f"nothing of a trial is journaled, and {place} was asked for")
