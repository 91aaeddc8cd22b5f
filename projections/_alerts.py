"""Alerts of budgets: the thresholds that were crossed, as ``alert.raised`` has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from keledger.journal import format_time, own_writers

from ._engine import Connection
from ._projection import Projection

_FIELDS = (
    "name", "budget_id", "threshold_percent", "limit_usd", "spent_usd", "group", "window_from", "window_to", "call_id",
)  # fmt: skip


def list_alerts(projection: Projection) -> list[dict[str, Any]]:
    """All alerts of the home's own budgets, in the order in which they were raised: what ``keledger alerts`` shows.

    Beside what the event says there are its ``id`` and when it was ``raised_at``.
    """
    own = own_writers(projection.home)
    found = projection.run(lambda connection: list(read_alerts(connection)))
    return [
        {name: value for name, value in alert.items() if name != "writer"} for alert in found if alert["writer"] in own
    ]


def read_alerts(connection: Connection) -> Iterator[dict[str, Any]]:
    """Alerts of all writers, in (tick, writer, seq); the first copy of each counts."""
    rows = connection.execute(
        "SELECT id, writer, time_us, data FROM other_line WHERE type = 'alert.raised' AND v = 1 "
        "ORDER BY tick, writer, seq"
    ).fetchall()
    seen = set()
    for event_id, writer, time_us, text in rows:
        data = orjson.loads(text)
        if event_id in seen or not isinstance(data, dict):
            continue
        seen.add(event_id)
        shown = {name: data.get(name) for name in _FIELDS}
        yield {"id": event_id, "raised_at": format_time(time_us or 0), **shown, "writer": writer}
