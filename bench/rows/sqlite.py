"""Durable append against SQLite: the same bytes in a table with an indexed id, one transaction an event.

SQLite keeps the same promise: in WAL mode with ``synchronous=FULL`` a commit is on the disk when it returns.  It is
handed finished lines; keledger validates and encodes its own.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

from bench._figures import Figure, percentile, ratio
from bench._workshop import Workshop
from bench.rows.append import (
    PROCESSES,
    Result,
    Together,
    Validated,
    append_events,
    append_one,
    full_events,
    lines_of,
    race,
    timed_us,
)
from keledger.journal import Home
from keledger.journal._identity import new_id
from keledger.journal._writer import Appender

BLOCK = 500
"""Appends in a row before the other side has its turn: in so many SQLite has a checkpoint, about every 400."""

BUSY_TIMEOUT_S = 60.0
"""How long a writer asks again where another one writes: no insert of a row may be refused."""

SCHEMA = "CREATE TABLE event (id TEXT PRIMARY KEY, line BLOB NOT NULL)"
INSERT = "INSERT INTO event (id, line) VALUES (?, ?)"


def measure(workshop: Workshop) -> Iterator[Figure]:
    """One writer in turns, then eight processes at once."""
    folder = workshop.new_folder("sqlite")
    yield _one_writer(workshop, folder, full_events(folder / "home"))
    yield _eight_processes(workshop, folder)


def _one_writer(workshop: Workshop, folder: Path, events: list[Validated]) -> Figure:
    lines = lines_of(events)
    block = min(BLOCK, workshop.size.appends)
    append_us: list[float] = []
    insert_us: list[float] = []
    appender = Appender(Home.at(folder / "home"))
    path = folder / "one.sqlite"
    create(path)
    with closing(connect(path)) as database:
        for start in range(-block, workshop.size.appends, block):
            places = [(start + number) % len(events) for number in range(block)]
            rows = [(new_id(), lines[place]) for place in places]
            insert_block = [timed_us(database.execute, INSERT, row) for row in rows]
            append_block = [timed_us(append_one, appender, events[place]) for place in places]
            if start >= 0:  # the first block warms both up
                insert_us += insert_block
                append_us += append_block
    appender.close()
    check_count(path, block + len(insert_us))
    # Sums, not medians: a checkpoint is one long insert among hundreds, and belongs to what SQLite takes.
    sums = [
        [sum(times[start : start + block]) for start in range(0, len(times), block)] for times in (append_us, insert_us)
    ]
    value, spread = ratio(*sums)
    rates = [1e6 * len(times) / sum(times) for times in (append_us, insert_us)]
    return Figure(
        "sqlite",
        f"full event of {len(lines[0]):,} bytes, one writer, time",
        value,
        "x",
        f"SQLite {rates[1]:,.0f} events/s, keledger {rates[0]:,.0f}; "
        f"p99 {percentile(insert_us, 99):,.0f} us against {percentile(append_us, 99):,.0f}",
        spread,
        measured={
            "append_events_per_s": rates[0],
            "sqlite_events_per_s": rates[1],
            "append_p50_us": statistics.median(append_us),
            "append_p99_us": percentile(append_us, 99),
            "sqlite_p50_us": statistics.median(insert_us),
            "sqlite_p99_us": percentile(insert_us, 99),
        },
    )


def _eight_processes(workshop: Workshop, folder: Path) -> Figure:
    appends = workshop.size.appends // 4
    rounds = 1 if workshop.size.appends < 1_000 else 3
    ours: list[Together] = []
    theirs: list[Together] = []
    for number in range(rounds):
        workshop.say(f"sqlite: {PROCESSES} processes, round {number + 1} of {rounds}")
        place = folder / f"eight-{number}"
        create(_database_of(place))
        theirs.append(race(place, PROCESSES, appends, _insert_lines))
        check_count(_database_of(place), PROCESSES * appends)
        ours.append(race(place, PROCESSES, appends, append_events))
    rates = [[found.events_per_s for found in side] for side in (ours, theirs)]
    value, spread = ratio(rates[1], rates[0])
    tails = [_tail(side) for side in (ours, theirs)]
    return Figure(
        "sqlite",
        f"{PROCESSES} processes at once, time",
        value,
        "x",
        f"SQLite {statistics.median(rates[1]):,.0f} events/s, keledger {statistics.median(rates[0]):,.0f}; "
        f"slowest {tails[1].slowest_ms:,.0f} ms against {tails[0].slowest_ms:,.0f}",
        spread,
        measured={
            "append_events_per_s": statistics.median(rates[0]),
            "sqlite_events_per_s": statistics.median(rates[1]),
            "append_p99_ms": tails[0].p99_ms,
            "sqlite_p99_ms": tails[1].p99_ms,
            "append_slowest_ms": tails[0].slowest_ms,
            "sqlite_slowest_ms": tails[1].slowest_ms,
        },
    )


class _Tail(NamedTuple):
    """How long the unlucky ones wait: SQLite's writers ask again and again, so one goes on while others starve."""

    p99_ms: float
    slowest_ms: float


def _tail(side: list[Together]) -> _Tail:
    latencies_ms = [latency / 1000 for found in side for latency in found.latencies_us]
    return _Tail(percentile(latencies_ms, 99), max(latencies_ms))


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose every statement is a transaction of its own, on the disk when it returns.

    The module keeps the statement prepared; the checkpoint every 1,000 pages is SQLite's default.
    """
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")
    return database


def create(path: Path) -> None:
    """A new database in WAL mode, which is a property of the file."""
    with closing(connect(path)) as database:
        (mode,) = database.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise AssertionError(f"{path} is in {mode} mode: SQLite has no WAL there")
        database.execute(SCHEMA)


def _database_of(folder: Path) -> Path:
    """Beside a home of the same name."""
    return folder.with_suffix(".sqlite")


def _insert_lines(folder: Path, appends: int, barrier: Barrier, results: Queue[Result]) -> None:
    """A worker that inserts finished lines."""
    lines = lines_of(full_events(folder))
    rows = [(new_id(), lines[number % len(lines)]) for number in range(appends)]
    with closing(connect(_database_of(folder))) as database:
        barrier.wait()
        begun = time.monotonic()
        latencies_us = [timed_us(database.execute, INSERT, row) for row in rows]
        results.put((begun, time.monotonic(), latencies_us))


def check_count(path: Path, expected: int) -> None:
    """Raise AssertionError unless every insert is there."""
    with closing(connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM event").fetchone()
    if count != expected:
        raise AssertionError(f"{expected} lines were inserted, SQLite has {count}")
