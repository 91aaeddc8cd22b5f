"""Estimates: how far they are from what calls took, in histories of which the truth is known.

Not a matter of time: a seed says the same on every machine.  Every call of every world is estimated by what was learned
of those before it, and then learned; then batches are estimated and made.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from bench._estimate_trial import Batch, Scored, batches, scored
from bench._estimate_world import TEST_SEEDS
from bench._figures import Figure, middle_half
from bench._workshop import Workshop
from keledger.journal.estimates import accuracy

ERROR_PERCENT_MAX = 3.0
COVERAGE_PERCENT_MIN = 85.0
COVERAGE_PERCENT_MAX = 96.0
BATCH_COVERAGE_PERCENT_MIN = 80.0
BATCH_OVERSTATED_MAX = 1.5

LEARNED_CALLS = 20
"""After so many calls of a prompt its estimates are to be good."""

PAST_CALLS = ((0, 0), (1, 4), (5, 19), (20, 59), (60, None))
"""Groups by how many calls of the prompt version were known."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """First calls, one after the other; then batches."""
    seeds = TEST_SEEDS[: workshop.size.repeats]
    calls = scored(seeds)
    yield _error(calls)
    yield _covered(calls, "all calls", COVERAGE_PERCENT_MAX)
    for least, most in PAST_CALLS:
        group = grouped(calls, least, most)
        name = f"after {least}" if least == most else f"after {least} to {most}" if most else f"after {least} and more"
        # Without a past call a range says what is not known: to be too wide is no fault of it.
        yield _covered(group, name, COVERAGE_PERCENT_MAX if least else None)
    yield _width(calls)
    yield _answers(calls, 50)
    yield _answers(calls, 90)
    yield from _of_batches(batches(seeds))


def grouped(calls: Sequence[Scored], least: int, most: int | None = None) -> list[Scored]:
    """Those before which so many calls of the same prompt version were known."""
    return [call for call in calls if least <= call.past_calls and (most is None or call.past_calls <= most)]


def error_percent(calls: Sequence[Scored]) -> float:
    """The median error of the input tokens."""
    error = accuracy(call.stated for call in calls).median_error
    assert error is not None
    return error * 100


def covered_percent(calls: Sequence[Scored]) -> float:
    """How many of 100 calls were in the range that nine tenths are to be in."""
    coverage = accuracy(call.stated for call in calls).coverage
    assert coverage is not None
    return coverage * 100


def batches_covered_percent(of: Sequence[Batch]) -> float:
    """How many of 100 batches cost at most their P90."""
    return statistics.fmean(batch.actual_pico <= batch.estimate.p90_pico for batch in of) * 100


def overstated(of: Sequence[Batch]) -> float:
    """How many times the cost of a batch its P90 is, at the median."""
    return statistics.median(batch.estimate.p90_pico / batch.actual_pico for batch in of)


def _error(calls: Sequence[Scored]) -> Figure:
    learned = grouped(calls, LEARNED_CALLS)
    worlds = _by_world(learned, error_percent)
    worst = max(worlds, key=worlds.__getitem__)
    raw = statistics.median(abs(call.counted - call.stated.actual) / call.stated.actual for call in learned) * 100
    tail = accuracy(call.stated for call in learned).p95_error
    assert tail is not None
    return Figure(
        "estimates",
        f"input tokens, median error after {LEARNED_CALLS} calls of a prompt",
        error_percent(learned),
        "%",
        f"as counted {raw:.1f} %; 95th percentile {tail * 100:.1f} %; worst world {worst}, {worlds[worst]:.1f} %",
        middle_half([*worlds.values()]),
        at_most=ERROR_PERCENT_MAX,
        measured={f"{world} error_percent": value for world, value in worlds.items()},
    )


def _covered(calls: Sequence[Scored], name: str, at_most: float | None) -> Figure:
    worlds = _by_world(calls, covered_percent)
    least, most = min(worlds, key=worlds.__getitem__), max(worlds, key=worlds.__getitem__)
    return Figure(
        "estimates",
        f"input tokens within a range for nine tenths, {name}",
        covered_percent(calls),
        "%",
        f"{len(calls):,} calls; worst worlds {least}, {worlds[least]:.1f} %, and {most}, {worlds[most]:.1f} %",
        middle_half([*worlds.values()]),
        at_least=COVERAGE_PERCENT_MIN,
        at_most=at_most,
        measured={f"{world} covered_percent": value for world, value in worlds.items()},
    )


def _width(calls: Sequence[Scored]) -> Figure:
    def width_percent(of: Sequence[Scored]) -> float:
        width = accuracy(call.stated for call in of).median_width
        assert width is not None
        return width * 100

    groups = [width_percent(grouped(calls, least, most)) for least, most in PAST_CALLS]
    learned = grouped(calls, LEARNED_CALLS)
    return Figure(
        "estimates",
        f"input tokens, how wide that range is after {LEARNED_CALLS} calls",
        width_percent(learned),
        "%",
        f"from the first calls on: {', '.join(f'{group:.0f}' for group in groups)} %",
        middle_half([*_by_world(learned, width_percent).values()]),
    )


def _answers(calls: Sequence[Scored], percent: int) -> Figure:
    def covered(of: Sequence[Scored]) -> float:
        return 100 * statistics.fmean(
            call.output_tokens <= (call.output_p50 if percent == 50 else call.output_p90) for call in of
        )

    worlds = _by_world(calls, covered)
    groups = [covered(grouped(calls, least, most)) for least, most in PAST_CALLS]
    return Figure(
        "estimates",
        f"output tokens, answers within P{percent}",
        covered(calls),
        "%",
        f"from the first calls on: {', '.join(f'{group:.0f}' for group in groups)} %; "
        f"worlds {min(worlds.values()):.0f} to {max(worlds.values()):.0f} %",
        middle_half([*worlds.values()]),
    )


def _of_batches(found: Sequence[Batch]) -> Iterator[Figure]:
    by_world = {world: [each for each in found if each.world == world] for world in {each.world: 0 for each in found}}
    covered = {world: batches_covered_percent(of) for world, of in by_world.items()}
    worst = min(covered, key=covered.__getitem__)
    ratios = [each.estimate.p90_pico / each.actual_pico for each in found]
    simple = statistics.median(each.simple_pico / each.actual_pico for each in found)
    yield Figure(
        "estimates",
        "batches that cost at most their P90",
        batches_covered_percent(found),
        "%",
        f"{len(found)} batches of {min(each.calls for each in found)} to {max(each.calls for each in found)} calls; "
        f"worst world {worst}, {covered[worst]:.0f} %",
        middle_half([*covered.values()]),
        at_least=BATCH_COVERAGE_PERCENT_MIN,
        measured={f"{world} covered_percent": value for world, value in covered.items()},
    )
    yield Figure(
        "estimates",
        "batches, their P90 over their cost",
        overstated(found),
        "x",
        f"calls times the P90 of one {simple:.2f} x",
        middle_half(ratios),
        at_most=BATCH_OVERSTATED_MAX,
    )


def _by_world(calls: Sequence[Scored], figure: Callable[[Sequence[Scored]], float]) -> dict[str, float]:
    worlds: dict[str, list[Scored]] = {}
    for call in calls:
        worlds.setdefault(call.world, []).append(call)
    return {world: figure(of) for world, of in worlds.items()}
