"""Closed periods: which closings the journal has, and which of them stand.

A closing stands unless any ``period.reopened`` names it, or its days meet those of one that stands and comes before it
in (tick, writer, seq).  All of this is a function of the lines that are looked at, so it can be asked for any moment of
the journal that is known by its positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import orjson

from keledger.journal import Finding, Home, KeledgerError, UsageError, Zone, format_time, parse_time

from ._engine import Connection

Through = Mapping[str, int]
"""By writer the last ``seq`` of its lines."""

UNREAD = "period_unread"
"""The kind of finding that says that a closing or an adjustment was left out."""


@dataclass(frozen=True, slots=True)
class Closing:
    """One ``period.closed``: the calls that began in ``[started_from_us, started_to_us)``, as of ``through``."""

    id: str
    period: str
    timezone: str
    started_from_us: int
    started_to_us: int
    through: Through
    writer: str
    seq: int
    closed_us: int
    data: Mapping[str, Any]
    """The event's data, whole."""

    @property
    def span(self) -> tuple[int, int]:
        """From when to when, in microseconds."""
        return self.started_from_us, self.started_to_us

    def holds(self, instant_us: int) -> bool:
        """Whether an instant lies in the period."""
        return self.started_from_us <= instant_us < self.started_to_us

    def lies_within(self, through: Through | None) -> bool:
        """Whether the event itself does."""
        return through is None or self.seq <= through.get(self.writer, 0)


@dataclass(frozen=True, slots=True)
class Reopening:
    """One ``period.reopened``."""

    close_id: str
    writer: str
    seq: int
    reopened_us: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Periods:
    """All closings and reopenings of the journal, in (tick, writer, seq)."""

    closings: tuple[Closing, ...] = ()
    reopenings: tuple[Reopening, ...] = ()
    findings: tuple[Finding, ...] = field(default=(), compare=False)

    def standing(self, through: Through | None = None) -> list[Closing]:
        """The closings that stand, as far as *through* tells; by all lines without it."""
        reopened = {
            reopening.close_id
            for reopening in self.reopenings
            if through is None or reopening.seq <= through.get(reopening.writer, 0)
        }
        standing: list[Closing] = []
        for closing in self.closings:
            known = closing.lies_within(through) and closing.id not in reopened
            if known and not any(_meet(closing.span, other.span) for other in standing):
                standing.append(closing)
        return standing

    def displaced(self, before: Through) -> list[tuple[Closing, Closing]]:
        """Closings that stood within *before* and stand no more though nobody reopened them, each with which one does.

        That is what a merge does to a closing, where the other machine has closed the same days before.
        """
        standing = self.standing()
        return [
            (closing, other)
            for closing in self.standing(before)
            if closing not in standing
            and self.reopening(closing.id) is None
            and (other := meeting(standing, closing.span)) is not None
        ]

    def standing_without(self, closing: Closing) -> list[Closing]:
        """The closings of its days that stand once a closing is taken back: it overlapped them, or they it."""
        others = replace(self, closings=tuple(other for other in self.closings if other != closing))
        return [other for other in others.standing() if _meet(other.span, closing.span)]

    def reopening(self, close_id: str) -> Reopening | None:
        """What took a closing back, if anything did."""
        return next((reopening for reopening in self.reopenings if reopening.close_id == close_id), None)


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def meeting(closings: Sequence[Closing], span: tuple[int, int]) -> Closing | None:
    """The first of *closings* whose period meets a span."""
    return next((closing for closing in closings if _meet(closing.span, span)), None)


