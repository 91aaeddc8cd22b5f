"""Bringing journal bytes before DuckDB: which files it may read for lines of calls, and what the other lines are.

DuckDB reads calls by explicit columns.  A line of another type may hold a field of the same name and another
shape, which would fail the whole read; so every line is looked at here, and such lines are kept from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from keledger.journal import Chunk

CALL_TYPES = frozenset({"call.completed", "call.failed"})

PLAIN_TYPES = frozenset(
    {
        "segment.opened",
        "merge.completed",
        "call.voided",
        "void.reverted",
        "prices.adopted",
        "reprice.applied",
        "reprice.reverted",
        "period.closed",
        "period.reopened",
        "invoice.recorded",
        "charge.adjusted",
        "budget.set",
        "budget.raised",
        "budget.removed",
        "call.reserved",
        "call.blocked",
        "hold.released",
        "hold.lost",
        "hold.resolved",
        "alert.raised",
        "estimate.made",
        "model.chosen",
    },
)
"""Types that this release reads beside calls, at version 1.  None of their fields contradicts a call's (a test holds
that), so files with such lines may go to DuckDB as they are."""

_TYPE_AT = len(b'{"specversion":"1.0","id":"') + 36 + len(b'","source":"/keledger/') + 16 + len(b'","type":"')
_COMPLETED = b'call.completed","v":1,"time":"'
_FAILED = b'call.failed","v":1,"time":"'
_COMPLETED_END = _TYPE_AT + len(_COMPLETED)
_FAILED_END = _TYPE_AT + len(_FAILED)

_COPY_BYTES = 1024 * 1024
_ORDINAL_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Source:
    """A file that DuckDB may read for calls, and the range of the journal that it stands for."""

    path: Path
    chunk: Chunk


@dataclass(slots=True)
class Staged:
    """What was made ready for one load."""

    folder: Path
    others_path: Path
    sources: list[Source] = field(default_factory=list)
    others: int = 0
    voids: int = 0
    reprices: int = 0
    accounting: int = 0
    """Lines that close or reopen a period, or adjust its charges: with any of them reports have more to show."""
    unread: dict[str, int] = field(default_factory=dict)

    def add_other(self, file: BinaryIO, row: dict[str, Any]) -> None:
        """Write one row of other_lines."""
        file.write(orjson.dumps(row))
        file.write(b"\n")
        self.others += 1
        kind, version = row["type"], row["v"]
        if version != 1 or kind not in PLAIN_TYPES:
            name = f"{kind} v{version}"
            self.unread[name] = self.unread.get(name, 0) + 1
        elif kind in ("call.voided", "void.reverted"):
            self.voids += 1
        elif kind in ("reprice.applied", "reprice.reverted"):
            self.reprices += 1
        elif kind in ("period.closed", "period.reopened", "charge.adjusted"):
            self.accounting += 1


def stage(chunks: Sequence[Chunk], folder: Path, *, on_progress: Callable[[int], None] | None = None) -> Staged:
    """Make *chunks* ready in *folder*.  *on_progress* is told the bytes of each chunk that is done."""
    staged = Staged(folder, folder / "others.jsonl")
    with open(staged.others_path, "wb") as file:
        for number, chunk in enumerate(chunks):
            alien = False
            for row in _other_rows(chunk):
                staged.add_other(file, row)
                alien = alien or row["v"] != 1 or row["type"] not in PLAIN_TYPES
            path = folder / f"{number}.jsonl"
            if alien:
                _copy_calls(chunk, path)
            elif chunk.whole_file:
                path = chunk.path
            else:
                copy_range(chunk, path)
            staged.sources.append(Source(path, chunk))
            if on_progress is not None:
                on_progress(chunk.end - chunk.start)
    return staged


def _other_rows(chunk: Chunk) -> Iterator[dict[str, Any]]:
    for line in chunk.lines():
        # In the layout that all writers use, the type and version of a call stand at a fixed place.  The two
        # comparisons are spelled out because this loop sees every line of a rebuild.
        if line[_TYPE_AT:_COMPLETED_END] != _COMPLETED and line[_TYPE_AT:_FAILED_END] != _FAILED:
            row = other_row(line, chunk.writer)
            if not _is_call(row):
                yield row


def _is_call(row: dict[str, Any]) -> bool:
    return row["type"] in CALL_TYPES and row["v"] == 1


def other_row(line: bytes, writer: str) -> dict[str, Any]:
    """The row of other_lines for one line.  What a hand-made line lacks or misspells becomes empty, never an error."""
    try:
        event = orjson.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        event = {}
    data = event.get("data")
    call_id = data.get("call_id") if isinstance(data, dict) else None
    return {
        "id": _text(event.get("id")),
        "writer": writer,
        "seq": _ordinal(event.get("seq")),
        "tick": _ordinal(event.get("tick")),
        "type": _text(event.get("type")) or "?",
        "v": _ordinal(event.get("v")),
        "time": _text(event.get("time")),
        "call_id": _text(call_id),
        "data": orjson.dumps(data).decode(),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _ordinal(value: object) -> int:
    is_ordinal = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _ORDINAL_MAX
    return value if is_ordinal and isinstance(value, int) else 0


def _copy_calls(chunk: Chunk, path: Path) -> None:
    with open(path, "wb") as file:
        for line in chunk.lines():
            if _is_call(other_row(line, chunk.writer)):
                file.write(line)


def copy_range(chunk: Chunk, path: Path) -> None:
    """Copy a chunk's bytes: the file they stand in may grow."""
    left = chunk.end - chunk.start
    with open(chunk.path, "rb") as source, open(path, "wb") as target:
        source.seek(chunk.start)
        while left > 0:
            block = source.read(min(_COPY_BYTES, left))
            if not block:
                return
            target.write(block)
            left -= len(block)
