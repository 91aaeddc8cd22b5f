"""Computing calls again by a book: what it would change, and the event that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from keledger.journal import Anchor, pico_to_usd
from keledger.journal.prices import PRICER_VERSION, Book
from keledger.journal.usage import NORMALIZER_VERSION

from . import _engine as engine
from ._basis import CURRENT
from ._build import Progress
from ._calendar import Zone
from ._engine import Connection
from ._pricing import Pricer, fill
from ._projection import Projection
from ._reprices import Reprice, price_covered, result_sha256
from ._selector import Selector
from ._sums import order

_STEPS = 3
"""What progress is told of: pricing, hashing and comparing take the time; the sums by month are made in no time."""


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
class Change:
    """What changes for some of the calls: how many, and their cost in picodollars before and after.

    ``changed_calls`` get another cost or state; ``before_costed`` and ``after_costed`` are how many have a cost at all.
    """

    keys: tuple[str | None, ...]
    calls: int
    changed_calls: int
    newly_priced: int
    newly_unpriced: int
    before_costed: int
    after_costed: int
    before_pico: int
    after_pico: int

    @property
    def difference_pico(self) -> int:
        """What is added to the cost; negative where it falls."""
        return self.after_pico - self.before_pico

    def as_json(self) -> dict[str, Any]:
        """The figures under their names, money as decimal strings in USD."""
        return {
            "calls": self.calls,
            "changed_calls": self.changed_calls,
            "newly_priced": self.newly_priced,
            "newly_unpriced": self.newly_unpriced,
            "before_usd": pico_to_usd(self.before_pico),
            "after_usd": pico_to_usd(self.after_pico),
            "difference_usd": pico_to_usd(self.difference_pico),
        }


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

    The book need not be adopted, nor be in the home.  *on_progress* is told steps done and steps in all.
    """
    projection.price_by(CURRENT)
    tell = on_progress or (lambda done, total: None)
    return projection.run(lambda connection: preview_by(connection, request, book, timezone, tell))


def effect_of_book(projection: Projection, book: Book, *, timezone: str = "UTC") -> RepricePreview:
    """What *book* would make of all calls that *projection* holds: their cost now, and by its prices."""
    return preview_reprice(projection, RepriceRequest(Selector(), projection.positions), book, timezone=timezone)


def reprice_data(preview: RepricePreview, through: Anchor) -> dict[str, Any]:
    """What :meth:`~keledger.journal.Ledger.apply_reprice` takes: the preview of a reprice up to an anchor."""
    positions = [{"writer": line.writer, "seq": line.seq, "hash": line.hash} for line in through.lines]
    return {"through": positions, **preview.as_data()}


def preview_by(
    connection: Connection, request: RepriceRequest, book: Book, timezone: str, tell: Progress
) -> RepricePreview:
    """The preview, whose table ``preview`` has a row a covered call then."""
    reprice = Reprice(
        id="",
        book=book.sha256,
        selector=request.selector,
        through=request.through,
        allow_unpriced=request.allow_unpriced,
        reported=request.reported,
        normalizer=NORMALIZER_VERSION,
        pricer=PRICER_VERSION,
        calls=0,
        result_sha256="",
    )
    pricer = Pricer(connection, "preview_rate", lines="call_line")
    price_covered(pricer, reprice, book, carrying=_CARRIED)
    tell(1, _STEPS)
    covered_lines, digest = result_sha256(connection)
    tell(2, _STEPS)
    accepted = "1 = 1" if request.allow_unpriced else "p.state = 'priced'"
    connection.execute(engine.sql("duckdb_preview").format(accepted=accepted))
    zone = Zone(timezone)
    sum_preview(connection, zone)
    tell(3, _STEPS)
    months = _by_month(connection, zone)
    return RepricePreview(
        request=request,
        book=book.sha256,
        total=cost_changes(connection)[0],
        months=months,
        models=cost_changes(connection, "p.provider", "p.model"),
        projects=cost_changes(connection, "p.project"),
        utc_months=months if timezone == "UTC" else _by_month(connection, Zone("UTC")),
        recount=_recount(pricer, connection, reprice, book),
        kept_unpriced=int(engine.one(connection, "SELECT COALESCE(SUM(kept_calls), 0) FROM preview_sum")),
        kept_reported=0 if request.reported else _reported(connection, request),
        counted_calls=engine.one(connection, "SELECT COUNT(*) FROM call_fact"),
        covered_lines=covered_lines,
        result_sha256=digest,
    )


