"""What must hold of a call beyond its model: real dates, attributes in NFC, counts above 0, and a cost that adds up."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._attributes import NAMES
from ._errors import InputRefused
from ._money import micro_per_million
from .prices._book import FREE_WITHOUT_PRICE


def is_instant(text: str) -> bool:
    """Whether what is spelled like a time is one: 30 February is none, nor is hour 24."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return text[11:13] != "24"  # which later releases of Python take for the next midnight


def call_flaw(call: Mapping[str, Any]) -> str | None:
    """What is wrong with a call that its model accepts, its cost aside."""
    if not is_instant(call["started_at"]):
        return "started_at: there is no such time"
    if 0 in call["usage"].values():
        return "usage: a count is 0, and zeros are left out"
    texts = [call.get(name) or "" for name in NAMES] + [*(call.get("tags") or {}).values()]
    # Nothing composes with a line feed, so one look does for all of them.
    return None if unicodedata.is_normalized("NFC", "\n".join(texts)) else "an attribute or tag is not in NFC"


def cost_flaw(call: Mapping[str, Any]) -> str | None:
    """What is wrong with the cost of a call that its model accepts: how it does not follow from usage and prices.

    The states are those of :meth:`Book.price`; a sentence goes on behind "the cost of this call".
    """
    cost = call["cost"]
    state, total, lines, missing = cost["state"], cost.get("total_usd"), cost["lines"], cost.get("missing") or []
    if (total is not None) != (state in ("priced", "reported")):
        return f"is {state}, which it cannot be {'without' if total is None else 'with'} a total"
    if state == "unknown":
        return "is unknown, and has lines all the same" if lines or missing else None
    if state == "reported":
        told = [tuple(map(line.get, ("bucket", "quantity", "usd_per_million", "usd"))) for line in lines]
        is_told = told == [("reported", 1, None, total)] and not missing
        return None if is_told else "is reported, and has other lines than the reported amount"
    if not _are_those_used(lines, call["usage"]):
        return "is not over the buckets and quantities that were used"
    return _priced_flaw(lines, total) if state == "priced" and not missing else _unpriced_flaw(lines, state, missing)


def _are_those_used(lines: list[dict[str, Any]], usage: Mapping[str, int]) -> bool:
    """Whether there is one line for each used bucket; only what is free where it has no price may be left out."""
    for line in lines:
        if usage.get(line["bucket"]) != line["quantity"]:
            return False
    buckets = {line["bucket"] for line in lines}
    return len(buckets) == len(lines) and usage.keys() - buckets <= FREE_WITHOUT_PRICE


def _priced_flaw(lines: list[dict[str, Any]], total: str) -> str | None:
    total_pico = 0
    for line in lines:
        price, usd = line.get("usd_per_million"), line.get("usd")
        if price is None or usd is None:
            return f"is priced, and has a line of {line['bucket']} without {'price' if price is None else 'amount'}"
        line_pico = _price_pico(price)
        if line_pico is None:
            return f"has a line of {line['bucket']} at {price}, which is no price"
        line_pico *= line["quantity"]
        if line_pico != _pico(usd):
            return f"has an amount of {line['bucket']} that is not its quantity at its price"
        total_pico += line_pico
    return None if total_pico == _pico(total) else "is not the sum of its lines"


def _unpriced_flaw(lines: list[dict[str, Any]], state: str, missing: list[str]) -> str | None:
    """What is wrong where buckets have no price, or are said to have none."""
    without_price = [line["bucket"] for line in lines if line.get("usd_per_million") is None]
    if state != "unpriced" or not without_price or sorted(without_price) != sorted(missing):
        return f"is {state}, and names other buckets as missing than have no price"
    for line in lines:
        price = line.get("usd_per_million")
        if line.get("usd") is not None:
            return f"is unpriced, and has an amount of {line['bucket']}"
        if price is not None and _price_pico(price) is None:
            return f"has a line of {line['bucket']} at {price}, which is no price"
    return None


@functools.lru_cache(4096)
def _price_pico(price: str) -> int | None:
    """Picodollars a unit; None for an amount that is no price, as one below 0."""
    try:
        return micro_per_million(price)
    except InputRefused:
        return None


def _pico(usd: str) -> int:
    """Picodollars of an amount whose spelling was checked before."""
    whole, _, fraction = usd.partition(".")
    return int(whole + fraction.ljust(12, "0"))
