"""What a report over periods shows beside its calls: adjustments, and corrections of closed periods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from keledger.journal import Finding, Home, Zone, pico_to_usd

from ._basis import CURRENT
from ._closings import Closing, month_start
from ._corrections import Books, open_books, plain_books
from ._engine import Connection
from ._loading import Layers
from ._options import ReportOptions, column

CHARGE_CLASS = "Correction"
"""FOCUS's ChargeClass of what corrects a billing period that was closed before."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that counts on one day: beside the calls, or taken over of a closed period."""

    day: date
    values: tuple[str | None, ...]
    """In the columns by which the report splits its rows."""
    adjustments_pico: int = 0
    corrections_pico: int = 0


@dataclass(frozen=True, slots=True)
class Beside:
    """What a report shows beside calls; ``fact`` is the view that has these as they are reported."""

    fact: str
    entries: tuple[Entry, ...]
    corrections: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Sum:
    """A correction in the making."""

    calls: int = 0
    cost_pico: int = 0
    adjustments_pico: int = 0


def beside(
    connection: Connection, home: Home, layers: Layers, options: ReportOptions, taking: Closing | None = None
) -> Beside:
    """What stands beside the calls of a report.  *taking* as for :func:`open_books`.

    A correction counts on the first day of the month that takes it.  Closed periods show what they showed under the
    basis ``current``, so under any other nothing is closed.
    """
    by_current = options.prices == CURRENT
    books = open_books(connection, home, layers, taking) if by_current else plain_books(connection, home)
    entries = list(_adjusted(books, options))
    sums: dict[tuple[str, str], _Sum] = {}
    for entry, period, calls, cost_pico in _corrected(connection, books, options):
        if _is_in(entry.day, options):
            entries.append(entry)
            one = sums.setdefault((period, entry.day.isoformat()[:7]), _Sum())
            one.calls += calls
            one.cost_pico += cost_pico
            one.adjustments_pico += entry.corrections_pico - cost_pico
    corrections = tuple(
        {
            "period": period,
            "taken_in": taken_in,
            "calls": one.calls,
            "cost_usd": pico_to_usd(one.cost_pico),
            "adjustments_usd": pico_to_usd(one.adjustments_pico),
            "charge_class": CHARGE_CLASS,
        }
        for (period, taken_in), one in sorted(sums.items())
        if one.calls or one.adjustments_pico
    )
    return Beside(books.fact, tuple(entries), corrections, books.findings)


def _adjusted(books: Books, options: ReportOptions) -> Iterator[Entry]:
    """Adjustments on their own days."""
    zone = Zone(options.timezone)
    for one in books.reported_adjustments():
        day = zone.day(one.effective_us)
        if one.fits(options.where) and _is_in(day, options):
            yield Entry(day, tuple(map(one.value, options.by)), adjustments_pico=one.pico)


def _corrected(connection: Connection, books: Books, options: ReportOptions) -> Iterator[tuple[Entry, str, int, int]]:
    """Corrections, each with the period that it is of, how many calls it is about, and what of it is their cost."""
    for correction, adjustment, weight in books.correcting_adjustments():
        if adjustment.fits(options.where):
            own = tuple(map(adjustment.value, options.by))
            entry = Entry(month_start(correction.taken_in), own, corrections_pico=weight * adjustment.pico)
            yield entry, correction.closing.period, 0, 0
    if not books.corrections:
        return
    condition, parameters = options.condition(days=False)
    columns = "".join(f"{column(name)}, " for name in options.by)
    rows = connection.execute(
        f"SELECT c.correction, {columns}COUNT(DISTINCT c.id), "
        "COALESCE(SUM(CAST(c.weight AS HUGEINT) * CAST(c.cost_pico AS HUGEINT)), 0) "
        f"FROM correction_call AS c WHERE {condition} GROUP BY {columns}c.correction ORDER BY c.correction",
        parameters,
    ).fetchall()
    for number, *values, calls, pico in rows:
        correction = books.corrections[number]
        entry = Entry(month_start(correction.taken_in), tuple(values), corrections_pico=int(pico))
        yield entry, correction.closing.period, calls, int(pico)


def _is_in(day: date, options: ReportOptions) -> bool:
    return (options.since is None or day >= options.since) and (options.until is None or day <= options.until)
