"""``python -m tests.mutations [--only WORD] [--jobs 2]``: every removal must turn a test red.

The packages are copied to a temporary folder, one edit of ``_edits.py`` is made there, and the tests run on the
copy: the file that should find it first, then the rest of the promises, then the journal's.  Prints a table and ends
with 1 where a removal went unnoticed, 2 where the tests do not pass without any, or an edit no longer applies.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ._edits import EDITS
from ._trial import Trial, Workshop, misfits


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="WORD", help="only the mutations whose name holds this")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without a mutation first")
    options = parser.parse_args()
    edits = [edit for edit in EDITS if not options.only or options.only in edit.name]
    for problem in (wrong := misfits(edits)):
        print(problem)
    if wrong or not edits:
        return 2
    workshops: queue.Queue[Workshop] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="keledger-mutations-") as folder:
        for number in range(options.jobs):
            workshops.put(Workshop(Path(folder) / str(number)))

        def attempt(number: int) -> Trial:
            workshop = workshops.get()
            try:
                return workshop.attempt(edits[number])
            finally:
                workshops.put(workshop)

        if not options.no_baseline:
            baseline = workshops.queue[0].baseline(edits, options.jobs)
            print(f"without any mutation: {baseline.summary}, {baseline.seconds:.0f} s", flush=True)
            if baseline.red:
                print(baseline.red)
                return 2
        survivors = 0
        width = max(len(edit.name) for edit in edits)
        with ThreadPoolExecutor(options.jobs) as pool:
            for edit, trial in zip(edits, pool.map(attempt, range(len(edits))), strict=True):
                survivors += not trial.red
                found = trial.red or "SURVIVED"
                print(f"{edit.name:{width}}  {edit.file:27}  {trial.seconds:4.0f} s  {found}", flush=True)
    print(f"{len(edits)} removals, {survivors} unnoticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
