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

from ._policy import Budget, Scope, read_budget, with_raise
from ._scopes import Scopes
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

ENDLESS = ("session", "total")
"""Periods whose windows never reset."""

_FAMILIES = ("budget.", "hold.", "period.")
"""What of a later release must not be passed over where a blocking budget stands, beside ``call.reserved``."""

_KNOWN_PERIODS = frozenset({"period.closed", "period.reopened"})

_QUALITIES = ("measured", "totals_only", "under_count")


class NewScope(Exception):
    """A budget was set for a scope that is not summed yet: the journal is to be folded from its beginning."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope.definition)
        self.scope = scope


class ImportsAreKeyed(Exception):
    """An imported call came that another may shadow, and keys were not kept so far: fold from the beginning."""


class Fold:
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
        self.store, self.scopes, self.own_writers, self.keyed = store, scopes, own_writers, keyed
        self.budgets: dict[str, Budget] = {}
        """The budgets that stand, by name: the home's own."""
        self.unreadable: dict[str, dict[str, Any]] = {}
        """What a later release has journaled that this one must not pass over, by what it is about."""
        self.budget_changes = 0
        """Grows with every change of :attr:`budgets` and :attr:`unreadable`."""
        self.below: dict[str, dict[str, int]] = {}
        """Since when a window without an end is below a threshold again that it had crossed, by :func:`alert_row` and
        :func:`alert_name`."""
        self.latest = ""
        """The latest time at which a clock stood when an event was journaled."""
        self._by_scope: tuple[int, dict[int, list[Budget]]] = (-1, {})
        self._budget_events: dict[str, list[Mapping[str, Any]]] = {}
        self._read_event = read_event
        self._has_exceptions = next(store.exceptions.items(), None) is not None
        self._event: Mapping[str, Any] = {}
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

    @property
    def blocks(self) -> bool:
        """Whether a budget stands that may stop a call, or one that nobody here can read."""
        unreadable = (each["action"] != "warn" for each in self.unreadable.values() if each["name"] is not None)
        return any(budget.action == "block" for budget in self.budgets.values()) or any(unreadable)

    def budgets_of(self, scope_number: int) -> Sequence[Budget]:
        """The budgets that stand for a scope."""
        if self._by_scope[0] != self.budget_changes:
            found: dict[int, list[Budget]] = {}
            for budget in self.budgets.values():
                number = self.scopes.number(budget.scope)
                if number is not None:
                    found.setdefault(number, []).append(budget)
            self._by_scope = (self.budget_changes, found)
        return self._by_scope[1].get(scope_number, ())

    def kept(self) -> dict[str, Any]:
        """What :meth:`restore` takes, as JSON values."""
        return {
            "budgets": self._budget_events,
            "unreadable": self.unreadable,
            "below": self.below,
            "latest": self.latest,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what :meth:`kept` gave, with the same store."""
        for name, events in kept["budgets"].items():
            budget = read_budget(events[0])
            for event in events[1:]:
                budget = with_raise(budget, event)
            self.budgets[name] = budget
        self._budget_events, self.unreadable, self.below = kept["budgets"], kept["unreadable"], kept["below"]
        self.latest = kept["latest"]

    def not_read(self, event: Mapping[str, Any], place: Place) -> None:
        """Remember an event of the home's own writers that this release must not pass over, and cannot read."""
        if place.writer not in self.own_writers or not _must_be_read(event):
            return
        data = event.get("data")
        data = data if isinstance(data, dict) else {}
        name = data.get("name")
        about = f"budget {name}" if event["type"].startswith("budget.") and isinstance(name, str) else event["type"]
        if event["type"] != "budget.set" and self.unreadable.get(about, {}).get("name") is not None:
            return  # whatever it does to a budget that cannot be read: that one may block
        self.budget_changes += 1
        self.unreadable[about] = {
            "id": event["id"],
            "type": event["type"],
            "v": event["v"],
            "name": name if event["type"] == "budget.set" else None,
            "action": data.get("action"),
            "place": list(place),
        }

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
        keys, amount = _keys(hold), int(hold["amount"])
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
        history: History = self.store.histories.get(key) or History()
        self.store.histories.put(key, history.add(data, request_bytes=request_bytes))

    def learn_what_was_put_off(self) -> None:
        """Learn from the last calls of each prompt and model alone, which are all that is kept of them."""
        put_off, self._put_off = self._put_off or {}, None
        for key, calls in put_off.items():
            history = History()
            for place, request_bytes in calls:
                history = history.add(self._read_event(place)["data"], request_bytes=request_bytes)
            self.store.histories.put(key, history)

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
            "keys": [list(key) for key in keys],
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
        self._add(_keys(hold), [(LOST, int(hold["amount"])), (LOST_COUNT, 1)])

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
            self._add(_keys(hold), [(RESOLVED, resolved)])
        self.store.holds.put(hold_id, {**hold, "state": "resolved", "resolved": str(resolved)})

    def _voided(self, event: Mapping[str, Any], place: Place) -> None:
        self._except(event["data"]["call_id"], "voided", event["type"] == "call.voided")

    def _except(self, call_id: str, what: str, holds: bool) -> None:
        """Say of a call that it is voided or shadowed, or is so no more."""
        before = self.store.exceptions.get(call_id) or {}
        after = {**before, what: holds}
        self._has_exceptions = True
        place = self.store.place(call_id)
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

    def _set(self, event: Mapping[str, Any], place: Place) -> None:
        budget = read_budget(event)
        if self.scopes.number(budget.scope) is None:
            raise NewScope(budget.scope)
        self.budgets[budget.name] = budget
        self._budget_events[budget.name] = [_remembered(event)]
        self._changed(budget.name)

    def _raised(self, event: Mapping[str, Any], place: Place) -> None:
        budget = self.budgets.get(event["data"]["name"])
        if budget is not None and budget.id == event["data"]["budget_id"]:
            self.budgets[budget.name] = with_raise(budget, event)
            self._budget_events[budget.name].append(_remembered(event))
            self.budget_changes += 1

    def _removed(self, event: Mapping[str, Any], place: Place) -> None:
        budget = self.budgets.get(event["data"]["name"])
        if budget is not None and budget.id == event["data"]["budget_id"]:
            del self.budgets[budget.name], self._budget_events[budget.name]
        about = self.unreadable.get(f"budget {event['data']['name']}")
        if about is None or about["name"] is None or about["id"] == event["data"]["budget_id"]:
            self._changed(event["data"]["name"])
        else:
            self.budget_changes += 1  # a version of it was removed that an unreadable one had replaced

    def _changed(self, name: str) -> None:
        """A budget is what its newest version says, be there an unreadable one before."""
        self.unreadable.pop(f"budget {name}", None)
        self.budget_changes += 1

    def _alerted(self, event: Mapping[str, Any], place: Place) -> None:
        data = event["data"]
        budget = self.budgets.get(data["name"])
        if budget is None or budget.id != data["budget_id"]:
            return
        number = self.scopes.number(budget.scope)
        if number is None:
            return
        summed = self.scopes[number]
        slot = 0 if summed.is_rolling or "window_from" not in data else parse_time(data["window_from"])
        row_key = alert_row((number, summed.group_text(data.get("group", ())), slot))
        row = self.store.alerts.get(row_key) or {}
        name = alert_name(budget.id, data["threshold_percent"], data["limit_usd"])
        self.store.alerts.put(row_key, {**row, name: {"at": self._event["time"], "spent_usd": data["spent_usd"]}})
        self.below.pop(row_key, None)

    def _moved(self, key: SumsKey) -> None:
        """Note since when a window without an end is below its thresholds again."""
        if self.scopes[key[0]].scope.period.kind not in ENDLESS:
            return
        row_key = alert_row(key)
        row = self.store.alerts.get(row_key)
        if not row:
            return
        now_us, below = parse_time(self._event["time"]), self.below.get(row_key, {})
        of_budget = {budget.id: budget for budget in self.budgets.values()}
        still = {}
        for name in row:
            budget_id, percent, limit_usd = name.split(" ")
            budget = of_budget.get(budget_id)
            if budget is None:
                continue
            if spent_pico(budget, self.store.sums(key)) * 100 < int(percent) * usd_to_pico(limit_usd):
                still[name] = below.get(name, now_us)
        if still:
            self.below[row_key] = still
        else:
            self.below.pop(row_key, None)


def spent_pico(budget: Budget | None, sums: Sequence[int]) -> int:
    """What a window's sums come to for a budget, without what is held: None for one that a call declares."""
    spent = sums[CALLS] + sums[RESOLVED] + sums[UNPRICED] + sums[ADJUSTMENTS]
    return spent if budget is not None and budget.on_lost == "release" else spent + sums[LOST]


def _remembered(event: Mapping[str, Any]) -> dict[str, Any]:
    """What of a budget's event its reading takes."""
    return {name: event[name] for name in ("id", "type", "v", "time", "tick", "data")}


def alert_row(key: SumsKey) -> str:
    """Under what key the alerts of a window are kept."""
    return f"{key[0]} {key[2]} {key[1]}"


def alert_name(budget_id: str, threshold_percent: int, limit_usd: str) -> str:
    """What an alert of a window is about: a raise or a new version is another one."""
    return f"{budget_id} {threshold_percent} {limit_usd}"


def _must_be_read(event: Mapping[str, Any]) -> bool:
    kind = event["type"]
    if kind == "call.reserved":
        return True
    return kind.startswith(_FAMILIES) and not (kind in _KNOWN_PERIODS and event["v"] == 1)


def _keys(hold: Mapping[str, Any]) -> list[SumsKey]:
    return [(scope, group, slot) for scope, group, slot in hold["keys"]]


def _counts(exception: Mapping[str, Any] | None) -> bool:
    return not exception or not (exception.get("voided") or exception.get("shadowed"))


def _rank(data: Mapping[str, Any]) -> str:
    """Which of several calls with one key counts, the lowest first: live ones all do."""
    if not data["origin"].startswith("import:"):
        return "0"
    return f"1{_QUALITIES.index(data['quality'])}"


def _is_live(rank: str) -> bool:
    return rank == "0"
