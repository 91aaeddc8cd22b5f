"""``keledger prices diff``: what differs between two books, and what that does to one's own calls."""

from __future__ import annotations

import click

from keledger.journal import Home, report_zone
from keledger.journal.prices import changed_prices, shipped_book, shipped_manifest
from keledger.projections import find_book, open_projection

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json
from ._prices_adopting import effect_on_calls, show_changes, show_effect
from ._prices_asked import Prices, open_prices
from ._prices_telling import price_table_rows
from ._progress import Progress


@command(
    name="diff",
    examples=(
        "keledger prices diff shipped",
        "keledger prices diff known:2026-10-31 current",
        "keledger prices diff 3825ef3f 6ac5c3a1",
    ),
)
@click.argument("books", metavar="[OLD] NEW", nargs=-1, required=True)
@common_options
@pass_settings
def diff(settings: Settings, books: tuple[str, ...]) -> None:
    """Show what differs between two books, and what your calls would cost by each.

    A book is told by its id or the beginning of it, or it is `current`, `shipped` (that which comes with the program)
    or `known:DATE` (that which was known here at the end of a day).  OLD is the current one, unless it is given.
    """
    if len(books) > 2:
        raise click.UsageError(f"{len(books)} books are given: give one, or the old and the new one")
    prices = open_prices(settings.home)
    asked_old, asked_new = books if len(books) == 2 else ("current", books[0])
    old, new = (
        prices.current.store.load_book(_found(settings.home, prices, asked)) for asked in (asked_old, asked_new)
    )
    rows = price_table_rows(changed_prices(old, new))
    effect = effect_on_calls(settings.home, old, new)
    if settings.as_json:
        document = {
            "schema_version": 1,
            "report": "prices_diff",
            "currency": "USD",
            "old": old.sha256,
            "new": new.sha256,
            "changes": [row.as_json() for row in rows],
            "effect": effect.as_json() if effect is not None else None,
        }
        write_json(document)
        return
    click.echo(f"Old: book {old.sha256} ({asked_old})\nNew: book {new.sha256} ({asked_new})")
    if not rows:
        click.echo("No price differs.")
    show_changes(rows)
    show_effect(effect)


def _found(home: Home, prices: Prices, asked: str) -> str:
    """The id of a book.  Raises NotFound or UsageError."""
    if asked == "current":
        return prices.book.sha256
    if asked == "shipped":
        prices.current.store.hold({shipped_manifest().sha256: shipped_book()[0], **shipped_book()[1]})
        return shipped_manifest().sha256
    if asked and prices.book.sha256.startswith(asked.lower()):  # also one that is still to be adopted
        return prices.book.sha256
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        return find_book(projection, asked, timezone=report_zone(home))
