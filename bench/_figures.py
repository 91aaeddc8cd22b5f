"""What a row says: one figure, what it stands against, how far it strays, and whether it is within its bound."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a row.

    ``value`` and ``spread`` (the middle half of the rounds) are in ``unit``: ``x`` for a ratio, else a time or MB.
    ``floor`` says in words what was measured beside it, and how long that took.  Without a bound a figure is
    reported, not judged.
    """

    row: str
    what: str
    value: float
    unit: str
    floor: str
    spread: tuple[float, float] | None = None
    at_most: float | None = None
    at_least: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    """What the figure was made of, with units in the names; for the JSON."""

    @property
    def is_over(self) -> bool:
        """Whether the figure is outside of its bound."""
        above = self.at_most is not None and self.value > self.at_most
        return above or (self.at_least is not None and self.value < self.at_least)

    def verdict(self, *, judged: bool) -> str:
        """``ok``, ``over``, or ``-`` where there is nothing to judge."""
        if not judged or (self.at_most is None and self.at_least is None):
            return "-"
        return "over" if self.is_over else "ok"

    def bound(self) -> str:
        """The bound in words."""
        if self.at_most is not None and self.at_least is not None:
            return f"{amount(self.at_least, self.unit).split()[0]} to {amount(self.at_most, self.unit)}"
        if self.at_most is not None:
            return f"<= {amount(self.at_most, self.unit)}"
        return f">= {amount(self.at_least, self.unit)}" if self.at_least is not None else ""

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        """The figure with its verdict."""
        return {**asdict(self), "verdict": self.verdict(judged=judged)}


def ratio(subject: Sequence[float], floor: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The median and the middle half of the ratios of rounds that were run side by side.

    Not the ratio of the medians: where the machine's speed drifts, those may come from different times.
    """
    pairs = [one / other for one, other in zip(subject, floor, strict=True)]
    return statistics.median(pairs), middle_half(pairs)


def difference(subject: Sequence[float], floor: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The median and the middle half of the differences of rounds that were run side by side."""
    pairs = [one - other for one, other in zip(subject, floor, strict=True)]
    return statistics.median(pairs), middle_half(pairs)


def middle_half(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile."""
    if len(values) == 1:
        return values[0], values[0]
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[0], quartiles[2]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which *percent* of 100 are."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def amount(value: float, unit: str) -> str:
    """A figure as it is shown: three digits that count, and the unit."""
    if unit == "x":
        return f"{value:.2f} x"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


HEADINGS = ("row", "what", "figure", "bound", "spread", "floor", "")


def table(figures: Iterable[Figure], *, judged: bool) -> list[str]:
    """Lines of text, one a figure below the headings."""
    rows = [HEADINGS, *(_cells(figure, judged) for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown(figures: Iterable[Figure], *, judged: bool) -> list[str]:
    """The same as a table for the README."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(figure, judged) for figure in figures)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _cells(figure: Figure, judged: bool) -> tuple[str, ...]:
    spread = ""
    if figure.spread is not None:
        low, high = (amount(value, figure.unit).split()[0] for value in figure.spread)
        spread = f"{low} to {high}"
    return (
        figure.row,
        figure.what,
        amount(figure.value, figure.unit),
        figure.bound(),
        spread,
        figure.floor,
        figure.verdict(judged=judged),
    )
