"""LiteLLM's map: which key is which price, on which terms, above which size, at which hour."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.prices import Book
from keledger.journal.prices.sources import Terms, read_price_list

from .conftest import FIRST_US, NAMES, TODAY, book_of, excerpt, ones, prices_of, read

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None, max_examples=150)

TEXT = "input_uncached cache_read output_text"
WRITES = "cache_write_5m cache_write_1h"

CASES = [
    # model, buckets, size, context, instant (a Wednesday unless said), USD per million
    ("openai/gpt-5", TEXT, None, "", "1.25 0.125 10"),
    ("openai/gpt-5", TEXT, None, "processing=batch", "0.625 0.0625 5"),
    ("openai/gpt-5", TEXT, None, "service_tier=flex", "0.625 0.0625 5"),
    ("openai/gpt-5", TEXT, None, "service_tier=priority", "2.5 0.25 20"),
    ("openai/gpt-5", TEXT, None, "service_tier=fast", "2.5 0.25 20"),
    ("openai/gpt-5", "web_searches requests", None, "", "10000"),
    ("openai/gpt-6-luna", TEXT, 272_000, "", "0.1 0.01 0.5"),
    ("openai/gpt-6-luna", TEXT, 272_001, "", "0.2 0.02 0.75"),
    ("openai/gpt-6-luna", TEXT, 272_001, "service_tier=flex", "0.1 0.01 0.375"),
    ("openai/gpt-6-luna", TEXT, None, "region=eu", "0.11 0.011 0.55"),
    ("openai/gpt-6-luna", TEXT, None, "region=us,service_tier=flex", "0.055 0.0055 0.275"),
    ("anthropic/claude-haiku-5-5", f"{TEXT} {WRITES}", 100_000, "", "0.1 0.01 0.5 0.125 0.2"),
    ("anthropic/claude-haiku-5-5", f"{TEXT} {WRITES}", 100_001, "", "0.5 0.05 2.5 0.625 1"),
    ("anthropic/claude-haiku-5-5", f"{TEXT} {WRITES}", None, "region=us", "0.11 0.011 0.55 0.1375 0.22"),
    ("anthropic/claude-haiku-5-5", f"{TEXT} {WRITES}", None, "processing=batch", "0.05 0.005 0.25 0.0625 -"),
    ("anthropic/claude-opus-5-5", TEXT, None, "speed=fast", "8 0.4 40"),
    ("anthropic/claude-opus-5-5", TEXT, None, "region=us,speed=fast", "8.8 0.44 44"),
    ("google/gemini-2.5-flash", f"{TEXT} input_audio cache_read_audio", None, "", "0.3 0.03 2.5 1 0.1"),
    ("google/gemini-2.5-flash", f"{TEXT} output_reasoning", None, "processing=batch", "0.15 0.03 1.25 1.25"),
    ("google/gemini-2.5-pro", TEXT, 200_000, "", "1.25 0.125 10"),
    ("google/gemini-2.5-pro", TEXT, 200_001, "", "2.5 0.25 15"),
    ("google/gemini-2.5-pro", TEXT, 200_001, "service_tier=flex", "- - -"),
    ("google/gemini-2.5-pro", TEXT, 200_000, "service_tier=flex", "0.625 0.125 5"),
    ("google/gemini-2.5-flash-image", "output_text output_image", None, "", "2.5 30"),
    ("x-ai/grok-4.3", TEXT, 199_999, "", "1.25 0.2 2.5"),
    ("x-ai/grok-4.3", TEXT, 200_000, "", "2.5 0.4 5"),
    ("openai/whisper-1", "input_audio_ms", None, "", "0.1"),
    ("mistral/mistral-ocr-latest", "input_pages", None, "", "4000"),
    ("mistral/mistral-ocr-latest", "input_pages", None, "processing=batch", "2000"),
    ("dashscope/qwen-flash", TEXT, 256_000, "", "0.05 0.05 0.4"),
    ("dashscope/qwen-flash", TEXT, 256_001, "", "0.25 0.25 2"),
    ("dashscope/qwen-plus-latest", "output_text output_reasoning", 256_001, "", "3.6 12"),
    ("perplexity/sonar-reasoning", "web_searches", None, "", "-"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "buckets", "size", "context", "usd"), CASES)
def test_a_price_of_the_map(litellm: Book, model: str, buckets: str, size: int | None, context: str, usd: str) -> None:
    told = prices_of(litellm, model, ones(buckets, size), context=context)
    assert [told[bucket] or "-" for bucket in buckets.split() if bucket in told] == usd.split()


HOURS = [
    ("2026-11-25T00:59:59.999999Z", "0.66"),
    ("2026-11-25T01:00:00Z", "1.32"),
    ("2026-11-25T04:00:00Z", "0.66"),
    ("2026-11-25T06:00:00Z", "1.32"),
    ("2026-11-25T23:59:59.999999Z", "0.66"),
    ("2026-11-28T01:00:00Z", "0.66"),  # a Saturday
]


@pytest.mark.parametrize(("at", "usd"), HOURS)
@pytest.mark.parametrize("name", ["deepseek/deepseek-v4-pro", "tencent/deepseek-v4-pro-0813"])
def test_off_peak_hours(litellm: Book, name: str, at: str, usd: str) -> None:
    assert prices_of(litellm, name, ones("input_uncached"), at) == {"input_uncached": usd}


def mapped(**fields: Any) -> dict[str, Any]:
    entry = {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6}
    return {"acme/one": {**entry, **fields}}


def test_weekdays_of_another_zone_begin_at_its_midnight() -> None:
    """In Shanghai Saturday begins on Friday at 16:00 UTC."""
    off_peak = {
        "input_cost_per_token": 5e-7,
        "weekday_timezone": "Asia/Shanghai",
        "windows": [{"hours_utc": "00:00-00:00", "weekdays": ["sat", "Sunday"]}],
    }
    book = book_of(read(mapped(off_peak_pricing=off_peak)))
    for at, usd in (
        ("2026-11-27T15:59:59.999999Z", "1"),
        ("2026-11-27T16:00:00Z", "0.5"),
        ("2026-11-29T15:59:59.999999Z", "0.5"),
        ("2026-11-29T16:00:00Z", "1"),
    ):
        assert prices_of(book, "acme/one", ones("input_uncached"), at) == {"input_uncached": usd}, at


@steady
@given(
    windows=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 1439)), min_size=1, max_size=3),
            st.none() | st.lists(st.integers(1, 7), min_size=1, unique=True),
        ),
        min_size=1,
        max_size=3,
    ),
    places=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1439)), min_size=5, max_size=5),
)
def test_any_hours_are_told_as_the_map_says_them(
    windows: list[tuple[list[tuple[int, int]], list[int] | None]], places: list[tuple[int, int]]
) -> None:
    def clock(minute: int) -> str:
        return f"{minute // 60:02d}:{minute % 60:02d}"

    rules = [
        {"hours_utc": [f"{clock(a)}-{clock(b)}" for a, b in hours]} | ({"weekdays": days} if days is not None else {})
        for hours, days in windows
    ]
    book = book_of(read(mapped(off_peak_pricing={"input_cost_per_token": 5e-7, "windows": rules})))
    for day, minute in places:
        off_peak = any(
            (days is None or day + 1 in days)
            and any(a <= minute < b if a < b else minute >= a or minute < b for a, b in hours)
            for hours, days in windows
        )
        monday_us = FIRST_US + 24 * 3600 * 10**6  # the day after the Sunday on which the prices begin
        at_us = monday_us + (day * 1440 + minute) * 60 * 10**6
        told = prices_of(book, "acme/one", ones("input_uncached output_text"), at_us)
        assert told == {"input_uncached": "0.5" if off_peak else "1", "output_text": "4"}


@pytest.mark.parametrize(
    ("off_peak", "why"),
    [
        ({"hours_utc": "noon"}, "are not like 16:30-00:30"),
        ({"windows": [{"hours_utc": "01:00-02:00", "weekdays": [8]}]}, "are no days of the week"),
        (
            {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [1]}], "weekday_timezone": "Europe/Berlin"},
            "offset changes",
        ),
        (
            {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [1]}], "weekday_timezone": "Mars/Olympus"},
            "is no zone",
        ),
        ("cheap at night", "cannot be read"),
        ({"windows": ["01:00-02:00"]}, "cannot be read"),
    ],
)
def test_hours_that_cannot_be_told_leave_the_model_out(off_peak: Any, why: str) -> None:
    layer = read({**mapped(off_peak_pricing=off_peak), **GOOD})
    assert {cell.model for cell in layer.cells} == {"two"}
    assert why in layer.notes.skipped[0]


GOOD = {"acme/two": {"litellm_provider": "acme", "input_cost_per_token": 1e-6}}


def test_what_is_billed_by_the_piece_is_no_price_of_its_tokens() -> None:
    layer = read(mapped(output_cost_per_image=0.04, output_cost_per_token=0, input_cost_per_image=0))
    assert layer.notes.without_bucket == ["acme one output_cost_per_image 0.04"]
    told = prices_of(book_of(layer), "acme/one", ones("input_image output_text output_image output_audio"))
    assert told == {"input_image": "1", "output_text": None, "output_image": None, "output_audio": None}


def test_other_terms_have_only_prices_of_their_own() -> None:
    """A cache or sound that costs something else on standard terms has no price here, not that of text."""
    layer = read(
        mapped(
            input_cost_per_token_batches=5e-7,
            output_cost_per_token_batches=2e-6,
            cache_read_input_token_cost=1e-7,
            input_cost_per_audio_token=9e-6,
            output_cost_per_reasoning_token=6e-6,
        )
    )
    usage = ones(f"{TEXT} cache_write_5m input_audio cache_read_audio input_image output_reasoning")
    assert prices_of(book_of(layer), "acme/one", usage, context="processing=batch") == {
        "input_uncached": "0.5", "cache_read": None, "cache_write_5m": "0.5", "input_audio": None,
        "cache_read_audio": None, "input_image": "0.5", "output_text": "2", "output_reasoning": None,
    }  # fmt: skip


def test_cells_infer_nothing_that_weaker_layers_price_apart() -> None:
    layer = read_price_list(
        json.dumps(mapped()).encode(),
        NAMES,
        Terms(),
        today=TODAY,
        priced_apart=lambda *subject: {"cache_read"} if subject == ("acme", "one", "") else set(),
    )
    told = prices_of(book_of(layer), "acme/one", ones("cache_read cache_read_audio cache_write_5m"))
    assert told == {"cache_read": None, "cache_read_audio": None, "cache_write_5m": "1"}


REGIONS = ("", "region=eu,", "region=us,")
NOVA = "1024-x-1024/50-steps/bedrock/amazon.nova-canvas-v1:0"


def test_the_notes_on_the_excerpt() -> None:
    notes = read(excerpt("litellm")).notes
    above = "above 272,000 input tokens some prices are not given"
    priority = [
        f"openai gpt-5.4 {region}service_tier={tier}: {above}" for tier in ("priority", "fast") for region in REGIONS
    ]
    assert notes.skipped == [
        "litellm fallback_generalizations: it has no provider",
        *priority,
        *(f"openai gpt-5.5-pro {region}service_tier=flex: {above}" for region in REGIONS),
        "google gemini-2.5-flash (gemini-2.5-flash): gemini/gemini-2.5-flash is this model already, at other prices",
        "google gemini-2.5-pro service_tier=flex: above 200,000 input tokens some prices are not given",
        "google gemini-2.5-pro (gemini-2.5-pro): gemini/gemini-2.5-pro is this model already, at other prices",
        "ollama llama3 (ollama/llama3): every price is 0, which may be free or not known",
        f"aws {NOVA} ({NOVA}): no bucket has a price of it (output_cost_per_image)",
        "azure gpt-5.4 (azure_ai/gpt-5.4): azure/gpt-5.4 is this model already, at other prices",
    ]
    assert "openai gpt-6-luna output_cost_per_token_decisions 0.0" not in notes.without_bucket
    assert "openai gpt-6-luna input_cost_per_token_decisions 1E-7" in notes.without_bucket
    assert "openai gpt-6-luna cache_creation_input_token_cost_above_12hr 2.5E-7" in notes.without_bucket
    assert any(entry.startswith("google gemini-2.5-flash search_free_requests") for entry in notes.without_bucket)
    assert any(entry.startswith("perplexity sonar-reasoning search_context_cost") for entry in notes.without_bucket)


def test_the_makers_own_interface_comes_before_a_clouds() -> None:
    own, cloud = {"input_cost_per_token": 1e-6}, {"input_cost_per_token": 2e-6}
    raw = {
        "gemini-9": {"litellm_provider": "vertex_ai-language-models", **cloud},
        "gemini/gemini-9": {"litellm_provider": "gemini", **own},
    }
    layer = read(raw)
    assert prices_of(book_of(layer), "google/gemini-9", ones("input_uncached")) == {"input_uncached": "1"}
    assert layer.notes.skipped == ["google gemini-9 (gemini-9): gemini/gemini-9 is this model already, at other prices"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (-1e-6, "is no price"),
        ("cheap", "is no price"),
        (1e9, "is no price"),
        (1e-15, "less than can be told"),
        (10**400, "is no price"),
    ],
)
def test_a_figure_that_is_no_price_is_not_taken(value: Any, sentence: str) -> None:
    layer = read({**mapped(input_cost_per_token=value, output_cost_per_token=value), **GOOD})
    assert not any(cell.model == "one" and cell.usd_per_million for cell in layer.cells)
    assert any(sentence in entry for entry in layer.notes.skipped)


@pytest.mark.parametrize("exponent", ["e-999999999", "e999999999"])
def test_a_figure_of_another_world_does_not_take_for_ever(exponent: str) -> None:
    content = json.dumps({**mapped(input_cost_per_token="HERE"), **GOOD}).replace('"HERE"', f"1{exponent}")
    layer = read(content.encode())
    assert {cell.model for cell in layer.cells} == {"two"}


def test_figures_stay_the_decimals_that_are_written() -> None:
    content = json.dumps(mapped(input_cost_per_token="HERE")).replace('"HERE"', "1.23456000000000000001e-06")
    layer = read(content.encode())
    assert layer.notes.rounded[0].endswith("1.23456000000000000001 -> 1.23456")
    assert Decimal(layer.cells[0].usd_per_million["input_uncached"] or "") == Decimal("1.23456")
