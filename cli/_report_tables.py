"""How reports look as tables."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from keledger.journal import pico_to_usd, usd_to_pico

from ._table import Column, Table, count, exact_money, money

NONE = "(none)"
"""What stands in a table where a call has no such attribute."""

ID_WIDTH = 36
"""A UUID: ids are shown whole, so that they can be typed again."""

TIME_WIDTH = 19

MODEL_WIDTH = 24
"""With less, models of one family can no longer be told apart."""

_COUNTS = (
    ("calls", Column("Calls", number=True, drop=1)),
    ("input_tokens", Column("Input", number=True, drop=2)),
    ("output_tokens", Column("Output", number=True, drop=3)),
    ("cache_read_input_tokens", Column("Cache read", number=True, drop=11)),
    ("cache_creation_input_tokens", Column("Cache write", number=True, drop=12)),
    ("reasoning_output_tokens", Column("Reasoning", number=True, drop=13)),
    ("failed_calls", Column("Failed", number=True, drop=8)),
    ("unknown_calls", Column("Unknown", number=True, drop=7)),
    ("unpriced_calls", Column("Unpriced", number=True, drop=6)),
)
"""The counts of a row.  What a narrow terminal has no room for goes in the order of ``drop``, highest first."""

_ONLY_WHERE_THERE_ARE_ANY = {
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_output_tokens",
    "failed_calls",
    "unknown_calls",
    "unpriced_calls",
}


_BESIDE = (("adjustments_usd", "Adjusted"), ("corrections_usd", "Corrected"))
"""Money that no call of the row cost, shown where there is any."""


class ReportTable:
    """A table of a report in the making: what heads a row, then its sums."""

    def __init__(self, heads: Sequence[Column], totals: Mapping[str, Any]) -> None:
        self._counts = [
            (name, column) for name, column in _COUNTS if name not in _ONLY_WHERE_THERE_ARE_ANY or totals[name]
        ]
        self._beside = [(name, title) for name, title in _BESIDE if totals.get(name, "0") != "0"]
        self._incomplete = bool(uncosted(totals))
        self._heads = len(heads)
        money_columns = [Column(title, number=True) for _, title in self._beside]
        self.table = Table(
            [*heads, *(column for _, column in self._counts), *money_columns, Column("Cost", number=True)]
        )

    def add(self, heads: Sequence[str], sums: Mapping[str, Any], kind: str = "plain") -> None:
        """Add a row."""
        cells = [*heads, *[""] * (self._heads - len(heads))]
        cells += [count(sums[name]) for name, _ in self._counts]
        cells += [money(sums[name]) if name in sums else "" for name, _ in self._beside]
        self.table.add(*cells, marked_cost(sums, incomplete=self._incomplete), kind=kind)


def marked_cost(sums: Mapping[str, Any], *, incomplete: bool, spell: Callable[[str], str] = money) -> str:
    """The cost, marked where calls are missing in it; a word where no call has one.

    *incomplete*: whether any cost below or above it is marked, so that there must be room.
    """
    mark = "*" if uncosted(sums) else " "
    if sums["cost_usd"] is None:
        return ("unpriced" if sums["unpriced_calls"] else "unknown") + mark
    return spell(sums["cost_usd"]) + (mark if incomplete else "")


def uncosted(sums: Mapping[str, Any]) -> int:
    """How many calls have no cost."""
    return int(sums["uncosted_calls"])


def footnote(totals: Mapping[str, Any]) -> str | None:
    """What the mark at a cost means, if there is any; that there are no calls, if so."""
    if not totals["calls"] and all(totals.get(name, "0") == "0" for name, _ in _BESIDE):
        return "No calls: keledger run and keledger record journal some, --since and --where may leave out others."
    parts = []
    unpriced = totals["unpriced_calls"]
    if unpriced:
        parts.append(f"{calls(unpriced)} without a known price")
    if uncosted(totals) > unpriced:  # the others were sent, and nobody knows what they used
        parts.append(f"{calls(uncosted(totals) - unpriced)} without a known usage")
    return f"* {' and '.join(parts)}: not in this cost" if parts else None


def corrections_note(corrections: Sequence[Mapping[str, Any]]) -> str | None:
    """What the corrections in a table are of; None where there are none."""
    if not corrections:
        return None
    parts = [
        f"{exact_money(usd_sum(one['cost_usd'], one['adjustments_usd']))} of {one['period']} in {one['taken_in']}"
        + (f" ({calls(one['calls'])})" if one["calls"] else "")
        for one in corrections
    ]
    return f"Corrections of closed months: {', '.join(parts)}"


def joined(*notes: str | None) -> str | None:
    """Notes below a table as one."""
    return "; ".join(filter(None, notes)) or None


def usd_sum(*amounts: str) -> str:
    """The sum of amounts in USD, in their one spelling."""
    return pico_to_usd(sum(map(usd_to_pico, amounts)))


def calls(number: int) -> str:
    """A number of calls, in words."""
    return f"{count(number)} call{'' if number == 1 else 's'}"


def period_table(report: Mapping[str, Any], period: str, by: Sequence[str]) -> Table:
    """The table of ``daily``, ``weekly`` or ``monthly``; *period* is the name of the rows' first value."""
    heads = [Column(period.capitalize(), least=_least(report, 10)), *map(_head, by)]
    made = ReportTable(heads, report["totals"])
    for row in report["rows"]:
        made.add([row[period], *texts(row, by)], row)
        _add_models(made, row)
    made.add(["Total"], report["totals"], kind="total")
    return made.table


def sessions_table(report: Mapping[str, Any], by: Sequence[str]) -> Table:
    """The table of ``sessions``."""
    heads = [
        Column("Session", least=ID_WIDTH),
        Column("Started", least=TIME_WIDTH, drop=4),
        Column("Prompt", drop=9),
        Column("Project", drop=10),
        *map(_head, by),
    ]
    made = ReportTable(heads, report["totals"])
    zone = ZoneInfo(report["timezone"])
    for row in report["rows"]:
        started = local_time(row["started_at"], zone)
        made.add([*texts(row, ["session"]), started, *texts(row, ("prompt", "project", *by))], row)
        _add_models(made, row)
    made.add(["Total"], report["totals"], kind="total")
    return made.table


def _least(report: Mapping[str, Any], width: int) -> int:
    """The least width of a first column that may hold models' names, too."""
    return max(width, MODEL_WIDTH) if any("models" in row for row in report["rows"]) else width


def _add_models(made: ReportTable, row: Mapping[str, Any]) -> None:
    """Add a row's models below it; where two providers have one of that name, each with its provider."""
    names = Counter(part["model"] for part in row.get("models", ()))
    for part in row.get("models", ()):
        name = part["model"] if names[part["model"]] == 1 else f"{part['provider']}/{part['model']}"
        made.add([f"  {name}"], part, kind="part")


def _head(name: str) -> Column:
    return Column(name.replace("_", " ").capitalize() if not name.startswith("tag:") else name)


def texts(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The row's values of these names as text."""
    return [NONE if row[name] is None else str(row[name]) for name in names]


def local_time(instant: str, zone: ZoneInfo) -> str:
    """An instant of a report, as the clocks of a zone show it."""
    moment = datetime.fromisoformat(instant)
    with contextlib.suppress(OverflowError):  # before the year 1 or after 9999 there: as the clocks of UTC show it
        moment = moment.astimezone(zone)
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")
