"""``keledger prices``: the books that calls are priced by, and changing them."""

from __future__ import annotations

import click

from ._group import Entry, LazyGroup

SECTIONS = {
    "Looking": {
        "list": Entry("keledger.cli._prices_list:list_prices", "Show the models that have prices, and what they are."),
        "show": Entry("keledger.cli._prices_show:show", "Show one model's prices, and where each comes from."),
        "history": Entry(
            "keledger.cli._prices_history:history", "Show the books that were adopted, or one model's prices over time."
        ),
        "diff": Entry(
            "keledger.cli._prices_diff:diff",
            "Show what differs between two books, and what your calls would cost by each.",
        ),
    },
    "Changing": {
        "set": Entry("keledger.cli._prices_set:set_prices", "Set a price of your own."),
        "unset": Entry(
            "keledger.cli._prices_set:unset", "Take back prices that you have set, so that the lists' hold again."
        ),
        "update": Entry("keledger.cli._prices_sources:update", "Take the public list from the installed genai-prices."),
        "import": Entry("keledger.cli._prices_sources:import_prices", "Take in a price list of another project."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS, name="prices")
def prices() -> None:
    """Show and change the prices of calls.

    Prices stand in books, which are never changed: every change makes a new one, and an event in the journal says who
    made it and why.  A new book prices new calls only; what is journaled follows when you say so, with `keledger
    replay --reprice`.
    """
