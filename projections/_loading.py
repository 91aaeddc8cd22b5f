"""Staged lines into tables, and how the tables of layers become one.

A line whose hash fits and that no writer of ours can have written (a date that is none, a text where a number
belongs) must not take the report with it: it is searched out, left out, and named in a finding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keledger.journal import Finding

from . import _engine as engine
from ._engine import Connection
from ._staging import Source, Staged

TABLES = {"call_lines": "loaded_line", "other_lines": "other_line"}
"""Tables of a layer, and the views over those of all layers."""

MEMORY = "memory.main"
"""Where the tables of a connection stand that are in no layer."""

UNAPPLIED = "reprice_unapplied"
"""The kind of finding that says that a reprice was left out."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The tables of lines that a connection has, as they are named from any of its schemas."""

    prefixes: tuple[str, ...]
    imported: bool
    """Whether the layers have calls that were imported, so that keys tell which calls count."""
    accounting: bool
    """Whether any line closes or reopens a period, or adjusts charges."""
    through: Mapping[str, int] | None = None
    """The positions within which the connection stands, where it does not stand for all of the journal."""


def load(connection: Connection, prefix: str, staged: Staged) -> list[Finding]:
    """Create ``<prefix>call_lines`` and ``<prefix>other_lines`` from what was staged.

    Returns a finding for every line that cannot be read.
    """
    engine.set_normalizer(connection)
    findings = _load_calls(connection, f"{prefix}call_lines", staged)
    engine.set_files(connection, [staged.others_path])
    connection.execute(f"CREATE TABLE {prefix}other_lines AS {engine.sql('duckdb_load_others')}")
    return findings


def _load_calls(connection: Connection, table: str, staged: Staged) -> list[Finding]:
    empty = staged.folder / "empty.jsonl"
    empty.touch()
    engine.set_files(connection, [source.path for source in staged.sources] or [empty])
    try:
        connection.execute(f"CREATE TABLE {table} AS {engine.sql('duckdb_load_calls')}")
    except engine.UNREADABLE:
        engine.set_files(connection, [empty])
        connection.execute(f"CREATE TABLE {table} AS {engine.sql('duckdb_load_calls')}")
        return [finding for source in staged.sources for finding in _insert(connection, table, source, staged.folder)]
    return []


def _insert(connection: Connection, table: str, source: Source, folder: Path) -> list[Finding]:
    """Insert what can be read of one source, halving it around what cannot."""
    if _inserted(connection, table, source.path) is None:
        return []
    lines = [line + b"\n" for line in source.path.read_bytes().split(b"\n")[:-1]]
    part = folder / "part.jsonl"
    findings = []
    waiting = [lines]
    while waiting:
        lines = waiting.pop()
        part.write_bytes(b"".join(lines))
        problem = _inserted(connection, table, part)
        if problem is not None and len(lines) == 1:
            findings.append(_unreadable(source, lines[0], problem))
        elif problem is not None:
            middle = len(lines) // 2
            waiting += [lines[middle:], lines[:middle]]
    return findings


def _inserted(connection: Connection, table: str, path: Path) -> str | None:
    """Insert a file's lines, all or none; the reason where none."""
    engine.set_files(connection, [path])
    try:
        connection.execute(f"INSERT INTO {table} {engine.sql('duckdb_load_calls')}")
    except engine.UNREADABLE as error:
        return str(error).splitlines()[0]
    return None


def _unreadable(source: Source, line: bytes, problem: str) -> Finding:
    offset = source.chunk.start
    for other in source.chunk.lines():
        if other == line:
            break
        offset += len(other)
    path = str(source.chunk.path)
    cause = re.sub(r'in file "[^"]*",? ?', "", problem)
    message = f"{path} has a call at byte {offset} that cannot be read and is not counted: {cause}"
    return Finding("line_unreadable", path, message, None, offset)


