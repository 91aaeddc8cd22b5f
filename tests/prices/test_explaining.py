"""Why a price is what it is: the same prices as a call gets, each with the cell and the layer that states it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal._time import parse_time
from keledger.journal.prices import Book, Cell, explain, shipped_manifest

from .conftest import PriceFolder
from .test_editing import steady

NOON = parse_time("2026-11-18T12:00:00Z")
FIRST, LAST = parse_time("2024-01-01T00:00:00Z"), parse_time("2027-06-01T00:00:00Z")
INPUT = ("input_uncached", "cache_read", "cache_write_5m", "input_audio")
OTHERS = ("output_text", "output_reasoning", "web_searches", "requests")


def prices_of(book: Book, provider: str, model: str, context: dict[str, str], at_us: int, size: int) -> dict[str, str]:
    """The price of each bucket that has one, as calls of this size get it."""
    usage = dict.fromkeys((*INPUT, *OTHERS), 1) | {"input_uncached": size - len(INPUT) + 1}
    cost = book.price(provider=provider, model=model, usage=usage, at_us=at_us, context=context)
    return {line["bucket"]: line["usd_per_million"] for line in cost["lines"] if "usd_per_million" in line}


@settings(steady, max_examples=300)
@given(st.data())
def test_what_is_explained_is_what_calls_cost(shipped: Book, data: st.DataObject) -> None:
    """The shipped book has tiers, contexts, peak hours, names by rule and by fallback."""
    provider, model = data.draw(st.sampled_from(shipped.models()))
    provider = data.draw(st.sampled_from([provider, "azure"]))
    context = data.draw(
        st.sampled_from([{}, {"processing": "batch"}, {"service_tier": "flex"}, {"service_tier": "default"}])
    )
    at_us = data.draw(st.integers(FIRST, LAST))
    size = data.draw(st.sampled_from([10, 128_000, 200_000, 200_001, 300_000, 1_000_000]))
    explained = explain(shipped, provider, model, context, at_us, size)
    held = explained.prices if explained is not None else {}
    known = {bucket: each.usd_per_million for bucket, each in held.items() if each.usd_per_million is not None}
    wanted = {bucket: known[bucket] for bucket in (*INPUT, *OTHERS) if bucket in known}
    assert wanted == prices_of(shipped, provider, model, context, at_us, size)
    assert (explained is None) is (shipped.match(provider, model) is None)


def test_each_price_is_told_with_its_layer_and_cell(prices: PriceFolder) -> None:
    mine = Cell("openai", "gpt-5-mini", "", {"input_uncached": "0.2", "cache_read": None}, source="our contract")
    layers = [prices.layer("user", mine), *shipped_manifest().layers]
    book = prices.book(layers)
    explained = explain(book, "openai", "gpt-5-mini-2025-08-07", {}, NOON, 0)
    assert explained is not None
    assert (explained.match.model, explained.context) == ("gpt-5-mini", "")
    held = explained.prices
    assert (held["input_uncached"].usd_per_million, held["input_uncached"].place) == ("0.2", 0)
    assert held["input_uncached"].cell == mine
    assert (held["cache_read"].usd_per_million, held["cache_read"].place) == (None, 0)
    assert (held["output_text"].usd_per_million, layers[held["output_text"].place].name) == ("2", "genai-prices 0.2.3")


def test_terms_without_prices_and_names_without_rules_have_no_price(shipped: Book) -> None:
    explained = explain(shipped, "openai", "gpt-5-mini", {"speed": "warp"}, NOON, 0)
    assert explained is not None
    assert (explained.context, explained.prices) == (None, {})
    assert explain(shipped, "openai", "gpt-5-mimi", {}, NOON, 0) is None
