"""From rules to cells: prices that depend on the day, weekday, minute and size of a request, told apart by where they
change.

Sources say their conditions in different ways: tiers, windows, overrides of overrides, holidays.  Each module says
what the prices are at one point and where they may change; this one makes disjoint cells of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from keledger.journal.prices._cells import ALWAYS_US, DAY_MINUTES, EVERY_DAY, Cell

Prices = Mapping[str, str | None]
"""USD per million units by bucket, each in its one spelling; None: not known there, whatever weaker layers say."""

Tiers = tuple[tuple[int, Prices], ...]
"""Prices by the size that a request is above, ascending."""

WEEK = range(7)
"""Weekdays from Monday on."""


class Point(NamedTuple):
    """A place in which a source is asked for its prices: they are the same until the next boundary.

    ``from_us`` is the first instant of a span of validity (``-ALWAYS_US``: no beginning).  The request begins at this
    ``weekday`` (0 is Monday) and ``minute`` in UTC and has more than ``input_over`` input tokens.
    """

    from_us: int
    weekday: int
    minute: int
    input_over: int


class Boundaries(NamedTuple):
    """Where prices may change: instants, minutes of the day, the day of the week, sizes of requests."""

    instants_us: Iterable[int] = ()
    minutes: Iterable[int] = ()
    by_weekday: bool = False
    sizes: Iterable[int] = ()


class Subject(NamedTuple):
    """What cells are about."""

    provider: str
    model: str
    context: str = ""


class _Part(NamedTuple):
    """A part of the day on some weekdays."""

    minute_from: int
    minute_to: int
    weekdays: str
    tiers: Tiers


def cells_of(
    subject: Subject,
    prices_at: Callable[[Point], Prices],
    boundaries: Boundaries = Boundaries(),  # noqa: B008 - immutable
    *,
    valid_from_us: int = -ALWAYS_US,
    valid_to_us: int = ALWAYS_US,
) -> Iterator[Cell]:
    """Disjoint cells that say what *prices_at* says, between two instants.  Where it has no price there is no cell.

    A higher tier with the prices of the one below is left out.  Prices that a lower tier has and a higher one lacks
    hold for both, as everywhere: ``docs/prices.md``.
    """
    within = [instant for instant in boundaries.instants_us if valid_from_us < instant < valid_to_us]
    instants = [valid_from_us, *sorted(set(within)), valid_to_us]
    minutes = [0, *sorted({minute for minute in boundaries.minutes if 0 < minute < DAY_MINUTES}), DAY_MINUTES]
    sizes = [-1, *sorted({size for size in boundaries.sizes if size >= 0})]
    weekdays = WEEK if boundaries.by_weekday else range(1)
    spans: list[tuple[int, int, tuple[_Part, ...]]] = []
    for start, end in pairwise(instants):
        parts = tuple(_parts(start, minutes, weekdays, sizes, prices_at))
        if spans and spans[-1][2] == parts:
            spans[-1] = (spans[-1][0], end, parts)
        else:
            spans.append((start, end, parts))
    for start, end, parts in spans:
        for part in parts:
            for over, prices in part.tiers:
                yield Cell(
                    *subject,
                    usd_per_million=prices,
                    valid_from_us=start,
                    valid_to_us=end,
                    minute_from=part.minute_from,
                    minute_to=part.minute_to,
                    weekdays=part.weekdays,
                    input_over=over,
                )


def _parts(
    start_us: int,
    minutes: Sequence[int],
    weekdays: Sequence[int],
    sizes: Sequence[int],
    prices_at: Callable[[Point], Prices],
) -> Iterator[_Part]:
    """The parts of the week that differ, in one span of validity."""
    days: list[tuple[int, int, tuple[Tiers, ...]]] = []
    for minute, end in pairwise(minutes):
        week = tuple(
            _tiers([(size, prices_at(Point(start_us, day, minute, size))) for size in sizes]) for day in weekdays
        )
        if days and days[-1][2] == week:
            days[-1] = (days[-1][0], end, week)
        else:
            days.append((minute, end, week))
    for minute, end, week in days:
        told: list[Tiers] = []
        for tiers in week:
            if tiers and tiers not in told:
                told.append(tiers)
                mask = "".join("1" if each == tiers else "0" for each in week) if len(week) > 1 else EVERY_DAY
                yield _Part(minute, end, mask, tiers)


def _tiers(by_size: Iterable[tuple[int, Prices]]) -> Tiers:
    """Without what is not priced, and without tiers that say what the one below says."""
    kept: list[tuple[int, Prices]] = []
    for size, prices in by_size:
        if prices and not (kept and kept[-1][1] == prices):
            kept.append((size, prices))
    return tuple(kept)


class Window(NamedTuple):
    """Minutes of the day, half-open; a window whose end is not behind its start passes midnight, or is a whole day."""

    start: int
    end: int

    def __contains__(self, minute: object) -> bool:
        if not isinstance(minute, int):
            return False
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end
