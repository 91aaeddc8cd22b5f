"""What reprices make of calls: a pure function of the journal.

A call's current cost is what the newest reprice in (tick, writer, seq) says that covers it, is not taken back, and
finds a price for it; else the next older one; at last what was recorded.  So taking back works in any order, and
machines that merged the same journals say the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from keledger.journal import Finding, Home, KeledgerError, NotFound
from keledger.journal.prices import PRICER_VERSION, Book, PriceStore
from keledger.journal.usage import NORMALIZER_VERSION

from . import _engine as engine
from ._engine import Connection
from ._loading import UNAPPLIED
from ._pricing import Counting, Pricer
from ._selector import Selector

DIFFERS = "reprice_differs"
"""The kind of finding that says that a replay makes something else of a reprice than its event."""


@dataclass(frozen=True, slots=True)
class Reprice:
    """One ``reprice.applied``, as far as figures follow from it; *through* is by writer the last seq that it covers."""

    id: str
    book: str
    selector: Selector
    through: Mapping[str, int]
    allow_unpriced: bool
    reported: bool
    normalizer: int
    pricer: int
    calls: int
    result_sha256: str

    @classmethod
    def of_data(cls, event_id: str, data: Mapping[str, Any]) -> Reprice:
        """From an event.  Raises KeyError, ValueError, TypeError or KeledgerError where it cannot be read."""
        return cls(
            id=event_id,
            book=str(data["book"]),
            selector=Selector.of_data(data["selector"]),
            through={str(position["writer"]): _ordinal(position["seq"]) for position in data["through"]},
            allow_unpriced=data["allow_unpriced"] is True,
            reported=data["reported"] is True,
            normalizer=_ordinal(data["normalizer"]),
            pricer=_ordinal(data["pricer"]),
            calls=_ordinal(data["calls"]),
            result_sha256=str(data["result_sha256"]),
        )


def _ordinal(value: object) -> int:
    """A count as events have it.  Raises TypeError for anything else: DuckDB would fail on it, and each report."""
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError(f"{value!r} is no count")
    return value


def read_reprices(connection: Connection, home: Home) -> tuple[list[Reprice], list[Finding]]:
    """The reprices that stand, the newest first, and what is to be said of events that cannot be read.

    Wants ``other_line``.  The first copy of an event counts; one that any ``reprice.reverted`` names does not.
    """
    rows = connection.execute(
        "SELECT id, writer, seq, type, data FROM other_line WHERE v = 1 AND type IN "
        "('reprice.applied', 'reprice.reverted') ORDER BY tick, writer, seq"
    ).fetchall()
    standing: dict[str, Reprice] = {}
    reverted: set[str] = set()
    findings = []
    for event_id, writer, seq, kind, text in rows:
        try:
            data = orjson.loads(text)
            if kind == "reprice.reverted":
                reverted.add(str(data["reprice_id"]))
            else:
                standing.setdefault(str(event_id), Reprice.of_data(str(event_id), data))
        except (KeyError, ValueError, TypeError, KeledgerError) as error:
            path = str(home.journal / writer)
            message = f"{path} has a {kind} at seq {seq} that cannot be read and is not applied: {error}"
            findings.append(Finding(UNAPPLIED, path, message))
    return [reprice for reprice in reversed(standing.values()) if reprice.id not in reverted], findings


@dataclass(frozen=True, slots=True)
class Assigned:
    """What :func:`reprice_lines` found beside its tables."""

    through: Mapping[str, int]
    findings: tuple[Finding, ...]


def reprice_lines(connection: Connection, home: Home, rates: str) -> Assigned:
    """Make ``repriced``, with the *rates* that it names, from all that ``loaded_line`` and ``other_line`` hold."""
    reprices, findings = read_reprices(connection, home)
    pricer = Pricer(connection, rates)
    findings += _assign(pricer, connection, reprices, home)
    through: dict[str, int] = {}
    for reprice in reprices:
        for writer, seq in reprice.through.items():
            through[writer] = max(seq, through.get(writer, 0))
    return Assigned(through, tuple(findings))


def differing(connection: Connection, home: Home) -> list[Finding]:
    """What is to be said of reprices whose calls do not cost what the event says that they do by its book.

    That takes as long as to apply each of them, so it is for rebuilds.  Looks at ``loaded_line`` and ``other_line``.
    """
    reprices, _ = read_reprices(connection, home)
    pricer, store = Pricer(connection, "checked_rate"), PriceStore(home.prices)
    findings = []
    for reprice in reprices:
        try:
            book = load_book(reprice, store)
        except KeledgerError:
            continue  # told where it was left out
        price_covered(pricer, reprice, book)
        calls, digest = result_sha256(connection)
        if (calls, digest) == (reprice.calls, reprice.result_sha256):
            continue
        if calls < reprice.calls:
            what = f"of the {reprice.calls} calls that it covered, {calls} are here: merge the other writers"
        else:
            what = "its calls do not cost what it says: run keledger verify"
        findings.append(Finding(DIFFERS, str(home.journal), f"the reprice {reprice.id} differs, {what}"))
    return findings


def _assign(pricer: Pricer, connection: Connection, reprices: Sequence[Reprice], home: Home) -> list[Finding]:
    """Make ``repriced``: by writer and seq what the *reprices*, the newest first, say that a call costs.

    Returns a finding for each that had to be left out.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repriced (writer VARCHAR, seq BIGINT, repriced_state VARCHAR, "
        "repriced_pico DECIMAL(38, 0), rate_id BIGINT, reprice_id VARCHAR)"
    )
    store = PriceStore(home.prices)
    findings = []
    for reprice in reprices:
        try:
            book = load_book(reprice, store)
        except KeledgerError as error:
            path = str(home.prices / reprice.book)
            findings.append(Finding(UNAPPLIED, path, f"the reprice {reprice.id} is not applied: {error}"))
            continue
        price_covered(pricer, reprice, book)
        accepted = "1 = 1" if reprice.allow_unpriced else "p.state = 'priced'"
        connection.execute(
            f"INSERT INTO repriced SELECT p.writer, p.seq, p.state, p.pico, p.rate_id, {engine.quote(reprice.id)} "
            f"FROM covered AS p ANTI JOIN repriced AS r ON r.writer = p.writer AND r.seq = p.seq WHERE {accepted}"
        )
    return findings


