"""Tables that few statements name, made when one does: of estimates, prices, repricings and budgets.

What budgets have counted is the guard's own fold, loaded and not made twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from keledger.journal import Ledger, now_us
from keledger.journal.budgets import Budgets, budget_row
from keledger.journal.prices import ALWAYS_US, Cell, PriceStore, parse_layer

from . import _engine as engine
from ._alerts import read_alerts
from ._basis import CURRENT, adopted_books, book_of
from ._engine import Connection
from ._estimates import define_estimates
from ._pricing import fill
from ._projection import Projection
from ._repricings import read_repricings

_PRICES = (
    "strength", "layer", "kind", "provider", "model", "context", "bucket", "usd_per_million", "valid_from_us",
    "valid_to_us", "minute_from", "minute_to", "weekdays", "input_over", "source", "date", "carried_from",
)  # fmt: skip
_REPRICINGS = (
    "id", "applied_at", "writer", "book", "selector", "changed_calls", "before_usd", "after_usd", "reverted_at",
    "actor", "reason",
)  # fmt: skip
_BUDGETS = (
    "name", "id", "action", "limit_usd", "set_limit_usd", "period", "timezone", "week_start", '"where"',
    "warn_percent", "hold", "on_lost", "unpriced", "unpriced_usd_per_million",
)  # fmt: skip
_BUDGET_WINDOWS = (
    "name", "budget_id", '"group"', "window_from", "window_to", "limit_usd", "spent_usd", "calls_usd", "lost_usd",
    "resolved_usd", "unpriced_usd", "adjustments_usd", "open_usd", "left_usd", "calls", "unpriced_calls",
    "unknown_calls", "lost_holds", "open_holds",
)  # fmt: skip
_HOLDS = (
    "hold_id", "call_id", "state", "started_at", "provider", "model", "amount_usd", "resolved_usd", "budgets", "cause",
    "pid", "writer",
)  # fmt: skip
_ALERTS = (
    "id", "raised_at", "name", "budget_id", "threshold_percent", "limit_usd", "spent_usd", '"group"', "window_from",
    "window_to", "call_id", "writer",
)  # fmt: skip


def define_named(projection: Projection, connection: Connection, names: Collection[str]) -> None:
    """Define those of the tables that a statement names.

    Raises NotFound or JournalDamaged where the newest book cannot be read, and KeledgerError where the guard cannot,
    if it is asked for.
    """
    if "prices" in names:
        book = book_of(CURRENT, adopted_books(connection, projection.home))
        rows = list(_price_rows(PriceStore(projection.home.prices), book)) if book is not None else []
        fill(connection, "price_text", _PRICES, rows, "VARCHAR")
        connection.execute(engine.sql("duckdb_prices"))
    if "repricings" in names:
        listed = [reprice.as_json() for reprice in read_repricings(connection)]
        _define(connection, "repricing_text", _REPRICINGS, listed, "duckdb_repricings")
    if "estimates" in names:
        define_estimates(connection)
        connection.execute(engine.sql("duckdb_estimates"))
    if "alerts" in names:
        _define(connection, "alert_text", _ALERTS, read_alerts(connection), "duckdb_alerts")
    if not {"budgets", "budget_windows", "holds"}.isdisjoint(names):
        _define_of_guard(projection, connection, names)


def _define_of_guard(projection: Projection, connection: Connection, names: Collection[str]) -> None:
    """What the guard knows, brought up to the journal's end.  Nothing is made for a home that does not exist."""
    with contextlib.ExitStack() as stack:
        budgets: Budgets | None = None
        if projection.home.path.exists():
            budgets = stack.enter_context(Ledger.open(projection.home.path)).budgets
        if "budgets" in names:
            rows = [budget_row(budget, now_us()) for budget in budgets.list()] if budgets is not None else []
            _define(connection, "budget_text", _BUDGETS, rows, "duckdb_budgets")
        if "budget_windows" in names:
            windows = budgets.windows() if budgets is not None else ()
            _define(connection, "budget_window_text", _BUDGET_WINDOWS, windows, "duckdb_budget_windows")
        if "holds" in names:
            holds = budgets.holds(find_lost=False) if budgets is not None else ()
            _define(connection, "hold_text", _HOLDS, holds, "duckdb_holds")


def _define(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], view: str
) -> None:
    """A table of texts, and the view over it that people see."""
    texts = [tuple(_text(row.get(name.strip('"'))) for name in columns) for row in rows]
    fill(connection, table, columns, texts, "VARCHAR")
    connection.execute(engine.sql(view))


def _price_rows(store: PriceStore, book: str) -> Iterator[tuple[str | None, ...]]:
    """One row a price of a book: of every layer, the strongest first."""
    for strength, reference in enumerate(store.load_manifest(book).layers, start=1):
        _, cells = parse_layer(store.read(reference.sha256))
        for cell in cells:
            for bucket, price in cell.usd_per_million.items():
                yield (
                    str(strength),
                    reference.name,
                    reference.kind,
                    cell.provider,
                    cell.model,
                    cell.context,
                    bucket,
                    price,
                    *_conditions(cell),
                    cell.source,
                    cell.date or reference.date,
                    cell.carried_from,
                )


def _conditions(cell: Cell) -> tuple[str | None, ...]:
    return (
        None if cell.valid_from_us == -ALWAYS_US else str(cell.valid_from_us),
        None if cell.valid_to_us == ALWAYS_US else str(cell.valid_to_us),
        str(cell.minute_from),
        str(cell.minute_to),
        cell.weekdays,
        None if cell.input_over < 0 else str(cell.input_over),
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
