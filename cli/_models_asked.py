"""What the commands of ``keledger models`` share: the table of models, their prices, and what is asked of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from keledger.journal import Home
from keledger.journal.estimates import NEEDS, ModelFacts, ModelTable, load_models
from keledger.journal.prices import Book, explain

from ._prices_asked import Prices, open_prices
from ._table import Column, count

UNKNOWN = "?"
"""In a table, for what nobody has told."""

NAME_WIDTH = 40
"""A model's name is to be typed again: up to this long it is not cut, other columns go first."""


class Models(NamedTuple):
    """The home's models as a command finds them."""

    prices: Prices
    table: ModelTable

    @property
    def book(self) -> Book:
        """The current price book."""
        return self.prices.book


def open_models(home: Home) -> Models:
    """The current book's models, with the user's own facts over the shipped ones.  Raises HomeError and others."""
    prices = open_prices(home)
    return Models(prices, load_models(home, prices.book))


def parse_needs(given: Sequence[str]) -> frozenset[str]:
    """``tools,vision``, perhaps given several times.  Raises click.BadParameter."""
    needs = frozenset(part.strip() for text in given for part in text.split(",") if part.strip())
    for need in sorted(needs - set(NEEDS)):
        near = difflib.get_close_matches(need, NEEDS, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else f": there is {', '.join(NEEDS)}"
        raise click.BadParameter(f"{need!r} is no capability{hint}", param_hint="--needs")
    return needs


def parse_providers(given: Sequence[str], book: Book, known: frozenset[str]) -> frozenset[str]:
    """The ids of providers.  Raises click.BadParameter for one that has no model here, and names what is near."""
    found = set()
    for text in given:
        provider = book.own_name(text, "")[0]
        if provider not in known:
            near = difflib.get_close_matches(provider, sorted(known), n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; keledger models list shows all"
            raise click.BadParameter(f"{text!r} is no provider with a model here{hint}", param_hint="--provider")
        found.add(provider)
    return frozenset(found)


class UnitPrices(NamedTuple):
    """What a model's smallest requests cost on standard terms, in USD per million tokens; None where not known."""

    input_price: str | None
    output_price: str | None


def unit_prices(book: Book, model: ModelFacts, at_us: int) -> UnitPrices:
    """The prices of plain input and of text that hold at an instant."""
    explained = explain(book, model.provider, model.model, {}, at_us, 0)
    held = explained.prices if explained is not None else {}
    texts = [held[bucket].usd_per_million if bucket in held else None for bucket in ("input_uncached", "output_text")]
    return UnitPrices(*texts)


def name_column(models: Iterable[ModelFacts]) -> Column:
    """The column of names, as wide as they are, up to NAME_WIDTH."""
    return Column("Model", least=min(max((len(model.name) for model in models), default=0), NAME_WIDTH))


def told_count(value: int | None) -> str:
    """A number of tokens for a table."""
    return UNKNOWN if value is None else count(value)


def told_capabilities(model: ModelFacts) -> str:
    """What the model can, those with a question mark where it is not known."""
    parts = []
    for need in (*NEEDS, "reasons"):
        able = model.can(need)
        if able is not False:
            parts.append(need if able else f"{need}{UNKNOWN}")
    return " ".join(parts)
