"""``keledger prices history``: when a price held, and when it was known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from keledger.journal import KeledgerError, format_time
from keledger.journal.prices import Book, changed_prices, price_rows
from keledger.projections import PriceAdoption, open_projection, price_adoptions

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json, write_table
from ._prices_adopting import show_changes
from ._prices_asked import Prices, find_model, open_prices
from ._prices_telling import PriceRow, price_table_rows, prices_table
from ._progress import Progress
from ._table import Column, Table


class _Known(NamedTuple):
    """An adoption, and which of one model's prices came with it."""

    adoption: PriceAdoption
    rows: list[PriceRow]


@command(
    name="history",
    examples=("keledger prices history", "keledger prices history deepseek/deepseek-chat"),
)
@click.argument("model", metavar="[MODEL]", required=False)
@common_options
@pass_settings
def history(settings: Settings, model: str | None) -> None:
    """Show the books that were adopted, or one model's prices over time.

    A price has two times: when it holds, and when it became known here.  With MODEL the first table has its prices by
    the current book, on all terms, with the time for which they hold; then comes, for each book that changed them, when
    it was adopted, by whom and why, and what it changed.
    """
    home = settings.home_to_read()
    prices = open_prices(settings.home)
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        adoptions = price_adoptions(projection)
    if model is None:
        _show_books(settings, adoptions)
        return
    provider, name = find_model(model, prices.book)
    rows = price_table_rows(price_rows(prices.book, provider, name))
    known = list(_known(prices, adoptions, provider, name))
    if settings.as_json:
        document = {
            "schema_version": 1,
            "report": "prices_history",
            "currency": "USD",
            "book": prices.book.sha256,
            "asked": {"provider": provider, "model": name},
            "prices": [_price(row) for row in rows],
            "known": [{**_adoption(each.adoption), "changes": [row.as_json() for row in each.rows]} for each in known],
        }
        write_json(document)
        return
    write_table(
        prices_table(rows), f"Prices of {provider}/{name} in USD per million units, by book {prices.book.sha256[:12]}"
    )
    for each in known:
        click.echo(f"\n{_told_adoption(each.adoption)}")
        if each.adoption is adoptions[0]:
            click.echo("The first book of this home.")
        else:
            show_changes(each.rows)


def _known(prices: Prices, adoptions: Sequence[PriceAdoption], provider: str, model: str) -> Iterator[_Known]:
    """The adoptions that changed a model's prices; one whose files cannot be read is told and left out."""
    before: Book | None = None
    for adoption in adoptions:
        try:
            book = prices.current.store.load_book(adoption.book)
        except KeledgerError as error:
            say(f"warning: {error}")
            continue
        rows = price_table_rows(changed_prices(before, book, [(provider, model)]))
        if rows:
            yield _Known(adoption, rows)
        before = book


def _show_books(settings: Settings, adoptions: Sequence[PriceAdoption]) -> None:
    if settings.as_json:
        write_json({"schema_version": 1, "report": "prices_history", "rows": [_adoption(each) for each in adoptions]})
        return
    if not adoptions:
        click.echo("No price book was adopted yet: the shipped one will be, with the first call.")
        return
    table = Table(
        [
            Column("Known from", least=19),
            Column("Book", least=12),
            Column("Layers, the strongest first", least=20, drop=2),
            Column("By", least=4, drop=1),
            Column("Reason", least=16),
        ]
    )
    for each in adoptions:
        layers = ", ".join(layer.name for layer in each.layers)
        table.add(format_time(each.time_us)[:19].replace("T", " "), each.book[:12], layers, each.actor, each.reason)
    write_table(table, "Price books that were adopted, the first one first; times in UTC")


def _told_adoption(adoption: PriceAdoption) -> str:
    when = format_time(adoption.time_us)[:19].replace("T", " ")
    return f"Known from {when} UTC, by book {adoption.book[:12]} of {adoption.actor}: {adoption.reason}"


def _adoption(adoption: PriceAdoption) -> dict[str, Any]:
    return {
        "id": adoption.id,
        "known_from": format_time(adoption.time_us),
        "book": adoption.book,
        "layers": [layer._asdict() for layer in adoption.layers],
        "actor": adoption.actor,
        "reason": adoption.reason,
    }


def _price(row: PriceRow) -> dict[str, Any]:
    told = row.as_json()
    del told["old_usd_per_million"]
    return {"usd_per_million": told.pop("new_usd_per_million"), **told}
