"""Estimates in simulated histories are as good as they are to be.  A seed says the same on every machine."""

from __future__ import annotations

import pytest

from bench._estimate_trial import Batch, Scored, batches, scored
from bench._estimate_world import TEST_SEEDS, TUNING_SEEDS, WORLDS, history
from bench.rows.estimates import (
    BATCH_COVERAGE_PERCENT_MIN,
    BATCH_OVERSTATED_MAX,
    COVERAGE_PERCENT_MAX,
    COVERAGE_PERCENT_MIN,
    ERROR_PERCENT_MAX,
    LEARNED_CALLS,
    PAST_CALLS,
    batches_covered_percent,
    covered_percent,
    error_percent,
    grouped,
    overstated,
)

pytestmark = pytest.mark.xdist_group("simulated")

CALL_SEEDS = TEST_SEEDS[:2]
BATCH_SEEDS = TEST_SEEDS[:3]
"""Some of the seeds, so that it takes seconds; ``python -m bench estimates`` takes all."""


@pytest.fixture(scope="module")
def calls() -> list[Scored]:
    return scored(CALL_SEEDS)


@pytest.fixture(scope="module")
def made() -> list[Batch]:
    return batches(BATCH_SEEDS)


def test_no_seed_is_both_tuned_with_and_tested_with() -> None:
    assert not set(TUNING_SEEDS) & set(TEST_SEEDS)


def test_a_seed_makes_the_same_history_again() -> None:
    for world in WORLDS:
        first, again, other = (list(history(world, seed)[1]) for seed in (TUNING_SEEDS[0], TUNING_SEEDS[0], 2))
        assert first == again != other


def test_input_is_told_to_a_few_percent(calls: list[Scored]) -> None:
    learned = grouped(calls, LEARNED_CALLS)
    assert len(learned) > 10_000
    assert error_percent(learned) <= ERROR_PERCENT_MAX
    raw = sorted(abs(call.counted - call.stated.actual) / call.stated.actual for call in learned)
    assert raw[len(raw) // 2] * 100 > 3 * ERROR_PERCENT_MAX, "these worlds are hard without what is learned"


@pytest.mark.parametrize(("least", "most"), [(0, None), *PAST_CALLS])
def test_nine_tenths_are_in_the_range(calls: list[Scored], least: int, most: int | None) -> None:
    covered = covered_percent(grouped(calls, least, most))
    assert covered >= COVERAGE_PERCENT_MIN
    assert covered <= COVERAGE_PERCENT_MAX or most == 0


@pytest.mark.parametrize("world", WORLDS)
def test_no_world_is_told_badly(calls: list[Scored], world: str) -> None:
    """Bounds of single worlds are looser: each breaks what estimating rests on in its own way."""
    learned = [call for call in grouped(calls, LEARNED_CALLS) if call.world == world]
    assert error_percent(learned) <= 2 * ERROR_PERCENT_MAX
    assert covered_percent(learned) >= COVERAGE_PERCENT_MIN


def test_answers_are_told_as_a_distribution(calls: list[Scored]) -> None:
    for least, most in PAST_CALLS:
        group = grouped(calls, least, most)
        within_p50 = sum(call.output_tokens <= call.output_p50 for call in group) / len(group)
        within_p90 = sum(call.output_tokens <= call.output_p90 for call in group) / len(group)
        assert 0.4 <= within_p50 <= 0.65
        assert 0.8 <= within_p90 <= 0.97


def test_batches_cost_what_was_told(made: list[Batch]) -> None:
    assert batches_covered_percent(made) >= BATCH_COVERAGE_PERCENT_MIN
    assert overstated(made) <= BATCH_OVERSTATED_MAX
    simple = sorted(batch.simple_pico / batch.actual_pico for batch in made)
    assert overstated(made) < simple[len(simple) // 2], "or n times the P90 would do"


def test_a_change_of_tokenizer_is_told(calls: list[Scored]) -> None:
    """In the calls after it, and hardly where nothing changes."""
    changed = [call.is_off for call in calls if call.world == "new tokenizer"]
    steady = [call.is_off for call in calls if call.world == "steady"]
    assert sum(changed) > len(changed) * 0.05
    assert sum(steady) < len(steady) * 0.03
