"""A pass over the journal for a fold: what it must know beforehand, and the lines of all writers in their order."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import _limits as limits
from keledger.journal._errors import HomeError, InputRefused, KeledgerError, UsageError
from keledger.journal._home import Home
from keledger.journal._line import stamps
from keledger.journal._reader import Chunk, Scan, scan_journal
from keledger.journal._segment import SegmentScan, scan_segment

from ._fold import Fold
from ._policy import Scope, read_budget
from ._scopes import Scopes
from ._store import Place, Store

REBUILD_ROWS = 100_000
"""Changed rows after which a long fold writes, so that its memory has a bound."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many were folded."""

ReadEvent = Callable[[Place], Mapping[str, Any]]


class Found:
    """What a fold must know before it begins: the scopes that budgets were set for, and whether calls were imported."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.imports = False
        self.damaged: list[tuple[bytes, Place]] = []
        """Lines that do not fit the chain of hashes, as they stand."""

    def look(self, line: bytes) -> None:
        """Look at the next line."""
        if b'"type":"budget.set","v":1,' in line:
            with contextlib.suppress(KeledgerError, KeyError, TypeError, ValueError):
                self.scopes.append(read_budget(orjson.loads(line)).scope)
        elif b'"origin":"import:' in line:
            self.imports = True


def scan_for_fold(home: Home) -> tuple[Scan, Found]:
    """All that is there, every hash checked.  Raises HomeError."""
    found = Found()

    def read(
        path: Path, previous: bytes, *, start: int = 0, length: int | None = None, first_line: int = 1
    ) -> SegmentScan:
        def each(number: int, offset: int, line: bytes) -> None:
            found.look(line)

        return scan_segment(path, previous, start=start, length=length, first_line=first_line, each=each)

    scan = scan_journal(home, read=read, skip_unreadable=True)
    for finding in scan.findings:
        if finding.kind == "line_damaged" and finding.offset_bytes is not None:
            path = Path(finding.path)
            with contextlib.suppress(OSError), open(path, "rb") as file:
                file.seek(finding.offset_bytes)
                place = Place(path.parent.name, int(path.stem), finding.offset_bytes)
                found.damaged.append((file.readline(limits.LINE_BYTES_MAX), place))
    return scan, found


def new_fold(
    path: Path,
    numbered: Mapping[int, Scope],
    own: tuple[str, ...],
    read_event: ReadEvent,
    *,
    keyed: bool,
    only_new_ids: bool,
) -> Fold:
    """A fold with a new file of its own; *only_new_ids* as for :class:`.Store`."""
    store = Store(path, new=True, only_new_ids=only_new_ids)
    return Fold(store, Scopes(numbered), own_writers=own, read_event=read_event, keyed=keyed, learn_later=True)


def numbered(scopes: Sequence[Scope]) -> dict[int, Scope]:
    """Distinct scopes under their numbers, behind those that are always summed."""
    return dict(enumerate({scope.definition: scope for scope in scopes}.values(), start=2))


def read_event_of(home: Home) -> ReadEvent:
    """What reads the event that stands at a place of a home, and raises HomeError where it cannot be read."""

    def read_event(place: Place) -> Mapping[str, Any]:
        path = home.journal / place.writer / f"{place.segment:08d}.jsonl"
        try:
            with open(path, "rb") as file:
                file.seek(place.start)
                event: Mapping[str, Any] = orjson.loads(file.readline())
        except (OSError, ValueError) as error:
            raise HomeError(f"cannot read the line at byte {place.start} of {path}: {error}") from error
        return event

    return read_event


def take_all(fold: Fold, chunks: Sequence[Chunk], progress: Progress | None = None) -> None:
    """Let a new fold take everything that was read.  Raises NewScope, ImportsAreKeyed and IdsRepeat."""
    done, total = 0, sum(chunk.end - chunk.start for chunk in chunks)
    for line, place in in_order(chunks):
        done += len(line)
        take(fold, line, place)
        if fold.store.changed_rows > REBUILD_ROWS:
            fold.store.flush({})
            if progress is not None:
                progress(done, total)
    fold.learn_what_was_put_off()


def take(fold: Fold, line: bytes, place: Place) -> None:
    """Let a fold take a line whose hash fits."""
    event = orjson.loads(line)
    try:
        fold.take(event, place)
    except (KeyError, TypeError, ValueError, AttributeError, InputRefused, UsageError):
        fold.not_read(event, place)  # no event of any release: whoever wrote it knows the rules of hashes alone


def in_order(chunks: Sequence[Chunk]) -> Iterator[tuple[bytes, Place]]:
    """The lines of all writers in the order of (tick, writer, seq), with their places."""
    by_writer: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_writer.setdefault(chunk.writer, []).append(chunk)
    if len(by_writer) == 1:
        for chunk in chunks:
            yield from _placed(chunk)
        return
    streams = [_ordered(writer, own) for writer, own in by_writer.items()]
    for _, line, place in heapq.merge(*streams, key=lambda each: each[0]):
        yield line, place


def _ordered(writer: str, chunks: Sequence[Chunk]) -> Iterator[tuple[tuple[int, str, int], bytes, Place]]:
    for chunk in chunks:
        for line, place in _placed(chunk):
            seq, tick = stamps(line)
            yield (tick, writer, seq), line, place


def _placed(chunk: Chunk) -> Iterator[tuple[bytes, Place]]:
    start = chunk.start
    for line in chunk.lines():
        yield line, Place(chunk.writer, chunk.segment, start)
        start += len(line)
