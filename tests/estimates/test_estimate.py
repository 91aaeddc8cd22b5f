"""An estimate of one call, of what was counted and learned: hand-computed to the picodollar."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keledger.journal.estimates import InputPrior, Past, PastOutput, learn
from keledger.journal.estimates._estimate import ratio_of
from keledger.journal.prices import Book

from .composed import CERTAIN, estimated, learned, past, terms

SHIPPED = Past()


def test_one_call_to_the_picodollar(book: Book) -> None:
    found = estimated(learned(terms(book)), shape={"max_output_tokens": 1_001})
    assert (found.input.p5, found.input.p50, found.input.p95) == (100, 100, 100)
    assert (found.output.p50, found.output.p90, found.output.max) == (50, 50, 1_001)
    # 0.25 and 2 USD a million
    assert found.cost[:5] == ("priced", "0.000125", "0.000125", "0.002027", ())
    assert found.method == "tiktoken:o200k_base*1.00 (n=20)"


def test_what_a_cache_gives_is_of_the_median_alone(book: Book) -> None:
    found = estimated(learned(terms(book), past(cached=33)))
    assert found.cached_tokens == 33
    assert found.cost.p50_usd == "0.000117575"  # 67 at 0.25, 33 at 0.025, 50 at 2
    assert found.cost.p90_usd == "0.000125"


@pytest.mark.parametrize(("shares", "permille"), [([], 0), ([0, 100], 0), ([50, 0, 50], 500), ([200] * 3, 1000)])
def test_the_share_of_a_cache_is_the_lower_median(book: Book, shares: list[int], permille: int) -> None:
    known = past()._replace(cached=[(0, 7), *[(100, share) for share in shares]])
    assert learned(terms(book), known).cached_permille == permille


@pytest.mark.parametrize(("cache_write", "usd"), [("none", "0.00035"), ("5m", "0.000375"), ("1h", "0.00045")])
def test_writing_to_a_cache_has_a_price_of_its_own(book: Book, cache_write: str, usd: str) -> None:
    """Claude Haiku 4.5: 1 USD a million, 1.25 for five minutes in a cache and 2 for an hour, and 5 for answers."""
    found = estimated(learned(terms(book, "anthropic/claude-haiku-4-5", cache_write)))
    assert found.cost.p50_usd == found.cost.p90_usd == usd
    plain = estimated(learned(terms(book, cache_write=cache_write)))
    assert plain.cost.p50_usd == "0.000125"  # OpenAI's requests say nothing of the kind


def test_each_corner_has_the_tier_of_its_size(book: Book) -> None:
    """Gemini 2.5 Pro: 1.25 and 10 USD a million up to 200,000 tokens of input, 2.50 and 15 above."""
    known = learn(terms(book, "google/gemini-2.5-pro"), InputPrior(1.0, 1.0, 1.5), SHIPPED)
    found = estimated(known, 200_000, {"max_output_tokens": 1})
    assert (found.input.p50, found.input.p95) == (200_000, 300_000)
    assert found.cost[1:4] == ("0.25001", "0.750015", "0.750015")


def test_several_answers_are_billed_together(book: Book) -> None:
    found = estimated(learned(terms(book)), shape={"choices": 3, "max_output_tokens": 60})
    assert (found.choices, found.output.p50, found.output.p90, found.output.max) == (3, 150, 150, 180)
    assert found.cost.p50_usd == "0.000325"


def test_an_embedding_has_no_answer(book: Book) -> None:
    found = estimated(learned(terms(book, "openai/text-embedding-3-small"), SHIPPED), shape={"choices": 2})
    assert (found.output.p50, found.output.p90, found.output.max) == (0, 0, 0)
    assert set(found.cost[1:4]) == {"0.000002"}


@pytest.mark.parametrize(
    ("name", "shape", "most"),
    [
        ("openai/gpt-5-mini", {}, 128_000),
        ("openai/gpt-5-mini", {"max_output_tokens": 200_000}, 128_000),
        ("openai/gpt-5-mini", {"max_output_tokens": 7}, 7),
        ("acme/unheard-of", {"max_output_tokens": 7}, 7),
        ("acme/unheard-of", {}, None),
    ],
)
def test_the_longest_answer(book: Book, name: str, shape: dict[str, Any], most: int | None) -> None:
    found = estimated(learned(terms(book, name), SHIPPED), shape=shape)
    assert found.output.max == most
    assert most is None or found.output.p50 <= found.output.p90 <= most


def test_what_nobody_prices(book: Book) -> None:
    found = estimated(learned(terms(book, "acme/unheard-of")))
    assert found.cost[:5] == ("unpriced", None, None, None, ("input_uncached", "output_text"))
    assert found.notes == ("the price book has no price of unheard-of for input_uncached, output_text",)
    assert "max" not in found.fields()["output_tokens"]
    assert found.fields()["cost"] == {
        "state": "unpriced", "missing": ["input_uncached", "output_text"], "book": book.sha256,
    }  # fmt: skip
    dreamt = estimated(learned(terms(book, processing="dreamt", region="moon")))
    assert dreamt.notes == ("the price book has no price of gpt-5-mini with processing=dreamt, region=moon",)


def test_what_is_to_be_known_is_told_in_order(book: Book) -> None:
    found = estimated(learned(terms(book)), 500_000, {"unbounded": "web_search"}, "image 1 is a link")
    assert found.notes[:2] == (
        "image 1 is a link",
        "that is more than the context window of gpt-5-mini has: 400,000 tokens",
    )
    assert found.notes[2].startswith("what is billed on top is not in this: ")


def test_the_fields_of_the_event(book: Book) -> None:
    fields = estimated(learned(terms(book, service_tier="flex"))).fields()
    assert fields == {
        "estimated_at": "2026-11-18T11:06:40.000000Z",
        "provider": "openai",
        "model": "gpt-5-mini",
        "calls": 1,
        "method": "tiktoken:o200k_base",
        "counted_tokens": 100,
        "estimator": 1,
        "input_tokens": {"p5": 100, "p50": 100, "p95": 100, "basis": "prompt", "calls": 20, "ratio": "1"},
        "output_tokens": {"p50": 50, "p90": 50, "max": 128_000, "basis": "prompt", "calls": 20},
        "cost": {
            "state": "priced", "p50_usd": "0.0000625", "p90_usd": "0.0000625", "max_usd": "0.1280125",
            "book": book.sha256,
        },
        "pricing_context": {"service_tier": "flex"},
    }  # fmt: skip
    assert json.loads(json.dumps(fields)) == fields


@pytest.mark.parametrize(
    ("p50", "counted", "ratio"), [(7, 0, "0"), (1, 3, "0.333333"), (3, 2, "1.5"), (2, 1, "2"), (1, 10**9, "0")]
)
def test_ratios_as_events_have_them(p50: int, counted: int, ratio: str) -> None:
    assert ratio_of(p50, counted) == ratio


def test_the_first_calls_are_already_learned_from(book: Book) -> None:
    one = learn(terms(book), CERTAIN, past(calls=1, answered=5_000))
    found = estimated(one)
    assert (found.input.basis, found.input.calls) == (found.output.basis, found.output.calls) == ("prompt", 1)
    alone = learn(terms(book), CERTAIN, Past(outputs=[PastOutput(9, 9)]))
    assert estimated(alone).output.basis == "prompt"
    assert estimated(alone).input.basis == "prior"
    assert estimated(alone).method == "tiktoken:o200k_base"
