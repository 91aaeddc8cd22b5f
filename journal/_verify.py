"""``verify``: every line of every writer held to all that this release knows of it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from . import _limits as limits
from ._disk import Disk
from ._errors import InputRefused
from ._home import Home
from ._identity import ID_PATTERN
from ._money import usd_to_pico
from ._reader import Chunk, Scan, scan_journal
from ._segment import Finding
from ._spool import Spool
from ._validate import check_data, writes

_ID = re.compile(ID_PATTERN)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENVELOPE = ("specversion", "id", "source", "type", "v", "time", "seq", "tick", "data", "hash")


@dataclass(slots=True)
class Verified:
    """What ``verify`` looked at and found."""

    lines: int = 0
    writers: dict[str, int] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    """Events of types or versions that this release cannot read; they are kept."""
    books: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong; notes do not count."""
        return any(finding.damage for finding in self.findings)


def verify(home: Home, *, on_progress: Callable[[int, int], None] | None = None) -> Verified:
    """Check chain, sequence, order, content, conflicts and price files of a home.  Reads only.

    *on_progress* is told bytes done and bytes in all.  Raises HomeError where the home cannot be read.
    """
    result = Verified()
    home.check()
    scan = scan_journal(home)
    result.findings += scan.findings
    result.writers = {writer: position.seq for writer, position in scan.positions.items()}
    _Pass(home, scan, result, on_progress).run()
    spool = Spool(home, Disk())
    if spool.is_open():
        message = f"{home.spool} can be written by others, so nothing in it is believed: look at it, then chmod 700"
        result.findings.append(Finding("spool_open", str(home.spool), message))
    waiting = sum(1 for _ in spool.waiting())
    if waiting:
        folder = str(home.spool)
        message = f"{waiting} calls wait in {folder}: the next append brings them in"
        result.findings.append(Finding("spool_waiting", folder, message, damage=False))
    return result


