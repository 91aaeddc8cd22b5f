"""The reports over periods and sessions: daily, weekly, monthly, sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from keledger.journal import DAY_US, Finding, UsageError, Zone, format_time

from . import _engine as engine
from ._calendar import calendar
from ._options import ReportOptions, column, period_label
from ._projection import Projection
from ._sums import COLUMNS, Sums, order, total

if TYPE_CHECKING:
    from ._beside import Beside
    from ._closings import Closing

SCHEMA_VERSION = 1
"""Of the JSON of reports.  It grows when a name changes its meaning or goes; new names may come without."""

_UTC_DAYS = "SELECT DISTINCT s.slot_us - (s.slot_us + 62135596800000000) % 86400000000 FROM slot AS s"

PERIOD_NAMES = {"daily": "date", "weekly": "week", "monthly": "month"}
"""What a row's period is called."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report: rows, their totals, and what they are to be read with."""

    name: str
    timezone: str
    basis: str
    book: str | None
    position: Mapping[str, int]
    findings: tuple[Finding, ...]
    rows: tuple[dict[str, Any], ...]
    totals: dict[str, Any]
    subject: Mapping[str, str] = field(default_factory=dict)
    """Of what, where it is of one thing: the session, the call, the closing."""
    corrections: tuple[dict[str, Any], ...] | None = None
    """What periods of the report take over of closed ones; None in a report that is not over periods."""

    def as_json(self) -> dict[str, Any]:
        """The report as it is printed: money as decimal strings in USD, times in UTC, the rest integers and texts."""
        return {
            "schema_version": SCHEMA_VERSION,
            "report": self.name,
            **self.subject,
            "timezone": self.timezone,
            "currency": "USD",
            "prices": {"basis": self.basis, "book": self.book},
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "rows": list(self.rows),
            "totals": self.totals,
            **({} if self.corrections is None else {"corrections": list(self.corrections)}),
        }


def make_report(
    projection: Projection,
    name: str,
    options: ReportOptions,
    rows: list[dict[str, Any]],
    totals: Sums,
    **subject: str,
) -> Report:
    """A report over what *projection* holds."""
    return Report(
        name=name,
        timezone=options.timezone,
        basis=options.basis,
        book=projection.book,
        position=projection.positions,
        findings=projection.findings,
        rows=tuple(rows),
        totals=totals.as_json(),
        subject=subject,
    )


def report_daily(projection: Projection, options: ReportOptions | None = None) -> Report:
    """One row a day of the report's zone that has calls, named ``date``.  Raises UsageError."""
    return projection.steadily(lambda: report_periods(projection, "daily", options or ReportOptions()))


def report_weekly(projection: Projection, options: ReportOptions | None = None) -> Report:
    """One row a week that has calls; ``week`` is its first day.  Raises UsageError."""
    return projection.steadily(lambda: report_periods(projection, "weekly", options or ReportOptions()))


def report_monthly(projection: Projection, options: ReportOptions | None = None) -> Report:
    """One row a month that has calls, named ``month``.  Raises UsageError."""
    return projection.steadily(lambda: report_periods(projection, "monthly", options or ReportOptions()))


def report_periods(projection: Projection, name: str, options: ReportOptions, taking: Closing | None = None) -> Report:
    """The report of a name over periods.  *taking* is the closing in whose world *projection* stands, if it does."""
    projection.price_by(options.prices)
    rows, beside = projection.run(lambda connection: _accounted(projection, connection, name, options, taking))
    grouped = _group(rows, options)
    for entry in beside.entries if beside else ():
        keys = (period_label(name, entry.day, options.week_start), *entry.values)
        money = Sums(adjustments_pico=entry.adjustments_pico, corrections_pico=entry.corrections_pico)
        grouped.setdefault(keys, _Group(Sums(), ())).sums.add(money)
    shown = [
        {
            PERIOD_NAMES[name]: keys[0],
            **dict(zip(options.by, keys[1:], strict=True)),
            **group.as_json(options),
        }
        for keys, group in sorted(grouped.items(), key=lambda item: order(item[0]))
    ]
    report = make_report(projection, name, options, shown, total(group.sums for group in grouped.values()))
    if beside is None:
        return replace(report, corrections=())
    findings = tuple(dict.fromkeys((*report.findings, *beside.findings)))
    return replace(report, findings=findings, corrections=beside.corrections)


def _accounted(
    projection: Projection,
    connection: engine.Connection,
    name: str,
    options: ReportOptions,
    taking: Closing | None,
) -> tuple[list[tuple[Any, ...]], Beside | None]:
    """The rows of calls as they are reported, and what stands beside them; None where nothing ever did."""
    if not projection.layers.accounting:
        return _roll_up(connection, name, options, "call_fact"), None
    from ._beside import beside

    found = beside(connection, projection.home, projection.layers, options, taking)
    return _roll_up(connection, name, options, found.fact), found


