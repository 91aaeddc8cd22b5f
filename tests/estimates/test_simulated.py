"""Estimates in simulated histories are as good as they are to be.  A seed says the same on every machine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from bench._estimate_trial import Scored, batches, scored
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

CALL_SEEDS = TEST_SEEDS[:2]
BATCH_SEEDS = TEST_SEEDS[:3]
"""Some of the seeds, so that it takes seconds; ``python -m bench estimates`` takes all."""


def test_no_seed_is_both_tuned_with_and_tested_with() -> None:
    assert not set(TUNING_SEEDS) & set(TEST_SEEDS)


def test_a_seed_makes_the_same_history_again() -> None:
    for world in WORLDS:
        first, again, other = (list(history(world, seed)[1]) for seed in (1, 1, 2))
        assert first == again != other


def test_calls_take_what_was_told() -> None:
    """One test, for the calls of these worlds are estimated once.  Each figure: what it is, and its bounds."""
    calls = scored(CALL_SEEDS)
    learned = grouped(calls, LEARNED_CALLS)
    assert len(learned) > 10_000
    figures: dict[str, tuple[float, float, float]] = {
        "error": (error_percent(learned), 0, ERROR_PERCENT_MAX),
        "error of raw counts": (_raw_error_percent(learned), 3 * ERROR_PERCENT_MAX, math.inf),  # or worlds are too easy
        "covered": (covered_percent(calls), COVERAGE_PERCENT_MIN, COVERAGE_PERCENT_MAX),
    }
    for least, most in PAST_CALLS:
        group = grouped(calls, least, most)
        name = f"after {least} to {most}"
        widest = COVERAGE_PERCENT_MAX if least else 100
        figures[f"covered {name}"] = (covered_percent(group), COVERAGE_PERCENT_MIN, widest)
        figures[f"answers within P50 {name}"] = (_percent(c.output_tokens <= c.output_p50 for c in group), 40, 65)
        figures[f"answers within P90 {name}"] = (_percent(c.output_tokens <= c.output_p90 for c in group), 80, 97)
    for world in WORLDS:  # looser: each breaks in its own way what estimating rests on
        of_world = [call for call in learned if call.world == world]
        figures[f"error in {world}"] = (error_percent(of_world), 0, 2 * ERROR_PERCENT_MAX)
        figures[f"covered in {world}"] = (covered_percent(of_world), COVERAGE_PERCENT_MIN, 100)
    told_off = {world: _percent(call.is_off for call in calls if call.world == world) for world in WORLDS}
    figures["told to be off after a change"] = (told_off["new tokenizer"], 5, 30)
    figures["told to be off where nothing changes"] = (told_off["steady"], 0, 3)
    wrong = {name: figure for name, figure in figures.items() if not figure[1] <= figure[0] <= figure[2]}
    assert not wrong, "(figure, at least, at most)"


def test_batches_cost_what_was_told() -> None:
    made = batches(BATCH_SEEDS)
    assert batches_covered_percent(made) >= BATCH_COVERAGE_PERCENT_MIN
    assert overstated(made) <= BATCH_OVERSTATED_MAX
    simple = statistics.median(batch.simple_pico / batch.actual_pico for batch in made)
    assert overstated(made) < simple, "or calls times the P90 of one would do"


def _raw_error_percent(calls: Sequence[Scored]) -> float:
    return 100 * statistics.median(abs(call.counted - call.stated.actual) / call.stated.actual for call in calls)


def _percent(true: Iterable[bool]) -> float:
    return 100 * statistics.fmean(true)
