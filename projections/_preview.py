"""One pass over the calls that a reprice covers: what changes by month, model and project, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from keledger.journal import DAY_US, Zone
from keledger.journal.prices import Book

from . import _engine as engine
from ._build import Progress
from ._changes import Change, Keys
from ._engine import Connection
from ._pricing import Pricer

_CARRIED = {
    "project": "c.project",
    "rate_key": "k.rate_key",
    "before_state": "COALESCE(c.repriced_state, c.cost_state)",
    "before_pico": "CASE WHEN c.repriced_state IS NULL THEN c.cost_pico ELSE c.repriced_pico END",
}
"""What is told of a call, as expressions over its line."""

_GROUPS = 7
_FIGURES = 10
"""How many columns of duckdb_preview.sql rows are grouped by, and how many figures of a Change follow."""


PART_CALLS = 1_000_000
"""How many calls are priced between two words of progress; each part costs some ten milliseconds of its own."""

_MONTHS_IN_A_ROW_MAX = 60
"""With more, months without calls are left out: one call of the year 1 would bring thousands."""


@dataclass(frozen=True, slots=True)
class Covered:
    """What a pass found.

    ``changes`` have the keys month, month of UTC, provider, model and project, over calls that count; ``sums`` are by
    writer and state, over all lines, as :func:`~keledger.projections._reprices.result_of` takes them.
    """

    changes: tuple[Change, ...]
    sums: tuple[tuple[str, str, int, int, int, int], ...]


def look(
    connection: Connection,
    pricer: Pricer,
    book: Book,
    condition: str,
    parameters: Sequence[Any],
    *,
    writers: Sequence[str],
    timezone: str,
    accepted: str,
    tell: Progress | None = None,
) -> Covered:
    """Price the calls for which *condition* holds, all of these *writers*, and say what changes.

    *accepted* is over the price ``p``: whether it is taken.  Months are those of *timezone*.  *tell* is told parts done
    and parts in all, which are spans of time: a statement tells nothing before it is over.
    """
    parts = _parts(connection, condition, parameters)
    condition += " AND c.started_us >= ? AND c.started_us < ?"
    whole = [*parameters, parts[0], parts[-1]]
    months, utc_months = (_Months(connection, Zone(name), condition, whole) for name in (timezone, "UTC"))
    carrying = _CARRIED | {
        "month": months.expression,
        "utc_month": utc_months.expression,
        "writer_place": _place_of(writers),
    }
    priced = pricer.prepare(book, condition, whole, carrying=carrying)
    statement = engine.sql("duckdb_preview").format(priced=priced.statement, accepted=accepted)
    changes: list[Change] = []
    sums: dict[tuple[str, str], list[int]] = {}
    for done, (begin_us, end_us) in enumerate(pairwise(parts), start=1):
        for row in connection.execute(statement, [*parameters, begin_us, end_us]).fetchall():
            month, utc_month, key, project, writer, state, counts = row[:_GROUPS]
            figures = list(map(int, row[_GROUPS:]))
            if counts:
                keys: Keys = (months.labels[month], utc_months.labels[utc_month], *priced.models[key], project)
                changes.append(Change(keys, *figures[:_FIGURES]))
            more = [figures[0], *figures[_FIGURES:]]
            held = sums.get((writers[writer], state), [0] * len(more))
            sums[writers[writer], state] = [mine + other for mine, other in zip(held, more, strict=True)]
        if tell is not None:
            tell(done, len(parts) - 1)
    return Covered(tuple(changes), tuple((*keys, *found) for keys, found in sums.items()))  # type: ignore[misc]


def _parts(connection: Connection, condition: str, parameters: Sequence[Any]) -> list[int]:
    """Where to cut the time from the first call to the last, so that a part takes some half second."""
    bounds = f"SELECT COUNT(*), MIN(c.started_us), MAX(c.started_us) FROM usage_line AS c WHERE {condition}"
    ((calls, first_us, last_us),) = connection.execute(bounds, list(parameters)).fetchall()
    if not calls:
        return [0, 0]
    count = min(-(-calls // PART_CALLS), last_us - first_us + 1)
    return [first_us + (last_us + 1 - first_us) * place // count for place in range(count + 1)]


class _Months:
    """The months of a zone in which calls began, and which of them an instant is in, as SQL.

    A chain of comparisons with as many months as there are takes a tenth of what a join with their bounds does.
    """

    def __init__(self, connection: Connection, zone: Zone, condition: str, parameters: Sequence[Any]) -> None:
        ordered = _months_of(connection, zone, condition, parameters)
        self.labels = [month.isoformat()[:7] for month in ordered]
        arms = (f"WHEN c.started_us < {_end_us(zone, month)} THEN {place}" for place, month in enumerate(ordered[:-1]))
        self.expression = f"CASE {' '.join(arms)} ELSE {len(ordered) - 1} END" if len(ordered) > 1 else "0"


def _months_of(connection: Connection, zone: Zone, condition: str, parameters: Sequence[Any]) -> list[date]:
    """The first days of all months from the first call to the last; of those that have calls where that are many."""
    bounds = f"SELECT MIN(c.started_us), MAX(c.started_us) FROM usage_line AS c WHERE {condition}"
    ((first_us, last_us),) = connection.execute(bounds, list(parameters)).fetchall()
    if first_us is None:
        return []
    first, last = zone.day(first_us), zone.day(last_us)
    count = 12 * (last.year - first.year) + last.month - first.month + 1
    if count <= _MONTHS_IN_A_ROW_MAX:
        return [
            date(first.year + (first.month - 1 + more) // 12, (first.month - 1 + more) % 12 + 1, 1)
            for more in range(count)
        ]
    days = (
        f"SELECT DISTINCT c.started_us - (c.started_us + 62135596800000000) % {DAY_US} FROM usage_line AS c "
        f"WHERE {condition}"
    )
    found = {
        zone.day(instant_us).replace(day=1)
        for (day_us,) in connection.execute(days, list(parameters)).fetchall()
        for instant_us in (day_us, day_us + DAY_US - 1)
    }
    return sorted(found)


def _end_us(zone: Zone, month: date) -> int:
    """When a month that is not the last one of all ends in a zone."""
    return zone.start_us(date(month.year + month.month // 12, month.month % 12 + 1, 1))


def _place_of(writers: Sequence[str]) -> str:
    """Which of the writers a line is of, as SQL: a number is quicker to group by than a name."""
    arms = " ".join(f"WHEN {engine.quote(writer)} THEN {place}" for place, writer in enumerate(writers[1:], start=1))
    return f"CASE c.writer {arms} ELSE 0 END" if arms else "0"