def _roll_up(connection: engine.Connection, name: str, options: ReportOptions, fact: str) -> list[tuple[Any, ...]]:
    """Sum calls by slots of time, and these by the days of the zone, so that the calls are read once.

    Slots are as wide as divides the days of nearly every zone; where that does not do, they are made again.
    """
    zone = Zone(options.timezone)
    _, parameters = options.condition()
    width_us = zone.usual_slot_us
    while True:
        slots = _statement("slot", options, slot_us=width_us, fact=fact)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE slot AS {slots}", parameters)
        begins = connection.execute(_UTC_DAYS).fetchall()
        days = calendar(zone, (row[0] for row in begins), lambda day: period_label(name, day, options.week_start))
        if days.slot_us % width_us == 0:
            break
        width_us = days.slot_us
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE calendar AS SELECT UNNEST(CAST($1 AS BIGINT[])) AS utc_day_us, "
        "UNNEST(CAST($2 AS BIGINT[])) AS start_us, UNNEST(CAST($3 AS BIGINT[])) AS end_us, "
        "UNNEST(CAST($4 AS VARCHAR[])) AS label",
        [days.utc_days_us, days.starts_us, days.ends_us, days.labels],
    )
    names = [f"s.column_{number}, " for number in range(len(_named_columns(options)))]
    return connection.execute(engine.sql("rollup").format(columns="".join(names))).fetchall()


def report_sessions(projection: Projection, options: ReportOptions | None = None) -> Report:
    """One row a session that has calls in the report's days, in the order of their first; null has those of none.

    Beside the sums: ``started_at`` of its first and of its last call, and ``user``, ``project`` and ``prompt``
    where all calls of the row have the same.  Raises UsageError.
    """
    options = options or ReportOptions()
    if "session" in options.by:
        raise UsageError("sessions has a row for each session already: leave session out of by")
    return projection.steadily(lambda: _report_sessions(projection, options))


def _report_sessions(projection: Projection, options: ReportOptions) -> Report:
    projection.price_by(options.prices)
    _, parameters = options.condition()
    statement = _statement("session_rollup", options)
    rows = projection.run(lambda connection: connection.execute(statement, parameters).fetchall())
    grouped = _group(rows, options)
    shown = []
    for keys, group in sorted(grouped.items(), key=lambda item: (item[1].first_us, *order(item[0]))):
        head = {
            "session": keys[0],
            "started_at": format_time(group.first_us),
            "last_call_at": format_time(group.last_us),
            "user": group.common(0),
            "project": group.common(1),
            "prompt": group.common(2),
        }
        shown.append(head | dict(zip(options.by, keys[1:], strict=True)) | group.as_json(options))
    return make_report(projection, "sessions", options, shown, total(group.sums for group in grouped.values()))


def _named_columns(options: ReportOptions) -> list[str]:
    """The columns that rows are split by, as expressions; with a breakdown provider and model, too."""
    return [column(name) for name in (*options.by, *(("provider", "model") if options.breakdown else ()))]


def _statement(name: str, options: ReportOptions, *, slot_us: int = DAY_US, fact: str = "call_fact") -> str:
    """The statement of a file with the report's columns, cost and condition put in."""
    expressions = _named_columns(options)
    condition, _ = options.condition()
    return engine.sql(name).format(
        slot_us=slot_us,
        fact=fact,
        columns="".join(f"{expression} AS column_{number}, " for number, expression in enumerate(expressions)),
        groups="".join(f"{expression}, " for expression in expressions),
        condition=condition,
    )


class _Group:
    """One row of a report in the making: sums, in all and by model, and what a session shows."""

    __slots__ = ("commons", "first_us", "last_us", "models", "sums")

    def __init__(self, sums: Sums, rest: tuple[Any, ...]) -> None:
        self.sums = sums
        self.models: dict[tuple[str, str], Sums] = {}
        self.first_us, self.last_us, *self.commons = rest or (0, 0)

    def add(self, sums: Sums, rest: tuple[Any, ...]) -> None:
        """Add one more row of a rollup; *rest* is what the rollup of sessions has beside the sums."""
        self.sums.add(sums)
        if rest:
            first_us, last_us, *commons = rest
            self.first_us, self.last_us = min(self.first_us, first_us), max(self.last_us, last_us)
            for at in range(0, len(commons), 3):
                least, greatest, having = self.commons[at : at + 3]
                values = [value for value in (least, greatest, *commons[at : at + 2]) if value is not None]
                both = (min(values), max(values)) if values else (None, None)
                self.commons[at : at + 3] = [*both, having + commons[at + 2]]

    def common(self, number: int) -> str | None:
        """The value that all calls have; None where they differ or some have none."""
        least, greatest, having = self.commons[3 * number : 3 * number + 3]
        return least if least == greatest and having == self.sums.values[0] else None

    def as_json(self, options: ReportOptions) -> dict[str, Any]:
        """The sums and, where asked for, the same by model."""
        shown = self.sums.as_json()
        if options.breakdown:
            shown["models"] = [
                {"provider": provider, "model": model, **sums.as_json(of_calls=True)}
                for (provider, model), sums in sorted(self.models.items())
            ]
        return shown


def _group(rows: list[tuple[Any, ...]], options: ReportOptions) -> dict[tuple[Any, ...], _Group]:
    """The rows of a rollup by period (or session) and named columns."""
    named = 1 + len(options.by)
    sums_at = named + (2 if options.breakdown else 0)
    rest_at = sums_at + len(COLUMNS)
    grouped: dict[tuple[Any, ...], _Group] = {}
    for row in rows:
        keys, sums, rest = row[:named], Sums.of_row(row[sums_at:rest_at]), row[rest_at:]
        group = grouped.get(keys)
        if group is None:
            group = grouped[keys] = _Group(sums, rest)
        else:
            group.add(sums, rest)
        if options.breakdown:
            group.models[row[named:sums_at]] = Sums(sums.values)
    return grouped
