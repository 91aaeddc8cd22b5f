"""The price books that a home has adopted: which, when, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from keledger.journal import own_writers
from keledger.journal.prices import LayerReference

from ._projection import Projection


@dataclass(frozen=True, slots=True)
class PriceAdoption:
    """One ``prices.adopted`` of the home's own writers."""

    id: str
    time_us: int
    """When it became known, in microseconds since 1970 UTC: by the clock of who adopted it."""
    book: str
    layers: tuple[LayerReference, ...]
    actor: str
    reason: str


def price_adoptions(projection: Projection) -> tuple[PriceAdoption, ...]:
    """What the home's own writers have adopted, the first one first.  The last one prices new calls."""
    own = own_writers(projection.home)
    rows = projection.run(
        lambda connection: connection.execute(
            "SELECT writer, id, time_us, data FROM other_line WHERE type = 'prices.adopted' AND v = 1 "
            "ORDER BY tick, writer, seq"
        ).fetchall()
    )
    return tuple(
        _adoption(event_id, time_us, orjson.loads(data)) for writer, event_id, time_us, data in rows if writer in own
    )


def _adoption(event_id: object, time_us: int | None, data: dict[str, object]) -> PriceAdoption:
    layers = data["layers"]
    assert isinstance(layers, list)
    return PriceAdoption(
        str(event_id),
        time_us or 0,
        str(data["book"]),
        tuple(LayerReference(each["kind"], each["name"], each["sha256"], each["date"]) for each in layers),
        str(data["actor"]),
        str(data["reason"]),
    )
