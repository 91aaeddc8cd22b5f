"""Computing calls again by a book: what it would change, and the event that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keledger.journal import Anchor, pico_to_usd
from keledger.journal.prices import PRICER_VERSION, Book
from keledger.journal.usage import NORMALIZER_VERSION

from . import _engine as engine
from ._basis import CURRENT
from ._build import Progress
from ._changes import Change, summed, total
from ._engine import Connection
from ._preview import look
from ._pricing import BY_THIS_RELEASE, Pricer
from ._projection import Projection
from ._reprices import covering, result_of
from ._selector import Selector


@dataclass(frozen=True, slots=True)
class RepriceRequest:
    """Which calls to compute again, and how.

    ``through`` is by writer the last seq that may be covered.  Without ``allow_unpriced`` a call for which the book has
    no price keeps its cost; without ``reported`` a call keeps a reported one.
    """

    selector: Selector
    through: Mapping[str, int]
    allow_unpriced: bool = False
    reported: bool = False


@dataclass(frozen=True, slots=True)
class Recount:
    """What the newer normaliser alone does: how many calls it counts otherwise, and what that adds to their cost."""

    calls: int
    difference_pico: int

    def as_json(self) -> dict[str, Any]:
        """The figures under their names, money as a decimal string in USD."""
        return {"calls": self.calls, "difference_usd": pico_to_usd(self.difference_pico)}


@dataclass(frozen=True, slots=True)
class RepricePreview:
    """What a reprice would do, over the calls that count; nothing is written.

    ``kept_unpriced`` have no price in the book and keep their cost, ``kept_reported`` keep what was reported;
    ``counted_calls`` are all calls of the journal that count, covered or not.  ``covered_lines`` and ``result_sha256``
    are over lines, whether they count or not.
    """

    request: RepriceRequest
    book: str
    total: Change
    months: tuple[Change, ...]
    models: tuple[Change, ...]
    projects: tuple[Change, ...]
    utc_months: tuple[Change, ...]
    recount: Recount
    kept_unpriced: int
    kept_reported: int
    counted_calls: int
    covered_lines: int
    result_sha256: str

    @property
    def changes_most(self) -> bool:
        """Whether more than half of all calls get another cost."""
        return 2 * self.total.changed_calls > self.counted_calls

    def as_data(self) -> dict[str, Any]:
        """The fields of the event but who and why; ``through`` lacks the hashes."""
        return {
            "selector": self.request.selector.as_data(),
            "book": self.book,
            "normalizer": NORMALIZER_VERSION,
            "pricer": PRICER_VERSION,
            "allow_unpriced": self.request.allow_unpriced,
            "reported": self.request.reported,
            "calls": self.covered_lines,
            "changed_calls": self.total.changed_calls,
            "months": [
                {
                    "month": month.keys[0],
                    "calls": month.calls,
                    "changed_calls": month.changed_calls,
                    "newly_priced": month.newly_priced,
                    "newly_unpriced": month.newly_unpriced,
                    "before_usd": pico_to_usd(month.before_pico),
                    "after_usd": pico_to_usd(month.after_pico),
                }
                for month in self.utc_months
            ],
            "result_sha256": self.result_sha256,
        }


def preview_reprice(
    projection: Projection,
    request: RepriceRequest,
    book: Book,
    *,
    timezone: str = "UTC",
    on_progress: Progress | None = None,
) -> RepricePreview:
    """What computing calls again by *book* would change, against their current costs; months are those of *timezone*.

    The book need not be adopted, nor be in the home.  *on_progress* is told parts done and parts in all.
    """
    projection.price_by(CURRENT)
    return projection.run(lambda connection: preview_by(connection, request, book, timezone, on_progress))


def effect_of_book(projection: Projection, book: Book, *, timezone: str = "UTC") -> RepricePreview:
    """What *book* would make of all calls that *projection* holds: their cost now, and by its prices."""
    return preview_reprice(projection, RepriceRequest(Selector(), projection.positions), book, timezone=timezone)


def reprice_data(preview: RepricePreview, through: Anchor) -> dict[str, Any]:
    """What :meth:`~keledger.journal.Ledger.apply_reprice` takes: the preview of a reprice up to an anchor."""
    positions = [{"writer": line.writer, "seq": line.seq, "hash": line.hash} for line in through.lines]
    return {"through": positions, **preview.as_data()}


def preview_by(
    connection: Connection, request: RepriceRequest, book: Book, timezone: str = "UTC", tell: Progress | None = None
) -> RepricePreview:
    """The preview, against the costs that call_line stands for."""
    pricer = Pricer(connection, "preview_rate", lines="call_line")
    condition, parameters = covering(request.selector, request.through, reported=request.reported)
    accepted = "1 = 1" if request.allow_unpriced else "p.state = 'priced'"
    found = look(
        connection,
        pricer,
        book,
        condition,
        parameters,
        writers=list(request.through),
        timezone=timezone,
        accepted=accepted,
        tell=tell,
    )
    covered_lines, digest = result_of(found.sums)
    whole = total(found.changes)
    return RepricePreview(
        request=request,
        book=book.sha256,
        total=whole,
        months=summed(found.changes, lambda keys: keys[:1]),
        models=summed(found.changes, lambda keys: keys[2:4]),
        projects=summed(found.changes, lambda keys: keys[4:]),
        utc_months=summed(found.changes, lambda keys: keys[1:2]),
        recount=_recount(pricer, connection, book, condition, parameters, accepted),
        kept_unpriced=whole.kept_calls,
        kept_reported=0 if request.reported else _reported(connection, request),
        counted_calls=engine.one(connection, "SELECT COUNT(*) FROM call_fact"),
        covered_lines=covered_lines,
        result_sha256=digest,
    )


def _recount(
    pricer: Pricer, connection: Connection, book: Book, condition: str, parameters: list[Any], accepted: str
) -> Recount:
    """Price what was counted anew by its recorded usage, too: the difference is the normaliser's alone."""
    if not engine.one(connection, "SELECT COUNT(*) FROM renormalized"):
        return Recount(0, 0)
    condition += " AND EXISTS (SELECT 1 FROM renormalized AS n WHERE n.writer = c.writer AND n.seq = c.seq)"
    pricer.price(book, "counted_anew", condition, parameters)
    pricer.price(book, "counted_then", condition, parameters, counting=BY_THIS_RELEASE._replace(again=False))
    statement = engine.sql("duckdb_recount").format(accepted=accepted)
    ((calls, difference),) = connection.execute(statement).fetchall()
    return Recount(calls, int(difference))


def _reported(connection: Connection, request: RepriceRequest) -> int:
    """Calls that the selection means and that keep what was reported."""
    condition, parameters = request.selector.condition()
    statement = f"SELECT COUNT(*) FROM call_fact AS c WHERE c.recorded_state = 'reported' AND {condition}"
    return int(engine.one(connection, statement.replace("c.cost_state", "c.recorded_state"), parameters))
