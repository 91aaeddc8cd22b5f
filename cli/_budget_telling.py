"""A budget in words for a terminal, and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from keledger.journal import now_us, pico_to_usd
from keledger.journal.budgets import Budget, Scope, budget_row

from ._table import exact_money

_DAYS = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday",
         "sun": "Sunday"}  # fmt: skip


def told_budget(budget: Budget) -> str:
    """What a budget allows, in one sentence without its full stop."""
    scope = budget.scope
    exact = [str(condition) for condition in scope.where if not condition.each]
    each = [condition.column for condition in scope.where if condition.each]
    what = f"calls of {','.join(exact)}" if exact else "all calls"
    apart = f", each {' and '.join(each)} apart" if each else ""
    percent = " % and ".join(map(str, budget.warn_percent))
    follows = "a call that does not fit is refused" if budget.action == "block" else "no call is refused for it"
    warns = f"it warns at {percent} %" if percent else "it never warns"
    return f"{what} may cost {_told_limit(budget)} {told_period(scope)}{apart}; {follows}, and {warns}"


def _told_limit(budget: Budget) -> str:
    limit, end_us = told_usd(budget, now_us()), end_of_raise(budget)
    if end_us is None:
        return limit
    return f"{limit} (until {told_instant(end_us, budget.timezone)}, then {told_usd(budget, end_us)})"


def told_usd(budget: Budget, instant_us: int) -> str:
    """The limit that holds for a call which begins then."""
    return exact_money(pico_to_usd(budget.limit_pico_at(instant_us)))


def told_period(scope: Scope) -> str:
    """How long a budget counts: ``a month (Europe/Berlin)``."""
    kind, days = scope.period
    if days is not None:
        return f"in {days * 24} hours"
    if not scope.period.resets:
        return "a session" if kind == "session" else "in all"
    begins = f" from {_DAYS[scope.week_start]} on" if kind == "week" else ""
    return f"a {kind}{begins} ({scope.timezone})"


def told_scope(scope: Scope) -> str:
    """Which calls a budget covers, as it was written."""
    return ",".join(map(str, scope.where)) or "all calls"


def end_of_raise(budget: Budget) -> int | None:
    """When the raise is over whose limit holds now; None where none holds, or it holds for good."""
    instant_us = now_us()
    in_force = (each for each in reversed(budget.raises) if each.until_us is None or instant_us < each.until_us)
    raised = next(in_force, None)
    return raised.until_us if raised is not None else None


def told_instant(instant_us: int, zone: str) -> str:
    """An instant as clocks of the budget's zone show it."""
    return datetime.fromtimestamp(instant_us // 1_000_000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def as_json(budget: Budget) -> dict[str, Any]:
    """A budget as JSON: its limit is the one in force, ``set_limit_usd`` what it was set to."""
    return budget_row(budget, now_us())
