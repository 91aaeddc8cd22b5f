"""Holds that were lost: money that may have been spent on calls of which the journal says nothing else."""

from __future__ import annotations

import orjson

from keledger.journal import parse_time

from ._engine import Connection


def count_lost(connection: Connection, begun_us: int, ended_us: int) -> int:
    """How many holds of calls that began in ``[begun_us, ended_us)`` were lost, and neither resolved nor followed by an
    event of their call."""
    lost = _hold_ids(connection, "hold.lost") - _hold_ids(connection, "hold.resolved")
    if not lost:
        return 0
    rows = connection.execute(
        "SELECT data FROM other_line WHERE type = 'call.reserved' AND v = 1 AND list_contains(?, CAST(id AS VARCHAR))",
        [sorted(lost)],
    ).fetchall()
    reserved = {data["call_id"]: parse_time(data["started_at"]) for (text,) in rows if (data := orjson.loads(text))}
    of_span = sorted(call_id for call_id, started_us in reserved.items() if begun_us <= started_us < ended_us)
    told = connection.execute(
        "SELECT COUNT(DISTINCT id) FROM call_line WHERE list_contains(?, CAST(id AS VARCHAR))", [of_span]
    ).fetchall()
    return len(of_span) - int(told[0][0])


def _hold_ids(connection: Connection, event_type: str) -> set[str]:
    rows = connection.execute("SELECT data FROM other_line WHERE type = ? AND v = 1", [event_type]).fetchall()
    return {str(orjson.loads(text)["hold_id"]) for (text,) in rows}
