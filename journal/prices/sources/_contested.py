"""Where a source has two prices for one thing and time: none of them is chosen, for it might be the wrong one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from keledger.journal.prices._cells import Cell
from keledger.journal.prices._editing import told_conditions

from ._carried import spans_left
from ._imported import Notes


class Contradicting(Exception):
    """A source has two prices of one model for the same time.  The message says whose and when, to end a clause."""


def told_span(valid_from_us: int, valid_to_us: int, input_over: int = -1) -> str:
    """A span of time, and a size, in words: ``from 2026-01-01, until 2026-02-01``."""
    return told_conditions(Cell("", "", "", {}, valid_from_us, valid_to_us, input_over=input_over))


def undisputed(series: Mapping[str, Sequence[Cell]], notes: Notes) -> Iterator[Cell]:
    """The cells of several names of a source that are one provider, model and context here, by name.

    Where just one of them has prices, or all say the same, these hold.  For the time in which they differ no cell is
    left of any, and a note names them.
    """
    contested = list(_contested(series)) if len(series) > 1 else []
    covered = list(contested)
    for cells in series.values():
        for cell in cells:
            for start, end in spans_left(cell, covered):
                yield cell._replace(valid_from_us=start, valid_to_us=end)
        covered += [(cell.valid_from_us, cell.valid_to_us) for cell in cells]
    if contested:
        cell = next(cell for cells in series.values() for cell in cells)
        model = f"{cell.provider} {cell.model} {cell.context}".rstrip()
        when = "; ".join(told_span(start, end) for start, end in contested)
        notes.contested.append(f"{model}: {' and '.join(series)} are one model here, at other prices ({when})")


def _contested(series: Mapping[str, Sequence[Cell]]) -> Iterator[tuple[int, int]]:
    """The spans in which not all that have prices have the same."""
    every = [cell for cells in series.values() for cell in cells]
    instants = sorted({instant for cell in every for instant in (cell.valid_from_us, cell.valid_to_us)})
    begun: int | None = None
    for instant in instants:  # at the last of them nothing holds any more
        if len({said for cells in series.values() if (said := _said(cells, instant))}) > 1:
            begun = instant if begun is None else begun
        elif begun is not None:
            yield begun, instant
            begun = None


def _said(cells: Sequence[Cell], at_us: int) -> frozenset[object]:
    """All that the cells say at an instant, whenever they begin and end."""
    return frozenset(
        (cell.minute_from, cell.minute_to, cell.weekdays, cell.input_over, frozenset(cell.usd_per_million.items()))
        for cell in cells
        if cell.valid_from_us <= at_us < cell.valid_to_us
    )
