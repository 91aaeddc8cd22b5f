"""Reading the journal: the valid byte ranges of every writer, from a position on, and what was wrong.

Nothing here writes or trusts a clock, and only to judge a bad tail does it wait for appenders (:mod:`._bad_tail`).
Readers get byte ranges whose hashes were all checked; what they make of the bytes is theirs.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

import keledger

from ._bad_tail import bad_tail
from ._errors import HomeError
from ._home import Home
from ._line import ZERO_HASH
from ._segment import Finding, SegmentHead, SegmentScan, iter_lines, read_head, scan_segment

_NOT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing of the file that was to be read: this process, or the machine, has run out of something."""

_RELEASE = re.compile(r"\d{1,9}(\.\d{1,9})*", re.ASCII)


class Position(NamedTuple):
    """How far one writer was read: the end of a valid line, and that line's hash."""

    segment: int
    offset_bytes: int
    seq: int
    tick: int
    hash: str
    lines: int
    """Lines of this segment up to here, damaged ones counted: for the line numbers of findings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A byte range of one segment in which every line fits its chain."""

    writer: str
    segment: int
    path: Path
    start: int
    end: int
    whole_file: bool
    """The range is the whole file and the file is sealed: it will not change, so it may be read by its path."""

    def lines(self) -> Iterator[bytes]:
        """The lines of the range."""
        return iter_lines(self.path, self.start, self.end)


class ReadSegment(Protocol):
    """How a segment is read: :func:`scan_segment`, or what does more with each line and returns the same."""

    def __call__(
        self, path: Path, previous: bytes, *, start: int = 0, length: int | None = None, first_line: int = 1
    ) -> SegmentScan:
        """Check every hash from *start* on."""


@dataclass(slots=True)
class Scan:
    """What is new in the journal, by writer and in each writer's order."""

    chunks: list[Chunk] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    lines: int = 0
    rewound: bool = False
    """A position handed in no longer holds (its bytes were sealed off, or are gone): read from the beginning."""


def scan_journal(
    home: Home,
    since: Mapping[str, Position] | None = None,
    *,
    writer: str | None = None,
    locked: bool = False,
    read: ReadSegment = scan_segment,
    skip_unreadable: bool = False,
) -> Scan:
    """Check what follows the positions in *since* (all that is there, without), of all writers or one.

    Raises HomeError where the home cannot be read.  With *skip_unreadable* a segment that the system does not let be
    read is a finding, and those above it are read: for readers only, as whoever appends would go on below it.  A bad
    tail is reported only when it is seen again under the lock, or unchanged after a wait for it, for an appender may
    just be writing it; *locked* tells that the caller holds the lock.  *read* is called for each segment, by writer
    and number.
    """
    scan = Scan()
    try:
        for name in [writer] if writer is not None else home.writers():
            _WriterScan(home, name, scan, locked, read, skip_unreadable).run((since or {}).get(name))
    except OSError as error:
        raise HomeError(f"cannot read {error.filename or home.journal}: {error.strerror}") from error
    missing = set(since or ()) - set(scan.positions) if writer is None else set()
    scan.rewound = scan.rewound or bool(missing)
    return scan


