"""Reading one segment: which of its lines are events, and what is wrong with the others.

A line fits if its hash follows from the stated or from the recomputed hash of the line above, so that damage to
one line's hash does not take its neighbour along.  What fits neither is no event; its place is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _limits as limits
from ._home import SEGMENT_NAME
from ._line import chained_hash, fits, parse_line, stated_hash


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a report or ``verify`` must tell: what it is, where, and whether it is damage or a note."""

    kind: str
    path: str
    message: str
    line: int | None = None
    offset_bytes: int | None = None
    damage: bool = True

    def as_json(self) -> dict[str, Any]:
        """The finding for a report's ``findings``, absent places left out."""
        found = {
            "kind": self.kind,
            "severity": "damage" if self.damage else "note",
            "path": self.path,
            "line": self.line,
            "offset_bytes": self.offset_bytes,
            "message": self.message,
        }
        return {key: value for key, value in found.items() if value is not None}


@dataclass(slots=True)
class SegmentScan:
    """What a pass over a segment, or a part of one, found."""

    end: int
    """Where the last fitting line ends: the valid length as far as was read."""
    last_hash: bytes
    last_line: bytes = b""
    """The last fitting line; empty where none was read."""
    lines: int = 0
    line_number: int = 0
    """The number of the last fitting line in its file, damaged ones counted."""
    runs: list[tuple[int, int]] = field(default_factory=list)
    """Half-open byte ranges that hold nothing but fitting lines."""
    findings: list[Finding] = field(default_factory=list)
    torn_at: int | None = None
    """Where bytes begin that follow the last fitting line."""


def scan_segment(
    path: Path,
    previous: bytes,
    *,
    start: int = 0,
    length: int | None = None,
    first_line: int = 1,
    each: Callable[[int, int, bytes], None] | None = None,
) -> SegmentScan:
    """Check every hash from *start* on.  *previous* is the hash before the line at *start*.

    With *length* the file is sealed there: what does not fit below it is damage.  Without, bytes after the last
    fitting line are a tail (``torn_at``), for its caller to judge: it may be torn, or just being written.
    *each* is told number, offset and bytes of every line that fits.
    """
    scan = SegmentScan(end=start, last_hash=previous)
    stated = recomputed = previous
    offset, run_start = start, start
    misfits: list[Finding] = []
    with open(path, "rb", buffering=limits.READ_BYTES) as file:
        file.seek(start)
        for number, line in enumerate(file, first_line):
            if length is not None and offset + len(line) > length:
                line = line[: length - offset]
                if not line:
                    break
            digest = fits(stated, line) or (fits(recomputed, line) if misfits else None)
            if digest is None:
                if not misfits and offset > run_start:
                    scan.runs.append((run_start, offset))
                misfits.append(_misfit(path, number, offset))
                stated = stated_hash(line) or stated
                recomputed = chained_hash(recomputed, line)
                offset += len(line)
                if not line.endswith(b"\n"):
                    break  # the end, when it was reached: whatever is there now was appended since
                continue
            if misfits:
                scan.findings += misfits
                misfits, run_start = [], offset
            stated = recomputed = scan.last_hash = digest
            scan.lines += 1
            scan.last_line, scan.line_number = line, number
            if each is not None:
                each(number, offset, line)
            offset += len(line)
            scan.end = offset
    if misfits:
        scan.torn_at = misfits[0].offset_bytes
        if length is not None:
            scan.findings += misfits
    elif scan.end > run_start:
        scan.runs.append((run_start, scan.end))
    if length is not None and offset < length:
        scan.findings.append(
            Finding(
                "segment_short",
                str(path),
                f"{path} ends at byte {offset}, but {length} bytes of it are sealed",
            )
        )
    return scan


def _misfit(path: Path, number: int, offset_bytes: int) -> Finding:
    message = f"{path} line {number} (byte {offset_bytes}) does not fit the chain of hashes: it is not counted"
    return Finding("line_damaged", str(path), message, number, offset_bytes)


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What a segment says of itself and of those below it, in its first line."""

    prev_hash: bytes
    seals: dict[str, int]
    event: dict[str, Any]

    @property
    def made_as(self) -> int:
        """The number under which it was written: it seals the file right below itself, whatever that holds."""
        return max((int(file[:8]) for file in self.seals), default=0) + 1


def read_head(path: Path) -> SegmentHead | None:
    """The head of a segment; None for an empty or headless file."""
    with open(path, "rb") as file:
        line = file.readline(limits.LINE_BYTES_MAX + 1)
    try:
        event = parse_line(line)
        data = event["data"]
        previous = bytes.fromhex(data["prev_hash"])
        if event["type"] == "segment.opened" and fits(previous, line):
            seals = {seal["file"]: seal["length_bytes"] for seal in data["seals"] if _is_seal(seal)}
            return SegmentHead(previous, seals, event)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _is_seal(seal: dict[str, Any]) -> bool:
    """Whether a seal names a segment and a length; what does not, ``verify`` tells."""
    return SEGMENT_NAME.fullmatch(seal["file"]) is not None and type(seal["length_bytes"]) is int


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """The last line of a segment that ends in a whole line which fits."""

    line: bytes
    hash: bytes
    size_bytes: int


def read_end(path: Path) -> CleanEnd | None:
    """The end of a segment, from its last two lines alone; None where it is not clean and the whole must be read."""
    head = read_head(path)
    if head is None:
        return None
    number = int(path.stem)
    if head.event.get("source") != f"/keledger/{path.parent.name}":
        return None  # another writer's
    if number > 1 and f"{number - 1:08d}.jsonl" not in head.seals:
        return None  # a copy or renamed: it does not go on from the file below it
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - 2 * limits.LINE_BYTES_MAX)
        file.seek(start)
        window = file.read(size - start)
    cut = window.rfind(b"\n", 0, len(window) - 1) + 1
    previous = head.prev_hash
    if cut or start:
        above = stated_hash(window[window.rfind(b"\n", 0, max(cut - 1, 0)) + 1 : cut])
        if above is None:
            return None
        previous = above
    digest = fits(previous, window[cut:])
    return CleanEnd(window[cut:], digest, size) if digest is not None else None


def iter_lines(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The lines of a byte range, which begins and ends at a line."""
    left = end - start
    with open(path, "rb", buffering=limits.READ_BYTES) as file:
        file.seek(start)
        for line in file:
            left -= len(line)
            if left < 0:
                return
            yield line
            if left == 0:
                return
