"""What reading a source gives: cells on the grid, and all that could not be told by them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from keledger.journal.prices._cells import Cell, LayerHeader
from keledger.journal.prices._names import Names

GRID = Decimal("0.000001")
"""The step between prices in USD per million units: below it a unit costs less than one picodollar."""

PRICE_END = Decimal(10) ** 12
"""A price in USD per million units is below this."""

PER_TOKEN = 1_000_000
"""From USD a unit to USD per million units."""

_EXACT = Context(prec=80)
"""Enough for the product of every two figures that ``_READABLE`` lets through."""

_READABLE = range(-30, 20)
"""The power of ten of a figure's first digit.  Beyond it no price stands, and exact arithmetic has no end."""

_DIGITS_MAX = 40
"""Of one figure: a float that is written out has 17."""


@dataclass
class Notes:
    """What whoever takes in prices should know, one entry a line."""

    rounded: list[str] = field(default_factory=list)
    """Values off the grid, with what they were rounded to, half-even."""
    skipped: list[str] = field(default_factory=list)
    """Models and prices that were not taken, and why."""
    without_bucket: list[str] = field(default_factory=list)
    """Prices for something that no bucket counts."""
    contested: list[str] = field(default_factory=list)
    """Models of which the source has two prices for one time under several names, so that none was taken."""


class Imported(NamedTuple):
    """A layer that was read from a source: its header, its cells in no order, and the notes on it."""

    header: LayerHeader
    cells: tuple[Cell, ...]
    notes: Notes


PricedApart = Callable[[str, str, str], Collection[str]]
"""Of a provider, model and context: the buckets that weaker layers price apart.  Nothing is inferred for them."""


class Reading(NamedTuple):
    """What a source's module is given beside its file."""

    names: Names
    notes: Notes
    valid_from_us: int
    """When prices without a date of their own began to hold."""
    priced_apart: PricedApart


def note(entries: list[str], entry: str) -> None:
    """Add an entry that is not there yet."""
    if not entries or entries[-1] != entry:
        entries.append(entry)


def plain(value: Decimal) -> str:
    """A decimal in its one spelling: without exponent and superfluous zeros."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def times(value: Decimal, factor: Decimal) -> Decimal:
    """The exact product."""
    return _EXACT.multiply(value, factor)


def readable(value: object) -> Decimal | None:
    """A figure as a source may write it, a JSON number or text; None for what is no number, or none of this world."""
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        number = Decimal(value)
    except ArithmeticError:
        return None
    if not number.is_finite() or len(number.as_tuple().digits) > _DIGITS_MAX:
        return None
    return number if not number or number.adjusted() in _READABLE else None


def usd_per_million(exact: Decimal, where: str, notes: Notes) -> str | None:
    """A price in USD per million units as a cell has it: on the grid, in its one spelling.

    What is rounded is noted as *where*.  None, and a note, for a price that no cell can have: one that is negative,
    too high, or so small that it would be rounded to free.
    """
    if exact < 0 or exact >= PRICE_END:
        note(notes.skipped, f"{where}: {exact} USD per million is no price")
        return None
    on_grid = exact.quantize(GRID, ROUND_HALF_EVEN, _EXACT)
    if exact and not on_grid:
        note(notes.skipped, f"{where}: {exact} USD per million is less than can be told")
        return None
    if on_grid != exact:
        note(notes.rounded, f"{where} {plain(exact)} -> {plain(on_grid)}")
    return plain(on_grid)


def unique(entries: Iterable[str]) -> list[str]:
    """The entries in their order, each once."""
    return list(dict.fromkeys(entries))
