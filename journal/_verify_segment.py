"""Checking one segment for ``verify``: its hashes, and each of its lines as an event, in one pass.

A segment is checked on its own, from the hash that its first line states; what concerns several segments (that one
goes on where the last one ended, ids that stand twice, price files) is left to whoever puts the segments together.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import orjson

from . import _limits as limits
from ._errors import InputRefused
from ._identity import ID_PATTERN
from ._line import TAIL_BYTES
from ._segment import Finding, SegmentScan, scan_segment
from ._time import TIME_PATTERN
from ._validate import check_read_data, writes
from ._verify_call import call_flaw, cost_flaw, is_instant
from ._verify_spelling import repeated_keys, spelling_flaw

Depth = Literal["chain", "events", "content"]
"""How much of a line is looked at.

``chain``: hash, sequence number, tick and length.  ``events``: also that it is an event, what it names (price books,
positions of other writers), and conflicts; of the calls, which are nearly all lines, no other field.  ``content``:
every field held to the models, and every cost to usage and prices.
"""

DEPTHS: tuple[Depth, ...] = get_args(Depth)

PROGRESS_BYTES = 4 * 1024 * 1024
"""How often a pass tells how far it is: some twenty times a second."""

_CALLS = ("call.completed", "call.failed")
_ENVELOPE = ("specversion", "id", "source", "type", "v", "time", "seq", "tick", "data", "hash")
_ID = re.compile(ID_PATTERN)
_TIME = re.compile(TIME_PATTERN, re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{16}")
_NO_DIGEST = "0" * 16
_TYPE_AND_VERSION = b'%b","v":%d'
_START = (
    rb'\{"specversion":"1\.0","id":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",'
    rb'"source":"/keledger/%b","type":"([ !#-\[\]-~]*","v":[1-9][0-9]{0,8}),'
    rb'"time":"(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z",'
    rb'"seq":([1-9][0-9]{0,8}),"tick":([1-9][0-9]{0,8}),"data":'
)
"""How a line of a writer begins, as every release writes it.  What is spelled otherwise is parsed as a whole."""


class FirstEvent(NamedTuple):
    """The first event of a segment, by which it joins the one below."""

    line: int
    offset_bytes: int
    seq: int
    tick: int


@dataclass(slots=True)
class SegmentCheck:
    """What a pass over one segment found, for whoever puts the segments together."""

    path: Path
    previous: bytes
    """The hash from which the chain was followed."""
    length: int | None
    """Where the segment was taken to be sealed."""
    scan: SegmentScan
    first: FirstEvent | None = None
    last_seq: int | None = None
    """Of the last fitting line; None where that is no event."""
    highest_seq: int = 0
    last_tick: int = 0
    types: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    books: dict[str, int] = field(default_factory=dict)
    """Price books that are named, and at which byte first."""
    merged: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Positions of other writers that are named, and at which byte."""
    ids: bytes = b""
    """The id of every event, 16 bytes each."""
    digests: bytes = b""
    """The first 8 bytes of each event's ``input_sha256``; zeros where it has none."""
    id_ends: bytes = b""
    """The last 8 bytes of every id as unsigned integers, sorted: what repeats shows without looking at the rest."""

    @property
    def writer(self) -> str:
        """Whose segment it is."""
        return self.path.parent.name


def check_segment(
    path: Path,
    previous: bytes,
    *,
    depth: Depth,
    start: int = 0,
    length: int | None = None,
    first_line: int = 1,
    on_bytes: Callable[[int], None] | None = None,
) -> SegmentCheck:
    """Check a segment as :func:`scan_segment` does, and each line that fits as an event.

    *on_bytes* is told how many bytes were read.  Findings stand in the order of their places.
    """
    lines = _Lines(path, depth, on_bytes)
    scan = scan_segment(path, previous, start=start, length=length, first_line=first_line, each=lines.each)
    scan.findings = in_order([*scan.findings, *lines.findings])
    ids = bytes.fromhex(b"".join(lines.ids).replace(b"-", b"").decode())
    return SegmentCheck(
        path,
        previous,
        length,
        scan,
        first=lines.first,
        last_seq=lines.seq,
        highest_seq=lines.highest_seq,
        last_tick=lines.tick,
        types=lines.types,
        unknown=lines.unknown,
        books=lines.books,
        merged=lines.merged,
        ids=ids,
        digests=_packed(lines.digests),
        id_ends=array("Q", sorted(array("Q", ids)[1::2])).tobytes(),
    )


