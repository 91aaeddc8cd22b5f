"""What a call would cost on each model: by its own calls where there are any, else by another's tokens, converted."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import usd_to_pico
from keledger.journal.estimates import CallProfile, Candidate, Fact, ModelFacts, Ratio, cautious, expected_costs
from keledger.journal.prices import Book, Cell
from tests.budgets.books import book_of, shipped

NOW_US = 1_795_305_600_000_000
"""2026-11-22."""

SAME = Ratio(10_000, 10_000)


def cell(model: str, prices: dict[str, str], **fields: int) -> Cell:
    return Cell("acme", model, "", usd_per_million=prices, **fields)  # type: ignore[arg-type]


BOOK = book_of(
    [
        cell("cached", {"input_uncached": "10", "cache_read": "1", "cache_write_5m": "20", "output_text": "100",
                        "output_reasoning": "50"}),
        cell("plain", {"input_uncached": "10", "output_text": "100"}),
        cell("input-only", {"input_uncached": "10"}),
        cell("bulk", {"input_uncached": "10", "output_text": "1"}, input_over=-1),
        cell("bulk", {"input_uncached": "1", "output_text": "1"}, input_over=1000),
    ]
)  # fmt: skip


def facts(model: str) -> ModelFacts:
    return ModelFacts("acme", model, {"output_limit": Fact(1000, "listed", "a test", None)})


def expected(model: str, *profiles: CallProfile, ratio: Ratio = SAME, book: Book = BOOK) -> Candidate:
    (found,) = expected_costs([facts(model)], profiles, book, NOW_US, lambda source, target: ratio)
    return found


PROFILE = CallProfile(
    "acme", "cached", 10, 1000, 2000, 100, 300,
    input_total=10_000, cache_read_total=5000, cache_write_total=1000, output_total=1000, reasoning_total=200,
)  # fmt: skip


def test_a_model_with_calls_of_its_own_is_told_by_them() -> None:
    found = expected("cached", CallProfile.supposed(1, 1), PROFILE, ratio=Ratio(1, 99_999))
    # 400 afresh at 10, 500 from the cache at 1, 100 into it at 20, 80 of text at 100, 20 of reasoning at 50 a million
    assert found.p50_pico == usd_to_pico("0.0155")
    # twice the input, three times the output
    assert found.p90_pico == usd_to_pico("0.04")
    assert (found.input_tokens, found.output_tokens) == (2000, 300)
    assert (found.tokens_from, found.tokens_calls, found.tokens_own, found.ratio) == (
        "acme/cached", 10, True, (10_000, 10_000),
    )  # fmt: skip


def test_another_model_is_told_by_the_one_that_was_called_most_converted() -> None:
    seldom = CallProfile("acme", "bulk", 9, 9, 9, 9, 9)
    found = expected("plain", seldom, PROFILE, ratio=Ratio(9_000, 20_000))
    # the middle is 1.45: 1450 of input at 10, 145 of output at 100 a million; it has no price for a cache
    assert found.p50_pico == usd_to_pico("0.029")
    # the top is 2: 4000 and 600
    assert found.p90_pico == usd_to_pico("0.1")
    assert (found.input_tokens, found.output_tokens) == (4000, 600)
    assert (found.tokens_from, found.tokens_calls, found.tokens_own) == ("acme/cached", 10, False)
    assert found.as_json()["tokens"] == {
        "from": "acme/cached", "calls": 10, "own_calls": False, "least": "0.9", "most": "2",
    }  # fmt: skip


def test_another_models_cache_serves_a_usual_call_and_begins_empty_for_a_large_one() -> None:
    elsewhere = CallProfile("acme", "plain", 3, 1000, 1000, 0, 0, input_total=3000, cache_read_total=1500)
    found = expected("cached", elsewhere)
    assert found.p50_pico == usd_to_pico("0.0055")
    assert found.p90_pico == usd_to_pico("0.01")


def test_supposed_tokens_are_taken_as_they_are() -> None:
    found = expected("plain", CallProfile.supposed(1000, 100), ratio=Ratio(1, 1))
    assert (found.p50_pico, found.p90_pico) == (usd_to_pico("0.02"), usd_to_pico("0.02"))
    assert (found.tokens_from, found.tokens_own) == (None, False)


def test_without_a_price_for_all_of_it_there_is_no_cost() -> None:
    for model in ("input-only", "unheard-of"):
        found = expected(model, CallProfile.supposed(1000, 100))
        assert (found.p50_pico, found.p90_pico) == (None, None)
        assert (found.as_json()["p50_usd"], found.as_json()["p90_usd"]) == (None, None)


def test_a_large_call_in_a_cheaper_tier_costs_no_less_than_a_usual_one() -> None:
    found = expected("bulk", CallProfile("acme", "bulk", 2, 1000, 2000, 0, 0))
    assert found.p50_pico == usd_to_pico("0.01")
    assert found.p90_pico == found.p50_pico


def test_a_name_of_the_same_model_is_the_same_model() -> None:
    dated = CallProfile("openai", "gpt-5-mini-2025-08-07", 1, 1_000_000, 1_000_000, 0, 0)
    model = ModelFacts("openai", "gpt-5-mini", {})
    (found,) = expected_costs([model], [dated], shipped(), NOW_US, lambda source, target: Ratio(1, 1))
    assert found.tokens_own
    assert found.p50_pico == usd_to_pico("0.25")


def test_of_two_names_of_a_model_the_one_that_was_called_more_counts() -> None:
    dated = CallProfile("openai", "gpt-5-mini-2025-08-07", 9, 1_000_000, 1_000_000, 0, 0)
    plain = CallProfile("openai", "gpt-5-mini", 2, 2_000_000, 2_000_000, 0, 0)
    model = ModelFacts("openai", "gpt-5-mini", {})
    for profiles in ([dated, plain], [plain, dated]):
        (found,) = expected_costs([model], profiles, shipped(), NOW_US, lambda source, target: Ratio(1, 1))
        assert (found.tokens_calls, found.p50_pico) == (9, usd_to_pico("0.25"))


def test_no_profile_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no profile"):
        expected("plain")


counts = st.integers(0, 10**6)


@given(
    counts, counts, counts, counts, st.integers(0, 20_000), st.integers(0, 20_000), st.sampled_from(["cached", "plain"])
)
def test_a_large_call_is_never_cheaper_nor_smaller(
    input_p50: int, more_input: int, output_p50: int, more_output: int, least: int, more: int, model: str
) -> None:
    profile = CallProfile(
        "acme", "bulk", 5, input_p50, input_p50 + more_input, output_p50, output_p50 + more_output,
        input_total=10, cache_read_total=3, cache_write_total=2, output_total=10, reasoning_total=4,
    )  # fmt: skip
    found = expected(model, profile, ratio=Ratio(least, least + more))
    assert found.p50_pico is not None
    assert found.p90_pico is not None
    assert 0 <= found.p50_pico <= found.p90_pico
    assert found.input_tokens >= (input_p50 + more_input) * least // 10_000


@pytest.mark.parametrize("calls", [1, 2, 5, 8])
def test_few_calls_do_not_show_what_a_large_one_takes(calls: int) -> None:
    """The fewer, the more is thought possible; from nine on, what was seen is what is expected."""
    profile = CallProfile("openai", "gpt-5-mini", calls, 1000, 1000, 254, 254)
    told = cautious(profile, shipped())
    assert 240 <= told.output_p50 <= 260
    assert told.output_p90 > 3 * told.output_p50
    assert told.output_p90 > cautious(dataclasses.replace(profile, calls=calls + 1), shipped()).output_p90 or calls == 8
    enough = dataclasses.replace(profile, calls=9)
    assert cautious(enough, shipped()) == enough
    assert (told.input_p50, told.input_p90) == (1000, 1000)


def test_an_answer_that_was_seen_is_possible() -> None:
    profile = CallProfile("openai", "gpt-5-mini", 3, 1000, 1000, 300, 90_000)
    assert cautious(profile, shipped()).output_p90 == 90_000