class _Pass:
    """One pass over all lines, in each writer's order."""

    def __init__(
        self, home: Home, scan: Scan, result: Verified, on_progress: Callable[[int, int], None] | None
    ) -> None:
        self.home, self.scan, self.result, self.on_progress = home, scan, result, on_progress
        self.books: dict[str, str] = {}
        self.merged: list[tuple[str, dict[str, Any]]] = []
        # id -> (input hash, place); 16 + 8 bytes of content each, so that a million lines stay below 250 MB
        self.seen: dict[bytes, tuple[bytes, str]] = {}

    def run(self) -> None:
        done, total = 0, sum(chunk.end - chunk.start for chunk in self.scan.chunks)
        writer, tick = "", 0
        for chunk in self.scan.chunks:
            # A chunk that is not a writer's first follows damage, told already, or a segment, chained by its hash.
            expected = 1 if chunk.writer != writer else None
            writer, tick = chunk.writer, 0 if chunk.writer != writer else tick
            for offset, line in _with_offsets(chunk):
                expected, tick = self._line(chunk, offset, line, expected, tick)
            done += chunk.end - chunk.start
            if self.on_progress is not None:
                self.on_progress(done, total)
        self._positions()
        self._prices()

    def _line(self, chunk: Chunk, offset: int, line: bytes, expected: int | None, tick: int) -> tuple[int | None, int]:
        """Check one line; returns the sequence number that is to follow, and the line's tick."""
        self.result.lines += 1
        try:
            event = orjson.loads(line)
        except ValueError:
            self._found("line_unreadable", chunk.path, offset, "its hash fits, but it is no JSON object")
            return None, tick
        if not _is_event(event, chunk.writer):
            self._found("envelope_wrong", chunk.path, offset, "it is no event of this writer")
            return None, tick
        if expected is not None and event["seq"] != expected:
            self._found("sequence_broken", chunk.path, offset, f"seq {expected} was to follow, it says {event['seq']}")
        if event["tick"] <= tick:
            self._found("tick_backwards", chunk.path, offset, f"tick {event['tick']} follows {tick}")
        if len(line) > limits.LINE_BYTES_MAX:
            self._found("line_too_long", chunk.path, offset, f"it is {len(line)} bytes long")
        self._content(chunk, offset, event)
        return event["seq"] + 1, event["tick"]

    def _content(self, chunk: Chunk, offset: int, event: dict[str, Any]) -> None:
        event_type, data = event["type"], event["data"]
        self.result.types[event_type] += 1
        if event["v"] != 1 or not writes(event_type):
            self.result.unknown += 1
        else:
            try:
                check_data(event_type, data)
            except InputRefused as error:
                self._found("content_wrong", chunk.path, offset, f"{event_type} {event['id']}: {error}")
                return
            if "cost" in data and not _adds_up(data["cost"]):
                self._found("cost_wrong", chunk.path, offset, f"the cost of {event['id']} is not the sum of its lines")
            self._remember(chunk, offset, event)
        self._conflict(chunk, offset, event)

    def _remember(self, chunk: Chunk, offset: int, event: dict[str, Any]) -> None:
        data = event["data"]
        book = data["book"] if event["type"] == "prices.adopted" else data.get("cost", {}).get("book")
        if book is not None:
            self.books.setdefault(book, f"{chunk.path} (byte {offset})")
        if event["type"] == "merge.completed":
            self.merged += [(f"{chunk.path} (byte {offset})", position) for position in data["writers"]]

    def _conflict(self, chunk: Chunk, offset: int, event: dict[str, Any]) -> None:
        data = event["data"]
        given = data.get("input_sha256")
        key = bytes.fromhex(event["id"].replace("-", ""))
        digest = bytes.fromhex(given[:16]) if isinstance(given, str) and _SHA256.fullmatch(given) else b""
        first = self.seen.setdefault(key, (digest, f"{chunk.writer}/{chunk.path.name} byte {offset}"))
        if first[0] != digest:
            self._found(
                "conflict",
                chunk.path,
                offset,
                f"id {event['id']} stands with another input at {first[1]}; the first counts",
            )

    def _positions(self) -> None:
        for place, position in self.merged:
            if self.result.writers.get(position["writer"], 0) < position["seq"]:
                message = (
                    f"{place} names writer {position['writer']} up to seq {position['seq']}, but only "
                    f"{self.result.writers.get(position['writer'], 0)} are here: its end is missing"
                )
                self.result.findings.append(
                    Finding("end_missing", str(self.home.journal / position["writer"]), message)
                )

    def _prices(self) -> None:
        wanted = dict(self.books)
        while wanted:
            name, place = wanted.popitem()
            path = self.home.prices / name
            try:
                content = path.read_bytes()
            except OSError as error:
                self.result.findings.append(
                    Finding("price_file_missing", str(path), f"{path}: {error.strerror}; named by {place}")
                )
                continue
            if hashlib.sha256(content).hexdigest() != name:
                self.result.findings.append(
                    Finding("price_file_damaged", str(path), f"{path} does not have the SHA-256 of its name")
                )
            elif name in self.books:
                self.result.books += 1
                manifest = orjson.loads(content)
                wanted.update(dict.fromkeys((layer["sha256"] for layer in manifest["layers"]), str(path)))
                wanted[manifest["names"]] = str(path)

    def _found(self, kind: str, path: Path, offset: int, what: str) -> None:
        self.result.findings.append(Finding(kind, str(path), f"{path} (byte {offset}): {what}", offset_bytes=offset))


def _is_event(event: Any, writer: str) -> bool:
    """Whether a line is an envelope of this writer's; what its data must be depends on its type."""
    return (
        isinstance(event, dict)
        and tuple(event) == _ENVELOPE
        and event["specversion"] == "1.0"
        and event["source"] == f"/keledger/{writer}"
        and all(isinstance(event[name], str) for name in ("id", "type", "time"))
        and _ID.fullmatch(event["id"]) is not None
        and all(type(event[name]) is int and event[name] > 0 for name in ("v", "seq", "tick"))
        and isinstance(event["data"], dict)
    )


def _adds_up(cost: Mapping[str, Any]) -> bool:
    total = cost.get("total_usd")
    if total is None:
        return True
    parts = [line.get("usd") for line in cost["lines"]]
    return None not in parts and usd_to_pico(total) == sum(map(usd_to_pico, parts))


def _with_offsets(chunk: Chunk) -> Iterator[tuple[int, bytes]]:
    offset = chunk.start
    for line in chunk.lines():
        yield offset, line
        offset += len(line)
