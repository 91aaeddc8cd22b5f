"""The price book, and the model in it, that a report with a supposition is asked for."""

from __future__ import annotations

import click

from keledger.journal import Home, current_prices
from keledger.journal.estimates import load_tiers
from keledger.journal.prices import Book, PriceStore
from keledger.projections import Projection, find_book

from ._prices_asked import find_model, find_named

_PROVIDERS = "SELECT DISTINCT provider FROM call_fact"


def asked_book(projection: Projection, home: Home, given: str | None, zone: str) -> Book:
    """The book that is asked for; else the newest, which in a home without one is the shipped one."""
    if given is not None:
        return PriceStore(home.prices).load_book(find_book(projection, given, timezone=zone))
    current = current_prices(home)
    return current.store.load_book(current.manifest.sha256)


def _makers_of(offering: list[tuple[str, str, str]]) -> list[str]:
    """Who makes a model, of those who offer it: the one whose name for it stands first in the table of qualities."""
    tiers = load_tiers()
    names = {(provider, model): offerer for offerer, provider, model in offering}
    listed = next((names[name] for name in tiers.qualities if name in names), None)
    return [listed] if listed else [offerer for offerer, _, _ in offering if offerer in tiers.makers]


def asked_model(projection: Projection, book: Book, text: str) -> tuple[str, str]:
    """The model that is asked for; where several providers have one of this name, at the only one of them that was
    called, else at who makes it.
    """
    if not text.strip():
        raise click.BadParameter("it is empty: name a model like openai/gpt-5-mini", param_hint="--model")
    if "/" not in text:
        called = {book.own_name(provider, "")[0] for (provider,) in projection.query(_PROVIDERS)}
        offering = find_named(book, text)
        found = [provider for provider, _, _ in offering if provider in called] or _makers_of(offering)
        if len(found) == 1:
            return found[0], text.strip()
    return find_model(text, book)
