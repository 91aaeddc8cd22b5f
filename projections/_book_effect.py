"""What one price book makes of all calls, against another: what a change of prices does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keledger.journal.prices import Book

from ._basis import CURRENT, Basis
from ._changes import Change
from ._projection import Projection
from ._reprice import RepriceRequest, preview_by
from ._selector import Selector


@dataclass(frozen=True, slots=True)
class BookEffect:
    """What all calls that count would cost by another book: in all, and by model for those with changed calls.

    ``counted_calls`` are all calls, those as well that no book prices: their usage is not known, or a cost was reported
    for them (``reported_calls``).
    """

    total: Change
    models: tuple[Change, ...]
    counted_calls: int
    reported_calls: int

    @property
    def changes_most(self) -> bool:
        """Whether more than half of all calls would cost something else."""
        return 2 * self.total.changed_calls > self.counted_calls

    def as_json(self) -> dict[str, Any]:
        """The figures under their names, money as decimal strings in USD."""
        return {
            "totals": self.total.as_json(),
            "models": [
                {"provider": change.keys[0], "model": change.keys[1], **change.as_json()} for change in self.models
            ],
            "reported_calls": self.reported_calls,
            "counted_calls": self.counted_calls,
        }


def effect_of_change(projection: Projection, old: Book, new: Book) -> BookEffect:
    """What all calls would cost by *new*, against what they would by *old*, whatever they were recorded at."""
    projection.price_by(Basis(f"book {old.sha256}", book=old))
    request = RepriceRequest(Selector(), projection.positions, allow_unpriced=True)
    preview = projection.run(lambda connection: preview_by(connection, request, new))
    projection.price_by(CURRENT)
    return BookEffect(
        total=preview.total,
        models=tuple(change for change in preview.models if change.changed_calls),
        counted_calls=preview.counted_calls,
        reported_calls=preview.kept_reported,
    )
