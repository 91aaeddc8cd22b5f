"""Statements that a person wrote, run where they can read the tables and nothing else.

Three fences stand one behind the other: DuckDB's own parser must call it one SELECT; every table and table function
in the parsed statement must be on a list; and the connection has no way to a file, a setting or an extension.  The
second keeps from view what the third cannot hide (paths of attached files, DuckDB's settings).
"""

from __future__ import annotations

import base64
import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from keledger.journal import Chunk, KeledgerError, Position, UsageError, scan_journal

from . import _engine as engine
from ._basis import Basis, parse_basis
from ._engine import Connection, duckdb
from ._named_tables import define_named
from ._projection import Projection
from ._staging import copy_range

COSTED_TABLES = ("calls", "charges", "daily", "sessions")
"""What costs stand in: a statement may also read them by the name of a basis, as ``latest.calls``."""

TABLES = (
    *COSTED_TABLES, "events", "uncounted", "estimates", "prices", "repricings", "budgets", "budget_windows", "holds",
    "alerts",
)  # fmt: skip
"""What a statement may read."""

_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
"""Table functions that make rows of their arguments.  All others read files, settings or the catalog."""

_FUNCTIONS_REFUSED = frozenset({"current_setting", "getenv", "getvariable", "write_log"})
"""Functions that tell of the machine instead of the journal."""

_REFUSALS = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, duckdb.PermissionException)
"""DuckDB's families of errors that a statement is to blame for, not a file."""

_INTEGER_EXACT_MAX = 2**53 - 1
"""Larger integers are shown as texts: many readers of JSON keep them as doubles."""

