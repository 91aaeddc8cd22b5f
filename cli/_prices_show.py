"""``keledger prices show``: one model's prices, and where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from keledger.journal import format_time, now_us
from keledger.journal.prices import (
    ALWAYS_US,
    BUCKETS,
    Explained,
    Held,
    explain,
    price_rows,
    told_conditions,
    told_instant,
)

from ._group import command
from ._instants import parse_instant
from ._options import Settings, common_options, pass_settings
from ._output import write_fields, write_json, write_table
from ._prices_asked import Prices, find_model, open_prices, parse_context
from ._prices_telling import Layers, PriceRow, layers_of, price_table_rows, prices_table, validity
from ._table import Column, Table, count


@command(
    name="show",
    examples=(
        "keledger prices show openai/gpt-5-mini",
        "keledger prices show gemini/gemini-2.5-pro --input-tokens 250000",
        "keledger prices show anthropic/claude-sonnet-4-5 --context processing=batch --at 2026-01-01",
    ),
)
@click.argument("model", metavar="MODEL")
@click.option("--context", "terms", metavar="KEY=VALUE,…", default="", help="On these terms: processing=batch.")
@click.option("--at", "at", metavar="DAY|TIME", help="The prices of then, by what is known now.  A day is 0:00 UTC.")
@click.option(
    "--input-tokens",
    "input_tokens",
    type=click.IntRange(0, 2**53 - 1),
    default=0,
    show_default=True,
    help="The size of the request, by which a price tier is chosen.",
)
@common_options
@pass_settings
def show(settings: Settings, model: str, terms: str, at: str | None, input_tokens: int) -> None:
    """Show one model's prices, and where each comes from.

    MODEL is PROVIDER/MODEL, or the model alone where only one provider has it.  Which model a name means is said by
    rules, and which rule it was is shown; a name that no rule knows has no price, however like another it is.
    """
    prices = open_prices(settings.home)
    provider, name = find_model(model, prices.book)
    context = parse_context(terms)
    at_us = parse_instant(at, prices.zone, "--at") if at is not None else now_us()
    explained = explain(prices.book, provider, name, context, at_us, input_tokens)
    assert explained is not None, "a model that was found has a meaning"
    layers = layers_of(prices.current)
    contexts = _contexts(prices, provider, name)
    others = [
        row
        for row in price_table_rows(price_rows(prices.book, provider, name))
        if row.change.context == explained.context and row.change.valid_from_us <= at_us < row.change.valid_to_us
    ]
    if settings.as_json:
        write_json(_document(prices, layers, (provider, name), at_us, input_tokens, explained, contexts, others))
        return
    write_fields(
        {
            "Model": f"{explained.match.provider}/{explained.match.model}",
            "Because": f"{provider}/{name} {explained.match.rule}",
            "At": told_instant(at_us) if at is not None else f"{format_time(at_us)[:16]}Z, now",
            "Terms": "no prices on these" if explained.context is None else explained.context or "standard",
            "Other terms": ", ".join(each or "standard" for each in contexts if each != explained.context) or None,
            "Request": f"of {count(input_tokens)} input tokens" if input_tokens else None,
            "Book": prices.book.sha256,
        }
    )
    if explained.prices:
        click.echo()
        write_table(_table(layers, explained), "Prices in USD per million units")
    else:
        click.echo("No price holds on these terms at that time: such a call is unpriced.")
    varying = [row for row in others if row.hours or row.change.input_over >= 0 or _is_tiered(row, others)]
    if varying:
        click.echo()
        write_table(
            prices_table([_without_time(row) for row in varying]), "By the size of the request and the time of the week"
        )


def _contexts(prices: Prices, provider: str, model: str) -> list[str]:
    """The terms that this model has prices on, the standard ones as an empty text."""
    return sorted({cell.context for each in prices.book.found(provider, model) for cell in each.offered()})


def _in_order(explained: Explained) -> list[tuple[str, Held]]:
    places = {bucket: place for place, bucket in enumerate(BUCKETS)}
    return sorted(explained.prices.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _table(layers: Layers, explained: Explained) -> Table:
    table = Table(
        [
            Column("Price of"),
            Column("USD", number=True),
            Column("Layer", least=8),
            Column("When", least=10, drop=1),
            Column("Known", least=10, drop=3),
            Column("Source", drop=2),
        ]
    )
    for bucket, held in _in_order(explained):
        cell = held.cell
        table.add(
            bucket,
            held.usd_per_million if held.usd_per_million is not None else "not known",
            layers.names[held.place],
            told_conditions(cell._replace(context="")),
            cell.date or layers.dates[held.place],
            cell.source or layers.sources[held.place],
        )
    return table


def _is_tiered(row: PriceRow, others: Sequence[PriceRow]) -> bool:
    return any(other.change.input_over >= 0 and other.change.bucket == row.change.bucket for other in others)


def _without_time(row: PriceRow) -> PriceRow:
    """A row of a table above which the time and the terms stand already."""
    return row._replace(change=row.change._replace(context="", valid_from_us=-ALWAYS_US, valid_to_us=ALWAYS_US))


def _document(
    prices: Prices,
    layers: Layers,
    asked: tuple[str, str],
    at_us: int,
    input_tokens: int,
    explained: Explained,
    contexts: Sequence[str],
    others: Sequence[PriceRow],
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "prices_show",
        "currency": "USD",
        "at": format_time(at_us),
        "input_tokens": input_tokens,
        "book": prices.book.sha256,
        "layers": layers.as_json(),
        "asked": {"provider": asked[0], "model": asked[1]},
        "matched": {
            "provider": explained.match.provider,
            "model": explained.match.model,
            "rule": explained.match.rule,
            "by_fallback": explained.match.by_fallback,
            "context": explained.context,
        },
        "contexts": list(contexts),
        "prices": [
            {
                "bucket": bucket,
                "usd_per_million": held.usd_per_million,
                "layer": layers.names[held.place],
                "provider": held.cell.provider,
                "model": held.cell.model,
                **validity(held.cell.valid_from_us, held.cell.valid_to_us),
                "minutes": [held.cell.minute_from, held.cell.minute_to],
                "weekdays": held.cell.weekdays,
                "input_over": held.cell.input_over if held.cell.input_over >= 0 else None,
                "source": held.cell.source or layers.sources[held.place],
                "date": held.cell.date or layers.dates[held.place],
                "carried_from": held.cell.carried_from,
            }
            for bucket, held in _in_order(explained)
        ],
        "by_size_and_hours": [_told_row(row) for row in others],
    }


def _told_row(row: PriceRow) -> dict[str, Any]:
    told = row.as_json()
    names = ("bucket", "valid_from", "valid_to", "hours", "input_over", "input_to")
    return {"usd_per_million": told["new_usd_per_million"], **{name: told[name] for name in names}}
