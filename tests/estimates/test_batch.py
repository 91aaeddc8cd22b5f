"""What many calls will cost together."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.estimates import (
    BatchEstimate,
    OutputPrior,
    Part,
    PastOutput,
    Rate,
    Spread,
    estimate_batch,
    fit_output,
)

PRIOR = OutputPrior(100.0, 1.0)
RATE = Rate(0, 2, 10, 0)
EXACT = Spread(0.0, 0.0)


def part(
    *inputs: int,
    outputs: list[int],
    spread: Spread = EXACT,
    rates: tuple[Rate, ...] = (RATE,),
    limit: int | None = 1_000,
    most: int | None = 5_000,
) -> Part:
    """Calls of one prompt after these answers."""
    past = [PastOutput(1_000, output) for output in outputs]
    return Part(inputs, spread, fit_output(past, past, PRIOR), rates, limit, most)


def told(*parts: Part, seed: int = 1) -> BatchEstimate:
    """What is estimated with a generator of this seed."""
    return estimate_batch(parts, random.Random(seed))


def test_nothing_costs_nothing() -> None:
    assert told() == told(part(outputs=[5])) == BatchEstimate(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_what_is_certain_is_told_exactly() -> None:
    estimate = told(part(100, 200, 300, outputs=[50] * 20))
    cost = 600 * 2 + 150 * 10
    assert estimate == BatchEstimate(cost, cost, 3 * (5_000 * 2 + 1_000 * 10), 600, 600, 600, 150, 150, 3)


def test_from_fifty_calls_on_the_answers_have_a_margin() -> None:
    few, many = (told(part(*[100] * calls, outputs=[50] * 20)) for calls in (49, 50))
    assert few.p50_pico == few.p90_pico == 49 * 700
    assert many.p50_pico == 50 * 700
    assert many.p90_pico == 50 * 200 + 50 * 500 * 115 // 100
    assert (many.input_p95, many.output_p90) == (5_000, 2_500 * 115 // 100)


def test_the_price_is_that_of_the_size_of_each_request() -> None:
    rates = (RATE, Rate(200, 4, 20, 7))
    estimate = told(part(100, 200, 201, outputs=[50] * 20, rates=rates))
    assert estimate.p50_pico == 300 * 2 + 100 * 10 + 201 * 4 + 50 * 20 + 7
    assert estimate.max_pico == 3 * (5_000 * 4 + 1_000 * 20 + 7)
    small = told(part(100, outputs=[50] * 20, rates=rates, most=150))
    assert small.max_pico == 150 * 2 + 1_000 * 10


@pytest.mark.parametrize(("limit", "most"), [(None, 5_000), (1_000, None), (None, None)])
def test_without_a_limit_nothing_is_the_most(limit: int | None, most: int | None) -> None:
    bounded = part(100, outputs=[50] * 20)
    assert told(bounded, part(100, outputs=[50] * 20, limit=limit, most=most)).max_pico is None
    assert told(bounded, part(outputs=[50], limit=limit, most=most)).max_pico is not None


def test_the_sum_of_many_is_nearer_to_its_middle_than_one_call() -> None:
    draw = random.Random(5)
    outputs = [round(draw.lognormvariate(5, 1)) for _ in range(300)]
    one, many = (told(part(*[10] * calls, outputs=outputs, limit=None)) for calls in (1, 400))
    assert one.p90_pico > 2 * one.p50_pico
    assert many.p90_pico < 1.15 * 1.4 * many.p50_pico
    assert many.p50_pico == pytest.approx(400 * (20 + 10 * sum(outputs) / 300), rel=0.1)


def test_what_is_not_known_of_a_prompt_does_not_cancel_out() -> None:
    """Where only a range is known, all calls are off in one direction; where errors are known, each is by its own."""
    unknown = told(part(*[1_000] * 40, outputs=[1] * 20, spread=Spread(-0.5, 0.5)))
    assert unknown.input_p95 > 1.3 * unknown.input_p50
    errors = tuple(random.Random(3).gauss(0, 0.3) for _ in range(40))
    known = told(part(*[1_000] * 40, outputs=[1] * 20, spread=Spread(-0.5, 0.5, errors)))
    assert known.input_p95 < 1.15 * known.input_p50


def test_what_comes_in_runs_leaves_more_to_chance() -> None:
    """The same answers: where long ones follow each other, the next may all be long, or all short."""
    mixed = [50, 150] * 150
    in_runs = [50] * 75 + [150] * 75 + [50] * 75 + [150] * 75
    narrow, wide = (told(part(*[10] * 40, outputs=outputs)) for outputs in (mixed, in_runs))
    assert narrow.output_p90 < 4_300 < 4_600 < wide.output_p90
    assert narrow.output_p50 == pytest.approx(wide.output_p50, rel=0.1)


def test_a_hundred_thousand_calls_are_like_a_thousand_times_a_hundred() -> None:
    draw = random.Random(7)
    outputs = [round(draw.lognormvariate(5, 0.7)) for _ in range(300)]
    inputs = [draw.randrange(100, 10_000) for _ in range(100_000)]
    spread = Spread(-0.1, 0.1, tuple(draw.gauss(0, 0.05) for _ in range(40)))
    progress = Progress()
    estimate = estimate_batch(
        [part(*inputs[::2], outputs=outputs, spread=spread), part(*inputs[1::2], outputs=outputs, spread=spread)],
        random.Random(1),
        progress=progress,
    )
    assert estimate.calls == 100_000
    assert estimate.input_p50 == pytest.approx(sum(inputs), rel=0.03)
    assert estimate.output_p50 == pytest.approx(100_000 * sum(outputs) / 300, rel=0.05)
    assert progress.seen == [(done, progress.seen[-1][1]) for done in range(1, progress.seen[-1][1] + 1)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=20), st.integers(1, 200), st.integers(0, 10**6))
def test_so_many_times_is_as_if_each_were_there_so_often(inputs: list[int], times: int, seed: int) -> None:
    limits = [taken // 2 or None for taken in inputs]
    spread = Spread(-0.1, 0.2)
    few = part(*inputs, outputs=[7, 1_000, 40] * 9, spread=spread)._replace(limits=limits, times=times)
    many = part(*(each for each in inputs for _ in range(times)), outputs=[7, 1_000, 40] * 9, spread=spread)
    assert few.calls == many.calls == len(many.inputs)
    assert told(few, seed=seed) == told(
        many._replace(limits=[each for each in limits for _ in range(times)]), seed=seed
    )


def test_a_billion_calls_take_no_more_than_a_thousand() -> None:
    thousand, billion = (told(part(100, outputs=[50] * 20)._replace(times=times)) for times in (1_000, 10**9))
    assert billion.p50_pico == thousand.p50_pico * 10**6
    assert billion.calls == 10**9


def test_each_call_has_its_own_limit() -> None:
    both = told(part(100, 200, outputs=[50] * 20)._replace(limits=[10, None]))
    assert both.output_p50 == both.output_p90 == 60


@dataclass
class Progress:
    """What was told of it."""

    seen: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5_000), min_size=1, max_size=60), min_size=1, max_size=3),
    st.lists(st.integers(0, 1_000), max_size=60),
    st.integers(0, 10**6),
)
def test_sums_are_in_order_and_at_most_the_most(groups: list[list[int]], outputs: list[int], seed: int) -> None:
    parts = [part(*inputs, outputs=outputs) for inputs in groups]
    estimate = told(*parts, seed=seed)
    assert estimate == told(*parts, seed=seed)
    assert 0 <= estimate.p50_pico <= estimate.p90_pico
    assert estimate.max_pico is not None
    assert estimate.p50_pico <= estimate.max_pico
    assert estimate.output_p50 <= estimate.output_p90
    assert estimate.input_p5 == estimate.input_p50 == estimate.input_p95 == sum(map(sum, groups))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 60))
def test_prices_times_so_many_cost_times_so_many(times: int, calls: int) -> None:
    outputs = [10, 50, 20, 90, 40, 60, 30, 70, 80, 15]
    one = told(part(*[100] * calls, outputs=outputs))
    other = told(part(*[100] * calls, outputs=outputs, rates=(Rate(0, 2 * times, 10 * times, 0),)))
    assert other.p50_pico == pytest.approx(one.p50_pico * times, abs=times + 1)
    assert other.p90_pico == pytest.approx(one.p90_pico * times, abs=2 * times + 1)
