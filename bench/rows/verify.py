"""``verify`` of every line, against a bare pass of hashlib over the same bytes.  Its bound comes with a later part."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator

from bench._figures import Figure, ratio
from bench._workshop import Workshop
from keledger.journal import Home, verify

READ_BYTES = 1 << 20

ROUNDS_MAX = 2
"""A round at full size takes as long as all others together, and the figure is not judged."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Chain, sequence, content, conflicts and price files of the whole journal."""
    home = workshop.home()
    bare_s: list[float] = []
    verify_s: list[float] = []
    rounds = min(workshop.size.rebuilds, ROUNDS_MAX)
    for number in range(rounds):
        workshop.say(f"verify: round {number + 1} of {rounds}")
        bare_s.append(_timed_s(lambda: _hash_all(home)))
        verify_s.append(_timed_s(lambda: _verify(home)))
    value, spread = ratio(verify_s, bare_s)
    yield Figure(
        "verify",
        f"{workshop.size.calls:,} calls, every event parsed",
        value,
        "x",
        f"one hashlib pass {statistics.median(bare_s):.2f} s",
        spread,
        measured={"verify_s": statistics.median(verify_s), "hashlib_s": statistics.median(bare_s)},
    )


def _verify(home: Home) -> None:
    found = verify(home)
    if found.damaged:
        raise AssertionError(f"the generated journal is damaged: {found.findings[0].message}")


def _hash_all(home: Home) -> None:
    for writer in home.writers():
        for path in home.segments(writer):
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as file:
                while block := file.read(READ_BYTES):
                    digest.update(block)


def _timed_s(action: object) -> float:
    assert callable(action)
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