def price_covered(pricer: Pricer, reprice: Reprice, book: Book) -> None:
    """Make ``covered``: what the calls that a reprice covers cost by its book."""
    condition, parameters = covering(reprice.selector, reprice.through, reported=reprice.reported)
    pricer.price(book, "covered", condition, parameters, counting=Counting(reprice.normalizer))


def covering(selector: Selector, through: Mapping[str, int], *, reported: bool) -> tuple[str, list[Any]]:
    """Which calls a reprice covers, as SQL over a line ``c`` of usage_line, and its parameters."""
    condition, parameters = selector.condition()
    if not reported:
        condition += " AND c.cost_state <> 'reported'"
    return f"{condition} AND {_within(through)}", parameters


def _within(through: Mapping[str, int]) -> str:
    """Whether a line ``c`` stands within positions.  Spelled out: a join with a table of them takes twice as long."""
    parts = (f"(c.writer = {engine.quote(writer)} AND c.seq <= {seq})" for writer, seq in through.items())
    return f"({' OR '.join(parts) or '1 = 0'})"


def result_sha256(connection: Connection) -> tuple[int, str]:
    """How many lines ``covered`` has, and a SHA-256 that tells what they cost (``docs/format.md`` says over what)."""
    rows = connection.execute(engine.sql("duckdb_result")).fetchall()
    return result_of([(writer, state, *map(int, sums)) for writer, state, *sums in rows])


def result_of(sums: Iterable[tuple[str, str, int, int, int, int]]) -> tuple[int, str]:
    """The same from its sums by writer and state: lines, and sums of ``seq``, of picodollars, and of these by line."""
    rows = sorted(sums)
    text = "".join(f"{' '.join(map(str, row))}\n" for row in rows)
    return sum(row[2] for row in rows), hashlib.sha256(text.encode()).hexdigest()


def load_book(reprice: Reprice, store: PriceStore) -> Book:
    """The book of a reprice.  Raises NotFound or JournalDamaged where this release cannot do what the event says."""
    if not (1 <= reprice.normalizer <= NORMALIZER_VERSION and 1 <= reprice.pricer <= PRICER_VERSION):
        raise NotFound(
            f"normaliser {reprice.normalizer} and pricer {reprice.pricer} made it, this release has "
            f"{NORMALIZER_VERSION} and {PRICER_VERSION}: upgrade keledger"
        )
    return store.load_book(reprice.book)


def is_book_readable(home: Home, sha256: str) -> bool:
    """Whether a book is here and whole."""
    try:
        PriceStore(home.prices).load_book(sha256)
    except KeledgerError:
        return False
    return True