def define_lines(
    connection: Connection,
    prefixes: Sequence[str],
    *,
    through: Mapping[str, int] | None = None,
    narrowed: Sequence[str] = (),
) -> None:
    """Define loaded_line and other_line over the tables with these prefixes, and call_line at the costs as loaded.

    With *through* only over lines up to that seq of each writer; *narrowed* are conditions on lines of calls as ``l``,
    of which one must hold, and no two hold of one line.
    """
    if through is not None:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE within_line AS SELECT UNNEST(CAST($1 AS VARCHAR[])) AS writer, "
            "UNNEST(CAST($2 AS BIGINT[])) AS last_seq",
            [list(through), list(through.values())],
        )
    for table, name in TABLES.items():
        union = " UNION ALL ".join(f"SELECT * FROM {prefix}{table}" for prefix in prefixes)
        if through is not None:
            union = (
                f"SELECT l.* FROM ({union}) AS l "
                "INNER JOIN within_line AS w ON w.writer = l.writer AND l.seq <= w.last_seq"
            )
        if narrowed and name == "loaded_line":
            # Each condition on its own, so that what is far off is not even read.
            union = " UNION ALL ".join(f"SELECT l.* FROM ({union}) AS l WHERE {condition}" for condition in narrowed)
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {union}")
    define_loaded_costs(connection)


def find_uncounted(connection: Connection, table: str) -> None:
    """Create a table of the lines that do not count, over all that :func:`define_lines` named."""
    for statement in engine.statements("duckdb_base"):
        connection.execute(statement)
    connection.execute(f"CREATE TABLE {table} AS {engine.sql('uncounted')}")


def bears_on(connection: Connection, new: str, old: Sequence[str], *, new_voids: int, old_imported: int) -> bool:
    """Whether the lines with prefix *new* may change which lines count, beyond all of them counting.

    Everything here looks for the new lines' ids and keys among the old ones; nothing groups the old ones.
    """
    if new_voids:
        return True
    new_calls = f"{new}call_lines"
    questions = [
        f"SELECT 1 FROM {new_calls} WHERE SUBSTR(origin, 1, 7) = 'import:'",
        f"SELECT 1 FROM {new_calls} GROUP BY id HAVING COUNT(*) > 1",
    ]
    for prefix in old:
        questions.append(f"SELECT 1 FROM {prefix}call_lines SEMI JOIN {new_calls} USING (id)")
        questions.append(
            f"SELECT 1 FROM {prefix}other_lines AS v SEMI JOIN {new_calls} AS c "
            "ON TRY_CAST(v.call_id AS UUID) = c.id WHERE v.type IN ('call.voided', 'void.reverted')"
        )
        if old_imported:
            questions.append(
                f"SELECT 1 FROM (SELECT UNNEST(call_keys) AS call_key FROM {prefix}call_lines "
                "WHERE SUBSTR(origin, 1, 7) = 'import:') SEMI JOIN "
                f"(SELECT UNNEST(call_keys) AS call_key FROM {new_calls}) USING (call_key)"
            )
    return any(connection.execute(f"{question} LIMIT 1").fetchone() is not None for question in questions)


def define_loaded_costs(connection: Connection) -> None:
    """Let call_line stand for the costs that the layers have."""
    connection.execute("CREATE OR REPLACE VIEW call_line AS SELECT * FROM loaded_line")


def define_costs(connection: Connection, costs: str | None) -> None:
    """Let call_line stand for the costs of a table as ``repriced``; for None at those that were recorded."""
    name = "duckdb_costed_lines" if costs else "duckdb_recorded_lines"
    connection.execute(engine.sql(name).replace("{costs}", costs or ""))


def covers_any(connection: Connection, prefix: str, through: Mapping[str, int]) -> bool:
    """Whether any of the calls with this prefix stands where reprices that were read before may cover it."""
    if not through:
        return False
    rows = connection.execute(f"SELECT writer, MIN(seq) FROM {prefix}call_lines GROUP BY writer").fetchall()
    return any(first <= through.get(writer, 0) for writer, first in rows)
