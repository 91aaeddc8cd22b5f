"""Whether a decision still stands on what was looked at: nobody has journaled one of its kind since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import HomeError, KeledgerError
from ._home import Home, remedy

if TYPE_CHECKING:
    from ._anchor import Anchor, AnchoredLine


_TOLD = {
    "charge": ("an adjustment", "booked"),
    "period": ("a closing or reopening", "written"),
    "reprice": ("a reprice", "written"),
}
"""By family how an error calls its events, and what was not done then."""


def check_unchanged(home: Home, since: Anchor, family: str) -> None:
    """Raise KeledgerError where an event of *family* (``reprice``) stands behind an anchor.  Called under the lock."""
    if journaled_since(home, since, family):
        event, done = _TOLD[family]
        raise KeledgerError(
            f"another process has journaled {event} in {home.path} meanwhile: nothing was {done}; look at it and try "
            "again"
        )


def journaled_since(home: Home, since: Anchor, family: str) -> bool:
    """Whether an event of *family* (``reprice``) stands behind an anchor, of whichever writer.

    What was sealed off counts, too: whoever looks again has it behind the next anchor.
    """
    mark = b'"type":"%b.' % family.encode()
    lines = {line.writer: line for line in since.lines}
    for writer in home.writers():
        for path in home.segments(writer):
            try:
                if mark in _behind(path, lines.get(writer)):
                    return True
            except OSError as error:
                raise HomeError(f"cannot read {path}: {error.strerror}; {remedy(error)}") from error
    return False


def _behind(path: Path, line: AnchoredLine | None) -> bytes:
    """What a segment has behind an anchored line; all of it where the anchor does not know the writer."""
    number = int(path.stem)
    if line is None or line.segment is None or line.offset_bytes is None or number > line.segment:
        start = 0
    elif number == line.segment:
        start = line.offset_bytes
    else:
        return b""
    with open(path, "rb") as file:
        file.seek(start)
        return file.read()
