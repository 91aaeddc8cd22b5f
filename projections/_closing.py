"""Closing a month: what it comes to, what is still open in it, and what the event says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from keledger.journal import (
    Anchor,
    Finding,
    Home,
    KeledgerError,
    NotFound,
    UsageError,
    Zone,
    format_time,
    pico_to_usd,
    usd_to_pico,
)
from keledger.journal.prices import PriceStore

from ._basis import CURRENT, adopted_books
from ._build import Progress
from ._closings import Closing, Periods, meeting, month_after, month_start, read_periods, span_of
from ._corrections import period_difference
from ._digest import digest_span
from ._lost_holds import count_lost
from ._options import ReportOptions
from ._projection import Projection, open_projection
from ._reports import Report, report_periods
from ._reprice import RepriceRequest, preview_by
from ._selector import Selector

MODELS_MAX = 400
"""Models that an event names, the dearest first: a line has room for some six hundred of the longest names."""

_TOTALS = ("calls", "input_tokens", "output_tokens", "uncosted_calls", "cost_usd")
"""What of a report's sums an event repeats."""


def list_periods(projection: Projection) -> Periods:
    """The closings and reopenings of the journal."""
    return projection.run(lambda connection: read_periods(connection, projection.home))


def find_closing(projection: Projection, given: str) -> Closing:
    """The closing that stands for a month like ``2026-10``, or the only closing whose id begins so.

    Raises NotFound or UsageError.
    """
    periods = list_periods(projection)
    found = [closing for closing in periods.standing() if closing.period == given]
    if not found and given:
        found = [closing for closing in periods.closings if closing.id.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(closing.id for closing in found[:10])
        raise UsageError(f"{given!r} may be each of {named}: give the whole id of one")
    raise NotFound(f"{given} is not closed: keledger close --list shows what is")


def check_closable(periods: Periods, period: str, timezone: str, now_us: int) -> None:
    """Raise UsageError for a month that is none, KeledgerError for one that cannot be closed now."""
    _, ended_us = span = span_of(period, timezone)
    if now_us < ended_us:
        raise KeledgerError(
            f"{period} is not over in {timezone}: it can be closed from {format_time(ended_us)} on; nothing was written"
        )
    other = meeting(periods.standing(), span)
    if other is not None and (other.period, other.timezone) == (period, timezone):
        raise KeledgerError(
            f"{period} was closed already, at {format_time(other.closed_us)} ({other.id}); nothing was written"
        )
    if other is not None:
        raise KeledgerError(
            f"{period} of {timezone} has days of {other.period} of {other.timezone}, which is closed ({other.id}): "
            "close months of one zone; nothing was written"
        )


def open_months_before(projection: Projection, periods: Periods, period: str, timezone: str) -> list[str]:
    """The months before one, by a zone, that have calls in no closed month: whoever closes is told, not refused."""
    zone = Zone(timezone)
    begun_us, _ = span_of(period, timezone)
    closed = "".join(
        f" AND NOT (c.started_us >= {closing.started_from_us} AND c.started_us < {closing.started_to_us})"
        for closing in periods.standing()
    )
    slots = projection.query(
        "SELECT DISTINCT c.started_us - (c.started_us + 62135596800000000) % $1 FROM call_fact AS c "
        f"WHERE c.started_us < $2{closed}",
        [zone.usual_slot_us, begun_us],
    )
    return sorted({zone.day(slot_us).isoformat()[:7] for (slot_us,) in slots})


def report_closed(projection: Projection, closing: Closing) -> Report:
    """What a closed period shows, for ever: by day, with models.  *projection* is opened within the closing's own.

    What it took over of periods that were closed before stands in the row of its first day.
    """
    report = _report_month(projection, closing.period, closing.timezone, closing)
    return replace(report, name="closed_period", subject={"period": closing.period, "close_id": closing.id})


def _report_month(projection: Projection, period: str, timezone: str, taking: Closing) -> Report:
    first = month_start(period)
    last = month_start(month_after(period)) - timedelta(days=1)
    options = ReportOptions(since=first, until=last, timezone=timezone, breakdown=True)
    return projection.steadily(lambda: report_periods(projection, "daily", options, taking))


def closing_data(projection: Projection, period: str, timezone: str, through: Anchor) -> dict[str, Any]:
    """The fields of ``period.closed`` but who and why.  *projection* is opened within *through*.

    The projection is spent then.
    """
    begun_us, ended_us = span_of(period, timezone)
    taking = Closing("", period, timezone, begun_us, ended_us, projection.positions, "", 0, 0, {})
    report = _report_month(projection, period, timezone, taking)
    newest = projection.run(lambda connection: adopted_books(connection, projection.home))
    data = {
        "period": period,
        "timezone": timezone,
        "started_from": format_time(begun_us),
        "started_to": format_time(ended_us),
        "basis": "current",
        "through": [{"writer": line.writer, "seq": line.seq, "hash": line.hash} for line in through.lines],
        "totals": _totals(report),
        "open": _open(projection, report, begun_us, ended_us, newest[0][0] if newest else None),
        "digest": digest_span(projection, begun_us, ended_us),
    }
    return data | ({"book": newest[0][0]} if newest else {})


def _totals(report: Report) -> dict[str, Any]:
    totals = report.totals
    models: dict[tuple[str, str], list[int]] = {}
    for row in report.rows:
        for part in row["models"]:
            sums = models.setdefault((part["provider"], part["model"]), [0] * len(_TOTALS))
            for place, name in enumerate(_TOTALS):
                sums[place] += _number(part[name])
    named = sorted(models.items(), key=lambda item: (-item[1][-1], item[0]))[:MODELS_MAX]
    return {
        **{name: totals[name] for name in _TOTALS[:-1]},
        "cost_usd": totals["cost_usd"] or "0",
        "adjustments_usd": totals["adjustments_usd"],
        "corrections_usd": totals["corrections_usd"],
        "models": [
            {
                "provider": provider,
                "model": model,
                **dict(zip(_TOTALS[:-1], counts, strict=True)),
                "cost_usd": pico_to_usd(pico),
            }
            for (provider, model), (*counts, pico) in sorted(named)
        ],
    }


def _number(value: object) -> int:
    """A count, or money in picodollars; none where nothing has a cost."""
    return value if isinstance(value, int) else usd_to_pico(str(value)) if value is not None else 0


def _open(projection: Projection, report: Report, begun_us: int, ended_us: int, book: str | None) -> dict[str, Any]:
    """What nobody knows yet."""
    totals = report.totals
    shown: dict[str, Any] = {
        "unknown_calls": totals["unknown_calls"],
        "unpriced_calls": totals["unpriced_calls"],
        "unpriced_estimated_calls": 0,
        "lost_holds": projection.run(lambda connection: count_lost(connection, begun_us, ended_us)),
    }
    if book is None or not totals["unpriced_calls"]:
        return shown
    projection.price_by(CURRENT)
    try:
        newest = PriceStore(projection.home.prices).load_book(book)
    except KeledgerError:  # told by verify; without its prices there is no estimate
        return shown
    request = RepriceRequest(Selector(begun_us, ended_us), projection.positions)

    found = projection.run(lambda connection: preview_by(connection, request, newest)).total
    calls, pico = found.newly_priced, found.newly_priced_pico
    shown["unpriced_estimated_calls"] = calls
    return shown | ({"unpriced_estimate_usd": pico_to_usd(pico)} if calls else {})


def check_periods(home: Home, periods: Periods, *, on_progress: Progress | None = None) -> list[Finding]:
    """Fold every closing that stands again; a finding for each that does not come to what it says."""
    standing = periods.standing()
    findings = []
    for number, closing in enumerate(standing):
        with open_projection(home, through=closing.through) as projection:
            if not is_as_closed(projection, closing):
                findings.append(period_difference(home, closing))
        if on_progress is not None:
            on_progress(number + 1, len(standing))
    return findings


def is_as_closed(projection: Projection, closing: Closing) -> bool:
    """Whether a closed period still comes to what its closing says.  *projection* is spent then."""
    return digest_span(projection, *closing.span) == str(closing.data["digest"])
