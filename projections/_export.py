"""Taking the ledger elsewhere: counted calls as JSON lines or CSV, or the journal's own lines."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import orjson

from keledger.journal import Chunk, Home, HomeError, format_time, pico_to_usd, scan_journal

from . import _engine as engine
from ._basis import parse_basis
from ._build import Progress
from ._engine import Connection
from ._projection import open_projection
from ._spreadsheet import cell_text
from ._sums import TOKEN_COLUMNS

_BATCH_ROWS = 2_000

_Show = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _money(value: Any) -> str | None:
    return None if value is None else pico_to_usd(int(value))


_COLUMNS: dict[str, tuple[str, _Show]] = {
    "id": ("CAST(c.id AS VARCHAR)", _same),
    "started_at": ("c.started_us", format_time),
    "writer": ("c.writer", _same),
    "sequence": ("c.seq", _same),
    **{
        name: (f"c.{name}", _same)
        for name in (
            "session",
            "prompt",
            "prompt_version",
            "statement",
            "client",
            "client_call_id",
            "provider",
            "model",
            "response_model",
            "status",
            *TOKEN_COLUMNS,
        )
    },
    "cost_usd": ("c.cost_pico", _money),
    "recorded_cost_usd": ("c.recorded_pico", _money),
    "reported_cost_usd": ("c.reported_pico", _money),
    "cost_state": ("c.cost_state", _same),
    "user": ("c.usr", _same),
    "project": ("c.project", _same),
    "team": ("c.team", _same),
    "cost_center": ("c.cost_center", _same),
    "recorded_user": ("c.recorded_usr", _same),
    "recorded_project": ("c.recorded_project", _same),
    "recorded_team": ("c.recorded_team", _same),
    "recorded_cost_center": ("c.recorded_cost_center", _same),
    "tags": ("c.tags", _same),
    **{
        name: (f"c.{name}", _same)
        for name in ("duration_ms", "origin", "quality", "run", "http_status", "error_type", "estimate_id")
    },
}
"""The columns of ``calls``, from call_fact."""

_NUMBERS = frozenset(
    ("sequence", *TOKEN_COLUMNS, "cost_usd", "recorded_cost_usd", "reported_cost_usd", "duration_ms", "http_status")
)
"""Columns whose values are figures: in CSV a negative one stays a number."""


def export_jsonl(
    home: Home,
    out: BinaryIO,
    *,
    events: bool = False,
    basis: str = "current",
    on_progress: Progress | None = None,
) -> int:
    """Write one JSON object a line to *out*; returns how many.

    By default a line is a counted call with the columns of ``calls`` and its ``charges``, in the order of started_at
    and id: what a warehouse or a notebook wants, and what the other export formats will hold.  With *events* it is
    the journal's lines, byte for byte, of all writers in the order of (tick, writer, seq), with nothing left out: what
    an archive or another reader of the journal wants.  *basis* is by which prices, as for reports.

    Raises HomeError where the home cannot be read, or where the cache turned out damaged when rows were written
    already (it is built again by then).
    """
    if events:
        home.check()
        return _write_events(home, out)
    return _export_calls(home, lambda connection: _write_calls(connection, out), basis, on_progress)


def export_csv(home: Home, out: BinaryIO, *, basis: str = "current", on_progress: Progress | None = None) -> int:
    """Write one row a counted call to *out*, below a header; returns how many calls.

    The columns are those of ``calls``, in the order of started_at and id; charges are in JSON lines alone.  The file is
    UTF-8 as RFC 4180 has it, CRLF at the ends of rows.  An absent value is empty, ``tags`` are a JSON object, and texts
    are such that no spreadsheet executes them (``_spreadsheet.py``).  Raises as :func:`export_jsonl` does.
    """
    return _export_calls(home, lambda connection: _write_rows(connection, out), basis, on_progress)


def _export_calls(home: Home, write: Callable[[Connection], int], basis: str, on_progress: Progress | None) -> int:
    prices = parse_basis(basis, "UTC")
    with open_projection(home, on_progress=on_progress) as projection, projection.scratch_folder() as spill:
        projection.price_by(prices)
        projection.query("SELECT 1")  # defines all that is written
        try:
            with engine.noticing_damage():
                projection.connection.execute(f"SET temp_directory = {engine.quote(spill)}")
                return write(projection.connection)
        except engine.CacheDamaged as error:
            projection.refresh(damaged=True)
            raise HomeError(
                f"the projections of {home.path} were damaged ({error}); they have been built again: repeat the export"
            ) from None


def _batches(connection: Connection) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of counted calls, the lines of their cost behind the columns."""
    columns = ", ".join(expression for expression, _ in _COLUMNS.values())
    cursor = connection.execute(
        f"SELECT {columns}, CASE WHEN c.repriced_state IS NULL THEN l.cost_lines END, r.lines "
        "FROM call_fact AS c INNER JOIN call_line AS l ON l.writer = c.writer AND l.seq = c.seq "
        f"LEFT JOIN ({engine.sql('duckdb_repriced_lists')}) AS r ON r.writer = c.writer AND r.seq = c.seq "
        "ORDER BY c.started_us, c.id"
    )
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield rows


