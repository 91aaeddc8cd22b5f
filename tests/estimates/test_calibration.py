"""Input tokens from what was counted, by what past calls were billed."""

from __future__ import annotations

import math
import random
import statistics
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.estimates import (
    InputHistory,
    InputPrior,
    Pair,
    estimate_input,
    fit_input,
    fit_model,
)
from keledger.journal.estimates._calibration import LINE_PAIRS, MODEL_PAIRS, OWN_PAIRS
from keledger.journal.estimates._theil_sen import Line, SlidingLine

PRIOR = InputPrior(1.1, 0.5, 2.0)

TOKENS = st.one_of(st.integers(0, 50), st.integers(0, 100_000), st.integers(0, 10**20))
PAIRS = st.lists(st.builds(Pair, TOKENS, TOKENS, st.sampled_from([None, "a", "b"])), max_size=60)
PRIORS = st.builds(InputPrior, st.floats(0.1, 10), st.floats(0.05, 1.0), st.floats(1.0, 20))


def noisy(count: int, *, ratio: float, base: int = 0, seed: int = 1, noise: float = 0.02) -> list[Pair]:
    """Calls of one prompt: a part that is always billed, and one that grows with what is counted."""
    draw = random.Random(seed)
    sizes = [draw.randrange(200, 4_000) for _ in range(count)]
    return [Pair(size, round(base + size * ratio * math.exp(draw.gauss(0, noise)))) for size in sizes]


def test_without_any_call_it_is_the_prior() -> None:
    estimate = estimate_input(1_000, [], [], PRIOR)
    assert estimate == (550, 1_100, 2_200, "prior", 0, 1.1, None)


def test_a_new_prompt_has_what_its_model_taught() -> None:
    others = [pair._replace(prompt=f"p{place}") for place, pair in enumerate(noisy(100, ratio=1.4))]
    estimate = estimate_input(1_000, [], others, PRIOR)
    assert (estimate.basis, estimate.calls) == ("model", 100)
    assert estimate.p50 == pytest.approx(1_400, rel=0.02)
    assert 1_300 < estimate.p5 < estimate.p95 < 1_500


def test_many_calls_of_one_prompt_say_little_of_another() -> None:
    """What prompts differ by is learned of prompts, not of calls."""
    alike = [pair._replace(prompt="a") for pair in noisy(100, ratio=1.4)]
    estimate = estimate_input(1_000, [], alike, PRIOR)
    assert estimate.p95 > 1.5 * estimate.p50


@pytest.mark.parametrize(("calls", "width"), [(1, 0.35), (5, 0.25), (11, 0.22), (18, 0.2), (19, 0.15), (40, 0.15)])
def test_ranges_narrow_as_calls_are_learned(calls: int, width: float) -> None:
    own = noisy(calls, ratio=1.2)
    estimate = estimate_input(1_000, own, own, PRIOR)
    assert (estimate.basis, estimate.calls) == ("prompt", calls)
    assert estimate.p50 == pytest.approx(1_200, rel=0.08)
    assert (estimate.p95 - estimate.p5) / estimate.p50 < width


def test_what_is_always_billed_is_learned_from_twelve_calls_on() -> None:
    own = noisy(30, ratio=1.0, base=3_000, noise=0.005)
    for counted in (300, 2_000, 8_000):
        assert estimate_input(counted, own, own, PRIOR).p50 == pytest.approx(3_000 + counted, rel=0.03)
    ratio = statistics.median(pair.actual / pair.counted for pair in own)
    few = estimate_input(300, own[:11], own[:11], PRIOR)
    assert few.p50 < 0.9 * 3_300 or few.p50 > 1.1 * 3_300, f"a ratio of {ratio} cannot know of it"


def test_calls_of_one_size_have_a_ratio() -> None:
    own = [Pair(1_000, 1_300 + place % 3) for place in range(40)]
    estimate = estimate_input(2_000, own, own, PRIOR)
    assert estimate.p50 == 2_602


def test_a_line_never_leads_down() -> None:
    own = [Pair(1_000 + place * 10, 5_000 - place * 50) for place in range(20)]
    fit = fit_input(own, own, PRIOR)
    assert fit.line.slope == 0.0
    assert fit.estimate(10).p50 <= fit.estimate(10_000).p50