def in_order(findings: list[Finding]) -> list[Finding]:
    """Findings of one segment by their place; those of the file as a whole come last."""
    return sorted(findings, key=lambda found: math.inf if found.offset_bytes is None else found.offset_bytes)


def line_finding(kind: str, path: Path, line: int, offset_bytes: int, what: str) -> Finding:
    """Something that is wrong with one line."""
    return Finding(kind, str(path), f"{path} line {line} (byte {offset_bytes}): {what}", line, offset_bytes)


def fitting_lines(check: SegmentCheck) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of the lines that fitted when the segment was checked."""
    offset, runs = 0, iter(check.scan.runs)
    start, end = next(runs, (0, 0))
    with open(check.path, "rb", buffering=limits.READ_BYTES) as file:
        for number, line in enumerate(file, 1):
            if offset >= end:
                start, end = next(runs, (0, 0))
                if not end:
                    return
            if offset >= start:
                yield number, offset, line
            offset += len(line)


@dataclass(slots=True)
class _Kind:
    """The events of one type and version in a segment: what to make of them, and how many there are."""

    name: str
    known: bool
    is_call: bool
    count: int = 0


class _Lines:
    """The lines of one segment, as they come."""

    def __init__(self, path: Path, depth: Depth, on_bytes: Callable[[int], None] | None) -> None:
        self._path, self._writer = path, path.parent.name
        self._on_bytes, self._told = on_bytes, 0
        self._parses, self._holds_calls = depth != "chain", depth == "content"
        self._starts = re.compile(_START % re.escape(self._writer).encode()).match
        self._end = 0
        self.findings: list[Finding] = []
        self.first: FirstEvent | None = None
        self.seq: int | None = None
        self.highest_seq = 0
        self.tick = 0
        self._kinds: dict[bytes, _Kind] = {}
        self._date = b""
        """Of the last line; nearly always that of the next one too, which need not be looked at again then."""
        self.books: dict[str, int] = {}
        self.merged: list[tuple[int, dict[str, Any]]] = []
        self.ids: list[bytes] = []
        self.digests: list[str] = []

    @property
    def types(self) -> Counter[str]:
        """How many events there are of each type."""
        counted: Counter[str] = Counter()
        for kind in self._kinds.values():
            counted[kind.name] += kind.count
        return counted

    @property
    def unknown(self) -> int:
        """How many events this release cannot read."""
        return sum(kind.count for kind in self._kinds.values() if not kind.known)

    def each(self, number: int, offset: int, line: bytes) -> None:
        """Check a line that fits the chain."""
        if offset - self._told >= PROGRESS_BYTES and self._on_bytes is not None:
            self._told = offset
            self._on_bytes(offset)
        found = self._starts(line)
        if found is None:
            return self._spelled_otherwise(number, offset, line)
        event_id, type_and_version, date, seq, tick = found.groups()
        if date != self._date:
            if not is_instant(f"{date.decode()}T00:00:00Z"):
                return self._spelled_otherwise(number, offset, line)
            self._date = date
        if self._parses:
            spelled = line[found.end() : -TAIL_BYTES]
            try:
                data = orjson.loads(spelled)
            except ValueError:
                data = None
            if type(data) is not dict:
                return self._spelled_otherwise(number, offset, line)
        self._stamp(number, offset, len(line), int(seq), int(tick))
        kind = self._kinds.get(type_and_version) or self._kind(type_and_version)
        kind.count += 1
        if self._parses:
            self._content(number, offset, event_id, kind, data, spelled)
        return None

    def _spelled_otherwise(self, number: int, offset: int, line: bytes) -> None:
        """Check a line that does not begin as every release writes it: it may be an event all the same."""
        try:
            event = orjson.loads(line)
        except ValueError:
            return self._no_event(number, offset, line, "line_unreadable", "its hash fits, but it is no JSON object")
        if not _is_event(event, self._writer) or 1 in repeated_keys(line):
            return self._no_event(number, offset, line, "envelope_wrong", "it is no event of this writer")
        self._stamp(number, offset, len(line), event["seq"], event["tick"])
        kind = self._kind(_TYPE_AND_VERSION % (event["type"].encode(), event["v"]))
        kind.count += 1
        if self._parses:
            self._content(number, offset, event["id"].encode(), kind, event["data"], line)
        return None

    def _kind(self, type_and_version: bytes) -> _Kind:
        name, _, version = type_and_version.decode().rpartition('","v":')
        fresh = _Kind(name, version == "1" and writes(name), name in _CALLS)
        return self._kinds.setdefault(type_and_version, fresh)

    def _no_event(self, number: int, offset: int, line: bytes, kind: str, what: str) -> None:
        self._found(kind, number, offset, what)
        self.seq, self._end = None, offset + len(line)

    def _stamp(self, number: int, offset: int, length: int, seq: int, tick: int) -> None:
        """Hold a line's place to that of the one above.  Behind a line that does not fit, any may follow."""
        if self.first is None:
            self.first = FirstEvent(number, offset, seq, tick)
        elif offset == self._end and self.seq is not None and seq != self.seq + 1:
            self._found("sequence_broken", number, offset, f"seq {self.seq + 1} was to follow, it says {seq}")
        if tick <= self.tick:
            self._found("tick_backwards", number, offset, f"tick {tick} follows {self.tick}")
        if length > limits.LINE_BYTES_MAX:
            self._found("line_too_long", number, offset, f"it is {length} bytes long")
        self.seq, self.tick, self._end = seq, tick, offset + length
        if seq > self.highest_seq:
            self.highest_seq = seq

    def _content(
        self, number: int, offset: int, event_id: bytes, kind: _Kind, data: dict[str, Any], spelled: bytes
    ) -> None:
        if self._holds_calls or not kind.is_call:
            flaw = _flaw(kind, data) or spelling_flaw(data, spelled)
            if flaw is not None:
                return self._found("content_wrong", number, offset, f"{kind.name} {event_id.decode()}: {flaw}")
        if kind.known:
            wrong_cost = cost_flaw(data) if self._holds_calls and kind.is_call else None
            if wrong_cost is not None:
                self._found("cost_wrong", number, offset, f"the cost of {event_id.decode()} {wrong_cost}")
            cost = data.get("cost") if kind.is_call else None
            if isinstance(cost, dict):
                self._names(cost.get("book"), offset)
            elif kind.name == "prices.adopted":
                self._names(data["book"], offset)
            elif kind.name in ("reprice.applied", "period.closed"):
                self._names(data.get("book"), offset)
                self.merged += [(offset, position) for position in data["through"]]
            elif kind.name == "merge.completed":
                self.merged += [(offset, position) for position in data["writers"]]
        digest = data.get("input_sha256")
        self.ids.append(event_id)
        self.digests.append(digest[:16] if type(digest) is str and len(digest) == 64 else _NO_DIGEST)
        return None

    def _names(self, book: object, offset: int) -> None:
        if isinstance(book, str) and book not in self.books and _SHA256.fullmatch(book):
            self.books[book] = offset

    def _found(self, kind: str, number: int, offset: int, what: str) -> None:
        self.findings.append(line_finding(kind, self._path, number, offset, what))


