"""Output tokens by what past answers took."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.estimates import OutputPrior, PastOutput, estimate_output

PRIOR = OutputPrior(129.0, 1.0)


def answers(*outputs: int) -> list[PastOutput]:
    """Past calls with these answers."""
    return [PastOutput(1_000, output) for output in outputs]


def test_without_any_call_it_is_the_prior() -> None:
    estimate = estimate_output(1_000, [], [], PRIOR, limit=None)
    assert (estimate.p50, estimate.max, estimate.basis, estimate.calls) == (129, None, "prior", 0)
    assert 129 * 3.6 < estimate.p90 < 129 * 4.5  # a normal distribution's 1.28, and what is not known of its middle


@pytest.mark.parametrize(
    ("calls", "p50", "p90"), [(9, 5, 9), (10, 6, 10), (19, 10, 18), (100, 51, 91), (299, 150, 270)]
)  # fmt: skip
def test_it_is_the_answer_of_its_rank(calls: int, p50: int, p90: int) -> None:
    outputs = list(range(1, calls + 1))
    random.Random(calls).shuffle(outputs)
    estimate = estimate_output(1_000, answers(*outputs), [], PRIOR, limit=None)
    assert estimate == (p50, p90, None, "prompt", calls)


def test_only_the_last_three_hundred_count() -> None:
    recent = answers(*range(1, 301))
    assert estimate_output(1_000, answers(*[10**6] * 900) + recent, [], PRIOR, limit=None).p50 == 151


def test_from_three_hundred_on_p90_is_that_of_like_sizes() -> None:
    """Long prompts had answers of a thousand tokens, short ones of ten."""
    past = [PastOutput(size, tokens) for size, tokens in ((100, 10), (9_000, 1_000))] * 200
    assert estimate_output(120, past, [], PRIOR, limit=None)[:2] == (10, 10)
    assert estimate_output(8_000, past, [], PRIOR, limit=None)[:2] == (1_000, 1_000)
    assert estimate_output(120, past[:298], [], PRIOR, limit=None)[:2] == (1_000, 1_000)


def test_few_answers_are_drawn_to_the_model_or_the_prior() -> None:
    of_model = answers(*[2_000] * 20)
    new = estimate_output(1_000, [], of_model, PRIOR, limit=None)
    assert (new.p50, new.basis, new.calls) == (2_000, "model", 20)
    alone = [estimate_output(1_000, answers(*[2_000] * count), [], PRIOR, limit=None).p50 for count in range(9)]
    assert alone == sorted(alone)
    assert 129 == alone[0] < alone[1] < alone[8] < 2_000
    with_model = estimate_output(1_000, answers(500), of_model, PRIOR, limit=None)
    assert 500 < with_model.p50 < 2_000
    assert with_model.basis == "prompt"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 10**15), max_size=40),
    st.lists(st.integers(0, 10**15), max_size=40),
    st.one_of(st.none(), st.integers(0, 10**6)),
    st.builds(OutputPrior, st.floats(1, 1e6), st.floats(0, 4)),
)
def test_places_are_in_order_and_within_the_limit(
    own: list[int], of_model: list[int], limit: int | None, prior: OutputPrior
) -> None:
    estimate = estimate_output(100, answers(*own), answers(*of_model), prior, limit=limit)
    assert 0 <= estimate.p50 <= estimate.p90
    assert estimate.max == limit
    assert limit is None or estimate.p90 <= limit


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=9, max_size=400), st.integers(2, 9))
def test_answers_times_so_many_are_told_times_so_many(outputs: list[int], times: int) -> None:
    one = estimate_output(1_000, answers(*outputs), [], PRIOR, limit=None)
    other = estimate_output(1_000, answers(*(output * times for output in outputs)), [], PRIOR, limit=None)
    assert (one.p50 * times, one.p90 * times) == (other.p50, other.p90)
