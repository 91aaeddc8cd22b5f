"""The estimate of many calls together, of those of each."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import usd_to_pico
from keledger.journal.estimates import InputPrior, Past, PastOutput, estimate_many, learn
from keledger.journal.prices import Book

from .composed import CERTAIN, estimated, learned, past, terms

SHIPPED = Past()


def pico(usd: str | None) -> int:
    """An amount that is known."""
    assert usd is not None
    return usd_to_pico(usd)


def test_calls_of_which_all_is_certain_to_the_picodollar(book: Book) -> None:
    row = estimated(learned(terms(book)), shape={"max_output_tokens": 1_000})
    many = estimate_many([row], 40)
    assert (many.calls, many.counted_tokens, many.output_max) == (40, 4_000, 40_000)
    assert (many.drawn.input_p5, many.drawn.input_p50, many.drawn.input_p95) == (4_000, 4_000, 4_000)
    assert (many.drawn.output_p50, many.drawn.output_p90) == (2_000, 2_000)
    assert (many.p50_usd, many.p90_usd, many.max_usd) == ("0.005", "0.005", "0.081")
    assert many.per_call() == ("0.000125", "0.000125", "0.002025")
    assert many.methods == ["tiktoken:o200k_base*1.00 (n=20)"]
    # From fifty calls on the answers' part of the P90 has 15 %: 60 x 50 x 2 x 1.15, and 60 x 100 x 0.25.
    assert estimate_many([row], 60).p90_usd == "0.0084"


def test_what_one_costs_on_average_is_rounded_up(book: Book) -> None:
    many = estimate_many([estimated(learned(terms(book)), tokens) for tokens in (100, 101, 101)])
    assert pico(many.per_call()[0]) == -(-pico(many.p50_usd) // 3)


def test_times_are_as_if_each_were_there_so_often(book: Book) -> None:
    rows = [estimated(learned(terms(book), SHIPPED), tokens) for tokens in (10, 1_000)]
    together, apart = estimate_many(rows, 30), estimate_many(rows * 30)
    # Each is drawn on its own: what was learned is the same, but not the same object.
    assert together.calls == apart.calls == 60
    assert together.max_usd == apart.max_usd
    assert together.drawn.input_p50 == pytest.approx(apart.drawn.input_p50, rel=0.02)
    assert pico(together.p50_usd) == pytest.approx(pico(apart.p50_usd), rel=0.25)


def test_requests_whose_priors_differ_by_a_hair_are_off_together(book: Book) -> None:
    """What is not known of a prompt is the same for all of its calls, however its requests were grouped."""
    alike = [learn(terms(book), InputPrior(1.0, 0.7, 1.4 + place / 100), SHIPPED) for place in range(10)]
    many = estimate_many([estimated(known) for known in alike], 10)
    assert many.drawn.input_p95 > 1.3 * many.drawn.input_p50
    assert many.drawn.input_p5 < 0.8 * many.drawn.input_p50


def test_one_call_is_as_one_call(book: Book) -> None:
    outputs = [PastOutput(100, each) for each in range(10, 310)]
    known = learned(terms(book), past()._replace(outputs=outputs))
    one = estimated(known)
    many = estimate_many([one])
    assert many.drawn.output_p50 == pytest.approx(one.output.p50, rel=0.2)
    assert many.drawn.output_p90 == pytest.approx(one.output.p90, rel=0.1)
    assert many.max_usd == one.cost.max_usd


def test_several_answers_to_each(book: Book) -> None:
    row = estimated(learned(terms(book)), shape={"choices": 3, "max_output_tokens": 60})
    many = estimate_many([row, estimated(learned(terms(book)))], 2)
    assert (many.drawn.output_p50, many.p50_usd) == (2 * (150 + 50), "0.0009")
    few = estimated(learn(terms(book), CERTAIN, SHIPPED), shape={"choices": 4})
    single = estimated(learn(terms(book), CERTAIN, SHIPPED))
    assert estimate_many([few], 9).drawn.output_p50 == pytest.approx(
        4 * estimate_many([single], 9).drawn.output_p50, abs=4
    )


@pytest.mark.parametrize(("cache_write", "usd"), [("none", "0.0035"), ("5m", "0.00375"), ("1h", "0.0045")])
def test_writing_to_a_cache(book: Book, cache_write: str, usd: str) -> None:
    row = estimated(learned(terms(book, "anthropic/claude-haiku-4-5", cache_write)))
    assert estimate_many([row], 10).p50_usd == usd


def test_reading_from_a_cache(book: Book) -> None:
    row = estimated(learned(terms(book), past(cached=33)))
    assert estimate_many([row], 10).p50_usd == "0.00117575"


def test_tiers_by_the_size_of_each(book: Book) -> None:
    """Gemini 2.5 Pro: 1.25 and 10 USD a million up to 200,000 tokens of input, 2.50 and 15 above."""
    known = learned(terms(book, "google/gemini-2.5-pro"), past(taken=200_000))
    small, large = estimated(known, 200_000), estimated(known, 400_000)
    assert estimate_many([small]).p50_usd == "0.2505"
    assert estimate_many([small, large]).p50_usd == "1.25125"


def test_calls_to_several_models(book: Book) -> None:
    first = estimated(learned(terms(book)))
    second = estimated(learned(terms(book, "openai/gpt-4o"), SHIPPED), 100, None, "a note")
    many = estimate_many([first, second, second], 5)
    told = many.as_json()
    assert (told["provider"], told["model"], told["calls"]) == (None, None, 15)
    assert told["method"] == "tiktoken:o200k_base*1.00 (n=20), tiktoken:o200k_base"
    assert (told["input_tokens"]["basis"], told["input_tokens"]["calls"]) == ("prior", 0)
    assert told["notes"] == ["a note (10 of 15 calls)"]
    parts = many.by_model()
    assert [(part.models, part.calls) for part in parts] == [
        ([("openai", "gpt-5-mini")], 5),
        ([("openai", "gpt-4o")], 10),
    ]
    assert sum(pico(part.max_usd) for part in parts) == pico(many.max_usd)
    assert [part.fields()["model"] for part in parts] == ["gpt-5-mini", "gpt-4o"]
    assert parts[0].by_model() == [parts[0]]
    assert json.loads(json.dumps(told)) == told


def test_where_one_has_no_price_the_sum_has_none(book: Book) -> None:
    many = estimate_many([estimated(learned(terms(book, name))) for name in ("openai/gpt-5-mini", "acme/unheard-of")])
    told = many.as_json()
    assert told["cost_state"] == "unpriced"
    assert told["cost_usd"] == told["cost_per_call_usd"] == {"p50": None, "p90": None, "max": None}
    assert told["output_tokens"]["max"] is None
    unpriced = many.by_model()[1].fields()
    assert unpriced["cost"] == {
        "state": "unpriced", "missing": ["input_uncached", "output_text"], "book": book.sha256,
    }  # fmt: skip


def test_no_call_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="there is no call"):
        estimate_many([])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 300_000), min_size=1, max_size=8),
    st.lists(st.integers(0, 20_000), max_size=40),
    st.integers(1, 3_000),
    st.one_of(st.none(), st.integers(1, 50_000)),
    st.sampled_from(["openai/gpt-5-mini", "google/gemini-2.5-pro", "anthropic/claude-haiku-4-5"]),
)
def test_places_are_in_order_and_at_most_what_is_possible(
    book: Book, counted: list[int], answers: list[int], times: int, limit: int | None, name: str
) -> None:
    known = learned(terms(book, name), past()._replace(outputs=[PastOutput(100, each) for each in answers]))
    shape = {} if limit is None else {"max_output_tokens": limit}
    many = estimate_many([estimated(known, tokens, shape) for tokens in counted], times)
    assert many.calls == len(counted) * times
    assert pico(many.p50_usd) <= pico(many.p90_usd) <= pico(many.max_usd)
    assert many.drawn.input_p5 <= many.drawn.input_p50 <= many.drawn.input_p95
    assert many.output_max is not None
    assert many.drawn.output_p50 <= many.drawn.output_p90 <= many.output_max


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 2_000), min_size=40, max_size=80), st.integers(200, 5_000), st.integers(10, 5_000))
def test_the_sum_of_equal_calls_is_near_so_many_times_their_mean(
    book: Book, answers: list[int], calls: int, tokens: int
) -> None:
    known = learned(terms(book), past()._replace(outputs=[PastOutput(100, each) for each in answers]))
    many = estimate_many([estimated(known, tokens)], calls)
    assert many.drawn.output_p50 == pytest.approx(calls * sum(answers) / len(answers), rel=0.25)
    assert many.drawn.input_p50 == pytest.approx(calls * tokens, rel=0.001)
