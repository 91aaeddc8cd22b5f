"""What a report of estimates is asked for, checked, and as the pieces of SQL it becomes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from keledger.journal import UsageError, Zone

from . import _engine as engine
from ._options import ReportOptions

ESTIMATE_COLUMNS = ("model", "prompt")
"""By which rows are split where nothing else is asked for."""

OVER = {"day": "daily", "week": "weekly", "month": "monthly"}
"""The periods over which a development is shown, with the reports whose labels they bear."""

_COLUMNS = {
    "user": "usr",
    "basis": "input_basis",
    **{
        name: name
        for name in (
            "provider",
            "model",
            "prompt",
            "prompt_version",
            "method",
            "origin",
            "project",
            "team",
            "cost_center",
            "session",
            "run",
            "answer",
            "outcome",
        )
    },
}
"""What the report may be split by and restricted to, with its name in estimate_fact; beside ``tag:NAME``."""

_TAG = re.compile(r"tag:([a-z][a-z0-9_.-]{0,62})")


@dataclass(frozen=True, slots=True)
class EstimateOptions:
    """What a report of estimates is asked for.  Raises UsageError where something in it is not well-formed.

    *since* and *until* are days in *timezone*, both included, on which estimates were made.  *by* names columns
    (``provider model prompt prompt_version method basis origin user project team cost_center session run answer
    outcome`` or ``tag:NAME``) that rows are split by, ``basis`` being what the input was learned from; *over* a
    period, ``day``, ``week`` or ``month``, by which they are split before that.  *where* are pairs of such a column and
    the exact value it must have, the empty text standing for none.  *basis* is by which prices the calls count, as of
    reports.
    """

    since: date | None = None
    until: date | None = None
    timezone: str = "UTC"
    week_start: str = "mon"
    by: tuple[str, ...] = ESTIMATE_COLUMNS
    over: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    basis: str = "current"

    def __post_init__(self) -> None:
        _ = self.shared  # which checks what it is given
        if self.over is not None and self.over not in OVER:
            raise UsageError(f"estimates cannot be shown over {self.over!r}: use {', '.join(OVER)}")
        if len(set(self.by)) < len(self.by):
            raise UsageError(f"by names a column twice: {', '.join(self.by)}")
        for name in (*self.by, *(name for name, _ in self.where)):
            estimate_column(name)

    @property
    def shared(self) -> ReportOptions:
        """Those options that the reports of calls have as well."""
        return ReportOptions(self.since, self.until, self.timezone, self.week_start, basis=self.basis)

    def condition(self) -> tuple[str, list[Any]]:
        """Which estimates the report is over, as SQL over ``estimate_fact AS e`` and its parameters."""
        zone = Zone(self.timezone)
        parts: list[str] = []
        parameters: list[Any] = []
        if self.since is not None:
            parts.append(f"e.estimated_us >= {zone.start_us(self.since)}")
        if self.until is not None:
            parts.append(f"e.estimated_us < {zone.end_us(self.until)}")
        for name, value in self.where:
            if value:
                parts.append(f"{estimate_column(name)} = ?")
                parameters.append(value)
            else:
                parts.append(f"{estimate_column(name)} IS NULL")
        return " AND ".join(parts) or "1 = 1", parameters


def estimate_column(name: str) -> str:
    """The expression over estimate_fact for a column of the report.  Raises UsageError for any other name."""
    tag = _TAG.fullmatch(name)
    if tag is not None:
        return f"e.tags[{engine.quote(tag[1])}]"
    if name not in _COLUMNS:
        raise UsageError(f"{name!r} is no column of estimates: use {', '.join(sorted(_COLUMNS))} or tag:NAME")
    return f"e.{_COLUMNS[name]}"
