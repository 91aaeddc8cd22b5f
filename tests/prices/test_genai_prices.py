"""The flattened list against genai-prices itself: the same usage, time and context, the same cost.

Every difference that is allowed is named here, and nothing else may differ:

- a bucket for which genai-prices has no price counts 0 there and is missing here;
- an empty price set is 0 there and unknown here, but for ids that end in ``:free``;
- a context for which the list has no price at that time is the standard price there and unpriced here;
- a value off the grid is rounded here: the report lists it, and half a picodollar a unit is the most it can make;
- Groq's Whisper bills ten seconds at least there; no shorter clip is drawn.
"""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keledger.data
from keledger.journal.prices import TIER_BUCKETS, Book

if importlib.metadata.version("genai-prices") != "0.2.3":
    pytest.skip("another genai-prices than the shipped list's 0.2.3 is installed", allow_module_level=True)

from genai_prices import Usage
from genai_prices.data import providers

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None, max_examples=300)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXACT = Context(prec=60)
BEGIN, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

TOKENS = (
    "input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "cache_read_audio",
    "input_image", "input_video", "output_text", "output_reasoning", "output_audio", "output_image", "output_video",
)  # fmt: skip
OTHERS = ("input_audio_ms", "input_pages", "input_chars", "web_searches", "file_searches")
BUCKET_ORDER = (*TOKENS, *OTHERS)

CASES = [
    (provider, model, context)
    for provider in providers
    for model in provider.models
    for context in [{}, *(variant.when for variant in model.price_variants or [] if vars(variant.prices))]
]
BY_PROVIDER = {provider.id: [case for case in CASES if case[0] is provider] for provider in providers}


@cache
def rounded() -> frozenset[tuple[str, str, str]]:
    """Provider, model and bucket of the values that the report lists as rounded."""
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


def check(
    book: Book,
    provider: Any,
    model: Any,
    context: Mapping[str, str],
    usage: dict[str, int],
    instant: datetime,
) -> None:
    """One call, priced by both."""
    call = {
        "provider": provider.id,
        "model": model.id,
        "at_us": (instant - EPOCH) // MICROSECOND,
        "context": context,
    }
    cost = book.price(usage={**usage, "requests": 1}, **call)
    if context and not offered(model, context, instant):
        assert (cost["state"], cost.get("missing")) == (
            "unpriced",
            [bucket for bucket in BUCKET_ORDER if bucket in usage],
        )
        return
    fee = theirs(provider, model, {}, instant, context)
    free = TOKENS if model.id.endswith(":free") else ()
    no_price = {
        bucket
        for bucket in usage
        if bucket not in free and theirs(provider, model, {bucket: 10**9}, instant, context) == fee
    }
    assert set(cost.get("missing", ())) == no_price
    if no_price:
        return
    slack = sum(n for bucket, n in usage.items() if (provider.id, model.id, bucket) in rounded()) * Decimal("0.5e-12")
    difference = EXACT.subtract(Decimal(cost["total_usd"]), theirs(provider, model, usage, instant, context))
    assert abs(difference) <= slack


def offered(model: Any, context: Mapping[str, str], instant: datetime) -> bool:
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(instant))
        for variant in model.price_variants
        if vars(variant.prices)
    )


def conditions(model: Any) -> Iterator[Any]:
    for one in [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or [])]:
        if one.constraint is not None:
            yield one.constraint


@cache
def edges(model_key: int) -> tuple[list[datetime], list[timedelta], list[int]]:
    """A model's first days, minutes of day and sizes at which a price may change."""
    _, model, _ = CASES[model_key]
    days, times = [], []
    for one in conditions(model):
        if hasattr(one, "start_date"):
            days.append(datetime.combine(one.start_date, datetime.min.time(), UTC))
        else:
            times += [timedelta(hours=t.hour, minutes=t.minute) for t in (one.start_time, one.end_time)]
    sets = [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]
    sets += [variant.prices for variant in model.price_variants or []]
    sizes = {tier.start for each in sets for price in vars(each).values() for tier in getattr(price, "tiers", ())}
    return days, times, sorted(sizes)


