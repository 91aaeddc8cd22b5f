"""genai-prices as the tests ask it: every model and context of its list, where their prices change, and its answer."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal.prices import BUCKETS, TIER_BUCKETS

if importlib.metadata.version("genai-prices") != "0.2.3":
    pytest.skip("another genai-prices than the shipped list's 0.2.3 is installed", allow_module_level=True)

from genai_prices import Usage
from genai_prices.data import providers

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

OTHERS = ("input_audio_ms", "input_pages", "input_chars", "web_searches", "file_searches")
TOKENS = tuple(bucket for bucket in BUCKETS if bucket not in (*OTHERS, "requests"))

CASES = [
    (provider, model, context)
    for provider in providers
    for model in provider.models
    for context in [{}, *(variant.when for variant in model.price_variants or [] if vars(variant.prices))]
]
"""Every model in every context that has prices of its own."""


@cache
def rounded() -> frozenset[tuple[str, str, str]]:
    """Provider, model and bucket of the values that the list's report names as rounded."""
    path = Path(keledger.data.__path__[0]) / "prices" / "genai-prices-0.2.3.report.txt"
    _, _, after = path.read_text(encoding="utf-8").partition("Off the grid")
    lines = [line.split() for line in after.split("\n\n")[0].splitlines()[1:]]
    return frozenset((line[0], line[1], line[2]) for line in lines)


def theirs(
    provider: Any, model: Any, usage: Mapping[str, int], instant: datetime, context: Mapping[str, str]
) -> Decimal:
    """What genai-prices computes: its totals contain their parts, and its durations are seconds."""
    n = {bucket: usage.get(bucket, 0) for bucket in (*TOKENS, *OTHERS)}
    seconds = Decimal(n["input_audio_ms"]) / 1000
    told = Usage(
        input_tokens=sum(n[bucket] for bucket in TOKENS if bucket in TIER_BUCKETS),
        cache_read_tokens=n["cache_read"] + n["cache_read_audio"],
        cache_write_tokens=n["cache_write_5m"] + n["cache_write_1h"],
        cache_write_5m_tokens=n["cache_write_5m"],
        cache_write_1h_tokens=n["cache_write_1h"],
        input_audio_tokens=n["input_audio"] + n["cache_read_audio"],
        cache_audio_read_tokens=n["cache_read_audio"],
        input_image_tokens=n["input_image"],
        cache_image_read_tokens=0,
        input_video_tokens=n["input_video"],
        output_tokens=sum(n[bucket] for bucket in TOKENS if bucket not in TIER_BUCKETS),
        output_reasoning_tokens=n["output_reasoning"],
        output_citation_tokens=0,
        output_audio_tokens=n["output_audio"],
        output_image_tokens=n["output_image"],
        output_video_tokens=n["output_video"],
        audio_seconds=seconds,
        input_audio_seconds=seconds,
        input_document_pages=n["input_pages"],
        input_annotated_document_pages=0,
        input_characters=n["input_chars"],
        input_text_messages=0,
        web_searches=n["web_searches"],
        storage_searches=n["file_searches"],
    )
    at = {"genai_request_timestamp": instant, "price_context": dict(context)}
    return Decimal(model.calc_price(told, provider, **at).total_price)


def offered(model: Any, context: Mapping[str, str], instant: datetime) -> bool:
    """Whether the list has a price of its own for this context at this time."""
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(instant))
        for variant in model.price_variants
        if vars(variant.prices)
    )


def edges(model: Any) -> tuple[set[datetime], set[timedelta], set[int]]:
    """The first days, the minutes of day and the sizes of requests at which the list's prices of a model change."""
    days, times = set(), set()
    for one in _conditions(model):
        if hasattr(one, "start_date"):
            days.add(datetime.combine(one.start_date, datetime.min.time(), UTC))
        else:
            times |= {timedelta(hours=t.hour, minutes=t.minute) for t in (one.start_time, one.end_time)}
    sets = [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]
    sets += [variant.prices for variant in model.price_variants or []]
    return days, times, {tier.start for each in sets for price in vars(each).values() for tier in _tiers(price)}


def _conditions(model: Any) -> Iterator[Any]:
    for one in [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or [])]:
        if one.constraint is not None:
            yield one.constraint


def _tiers(price: Any) -> Any:
    return getattr(price, "tiers", ())
