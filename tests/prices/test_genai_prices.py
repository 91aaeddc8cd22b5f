"""The names of genai-prices' list, and which of its models the corrections bear on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keledger.journal.prices import Book

from .genai import CASES, EPOCH, MICROSECOND, providers

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("provider_id", sorted(provider.id for provider in providers))
def test_every_exact_name_of_the_list_means_what_it_means_there(shipped: Book, provider_id: str) -> None:
    """But for the names that the rules of ours give to another model, of the same provider."""
    provider = next(provider for provider in providers if provider.id == provider_id)
    moved = {("mistral", "mistral-large-latest")}
    for name in sorted({name for model in provider.models for name in exact_names(model.match)}):
        expected = provider.find_model(name, all_providers=providers)
        match = shipped.match(provider_id, name)
        assert expected is not None
        assert match is not None, name
        assert (match.provider, match.model) == (provider_id, expected.id) or (provider_id, name) in moved


def exact_names(clause: Any) -> Iterator[str]:
    if hasattr(clause, "equals"):
        yield clause.equals
    for part in getattr(clause, "or_", ()):
        yield from exact_names(part)


def test_the_corrections_change_just_these_models(list_only: Book, shipped: Book) -> None:
    days = [BEGIN + timedelta(days=day, hours=2) for day in range(0, 1090, 5)]
    instants = [(day - EPOCH) // MICROSECOND for day in days]
    changed = set()
    for provider, model, context in CASES:
        for instant in instants if provider.id in ("deepseek", "mistral", "google", "openai") else instants[-1:]:
            call = {"usage": {"input_uncached": 7, "output_text": 5}, "at_us": instant, "context": context}
            costs = [book.price(provider=provider.id, model=model.id, **call) for book in (list_only, shipped)]
            if costs[0].get("total_usd") != costs[1].get("total_usd"):
                changed.add((provider.id, model.id))
                break
    assert changed == {
        ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-flash"), ("deepseek", "deepseek-reasoner"),
        ("deepseek", "deepseek-v3.1-terminus"), ("deepseek", "deepseek-v3.2"), ("deepseek", "deepseek-v3.2-exp"),
        ("deepseek", "deepseek-v4-flash"), ("deepseek", "deepseek-v4-pro"),
        ("google", "gemma-3"), ("google", "gemma-3n"), ("google", "gemma-4-26b-a4b-it"), ("google", "gemma-4-31b-it"),
        ("openai", "moderation"),
    }  # fmt: skip
