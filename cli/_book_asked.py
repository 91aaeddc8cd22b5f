"""The price book, and the model in it, that a report with a supposition is asked for."""

from __future__ import annotations

import click

from keledger.journal import Home, current_prices
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


def asked_model(projection: Projection, book: Book, text: str) -> tuple[str, str]:
    """The model that is asked for; where several providers have one of this name, at the only one that was called."""
    if not text.strip():
        raise click.BadParameter("it is empty: name a model like openai/gpt-5-mini", param_hint="--model")
    if "/" not in text:
        called = {book.own_name(provider, "")[0] for (provider,) in projection.query(_PROVIDERS)}
        offering = [provider for provider, _, _ in find_named(book, text) if provider in called]
        if len(offering) == 1:
            return offering[0], text.strip()
    return find_model(text, book)
