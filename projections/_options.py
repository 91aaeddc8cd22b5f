"""What a report is asked for, checked, and as the pieces of SQL it becomes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from keledger.journal import WEEKDAYS, UsageError, Zone, check_zone, first_of_week

from . import _engine as engine
from ._basis import Basis, parse_basis

_COLUMNS = {
    "user": "usr",
    **{
        name: name
        for name in (
            "project",
            "team",
            "cost_center",
            "provider",
            "model",
            "response_model",
            "prompt",
            "session",
            "run",
            "client",
            "origin",
            "status",
            "quality",
        )
    },
}
"""What a report may be broken down by, and restricted to, with its name in call_fact; beside ``tag:NAME``."""

_TAG = re.compile(r"tag:([a-z][a-z0-9_.-]{0,62})")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report is asked for.  Raises UsageError where something in it is not well-formed.

    *since* and *until* are days in *timezone*, both included.  *by* names columns (``user project team cost_center
    provider model response_model prompt session run client origin status quality`` or ``tag:NAME``) that rows are
    split by; *where* are pairs of such a column and the exact value it must have, the empty text standing for none.
    *basis* is ``recorded``, ``current``, ``latest`` or ``known:YYYY-MM-DD``.
    """

    since: date | None = None
    until: date | None = None
    timezone: str = "UTC"
    week_start: str = "mon"
    breakdown: bool = False
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    basis: str = "current"

    def __post_init__(self) -> None:
        check_zone(self.timezone, "timezone")
        if self.week_start not in WEEKDAYS:
            raise UsageError(f"a week cannot start on {self.week_start!r}: use one of {', '.join(WEEKDAYS)}")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UsageError(f"since {self.since} is after until {self.until}: there is no such day")
        if len(set(self.by)) < len(self.by):
            raise UsageError(f"by names a column twice: {', '.join(self.by)}")
        for name in (*self.by, *(name for name, _ in self.where)):
            column(name)
        parse_basis(self.basis, self.timezone)

    @property
    def prices(self) -> Basis:
        """The basis that is asked for."""
        return parse_basis(self.basis, self.timezone)

    def condition(self, *, days: bool = True) -> tuple[str, list[Any]]:
        """Which calls the report is over, as SQL and its parameters; without *days* on whatever day."""
        zone = Zone(self.timezone)
        parts: list[str] = []
        parameters: list[Any] = []
        if days and self.since is not None:
            parts.append(f"c.started_us >= {zone.start_us(self.since)}")
        if days and self.until is not None:
            parts.append(f"c.started_us < {zone.end_us(self.until)}")
        for name, value in self.where:
            if value:
                parts.append(f"{column(name)} = ?")
                parameters.append(value)
            else:
                parts.append(f"{column(name)} IS NULL")
        return " AND ".join(parts) or "1 = 1", parameters


def column(name: str) -> str:
    """The expression over call_fact for a column of reports.  Raises UsageError for any other name."""
    tag = _TAG.fullmatch(name)
    if tag is not None:
        return f"c.tags[{engine.quote(tag[1])}]"
    if name not in _COLUMNS:
        raise UsageError(f"{name!r} is no column of reports: use {', '.join(sorted(_COLUMNS))} or tag:NAME")
    return f"c.{_COLUMNS[name]}"


def period_label(kind: str, day: date, week_start: str) -> str:
    """The name of the period that a day belongs to: the day, the first day of its week, or its month."""
    if kind == "weekly":
        return first_of_week(day, WEEKDAYS.index(week_start)).isoformat()
    return day.isoformat()[:7] if kind == "monthly" else day.isoformat()
