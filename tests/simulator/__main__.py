"""``python -m tests.simulator``: let worlds live until one of them breaks a promise, or the time is over."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from .run import Result, run_for, run_world
from .world import STEPS


def main() -> int:
    """Exit status 0 where all promises held, 1 where one was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="one world; without it, worlds of new seeds until the time is over")
    parser.add_argument("--first-seed", type=int, help="the first of those; the present time unless given")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each world")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--trace", action="store_true", help="print the last system calls also where nothing broke")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a world that breaks a promise")
    parser.add_argument("--project", action="store_true", help="look at the world through DuckDB, too (with --seed)")
    given = parser.parse_args()
    if given.seed is not None:
        result = run_world(given.seed, steps=given.steps, project=given.project or None, keep=given.keep)
        if given.trace:
            print("\n".join(result.trace))
    else:
        first = int(time.time()) if given.first_seed is None else given.first_seed
        result = _run(first, given)
    for failure in result.failures:
        steps = "" if given.steps == STEPS else f" --steps {given.steps}"
        print(failure.told(f"python -m tests.simulator --seed {failure.seed}{steps}"))
    print(result.summary())
    return 1 if result.failures else 0


def _run(first: int, given: argparse.Namespace) -> Result:
    if given.jobs == 1:
        return run_for(given.seconds, first, steps=given.steps, keep=given.keep)
    result = Result()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(run_for, given.seconds, first + job, every=given.jobs, steps=given.steps, keep=given.keep)
            for job in range(given.jobs)
        ]
        for future in running:
            result.add(future.result())
    return result


if __name__ == "__main__":
    sys.exit(main())
