"""``verify`` at each depth, against a bare pass of hashlib over the same bytes in one process."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

from bench._figures import Figure, ratio
from bench._workshop import Workshop
from keledger.journal import Depth, Home, verify

READ_BYTES = 1 << 20

DEPTHS: Mapping[Depth, tuple[str, float | None]] = {
    "chain": ("chain and sequence", 2.0),
    "events": ("every event parsed", 4.0),
    "content": ("every field and sum (default)", None),
}
"""What each depth of ``verify`` does, and its bound; the last is told, for the design bounds parsing alone."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Each depth on the whole journal, in as many processes as ``verify`` chooses."""
    home = workshop.home()
    bare_s: list[float] = []
    verify_s: dict[Depth, list[float]] = {depth: [] for depth in DEPTHS}
    for number in range(workshop.size.rebuilds):
        workshop.say(f"verify: round {number + 1} of {workshop.size.rebuilds}")
        bare_s.append(_timed_s(lambda: _hash_all(home)))
        for depth, taken_s in verify_s.items():
            taken_s.append(_timed_s(lambda depth=depth: _verify(home, depth)))  # type: ignore[misc]
    for depth, (what, bound) in DEPTHS.items():
        value, spread = ratio(verify_s[depth], bare_s)
        median_s = statistics.median(verify_s[depth])
        yield Figure(
            "verify",
            f"{workshop.size.calls:,} calls, {what}",
            value,
            "x",
            f"one hashlib pass {statistics.median(bare_s):.2f} s; {depth} {median_s:.1f} s",
            spread,
            at_most=bound,
            measured={"verify_s": median_s, "hashlib_s": statistics.median(bare_s)},
        )


def _verify(home: Home, depth: Depth) -> None:
    found = verify(home, depth=depth)
    if found.damaged:
        raise AssertionError(f"the generated journal is damaged: {found.findings[0].message}")


def _hash_all(home: Home) -> None:
    for writer in home.writers():
        for path in home.segments(writer):
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as file:
                while block := file.read(READ_BYTES):
                    digest.update(block)


def _timed_s(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
