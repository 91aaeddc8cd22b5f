"""What calls cost by a loop over ``Book.price``, against a loop over genai-prices' ``calc_price``.

Each side is handed what it takes, made beforehand: buckets and microseconds here, ``Usage`` and ``datetime`` there.
Both must find the same cost, to the last digit.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from bench._figures import Figure, ratio
from bench._workshop import Workshop
from keledger.journal import Home, parse_time
from keledger.journal.prices import Book, PriceStore, shipped_manifest

SAMPLE_CALLS = 20_000
"""``calc_price`` needs minutes for a million, so both price so many, spread evenly over the journal."""

BLOCK = 500
"""Calls that one side prices before the other has its turn."""

CORRECTED = frozenset([("mistral", "mistral-large-latest")])
"""Models of the journal for which the shipped book differs from its list on purpose (``docs/prices.md``)."""

HANDED_OVER = frozenset(
    ["input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_text", "output_reasoning", "requests"]
)
"""The buckets that calls of the journal have.  ``calc_price`` takes totals that contain their parts."""

PACKAGE = "genai-prices"


@dataclass(frozen=True, slots=True)
class Call:
    """One call as each side takes it."""

    ours: dict[str, Any]
    theirs: dict[str, Any]

    @property
    def is_corrected(self) -> bool:
        """Whether the two are known to differ."""
        return (self.ours["provider"], self.ours["model"]) in CORRECTED


def measure(workshop: Workshop) -> Iterator[Figure]:
    """In turns over a sample of the calls that both can price."""
    missing = why_not()
    if missing is not None:
        workshop.say(f"calc-price: skipped: {missing}")
        return
    from genai_prices import calc_price

    home = workshop.home()
    book = book_of(home)
    calls = sample(home, book, workshop.size.calls)
    ours_s: list[float] = []
    theirs_s: list[float] = []
    equal = 0
    price_block(calls, lambda call: book.price(**call.ours))  # both find each model once before the clock runs
    price_block(calls, lambda call: calc_price(**call.theirs))
    for start in range(0, len(calls), BLOCK):
        block = calls[start : start + BLOCK]
        theirs, wall_s = price_block(block, lambda call: calc_price(**call.theirs).total_price)
        theirs_s.append(wall_s)
        ours, wall_s = price_block(block, lambda call: book.price(**call.ours)["total_usd"])
        ours_s.append(wall_s)
        equal += check_equal(block, ours, theirs)
    value, spread = ratio(theirs_s, ours_s)
    scale = workshop.size.calls / len(calls)
    yield Figure(
        "calc-price",
        f"{workshop.size.calls:,} calls, calc_price's time over Book.price's",
        value,
        "x",
        f"calc_price {scale * sum(theirs_s):.3g} s, Book.price {scale * sum(ours_s):.3g} s, "
        f"from a sample of {len(calls):,}; {equal:,} costs are equal",
        spread,
        measured={
            "calc_price_s": scale * sum(theirs_s),
            "book_price_s": scale * sum(ours_s),
            "sample_calls": len(calls),
            "equal_costs": equal,
        },
    )


def why_not() -> str | None:
    """What keeps the row from being measured; None where nothing does."""
    if importlib.util.find_spec("genai_prices") is None:
        return f"{PACKAGE} is not there: it comes with the extra [prices]"
    installed = f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
    lists = [layer.name for layer in shipped_manifest().layers if layer.kind == "list"]
    return None if installed in lists else f"the shipped list is {', '.join(lists)}, and {installed} is installed"


def book_of(home: Home) -> Book:
    """The book by which a generated journal is priced: the only one it has adopted."""
    for data in _events(home, 1):
        if "book" in data:
            return PriceStore(home.prices).load_book(data["book"])
    raise AssertionError(f"{home.path} has adopted no book")


def sample(home: Home, book: Book, calls: int) -> list[Call]:
    """About :data:`SAMPLE_CALLS` of the answered calls that have a price."""
    found = []
    for data in _events(home, max(1, calls // SAMPLE_CALLS)):
        if data.get("cost", {}).get("state") == "priced" and data["usage"]:
            found.append(call_of(data, book))
    return found


def _events(home: Home, step: int) -> Iterator[dict[str, Any]]:
    """The ``data`` of every so manyth event."""
    number = 0
    for writer in home.writers():
        for path in home.segments(writer):
            with open(path, "rb") as file:
                for line in file:
                    if number % step == 0:
                        yield orjson.loads(line)["data"]
                    number += 1


def call_of(data: dict[str, Any], book: Book) -> Call:
    """A journaled call as each side takes it, under the name by which keledger priced it."""
    from genai_prices import Usage

    provider, usage = data["provider"], data["usage"]
    answered = data.get("response_model", data["model"])
    model = answered if book.match(provider, answered) is not None else data["model"]
    if not usage.keys() <= HANDED_OVER:
        raise AssertionError(f"a call has usage that is not handed to calc_price: {usage}")
    cached = {name: usage.get(name, 0) for name in ("cache_read", "cache_write_5m", "cache_write_1h")}
    reasoning = usage.get("output_reasoning", 0)
    theirs = Usage(
        input_tokens=usage.get("input_uncached", 0) + sum(cached.values()),
        cache_read_tokens=cached["cache_read"],
        cache_write_tokens=cached["cache_write_5m"] + cached["cache_write_1h"],
        cache_write_5m_tokens=cached["cache_write_5m"],
        cache_write_1h_tokens=cached["cache_write_1h"],
        output_tokens=usage.get("output_text", 0) + reasoning,
        output_reasoning_tokens=reasoning,
    )
    return Call(
        {
            "provider": provider,
            "model": model,
            "usage": usage,
            "at_us": parse_time(data["started_at"]),
            "context": data.get("pricing_context", {}),
        },
        {
            "usage": theirs,
            "model_ref": model,
            "provider_id": provider,
            "genai_request_timestamp": datetime.fromisoformat(data["started_at"]),
            "price_context": data.get("pricing_context"),
        },
    )


def price_block(calls: Sequence[Call], price: Callable[[Call], Any]) -> tuple[list[Any], float]:
    """The costs of some calls, and how many seconds they took."""
    begun = time.perf_counter()
    costs = [price(call) for call in calls]
    return costs, time.perf_counter() - begun


def check_equal(calls: Sequence[Call], ours: Sequence[str], theirs: Sequence[Decimal]) -> int:
    """How many costs are equal.  Raises AssertionError where one differs of a model that is not corrected."""
    equal = 0
    for call, our_usd, their_usd in zip(calls, ours, theirs, strict=True):
        if Decimal(our_usd) == their_usd:
            equal += 1
        elif not call.is_corrected:
            raise AssertionError(f"{call.ours} costs {our_usd} by the book and {their_usd} by calc_price")
    return equal