def _shown(values: Iterable[Any]) -> dict[str, Any]:
    """A row's values by their columns, as they are written."""
    return {name: show(value) for (name, (_, show)), value in zip(_COLUMNS.items(), values, strict=True)}


def _write_calls(connection: Connection, out: BinaryIO) -> int:
    written = 0
    for rows in _batches(connection):
        out.write(b"".join(_call_line(row) for row in rows))
        written += len(rows)
    return written


def _write_rows(connection: Connection, out: BinaryIO) -> int:
    written = 0
    text = io.StringIO()
    writer = csv.writer(text)  # RFC 4180: commas, doubled quotes, CRLF
    writer.writerow(_COLUMNS)
    for rows in _batches(connection):
        for *values, _, _ in rows:
            writer.writerow(_cell(name, value) for name, value in _shown(values).items())
        out.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
        written += len(rows)
    out.write(text.getvalue().encode())  # the header alone, where there is no call
    return written


def _cell(name: str, value: Any) -> Any:
    if value is None or name in _NUMBERS:
        return value
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return cell_text(text)


def _call_line(row: tuple[Any, ...]) -> bytes:
    *values, recorded, repriced = row
    shown = _shown(values)
    priced = shown["cost_usd"] is not None
    charges = [
        {
            "bucket": line["bucket"],
            "quantity": line["quantity"],
            "usd_per_million": line["usd_per_million"],
            "usd": line["usd"] if priced else None,
        }
        for line in recorded or ()
    ] + [
        {
            "bucket": line["bucket"],
            "quantity": line["quantity"],
            "usd_per_million": _money(line["pico_per_million"]),
            "usd": _money(line["pico"]) if priced else None,
        }
        for line in repriced or ()
    ]
    return orjson.dumps(shown | {"charges": charges}, option=orjson.OPT_APPEND_NEWLINE)


def _write_events(home: Home, out: BinaryIO) -> int:
    chunks: dict[str, list[Chunk]] = {}
    for chunk in scan_journal(home).chunks:
        chunks.setdefault(chunk.writer, []).append(chunk)
    written = 0
    for _, line in heapq.merge(*(_ordered(of_writer) for of_writer in chunks.values())):
        out.write(line)
        written += 1
    return written


def _ordered(chunks: list[Chunk]) -> Iterator[tuple[tuple[int, str, int], bytes]]:
    """A writer's lines with their place in the order of all; a writer's ticks only grow."""
    for chunk in chunks:
        for line in chunk.lines():
            event = orjson.loads(line)
            yield (event["tick"], chunk.writer, event["seq"]), line
