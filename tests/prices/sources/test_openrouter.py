"""OpenRouter's models answer: every price, and overrides that hold where all their conditions do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal._errors import InputRefused
from keledger.journal.prices import TIER_BUCKETS

from .conftest import FIRST_US, book_of, ones, prices_of, read

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None, max_examples=150)

DAY_US = 24 * 3600 * 10**6
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

BUCKETS = {
    "input_uncached": ("prompt",),
    "cache_read": ("input_cache_read", "prompt"),
    "cache_write_5m": ("input_cache_write", "prompt"),
    "cache_write_1h": ("input_cache_write_1h", "input_cache_write", "prompt"),
    "input_audio": ("audio", "prompt"),
    "cache_read_audio": ("input_audio_cache", "input_cache_read", "audio", "prompt"),
    "input_image": ("image_token", "prompt"),
    "input_video": ("prompt",),
    "output_text": ("completion",),
    "output_reasoning": ("internal_reasoning", "completion"),
    "output_audio": ("audio_output", "completion"),
    "output_image": ("image_output", "completion"),
    "output_video": ("completion",),
    "requests": ("request",),
    "web_searches": ("web_search",),
}
"""By which key a bucket is billed: the first that the model has."""


def answer(*models: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": list(models)}


def naive(pricing: Mapping[str, Any], usage: Mapping[str, int], at_us: int) -> dict[str, Decimal]:
    """USD per million units by bucket, by OpenRouter's own words."""
    size = sum(count for bucket, count in usage.items() if bucket in TIER_BUCKETS)
    weekday, minute = WEEKDAYS[(at_us // DAY_US + 3) % 7], at_us % DAY_US // (60 * 10**6)
    effective = {key: value for key, value in pricing.items() if key not in ("overrides", "discount")}
    for override in pricing.get("overrides", ()):
        conditions = []
        if "min_prompt_tokens" in override:
            conditions.append(size > override["min_prompt_tokens"])
        if "utc_days" in override:
            conditions.append(weekday in override["utc_days"])
        if "utc_start" in override:
            start, end = (int(override[key][:2]) * 60 + int(override[key][2:]) for key in ("utc_start", "utc_end"))
            conditions.append(start <= minute < end if start < end else minute >= start or minute < end)
        if all(conditions):
            effective.update({key: value for key, value in override.items() if key in KEYS})
    left = 1 - Decimal(str(pricing.get("discount", 0)))
    found = {}
    for bucket in usage:
        keys = [key for key in BUCKETS[bucket] if key in effective]
        if keys:
            found[bucket] = Decimal(effective[keys[0]]) * left * 10**6
    return found


KEYS = sorted({key for keys in BUCKETS.values() for key in keys})
FIGURES = st.integers(0, 50_000_000).map(lambda micro: f"{Decimal(micro).scaleb(-12):f}")
"""Prices a token on the grid, as the answer spells them."""

CLOCK = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}{minute % 60:02d}")
SIZES = (1000, 128_000, 200_000)


@st.composite
def overrides(draw: st.DrawFn) -> dict[str, Any]:
    entry: dict[str, Any] = dict(draw(st.dictionaries(st.sampled_from(KEYS), FIGURES, min_size=1, max_size=4)))
    if draw(st.booleans()):
        entry["min_prompt_tokens"] = draw(st.sampled_from(SIZES))
    if draw(st.booleans()):
        entry["utc_days"] = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True))
    if draw(st.booleans()):
        start, end = draw(st.lists(CLOCK, min_size=2, max_size=2, unique=True))
        entry |= {"utc_start": start, "utc_end": end}
    return entry


@st.composite
def pricings(draw: st.DrawFn) -> dict[str, Any]:
    pricing: dict[str, Any] = {"prompt": draw(FIGURES), "completion": draw(FIGURES)}
    pricing |= draw(st.dictionaries(st.sampled_from(KEYS), FIGURES))
    pricing["overrides"] = draw(st.lists(overrides(), max_size=4))
    if draw(st.booleans()):
        pricing["discount"] = draw(st.sampled_from([0, 0.5, 1]))
    return pricing


