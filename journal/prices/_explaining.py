"""Why a call costs what it does: of each bucket the price, the cell that states it, and the layer of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ._book import Book, Found
from ._cells import Cell
from ._names import Match


class Held(NamedTuple):
    """The price of one bucket: by which *cell*, of the layer at which *place* in the book (0 is the strongest).

    ``usd_per_million`` is None where the cell says that the price is not known.
    """

    usd_per_million: str | None
    cell: Cell
    place: int


class Explained(NamedTuple):
    """What a name means, the context that is chosen for it (None: none fits), and the prices by bucket."""

    match: Match
    context: str | None
    prices: Mapping[str, Held]


def explain(
    book: Book, provider: str, model: str, context: Mapping[str, str], at_us: int, input_total: int
) -> Explained | None:
    """What :meth:`Book.price` goes by for a request of *input_total* tokens at an instant; None for an unknown name."""
    found = book.found(provider, model)
    if not found:
        return None
    chosen = book.chosen_context(found, provider, model, context)
    prices = held_prices(found, chosen, at_us, input_total) if chosen is not None else {}
    return Explained(found[0].match, chosen, prices)


def held_prices(found: Iterable[Found], context: str, at_us: int, input_total: int) -> dict[str, Held]:
    """The price of each bucket that has one in this context: that of the strongest layer and its highest tier."""
    prices: dict[str, Held] = {}
    for each in found:
        for cell in sorted(each.of_context(context), key=lambda cell: -cell.input_over):
            if cell.holds(at_us, input_total):
                for bucket, price in cell.usd_per_million.items():
                    prices.setdefault(bucket, Held(price, cell, each.place))
    return prices
