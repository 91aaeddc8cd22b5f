"""Durable append of a validated full event, against a bare write and fdatasync of the same bytes."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty
from typing import Any

import orjson

from bench._bare import bare_append, line_of
from bench._figures import Figure, percentile, ratio
from bench._inputs import calls_to_record
from bench._processes import ProcessFailed
from bench._workshop import Workshop
from keledger.journal import Home, Ledger, NewEvent
from keledger.journal._identity import new_id
from keledger.journal._validate import check_data
from keledger.journal._writer import Appender

BLOCK = 100
"""Appends in a row before the other side has its turn: long enough for each to find its own caches."""

CALLS = 200
"""Different events that are appended in turn."""

PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Validated:
    """An event as it comes to the gate: its data are still a dict."""

    type: str
    data: dict[str, Any]


def full_events(folder: Path) -> list[Validated]:
    """Events of calls that hold all that a hook tells."""
    with Ledger.open(folder) as ledger:
        events = [ledger.event_of(call) for call in calls_to_record(CALLS, "append")]
    return [Validated(event.type, orjson.loads(event.data)) for event in events]


def append_one(appender: Appender, event: Validated) -> None:
    """What the row measures: validate, encode, append, sync."""
    check_data(event.type, event.data)
    appender.append([NewEvent.of(event.type, new_id(), event.data)])


def measure(workshop: Workshop) -> Iterator[Figure]:
    """One writer against the floor, then eight processes against one."""
    folder = workshop.new_folder("append")
    events = full_events(folder / "home")
    yield _one_writer(workshop, folder, events)
    yield from _eight_processes(workshop, folder)


def _one_writer(workshop: Workshop, folder: Path, events: list[Validated]) -> Figure:
    lines = lines_of(events)
    bare_us: list[float] = []
    append_us: list[float] = []
    appender = Appender(Home.at(folder / "home"))
    with bare_append(folder / "bare") as bare:
        for start in range(-BLOCK, workshop.size.appends, BLOCK):
            places = [(start + number) % len(events) for number in range(BLOCK)]
            bare_block = [timed_us(bare, lines[place]) for place in places]
            append_block = [timed_us(append_one, appender, events[place]) for place in places]
            if start >= 0:  # the first block warms both up
                bare_us += bare_block
                append_us += append_block
    appender.close()
    medians = [
        [statistics.median(times[start : start + BLOCK]) for start in range(0, len(times), BLOCK)]
        for times in (append_us, bare_us)
    ]
    value, spread = ratio(*medians)
    bare_p50, append_p50 = statistics.median(bare_us), statistics.median(append_us)
    p99 = f"p99 {percentile(append_us, 99):,.0f} us against {percentile(bare_us, 99):,.0f}"
    return Figure(
        "append",
        f"full event of {len(lines[0]):,} bytes, one writer",
        value,
        "x",
        f"write + fdatasync {bare_p50:.0f} us; {p99}",
        spread,
        at_most=1.5,
        measured={
            "append_p50_us": append_p50,
            "append_p99_us": percentile(append_us, 99),
            "bare_p50_us": bare_p50,
            "bare_p99_us": percentile(bare_us, 99),
        },
    )


def lines_of(events: list[Validated]) -> list[bytes]:
    """The lines that an appender would write, but for their places in a chain."""
    return [line_of(NewEvent.of(event.type, new_id(), event.data)) for event in events]


def timed_us(action: Any, *arguments: Any) -> float:
    """What a call takes, in microseconds."""
    begun = time.perf_counter_ns()
    action(*arguments)
    return (time.perf_counter_ns() - begun) / 1000


Result = tuple[float, float, list[float]]
"""When a process began and ended, by the clock that all share, and what each append took in microseconds."""


@dataclass(frozen=True, slots=True)
class Together:
    """Processes that appended at the same time."""

    events_per_s: float
    latencies_us: list[float]


def _eight_processes(workshop: Workshop, folder: Path) -> Iterator[Figure]:
    """One process and eight, by the appender and by nothing but a lock, a write and a sync."""
    rounds = 1 if workshop.size.appends < 1_000 else 3
    each = {1: workshop.size.appends, PROCESSES: workshop.size.appends // 4}
    found: dict[tuple[int, bool], list[Together]] = {(count, bare): [] for count in each for bare in (True, False)}
    for number in range(rounds):
        workshop.say(f"append: {PROCESSES} processes, round {number + 1} of {rounds}")
        for (count, bare), kept in found.items():
            worker = _lock_write_sync if bare else append_events
            kept.append(race(folder / f"{count}-{bare}-{number}", count, each[count], worker))
    rates = {kind: [together.events_per_s for together in kept] for kind, kept in found.items()}
    value, spread = ratio(rates[PROCESSES, False], rates[1, False])
    limit, _ = ratio(rates[PROCESSES, True], rates[1, True])
    one = statistics.median(rates[1, False])
    yield Figure(
        "append",
        f"{PROCESSES} processes at once, events/s",
        value,
        "x",
        f"one process {one:,.0f} events/s; flock + write + fdatasync alone has {limit:.2f} x",
        spread,
        at_least=1.0,
        measured={
            "one_events_per_s": one,
            "eight_events_per_s": statistics.median(rates[PROCESSES, False]),
            "bare_one_events_per_s": statistics.median(rates[1, True]),
            "bare_eight_events_per_s": statistics.median(rates[PROCESSES, True]),
        },
    )
    eight = found[PROCESSES, False]
    tails = [percentile(together.latencies_us, 99) / statistics.median(together.latencies_us) for together in eight]
    p50_us = statistics.median(statistics.median(together.latencies_us) for together in eight)
    yield Figure(
        "append",
        f"{PROCESSES} processes at once, p99",
        statistics.median(tails),
        "x",
        f"their median {p50_us:,.0f} us",
        (min(tails), max(tails)),
        at_most=20.0,
        measured={"eight_p50_us": p50_us, "eight_p99_us": statistics.median(tails) * p50_us},
    )


Worker = Callable[[Path, int, Barrier, "Queue[Result]"], None]
"""What one of several processes does with a folder: so many appends, from the moment when all have come."""


def race(folder: Path, processes: int, appends: int, worker: Worker) -> Together:
    """Let *processes* append *appends* events each; the clock runs from the first's start to the last's end."""
    full_events(folder)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    results: Queue[Result] = context.Queue()
    workers = [context.Process(target=worker, args=(folder, appends, barrier, results)) for _ in range(processes)]
    for process in workers:
        process.start()
    found = _collected(workers, results)
    begun, ended = min(result[0] for result in found), max(result[1] for result in found)
    latencies_us = [latency for result in found for latency in result[2]]
    return Together(processes * appends / (ended - begun), latencies_us)


def _collected(workers: list[SpawnProcess], results: Queue[Result]) -> list[Result]:
    """What each worker measured.  Where one fails, the others would wait for it at the barrier: they are ended."""
    found: list[Result] = []
    while len(found) < len(workers):
        try:
            found.append(results.get(timeout=1.0))
        except Empty:
            if any(worker.exitcode for worker in workers):
                for worker in workers:
                    worker.terminate()
                raise ProcessFailed("a process that appends has failed") from None
    for worker in workers:
        worker.join()
    return found


def append_events(folder: Path, appends: int, barrier: Barrier, results: Queue[Result]) -> None:
    """A worker that validates, encodes, appends and syncs."""
    events = full_events(folder)
    appender = Appender(Home.at(folder))
    append_one(appender, events[0])
    barrier.wait()
    begun = time.monotonic()
    latencies_us = [timed_us(append_one, appender, events[number % len(events)]) for number in range(appends)]
    results.put((begun, time.monotonic(), latencies_us))


def _lock_write_sync(folder: Path, appends: int, barrier: Barrier, results: Queue[Result]) -> None:
    """The least that processes can do who share a file: each holds the lock over its write and sync."""
    lines = lines_of(full_events(folder))
    lock = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    with bare_append(folder.with_suffix(".bare")) as bare:

        def append(line: bytes) -> None:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bare(line)
            fcntl.flock(lock, fcntl.LOCK_UN)

        barrier.wait()
        begun = time.monotonic()
        latencies_us = [timed_us(append, lines[number % len(lines)]) for number in range(appends)]
        results.put((begun, time.monotonic(), latencies_us))
    os.close(lock)
