"""What the first line of a segment says: where the chain goes on, and what it seals."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import HomeError
from ._home import Home, WriterIdentity
from ._identity import new_id
from ._line import ZERO_HASH, NewEvent, stamps
from ._reader import scan_journal
from ._segment import read_end, read_head, scan_segment

READER_MIN = "0.1.0"
"""The oldest release that reads what this one writes."""


class Last(NamedTuple):
    """The last line that is known synced, and where it ends."""

    file: str
    length_bytes: int
    seq: int
    tick: int
    hash: bytes


def opening_event(
    after: Last | None, seals: Sequence[dict[str, Any]], reason: str, identity: WriterIdentity, program: str
) -> NewEvent:
    """The ``segment.opened`` that continues *after*; None for a writer's first line."""
    previous = after.hash if after else ZERO_HASH
    data: dict[str, Any] = {"prev_hash": previous.hex(), "seals": list(seals), "reason": reason}
    if after:
        data["predecessor"] = {
            "file": after.file,
            "length_bytes": after.length_bytes,
            "seq": after.seq,
            "hash": previous.hex(),
        }
    elif identity.continues:
        data["continues"] = list(identity.continues)
    data |= {"program": program, "reader_min": READER_MIN, "host": socket.gethostname()[:255] or "unknown"}
    return NewEvent.of("segment.opened", new_id(), data)


def seal(path: Path, length_bytes: int) -> dict[str, Any]:
    """How a segment is sealed at a length: what follows is residue, told by its size and SHA-256."""
    with open(path, "rb") as file:
        file.seek(length_bytes)
        residue = file.read()
    sealed: dict[str, Any] = {"file": path.name, "length_bytes": length_bytes, "residue_bytes": len(residue)}
    if residue:
        sealed["residue_sha256"] = hashlib.sha256(residue).hexdigest()
    return sealed


EMPTY_SEALS_MAX = 64
"""How many segments without events a segment lists: what it does not list below itself holds none either."""


def seals_after(paths: Sequence[Path], last: Last | None, number: int) -> list[dict[str, Any]]:
    """Seals for the segments below *number* that no later one has sealed: that of *last* at its length, others at 0.

    Above the file of *last* there is no valid line, so what a first line there seals is not sealed.  What stands below
    it was sealed when that file was begun; where its first line is damaged now, they must not be sealed again at 0.
    """
    by_number = {int(path.stem): path for path in paths}
    seals: list[dict[str, Any]] = []
    for path in paths:
        if last is not None and path.name == last.file:
            seals += _seals_of_lone_head(path, last)
            seals.append(seal(path, last.length_bytes))
    first = int(last.file[:8]) + 1 if last is not None else 1
    for lower in range(max(first, number - EMPTY_SEALS_MAX), number):
        if lower in by_number:
            seals.append(seal(by_number[lower], 0))
        else:  # made, never synced, and lost with the power
            seals.append({"file": f"{lower:08d}.jsonl", "length_bytes": 0, "residue_bytes": 0})
    return seals


def _seals_of_lone_head(path: Path, last: Last) -> list[dict[str, Any]]:
    """What a segment seals that holds nothing else: its one line may not be durable, and what it says must be."""
    head = read_head(path)
    if head is None or last.seq != head.event.get("seq"):
        return []
    return [sealed for sealed in head.event["data"]["seals"] if sealed["file"] in head.seals]


def find_last(home: Home, writer: str) -> Last | None:
    """A writer's last valid line, by reading all of its segments.  Called under the lock."""
    position = scan_journal(home, writer=writer, locked=True).positions.get(writer)
    if position is None:
        return None
    file = f"{position.segment:08d}.jsonl"
    return Last(file, position.offset_bytes, position.seq, position.tick, bytes.fromhex(position.hash))


def what_stands(path: Path, last: Last) -> Last:
    """The last line at or above *last* that can still be read: after a failed sync the kernel may show the disk.

    What is missing then was never synced, so it is a dead process's, and nobody was told that it is there.  Called
    under the lock.  Raises OSError.
    """
    head = read_head(path)
    if head is None or path.name != last.file:
        return last
    scan = scan_segment(path, head.prev_hash, length=last.length_bytes)
    try:
        seq, tick = stamps(scan.last_line)
    except ValueError:  # it fits its hash, and is no event: verify tells
        return last
    return Last(path.name, scan.end, seq, tick, scan.last_hash)


def highest_tick(home: Home) -> int:
    """The highest tick of any valid line of any writer in a home; 0 in an empty one.  Called under the lock."""
    return max((_last_tick(home, writer) for writer in home.writers()), default=0)


def _last_tick(home: Home, writer: str) -> int:
    paths = home.segments(writer)
    end = read_end(paths[-1]) if paths else None
    if end is not None:
        try:
            return stamps(end.line)[1]
        except ValueError:
            raise HomeError(f"the last line of {paths[-1]} is no event: run keledger verify") from None
    last = find_last(home, writer)
    return last.tick if last is not None else 0