_CARRIED = {
    "started_us": "c.started_us",
    "provider": "c.provider",
    "model": "c.model",
    "project": "c.project",
    "before_state": "COALESCE(c.repriced_state, c.cost_state)",
    "before_pico": "CASE WHEN c.repriced_state IS NULL THEN c.cost_pico ELSE c.repriced_pico END",
}
"""What the preview tells of a call, as expressions over its line."""

_MONTH = "INNER JOIN preview_month AS m ON p.slot_us >= m.start_us AND p.slot_us < m.end_us"


def sum_preview(connection: Connection, zone: Zone) -> None:
    """Sum ``preview`` up by slots of time, so that its rows are read once for all that is asked of it.

    A slot divides the days of the zone, and of UTC.
    """
    statement = engine.sql("preview_sum").format(slot_us=zone.usual_slot_us)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE preview_sum AS {statement}")


def cost_changes(connection: Connection, *columns: str, month: str = "") -> tuple[Change, ...]:
    """What :func:`sum_preview` summed up, by columns, in their order, those without one last."""
    statement = engine.sql("preview_rollup").format(
        columns="".join(f"{column} AS column_{number}, " for number, column in enumerate(columns)),
        grouping=f"GROUP BY {', '.join(columns)}" if columns else "",
        month=month,
    )
    rows = connection.execute(statement).fetchall()
    split = len(columns)
    changes = (Change(row[:split], *map(int, row[split:])) for row in rows)
    return tuple(sorted(changes, key=lambda change: order(change.keys)))


def _by_month(connection: Connection, zone: Zone) -> tuple[Change, ...]:
    first, last = connection.execute("SELECT MIN(slot_us), MAX(slot_us) FROM preview_sum").fetchall()[0]
    if first is None:
        return ()
    months = []
    day, end = zone.day(first).replace(day=1), zone.day(last)
    while day <= end:
        months.append(day)
        day = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
    bounds = [(zone.start_us(month), zone.start_us(following)) for month, following in pairwise([*months, day])]
    fill(connection, "preview_bound", ("start_us", "end_us"), bounds, "BIGINT", number="place")
    fill(
        connection,
        "preview_label",
        ("label",),
        [(month.isoformat()[:7],) for month in months],
        "VARCHAR",
        number="place",
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE preview_month AS SELECT b.start_us, b.end_us, l.label "
        "FROM preview_bound AS b INNER JOIN preview_label AS l ON l.place = b.place"
    )
    return cost_changes(connection, "m.label", month=_MONTH)


def _recount(pricer: Pricer, connection: Connection, reprice: Reprice, book: Book) -> Recount:
    """Price what was counted anew by its recorded usage, too: the difference is the normaliser's alone."""
    if not engine.one(connection, "SELECT COUNT(*) FROM renormalized"):
        return Recount(0, 0)
    connection.execute("CREATE OR REPLACE TEMP TABLE recounted AS SELECT writer, seq FROM renormalized")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE counted_anew AS SELECT * FROM covered SEMI JOIN recounted USING (writer, seq)"
    )
    price_covered(pricer, reprice, book, recorded_usage=True)
    ((calls, difference),) = connection.execute(
        "SELECT COUNT(CASE WHEN a.pico <> b.pico OR a.state <> b.state THEN 1 END), "
        "COALESCE(SUM(COALESCE(a.pico, 0) - COALESCE(b.pico, 0)), 0) FROM preview AS p "
        "INNER JOIN counted_anew AS a ON a.writer = p.writer AND a.seq = p.seq "
        "LEFT JOIN covered AS b ON b.writer = p.writer AND b.seq = p.seq WHERE p.kept = 0"
    ).fetchall()
    return Recount(calls, int(difference))


def _reported(connection: Connection, request: RepriceRequest) -> int:
    """Calls that the selection means and that keep what was reported."""
    condition, parameters = request.selector.condition()
    return int(
        engine.one(
            connection,
            f"SELECT COUNT(*) FROM call_fact AS c WHERE c.cost_state = 'reported' AND {condition}",
            parameters,
        )
    )
