"""What has become of budgets: every part of a window's figure apart, in one window or in all that there ever were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from keledger.journal._days import Zone
from keledger.journal._money import pico_to_usd
from keledger.journal._time import format_time, now_us

from ._fold import Fold
from ._policy import Budget, Raise
from ._standing import Standing, present_standings, standing
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
)

PARTS = {
    "calls_usd": CALLS,
    "lost_usd": LOST,
    "resolved_usd": RESOLVED,
    "unpriced_usd": UNPRICED,
    "adjustments_usd": ADJUSTMENTS,
    "open_usd": OPEN,
}
"""What a window's figure is made of.  ``calls_usd`` alone equals a report at recorded prices."""

COUNTS = {
    "calls": CALL_COUNT,
    "unpriced_calls": UNPRICED_COUNT,
    "unknown_calls": UNKNOWN_COUNT,
    "lost_holds": LOST_COUNT,
    "open_holds": OPEN_COUNT,
}
"""How many of what it is made of.  ``unknown_calls`` are those without a hold, which count nothing; an unknown call
that had one stands under ``lost_holds``."""


def instant_asked(budget: Budget, at_us: int | None = None, day: date | None = None) -> int:
    """The instant whose window of a budget is asked for: *at_us*, or the last one of a *day* in its zone, or now.

    A day lies in one window of a calendar; of rolling ones it is the one that ends with it.
    """
    if day is not None:
        return Zone(budget.timezone).end_us(day) - 1
    return now_us() if at_us is None else at_us


def status_row(each: Standing, instant_us: int) -> dict[str, Any]:
    """How a window of a set budget stood at an instant: the row of ``keledger budget status``."""
    budget = each.budget
    assert budget is not None, "what a call declares has no status"
    data = each.as_data()
    return {
        "name": budget.name,
        "budget_id": budget.id,
        "action": budget.action,
        "period": str(budget.scope.period),
        "timezone": budget.timezone,
        "group": data.get("group", []),
        "window_from": data.get("window_from"),
        "window_to": data.get("window_to"),
        "resets_at": data.get("window_to"),
        "limit_usd": data["limit_usd"],
        "set_limit_usd": pico_to_usd(budget.limit_pico),
        "raises": [
            _raise_row(raised) for raised in budget.raises if raised.until_us is None or instant_us < raised.until_us
        ],
        "spent_usd": data["spent_usd"],
        **{name: pico_to_usd(each.sums[place]) for name, place in PARTS.items()},
        "left_usd": pico_to_usd(each.left_pico),
        "on_lost": budget.on_lost,
        **{name: each.sums[place] for name, place in COUNTS.items()},
    }


def budget_row(budget: Budget, instant_us: int) -> dict[str, Any]:
    """What a budget says, for programs: ``limit_usd`` is the limit in force at an instant."""
    rate = budget.unpriced_pico_per_token
    return {
        "name": budget.name,
        "id": budget.id,
        "action": budget.action,
        "limit_usd": pico_to_usd(budget.limit_pico_at(instant_us)),
        "set_limit_usd": pico_to_usd(budget.limit_pico),
        "period": str(budget.scope.period),
        "timezone": budget.timezone,
        "week_start": budget.scope.week_start if budget.scope.period.kind == "week" else None,
        "where": [condition.as_data() for condition in budget.scope.where],
        "warn_percent": list(budget.warn_percent),
        "hold": budget.hold,
        "on_lost": budget.on_lost,
        "unpriced": budget.unpriced,
        "unpriced_usd_per_million": pico_to_usd(rate * 10**6) if rate is not None else None,
        "raises": [_raise_row(each) for each in budget.raises],
    }


def _raise_row(raised: Raise) -> dict[str, Any]:
    return {
        "id": raised.id,
        "limit_usd": pico_to_usd(raised.limit_pico),
        "until": format_time(raised.until_us) if raised.until_us is not None else None,
    }


def all_standings(fold: Fold, budget: Budget, present_us: int) -> Iterator[tuple[Standing, int]]:
    """Every window of a budget in which anything was counted, and the instant whose limit is told.

    That is now, or the last one of a window that is over.  Rolling windows overlap without end: of these the present
    ones alone.
    """
    number = fold.scopes.number(budget.scope)
    if number is None:
        return
    summed = fold.scopes[number]
    if summed.is_rolling or not summed.resets:
        yield from ((each, present_us) for each in present_standings(fold, budget, present_us))
        return
    for group, slot, _ in fold.store.windows(number):
        instant_us = min(present_us, summed.window(slot).end_us - 1)
        instant_us = max(instant_us, slot)  # a call whose clock was ahead
        then = budget if instant_us == present_us else budget.as_of(instant_us)
        yield standing(fold, then, (number, group, slot), instant_us), instant_us
