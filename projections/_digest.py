"""Digest 1: one number for what the core tables say, whatever brought them about.

SHA-256 over the tables in their order.  A table is its name and a line feed, then its rows by primary key in byte
order; a row is a compact JSON array of strings and nulls in UTF-8 and a line feed.  Integers are in decimal, money in
its one spelling, times in integer microseconds since 1970 UTC, tags as JSON with sorted keys.  ``docs/projections.md``
lists the columns; other columns would make digest 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson

from keledger.journal import KeledgerError, pico_to_usd

from . import _engine as engine
from ._engine import Connection
from ._projection import Projection

_BATCH_ROWS = 10_000

_Show = Callable[[Any], str | None]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _money(value: Any) -> str | None:
    return None if value is None else pico_to_usd(int(value))


def _tags(value: dict[str, str] | None) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else None


CALL_COLUMNS: dict[str, _Show] = {
    "id": _text,
    "started_us": _text,
    "status": _text,
    "provider": _text,
    "model": _text,
    "response_model": _text,
    "session": _text,
    "prompt": _text,
    "prompt_version": _text,
    "statement": _text,
    "run": _text,
    "client": _text,
    "client_call_id": _text,
    "recorded_usr": _text,
    "recorded_project": _text,
    "recorded_team": _text,
    "recorded_cost_center": _text,
    "tags": _tags,
    "duration_ms": _text,
    "http_status": _text,
    "error_type": _text,
    "origin": _text,
    "quality": _text,
    "input_tokens": _text,
    "output_tokens": _text,
    "cache_read_input_tokens": _text,
    "cache_creation_input_tokens": _text,
    "reasoning_output_tokens": _text,
    "cost_state": _text,
    "cost_pico": _money,
    "recorded_pico": _money,
    "reported_pico": _money,
}
"""Columns of ``calls``, one row a counted call; the primary key is ``id``."""

CHARGE_COLUMNS: dict[str, _Show] = {
    "id": _text,
    "place": _text,
    "bucket": _text,
    "quantity": _text,
    "pico_per_million": _money,
    "pico": _money,
}
"""Columns of ``charges``, one row a counted call and line of its cost; the primary key is ``id``, ``place``."""

_EMPTY = ("estimates", "budgets", "holds")
"""Tables of digest 1 that no event of this release fills."""


def digest(projection: Projection) -> str:
    """Digest 1 of what *projection* holds, in 64 hex digits."""
    spill = projection.spill_folder()

    def compute(connection: Connection) -> str:
        connection.execute(f"SET temp_directory = {engine.quote(str(spill))}")
        hashed = hashlib.sha256()
        _add_table(hashed, connection, "calls", "call_fact", CALL_COLUMNS, "id")
        _add_table(hashed, connection, "charges", "charge_fact", CHARGE_COLUMNS, "id, place")
        for name in _EMPTY:
            hashed.update(f"{name}\n".encode())
        return hashed.hexdigest()

    return projection.run(compute)


def _add_table(hashed: Any, connection: Connection, name: str, fact: str, columns: dict[str, _Show], key: str) -> None:
    hashed.update(f"{name}\n".encode())
    shows = list(columns.values())
    cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {fact} ORDER BY {key}")
    above: tuple[str, int] | None = None
    while rows := cursor.fetchmany(_BATCH_ROWS):
        for row in rows:
            shown = [show(value) for show, value in zip(shows, row, strict=True)]
            own = (str(shown[0]), int(row[1]) if name == "charges" else 0)
            if above is not None and own <= above:
                raise KeledgerError(f"{name} has the key {own} twice or out of order: the digest would mean nothing")
            above = own
            hashed.update(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))
