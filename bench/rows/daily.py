"""``keledger daily`` with nothing to catch up, against a bare python that groups the same file's calls by day."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import orjson

from bench._figures import Figure, ratio
from bench._processes import keledger, part, run
from bench._workshop import Workshop
from keledger.journal import Home


def measure(workshop: Workshop) -> Iterator[Figure]:
    """JSON through a pipe and the table on a terminal, whole processes, in turns with the floor."""
    home = workshop.built_home()
    environment = workshop.environment | {"KELEDGER_HOME": str(home.path)}
    floor = part("group_by", largest_layer(home))
    floor_s: list[float] = []
    json_s: list[float] = []
    table_s: list[float] = []
    for number in range(workshop.size.repeats + 1):
        bare = run(floor, environment)
        piped = run(keledger("daily"), environment)
        shown = run(keledger("daily"), environment, terminal=True)
        rows = int(bare.output)
        if len(orjson.loads(piped.output)["rows"]) != rows or len(shown.output.splitlines()) <= rows:
            raise AssertionError(f"the floor has {rows} days, the report others")
        if number:  # the first round warms the disk's cache
            for kept, ended in zip((floor_s, json_s, table_s), (bare, piped, shown), strict=True):
                kept.append(ended.wall_s)
    floor_text = f"import duckdb, one GROUP BY {1000 * statistics.median(floor_s):.0f} ms"
    for what, times_s, bound in (("JSON", json_s, 1.4), ("table on a terminal", table_s, 1.6)):
        value, spread = ratio(times_s, floor_s)
        measured = {"daily_s": statistics.median(times_s), "group_by_s": statistics.median(floor_s)}
        yield Figure(
            "daily", f"{workshop.size.calls:,} calls, {what}", value, "x", floor_text, spread, bound, measured=measured
        )


def largest_layer(home: Home) -> Path:
    """The file that holds nearly all calls of a home whose projections were just rebuilt."""
    return max(home.projections.glob("*/*.duckdb"), key=lambda path: path.stat().st_size)