def _is_event(event: Any, writer: str) -> bool:
    """Whether a line is an envelope of this writer's; what its data must be depends on its type."""
    return (
        isinstance(event, dict)
        and tuple(event) == _ENVELOPE
        and event["specversion"] == "1.0"
        and event["source"] == f"/keledger/{writer}"
        and all(isinstance(event[name], str) for name in ("id", "type", "time"))
        and _ID.fullmatch(event["id"]) is not None
        and _TIME.fullmatch(event["time"]) is not None
        and is_instant(event["time"])
        and all(type(event[name]) is int and 0 < event[name] <= limits.TICK_MAX for name in ("v", "seq", "tick"))
        and isinstance(event["data"], dict)
    )


def _flaw(kind: _Kind, data: dict[str, Any]) -> str | None:
    """What is wrong with the data of an event, how they are spelled and what a call cost aside."""
    if not kind.known:
        return None
    try:
        check_read_data(kind.name, data)
    except InputRefused as error:
        return str(error)
    return call_flaw(data) if kind.is_call else None


def _packed(digests: list[str]) -> bytes:
    """Digests as bytes, 8 each; one that is not hexadecimal counts as none."""
    try:
        packed = bytes.fromhex("".join(digests))
    except ValueError:
        packed = b""
    if len(packed) == 8 * len(digests):
        return packed
    return bytes.fromhex("".join(text if _DIGEST.fullmatch(text) else _NO_DIGEST for text in digests))
