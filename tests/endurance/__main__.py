"""``python -m tests.endurance``: a million appends from eight processes that are killed at random moments.

The processes are started again until each call is acknowledged; then every acknowledged call must be in the journal,
counted once, at its exact cost, and ``keledger verify`` must find no damage.  Exit status 0 if all of that holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ._run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; kept afterwards.  Default: a temporary folder")
    parser.add_argument("--reckon", action="store_true", help="append nothing: reckon again what a folder holds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keledger-endurance-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "home").exists() != options.reckon:
            parser.error(f"{folder} holds {'no run' if options.reckon else 'a run already'}: give another folder")
        outcome = run(
            folder,
            events=options.events,
            processes=options.processes,
            seed=options.seed,
            append=not options.reckon,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    width = max(map(len, outcome.figures))
    for name, value in outcome.figures.items():
        print(f"{name:{width}}  {value}")
    for problem in outcome.problems:
        print(f"WRONG  {problem}")
    print("broken" if outcome.problems else "every promise held")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