class _WriterScan:
    """One writer's segments, in their order, each begun with the hash that the one below ended with."""

    def __init__(
        self, home: Home, writer: str, scan: Scan, locked: bool, read: ReadSegment, skip_unreadable: bool
    ) -> None:
        self.home, self.writer, self.scan, self.locked, self.read = home, writer, scan, locked, read
        self.skip_unreadable = skip_unreadable

    def run(self, since: Position | None) -> None:
        segments, strangers = self.home.segments_and_strangers(self.writer)
        paths = {int(path.stem): path for path in segments}
        for stranger in strangers:
            self._note("segment_strange", stranger, "it is no plain file and is not read: move it away")
        numbers = sorted(number for number in paths if since is None or number >= since.segment)
        if since is not None and (not numbers or numbers[0] != since.segment):
            self.scan.rewound = True
            return
        failed: dict[int, OSError] = {}
        heads, seals = read_bounds({number: paths[number] for number in numbers}, failed)
        if since is not None and seals.get(since.segment, since.offset_bytes) < since.offset_bytes:
            self.scan.rewound = True
            return
        self._gaps(paths, heads, seals, since)
        self._releases(paths, heads)
        numbers = [
            number
            for number in numbers
            if not self._is_foreign(paths[number], heads[number]) and not self._repeats(paths, heads, number)
        ]
        position = since
        previous: bytes | None = bytes.fromhex(since.hash) if since else ZERO_HASH
        for number in numbers:
            if number in failed:
                previous = self._unreadable(paths[number], failed[number], previous, seals.get(number))
                continue
            sealed_length = seals.get(number)
            if sealed_length is None and any(heads[above] or above in failed for above in numbers if above > number):
                if heads[number] is None and number + 1 not in failed:
                    sealed_length = 0
                else:
                    self._note(
                        "seal_missing",
                        paths[number],
                        "no later segment says where it ends; read to its last fitting line",
                    )
            try:
                reached = self._segment(paths[number], number, heads[number], previous, sealed_length, since)
            except OSError as error:
                previous = self._unreadable(paths[number], error, previous, sealed_length)
                continue
            if reached is not None:
                if heads[number] is None and position is not None and number != position.segment:
                    self._seal_by_sequence(number, position)
                position = reached
                previous = bytes.fromhex(reached.hash)
        if position is not None:
            self.scan.positions[self.writer] = position

    def _segment(
        self,
        path: Path,
        number: int,
        head: SegmentHead | None,
        previous: bytes | None,
        sealed: int | None,
        since: Position | None,
    ) -> Position | None:
        resumed = since if since is not None and since.segment == number else None
        if head is None and resumed is None and not sealed and sealed is not None:
            self._note(
                "segment_headless",
                path,
                "its first line was never completed; it holds no events",
                damage=False,
            )
            return None
        if head is not None and resumed is None and previous not in (None, head.prev_hash):
            self._note(
                "chain_broken",
                path,
                "it does not continue the segment below: a segment or its end is missing or damaged",
            )
        found = self.read(
            path,
            (previous or ZERO_HASH) if resumed or head is None else head.prev_hash,
            start=resumed.offset_bytes if resumed else 0,
            length=sealed,
            first_line=resumed.lines + 1 if resumed else 1,
        )
        self.scan.findings += found.findings
        size = path.stat().st_size
        if sealed is None and found.torn_at is not None:
            last_line = found.line_number or (resumed.lines if resumed else 0)
            tail = bad_tail(self.home, path, found.last_hash, found.end, last_line, locked=self.locked)
            self.scan.findings += [tail] if tail is not None else []
        elif sealed is not None and size > sealed:
            self._note(
                "residue_sealed",
                path,
                f"{size - sealed} bytes after byte {sealed} were sealed off; they are no events",
                damage=False,
            )
        if not found.lines:
            if head is None and resumed is None:
                self._note("segment_headless", path, "no line of it fits; it holds no events", damage=False)
            return resumed
        self.scan.lines += found.lines
        for start, end in found.runs:
            whole = sealed is not None and (start, end) == (0, size)
            self.scan.chunks.append(Chunk(self.writer, number, path, start, end, whole))
        seq, tick = _stamps(found.last_line)
        return Position(
            segment=number,
            offset_bytes=found.end,
            seq=seq,
            tick=tick,
            hash=found.last_hash.hex(),
            lines=found.line_number,
        )

    def _unreadable(self, path: Path, error: OSError, previous: bytes | None, sealed: int | None) -> bytes | None:
        """Tell of a segment that cannot be read.  Returns the hash that the next one is held to; None for any.

        Raises HomeError where that is not to be told but raised.
        """
        if not self.skip_unreadable or error.errno in _NOT_OF_THE_FILE:
            raise HomeError(f"cannot read {path}: {error.strerror}") from error
        if sealed == 0:
            what = f"it cannot be read ({error.strerror}); the segment above says that nothing there was an event"
            self._note("segment_unreadable", path, what, damage=False)
            return previous
        denied = error.errno in (errno.EACCES, errno.EPERM)
        remedy = "let its owner read it (chmod 600)" if denied else "keep a copy of the home, and check the disk"
        what = f"it cannot be read ({error.strerror}), so what it holds is not counted: {remedy}"
        self._note("segment_unreadable", path, what)
        return None

    def _gaps(
        self,
        paths: Mapping[int, Path],
        heads: Mapping[int, SegmentHead | None],
        seals: Mapping[int, int],
        since: Position | None,
    ) -> None:
        """Tell of files that are missing, neighbours at once.

        One whose name was lost in a power cut before it was synced held no event: the head that comes next says so,
        and until then there is none above it.
        """
        newest_head = max((number for number, head in heads.items() if head is not None), default=0)
        folder = self.home.journal / self.writer
        verdicts = {number: "empty" for number, length in seals.items() if length == 0}
        verdicts |= {
            int(path.name[:8]): "packed" for path in folder.glob("[0-9]*.jsonl.zst") if path.name[:8].isdigit()
        }
        below = since.segment - 1 if since else 0
        for number in sorted(paths):
            start = below + 1
            for told in sorted(told for told in verdicts if below < told < number):
                self._gap(folder, start, told - 1, "lost")
                self._gap(folder, told, told, verdicts[told])
                start = told + 1
            self._gap(folder, start, number - 1, "lost" if number <= newest_head else "end")
            below = max(below, number)

    def _gap(self, folder: Path, first: int, last: int, verdict: str) -> None:
        if first > last:
            return
        path = folder / f"{first:08d}.jsonl"
        what = "the file is" if first == last else f"the files from here to {last:08d}.jsonl are"
        if verdict == "packed":
            self._note("segment_packed", path, f"{what} packed as .zst, which this release cannot read")
        elif verdict == "lost":
            self._note("segment_missing", path, f"{what} missing")
        else:
            said = "the segment above says" if verdict == "empty" else "no segment above denies"
            self._note("segment_missing", path, f"{what} missing; {said} that nothing there was an event", damage=False)

    def _is_foreign(self, path: Path, head: SegmentHead | None) -> bool:
        """Whether a segment is another writer's: its lines count where they belong, and nowhere else."""
        if head is None or head.event.get("source") == f"/keledger/{self.writer}":
            return False
        self._note("segment_foreign", path, f"it is a segment of {head.event.get('source')}, and is not read here")
        return True

    def _repeats(self, paths: Mapping[int, Path], heads: Mapping[int, SegmentHead | None], number: int) -> bool:
        """Whether a segment is a copy of another: its lines stand there already, under the same sequence numbers.

        The one that bears the number under which it was written is the original; where none does, the lowest is read.
        """
        head = heads[number]
        if head is None or head.made_as == number:
            return False
        looked_at = dict(heads)
        if head.made_as in paths.keys() - heads.keys():  # below the position from which is read on
            looked_at |= read_bounds({head.made_as: paths[head.made_as]}, {})[0]
        same = [other for other, its in looked_at.items() if its is not None and its.event["id"] == head.event["id"]]
        if head.made_as in same:
            original = f"{head.made_as:08d}.jsonl"
            what = f"it is a copy of {original}, for which its first line was written, and is not read"
        elif min(same) < number:
            what = (
                f"it repeats {paths[min(same)].name}, and is not read; both were written as {head.made_as:08d}.jsonl, "
                "so which is the copy cannot be told: keep both until they were held to another copy of the home"
            )
        else:
            return False
        self._note("segment_repeated", paths[number], what)
        return True

    def _seal_by_sequence(self, number: int, below: Position) -> None:
        """Where the head that sealed a file is damaged, the lines behind that head tell where the seal was.

        The file below was read to its end; what was sealed off there has the numbers of what was written instead.
        """
        upper = [chunk for chunk in self.scan.chunks if (chunk.writer, chunk.segment) == (self.writer, number)]
        first, _ = _stamps(next(upper[0].lines()))
        if first > below.seq:
            return
        for index, chunk in enumerate(self.scan.chunks):
            if (chunk.writer, chunk.segment) != (self.writer, below.segment):
                continue
            sealed_off = [line for line in chunk.lines() if _stamps(line)[0] >= first]
            if sealed_off:
                self.scan.lines -= len(sealed_off)
                end = chunk.end - sum(map(len, sealed_off))
                self.scan.chunks[index] = replace(chunk, end=end, whole_file=False)

    def _releases(self, paths: Mapping[int, Path], heads: Mapping[int, SegmentHead | None]) -> None:
        """Tell of segments that ask for a later release than this one: it may misread what they hold."""
        for number, head in heads.items():
            needed = "" if head is None else str(head.event["data"].get("reader_min", ""))
            if needed and release_key(needed) > release_key(keledger.__version__):
                self._note(
                    "reader_outdated",
                    paths[number],
                    f"it is to be read with keledger {needed} or later, and this is {keledger.__version__}: upgrade "
                    "keledger, for it may misread what follows",
                    damage=False,
                )

    def _note(self, kind: str, path: Path, text: str, *, damage: bool = True) -> None:
        self.scan.findings.append(Finding(kind, str(path), f"{path}: {text}", damage=damage))


