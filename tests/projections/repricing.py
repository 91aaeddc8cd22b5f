"""Homes whose calls are repriced, and a plain fold over the events that says what each call costs then.

The fold knows nothing of SQL, layers or caches: it looks at every reprice for every call, and asks ``Book.price``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from keledger.journal import (
    Home,
    Ledger,
    anchor,
    own_writers,
    parse_time,
    pico_to_usd,
    replaced_layer,
    scan_journal,
    usd_to_pico,
)
from keledger.journal.prices import Book, Cell, LayerHeader, PriceStore, write_layer
from keledger.journal.usage import NORMALIZER_VERSION, normalize
from keledger.projections import (
    Projection,
    ReportOptions,
    RepricePreview,
    RepriceRequest,
    Selector,
    digest,
    open_projection,
    preview_reprice,
    report_daily,
    report_monthly,
    report_sessions,
    report_weekly,
    reprice_data,
)

from .support import QuickDisk, expected

TURN_US = parse_time("2026-10-01T00:00:00Z")
EVERYTHING = Selector()
TEXT = ("input_uncached", "cache_read", "output_text", "output_reasoning")

BOOKS: Mapping[str, tuple[Cell, ...]] = {
    # Of gpt-5-mini the price of the list, halved, with a batch at a quarter and more above a size.
    "halved": (
        Cell("openai", "gpt-5-mini", "", {"input_uncached": "0.125", "output_text": "1", "output_reasoning": "1"}),
        Cell("openai", "gpt-5-mini", "", {"input_uncached": "0.5", "output_text": "4"}, input_over=1000),
        Cell("openai", "gpt-5-mini", "processing=batch", dict.fromkeys(TEXT, "0.06")),
    ),
    # Another price before a day and at night, none at all for Claude, and one for a model that the list lacks.
    "dated": (
        Cell("anthropic", "claude-sonnet-4-5", "", dict.fromkeys(TEXT, None)),
        Cell("nobody", "in-house", "", dict.fromkeys(TEXT, "0.000001")),
        Cell("openai", "gpt-5-mini", "", dict.fromkeys(TEXT, "1"), valid_to_us=TURN_US),
        Cell("openai", "gpt-5-mini", "", dict.fromkeys(TEXT, "3"), valid_from_us=TURN_US, minute_to=360),
        Cell("openai", "gpt-5-mini", "", dict.fromkeys(TEXT, "2"), valid_from_us=TURN_US, minute_from=360),
    ),
    "free": (
        Cell("anthropic", "claude-sonnet-4-5", "", dict.fromkeys(TEXT, "0")),
        Cell("nobody", "in-house", "", {"input_uncached": "7"}),
        Cell("openai", "gpt-5-mini", "", {"output_text": None}),
    ),
}
"""User layers over the shipped book: each prices some calls otherwise, and takes the price from others."""


def ledger_of(home: Home) -> Ledger:
    """The write path without its syncs."""
    return Ledger(home, program="keledger test", disk=QuickDisk())


@cache
def user_layer(name: str) -> bytes:
    """The bytes of a layer of :data:`BOOKS`."""
    return write_layer(LayerHeader("user", "mine", f"a test: {name}", "2026-11-21"), BOOKS[name])


def adopt(home: Home, name: str) -> str:
    """Adopt a book of :data:`BOOKS`, or the shipped one again as ``list``; returns its id."""
    with ledger_of(home) as ledger:
        before = ledger.manifest()
        content = None if name == "list" else user_layer(name)
        adoption = replaced_layer(before, "user", content, "mine")
        ledger.adopt_prices(adoption, "a test", based_on=before.sha256)
        return adoption.manifest.sha256


def preview(
    home: Home, book: str, selector: Selector = EVERYTHING, *, allow_unpriced: bool = False, reported: bool = False
) -> RepricePreview:
    """What a reprice of all that is journaled now would do."""
    with open_projection(home) as projection:
        request = RepriceRequest(selector, projection.positions, allow_unpriced=allow_unpriced, reported=reported)
        return preview_reprice(projection, request, PriceStore(home.prices).load_book(book))


def reprice(home: Home, book: str, selector: Selector = EVERYTHING, **flags: bool) -> str | None:
    """Reprice all that is journaled now, as the command does; None where that changes nothing."""
    through = anchor(home)
    found = preview(home, book, selector, **flags)
    assert {line.writer: line.seq for line in through.lines} == dict(found.request.through)
    hold_preview(found)
    if not found.total.changed_calls:
        return None
    with ledger_of(home) as ledger:
        return ledger.apply_reprice(reprice_data(found, through), "a test")


def undo(home: Home, reprice_id: str) -> None:
    """Take a reprice back."""
    with ledger_of(home) as ledger:
        ledger.revert_reprice(reprice_id, "a test")


def digest_of(home: Home) -> str:
    """The digest, caught up."""
    with open_projection(home) as projection:
        return digest(projection)


def costs(home: Home, basis: str = "current") -> dict[str, tuple[str, int | None]]:
    """State and picodollars of each counted call by its id."""
    with open_projection(home) as projection:
        return costs_of(projection, basis)


def costs_of(projection: Projection, basis: str) -> dict[str, tuple[str, int | None]]:
    """The same of a projection that is open, and goes on by this basis."""
    projection.price_by(ReportOptions(basis=basis).prices)
    rows = projection.query("SELECT CAST(id AS VARCHAR), cost_state, cost_pico FROM call_fact")
    return {call_id: (state, None if pico is None else int(pico)) for call_id, state, pico in rows}


@dataclass(frozen=True)
class Told:
    """One call event as the fold needs it."""

    writer: str
    seq: int
    data: dict[str, Any]

    @property
    def recorded(self) -> tuple[str, int | None]:
        cost = self.data["cost"]
        return cost["state"], usd_to_pico(cost["total_usd"]) if "total_usd" in cost else None

    def usage(self) -> tuple[dict[str, int], dict[str, str]]:
        """Usage and context, counted again where an older normaliser counted."""
        data, context = self.data, self.data.get("pricing_context", {})
        if data["normalizer"] < NORMALIZER_VERSION and "usage_raw" in data and "usage_format" in data:
            found = normalize(orjson.loads(data["usage_raw"]), data["usage_format"])
            if found.readable:
                return dict(found.usage), {**(found.pricing_context or {}), **context}
        return data["usage"], context

    def by_book(self, book: Book) -> tuple[str, int | None] | None:
        """What it costs by a book; None where no usage is known, or nothing is to be paid by any."""
        usage, context = self.usage()
        if not usage:
            return None
        data = self.data
        cost = book.price(
            provider=data["provider"],
            model=book.priced_model(data["provider"], data["model"], data.get("response_model")),
            usage=usage,
            at_us=parse_time(data["started_at"]),
            context=context,
            reported_cost_usd=data.get("reported_cost_usd"),
        )
        return cost["state"], usd_to_pico(cost["total_usd"]) if "total_usd" in cost else None


def folded(home: Home, basis: str = "current") -> dict[str, tuple[str, int | None]]:
    """What :func:`costs` must be, told by the rules themselves; days of ``known:`` are those of UTC."""
    events = [orjson.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]
    events.sort(key=lambda event: (event["tick"], event["source"], event["seq"]))
    reverted = {event["data"]["reprice_id"] for event in events if event["type"] == "reprice.reverted"}
    applied = [event for event in events if event["type"] == "reprice.applied" and event["id"] not in reverted]
    own = {f"/keledger/{writer}" for writer in own_writers(home)}
    adopted = [event for event in events if event["type"] == "prices.adopted" and event["source"] in own]
    if basis.startswith("known:"):
        adopted = [event for event in adopted if event["time"][:10] <= basis.removeprefix("known:")]
    store = PriceStore(home.prices)
    found = {}
    first: dict[str, Told] = {}
    for event in events:
        if event["type"] in ("call.completed", "call.failed"):
            first.setdefault(event["id"], Told(event["source"].rpartition("/")[2], event["seq"], event["data"]))
    for call_id in expected(home).counted:
        told = first[call_id]
        if basis == "current":
            found[call_id] = _current(told, reversed(applied), store)
        elif basis == "recorded":
            found[call_id] = told.recorded
        else:
            found[call_id] = told.by_book(store.load_book(adopted[-1]["data"]["book"])) or told.recorded
    return found


def _current(told: Told, applied: Iterable[dict[str, Any]], store: PriceStore) -> tuple[str, int | None]:
    for data in (event["data"] for event in applied):
        if _covers(data, told):
            cost = told.by_book(store.load_book(data["book"]))
            if cost is not None and (cost[0] == "priced" or data["allow_unpriced"]):
                return cost
    return told.recorded


def _covers(data: Mapping[str, Any], told: Told) -> bool:
    selector, call = data["selector"], told.data
    through = {position["writer"]: position["seq"] for position in data["through"]}
    return (
        told.seq <= through.get(told.writer, 0)
        and selector.get("started_from", "") <= call["started_at"] < selector.get("started_to", "9")
        and (selector.get("only") is None or call["cost"]["state"] == "unpriced")
        and (data["reported"] or call["cost"]["state"] != "reported")
        and all(_column(call, pair["column"]) == pair.get("value") for pair in selector.get("where", ()))
    )


def _column(call: Mapping[str, Any], name: str) -> Any:
    return call.get("tags", {}).get(name.removeprefix("tag:")) if name.startswith("tag:") else call.get(name)


BASES = ("recorded", "current", "latest")


def hold_sums(projection: Projection) -> None:
    """Whatever a report splits by, and whatever the basis, its parts sum to the same."""
    for basis in BASES:
        if basis == "latest" and projection.book is None:
            continue  # the home has only merged what others adopted
        projection.price_by(ReportOptions(basis=basis).prices)
        ((calls, cost_pico),) = projection.query("SELECT COUNT(*), COALESCE(SUM(cost_pico), 0) FROM call_fact")
        for fact, column in (("charge_fact", "pico"), ("day_fact", "cost_pico"), ("session_fact", "cost_pico")):
            assert projection.query(f"SELECT COALESCE(SUM({column}), 0) FROM {fact}") == [(cost_pico,)], (basis, fact)
        split = [
            report_daily(projection, ReportOptions(basis=basis, by=("model", "project"))),
            report_daily(projection, ReportOptions(basis=basis, timezone="Asia/Kathmandu")),
            report_weekly(projection, ReportOptions(basis=basis)),
            report_monthly(projection, ReportOptions(basis=basis, breakdown=True)),
            report_sessions(projection, ReportOptions(basis=basis)),
        ]
        for report in split:
            assert report.totals == split[0].totals
            assert report.totals["calls"] == calls == sum(row["calls"] for row in report.rows)
            in_rows = sum(usd_to_pico(row["cost_usd"] or "0") for row in report.rows)
            assert in_rows == cost_pico
            assert report.totals["cost_usd"] in (pico_to_usd(int(cost_pico)), None)


def hold_preview(found: RepricePreview) -> None:
    """Whatever a preview splits by, its parts sum to the total."""
    names = ("calls", "changed_calls", "newly_priced", "newly_unpriced", "before_pico", "after_pico")
    for parts in (found.months, found.utc_months, found.models, found.projects):
        for name in (*names, "before_costed", "after_costed", "difference_pico"):
            assert sum(getattr(part, name) for part in parts) == getattr(found.total, name), name