@st.composite
def calls(draw: st.DrawFn) -> tuple[int, dict[str, int], datetime]:
    """A case by its place, a usage and an instant: at or beside the edges of the model's prices, or anywhere."""
    key = draw(st.integers(0, len(CASES) - 1))
    days, times, sizes = edges(key)
    some_day = st.integers(0, (END - BEGIN).days - 1).map(lambda day: BEGIN + timedelta(days=day))
    day = draw(st.sampled_from(days) | some_day if days else some_day)
    some_time = st.integers(0, 24 * 3600 * 10**6 - 1).map(lambda us: timedelta(microseconds=us))
    time = draw(st.sampled_from([timedelta(0), *times]) | some_time)
    instant = day + time + draw(st.sampled_from([-1, 0, 1])) * MICROSECOND
    usage = draw(st.dictionaries(st.sampled_from(TOKENS), st.integers(1, 10**6), min_size=1))
    if sizes:
        usage["input_uncached"] = draw(st.sampled_from(sizes)) + draw(st.sampled_from([-1, 0, 1]))
        for bucket in draw(st.sets(st.sampled_from(sorted(TIER_BUCKETS - {"input_uncached"})), max_size=2)):
            usage[bucket] = draw(st.integers(1, usage["input_uncached"] // 3))
            usage["input_uncached"] -= usage[bucket]
        usage = {bucket: n for bucket, n in usage.items() if bucket not in TIER_BUCKETS or bucket == "input_uncached"}
    if draw(st.booleans()):
        usage = {draw(st.sampled_from(OTHERS)): draw(st.integers(10_000, 10**6)), "output_text": 1}
    return key, usage, instant


@steady
@given(call=calls())
def test_the_same_cost_at_every_edge(list_only: Book, call: tuple[int, dict[str, int], datetime]) -> None:
    key, usage, instant = call
    check(list_only, *CASES[key], usage, instant)


@pytest.mark.parametrize("provider_id", sorted(BY_PROVIDER))
def test_the_same_cost_for_every_model_and_context(list_only: Book, provider_id: str) -> None:
    """Each once now and once somewhere in 2025 to 2027, with the buckets that its price set has."""
    draw = random.Random(provider_id)
    for provider, model, context in BY_PROVIDER[provider_id]:
        for instant in (datetime(2026, 11, 18, 12, tzinfo=UTC), BEGIN + draw.random() * (END - BEGIN)):
            priced = [bucket for bucket in BUCKET_ORDER if theirs(provider, model, {bucket: 10**9}, instant, context)]
            usage = {bucket: draw.randrange(10_000, 300_000) for bucket in priced or ("input_uncached",)}
            check(list_only, provider, model, context, usage, instant)


@pytest.mark.parametrize("provider_id", sorted(BY_PROVIDER))
def test_every_exact_name_of_the_list_means_what_it_means_there(shipped: Book, provider_id: str) -> None:
    """But for the names that the rules of ours give to another model, of the same provider."""
    provider = next(provider for provider in providers if provider.id == provider_id)
    moved = {("mistral", "mistral-large-latest")}
    for name in sorted({name for model in provider.models for name in exact_names(model.match)}):
        expected = provider.find_model(name, all_providers=providers)
        match = shipped.match(provider_id, name)
        assert expected is not None
        assert match is not None, name
        assert (match.provider, match.model) == (provider_id, expected.id) or (provider_id, name) in moved


def exact_names(clause: Any) -> Iterator[str]:
    if hasattr(clause, "equals"):
        yield clause.equals
    for part in getattr(clause, "or_", ()):
        yield from exact_names(part)


def test_the_corrections_change_just_these_models(list_only: Book, shipped: Book) -> None:
    days = [BEGIN + timedelta(days=day, hours=2) for day in range(0, 1090, 5)]
    instants = [(day - EPOCH) // MICROSECOND for day in days]
    changed = set()
    for provider, model, context in CASES:
        for instant in instants if provider.id in ("deepseek", "mistral", "google", "openai") else instants[-1:]:
            call = {"usage": {"input_uncached": 7, "output_text": 5}, "at_us": instant, "context": context}
            costs = [book.price(provider=provider.id, model=model.id, **call) for book in (list_only, shipped)]
            if costs[0].get("total_usd") != costs[1].get("total_usd"):
                changed.add((provider.id, model.id))
                break
    assert changed == {
        ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-flash"), ("deepseek", "deepseek-reasoner"),
        ("deepseek", "deepseek-v3.1-terminus"), ("deepseek", "deepseek-v3.2"), ("deepseek", "deepseek-v3.2-exp"),
        ("deepseek", "deepseek-v4-flash"), ("deepseek", "deepseek-v4-pro"),
        ("google", "gemma-3"), ("google", "gemma-3n"), ("google", "gemma-4-26b-a4b-it"), ("google", "gemma-4-31b-it"),
        ("openai", "moderation"),
    }  # fmt: skip
