"""By which prices a report counts: the basis, and what it makes of calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import orjson

from keledger.journal import Home, UsageError, Zone, own_writers

from ._engine import Connection

if TYPE_CHECKING:
    from keledger.journal.prices import Book

_KNOWN = re.compile(r"known:(\d{4}-\d{2}-\d{2})", re.ASCII)

_HOW = "use recorded, current, latest or known:YYYY-MM-DD"


@dataclass(frozen=True, slots=True)
class Basis:
    """``recorded`` at the call, ``current`` after reprices, or by the book that was the newest before an instant."""

    name: str
    known_before_us: int | None = None
    book: Book | None = None
    """This very book, whether it was adopted or not."""

    @property
    def by_one_book(self) -> bool:
        """Whether all calls are priced again by one book."""
        return self.name not in ("recorded", "current")


CURRENT = Basis("current")


def parse_basis(text: str, timezone: str) -> Basis:
    """A basis as it is asked for; *timezone* says when the day of ``known:DATE`` ends.  Raises UsageError."""
    if text in ("recorded", "current", "latest"):
        return Basis(text)
    found = _KNOWN.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no basis of prices: {_HOW}")
    try:
        day = date.fromisoformat(found[1])
    except ValueError as error:
        raise UsageError(f"{text!r} is no basis of prices: {error}; {_HOW}") from None
    return Basis(text, Zone(timezone).end_us(day))


def adopted_books(connection: Connection, home: Home) -> list[tuple[str, int]]:
    """The books that the home's own writers adopted, the last one first, each with when it became known."""
    own = own_writers(home)
    rows = connection.execute(
        "SELECT writer, data, time_us FROM other_line WHERE type = 'prices.adopted' AND v = 1 "
        "ORDER BY tick DESC, writer DESC, seq DESC"
    ).fetchall()
    books = ((writer, orjson.loads(data).get("book"), time_us) for writer, data, time_us in rows)
    return [(book, time_us or 0) for writer, book, time_us in books if writer in own and isinstance(book, str)]


def book_of(basis: Basis, books: Iterable[tuple[str, int]]) -> str | None:
    """Of the *books*, the last one first, the one that a basis means; None where none was known then."""
    before = basis.known_before_us
    return next((book for book, time_us in books if before is None or time_us < before), None)
