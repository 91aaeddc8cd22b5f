"""``ledger.record``: the CPU that normalising, pricing and appending take above a bare write and fdatasync."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench._bare import bare_append, line_of
from bench._figures import Figure, difference
from bench._inputs import calls_to_record
from bench._workshop import Workshop
from keledger.journal import Ledger

BLOCK = 100
"""Calls in a row before the other side has its turn; the CPU clock is read around a block."""

CALLS = 400
"""Different calls, of all providers, that are recorded in turn."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """One call after the other, each through a sync of its own."""
    folder = workshop.new_folder("record")
    calls = calls_to_record(CALLS, "record")
    bare_us: list[float] = []
    record_us: list[float] = []
    prepare_us: list[float] = []
    with Ledger.open(folder / "home") as ledger, bare_append(folder / "bare") as bare:
        lines = [line_of(ledger.event_of(call)) for call in calls]

        def write_bare(place: int) -> None:
            bare(lines[place])

        def record(place: int) -> None:
            ledger.record(**calls[place])

        def prepare(place: int) -> None:
            ledger.event_of(calls[place])

        for start in range(-BLOCK, workshop.size.appends, BLOCK):
            places = [(start + number) % CALLS for number in range(BLOCK)]
            times_us = [_cpu_us(action, places) for action in (write_bare, record, prepare)]
            if start >= 0:  # the first block warms all up
                for kept, time_us in zip((bare_us, record_us, prepare_us), times_us, strict=True):
                    kept.append(time_us)
    value, spread = difference(record_us, bare_us)
    yield Figure(
        "record",
        "CPU of one call above the floor",
        value,
        "us",
        f"write + fdatasync {statistics.median(bare_us):.0f} us of CPU",
        spread,
        at_most=200.0,
        measured={
            "record_cpu_us": statistics.median(record_us),
            "bare_cpu_us": statistics.median(bare_us),
            "event_of_cpu_us": statistics.median(prepare_us),
        },
    )


def _cpu_us(action: Callable[[int], Any], places: list[int]) -> float:
    begun = time.process_time_ns()
    for place in places:
        action(place)
    return (time.process_time_ns() - begun) / 1000 / len(places)
