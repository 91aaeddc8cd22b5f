"""Budgets as a page of simple Python: what the events of a journal come to, by the rules of ``docs/budgets.md``.

It shares nothing with ``journal/budgets``: no state is kept but the events themselves, and each question looks through
all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Event = Mapping[str, Any]

QUALITIES = ("measured", "totals_only", "under_count")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = {"month": 1, "quarter": 3, "year": 12}
ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def in_order(events: Iterable[Event]) -> list[Event]:
    """The one order that decides anything."""
    return sorted(events, key=lambda event: (event["tick"], event["source"], event["seq"]))


@functools.cache
def instant(text: str) -> datetime:
    """A time as events have it."""
    return datetime.fromisoformat(text)


@dataclass
class Hold:
    """A hold, and how it stands: ``open``, ``released``, ``settled`` by ``call_id``, ``lost``, or ``resolved``."""

    data: Event
    amount: Decimal
    state: str = "open"
    call_id: str | None = None
    cost: Decimal = Decimal(0)


@dataclass
class Sums:
    """A window's parts, and how many there are of each."""

    calls: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    resolved: Decimal = Decimal(0)
    unpriced: Decimal = Decimal(0)
    adjustments: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    call_count: int = 0
    lost_count: int = 0
    unpriced_count: int = 0
    unknown_count: int = 0
    open_count: int = 0

    def spent(self, on_lost: str = "count") -> Decimal:
        """What counts against a limit, beside what is held."""
        spent = self.calls + self.resolved + self.unpriced + self.adjustments
        return spent if on_lost == "release" else spent + self.lost


