"""The estimates of a journal as tables, for whatever is asked of them."""

from __future__ import annotations

from . import _engine as engine
from ._engine import Connection


def define_estimates(connection: Connection) -> None:
    """Define ``estimate_line``, what was said, and ``estimate_fact``, with what came of it, over the lines as they are
    now."""
    for statement in engine.statements("duckdb_estimate_fact"):
        connection.execute(statement)
