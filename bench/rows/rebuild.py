"""A rebuild from nothing, every hash checked, against DuckDB's own loading of the same bytes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from bench._figures import Figure, ratio
from bench._processes import answer_of, part
from bench._workshop import Workshop
from keledger.journal import Home


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Both in processes of their own, without the time of their imports, writing files to the same disk."""
    home = workshop.home()
    target = workshop.new_folder("rebuild") / "floor.duckdb"
    floor_s: list[float] = []
    rebuild_s: list[float] = []
    threads = 0
    for number in range(workshop.size.rebuilds):
        workshop.say(f"rebuild: round {number + 1} of {workshop.size.rebuilds}")
        floor = answer_of(part("read_json", target, *_segments(home)), workshop.environment)
        target.unlink()
        rebuilt = answer_of(part("rebuild", home.path), workshop.environment)
        if rebuilt["calls"] != workshop.size.calls or floor["rows"] <= rebuilt["calls"]:
            raise AssertionError(f"{workshop.size.calls} calls were made, but loaded: {floor}, {rebuilt}")
        floor_s.append(floor["wall_s"])
        rebuild_s.append(rebuilt["wall_s"])
        threads = floor["threads"]
    workshop.is_built(home)
    value, spread = ratio(rebuild_s, floor_s)
    size_mb = sum(path.stat().st_size for path in _segments(home)) / 1e6
    yield Figure(
        "rebuild",
        f"{workshop.size.calls:,} calls, {size_mb:,.0f} MB",
        value,
        "x",
        f"read_json into a table {statistics.median(floor_s):.2f} s, {threads} threads",
        spread,
        at_most=1.5,
        measured={"rebuild_s": statistics.median(rebuild_s), "read_json_s": statistics.median(floor_s)},
    )


def _segments(home: Home) -> list[Path]:
    return [path for writer in home.writers() for path in home.segments(writer)]
