"""What the home's own events say of budgets: which stand, what alerts were raised, and what of it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keledger.journal._money import usd_to_pico
from keledger.journal._time import parse_time

from ._policy import Budget, Scope, read_budget, with_raise
from ._scopes import Scopes
from ._store import ADJUSTMENTS, CALLS, LOST, RESOLVED, UNPRICED, Place, Store, SumsKey

ENDLESS = ("session", "total")
"""Periods whose windows never reset."""

_FAMILIES = ("budget.", "hold.", "period.")
"""What of a later release must not be passed over where a blocking budget stands, beside ``call.reserved``."""

_KNOWN_PERIODS = frozenset({"period.closed", "period.reopened"})


_DAMAGED_NAME = re.compile(rb'"name":"([a-z0-9][a-z0-9_.-]{0,62})"')
_DAMAGED_TICK = re.compile(rb'"tick":([0-9]{1,10}),')
_ID_AT = slice(len('{"specversion":"1.0","id":"'), len('{"specversion":"1.0","id":"') + 36)


class NewScope(Exception):
    """A budget was set for a scope that is not summed yet: the journal is to be folded from its beginning."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope.definition)
        self.scope = scope


class SetBudgets:
    """The budgets that stand in a home, with the alerts of their windows, which a :class:`Store` keeps."""

    def __init__(self, store: Store, scopes: Scopes, own_writers: tuple[str, ...]) -> None:
        self.store, self.scopes, self.own_writers = store, scopes, own_writers
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
        self._covering: tuple[list[SumsKey], int, list[tuple[Budget, SumsKey]]] = ([], -1, [])
        self._budget_events: dict[str, list[Mapping[str, Any]]] = {}
        self._removed_ids: set[bytes] = set()
        self._event: Mapping[str, Any] = {}

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

    def covering(self, keys: list[SumsKey]) -> list[tuple[Budget, SumsKey]]:
        """The budgets that count what counts under these keys, in the order in which they were set.

        Asked for with the same list as a call is held and settled, and kept for it.
        """
        asked, changes, found = self._covering
        if asked is not keys or changes != self.budget_changes:
            found = [(budget, key) for key in keys for budget in self.budgets_of(key[0])]
            found.sort(key=_tick)
            self._covering = (keys, self.budget_changes, found)
        return found

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

    def note_damage(self, line: bytes, place: Place) -> None:
        """Remember a damaged line that seems to have set a budget: nobody knows what it said, and it may block.

        Not where a later version of the budget can be read, or the budget was removed since.
        """
        name, tick = _DAMAGED_NAME.search(line), _DAMAGED_TICK.search(line)
        if place.writer not in self.own_writers or b'"type":"budget.set"' not in line or name is None:
            return
        budget = self.budgets.get(name[1].decode())
        if (budget is not None and tick is not None and budget.tick > int(tick[1])) or line[
            _ID_AT
        ] in self._removed_ids:
            return
        self.budget_changes += 1
        self.unreadable[f"budget {name[1].decode()}"] = {
            "id": line[_ID_AT].decode("ascii", "replace"),
            "type": "budget.set",
            "v": 1,
            "name": name[1].decode(),
            "action": "warn" if b'"action":"warn"' in line else None,
            "place": list(place),
            "damaged": True,
        }

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
        self._removed_ids.add(event["data"]["budget_id"].encode())
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


def _tick(covering: tuple[Budget, SumsKey]) -> int:
    return covering[0].tick


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
