"""``keledger prices list``: every model that has prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

from keledger.journal import NotFound, format_time, now_us
from keledger.journal.prices import KINDS, explain, told_instant

from ._group import command
from ._instants import parse_instant
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._prices_asked import Prices, open_prices
from ._prices_telling import Layers, layers_of, told_price
from ._table import Column, Table, count

_SHOWN = ("input_uncached", "output_text", "cache_read", "cache_write_5m")


class _Priced(NamedTuple):
    """One model, and by bucket its price and the place of the layer that has it."""

    provider: str
    model: str
    prices: Mapping[str, tuple[str, int]]

    def layers(self, layers: Layers) -> list[str]:
        """The names of the layers that have these prices, strongest first."""
        return [layers.names[place] for place in sorted({place for _, place in self.prices.values()})]


@command(
    name="list",
    examples=(
        "keledger prices list --provider openai",
        "keledger prices list --layer user",
        "keledger prices list --model sonnet --at 2026-01-01",
    ),
)
@click.option("--provider", metavar="PROVIDER", help="Only of this provider.")
@click.option("--model", "text", metavar="TEXT", help="Only models with this in their name.")
@click.option("--layer", type=click.Choice(KINDS), help="Only models that have a price from such a layer.")
@click.option("--at", "at", metavar="DAY|TIME", help="The prices of then, by what is known now.  A day is 0:00 UTC.")
@common_options
@pass_settings
def list_prices(settings: Settings, provider: str | None, text: str | None, layer: str | None, at: str | None) -> None:
    """Show the models that have prices, and what they are.

    They are in USD per million tokens, on standard terms, for the smallest requests; `keledger prices show` has all
    of a model's.
    """
    prices = open_prices(settings.home)
    at_us = parse_instant(at, prices.zone, "--at") if at is not None else now_us()
    layers = layers_of(prices.current)
    wanted = prices.book.own_name(provider, "")[0] if provider is not None else None
    found = [
        each
        for each in _priced_models(prices, at_us)
        if wanted in (None, each.provider)
        and (text is None or text.lower() in each.model)
        and (layer is None or any(layers.kinds[place] == layer for _, place in each.prices.values()))
    ]
    if settings.as_json:
        write_json(_document(prices, layers, at_us, found))
        return
    if not found:
        raise NotFound("no model that fits has a price; keledger prices list shows all that have one")
    table = Table(
        [
            Column("Model", least=24),
            Column("Input", number=True),
            Column("Output", number=True),
            Column("Cache read", number=True, drop=1),
            Column("Cache write", number=True, drop=2),
            Column("From", least=8, drop=3),
        ]
    )
    for each in found:
        shown = (told_price(each.prices[bucket][0] if bucket in each.prices else None) for bucket in _SHOWN)
        table.add(f"{each.provider}/{each.model}", *shown, ", ".join(each.layers(layers)))
    when = f" at {told_instant(at_us)}" if at is not None else ""
    models = f"{count(len(found))} model{'s' if len(found) != 1 else ''}"
    heading = f"Prices of {models}{when} in USD per million tokens, by book {prices.book.sha256[:12]}"
    write_table(table, heading, f"Layers, the strongest first: {layers.told()}")


def _priced_models(prices: Prices, at_us: int) -> Iterator[_Priced]:
    for provider, model in prices.book.models():
        explained = explain(prices.book, provider, model, {}, at_us, 0)
        if explained is None:
            continue
        held = {
            bucket: (each.usd_per_million, each.place)
            for bucket, each in sorted(explained.prices.items())
            if each.usd_per_million is not None
        }
        if held:
            yield _Priced(provider, model, held)


def _document(prices: Prices, layers: Layers, at_us: int, found: Sequence[_Priced]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "prices_list",
        "currency": "USD",
        "at": format_time(at_us),
        "book": prices.book.sha256,
        "layers": layers.as_json(),
        "rows": [
            {
                "provider": each.provider,
                "model": each.model,
                "prices": {
                    bucket: {"usd_per_million": price, "layer": layers.names[place]}
                    for bucket, (price, place) in each.prices.items()
                },
            }
            for each in found
        ],
    }
