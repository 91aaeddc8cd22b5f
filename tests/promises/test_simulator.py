"""Worlds of the simulator, the same ones in each run: machines that lose power, lie full, meet errors, copy and merge.

A failing world tells how to see it again alone.  ``python -m tests.simulator --seconds 3600`` looks at new ones.
"""

from __future__ import annotations

import pytest

from tests.simulator.run import run_world

WORLDS = 48
"""About a quarter of a second each on an idle core."""

TOGETHER = 12
"""So many make one test, so that several processes can share them."""


@pytest.mark.parametrize("first", range(0, WORLDS, TOGETHER))
def test_promises_hold_in_every_world(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        for failure in run_world(seed).failures:
            pytest.fail(failure.told(f"python -m tests.simulator --seed {seed}"), pytrace=False)
