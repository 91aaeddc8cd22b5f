"""The Theil-Sen line through the last few points, kept as points come and go.

Its slope is the median of the slopes between all pairs of points, its intercept the median of what the slope leaves
(Theil 1950; Sen, JASA 63, 1968): up to 29 % of the points may be anything without moving it far.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import NamedTuple


class Line(NamedTuple):
    """What ``intercept + slope * x`` is."""

    intercept: float
    slope: float


class SlidingLine:
    """The line through the newest *points_max* points.

    The slopes are kept in order, so that a point costs as many insertions as there are points, not a sort of all
    slopes: the one-step-ahead errors of 40 calls take 40 lines.
    """

    __slots__ = ("_points_max", "_slopes", "points")

    def __init__(self, points_max: int) -> None:
        self._points_max = points_max
        self._slopes: list[float] = []
        self.points: deque[tuple[float, float]] = deque()

    def add(self, x: float, y: float) -> None:
        """One more point; the oldest goes where there are too many."""
        if len(self.points) == self._points_max:
            gone_x, gone_y = self.points.popleft()
            for other_x, other_y in self.points:
                if other_x != gone_x:
                    del self._slopes[bisect_left(self._slopes, (other_y - gone_y) / (other_x - gone_x))]
        for other_x, other_y in self.points:
            if other_x != x:
                insort(self._slopes, (y - other_y) / (x - other_x))
        self.points.append((x, y))

    def line(self, *, slope_least: float, slope_most: float) -> Line | None:
        """The line, its slope cut to these bounds; None where all points have one x."""
        if not self._slopes:
            return None
        slope = min(max(middle(self._slopes), slope_least), slope_most)
        return Line(middle(sorted([y - slope * x for x, y in self.points])), slope)


def middle(ordered: list[float]) -> float:
    """The median of what is in order already."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
