"""``keledger models list``: models, what they can and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from keledger.journal import NotFound, format_time, now_us
from keledger.journal.estimates import QUALITIES, ModelFacts, load_tiers

from ._group import command
from ._models_asked import (
    UNKNOWN,
    Models,
    UnitPrices,
    name_column,
    open_models,
    parse_needs,
    parse_providers,
    told_capabilities,
    told_count,
    unit_prices,
)
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._prices_telling import told_price
from ._table import Column, Table, count


@command(
    name="list",
    examples=(
        "keledger models list --provider anthropic",
        "keledger models list --quality high --needs tools,vision",
    ),
)
@click.option("--provider", "providers", metavar="PROVIDER", multiple=True, help="Only of these.  May be given again.")
@click.option("--quality", type=click.Choice(QUALITIES), help="Only models of at least this quality.")
@click.option("--needs", metavar="NEED,…", multiple=True, help="Only models known to have these: tools, vision.")
@click.option("--all", "everything", is_flag=True, help="Also of whoever sells what others make.")
@common_options
@pass_settings
def list_models(
    settings: Settings, providers: Sequence[str], quality: str | None, needs: Sequence[str], everything: bool
) -> None:
    """Show models, what they can and what they cost.

    Prices are in USD per million tokens, on standard terms, for the smallest requests.  A question mark stands for
    what is not known.  Without --provider or --all these are the models of who makes them.
    """
    models = open_models(settings.home)
    at_us = now_us()
    needed = parse_needs(needs)
    known = frozenset(models.table.counts())
    wanted = known if everything else frozenset(load_tiers().makers)
    if providers:
        wanted = parse_providers(providers, models.book, known)
    least = QUALITIES.index(quality) if quality is not None else None
    found = [
        (row, unit_prices(models.book, row, at_us))
        for row in models.table.rows(wanted)
        if (least is None or (row.quality is not None and QUALITIES.index(row.quality) >= least))
        and all(row.can(need) for need in needed)
    ]
    if settings.as_json:
        write_json(_document(models, at_us, found))
        return
    if not found:
        raise NotFound("no model fits; keledger models list --all shows every one that is known")
    _show(models, found)


def _show(models: Models, found: Sequence[tuple[ModelFacts, UnitPrices]]) -> None:
    table = Table(
        [
            name_column(row for row, _ in found),
            Column("Quality", least=8),
            Column("Input", number=True),
            Column("Output", number=True),
            Column("Window", number=True, drop=1),
            Column("Output limit", number=True, drop=2),
            Column("Can", least=8, drop=3),
            Column("Quality from", least=12, drop=4),
        ]
    )
    for row, prices in found:
        fact = row.facts.get("quality")
        table.add(
            row.name,
            row.quality or UNKNOWN,
            told_price(prices.input_price),
            told_price(prices.output_price),
            told_count(row.context_window),
            told_count(row.output_limit),
            told_capabilities(row),
            "" if fact is None else (fact.why or "") if fact.basis == "measured" else fact.basis,
        )
    models_told = f"{count(len(found))} model{'s' if len(found) != 1 else ''}"
    heading = f"{models_told}, prices in USD per million tokens by book {models.book.sha256[:12]}"
    write_table(table, heading, "keledger models show MODEL tells what each fact rests on.")


def _document(models: Models, at_us: int, found: Sequence[tuple[ModelFacts, UnitPrices]]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "models_list",
        "currency": "USD",
        "at": format_time(at_us),
        "book": models.book.sha256,
        "rows": [
            {
                **row.as_json(),
                "input_usd_per_million": prices.input_price,
                "output_usd_per_million": prices.output_price,
            }
            for row, prices in found
        ],
    }
