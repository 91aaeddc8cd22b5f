"""Alerts: the thresholds of budgets that are crossed, told once for each window, limit and version of a budget.

Windows that never reset, and rolling ones, are told of again after they were below the threshold for a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from keledger.journal._days import DAY_US
from keledger.journal._identity import id_of_key, input_sha256
from keledger.journal._line import NewEvent
from keledger.journal._money import pico_to_usd
from keledger.journal._time import parse_time
from keledger.journal._validate import check_data

from ._fold import Fold
from ._policy import Budget
from ._set_budgets import alert_name, alert_row, spent_pico
from ._standing import Standing, window_sums
from ._store import CALLS, LOST, RESOLVED, UNPRICED
from ._windows import HOUR_US


class Alert(NamedTuple):
    """One threshold that is crossed: its event, and the sentence for the user."""

    event: NewEvent
    sentence: str


def may_be_due(fold: Fold, data: Mapping[str, Any], started_us: int, added: Mapping[int, int]) -> bool:
    """Whether a call brings a window to a threshold, or it is there already: nearly always not, and soon told."""
    for budget, key in fold.covering(fold.scopes.keys(data, started_us)):
        if budget.warn_percent:
            spent = spent_pico(budget, window_sums(fold, key, started_us)) + _spent(budget, added)
            if spent * 100 >= budget.warn_percent[0] * budget.limit_pico:  # a raise only moves it up
                return True
    return False


def alerts_due(
    fold: Fold,
    stand: Iterable[Standing],
    *,
    added: Mapping[int, int],
    now_us: int,
    call_id: str | None = None,
) -> list[Alert]:
    """The alerts to be raised where *added* comes to the sums of these windows.  Called under the lock."""
    found = []
    for each in stand:
        budget = each.budget
        if budget is None or not budget.warn_percent:
            continue
        spent = each.spent_pico + _spent(budget, added)
        crossed = [percent for percent in budget.warn_percent if spent * 100 >= percent * each.limit_pico]
        if not crossed:
            continue
        row_key = alert_row((*each.key[:2], 0) if each.summed.is_rolling else each.key)
        row = fold.store.alerts.get(row_key) or {}
        limit_usd = pico_to_usd(each.limit_pico)
        for percent in crossed:
            name = alert_name(budget.id, percent, limit_usd)
            raised = row.get(name)
            if raised is None or _is_armed_again(fold, each, percent, row_key, name, parse_time(raised["at"]), now_us):
                found.append(_alert(budget, each, percent, spent, raised, call_id))
    return found


def _spent(budget: Budget, added: Mapping[int, int]) -> int:
    """What of the added sums is spent, for this budget."""
    spent = added.get(CALLS, 0) + added.get(RESOLVED, 0) + added.get(UNPRICED, 0)
    return spent if budget.on_lost == "release" else spent + added.get(LOST, 0)


def _is_armed_again(
    fold: Fold, each: Standing, percent: int, row_key: str, name: str, raised_us: int, now_us: int
) -> bool:
    """Whether a window was below a threshold for a whole day since it was told of."""
    if now_us - raised_us < DAY_US:
        return False
    if each.summed.is_rolling:
        return _was_below(fold, each, percent, raised_us, now_us)
    since_us = fold.below.get(row_key, {}).get(name)
    return since_us is not None and now_us - since_us >= DAY_US


def _was_below(fold: Fold, each: Standing, percent: int, raised_us: int, now_us: int) -> bool:
    """Whether the windows that ended with 24 hours in a row, since the alert, were all below the threshold."""
    width = each.window.end_us - each.window.start_us
    of_hour = {slot: spent_pico(each.budget, sums) for slot, sums in fold.store.slots_of(each.key[0], each.key[1])}
    first = raised_us - raised_us % HOUR_US
    spent = sum(amount for slot, amount in of_hour.items() if first + HOUR_US - width <= slot <= first)
    below = 0
    for hour in range(first + HOUR_US, now_us, HOUR_US):
        spent += of_hour.get(hour, 0) - of_hour.get(hour - width, 0)
        below = below + 1 if spent * 100 < percent * each.limit_pico else 0
        if below >= 24:
            return True
    return False


def _alert(
    budget: Budget,
    each: Standing,
    percent: int,
    spent: int,
    raised: Mapping[str, str] | None,
    call_id: str | None,
) -> Alert:
    limit_usd, spent_usd = pico_to_usd(each.limit_pico), pico_to_usd(spent)
    about: dict[str, Any] = {
        "budget_id": budget.id,
        "name": budget.name,
        "threshold_percent": percent,
        "limit_usd": limit_usd,
    }
    if each.group:
        about["group"] = each.group
    if each.resets and not each.summed.is_rolling:
        about |= each.summed.told(each.window)
    # Known by what it is about, and by the alert before it: in a home and in its copy a threshold is crossed once.
    fingerprint = input_sha256("alert.raised", {**about, "again": raised["at"] if raised is not None else None})
    data = {"input_sha256": fingerprint, **about, "spent_usd": spent_usd}
    if call_id is not None:
        data["call_id"] = call_id
    check_data("alert.raised", data)
    event_id = id_of_key("keledger:alert.raised", fingerprint)
    sentence = (
        f"budget {budget.name}{of_group(each.group)} has reached {percent} % of ${limit_usd}: ${spent_usd} is spent"
    )
    return Alert(NewEvent.of("alert.raised", event_id, data), sentence)


def of_group(group: Sequence[Mapping[str, str]]) -> str:
    """A window's group, for people: `` for user ada``."""
    named = (f"{each['column']} {each['value']}" if "value" in each else f"no {each['column']}" for each in group)
    text = ", ".join(named)
    return f" for {text}" if text else ""
