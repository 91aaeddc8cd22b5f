"""Conflicts: one id that stands with two inputs.  A million ids are compared without an object for each."""

from __future__ import annotations

import re
import uuid
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import orjson

from ._segment import Finding
from ._verify_segment import SegmentCheck, fitting_lines, line_finding

_AT_ONCE = 250_000
"""Ids compared at once: a set of so many integers takes some 25 MB, however many there are in all."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Copy(NamedTuple):
    """One event of a conflict; (tick, writer, seq) is the order in which the first counts."""

    tick: int
    writer: str
    seq: int
    input_sha256: str | None
    path: Path
    line: int
    offset_bytes: int


def conflicts(checks: Sequence[SegmentCheck]) -> list[Finding]:
    """Every event whose id stands earlier with another input.

    Ids are looked at by their last 8 bytes first, which hardly ever repeat by chance; only for those that do the whole
    id and the input's digest are compared, and only segments that hold a conflict are read again.
    """
    repeated = _repeated([array("Q", check.id_ends) for check in checks])
    if not repeated:
        return []
    digests: dict[bytes, set[bytes]] = {}
    holders: dict[bytes, list[SegmentCheck]] = {}
    for check in checks:
        for number, end in enumerate(array("Q", check.ids)[1::2]):
            if end in repeated:
                event_id = check.ids[16 * number : 16 * number + 16]
                digests.setdefault(event_id, set()).add(check.digests[8 * number : 8 * number + 8])
                holders.setdefault(event_id, []).append(check)
    conflicting = [event_id for event_id, given in digests.items() if len(given) > 1]
    affected = {id(check) for event_id in conflicting for check in holders[event_id]}
    wanted = {event_id.hex() for event_id in conflicting}
    copies: dict[str, list[_Copy]] = {}
    for check in checks:
        if id(check) in affected:
            for digits, copy in _copies(check, wanted):
                copies.setdefault(digits, []).append(copy)
    found = [finding for digits, several in copies.items() for finding in _contradictions(digits, several)]
    order = {str(check.path): number for number, check in enumerate(checks)}
    return sorted(found, key=lambda finding: (order[finding.path], finding.offset_bytes or 0))


def _repeated(sorted_ends: Sequence[array[int]]) -> set[int]:
    """The values that stand more than once in all of these sorted arrays together."""
    ranges = 1 + sum(map(len, sorted_ends)) // _AT_ONCE
    repeated: set[int] = set()
    for low, high in pairwise(number * 2**64 // ranges for number in range(ranges + 1)):
        parts = [ends[bisect_left(ends, low) : bisect_left(ends, high)] for ends in sorted_ends]
        if len(set(chain.from_iterable(parts))) < sum(map(len, parts)):
            counted = Counter(chain.from_iterable(parts))
            repeated.update(end for end, times in counted.items() if times > 1)
    return repeated


def _copies(check: SegmentCheck, wanted: set[str]) -> Iterator[tuple[str, _Copy]]:
    """The events of a segment that bear one of the ids, each with its id's digits."""
    for number, offset, line in fitting_lines(check):
        try:
            event = orjson.loads(line)
            digits = event["id"].replace("-", "")
            if digits in wanted:
                given = event["data"].get("input_sha256")
                digest = given if isinstance(given, str) and _SHA256.fullmatch(given) else None
                yield digits, _Copy(event["tick"], check.writer, event["seq"], digest, check.path, number, offset)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # no event, which is told already


def _contradictions(digits: str, copies: list[_Copy]) -> Iterator[Finding]:
    first, *others = sorted(copies, key=lambda copy: copy[:3])
    place = f"{first.writer}/{first.path.name} line {first.line} (byte {first.offset_bytes})"
    for copy in others:
        if copy.input_sha256 != first.input_sha256:
            what = f"id {uuid.UUID(digits)} stands with another input at {place}; the first counts"
            yield line_finding("conflict", copy.path, copy.line, copy.offset_bytes, what)
