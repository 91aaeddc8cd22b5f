"""Which price book prices the home's new calls: that of the last ``prices.adopted`` of its own writers; and whether
they have set budgets, so that a home without any pays nothing for them.

To find it without reading the whole journal, a small cache remembers how far was looked and what was found.  It is
believed where the lines that it names still stand, for a power cut may have taken them, or the home was set back.  It
may be deleted at any moment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from . import _limits as limits
from ._disk import Disk, write_new
from ._errors import HomeError
from ._home import Home, own_writers, remedy
from ._line import TAIL_BYTES, fits, stated_hash
from ._plain_file import read_plain_file
from ._reader import read_bounds

_MARK = b'"type":"prices.adopted"'
_BUDGET_MARK = b'"type":"budget.set"'
_SAVE_EVERY_BYTES = 1024 * 1024
"""The cache is written anew when so much more was looked through: 1 MiB is searched in about a millisecond."""


class _Place(NamedTuple):
    """Where a whole line ends."""

    segment: int
    end: int
    hash: str
    """What the line states; empty where there is none."""


@dataclass(slots=True)
class _Looked:
    """How far each writer was looked through, and what was found."""

    book: str | None = None
    has_budgets: bool = False
    adopting: tuple[str, _Place] | None = None
    """The writer and the place of the line that adopted the book."""
    positions: dict[str, _Place] = field(default_factory=dict)


class Standing(NamedTuple):
    """What stands in a home for its next call."""

    book: str | None
    """The SHA-256 of the book that it has adopted; None where it has none."""
    has_budgets: bool
    """Whether a budget was ever set in it."""


def adopted_book(home: Home, disk: Disk) -> str | None:
    """The SHA-256 of the book that the home has adopted; None where it has none.  Raises HomeError."""
    return what_holds(home, disk).book


def what_holds(home: Home, disk: Disk) -> Standing:
    """What the home's own writers have set up for its calls.  Raises HomeError."""
    cache = home.path / "guard" / "adopted.json"
    looked, unsaved = _load(cache, home), 0
    for writer in own_writers(home):
        position = looked.positions.get(writer, _Place(1, 0, ""))
        paths = {int(path.stem): path for path in home.segments(writer)}
        paths = {number: path for number, path in paths.items() if number >= position.segment}
        _, seals = read_bounds(paths, {})  # what cannot be read is told below
        for number, path in paths.items():
            start = position.end if number == position.segment else 0
            try:
                book, adopting, has_budgets, position = _look_on(path, start, seals.get(number))
            except OSError as error:
                raise HomeError(f"cannot read {path}: {error.strerror}; {remedy(error)}") from error
            if book is not None and adopting is not None:
                looked.book, looked.adopting = book, (writer, adopting)
            looked.has_budgets |= has_budgets
            unsaved += position.end - start
            looked.positions[writer] = position
    if looked.book is not None and unsaved > _SAVE_EVERY_BYTES:
        with contextlib.suppress(OSError):  # only a cache
            disk.make_folder(cache.parent)
            content = {
                "book": looked.book,
                "has_budgets": looked.has_budgets,
                "adopting": looked.adopting,
                "positions": looked.positions,
            }
            write_new(disk, cache, json.dumps(content).encode())
    return Standing(looked.book, looked.has_budgets)


def _load(cache: Path, home: Home) -> _Looked:
    """What the cache says, if every line that it names still stands; nothing otherwise."""
    try:
        content = json.loads(read_plain_file(cache))
        writer, adopting = content["adopting"]
        positions = {own: _Place(*place) for own, place in content["positions"].items()}
        looked = _Looked(
            str(content["book"]), bool(content["has_budgets"]), (str(writer), _Place(*adopting)), positions
        )
        for own, place in [(str(writer), _Place(*adopting)), *positions.items()]:
            paths = {int(path.stem): path for path in home.segments(own)}
            if not _stands(paths, place, looked_up_to=positions[own].segment):
                return _Looked()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Looked()
    return looked


def _stands(paths: Mapping[int, Path], place: _Place, *, looked_up_to: int) -> bool:
    """Whether the line at a place is still there, and no segment that was begun since has sealed it off."""
    with open(paths[place.segment], "rb") as file:
        file.seek(max(0, place.end - TAIL_BYTES))
        if _hash_in(file.read(min(place.end, TAIL_BYTES))) != place.hash:
            return False
    if max(paths) == looked_up_to:
        return True
    _, seals = read_bounds({number: path for number, path in paths.items() if number > place.segment})
    return seals.get(place.segment, place.end) >= place.end


def _look_on(path: Path, start: int, sealed: int | None) -> tuple[str | None, _Place | None, bool, _Place]:
    """What stands behind *start*: the book of the last adopting line that fits its chain, and the place of that line;
    whether a budget was set, or seems to have been; the place of the last line."""
    number = int(path.stem)
    overlap = max(0, start - limits.LINE_BYTES_MAX)
    with open(path, "rb") as file:
        file.seek(overlap)
        data = file.read(-1 if sealed is None else max(0, sealed - overlap))
    end = data.rfind(b"\n") + 1
    last = _Place(number, overlap + end, _hash_in(data[:end]))
    has_budgets = data.find(_BUDGET_MARK, start - overlap, end) >= 0
    at = data.rfind(_MARK, start - overlap, end)
    while at >= 0:
        first, behind = data.rfind(b"\n", 0, at) + 1, data.index(b"\n", at) + 1
        line = data[first:behind]
        above = data[data.rfind(b"\n", 0, max(first - 1, 0)) + 1 : first]
        previous = stated_hash(above)
        if previous is not None and fits(previous, line) is not None:
            event = orjson.loads(line)
            if event["type"] == "prices.adopted" and event["v"] == 1:
                return str(event["data"]["book"]), _Place(number, overlap + behind, _hash_in(line)), has_budgets, last
        at = data.rfind(_MARK, start - overlap, first)
    return None, None, has_budgets, last


def _hash_in(data: bytes) -> str:
    """The hash that the last line states."""
    stated = stated_hash(data[-TAIL_BYTES:])
    return stated.hex() if stated is not None else ""
