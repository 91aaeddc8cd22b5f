"""An invoice beside what was journaled: computed, reported and invoiced amounts, and where they part.

The difference between what was invoiced and what was computed is split, to the picodollar, into

``volume``   another quantity: what the invoice has more of the calls' tokens, at the average that the calls cost
``rate``     the same quantity at another price: what is left
``unknown``  what has no counterpart: lines without calls, calls without lines, lines without a quantity to tell by, and
             calls without a cost, at the average of the others
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from keledger.journal import InvoicedLine, NotFound, UsageError, Zone, format_time, pico_to_usd, usd_to_pico

from ._adjustments import list_adjustments
from ._basis import CURRENT
from ._closings import span_of
from ._projection import Projection
from ._sums import order

GROUPS = ("day", "model")
"""By what an invoice can be compared."""

_LISTED_MAX = 10


@dataclass(frozen=True, slots=True)
class RecordedInvoice:
    """One ``invoice.recorded``."""

    id: str
    provider: str
    period: str
    timezone: str
    source_name: str
    source_format: str
    source_sha256: str
    recorded_at: str
    lines: tuple[InvoicedLine, ...]


@dataclass(slots=True)
class _Side:
    """What calls and lines of one day and model add up to."""

    calls: int = 0
    tokens: int = 0
    uncosted_calls: int = 0
    unpriced_calls: int = 0
    uncosted_tokens: int = 0
    computed_pico: int = 0
    reported_calls: int = 0
    reported_pico: int = 0
    lines: int = 0
    quantity: int | None = 0
    invoiced_pico: int = 0

    def split(self) -> Split:
        """The difference and its parts."""
        difference = self.invoiced_pico - self.computed_pico
        costed_tokens = self.tokens - self.uncosted_tokens
        if not self.calls or not self.lines or self.quantity is None or costed_tokens <= 0:
            return Split(difference, 0, 0, difference)
        volume = _share(self.quantity - self.tokens, self.computed_pico, costed_tokens)
        unknown = _share(self.uncosted_tokens, self.computed_pico, costed_tokens)
        return Split(difference, volume, difference - volume - unknown, unknown)


@dataclass(frozen=True, slots=True)
class Split:
    """A difference in picodollars and its three parts, whose sum it is."""

    difference: int = 0
    volume: int = 0
    rate: int = 0
    unknown: int = 0

    def plus(self, other: Split) -> Split:
        """The sum of both."""
        return Split(
            self.difference + other.difference,
            self.volume + other.volume,
            self.rate + other.rate,
            self.unknown + other.unknown,
        )

    def as_json(self) -> dict[str, str]:
        """The parts under their names."""
        return {
            "difference_usd": pico_to_usd(self.difference),
            "volume_usd": pico_to_usd(self.volume),
            "rate_usd": pico_to_usd(self.rate),
            "unknown_usd": pico_to_usd(self.unknown),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """An invoice beside the calls of its month; ``adjusted_pico`` is what was booked for the provider in it already."""

    rows: tuple[dict[str, Any], ...]
    totals: dict[str, Any]
    difference_pico: int
    adjusted_pico: int

    @property
    def left_pico(self) -> int:
        """What the invoice has more than calls and adjustments together."""
        return self.difference_pico - self.adjusted_pico


def compare_invoice(
    projection: Projection,
    lines: Iterable[InvoicedLine],
    *,
    provider: str,
    period: str,
    timezone: str,
    by: Sequence[str] = GROUPS,
) -> Comparison:
    """Set an invoice beside the calls of a provider in a month, at their current costs.

    Calls are matched by the model that answered where a line names it, else by the model that was asked for.  Raises
    NotFound where the journal has no call of the provider at all, UsageError for a *by* that there is not.
    """
    if not by or len(set(by)) < len(by) or not set(by) <= set(GROUPS):
        raise UsageError(f"an invoice can be compared by {' and '.join(GROUPS)}, not by {','.join(by) or 'nothing'}")
    projection.price_by(CURRENT)
    _check_provider(projection, provider)
    lines = tuple(lines)
    sides: dict[tuple[str | None, ...], _Side] = {}
    _add_calls(sides, projection, {line.model for line in lines if line.model}, provider, period, timezone, by)
    for line in lines:
        side = sides.setdefault(_key(line.date, line.model or line.item, by), _Side())
        side.lines += 1
        side.invoiced_pico += line.pico
        both = side.quantity is not None and line.quantity is not None
        side.quantity = (side.quantity or 0) + (line.quantity or 0) if both else None
    whole, split = _Side(), Split()
    rows = []
    for key in sorted(sides, key=order):
        side = sides[key]
        parts = side.split()
        rows.append(
            dict(zip(("date" if name == "day" else name for name in by), key, strict=True)) | _shown(side, parts)
        )
        _add(whole, side)
        split = split.plus(parts)
    begun_us, ended_us = span_of(period, timezone)
    adjusted = sum(
        one.pico
        for one in list_adjustments(projection)
        if one.value("provider") == provider and begun_us <= one.effective_us < ended_us
    )
    return Comparison(tuple(rows), _shown(whole, split), split.difference, adjusted)


def _check_provider(projection: Projection, provider: str) -> None:
    providers = [row[0] for row in projection.query("SELECT DISTINCT provider FROM call_fact ORDER BY provider")]
    if not providers:
        raise NotFound(f"the journal at {projection.home.path} has no calls: there is nothing to compare with")
    if provider not in providers:
        more = len(providers) - _LISTED_MAX
        named = ", ".join(providers[:_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")
        raise NotFound(f"the journal has no calls of the provider {provider!r}: it has calls of {named}")


def _add_calls(
    sides: dict[tuple[str | None, ...], _Side],
    projection: Projection,
    named: set[str],
    provider: str,
    period: str,
    timezone: str,
    by: Sequence[str],
) -> None:
    zone = Zone(timezone)
    begun_us, ended_us = span_of(period, timezone)
    rows = projection.query(
        "SELECT c.started_us - (c.started_us + 62135596800000000) % $1, c.model, c.response_model, COUNT(*), "
        "SUM(c.input_tokens + c.output_tokens), COUNT(CASE WHEN c.cost_pico IS NULL THEN 1 END), "
        "COUNT(CASE WHEN c.cost_state = 'unpriced' THEN 1 END), "
        "COALESCE(SUM(CASE WHEN c.cost_pico IS NULL THEN c.input_tokens + c.output_tokens END), 0), "
        "COALESCE(SUM(c.cost_pico), 0), COUNT(c.reported_pico), COALESCE(SUM(c.reported_pico), 0) "
        "FROM call_fact AS c WHERE c.provider = $2 AND c.started_us >= $3 AND c.started_us < $4 GROUP BY ALL",
        [zone.usual_slot_us, provider, begun_us, ended_us],
    )
    for slot_us, asked, answered, *counts in rows:
        model = answered if answered in named else asked
        day = zone.day(max(slot_us, begun_us)).isoformat()
        _add(sides.setdefault(_key(day, model, by), _Side()), _Side(*map(int, counts)))


def _key(day: str, model: str | None, by: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(day if name == "day" else model for name in by)


def _add(whole: _Side, part: _Side) -> None:
    for name in ("calls", "tokens", "uncosted_calls", "unpriced_calls", "uncosted_tokens", "computed_pico",
                 "reported_calls", "reported_pico", "lines", "invoiced_pico"):  # fmt: skip
        setattr(whole, name, getattr(whole, name) + getattr(part, name))
    both = whole.quantity is not None and part.quantity is not None
    whole.quantity = (whole.quantity or 0) + (part.quantity or 0) if both else None


def _shown(side: _Side, split: Split) -> dict[str, Any]:
    return {
        "calls": side.calls,
        "uncosted_calls": side.uncosted_calls,
        "unpriced_calls": side.unpriced_calls,
        "computed_quantity": side.tokens,
        "invoiced_quantity": side.quantity if side.lines else None,
        "computed_usd": pico_to_usd(side.computed_pico) if side.calls > side.uncosted_calls or not side.calls else None,
        "reported_usd": pico_to_usd(side.reported_pico) if side.reported_calls else None,
        "reported_calls": side.reported_calls,
        "invoiced_usd": pico_to_usd(side.invoiced_pico) if side.lines else None,
        **split.as_json(),
    }


def _share(part: int, pico: int, whole: int) -> int:
    """``part / whole`` of an amount, rounded half-even to picodollars."""
    quotient, rest = divmod(part * pico, whole)
    return quotient + (2 * rest > whole or (2 * rest == whole and quotient % 2))


def list_invoices(projection: Projection) -> list[RecordedInvoice]:
    """The invoices that were recorded, in their order; the first copy of an event counts."""
    rows = projection.query(
        "SELECT id, time_us, data FROM other_line WHERE v = 1 AND type = 'invoice.recorded' ORDER BY tick, writer, seq"
    )
    listed: dict[str, RecordedInvoice] = {}
    for event_id, time_us, text in rows:
        try:
            listed.setdefault(event_id, _recorded(event_id, time_us or 0, orjson.loads(text)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # verify says what is wrong with it
    return list(listed.values())


def _recorded(event_id: str, time_us: int, data: Mapping[str, Any]) -> RecordedInvoice:
    return RecordedInvoice(
        id=event_id,
        provider=data["provider"],
        period=data["period"],
        timezone=data["timezone"],
        source_name=data["source_name"],
        source_format=data["source_format"],
        source_sha256=data["source_sha256"],
        recorded_at=format_time(time_us),
        lines=tuple(
            InvoicedLine(
                line["date"],
                line.get("model"),
                line.get("item"),
                line.get("quantity"),
                usd_to_pico(line["amount_usd"]),
            )
            for line in data["lines"]
        ),
    )


def find_invoice(projection: Projection, given: str) -> RecordedInvoice:
    """The recorded invoice of this id, or the only one whose id begins so.  Raises NotFound or UsageError."""
    found = [one for one in list_invoices(projection) if given and one.id.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(one.id for one in found[:_LISTED_MAX])
        raise UsageError(f"{given!r} may be each of {named}: give the whole id of one")
    raise NotFound(f"no invoice has the id {given!r}, or one that begins so: keledger reconcile --list shows them")
