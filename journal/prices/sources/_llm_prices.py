"""llm-prices (simonw/llm-prices, https://www.llm-prices.com): ``current-v1.json``, ``historical-v1.json`` or one
vendor's file.

Prices are USD per million tokens.  The history has days, the first of which may be open; the current list has none.
Ids are names that people read rather than those of the providers' interfaces, so each is told as the model that the
table of names takes it for.  ``gpt-5.4-272k`` beside ``gpt-5.4`` is what the latter costs above 272,000 tokens.
Only text is priced.  A cached price of null says that none is listed, so nothing is inferred from it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any, NamedTuple

from keledger.journal.prices._cells import ALWAYS_US, Cell
from keledger.journal.prices._names import Names

from ._conditions import Boundaries, Point, Prices, Subject, cells_of
from ._contested import Contradicting, told_span
from ._imported import Reading, plain, readable, usd_per_million

NAME = "llm-prices"
SOURCE = "llm-prices.com (github.com/simonw/llm-prices), as saved by the user"

_BUCKETS = {
    "input": ("input_uncached",),
    "output": ("output_text", "output_reasoning"),
    "input_cached": ("cache_read",),
}
_VENDORS = {"meta-ai": "meta", "moonshot-ai": "moonshotai"}
"""Vendors that no table of names knows by these names."""

_TIER = re.compile(r"(.+)-(\d+)k")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Row(NamedTuple):
    """One price in its time."""

    from_us: int
    to_us: int
    over: int
    prices: Mapping[str, Decimal]


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether this is a list of llm-prices in one of its three forms."""
    return any(_is_price(entry) for entry in _entries(raw))


def known_on(raw: Mapping[str, Any]) -> str | None:
    """The day on which the list was brought up to date."""
    updated = raw.get("updated_at")
    return updated[:10] if isinstance(updated, str) and _day_us(updated[:10]) is not None else None


def read(raw: Mapping[str, Any], reading: Reading) -> Iterator[Cell]:
    """The cells of all models: by their own days, or where they have none, from the reading's day on.

    Raises Contradicting where two rows of a model overlap, at other prices.
    """
    notes = reading.notes
    ids = {(str(entry.get("vendor")), str(entry.get("id"))) for entry in _entries(raw)}
    rows: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    first_names: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in _entries(raw):
        vendor, name = entry.get("vendor"), entry.get("id")
        if not isinstance(vendor, str) or not isinstance(name, str) or not name:
            notes.skipped.append("llm-prices: an entry without vendor and id")
            continue
        tier = _TIER.fullmatch(name)
        is_tier = tier is not None and (vendor, tier[1]) in ids
        model, over = (tier[1], int(tier[2]) * 1000) if tier is not None and is_tier else (name, -1)
        row = _row(entry, over, f"{vendor} {name}", reading)
        if row is not None:
            spelled = _spelled(reading.names, vendor, model)
            first_names.setdefault(spelled, (vendor, model))
            rows[spelled].append(row)
    told = set(rows)
    for subject, history in rows.items():
        _check_agreement("/".join(first_names[subject]), history)
        meant = _meant(reading.names, *first_names[subject])
        if meant is not None and meant not in told:
            told.add(meant)
            subject = meant
        yield from _cells(*subject, history, reading)


def _entries(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every price with its vendor and id, from any of the forms."""
    if isinstance(raw.get("prices"), list):
        return [entry for entry in raw["prices"] if isinstance(entry, dict)]
    found = []
    for model in raw["models"] if isinstance(raw.get("models"), list) else ():
        history = model.get("price_history") if isinstance(model, dict) else None
        for entry in history if isinstance(history, list) else ():
            if isinstance(entry, dict):
                found.append({**entry, "vendor": raw.get("vendor"), "id": model.get("id")})
    return found


def _is_price(entry: Mapping[str, Any]) -> bool:
    return {"vendor", "id", "input", "output"} <= entry.keys()


def _spelled(names: Names, vendor: str, name: str) -> tuple[str, str]:
    """The provider's id, and the model by its own name."""
    provider, spellings = names.spellings(_VENDORS.get(vendor.lower(), vendor), name)
    return provider, spellings[-1]


def _meant(names: Names, vendor: str, name: str) -> tuple[str, str] | None:
    """The provider and model of the book that a vendor's id means, by the table of names."""
    match = names.find(_VENDORS.get(vendor.lower(), vendor), name)
    return (match.provider, match.model) if match is not None and not match.by_fallback else None


def _row(entry: Mapping[str, Any], over: int, where: str, reading: Reading) -> _Row | None:
    notes = reading.notes
    dated = "from_date" in entry or "to_date" in entry
    begin, end = (_day_us(entry.get(key)) for key in ("from_date", "to_date"))
    if any(entry.get(key) is not None and _day_us(entry[key]) is None for key in ("from_date", "to_date")):
        notes.skipped.append(f"{where}: from_date or to_date is no day")
        return None
    prices = {key: readable(entry.get(key)) for key in _BUCKETS if entry.get(key) is not None}
    told = {key: price for key, price in prices.items() if price is not None}
    if len(told) < len(prices) or not told:
        notes.skipped.append(f"{where}: a price is no number")
        return None
    if not any(told.values()):
        notes.skipped.append(f"{where}: every price is 0, which may be free or not known")
        return None
    from_us = (-ALWAYS_US if begin is None else begin) if dated else reading.valid_from_us
    to_us = ALWAYS_US if end is None else end
    if from_us >= to_us:
        notes.skipped.append(f"{where}: from_date is not before to_date")
        return None
    return _Row(from_us, to_us, over, told)


def _day_us(text: Any) -> int | None:
    try:
        midnight = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except (TypeError, ValueError):
        return None
    return (midnight - _EPOCH) // timedelta(microseconds=1)


def _check_agreement(name: str, rows: Iterable[_Row]) -> None:
    """Raise Contradicting where two rows of one tier overlap, and have other prices for something."""
    for row, other in combinations(rows, 2):
        if row.over == other.over and row.from_us < other.to_us and other.from_us < row.to_us:
            for key in row.prices:
                if key in other.prices and row.prices[key] != other.prices[key]:
                    told = (f"{plain(each.prices[key])} ({told_span(*each[:3])})" for each in (row, other))
                    raise Contradicting(f"for {key} of {name} {' and '.join(told)}")


def _cells(provider: str, model: str, rows: list[_Row], reading: Reading) -> Iterator[Cell]:
    apart = {"output_reasoning"} & frozenset(reading.priced_apart(provider, model, ""))

    def prices_at(point: Point) -> Prices:
        effective: dict[str, Decimal] = {}
        for row in sorted(rows, key=lambda row: row.over):
            if row.from_us <= point.from_us < row.to_us and row.over <= point.input_over:
                effective.update(row.prices)
        prices = {}
        for key, usd in effective.items():
            for bucket in _BUCKETS[key]:
                price = usd_per_million(usd, f"{provider} {model} {bucket}", reading.notes)
                if bucket not in apart and price is not None:
                    prices[bucket] = price
        return prices

    boundaries = Boundaries(
        instants_us=[instant for row in rows for instant in (row.from_us, row.to_us)],
        sizes=[row.over for row in rows],
    )
    yield from cells_of(Subject(provider, model), prices_at, boundaries)
