"""``keledger models show``: what is known of one model, and whence."""

from __future__ import annotations

import click

from keledger.journal import format_time, now_us
from keledger.journal.estimates import NEEDS, ModelFacts

from ._group import command
from ._models_asked import UNKNOWN, Models, open_models, unit_prices
from ._options import Settings, common_options, pass_settings
from ._output import write_fields, write_json, write_table
from ._prices_asked import find_model
from ._table import Column, Table, count

_TITLES = {
    "quality": "Quality",
    "context_window": "Context window",
    "output_limit": "Output limit",
    "vision": "Sees images",
    "tools": "Calls functions",
    "reasons": "Reasons",
}


@command(
    name="show",
    examples=("keledger models show anthropic/claude-sonnet-5-5", "keledger models show openai/gpt-5-mini"),
)
@click.argument("model", metavar="MODEL")
@common_options
@pass_settings
def show(settings: Settings, model: str) -> None:
    """Show what is known of one model, and whence.

    MODEL is PROVIDER/MODEL, or the model alone where only one provider has it.  `keledger prices show` has all of its
    prices.
    """
    models = open_models(settings.home)
    found = _find(models, model)
    at_us = now_us()
    prices = unit_prices(models.book, found, at_us)
    if settings.as_json:
        document = {
            "schema_version": 1,
            "report": "models_show",
            "currency": "USD",
            "at": format_time(at_us),
            "book": models.book.sha256,
            **found.as_json(),
            "input_usd_per_million": prices.input_price,
            "output_usd_per_million": prices.output_price,
        }
        write_json(document)
        return
    write_fields(
        {
            "Model": found.name,
            "Input": _told_price(prices.input_price),
            "Output": _told_price(prices.output_price),
            "Book": models.book.sha256,
            "Suggested": None if found.use else "never, as your config.toml says",
        }
    )
    click.echo()
    write_table(_table(found))


def _find(models: Models, text: str) -> ModelFacts:
    """The model; one that only the user knows is found by its whole name.  Raises NotFound that names what is near."""
    provider, slash, name = text.partition("/")
    found = models.table.find(provider, name) if slash else None
    if found is None:
        found = models.table.find(*find_model(text, models.book))
    assert found is not None, "a model that the book knows is in the table"
    return found


def _table(found: ModelFacts) -> Table:
    table = Table(
        [
            Column("Fact"),
            Column("Value", least=8),
            Column("Basis", least=8, drop=1),
            Column("As of", least=10, drop=4),
            Column("Why", drop=2),
            Column("Source", drop=3),
        ]
    )
    for name, title in _TITLES.items():
        fact = found.facts.get(name)
        if fact is None:
            table.add(title, UNKNOWN, "", "", "", "")
            continue
        switch = name in (*NEEDS, "reasons")
        value = ("yes" if fact.value else "no") if switch else _told(fact.value)
        table.add(title, value, fact.basis, fact.date or "", fact.why or "", fact.source)
    return table


def _told(value: str | int | bool) -> str:
    return count(value) if isinstance(value, int) else value


def _told_price(usd_per_million: str | None) -> str:
    return UNKNOWN if usd_per_million is None else f"{usd_per_million} USD per million tokens"