@pytest.mark.parametrize("absurd", [Pair(1_000, 10**18), Pair(10**18, 5), Pair(1, 10**12), Pair(3_000, 0), Pair(0, 7)])
@pytest.mark.parametrize("calls", [12, 20, 60])
def test_one_absurd_pair_hardly_moves_it(absurd: Pair, calls: int) -> None:
    own = noisy(calls, ratio=1.2, base=200)
    spoiled = [*own[: calls // 2], absurd, *own[calls // 2 :]]
    for counted in (500, 2_000):
        before, after = (estimate_input(counted, pairs, pairs, PRIOR).p50 for pairs in (own, spoiled))
        assert after == pytest.approx(before, rel=0.04)


def test_pairs_with_nothing_counted_or_billed_teach_nothing() -> None:
    own = noisy(25, ratio=1.2)
    empty = [Pair(0, 100), Pair(100, 0), Pair(0, 0), Pair(-5, 10)]
    assert estimate_input(700, own + empty, own + empty, PRIOR) == estimate_input(700, own, own, PRIOR)


def test_a_changed_tokenizer_is_told_then_learned() -> None:
    before, after = noisy(60, ratio=1.2), noisy(40, ratio=1.56, seed=2)
    told = [estimate_input(1_000, before + after[:count], (), PRIOR).lately_off for count in range(41)]
    assert told[:4] == [None] * 4
    assert told[6] is not None
    assert "of the last 10 calls" in told[6]
    assert told[40] is None
    assert estimate_input(1_000, before + after, (), PRIOR).p50 == pytest.approx(1_560, rel=0.02)


def test_only_the_last_calls_count() -> None:
    own = noisy(OWN_PAIRS, ratio=1.3)
    old = noisy(50, ratio=3.0, seed=9)
    assert estimate_input(900, old + own, (), PRIOR) == estimate_input(900, own, (), PRIOR)
    others = noisy(MODEL_PAIRS, ratio=1.3)
    assert fit_model(old + others, PRIOR) == fit_model(others, PRIOR)


def test_one_after_the_other_is_all_at_once() -> None:
    own = noisy(150, ratio=1.3, base=50, noise=0.2)
    model = fit_model((), PRIOR)
    history = InputHistory()
    for learned, pair in enumerate(own):
        assert history.fit(model) == fit_input(own[:learned], (), PRIOR)
        history.learn(pair)


@settings(max_examples=300, deadline=None)
@given(counted=TOKENS, own=PAIRS, others=PAIRS, prior=PRIORS)
def test_places_are_in_order(counted: int, own: list[Pair], others: list[Pair], prior: InputPrior) -> None:
    estimate = estimate_input(counted, own, others + own, prior)
    assert 0 <= estimate.p5 <= estimate.p50 <= estimate.p95
    assert estimate.p5 >= 1 or counted == 0
    assert math.isfinite(estimate.ratio)
    assert estimate.ratio >= 0
    assert estimate.basis in ("prompt", "model", "prior")


@settings(max_examples=100, deadline=None)
@given(own=PAIRS, prior=PRIORS, counts=st.tuples(TOKENS, TOKENS))
def test_more_counted_is_never_less(own: list[Pair], prior: InputPrior, counts: tuple[int, int]) -> None:
    fit = fit_input(own, own, prior)
    less, more = sorted(counts)
    assert fit.estimate(less).p50 <= fit.estimate(more).p50


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(0, 10**6), st.sampled_from([2, 8, 64]))
def test_what_is_billed_times_so_many_is_told_times_so_many(calls: int, seed: int, times: int) -> None:
    own = noisy(calls, ratio=1.3, base=100, seed=seed)
    larger = [pair._replace(actual=pair.actual * times) for pair in own]
    prior = PRIOR._replace(ratio=PRIOR.ratio * times)
    one, other = estimate_input(1_500, own, own, PRIOR), estimate_input(1_500, larger, larger, prior)
    for small, large in zip(one[:3], other[:3], strict=True):
        assert large == pytest.approx(small * times, abs=times, rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1_000)), min_size=1, max_size=60))
def test_the_line_is_that_of_all_pairs(points: list[tuple[int, int]]) -> None:
    """The slopes that are kept are those that sorting them all gives, whatever came and went."""
    sliding = SlidingLine(LINE_PAIRS)
    for x, y in points:
        sliding.add(x, y)
    kept = points[-LINE_PAIRS:]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(kept, 2) if x1 != x2]
    line = sliding.line(slope_least=-math.inf, slope_most=math.inf)
    if not slopes:
        assert line is None
        return
    slope = statistics.median(slopes)
    assert line == Line(statistics.median(y - slope * x for x, y in kept), slope)
