"""What the calls of budgets' windows cost after reprices, which budgets themselves do not follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keledger.journal.budgets import Scope, Standing

from . import _engine as engine
from ._basis import CURRENT
from ._engine import Connection
from ._projection import Projection

_COLUMNS = {"user": "usr"}
"""Columns of budgets that call_fact has under another name; all others have their own, and tags are in a map."""


def repriced_differences(projection: Projection, standings: Sequence[Standing]) -> list[int]:
    """By how many picodollars the calls of each window cost more at ``current`` prices than were recorded.

    An unpriced call that a reprice priced adds its whole cost: recorded was none.
    """
    projection.price_by(CURRENT)
    return projection.run(lambda connection: _differences(connection, standings))


def _differences(connection: Connection, standings: Sequence[Standing]) -> list[int]:
    if (
        not standings
        or connection.execute("SELECT 1 FROM call_line WHERE repriced_state IS NOT NULL LIMIT 1").fetchone() is None
    ):
        return [0] * len(standings)
    found: dict[tuple[Scope, int, int], dict[tuple[str | None, ...], int]] = {}
    differences = []
    for each in standings:
        scope, window = each.summed.scope, each.window
        span = (scope, window.start_us, window.end_us)
        if span not in found:
            found[span] = _by_group(connection, each)
        values = tuple(pair.get("value") for pair in each.summed.group(each.key[1]))
        differences.append(found[span].get(values, 0))
    return differences


def _by_group(connection: Connection, each: Standing) -> dict[tuple[str | None, ...], int]:
    """The difference of every group that a scope has in a window, by its values."""
    scope, window = each.summed.scope, each.window
    conditions, parameters = ["c.repriced_state IS NOT NULL"], list[Any]()
    conditions.append(f"c.started_us >= {window.start_us} AND c.started_us < {window.end_us}")
    for condition in scope.where:
        if condition.each:
            continue
        if condition.value is None:
            conditions.append(f"{_column(condition.column)} IS NULL")
        else:
            conditions.append(f"{_column(condition.column)} = ?")
            parameters.append(condition.value)
    groups = [_column(column) for column in each.summed.columns]
    rows = connection.execute(
        f"SELECT {_listed([*groups, 'SUM(COALESCE(c.cost_pico, 0) - COALESCE(c.recorded_pico, 0))'])} "
        f"FROM call_fact AS c WHERE {' AND '.join(conditions)}" + (f" GROUP BY {_listed(groups)}" if groups else ""),
        parameters,
    ).fetchall()
    return {tuple(values): int(difference or 0) for *values, difference in rows}


def _column(name: str) -> str:
    if name.startswith("tag:"):
        return f"c.tags[{engine.quote(name[4:])}]"
    return f"c.{_COLUMNS.get(name, name)}"


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
