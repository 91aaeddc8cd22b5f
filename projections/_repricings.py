"""Reprices and books as people name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from keledger.journal import NotFound, UsageError, format_time, pico_to_usd, usd_to_pico

from ._basis import adopted_books, book_of, parse_basis
from ._engine import Connection
from ._projection import Projection

_LISTED_MAX = 10
"""How many an error lists where one was not enough to tell them apart."""


@dataclass(frozen=True, slots=True)
class Repricing:
    """A ``reprice.applied`` as it is listed: what it said it changed, and whether it stands."""

    id: str
    applied_at: str
    writer: str
    book: str
    selector: dict[str, Any]
    changed_calls: int
    before_usd: str
    after_usd: str
    reason: str
    actor: str
    reverted_at: str | None

    def as_json(self) -> dict[str, Any]:
        """All of it, and the difference."""
        difference = usd_to_pico(self.after_usd) - usd_to_pico(self.before_usd)
        return {
            "id": self.id,
            "applied_at": self.applied_at,
            "writer": self.writer,
            "book": self.book,
            "selector": self.selector,
            "changed_calls": self.changed_calls,
            "before_usd": self.before_usd,
            "after_usd": self.after_usd,
            "difference_usd": pico_to_usd(difference),
            "reason": self.reason,
            "actor": self.actor,
            "reverted_at": self.reverted_at,
        }


def list_reprices(projection: Projection) -> list[Repricing]:
    """All reprices, the last one first; what cannot be read is a finding of the projection and left out."""
    return projection.run(read_repricings)


def read_repricings(connection: Connection) -> list[Repricing]:
    """The same from a connection."""
    rows = connection.execute(
        "SELECT id, writer, type, time_us, data FROM other_line WHERE v = 1 "
        "AND type IN ('reprice.applied', 'reprice.reverted') ORDER BY tick, writer, seq"
    ).fetchall()
    reverted: dict[str, str] = {}
    for _, _, kind, time_us, data in rows:
        if kind == "reprice.reverted":
            reverted.setdefault(str(orjson.loads(data).get("reprice_id")), format_time(time_us or 0))
    listed: dict[str, Repricing] = {}
    for event_id, writer, kind, time_us, text in rows:
        if kind == "reprice.applied" and event_id not in listed:
            try:
                listed[event_id] = _listed(event_id, writer, time_us or 0, orjson.loads(text), reverted.get(event_id))
            except (KeyError, TypeError, ValueError):
                continue
    return list(reversed(listed.values()))


def _listed(event_id: str, writer: str, time_us: int, data: dict[str, Any], reverted_at: str | None) -> Repricing:
    months = data["months"]
    return Repricing(
        id=event_id,
        applied_at=format_time(time_us),
        writer=writer,
        book=data["book"],
        selector=data["selector"],
        changed_calls=data["changed_calls"],
        before_usd=pico_to_usd(sum(usd_to_pico(month["before_usd"]) for month in months)),
        after_usd=pico_to_usd(sum(usd_to_pico(month["after_usd"]) for month in months)),
        reason=data["reason"],
        actor=data["actor"],
        reverted_at=reverted_at,
    )


def find_reprice(projection: Projection, given: str) -> Repricing:
    """The reprice of this id, or the only one whose id begins so.  Raises NotFound or UsageError."""
    listed = list_reprices(projection)
    found = [row for row in listed if given and row.id.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{given!r} may be each of {_named([row.id for row in found])}: give the whole id of one")
    raise NotFound(f"no reprice has the id {given!r}, or one that begins so: keledger replay --list shows them")


def find_book(projection: Projection, given: str, *, timezone: str = "UTC") -> str:
    """The SHA-256 of the book that is meant.

    ``latest``, ``known:DATE`` (by the home's own adoptions), or the SHA-256 or the unique beginning of one of a book
    that any writer here has adopted.  Raises NotFound or UsageError.
    """
    own = projection.run(lambda connection: adopted_books(connection, projection.home))
    if given == "latest" or given.startswith("known:"):
        book = book_of(parse_basis(given, timezone), own)
        if book is None and own:
            first = format_time(own[-1][1])[:10]
            raise NotFound(f"no price book was known here by the end of {given[6:]}: the first one came on {first}")
        if book is None:
            raise NotFound(f"{projection.home.path} has adopted no price book yet")
        return book
    rows = projection.query("SELECT data FROM other_line WHERE type = 'prices.adopted' AND v = 1")
    books = {book for (data,) in rows if isinstance(book := orjson.loads(data).get("book"), str)}
    found = sorted(book for book in books if given and book.startswith(given.lower()))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{given!r} may be each of {_named(found)}: give more of it")
    raise NotFound(f"no price book that was adopted begins with {given!r}: keledger prices history lists them")


def _named(names: list[str]) -> str:
    more = len(names) - _LISTED_MAX
    return ", ".join(names[:_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")
