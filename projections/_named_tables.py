"""Tables that few statements name, made when one does: ``prices`` of the newest book, and ``repricings``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import orjson

from keledger.journal.prices import ALWAYS_US, Cell, PriceStore, parse_layer

from . import _engine as engine
from ._basis import CURRENT, adopted_books, book_of
from ._engine import Connection
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


def define_named(projection: Projection, connection: Connection, names: Collection[str]) -> None:
    """Define those of the tables that a statement names.

    Raises NotFound or JournalDamaged where the newest book cannot be read.
    """
    if "prices" in names:
        book = book_of(CURRENT, adopted_books(connection, projection.home))
        rows = list(_price_rows(PriceStore(projection.home.prices), book)) if book is not None else []
        fill(connection, "price_text", _PRICES, rows, "VARCHAR")
        connection.execute(engine.sql("duckdb_prices"))
    if "repricings" in names:
        listed = [reprice.as_json() for reprice in read_repricings(connection)]
        rows = [tuple(_text(reprice[name]) for name in _REPRICINGS) for reprice in listed]
        fill(connection, "repricing_text", _REPRICINGS, rows, "VARCHAR")
        connection.execute(engine.sql("duckdb_repricings"))


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
