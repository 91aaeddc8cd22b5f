"""How good stated estimates were: figures for a report, and a sentence where they have been wrong lately."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from keledger.journal._quantiles import rank_of

LATELY_CALLS = 10
"""How many of the newest estimates are looked at: a change shows after four of them."""

LATELY_CALLS_MIN = 5
"""Below that nothing is said: of four calls, too much is chance."""

OUTSIDE_MAX = 3
"""So many of ten may be outside of a range that nine tenths are to be in: more are chance in 1.3 % of cases."""

MEDIAN_ERROR_MAX = 0.20
"""A median error above that is told even where ranges were wide enough: raw counts, uncalibrated, are off by 19 %."""


class Stated(NamedTuple):
    """An estimate as it was stated, and what came, in the same unit."""

    p5: int
    p50: int
    p95: int
    actual: int


class Accuracy(NamedTuple):
    """How good estimates were.  All are shares of 1, and None where there is no estimate to tell of."""

    calls: int
    median_error: float | None
    """Of the absolute differences between p50 and actual, as shares of actual."""
    p95_error: float | None
    coverage: float | None
    """The share of calls that were within p5 to p95, both included."""
    median_width: float | None
    """Of p95 less p5, as shares of p50."""


def accuracy(rows: Iterable[Stated]) -> Accuracy:
    """The figures of these estimates."""
    known = list(rows)
    if not known:
        return Accuracy(0, None, None, None, None)
    errors = sorted(map(error_of, known))
    return Accuracy(
        len(known),
        statistics.median(errors),
        errors[min(rank_of(95, len(errors)), len(errors)) - 1],
        sum(map(_is_inside, known)) / len(known),
        statistics.median((row.p95 - row.p5) / max(row.p50, 1) for row in known),
    )


def error_of(row: Stated) -> float:
    """How far p50 was from what came, as a share of that."""
    return abs(row.p50 - row.actual) / max(row.actual, 1)


def lately_off(rows: Sequence[Stated]) -> str | None:
    """In one sentence, how the newest estimates were wrong; None where they were not.  *rows* have the newest last."""
    lately = rows[-LATELY_CALLS:]
    if len(lately) < LATELY_CALLS_MIN:
        return None
    outside = sum(not _is_inside(row) for row in lately)
    if outside > OUTSIDE_MAX:
        return f"{outside} of the last {len(lately)} calls were outside of the range estimated for them"
    error = statistics.median(map(error_of, lately))
    if error > MEDIAN_ERROR_MAX:
        return f"the estimates of the last {len(lately)} calls were off by {error:.0%} at the median"
    return None


def _is_inside(row: Stated) -> bool:
    return row.p5 <= row.actual <= row.p95
