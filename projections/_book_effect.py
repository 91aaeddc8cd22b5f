"""What one price book makes of all calls, against another: what a change of prices does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keledger.journal.prices import Book

from ._basis import CURRENT
from ._calendar import Zone
from ._engine import Connection
from ._projection import Projection
from ._reprice import Change, RepriceRequest, cost_changes, preview_by, sum_preview
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
    projection.price_by(CURRENT)
    request = RepriceRequest(Selector(), projection.positions, allow_unpriced=True)
    return projection.run(lambda connection: _compare(connection, request, old, new))


def _compare(connection: Connection, request: RepriceRequest, old: Book, new: Book) -> BookEffect:
    preview_by(connection, request, old, "UTC", _tell_nobody)
    connection.execute("CREATE OR REPLACE TEMP TABLE preview_before AS SELECT * FROM preview")
    preview = preview_by(connection, request, new, "UTC", _tell_nobody)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE preview AS "
        "SELECT p.* REPLACE (b.after_state AS before_state, b.after_pico AS before_pico) "
        "FROM preview AS p INNER JOIN preview_before AS b ON b.writer = p.writer AND b.seq = p.seq"
    )
    sum_preview(connection, Zone("UTC"))
    models = cost_changes(connection, "p.provider", "p.model")
    return BookEffect(
        total=cost_changes(connection)[0],
        models=tuple(change for change in models if change.changed_calls),
        counted_calls=preview.counted_calls,
        reported_calls=preview.kept_reported,
    )


def _tell_nobody(done: int, total: int) -> None:
    """A progress that nobody looks at: a million calls take a second."""
