"""Money beside the calls: credits, taxes, fees, differences, as ``charge.adjusted`` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from keledger.journal import Finding, Home, KeledgerError, NotFound, UsageError, format_time, parse_time, usd_to_pico

from ._closings import Through, unread
from ._engine import Connection
from ._projection import Projection

_LISTED_MAX = 10
"""How many an error lists where one was not enough to tell them apart."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One ``charge.adjusted``: it counts whole, with its sign, at ``effective_us``."""

    id: str
    effective_us: int
    pico: int
    writer: str
    seq: int
    data: Mapping[str, Any]
    """The event's data, whole."""

    def lies_within(self, through: Through | None) -> bool:
        """Whether the event does."""
        return through is None or self.seq <= through.get(self.writer, 0)

    def value(self, column: str) -> str | None:
        """What it has in a column of reports; None where it has nothing there, or never can."""
        if column.startswith("tag:"):
            value = (self.data.get("tags") or {}).get(column[4:])
        else:
            value = self.data.get(column) if column in _ATTRIBUTES else None
        return value if isinstance(value, str) else None

    def fits(self, where: Iterable[tuple[str, str]]) -> bool:
        """Whether it has exactly these values, the empty one standing for none."""
        return all((self.value(name) or "") == value for name, value in where)

    def as_json(self) -> dict[str, Any]:
        """As it is listed."""
        shown = {"id": self.id, "effective_at": format_time(self.effective_us)}
        names = ("amount_usd", "category", "provider", *_ATTRIBUTES[1:], "tags", "invoice_id", "reverses")
        return shown | {name: self.data.get(name) for name in (*names, "actor", "reason")}


_ATTRIBUTES = ("provider", "model", "user", "project", "team", "cost_center")


def read_adjustments(connection: Connection, home: Home) -> tuple[list[Adjustment], list[Finding]]:
    """The adjustments that ``other_line`` has, in (tick, writer, seq), and those that cannot be read.

    The first copy of an event counts.
    """
    rows = connection.execute(
        "SELECT id, writer, seq, data FROM other_line WHERE v = 1 AND type = 'charge.adjusted' "
        "ORDER BY tick, writer, seq"
    ).fetchall()
    adjustments: dict[str, Adjustment] = {}
    findings = []
    for event_id, writer, seq, text in rows:
        try:
            data = orjson.loads(text)
            effective_us, pico = parse_time(data["effective_at"]), usd_to_pico(data["amount_usd"])
            adjustments.setdefault(str(event_id), Adjustment(str(event_id), effective_us, pico, writer, seq, {**data}))
        except (KeyError, ValueError, TypeError, AttributeError, KeledgerError) as error:
            findings.append(unread(home, "charge.adjusted", writer, seq, error))
    return list(adjustments.values()), findings


def list_adjustments(projection: Projection) -> list[Adjustment]:
    """All adjustments, in the order in which they were booked."""
    return projection.run(lambda connection: read_adjustments(connection, projection.home))[0]


def find_adjustment(projection: Projection, given: str) -> Adjustment:
    """The adjustment of this id, or the only one whose id begins so.  Raises NotFound or UsageError."""
    found = [one for one in list_adjustments(projection) if given and one.id.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        more = f" and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
        named = ", ".join(one.id for one in found[:_LISTED_MAX]) + more
        raise UsageError(f"{given!r} may be each of {named}: give the whole id of one")
    raise NotFound(f"no adjustment has the id {given!r}, or one that begins so: keledger adjust --list shows them")
