"""``python -m bench``: measure, print figures beside their bounds, and say what is over."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

import keledger

from ._figures import Figure, markdown, table
from ._workshop import FULL, MEMORY_FILESYSTEMS, SMOKE, Size, Workshop
from .rows import ROWS

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"

DESCRIPTION = """\
Measure keledger against the limit of what it does: each row beside a floor, in
turns, so that whatever else the machine does hits both alike.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for.

    Returns 1 where a figure is over its bound, 2 where nothing can be measured.
    """
    chosen = _parser().parse_args(arguments)
    size = _size(chosen)
    figures: list[Figure] = []
    begun = time.perf_counter()
    with Workshop(Path(chosen.folder), size) as workshop:
        if workshop.filesystem in MEMORY_FILESYSTEMS:
            workshop.say(
                f"{chosen.folder} is in memory ({workshop.filesystem}), where a sync costs nothing: "
                "give a folder on a disk as --folder"
            )
            if size.judged:
                return 2
        machine = _machine(workshop)
        for name in chosen.rows or ROWS:
            workshop.say(f"{name}:")
            figures += ROWS[name](workshop)
    taken_s = time.perf_counter() - begun
    print("\n".join((markdown if chosen.markdown else table)(figures, judged=size.judged)))
    print(f"\n{_told(size, machine)}; {taken_s:.0f} s in all")
    if chosen.json:
        result = {
            "machine": machine,
            "size": dataclasses.asdict(size),
            "taken_s": round(taken_s, 1),
            "figures": [figure.as_json(judged=size.judged) for figure in figures],
        }
        Path(chosen.json).write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    return 1 if size.judged and any(figure.is_over for figure in figures) else 0


def _size(chosen: argparse.Namespace) -> Size:
    size = SMOKE if chosen.smoke else FULL
    if chosen.calls:
        size = dataclasses.replace(size, calls=chosen.calls, judged=size.judged and chosen.calls >= FULL.calls)
    return dataclasses.replace(size, large=size.large and not chosen.no_large)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=DESCRIPTION,
        epilog=f"Rows: {', '.join(ROWS)}.  Without any, all of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", type=_row, metavar="ROW", help="what to measure")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--full", action="store_true", help="a million calls, as the bounds are meant (default)")
    how_much.add_argument("--smoke", action="store_true", help="20,000 calls in under a minute; nothing is judged")
    parser.add_argument(
        "--calls", type=int, metavar="N", help="calls in the journal; below a million nothing is judged"
    )
    parser.add_argument("--no-large", action="store_true", help="leave out the journal of four times as many calls")
    where = "where to work: on a real disk, with 20 GB free at full size (default: build/bench)"
    parser.add_argument("--folder", default=DEFAULT_FOLDER, metavar="DIR", help=where)
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    return parser


def _row(name: str) -> str:
    if name not in ROWS:
        raise argparse.ArgumentTypeError(f"there is no row {name!r}: {', '.join(ROWS)}")
    return name


def _machine(workshop: Workshop) -> dict[str, Any]:
    """What the figures depend on, without naming the machine."""
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "filesystem": workshop.filesystem,
        "python": platform.python_version(),
        "keledger": keledger.__version__,
        **{name: importlib.metadata.version(name) for name in ("duckdb", "pydantic", "orjson")},
        "load_1_min": round(os.getloadavg()[0], 1),
    }


def _told(size: Size, machine: dict[str, Any]) -> str:
    judged = "" if size.judged else "; too small to be judged"
    return (
        f"{size.calls:,} calls{judged}; {machine['cores']} cores, {machine['filesystem']}, "
        f"Python {machine['python']}, DuckDB {machine['duckdb']}; load {machine['load_1_min']} at the start"
    )


if __name__ == "__main__":
    sys.exit(main())