def read_periods(connection: Connection, home: Home) -> Periods:
    """The closings and reopenings that ``other_line`` has.  The first copy of an event counts."""
    rows = connection.execute(
        "SELECT id, writer, seq, time_us, type, data FROM other_line WHERE v = 1 "
        "AND type IN ('period.closed', 'period.reopened') ORDER BY tick, writer, seq"
    ).fetchall()
    closings: dict[str, Closing] = {}
    reopenings: dict[str, Reopening] = {}
    findings = []
    for event_id, writer, seq, time_us, kind, text in rows:
        try:
            data = orjson.loads(text)
            if kind == "period.closed":
                closings.setdefault(str(event_id), _closing(str(event_id), writer, seq, time_us or 0, data))
            else:
                reopenings.setdefault(
                    str(event_id),
                    Reopening(
                        str(data["close_id"]), writer, seq, time_us or 0, str(data["actor"]), str(data["reason"])
                    ),
                )
        except (KeyError, ValueError, TypeError, AttributeError, KeledgerError) as error:
            findings.append(unread(home, kind, writer, seq, error))
    return Periods(tuple(closings.values()), tuple(reopenings.values()), tuple(findings))


def unread(home: Home, kind: str, writer: str, seq: int, error: Exception) -> Finding:
    """That an event cannot be read, and is left out."""
    path = str(home.journal / writer)
    return Finding(UNREAD, path, f"{path} has a {kind} at seq {seq} that cannot be read and is left out: {error}")


def _closing(event_id: str, writer: str, seq: int, time_us: int, data: dict[str, Any]) -> Closing:
    month_start(str(data["period"]))
    for name in ("totals", "open"):
        data[name].keys()
    return Closing(
        id=event_id,
        period=str(data["period"]),
        timezone=str(data["timezone"]),
        started_from_us=parse_time(data["started_from"]),
        started_to_us=parse_time(data["started_to"]),
        through={str(position["writer"]): int(position["seq"]) for position in data["through"]},
        writer=writer,
        seq=seq,
        closed_us=time_us,
        data=data,
    )


def shown_totals(totals: Mapping[str, Any]) -> dict[str, Any]:
    """A closing's sums as they are shown: a cost is None where there are calls and none of them has one.

    The event has the sum of the costs that are known, 0 where none is, beside the count of the calls that lack one.
    """
    return {**_shown_sums(totals), "models": list(map(_shown_sums, totals.get("models", ())))}


def _shown_sums(sums: Mapping[str, Any]) -> dict[str, Any]:
    lacks_all = 0 < sums.get("calls", 0) == sums.get("uncosted_calls")
    return {**sums, "cost_usd": None if lacks_all else sums.get("cost_usd")}


def month_start(period: str) -> date:
    """The first day of a month like ``2026-10``.  Raises UsageError for anything else."""
    try:
        if len(period) == 7 and period[4] == "-" and period.isascii():
            return date.fromisoformat(f"{period}-01")
    except ValueError:
        pass
    raise UsageError(f"{period!r} is no month: write it like 2026-10")


def month_after(period: str) -> str:
    """The month behind one."""
    first = month_start(period)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1).isoformat()[:7]


def span_of(period: str, timezone: str) -> tuple[int, int]:
    """When a month begins and ends in a zone, in microseconds.  Raises UsageError."""
    first, zone = month_start(period), Zone(timezone)
    if period == "9999-12":
        raise UsageError(f"{period} never ends")
    return zone.start_us(first), zone.start_us(month_start(month_after(period)))


def closing_as_json(closing: Closing, periods: Periods) -> dict[str, Any]:
    """A closing as it is listed: what it said, and whether it stands (``closed``, ``reopened`` or ``overlapped``)."""
    reopening = periods.reopening(closing.id)
    standing = periods.standing()
    state = "closed" if closing in standing else "reopened" if reopening else "overlapped"
    other = meeting(standing, closing.span) if state == "overlapped" else None
    return {
        "id": closing.id,
        "period": closing.period,
        "timezone": closing.timezone,
        "state": state,
        "overlapped_by": other.id if other is not None else None,
        "closed_at": format_time(closing.closed_us),
        "started_from": format_time(closing.started_from_us),
        "started_to": format_time(closing.started_to_us),
        "totals": shown_totals(closing.data["totals"]),
        "digest": closing.data["digest"],
        "open": {"unpriced_estimate_usd": None, **closing.data["open"]},
        "actor": closing.data["actor"],
        "reason": closing.data["reason"],
        "reopened_at": format_time(reopening.reopened_us) if reopening else None,
        "reopened_reason": reopening.reason if reopening else None,
    }