_UTC_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class SqlResult:
    """Columns in order, and rows by their names; see :func:`run_sql` for how values are shown."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """``{"columns": […], "rows": [{…}]}``."""
        return {"columns": list(self.columns), "rows": list(self.rows)}


RESULT_ROWS_MAX = 1_000_000
"""Rows of one answer: each takes Python some hundred bytes, and whoever wants more wants a file."""

STUCK_S = 2.0
"""How long after the interrupt a statement is given: DuckDB looks for one between the parts of its work."""


def run_sql(
    projection: Projection,
    statement: str,
    *,
    basis: str = "current",
    timeout_s: float = 60.0,
    memory_limit: str = "1GB",
    on_stuck: Callable[[], None] | None = None,
) -> SqlResult:
    """Run one SELECT over the :data:`TABLES`, confined.

    Costs are those of *basis*; ``recorded.calls``, ``latest.daily``, ``"known:2026-10-01".charges`` are the tables at
    another one, whose days are those of UTC.

    Decimals, and integers beyond 2^53, are shown as texts; times with a zone in UTC; bytes in base64; JSON as what
    it is; what is not a number as null.  Columns of one name are told apart by a suffix.

    Raises UsageError where the statement is not accepted or DuckDB refuses it, KeledgerError where it takes more than
    *timeout_s* or *memory_limit*, or has more than RESULT_ROWS_MAX rows.  A single function that runs for long is not
    interrupted by DuckDB: *on_stuck* is then called in a thread, for whoever can end the process.
    """
    projection.price_by(parse_basis(basis, "UTC"))
    parsed = _Parsed(projection.connection, statement)

    def execute(connection: Connection) -> SqlResult:
        with _tables(projection, connection, parsed) as folder:
            engine.confine(connection, memory_limit=memory_limit, folder=folder)
            return _execute(connection, parsed, timeout_s, memory_limit, on_stuck)

    try:
        return projection.run(execute, complete=True, spends=True)
    except engine.CacheDamaged as error:
        raise KeledgerError(f"DuckDB failed: {error}") from None


class _Parsed:
    """A statement that was looked at and may be run.  Raises UsageError for any other."""

    def __init__(self, connection: Connection, statement: str) -> None:
        if "\0" in statement:
            raise UsageError("this is no SQL: there is a NUL in it")
        try:
            parts = [(part.query, part.type.name) for part in connection.extract_statements(statement)]
        except Exception as error:  # noqa: BLE001 - for some texts DuckDB's parser raises what it likes
            raise UsageError(f"this is no SQL: {engine.first_line(error)}") from None
        if len(parts) != 1:
            raise UsageError(f"one statement is run at a time, these are {len(parts)}")
        ((text, kind),) = parts
        if kind != "SELECT":
            raise UsageError(f"only SELECT is run here, this is {kind}")
        self.text: str = text.strip().rstrip(";").rstrip()
        tree = orjson.loads(engine.one(connection, "SELECT json_serialize_sql($1::VARCHAR)", [self.text]))
        if tree["error"]:
            raise UsageError(f"this statement cannot be checked and is not run: {tree['error_message']}")
        self.tables: set[str] = set()
        self.bases: set[Basis] = set()
        self._aliases = {"events"}
        self._columns: set[str] = set()
        self._star = False
        self._walk(tree["statements"], frozenset())

    @property
    def reads_data(self) -> bool:
        """Whether the statement may read the data of events: names it, every column, or a whole row."""
        return "events" in self.tables and (self._star or bool(self._columns & {"data", *self._aliases}))

    def _walk(self, node: Any, known: frozenset[str]) -> None:
        """Look at every part; *known* are the names that WITH has given up to there."""
        if isinstance(node, list):
            for part in node:
                self._walk(part, known)
        elif isinstance(node, dict):
            for entry in (node.get("cte_map") or {}).get("map", ()):
                self._walk(entry["value"], known)
                known |= {entry["key"].lower()}
            self._look_at(node, known)
            for name, part in node.items():
                if name == "right" and node.get("type") == "RECURSIVE_CTE_NODE":
                    self._walk(part, known | {node["cte_name"].lower()})
                elif name != "cte_map":
                    self._walk(part, known)

    def _look_at(self, node: dict[str, Any], known: frozenset[str]) -> None:
        kind = node.get("type")
        if kind == "BASE_TABLE":
            self._table(node, known)
        elif kind == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", "")).lower()
            if name not in _TABLE_FUNCTIONS:
                raise UsageError(f"{name}() is not allowed here: read {', '.join(TABLES)}")
        elif kind == "SHOW_REF":
            if node.get("table_name"):
                raise UsageError(f"the tables are {', '.join(TABLES)}; DESCRIBE shows the columns of one")
            self._star = True
        elif kind == "COLUMN_REF":
            self._columns.update(name.lower() for name in node["column_names"])
        elif kind == "STAR":
            self._star = True
        function = node.get("function_name")
        if isinstance(function, str) and function.lower() in _FUNCTIONS_REFUSED:
            raise UsageError(f"{function}() is not allowed here")

    def _table(self, node: dict[str, Any], known: frozenset[str]) -> None:
        name = node["table_name"].lower()
        place = (node.get("catalog_name") or node.get("schema_name") or "").lower()
        if place in ("", "main") and name in TABLES:
            self.tables.add(name)
            if name == "events":
                self._aliases.add((node.get("alias") or name).lower())
        elif place and name in COSTED_TABLES and not node.get("catalog_name"):
            self.bases.add(parse_basis(place, "UTC"))
        elif place or name not in known:
            raise UsageError(f"there is no table {node['table_name']!r}: the tables are {', '.join(TABLES)}")


@contextlib.contextmanager
def _tables(projection: Projection, connection: Connection, parsed: _Parsed) -> Iterator[Path | None]:
    """Define the tables that people see.  Yields the folder that must stay readable, if any.

    The layers keep no second copy of the journal's lines.  A statement that names the data of events gets a view that
    parses them, over copies that are private to this statement: the journal's own files are put out of its reach.
    """
    for definition in engine.statements("duckdb_views"):
        connection.execute(definition)
    define_named(projection, connection, parsed.tables)
    for basis in sorted(parsed.bases, key=lambda basis: basis.name):
        projection.define_schema(basis)
    if not parsed.reads_data:
        yield None
        return
    with projection.scratch_folder() as name:
        folder = Path(name)
        try:
            paths = _copies(projection, folder)
        except OSError as error:
            raise KeledgerError(
                f"the journal could not be copied to {folder} ({error.strerror}): make room, or do without data"
            ) from error
        engine.set_files(connection, paths)
        for definition in engine.statements("duckdb_events"):
            connection.execute(definition)
        yield folder


def _copies(projection: Projection, folder: Path) -> list[Path]:
    """The lines that *projection* holds, copied to files."""
    paths = [folder / "empty.jsonl"]
    paths[0].touch()
    for number, chunk in enumerate(_chunks(projection)):
        paths.append(folder / f"{number}.jsonl")
        copy_range(chunk, paths[-1])
    return paths


def _chunks(projection: Projection) -> Iterator[Chunk]:
    """Every hash of the journal is checked again, and what *projection* does not hold yet is left out."""
    for chunk in scan_journal(projection.home).chunks:
        end = projection.cut.get(chunk.writer)
        if end is not None and (chunk.segment, chunk.start) < (end.segment, end.offset_bytes):
            yield _before(chunk, end)


def _before(chunk: Chunk, end: Position) -> Chunk:
    if chunk.segment < end.segment or chunk.end <= end.offset_bytes:
        return chunk
    return Chunk(chunk.writer, chunk.segment, chunk.path, chunk.start, end.offset_bytes, False)


def _execute(
    connection: Connection,
    parsed: _Parsed,
    timeout_s: float,
    memory_limit: str,
    on_stuck: Callable[[], None] | None,
) -> SqlResult:
    ended = threading.Event()

    def stop() -> None:
        if ended.wait(timeout_s):
            return
        connection.interrupt()
        if on_stuck is not None and not ended.wait(STUCK_S):
            on_stuck()

    watch = threading.Thread(target=stop, daemon=True)
    watch.start()
    try:
        # The statement's own order holds: a confined connection preserves the order of what it selects from.
        source = f"FROM ({parsed.text}\n) AS result"
        described = connection.execute(f"DESCRIBE SELECT * {source}").fetchall()
        shown = ", ".join(_shown(number, row[1]) for number, row in enumerate(described, 1))
        rows = connection.execute(f"SELECT {shown} {source}").fetchmany(RESULT_ROWS_MAX + 1)
    except duckdb.InterruptException:
        raise KeledgerError(
            f"the statement was stopped after {timeout_s:g} s: ask for less, or allow it more time"
        ) from None
    except duckdb.OutOfMemoryException:
        raise KeledgerError(
            f"the statement needs more memory than {memory_limit}: ask for less, or allow it more"
        ) from None
    except _REFUSALS as error:
        raise UsageError(f"DuckDB refuses the statement: {engine.first_line(error)}") from None
    finally:
        ended.set()
        watch.join()
    if len(rows) > RESULT_ROWS_MAX:
        raise KeledgerError(f"the answer has more than {RESULT_ROWS_MAX:,} rows: ask for less, or use keledger export")
    names = _distinct([row[0] for row in described])
    shows = [_json if row[1] == "JSON" else _value for row in described]
    return SqlResult(
        tuple(names),
        tuple({name: show(value) for name, show, value in zip(names, shows, row, strict=True)} for row in rows),
    )


def _shown(number: int, kind: str) -> str:
    """A result column; what Python cannot take without further packages goes through text."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"STRFTIME(#{number} AT TIME ZONE 'UTC', {engine.quote(_UTC_TIME)})"
    return f"CAST(#{number} AS VARCHAR)" if "WITH TIME ZONE" in kind else f"#{number}"


def _distinct(names: list[str]) -> list[str]:
    """The names, later ones of the same name with a number behind."""
    taken: list[str] = []
    for name in names:
        chosen, number = name, 1
        while chosen in taken:
            number += 1
            chosen = f"{name}_{number}"
        taken.append(chosen)
    return taken


def _json(value: str | None) -> Any:
    """JSON as what it is; as its text where Python has no such number, or would lose digits of it."""
    if value is None:
        return None
    try:
        parsed = orjson.loads(value)
    except ValueError:
        return value
    return value if isinstance(parsed, float) and "." not in value and "e" not in value.lower() else parsed


def _value(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _INTEGER_EXACT_MAX else str(value)
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return f"{value:f}"
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case UUID() | timedelta():
            return str(value)
        case dict():
            return {_key(key): _value(part) for key, part in value.items()}
        case list() | tuple():
            return [_value(part) for part in value]
        case _:
            return str(value)


def _key(key: Any) -> str:
    shown = _value(key)
    return shown if isinstance(shown, str) else orjson.dumps(shown).decode()
