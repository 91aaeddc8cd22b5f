"""A book's prices for one model and context as disjoint rows, for an interval join in SQL.

A row holds in one span of time, one span of the week and one span of request sizes; whatever the layers, tiers, peak
hours and weekdays, a request finds at most one.  So pricing a million calls is one join and a sum of products.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from keledger.journal._money import micro_per_million

from ._cells import ALWAYS_US, DAY_MINUTES, EVERY_DAY, Cell

INPUT_MAX = 2**53
"""Above every count of tokens that an event can have."""

_MINUTE_US = 60 * 1_000_000
_DAY_US = DAY_MINUTES * _MINUTE_US
_WEEK_US = 7 * _DAY_US
_THURSDAY_US = 3 * _DAY_US
"""1970-01-01 was a Thursday; a week begins on Monday."""


class Rate(NamedTuple):
    """Whole picodollars a unit by bucket; a bucket that is not there has no price.

    They hold for requests that begin in ``[valid_from_us, valid_to_us)`` of UTC, in ``[week_from_us, week_to_us)`` of a
    week from Monday 0:00 UTC, with more than ``input_over`` and at most ``input_to`` input tokens.
    """

    valid_from_us: int
    valid_to_us: int
    week_from_us: int
    week_to_us: int
    input_over: int
    input_to: int
    pico_per_unit: Mapping[str, int]

    def holds(self, at_us: int) -> bool:
        """Whether the prices are those of a request that begins at this instant, if it is of this size."""
        return (
            self.valid_from_us <= at_us < self.valid_to_us
            and self.week_from_us <= (at_us + _THURSDAY_US) % _WEEK_US < self.week_to_us
        )


class Source(NamedTuple):
    """The cells of one layer for one model and context: boundaries in time, and the cells after each of them."""

    starts_us: list[int]
    spans: list[tuple[Cell, ...]]


def flatten(sources: Sequence[Source]) -> tuple[Rate, ...]:
    """The rows of sources, the strongest first."""
    starts = sorted({-ALWAYS_US, ALWAYS_US, *(start for source in sources for start in source.starts_us)})
    rates: list[Rate] = []
    for start, end in pairwise(starts):
        cells = [
            cell
            for starts_us, spans in sources
            if (place := bisect_right(starts_us, start)) > 0
            for cell in spans[place - 1]
        ]
        rates.extend(_of_span(start, end, cells))
    return tuple(_joined(rates))


def _of_span(start_us: int, end_us: int, cells: Sequence[Cell]) -> Iterator[Rate]:
    """The rows of a span of time in which no cell begins or ends."""
    tiers = sorted({-1, *(cell.input_over for cell in cells)})
    for over, to in pairwise([*tiers, INPUT_MAX]):
        reached = [cell for cell in cells if cell.input_over <= over]
        for week_from_us, week_to_us in _spans_of_week(reached):
            day, in_day_us = divmod(week_from_us, _DAY_US)
            minute = in_day_us // _MINUTE_US
            prices: dict[str, str | None] = {}
            for cell in reversed(reached):  # the strongest last, over all others
                if cell.weekdays[day] == "1" and cell.minute_from <= minute < cell.minute_to:
                    prices.update(cell.usd_per_million)
            known = {bucket: micro_per_million(price) for bucket, price in prices.items() if price is not None}
            if known:
                yield Rate(start_us, end_us, week_from_us, week_to_us, over, to, known)


def _spans_of_week(cells: Iterable[Cell]) -> Iterator[tuple[int, int]]:
    """The week, cut wherever one of the cells begins or ends to hold."""
    cuts = {0, _WEEK_US}
    for cell in cells:
        if (cell.minute_from, cell.minute_to, cell.weekdays) != (0, DAY_MINUTES, EVERY_DAY):
            for day in range(0, _WEEK_US, _DAY_US):
                cuts |= {day, day + cell.minute_from * _MINUTE_US, day + cell.minute_to * _MINUTE_US}
    return pairwise(sorted(cuts))


def _joined(rates: Iterable[Rate]) -> Iterator[Rate]:
    """Neighbours in the week that have the same prices, as one."""
    held: Rate | None = None
    for rate in rates:
        if held is not None and held.week_to_us == rate.week_from_us and held[:2] == rate[:2] and held[4:] == rate[4:]:
            held = held._replace(week_to_us=rate.week_to_us)
            continue
        if held is not None:
            yield held
        held = rate
    if held is not None:
        yield held
