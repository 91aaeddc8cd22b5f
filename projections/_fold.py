"""The journal up to given positions, folded anew: which lines count there, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from keledger.journal import Home

from . import _engine as engine
from ._engine import Connection
from ._loading import MEMORY, Layers, define_costs, define_lines, find_uncounted
from ._reprices import reprice_lines

_numbers = count()


def fold_within(
    connection: Connection,
    home: Home,
    layers: Layers,
    table: str,
    through: Mapping[str, int],
    spans: Sequence[tuple[int, int]],
) -> None:
    """Make *table*, in the shape of call_fact, of the calls in *spans* by the lines within *through* alone.

    Beside the lines of these spans only those are looked at that decide which of them count, so the cost grows with the
    calls of the spans.  The work is done in a schema of its own, through a second door to the same database.
    """
    bounds = " OR ".join(f"(l.started_us >= {begun_us} AND l.started_us < {ended_us})" for begun_us, ended_us in spans)
    related = f"related_{next(_numbers)}"
    connection.execute(engine.sql("duckdb_related").format(table=related, bounds=bounds, imported=int(layers.imported)))
    if layers.through is not None:
        through = {writer: min(seq, layers.through.get(writer, 0)) for writer, seq in through.items()}
    schema = f"fold_{related}"
    connection.execute(f"CREATE SCHEMA {schema}")
    folding = connection.cursor()
    try:
        folding.execute(f"SET schema = 'memory.{schema}'")
        engine.set_normalizer(folding)
        narrowed = [bounds, f"NOT ({bounds}) AND l.id IN (SELECT r.id FROM {MEMORY}.{related} AS r)"]
        define_lines(folding, layers.prefixes, through=through, narrowed=narrowed)
        define_anew(folding, home)
        folding.execute(f"CREATE OR REPLACE TABLE {MEMORY}.{table} AS SELECT * FROM call_fact AS l WHERE {bounds}")
    finally:
        folding.close()
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.execute(f"DROP TABLE {related}")


def define_anew(connection: Connection, home: Home) -> None:
    """Define uncounted_line, call_line and call_fact by all that the lines say, without what the layers know."""
    reprice_lines(connection, home, "world_rate")
    define_costs(connection, "repriced")
    find_uncounted(connection, "uncounted_line")
    connection.execute(f"CREATE OR REPLACE VIEW call_fact AS {engine.sql('call_fact')}")
