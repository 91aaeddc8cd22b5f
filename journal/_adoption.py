"""Which price book prices the home's new calls: that of the last ``prices.adopted`` of its own writers.

To find it without reading the whole journal, a small cache remembers how far was looked and what was found; it
may be deleted at any moment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from . import _limits as limits
from ._disk import Disk, write_new
from ._errors import HomeError
from ._home import Home, own_writers, remedy
from ._line import fits, stated_hash
from ._plain_file import read_plain_file

_MARK = b'"type":"prices.adopted"'
_SAVE_EVERY_BYTES = 1024 * 1024
"""The cache is written anew when so much more was looked through: 1 MiB is searched in about a millisecond."""


def adopted_book(home: Home, disk: Disk) -> str | None:
    """The SHA-256 of the book that the home has adopted; None where it has none.  Raises HomeError."""
    cache = home.path / "guard" / "adopted.json"
    state = _load(cache)
    book, unsaved = state.get("book"), 0
    positions: dict[str, list[int]] = dict(state.get("positions", {}))
    for writer in own_writers(home):
        segment, offset = positions.get(writer, [1, 0])
        for path in home.segments(writer):
            number = int(path.stem)
            if number < segment:
                continue
            start = offset if number == segment else 0
            try:
                found, end = _last_adopted(path, start)
            except OSError as error:
                raise HomeError(f"cannot read {path}: {error.strerror}; {remedy(error)}") from error
            book = found or book
            unsaved += end - start
            positions[writer] = [number, end]
    if book is not None and unsaved > _SAVE_EVERY_BYTES:
        with contextlib.suppress(OSError):  # only a cache
            disk.make_folder(cache.parent)
            write_new(disk, cache, json.dumps({"book": book, "positions": positions}).encode())
    return book


def _load(cache: Path) -> Mapping[str, Any]:
    try:
        state = json.loads(read_plain_file(cache))
        if isinstance(state["book"], str) and all(
            isinstance(part, int) for position in state["positions"].values() for part in position
        ):
            return {"book": state["book"], "positions": state["positions"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


def _last_adopted(path: Path, start: int) -> tuple[str | None, int]:
    """The book of the last adopting line behind *start* that fits its chain, and the end of the last whole line."""
    overlap = max(0, start - limits.LINE_BYTES_MAX)
    with open(path, "rb") as file:
        file.seek(overlap)
        data = file.read()
    end = data.rfind(b"\n") + 1
    at = data.rfind(_MARK, start - overlap, end)
    while at >= 0:
        first = data.rfind(b"\n", 0, at) + 1
        line = data[first : data.index(b"\n", at) + 1]
        above = data[data.rfind(b"\n", 0, max(first - 1, 0)) + 1 : first]
        previous = stated_hash(above)
        if previous is not None and fits(previous, line) is not None:
            event = orjson.loads(line)
            if event["type"] == "prices.adopted" and event["v"] == 1:
                return str(event["data"]["book"]), overlap + end
        at = data.rfind(_MARK, start - overlap, first)
    return None, overlap + end