@st.composite
def calls(draw: st.DrawFn, pricing: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """A usage and an instant, at or beside the edges of the prices or anywhere in a week."""
    usage = draw(st.dictionaries(st.sampled_from(sorted(BUCKETS)), st.integers(1, 1000), min_size=1))
    if draw(st.booleans()):
        others = sum(count for bucket, count in usage.items() if bucket in TIER_BUCKETS - {"input_uncached"})
        usage["input_uncached"] = max(draw(st.sampled_from(SIZES)) + draw(st.integers(-1, 1)) - others, 1)
    edges = [
        int(entry[key][:2]) * 60 + int(entry[key][2:])
        for entry in pricing["overrides"]
        for key in ("utc_start", "utc_end")
        if key in entry
    ]
    minute = draw(st.sampled_from(edges) if edges and draw(st.booleans()) else st.integers(0, 1439))
    at_us = FIRST_US + draw(st.integers(1, 14)) * DAY_US + minute * 60 * 10**6 - draw(st.integers(0, 1))
    return usage, at_us


@steady
@given(data=st.data(), pricing=pricings())
def test_cells_say_what_the_answer_says(data: st.DataObject, pricing: dict[str, Any]) -> None:
    layer = read(answer({"id": "acme/one", "pricing": pricing}))
    book = book_of(layer)  # parses it: no two cells overlap
    for _ in range(5):
        usage, at_us = data.draw(calls(pricing))
        told = prices_of(book, "openrouter/acme/one", usage, at_us)
        expected = naive(pricing, usage, at_us)
        grid = Decimal("0.000001")
        exact = {bucket: price for bucket, price in expected.items() if price == price.quantize(grid)}
        assert {bucket: Decimal(told[bucket] or "-1") for bucket in exact} == exact
        priced = {bucket for bucket, price in told.items() if price is not None}
        assert priced - exact.keys() <= expected.keys()
        assert not {bucket for bucket in usage if bucket not in expected and told.get(bucket) is not None}


def test_a_discount_is_taken_off_every_price_and_overrides_too() -> None:
    pricing = {
        "prompt": "0.000002", "completion": "0.000008", "web_search": "0.01", "discount": 0.25,
        "overrides": [{"min_prompt_tokens": 1000, "prompt": "0.000004"}],
    }  # fmt: skip
    book = book_of(read(answer({"id": "a/b", "pricing": pricing})))
    assert prices_of(book, "openrouter/a/b", ones("input_uncached output_text web_searches")) == {
        "input_uncached": "1.5", "output_text": "6", "web_searches": "7500",
    }  # fmt: skip
    assert prices_of(book, "openrouter/a/b", ones("input_uncached", 1001)) == {"input_uncached": "3"}


def test_both_names_of_a_model_have_its_prices() -> None:
    pricing = {"prompt": "0.000002", "completion": "0.000008"}
    models = [
        {"id": "anthropic/claude-sonnet-4", "canonical_slug": "anthropic/claude-4-sonnet-20250522", "pricing": pricing},
        {
            "id": "openrouter/fusion",
            "canonical_slug": "openrouter/fusion",
            "pricing": {**pricing, "prompt": "0.000003"},
        },
    ]
    book = book_of(read(answer(*models)))
    for name, price in (
        ("anthropic/claude-sonnet-4", "2"),
        ("anthropic/claude-4-sonnet-20250522", "2"),
        ("openrouter/fusion", "3"),
    ):
        assert prices_of(book, f"openrouter/{name}", ones("input_uncached")) == {"input_uncached": price}


def test_a_free_model_costs_0_because_who_sells_it_says_so() -> None:
    layer = read(answer({"id": "acme/one:free", "pricing": {"prompt": "0", "completion": "0"}}))
    assert prices_of(book_of(layer), "openrouter/acme/one:free", ones("input_uncached output_text")) == {
        "input_uncached": "0",
        "output_text": "0",
    }


GOOD = {"id": "good/one", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}


def test_an_id_twice_at_other_prices_refuses_the_file() -> None:
    assert read(answer(GOOD, GOOD)).cells == read(answer(GOOD)).cells
    other = {"id": "Good/One", "pricing": {"prompt": "7", "completion": "7"}}
    with pytest.raises(
        InputRefused, match="two prices for the same time, those of the two entries of openrouter good/one"
    ):
        read(answer(GOOD, other))


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_by_which_models_of_other_prices_answer_has_none_of_them(order: int) -> None:
    """The call is priced by the model that was asked for then."""
    models = [
        {**GOOD, "canonical_slug": "good/one-2026"},
        {"id": "good/one:free", "canonical_slug": "good/one-2026", "pricing": {"prompt": "0", "completion": "0"}},
        {**GOOD, "id": "good/two", "canonical_slug": "good/same"},
        {**GOOD, "id": "good/three", "canonical_slug": "good/same"},
    ][::order]
    layer = read(answer(*models))
    book = book_of(layer)
    told = {name: prices_of(book, f"openrouter/good/{name}", ones("input_uncached"))["input_uncached"] for name in (
        "one", "one:free", "one-2026", "two", "three", "same",
    )}  # fmt: skip
    assert told == {"one": "1", "one:free": "0", "one-2026": None, "two": "1", "three": "1", "same": "1"}
    (note,) = layer.notes.skipped
    assert note.startswith("openrouter good/one-2026: ")
    assert "good/one and good/one:free" in note or "good/one:free and good/one" in note


@pytest.mark.parametrize(
    ("model", "note"),
    [
        ({"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}, "depends on the model"),
        ({"id": "a/b", "pricing": {"prompt": "free", "completion": "0"}}, "prompt 'free' is no price"),
        ({"id": "a/b", "pricing": {"prompt": "1", "completion": "1", "tax": "1"}}, "'tax' is no price or condition"),
        ({"id": "a/b", "pricing": {"prompt": "0.1", "completion": "0.1", "discount": 2}}, "discount 2 is no share"),
        (
            {"id": "a/b", "pricing": {"prompt": "0", "overrides": [{"utc_days": ["someday"]}]}},
            "are no days of the week",
        ),
        ({"id": "a/b", "pricing": {"prompt": "0", "overrides": [{"utc_start": "2500"}]}}, "is no time of day"),
        ({"id": "a/b", "pricing": {"prompt": "0", "overrides": [{"region": "eu"}]}}, "'region' is no price or"),
        ({"id": "a/b", "pricing": {"prompt": "0", "overrides": [{"min_prompt_tokens": -1}]}}, "is no count"),
        (
            {"id": "a/b", "pricing": {"prompt": "0", "overrides": [{"utc_start": "0100", "utc_end": "0100"}]}},
            "is all of a day or nothing",
        ),
        ({"id": "a/b"}, "it has no pricing"),
        ({"name": "nameless"}, "an entry without an id"),
    ],
)
def test_what_cannot_be_told_is_skipped_by_name_and_the_rest_taken(model: dict[str, Any], note: str) -> None:
    layer = read(answer(GOOD, model))
    assert {cell.model for cell in layer.cells} == {"good/one"}
    (skipped,) = layer.notes.skipped
    assert re.search(re.escape(note), skipped)


def test_a_price_by_the_image_has_no_bucket_and_image_tokens_inherit_nothing() -> None:
    layer = read(answer({"id": "a/b", "pricing": {**GOOD["pricing"], "image": "0.004"}}))  # type: ignore[dict-item]
    assert layer.notes.without_bucket == ["openrouter a/b image 0.004 USD an image"]
    assert prices_of(book_of(layer), "openrouter/a/b", ones("input_image input_audio")) == {
        "input_image": None,
        "input_audio": "1",
    }


def test_prices_hold_from_the_day_they_were_known() -> None:
    book = book_of(read(answer(GOOD), known="2026-11-20"))
    usage = ones("input_uncached")
    assert prices_of(book, "openrouter/good/one", usage, "2026-11-19T23:59:59.999999Z") == {"input_uncached": None}
    assert prices_of(book, "openrouter/good/one", usage, "2026-11-20T00:00:00Z") == {"input_uncached": "1"}
    book = book_of(read(answer(GOOD), known="2026-11-20", valid_from_us=FIRST_US - 30 * DAY_US))
    assert prices_of(book, "openrouter/good/one", usage, "2026-10-23T00:00:00Z") == {"input_uncached": "1"}


def test_no_figure_passes_through_a_float() -> None:
    """0.1 + 0.2 tokens' worth of digits that no float keeps."""
    pricing = {"prompt": "0.000000123456", "completion": "12.345678901234"}
    layer = read(answer({"id": "a/b", "pricing": pricing}))
    assert prices_of(book_of(layer), "openrouter/a/b", ones("input_uncached output_text")) == {
        "input_uncached": "0.123456",
        "output_text": "12345678.901234",
    }
    assert not layer.notes.rounded
