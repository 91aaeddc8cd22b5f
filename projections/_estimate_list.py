"""Single estimates, the newest first, with what came of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keledger.journal import Finding, UsageError, format_time, pico_to_usd

from . import _engine as engine
from ._engine import Connection
from ._estimate_options import EstimateOptions
from ._estimates import define_estimates
from ._projection import Projection
from ._reports import SCHEMA_VERSION

LISTED = 20
"""How many are listed where nothing else is asked for: a screen of them."""

_HEAD = (
    "id", "estimated_at", "origin", "provider", "model", "prompt", "prompt_version", "session", "user", "project",
    "method", "answer", "outcome", "calls", "actual_calls",
)  # fmt: skip
_TOKENS = (
    ("input_tokens", ("p5", "p50", "p95", "actual")),
    ("output_tokens", ("p50", "p90", "max", "actual")),
)
_COST = ("p50", "p90", "max", "actual")


@dataclass(frozen=True, slots=True)
class EstimateList:
    """The newest of the ``estimates`` that were asked for, as they are shown."""

    options: EstimateOptions
    rows: tuple[dict[str, Any], ...]
    estimates: int
    book: str | None
    position: Mapping[str, int]
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """As it is printed: money as decimal strings in USD, times in UTC."""
        return {
            "schema_version": SCHEMA_VERSION,
            "report": "estimate_list",
            "timezone": self.options.timezone,
            "currency": "USD",
            "prices": {"basis": self.options.basis, "book": self.book},
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "rows": list(self.rows),
            "estimates": self.estimates,
        }


def list_estimates(
    projection: Projection, options: EstimateOptions | None = None, *, limit: int | None = None
) -> EstimateList:
    """The newest *limit* estimates (20 without one) of those that *options* mean, not looking at ``by`` and ``over``.

    The actual cost is that of the options' basis.  Raises UsageError.
    """
    options = options or EstimateOptions()
    limit = LISTED if limit is None else limit
    if limit < 1:
        raise UsageError(f"a list of {limit} estimates shows nothing: ask for at least one")
    projection.price_by(options.shared.prices)

    def make() -> EstimateList:
        rows, estimates = projection.run(lambda connection: _read(connection, options, limit))
        return EstimateList(
            options=options,
            rows=tuple(map(_shown, rows)),
            estimates=estimates,
            book=projection.book,
            position=projection.positions,
            findings=projection.findings,
        )

    return projection.steadily(make)


def _read(connection: Connection, options: EstimateOptions, limit: int) -> tuple[list[tuple[Any, ...]], int]:
    define_estimates(connection)
    condition, parameters = options.condition()
    statement = engine.sql("duckdb_estimate_list").format(condition=condition, limit=limit)
    rows = connection.execute(statement, parameters).fetchall()
    counted = f"SELECT COUNT(*) FROM estimate_fact AS e WHERE {condition}"
    return rows, engine.one(connection, counted, parameters)


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    values = iter(row)
    shown: dict[str, Any] = {name: next(values) for name in _HEAD}
    shown["id"], shown["estimated_at"] = str(shown["id"]), format_time(shown["estimated_at"])
    for name, parts in _TOKENS:
        shown[name] = {part: next(values) for part in parts}
    shown["cost_usd"] = {part: _usd(next(values)) for part in _COST}
    return shown


def _usd(pico: int | None) -> str | None:
    return None if pico is None else pico_to_usd(int(pico))
