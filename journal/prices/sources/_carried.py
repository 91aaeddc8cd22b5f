"""What a new list no longer tells is carried over from the one before, marked.

Lists forget: of the models of one year's releases of genai-prices a sixth disappeared, and lists without dates know
only what holds today.  A call of last month still has its price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from keledger.journal.prices._cells import Cell

_Spans = list[tuple[int, int]]


class Carried(NamedTuple):
    """The cells of a new list, and those of the one before that were carried over."""

    new: tuple[Cell, ...]
    carried: tuple[Cell, ...]


def carry_over(new: Iterable[Cell], old: Sequence[Cell], old_name: str) -> Carried:
    """What *old*, the layer before *new*, knew besides.

    That is each cell for the time in which the new list has none for this provider, model and context.  It is marked
    with *old_name*, or the layer that it came from once already.  Where the new list goes on with the very same
    prices, its cell begins when the old one did instead.  A bucket that the new list has no price for any more, in
    a time for which it has others, is not carried: it says what it prices there.
    """
    cells = list(new)
    covered: dict[tuple[str, str, str], _Spans] = defaultdict(list)
    beginnings: dict[tuple[object, ...], int] = {}
    for place, cell in enumerate(cells):
        covered[cell.provider, cell.model, cell.context].append((cell.valid_from_us, cell.valid_to_us))
        beginnings[_terms(cell), cell.valid_from_us] = place
    carried = []
    for cell in old:
        for start, end in spans_left(cell, covered[cell.provider, cell.model, cell.context]):
            following = beginnings.get((_terms(cell), end))
            if following is not None:
                cells[following] = cells[following]._replace(valid_from_us=start)
                continue
            origin = cell.carried_from or old_name
            carried.append(cell._replace(valid_from_us=start, valid_to_us=end, carried_from=origin))
    return Carried(tuple(cells), tuple(carried))


def _terms(cell: Cell) -> tuple[object, ...]:
    """All that a cell says but when, and where it is from."""
    return (
        cell.provider, cell.model, cell.context, cell.minute_from, cell.minute_to, cell.weekdays, cell.input_over,
        tuple(sorted(cell.usd_per_million.items())),
    )  # fmt: skip


def spans_left(cell: Cell, covered: _Spans) -> _Spans:
    """The spans of a cell that are not covered."""
    left = [(cell.valid_from_us, cell.valid_to_us)]
    for begin, end in covered:
        left = [
            part
            for start, stop in left
            for part in ((start, min(stop, begin)), (max(start, end), stop))
            if part[0] < part[1]
        ]
    return left