@dataclass
class Budget:
    """A budget as its events have it."""

    data: Event
    id: str
    raises: list[Event] = field(default_factory=list)

    def limit(self, at: datetime, *, known: datetime | None = None) -> Decimal:
        """The limit for a call that begins then, by the raises that were *known* at some time."""
        for raised in reversed(self.raises):
            if known is not None and instant(raised["journaled_at"]) > known:
                continue
            if "until" not in raised or at < instant(raised["until"]):
                return Decimal(raised["limit_usd"])
        return Decimal(self.data["limit_usd"])

    def window(self, at: datetime) -> tuple[datetime, datetime]:
        """From when to when calls count together with one that begins then."""
        period, zone = self.data["period"], ZoneInfo(self.data["timezone"])
        if period in ("session", "total"):
            return ALWAYS
        if period.startswith("rolling:"):
            end = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            return end - timedelta(days=int(period[8:-1])), end
        day = at.astimezone(zone).date()
        if period in MONTHS:
            months = day.year * 12 + day.month - 1
            first = months - months % MONTHS[period]
            days = [
                day.replace(year=month // 12, month=month % 12 + 1, day=1) for month in (first, first + MONTHS[period])
            ]
        else:
            back = (day.weekday() - WEEKDAYS.index(self.data.get("week_start", "mon"))) % 7 if period == "week" else 0
            start = day - timedelta(days=back)
            days = [start, start + timedelta(days=7 if period == "week" else 1)]
        start, end = (datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in days)
        return start, end

    def group(self, data: Event) -> tuple[str | None, ...] | None:
        """The values that tell its windows apart; None where it does not cover this."""
        columns = []
        for condition in sorted(self.data["where"], key=lambda each: each["column"]):
            if condition.get("each"):
                columns.append(condition["column"])
            elif value(data, condition["column"]) != condition.get("value"):
                return None
        if self.data["period"] == "session" and "session" not in columns:
            columns.append("session")
        return tuple(value(data, column) for column in columns)


def value(data: Event, column: str) -> str | None:
    """What a call has in a column."""
    found: str | None = data.get("tags", {}).get(column[4:]) if column.startswith("tag:") else data.get(column)
    return found


class Model:
    """What the events taken so far, in their order, come to."""

    def __init__(self, own_writers: Iterable[str], events: Iterable[Event] = ()) -> None:
        self.own = {f"/keledger/{writer}" for writer in own_writers}
        self.calls: dict[str, Event] = {}
        self.holds: dict[str, Hold] = {}
        self.voided: dict[str, bool] = {}
        self.adjustments: dict[str, Event] = {}
        self.budgets: dict[str, Budget] = {}
        for event in in_order(events):
            self.take(event)

    def take(self, event: Event) -> None:
        """The next event."""
        kind, data = event["type"], event["data"]
        if event["v"] != 1:
            return
        if kind.startswith("budget.") and event["source"] in self.own:
            self._budget(kind, event["id"], {**data, "journaled_at": event["time"]})
        elif kind in ("call.completed", "call.failed"):
            is_copy = event["id"] in self.calls
            self.calls.setdefault(event["id"], data)
            self._settle(event["id"], data.get("hold_id"), is_copy)
        elif kind == "call.reserved":
            if data["call_id"] not in self.calls:
                self.holds.setdefault(event["id"], Hold(data, Decimal(data["amount_usd"])))
        elif kind in ("hold.released", "hold.lost", "hold.resolved"):
            self._end(kind.removeprefix("hold."), data)
        elif kind in ("call.voided", "void.reverted"):
            self.voided[data["call_id"]] = kind == "call.voided"
        elif kind == "charge.adjusted":
            self.adjustments.setdefault(event["id"], data)

    def _budget(self, kind: str, event_id: str, data: Event) -> None:
        standing = self.budgets.get(data["name"])
        if kind == "budget.set":
            self.budgets[data["name"]] = Budget(data, event_id)
        elif standing is not None and standing.id == data.get("budget_id"):
            if kind == "budget.raised":
                standing.raises.append(data)
            elif kind == "budget.removed":
                del self.budgets[data["name"]]

    def _settle(self, call_id: str, hold_id: str | None, is_copy: bool) -> None:
        """The first call that names a hold ends it, or stands in its place where it is lost or resolved already.

        What is counted already, by an earlier copy without the hold, just ends it.
        """
        hold = self.holds.get(hold_id or "")
        if hold is None or hold.state == "released" or hold.call_id is not None:
            return
        if is_copy:
            hold.state = "released"
        else:
            hold.call_id = call_id
            if hold.state == "open":
                hold.state = "settled" if self.calls[call_id]["cost"]["state"] != "unknown" else "lost"

    def _end(self, how: str, data: Event) -> None:
        hold = self.holds.get(data["hold_id"])
        if hold is None:
            return
        if how == "resolved" and self._can_be_resolved(hold):
            hold.state, hold.cost = "resolved", Decimal(data["cost_usd"])
        elif hold.state == "open":
            hold.state = how

    def _can_be_resolved(self, hold: Hold) -> bool:
        known = hold.call_id is not None and self.calls[hold.call_id]["cost"]["state"] != "unknown"
        return hold.state in ("open", "lost") and not known

    def counted(self) -> Iterator[tuple[str, Event]]:
        """The calls that reports count."""
        by_key: dict[str, list[tuple[bool, int, str]]] = {}
        for call_id, data in self.calls.items():
            for key in data.get("call_keys", ()):
                by_key.setdefault(key, []).append(rank(call_id, data))
        for call_id, data in self.calls.items():
            others = [other for key in data.get("call_keys", ()) for other in by_key[key]]
            own = rank(call_id, data)
            is_shadowed = own[0] and min(others, default=own) < own
            if not self.voided.get(call_id) and not is_shadowed:
                yield call_id, data

    def sums(self, budget: Budget, group: Sequence[str | None], at: datetime) -> Sums:
        """A window of a budget: the one of a group that an instant lies in."""
        sums, (start, end) = Sums(), budget.window(at)

        def is_in(data: Event, when: str) -> bool:
            return start <= instant(when) < end and budget.group(data) == tuple(group)

        for call_id, data in self.counted():
            if is_in(data, data["started_at"]):
                self._add_call(sums, call_id, data)
        for hold in self.holds.values():
            if hold.call_id is None and is_in(hold.data, hold.data["started_at"]):
                sums.held += hold.amount if hold.state == "open" else 0
                sums.open_count += hold.state == "open"
                sums.lost += hold.amount if hold.state == "lost" else 0
                sums.lost_count += hold.state == "lost"
                sums.resolved += hold.cost if hold.state == "resolved" else 0
        for data in self.adjustments.values():
            if is_in(data, data["effective_at"]):
                sums.adjustments += Decimal(data["amount_usd"])
        return sums

    def _add_call(self, sums: Sums, call_id: str, data: Event) -> None:
        sums.call_count += 1
        hold = self.holds.get(data.get("hold_id", ""))
        hold = hold if hold is not None and hold.call_id == call_id else None
        if "total_usd" in data["cost"]:
            sums.calls += Decimal(data["cost"]["total_usd"])
        elif data["cost"]["state"] == "unpriced":
            sums.unpriced += hold.amount if hold is not None else 0
            sums.unpriced_count += 1
        elif hold is None:
            sums.unknown_count += 1
        elif hold.state == "resolved":
            sums.resolved += hold.cost
        else:
            sums.lost += hold.amount
            sums.lost_count += 1

    def groups(self, budget: Budget, at: datetime) -> set[tuple[str | None, ...]]:
        """Every group of which something was ever journaled in the window that an instant lies in."""
        start, end = budget.window(at)
        told = [(data, data["started_at"]) for data in self.calls.values()]
        told += [(hold.data, hold.data["started_at"]) for hold in self.holds.values()]
        told += [(data, data["effective_at"]) for data in self.adjustments.values()]
        found = (budget.group(data) for data, when in told if start <= instant(when) < end)
        return {group for group in found if group is not None}

    def covering(self, data: Event) -> dict[str, Budget]:
        """The budgets that cover a call, by name."""
        return {name: budget for name, budget in self.budgets.items() if budget.group(data) is not None}

    def judge(self, event: Event) -> None:
        """Hold a decision to the state that it was taken in: to be called before :meth:`take`."""
        if event["type"] == "alert.raised":
            self._judge_alert(event["data"])
        if event["type"] not in ("call.reserved", "call.blocked"):
            return
        data, at = event["data"], instant(event["data"]["started_at"])
        covering = self.covering(data)
        left = {}
        for name, budget in covering.items():
            sums = self.sums(budget, budget.group(data) or (), at)
            left[name] = budget.limit(at) - sums.spent(budget.data["on_lost"]) - sums.held
        for told in data.get("budgets", data.get("refusals", ())):
            if "budget_id" not in told:
                continue
            budget = covering[told["name"]]
            sums = self.sums(budget, budget.group(data) or (), at)
            numbers = (budget.id, budget.limit(at), sums.spent(budget.data["on_lost"]), sums.held)
            assert (
                told["budget_id"], Decimal(told["limit_usd"]), Decimal(told["spent_usd"]), Decimal(told["held_usd"])
            ) == numbers, told  # fmt: skip
        blocking = {name for name, budget in covering.items() if budget.data["action"] == "block"}
        if event["type"] == "call.reserved":
            amount = Decimal(data["amount_usd"])
            assert amount >= 0
            assert {each["name"] for each in data["budgets"] if "name" in each} == covering.keys()
            assert {name for name in blocking if amount > max(left[name], 0)} == set(), "more was granted than was left"
            return
        by_limit = [each for each in data["refusals"] if each["cause"] == "limit" and "name" in each]
        assert data["refusals"]
        for each in by_limit:
            assert each["name"] in blocking
            fits = left[each["name"]] > 0 and Decimal(each["asked_usd"]) <= left[each["name"]]
            assert not fits, "a hold was refused that fits"

    def _judge_alert(self, data: Event) -> None:
        """A threshold was crossed, by just so much.  (Which hours a rolling window had then is not told.)"""
        budget = self.budgets[data["name"]]
        assert budget.id == data["budget_id"]
        if budget.data["period"].startswith("rolling"):
            return
        at = instant(data.get("window_from", "1970-01-01T00:00:00Z"))
        sums = self.sums(budget, [each.get("value") for each in data.get("group", ())], at)
        spent = sums.spent(budget.data["on_lost"])
        assert Decimal(data["spent_usd"]) == spent, "an alert tells what is not so"
        assert spent * 100 >= data["threshold_percent"] * Decimal(data["limit_usd"])
        assert data["threshold_percent"] in budget.data["warn_percent"]


def rank(call_id: str, data: Event) -> tuple[bool, int, str]:
    """Of calls with one key the lowest counts; of those that were not imported, all."""
    is_imported = data["origin"].startswith("import:")
    return is_imported, QUALITIES.index(data["quality"]) if is_imported else 0, call_id
