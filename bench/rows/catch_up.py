"""A thousand new events, against a report with nothing new, after a million calls and after four."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench._figures import Figure, difference
from bench._inputs import calls_to_record
from bench._processes import answer_of, keledger, part, run
from bench._workshop import LARGE, Workshop
from keledger.journal import Home, Ledger

NEW_EVENTS = 1_000


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Twice the same home: one stays as it is, to the other a thousand events come before each round."""
    yield from _after(workshop, workshop.built_home(), workshop.size.calls)
    if workshop.size.large:
        yield from _after(workshop, workshop.built_large_home(), workshop.size.calls * LARGE)


def _after(workshop: Workshop, still: Home, calls: int) -> Iterator[Figure]:
    growing = workshop.copy(still, f"growing-{calls}")
    whole: tuple[list[float], list[float]] = ([], [])
    inside: tuple[list[float], list[float]] = ([], [])
    with Ledger.open(growing.path) as ledger:
        for number in range(workshop.size.repeats):
            ledger.record_many(calls_to_record(NEW_EVENTS, f"catch-up {number}"))
            for place, home in ((1, still), (0, growing)):
                environment = workshop.environment | {"KELEDGER_HOME": str(home.path)}
                # The first to look finds the events new, so the two measures take turns in being it.
                for measure_inside in (number % 2 == 0, number % 2 == 1):
                    if measure_inside:
                        inside[place].append(answer_of(part("open", home.path), environment)["wall_s"])
                    else:
                        whole[place].append(run(keledger("daily"), environment).wall_s)
    for what, (new_s, empty_s) in (("keledger daily", whole), ("opening alone", inside)):
        value, spread = difference(new_s, empty_s)
        yield Figure(
            "catch-up",
            f"{NEW_EVENTS:,} events after {calls:,} calls, {what}",
            value,
            "s",
            f"nothing new {statistics.median(empty_s):.3f} s; slowest +{max(new_s) - statistics.median(empty_s):.3f} s",
            spread,
            at_most=0.10,
            measured={"with_new_s": statistics.median(new_s), "empty_s": statistics.median(empty_s)},
        )
