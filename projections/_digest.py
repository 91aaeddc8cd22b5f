"""Digest 1: one number for what the core tables say, whatever brought them about.

SHA-256 over the tables in their order.  A table is its name and a line feed, then its rows by primary key in byte
order; a row is a compact JSON array of strings and nulls in UTF-8 and a line feed.  Integers are in decimal, money in
its one spelling, times in integer microseconds since 1970 UTC, tags as JSON with sorted keys.  ``docs/projections.md``
lists the columns; other columns would make digest 2.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import orjson

from keledger.journal import KeledgerError, pico_to_usd

from . import _engine as engine
from ._basis import CURRENT
from ._engine import Connection
from ._estimates import define_estimates
from ._projection import Projection

_BATCH_ROWS = 10_000

CALL_COLUMNS = {
    "id": "id",
    "started_us": "integer",
    "status": "text",
    "provider": "text",
    "model": "text",
    "response_model": "text",
    "session": "text",
    "prompt": "text",
    "prompt_version": "text",
    "statement": "text",
    "run": "text",
    "client": "text",
    "client_call_id": "text",
    "recorded_usr": "text",
    "recorded_project": "text",
    "recorded_team": "text",
    "recorded_cost_center": "text",
    "tags": "tags",
    "duration_ms": "integer",
    "http_status": "integer",
    "error_type": "text",
    "origin": "text",
    "quality": "text",
    "input_tokens": "integer",
    "output_tokens": "integer",
    "cache_read_input_tokens": "integer",
    "cache_creation_input_tokens": "integer",
    "reasoning_output_tokens": "integer",
    "cost_state": "text",
    "cost_pico": "money",
    "recorded_pico": "money",
    "reported_pico": "money",
}
"""Columns of ``calls`` and how each is written, one row a counted call; the primary key is ``id``."""

CHARGE_COLUMNS = {
    "id": "id",
    "place": "integer",
    "bucket": "text",
    "quantity": "integer",
    "pico_per_million": "money",
    "pico": "money",
}
"""Columns of ``charges``, one row a counted call and line of its cost; the primary key is ``id``, ``place``."""

ESTIMATE_COLUMNS = {
    "id": "id",
    "estimated_us": "integer",
    "provider": "text",
    "model": "text",
    "session": "text",
    "prompt": "text",
    "prompt_version": "text",
    "calls": "integer",
    "method": "text",
    "counted_tokens": "integer",
    "input_p5_tokens": "integer",
    "input_p50_tokens": "integer",
    "input_p95_tokens": "integer",
    "output_p50_tokens": "integer",
    "output_p90_tokens": "integer",
    "output_max_tokens": "integer",
    "cost_state": "text",
    "cost_p50_pico": "money",
    "cost_p90_pico": "money",
    "cost_max_pico": "money",
    "answer": "text",
}
"""Columns of ``estimates``, one row an estimate, without what its calls came to; the primary key is ``id``."""

_EMPTY = ("budgets", "holds")
"""Tables of digest 1 that no event of this release fills."""


def digest(projection: Projection) -> str:
    """Digest 1 of what *projection* holds, in 64 hex digits."""

    def compute(connection: Connection) -> str:
        connection.execute(f"SET temp_directory = {engine.quote(spill)}")
        hashed = hashlib.sha256()
        _add_tables(hashed, connection)
        _add_estimates(hashed, connection)
        for name in _EMPTY:
            hashed.update(f"{name}\n".encode())
        return hashed.hexdigest()

    with projection.scratch_folder() as spill:
        return projection.run(compute, complete=True, spends=True)


def digest_span(projection: Projection, begun_us: int, ended_us: int) -> str:
    """SHA-256 over the tables ``calls`` and ``charges`` of digest 1, of calls that began in a span alone."""
    projection.price_by(CURRENT)

    def compute(connection: Connection) -> str:
        connection.execute(f"SET temp_directory = {engine.quote(spill)}")
        # Below the facts, so that nothing is made of other calls.
        connection.execute("ALTER VIEW call_line RENAME TO whole_call_line")
        connection.execute(
            "CREATE VIEW call_line AS SELECT * FROM whole_call_line "
            f"WHERE started_us >= {begun_us} AND started_us < {ended_us}"
        )
        hashed = hashlib.sha256()
        _add_tables(hashed, connection)
        return hashed.hexdigest()

    with projection.scratch_folder() as spill:
        return projection.run(compute, complete=True, spends=True)


def _add_tables(hashed: Any, connection: Connection) -> None:
    _add_table(hashed, connection, "calls", "call_fact", CALL_COLUMNS, "id")
    _add_table(hashed, connection, "charges", "charge_fact", CHARGE_COLUMNS, "id, place")


def _add_estimates(hashed: Any, connection: Connection) -> None:
    define_estimates(connection)
    _add_table(hashed, connection, "estimates", "estimate_fact", ESTIMATE_COLUMNS, "id")


def _add_table(hashed: Any, connection: Connection, name: str, fact: str, columns: dict[str, str], key: str) -> None:
    """Hash one table.  Raises KeledgerError where its rows do not stand in the order of their key."""
    hashed.update(f"{name}\n".encode())
    kinds = list(columns.values())
    # Texts are taken as they are; only what must be written differently is touched, for there are millions of rows.
    written = [(place, _WRITTEN[kind]) for place, kind in enumerate(kinds) if kind in _WRITTEN]
    selected = (_SELECTED.get(kind, "{}").format(column) for column, kind in columns.items())
    cursor = connection.execute(f"SELECT {', '.join(selected)} FROM {fact} ORDER BY {key}")
    second = len(key.split(", ")) - 1
    above = ("", 0)
    while rows := cursor.fetchmany(_BATCH_ROWS):
        lines = []
        for row in rows:
            shown = list(row)
            for place, write in written:
                if shown[place] is not None:
                    shown[place] = write(shown[place])
            own = (shown[0], row[1] if second else 0)
            if own <= above:
                raise KeledgerError(f"{name} has the key {own} twice or out of order: the digest would mean nothing")
            above = own
            lines.append(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))
        hashed.update(b"".join(lines))


def _tags(value: str) -> str | None:
    tags = orjson.loads(value)
    return orjson.dumps(tags, option=orjson.OPT_SORT_KEYS).decode() if tags else None


_SELECTED = {
    "id": "CAST({} AS VARCHAR)",
    "integer": "CAST({} AS BIGINT)",
    "money": "CAST({} AS HUGEINT)",
    "tags": "TO_JSON({})",
}
"""How a kind is fetched: as what Python takes fastest (a UUID, Decimal or dict costs as much as a whole row)."""

_WRITTEN: dict[str, Callable[[Any], str | None]] = {
    "integer": str,
    "money": functools.lru_cache(maxsize=4096)(pico_to_usd),  # most amounts are one of a few prices
    "tags": _tags,
}
"""How a kind is written where it is not a text already."""