def read_bounds(
    paths: Mapping[int, Path], failed: dict[int, OSError] | None = None
) -> tuple[dict[int, SegmentHead | None], dict[int, int]]:
    """What the segments of a writer say in their first lines: each one's head, and at which length which is sealed.

    Raises OSError where one cannot be read; with *failed* that is put there, and the segment counts as headless.
    """
    heads: dict[int, SegmentHead | None] = {}
    seals: dict[int, int] = {}
    for number, path in paths.items():
        try:
            head = heads[number] = read_head(path)
        except OSError as error:
            if failed is None:
                raise
            heads[number], failed[number] = None, error
            continue
        if head is not None and head.event.get("source") == f"/keledger/{path.parent.name}":
            seals.update({int(file[:8]): length for file, length in head.seals.items()})
    return heads, seals


def release_key(text: str) -> tuple[float, ...]:
    """A release's number, to be compared; later than any where it is none that this release can read."""
    found = _RELEASE.match(text)
    if found is None:
        return (math.inf,)
    numbers = [int(part) for part in found[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _stamps(line: bytes) -> tuple[int, int]:
    """A line's seq and tick; 0 for one that fits its hash but was never an event, which ``verify`` tells."""
    try:
        event = orjson.loads(line)
        seq, tick = event["seq"], event["tick"]
    except (ValueError, KeyError, TypeError):
        return 0, 0
    return (seq, tick) if isinstance(seq, int) and isinstance(tick, int) else (0, 0)
