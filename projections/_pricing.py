"""What calls cost by a price book, for many calls at once: a book's rates as a table, and one join.

The same figures as :meth:`keledger.journal.prices.Book.price`, to the picodollar; a test draws many and compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import orjson

from keledger.journal.prices import BUCKETS, FREE_WITHOUT_PRICE, Book, Rate
from keledger.journal.usage import NORMALIZER_VERSION, normalize

from . import _engine as engine
from ._engine import Connection

_BOUNDS = Rate._fields[:-1]
RATE_COLUMNS = ("rate_id", "rate_key", *_BOUNDS, *BUCKETS)
"""Of ``rate``: whole numbers; a bucket without a price has none."""


class Counting(NamedTuple):
    """Which normaliser counts the usage of calls that an older one counted; without *again* what it made stands."""

    normalizer: int
    again: bool = True


BY_THIS_RELEASE = Counting(NORMALIZER_VERSION)


class Prepared(NamedTuple):
    """A statement that prices calls, and the provider and model of each ``rate_key``."""

    statement: str
    models: tuple[tuple[str, str], ...]


class Pricer:
    """Prices the calls of one connection: makes ``usage_line`` over *lines*, and fills *rates*.

    *rates* is the table that collects the rates of every book that is asked for; a call's ``rate_id`` names the row
    that priced it.
    """

    def __init__(self, connection: Connection, rates: str, *, lines: str = "loaded_line") -> None:
        self._connection = connection
        self._lines = lines
        self._rates_table = rates
        self._ids = count(1)
        self._counting = BY_THIS_RELEASE
        define_usage(connection, lines)
        columns = ", ".join(f"{column} BIGINT" for column in RATE_COLUMNS)
        connection.execute(f"CREATE OR REPLACE TABLE {rates} ({columns})")

    def price(
        self,
        book: Book,
        table: str,
        condition: str = "1 = 1",
        parameters: Sequence[Any] = (),
        *,
        counting: Counting = BY_THIS_RELEASE,
        usage: str = "usage_line",
    ) -> None:
        """Make *table* of what the calls of ``usage_line AS c`` for which *condition* holds cost by *book*.

        Its columns: writer, seq, rate_id, state, pico.  *usage* may be another view of the same shape in place of
        ``usage_line``.
        """
        priced = self.prepare(book, condition, parameters, counting=counting, usage=usage)
        self._connection.execute(f"CREATE OR REPLACE TABLE {table} AS {priced.statement}", list(parameters))

    def prepare(
        self,
        book: Book,
        condition: str,
        parameters: Sequence[Any],
        *,
        counting: Counting = BY_THIS_RELEASE,
        usage: str = "usage_line",
        carrying: Mapping[str, str] | None = None,
    ) -> Prepared:
        """The statement that :meth:`price` runs; it takes *parameters*, and holds until the next one is prepared.

        *carrying* adds columns: by name an expression over ``c``, over ``k`` with its ``rate_key``, or over ``r``, the
        row of ``book_rate`` that prices the call.
        """
        if counting != self._counting:
            define_usage(self._connection, self._lines, counting)
            self._counting = counting
        keys = self._connection.execute(
            f"SELECT DISTINCT c.provider, c.model, c.answered, c.context FROM {usage} AS c WHERE {condition}",
            list(parameters),
        ).fetchall()
        names = ("provider", "model", "answered", "context")
        fill(self._connection, "rate_key", names, keys, "VARCHAR", number="rate_key")
        fill(self._connection, "book_rate", RATE_COLUMNS, list(self._rates(book, keys)), "BIGINT")
        self._connection.execute(f"INSERT INTO {self._rates_table} SELECT * FROM book_rate")
        carrying = carrying or {}
        statement = engine.sql("pricing").format(
            usage=usage,
            condition=condition,
            **formulas(self._used(usage)),
            carrying="".join(f"{expression} AS {name}, " for name, expression in carrying.items()),
            carried="".join(f"p.{name} AS {name}, " for name in carrying),
        )
        return Prepared(statement, tuple((provider, model) for provider, model, _, _ in keys))

    def _used(self, usage: str) -> list[str]:
        """The buckets that any call uses: each of the others would take a twentieth of the time for nothing."""
        greatest = ", ".join(f"MAX(c.{bucket})" for bucket in BUCKETS)
        (row,) = self._connection.execute(f"SELECT {greatest} FROM {usage} AS c").fetchall()
        return [bucket for bucket, most in zip(BUCKETS, row, strict=True) if most]

    def _rates(self, book: Book, keys: Iterable[tuple[str, str, str, str]]) -> Iterator[tuple[int | None, ...]]:
        for key, (provider, model, answered, context) in enumerate(keys):
            priced = book.priced_model(provider, model, answered or None)
            for rate in book.rates(provider, priced, parse_context(context)):
                *bounds, prices = rate
                yield next(self._ids), key, *bounds, *(prices.get(bucket) for bucket in BUCKETS)


def formulas(buckets: Sequence[str]) -> dict[str, str]:
    """What of pricing.sql is over *buckets*: whether one of them lacks its price, and the sum of their costs."""
    missing = [f"(c.{bucket} > 0 AND r.{bucket} IS NULL)" for bucket in buckets if bucket not in FREE_WITHOUT_PRICE]
    products = [
        f"CAST(c.{bucket} AS DECIMAL(19, 0)) * CAST(COALESCE(r.{bucket}, 0) AS DECIMAL(18, 0))" for bucket in buckets
    ]
    return {
        "missing": " OR ".join(missing) or "1 = 0",
        "products": " + ".join(products) or "CAST(0 AS DECIMAL(38, 0))",
    }


def fill(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    kind: str,
    *,
    number: str = "",
) -> None:
    """Make a temporary table of *rows*, all columns of one kind, with their place as a further column *number*.

    One statement: inserting them row by row takes half a millisecond each.
    """
    lists = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in columns]
    selected = [f"UNNEST(CAST(? AS {kind}[])) AS {column}" for column in columns]
    if number:
        selected.append(f"UNNEST(CAST(? AS BIGINT[])) AS {number}")
        lists.append(list(range(len(rows))))
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {', '.join(selected)}", lists)


def define_rates(connection: Connection, rates: str | None) -> None:
    """Let rate stand for a table of rates; None where nothing was priced by any."""
    none = ", ".join(f"CAST(NULL AS BIGINT) AS {column}" for column in RATE_COLUMNS)
    source = f"SELECT * FROM {rates}" if rates else f"SELECT {none} WHERE 1 = 0"
    connection.execute(f"CREATE OR REPLACE VIEW rate AS {source}")


def define_usage(connection: Connection, lines: str = "loaded_line", counting: Counting = BY_THIS_RELEASE) -> None:
    """Define ``usage_line`` over the view *lines*: the usage of calls.

    What an older one counted is counted again, into ``renormalized``; where that cannot be, the recorded usage stands.
    """
    rows = connection.execute(
        "SELECT writer, seq, usage_raw, usage_format, usage, pricing_context FROM loaded_line "
        f"WHERE usage_raw IS NOT NULL AND normalizer < {counting.normalizer}"
    ).fetchall()
    made = [
        (writer, str(seq), *_counted_again(counting, raw, usage_format, recorded, recorded_context))
        for writer, seq, raw, usage_format, recorded, recorded_context in rows
    ]
    fill(connection, "renormalized_text", ("writer", "seq", "usage", "pricing_context"), made, "VARCHAR")
    structure = orjson.dumps(dict.fromkeys(BUCKETS, "BIGINT")).decode()
    connection.execute(
        "CREATE OR REPLACE TABLE renormalized AS SELECT writer, CAST(seq AS BIGINT) AS seq, "
        f"JSON_TRANSFORM(usage, {engine.quote(structure)}) AS usage, pricing_context FROM renormalized_text"
    )
    engine.set_normalizer(connection, counting.normalizer)
    connection.execute(engine.sql("duckdb_usage").replace("{lines}", lines))


def _counted_again(
    counting: Counting, raw: str, usage_format: str | None, recorded: Mapping[str, int | None], context: str | None
) -> tuple[str, str | None]:
    """Usage, as JSON, and pricing context as they are counted; what was recorded where it cannot."""
    given = _object(raw)
    if not counting.again or usage_format is None or given is None:
        return orjson.dumps(recorded).decode(), context
    found = normalize(given, usage_format, version=counting.normalizer)
    if not found.readable:
        return orjson.dumps(recorded).decode(), context
    merged = {**(found.pricing_context or {}), **parse_context(context or "")}
    return orjson.dumps(dict(found.usage)).decode(), orjson.dumps(merged).decode() if merged else None


def parse_context(text: str) -> dict[str, str]:
    """A pricing context as a line of calls has it, as JSON; none for the empty text."""
    return {str(key): str(value) for key, value in (_object(text) or {}).items()}


def _object(text: str) -> dict[str, Any] | None:
    """A JSON object; None for anything else, such as the size that stands in place of a usage that was too large."""
    try:
        value = json.loads(text)  # a count may have more than 64 bits, which orjson takes for a float
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
