"""The fold: from the journal's events, in their order, to the sums of every window and the state of every hold.

Events are taken in the order of (tick, writer, seq), so that of copies and of endings the first that comes is the one
that counts.  A call counts where and as reports with basis ``recorded`` count it; ``docs/budgets.md`` has the rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keledger.journal._money import usd_to_pico
from keledger.journal._time import parse_time

from ._scopes import Scopes
from ._set_budgets import SetBudgets
from ._sizes import HISTORY_CALLS_MAX, History, history_key
from ._store import (
    ADJUSTMENTS,
    CALL_COUNT,
    CALLS,
    LOST,
    LOST_COUNT,
    OPEN,
    OPEN_COUNT,
    RESOLVED,
    UNKNOWN_COUNT,
    UNPRICED,
    UNPRICED_COUNT,
    Place,
    Store,
    SumsKey,
)

_QUALITIES = ("measured", "totals_only", "under_count")


class ImportsAreKeyed(Exception):
    """An imported call came that another may shadow, and keys were not kept so far: fold from the beginning."""


class Unplaced(Exception):
    """A call is voided that was not taken before it: it is to be looked for from the beginning."""


class Fold(SetBudgets):
    """What events make of a :class:`Store`, and of the budgets that stand."""

    def __init__(
        self,
        store: Store,
        scopes: Scopes,
        *,
        own_writers: tuple[str, ...],
        read_event: Callable[[Place], Mapping[str, Any]],
        keyed: bool = False,
        learn_later: bool = False,
    ) -> None:
        super().__init__(store, scopes, own_writers)
        self.keyed = keyed
        self._read_event = read_event
        self._has_exceptions = next(store.exceptions.items(), None) is not None
        self._lessons: dict[str, deque[tuple[Mapping[str, Any], int | None]]] = {}
        self._put_off: dict[str, deque[tuple[Place, int | None]]] | None = {} if learn_later else None
        self._handlers: dict[str, Callable[[Mapping[str, Any], Place], None]] = {
            "call.completed": self._call,
            "call.failed": self._call,
            "call.reserved": self._reserved,
            "hold.released": self._released,
            "hold.lost": self._lost,
            "hold.resolved": self._resolved,
            "call.voided": self._voided,
            "void.reverted": self._voided,
            "charge.adjusted": self._adjusted,
            "budget.set": self._set,
            "budget.raised": self._raised,
            "budget.removed": self._removed,
            "alert.raised": self._alerted,
        }

    def take(self, event: Mapping[str, Any], place: Place) -> None:
        """Take in the next event.  Raises NewScope and ImportsAreKeyed, after which the store is of no use."""
        kind = event["type"]
        handler = self._handlers.get(kind)
        if event["time"] > self.latest:
            self.latest = event["time"]
        if handler is not None and event["v"] == 1:
            if place.writer not in self.own_writers and kind.startswith(("budget.", "alert.")):
                return
            self._event = event
            handler(event, place)
        else:
            self.not_read(event, place)

    def amounts_of(self, data: Mapping[str, Any], event_id: str) -> list[tuple[int, int]]:
        """What a call adds to the sums of its windows: places of :class:`Sums` and amounts."""
        cost = data["cost"]
        total_usd = cost.get("total_usd")
        if total_usd is not None:
            return [(CALLS, usd_to_pico(total_usd)), (CALL_COUNT, 1)]
        hold = self._hold_of(data, event_id)
        if cost["state"] == "unpriced":
            held = int(hold["amount"]) if hold is not None else 0
            return [(UNPRICED, held), (UNPRICED_COUNT, 1), (CALL_COUNT, 1)]
        if hold is None:
            return [(UNKNOWN_COUNT, 1), (CALL_COUNT, 1)]
        if hold["state"] == "resolved":
            return [(RESOLVED, int(hold["resolved"])), (CALL_COUNT, 1)]
        return [(LOST, int(hold["amount"])), (LOST_COUNT, 1), (CALL_COUNT, 1)]

    def added_by(self, data: Mapping[str, Any], event_id: str) -> dict[int, int]:
        """How the sums of its windows change once a call is journaled: what stands for it by then is taken out."""
        if self.store.knows(event_id):
            return {}
        added = dict(self.amounts_of(data, event_id))
        hold = self._hold_of(data, event_id)
        if hold is not None and hold["state"] == "lost":
            added[LOST] = added.get(LOST, 0) - int(hold["amount"])
        elif hold is not None and hold["state"] == "resolved":
            added[RESOLVED] = added.get(RESOLVED, 0) - int(hold["resolved"])
        return added

    def _hold_of(self, data: Mapping[str, Any], event_id: str) -> dict[str, Any] | None:
        """The hold that a call was the first to end."""
        hold_id = data.get("hold_id")
        hold: dict[str, Any] | None = self.store.holds.get(hold_id) if hold_id is not None else None
        return hold if hold is not None and hold.get("ended_by") in (None, event_id) else None

    def _is_copy(self, event: Mapping[str, Any], place: Place) -> bool:
        """Whether an event of this id was taken before; if not, its place is remembered."""
        if self.store.knows(event["id"]):
            return True
        self.store.put_place(event["id"], place)
        return False

    def _call(self, event: Mapping[str, Any], place: Place) -> None:
        data, event_id = event["data"], event["id"]
        hold = self._hold_of(data, event_id)
        if self.store.knows(event_id):
            if hold is not None and "ended_by" not in hold:  # a copy, made with a hold: it is over all the same
                self._give_up(data["hold_id"], hold)
            return
        self.store.put_place(event_id, place)
        if hold is not None:
            self._end_by_call(data, event_id, hold)
        if data["status"] == "ok":
            self._learn(data, place, hold)
        if data["origin"].startswith("import:") and data.get("call_keys") and not self.keyed:
            raise ImportsAreKeyed
        if self.keyed and data.get("call_keys"):
            self._shadow(event_id, data)
        if not self._has_exceptions or _counts(self.store.exceptions.get(event_id)):
            self._contribute(data, event_id, 1)

    def _contribute(self, data: Mapping[str, Any], event_id: str, sign: int) -> None:
        keys = self.scopes.keys(data, parse_time(data["started_at"]))
        amounts = self.amounts_of(data, event_id)
        self._add(keys, amounts if sign > 0 else [(index, -amount) for index, amount in amounts])

    def _add(self, keys: Sequence[SumsKey], amounts: Sequence[tuple[int, int]]) -> None:
        self.store.add(keys, amounts)
        if self.below or (amounts[0][1] < 0 and amounts[0][0] != OPEN):
            for key in keys:
                self._moved(key)

    def _end_by_call(self, data: Mapping[str, Any], event_id: str, hold: dict[str, Any]) -> None:
        """A call's event ends its hold, or takes the place of what stands for it since it was lost or resolved."""
        self._take_out(hold)
        hold_id, state = data["hold_id"], data["cost"]["state"]
        if data["cost"].get("total_usd") is not None:
            self.store.holds.put(hold_id, None)
            return
        ended = "unpriced" if state == "unpriced" else "lost"
        if state != "unpriced" and hold["state"] == "resolved":
            ended = "resolved"
        self.store.holds.put(hold_id, {**hold, "state": ended, "ended_by": event_id})

    def _take_out(self, hold: Mapping[str, Any]) -> None:
        """Take a hold that no call has ended out of the sums."""
        keys, amount = hold["keys"], int(hold["amount"])
        if hold["state"] == "open":
            self._add(keys, [(OPEN, -amount), (OPEN_COUNT, -1)])
        elif hold["state"] == "lost":
            self._add(keys, [(LOST, -amount), (LOST_COUNT, -1)])
        elif hold["state"] == "resolved":
            self._add(keys, [(RESOLVED, -int(hold["resolved"]))])

    def _learn(self, data: Mapping[str, Any], place: Place, hold: Mapping[str, Any] | None) -> None:
        """Keep what the call took, for the size of the next hold of its prompt and model."""
        key = history_key(data["provider"], data["model"], data.get("prompt"))
        request_bytes = hold.get("bytes") if hold is not None else None
        if self._put_off is not None:
            if key not in self._put_off:
                self._put_off[key] = deque(maxlen=HISTORY_CALLS_MAX)
            self._put_off[key].append((place, request_bytes))
            return
        if key not in self._lessons:
            self._lessons[key] = deque(maxlen=HISTORY_CALLS_MAX)
        self._lessons[key].append((data, request_bytes))

    def history(self, key: str) -> History | None:
        """What the last calls of a prompt and model took; None where there were none."""
        history: History | None = self.store.histories.get(key)
        lessons = self._lessons.pop(key, None)
        if lessons is not None:
            history = history or History()
            for data, request_bytes in lessons:
                history = history.add(data, request_bytes=request_bytes)
            self.store.histories.put(key, history)
        return history

    def learn_from(self, data: Mapping[str, Any]) -> None:
        """Keep now what a call took that was taken in, before anybody asks for it."""
        key = history_key(data["provider"], data["model"], data.get("prompt"))
        if key in self._lessons:
            self.history(key)

    def learn_what_was_put_off(self) -> None:
        """Keep what calls took of which nobody has asked yet: of each prompt and model the last ones."""
        put_off, self._put_off = self._put_off or {}, None
        for key, calls in put_off.items():
            self._lessons[key] = deque((self._read_event(place)["data"], length) for place, length in calls)
            self.history(key)
        for key in list(self._lessons):
            self.history(key)

    def _reserved(self, event: Mapping[str, Any], place: Place) -> None:
        data = event["data"]
        kept = self.store.holds.get(event["id"]) or self.store.exceptions.get(event["id"])
        if kept is not None or self.store.knows(data["call_id"]):
            return  # a copy: of a hold that is kept, was given back, or was ended by its call
        keys = self.scopes.keys(data, parse_time(data["started_at"]))
        amount = usd_to_pico(data["amount_usd"])
        hold = {
            "state": "open",
            "amount": str(amount),
            "started_at": data["started_at"],
            "keys": keys,
            "writer": place.writer,
            "holder": data["holder"],
            "call_id": data["call_id"],
            "bytes": data.get("request", {}).get("bytes"),
            "book": data.get("book"),
            "provider": data["provider"],
            "model": data["model"],
            "place": list(place),
        }
        self.store.holds.put(event["id"], hold)
        self._add(keys, [(OPEN, amount), (OPEN_COUNT, 1)])

    def _released(self, event: Mapping[str, Any], place: Place) -> None:
        hold_id = event["data"]["hold_id"]
        hold = self.store.holds.get(hold_id)
        if hold is not None and hold["state"] == "open":
            self._give_up(hold_id, hold)

    def _give_up(self, hold_id: str, hold: Mapping[str, Any]) -> None:
        """A hold is over without a call.  That it was is kept, for a copy of its reservation may come."""
        self._take_out(hold)
        self.store.holds.put(hold_id, None)
        self.store.exceptions.put(hold_id, {"released": True})

    def _lost(self, event: Mapping[str, Any], place: Place) -> None:
        hold_id = event["data"]["hold_id"]
        hold = self.store.holds.get(hold_id)
        if hold is None or hold["state"] != "open":
            return
        self._take_out(hold)
        self.store.holds.put(hold_id, {**hold, "state": "lost", "cause": event["data"]["cause"]})
        self._add(hold["keys"], [(LOST, int(hold["amount"])), (LOST_COUNT, 1)])

    def _resolved(self, event: Mapping[str, Any], place: Place) -> None:
        hold_id, data = event["data"]["hold_id"], event["data"]
        hold = self.store.holds.get(hold_id)
        if hold is None or hold["state"] not in ("open", "lost"):
            return
        resolved = usd_to_pico(data["cost_usd"])
        call_id = hold.get("ended_by")
        counted = call_id is None or not self._has_exceptions or _counts(self.store.exceptions.get(call_id))
        if counted:
            self._take_out(hold)
            self._add(hold["keys"], [(RESOLVED, resolved)])
        self.store.holds.put(hold_id, {**hold, "state": "resolved", "resolved": str(resolved)})

    def _voided(self, event: Mapping[str, Any], place: Place) -> None:
        self._except(event["data"]["call_id"], "voided", event["type"] == "call.voided")

    def _except(self, call_id: str, what: str, holds: bool) -> None:
        """Say of a call that it is voided or shadowed, or is so no more."""
        before = self.store.exceptions.get(call_id) or {}
        after = {**before, what: holds}
        self._has_exceptions = True
        place = self.store.place(call_id)
        if place is None and self._put_off is None and not self.store.is_new:
            raise Unplaced(call_id)  # no call was voided before it was journaled, as far as anybody knows
        if place is not None and _counts(before) != _counts(after):
            event = self._read_event(place)
            if event["type"] in ("call.completed", "call.failed"):
                self._contribute(event["data"], call_id, 1 if _counts(after) else -1)
        self.store.exceptions.put(call_id, after if any(after.values()) else None)

    def _shadow(self, event_id: str, data: Mapping[str, Any]) -> None:
        """Of calls that share a key with this one: imported ones that there is better than count no more.

        Called before the call itself is counted, which has a place already.
        """
        rank = _rank(data)
        for call_key in data["call_keys"]:
            others = self.store.ids_under(call_key)
            for other_rank, other in others:
                if other != event_id and (rank, event_id) < (other_rank, other) and not _is_live(other_rank):
                    self._except(other, "shadowed", True)
            if not _is_live(rank) and any((other_rank, other) < (rank, event_id) for other_rank, other in others):
                self._has_exceptions = True
                before = self.store.exceptions.get(event_id) or {}
                self.store.exceptions.put(event_id, {**before, "shadowed": True})
            self.store.put_call_key(call_key, event_id, rank)

    def _adjusted(self, event: Mapping[str, Any], place: Place) -> None:
        if self._is_copy(event, place):
            return
        data = event["data"]
        keys = self.scopes.keys(data, parse_time(data["effective_at"]))
        self._add(keys, [(ADJUSTMENTS, usd_to_pico(data["amount_usd"]))])


def _counts(exception: Mapping[str, Any] | None) -> bool:
    return not exception or not (exception.get("voided") or exception.get("shadowed"))


def _rank(data: Mapping[str, Any]) -> str:
    """Which of several calls with one key counts, the lowest first: live ones all do."""
    if not data["origin"].startswith("import:"):
        return "0"
    return f"1{_QUALITIES.index(data['quality'])}"


def _is_live(rank: str) -> bool:
    return rank == "0"
