"""Prices of well-known models, looked up by hand: the price data is checked by more than itself.

The figures of the providers' own price pages, compared on 2026-11-21 with the model map of litellm 1.109.1 and the
dated history of model-prices 0.0.5, one of which at least has the same.  The day in the table is the one priced for.
"""

from __future__ import annotations

import pytest

from keledger.journal._time import parse_time
from keledger.journal.prices import Book

OPENAI = "developers.openai.com/api/docs/pricing"
ANTHROPIC = "platform.claude.com/docs/en/about-claude/pricing"
GOOGLE = "ai.google.dev/gemini-api/docs/pricing"
MISTRAL = "mistral.ai/pricing/api"
DEEPSEEK = "api-docs.deepseek.com/quick_start/pricing"

TEXT = ("input_uncached", "cache_read", "output_text")
WRITES = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_text")

PRICES = [
    # provider, model, at, buckets, USD per million, source
    ("openai", "gpt-4o-2024-08-06", "2026-03-15", TEXT, "2.5 1.25 10", OPENAI),
    ("openai", "gpt-4o-2024-05-13", "2026-03-15", ("input_uncached", "output_text"), "5 15", OPENAI),
    ("openai", "gpt-4o-mini", "2026-03-15", TEXT, "0.15 0.075 0.6", OPENAI),
    ("openai", "gpt-4.1", "2026-03-15", TEXT, "2 0.5 8", OPENAI),
    ("openai", "gpt-4.1-mini", "2026-03-15", TEXT, "0.4 0.1 1.6", OPENAI),
    ("openai", "gpt-4.1-nano", "2026-03-15", TEXT, "0.1 0.025 0.4", OPENAI),
    ("openai", "o3", "2026-03-15", TEXT, "2 0.5 8", OPENAI),
    ("openai", "o4-mini", "2026-03-15", TEXT, "1.1 0.275 4.4", OPENAI),
    ("openai", "gpt-5", "2026-03-15", TEXT, "1.25 0.125 10", OPENAI),
    ("openai", "gpt-5-mini", "2026-03-15", TEXT, "0.25 0.025 2", OPENAI),
    ("openai", "gpt-5-nano", "2026-03-15", TEXT, "0.05 0.005 0.4", OPENAI),
    ("anthropic", "claude-3-5-haiku-20241022", "2026-03-15", WRITES, "0.8 0.08 1 1.6 4", ANTHROPIC),
    ("anthropic", "claude-sonnet-4-20250514", "2026-03-15", WRITES, "3 0.3 3.75 6 15", ANTHROPIC),
    ("anthropic", "claude-opus-4-1-20250805", "2026-03-15", WRITES, "15 1.5 18.75 30 75", ANTHROPIC),
    ("anthropic", "claude-haiku-4-5-20251001", "2026-03-15", WRITES, "1 0.1 1.25 2 5", ANTHROPIC),
    ("anthropic", "claude-opus-4-5-20251101", "2026-03-15", WRITES, "5 0.5 6.25 10 25", ANTHROPIC),
    ("google", "gemini-2.5-pro", "2026-03-15", TEXT, "1.25 0.125 10", GOOGLE + ", up to 200k"),
    ("google", "gemini-2.5-flash", "2026-03-15", (*TEXT, "input_audio"), "0.3 0.03 2.5 1", GOOGLE),
    ("google", "gemini-2.5-flash-lite", "2026-03-15", (*TEXT, "input_audio"), "0.1 0.01 0.4 0.3", GOOGLE),
    ("google", "gemini-1.5-flash-8b", "2025-07-01", TEXT, "0.0375 0.01 0.15", GOOGLE + ", up to 128k, 2025"),
    ("mistral", "mistral-large-latest", "2025-11-01", ("input_uncached", "output_text"), "2 6", MISTRAL + ", 2025"),
    ("mistral", "mistral-large-latest", "2026-10-15", TEXT, "0.5 0.05 1.5", MISTRAL),
    ("mistral", "codestral-2508", "2026-10-15", TEXT, "0.3 0.03 0.9", MISTRAL),
    ("x-ai", "grok-4", "2026-03-15", TEXT, "3 0.75 15", "docs.x.ai/docs/models"),
    ("x-ai", "grok-3-mini", "2026-03-15", TEXT, "0.3 0.075 0.5", "docs.x.ai/docs/models"),
    ("cohere", "command-r-08-2024", "2026-03-15", ("input_uncached", "output_text"), "0.15 0.6", "cohere.com/pricing"),
    ("openai", "omni-moderation-latest", "2026-03-15", TEXT, "0 0 0", "developers.openai.com/api/docs/models"),
]  # fmt: skip


def prices_at(book: Book, provider: str, model: str, instant: str, buckets: tuple[str, ...]) -> list[str | None]:
    cost = book.price(
        provider=provider, model=model, usage=dict.fromkeys(buckets, 1), at_us=parse_time(instant), context={}
    )
    by_bucket = {line["bucket"]: line.get("usd_per_million") for line in cost["lines"]}
    return [by_bucket[bucket] for bucket in buckets]


@pytest.mark.parametrize(("provider", "model", "day", "buckets", "usd", "source"), PRICES)
def test_a_well_known_price(
    shipped: Book, provider: str, model: str, day: str, buckets: tuple[str, ...], usd: str, source: str
) -> None:
    assert prices_at(shipped, provider, model, f"{day}T12:00:00Z", buckets) == usd.split(), source


def test_gemini_2_5_pro_costs_more_above_200k(shipped: Book) -> None:
    call = {
        "provider": "google",
        "model": "gemini-2.5-pro",
        "at_us": parse_time("2026-03-15T12:00:00Z"),
        "context": {},
    }
    totals = [shipped.price(usage={"input_uncached": size}, **call)["total_usd"] for size in (200_000, 200_001)]
    assert totals == ["0.25", "0.5000025"]


CHAT, REASONER, FLASH, PRO = "deepseek-chat", "deepseek-reasoner", "deepseek-flash", "deepseek-v4-pro"

DEEPSEEK_HISTORY = [
    # The names moved from model to model, and hours, weekdays and holidays count: see each correction's source.
    (CHAT, "2025-02-08T15:59:59.999999Z", "0.14 0.014 0.28"),
    (CHAT, "2025-02-08T16:00:00Z", "0.27 0.07 1.1"),
    (CHAT, "2025-02-26T16:29:59.999999Z", "0.27 0.07 1.1"),
    (CHAT, "2025-02-26T16:30:00Z", "0.135 0.035 0.55"),
    (CHAT, "2025-06-15T00:29:59.999999Z", "0.135 0.035 0.55"),
    (CHAT, "2025-06-15T00:30:00Z", "0.27 0.07 1.1"),
    (REASONER, "2025-06-15T12:00:00Z", "0.55 0.14 2.19"),
    (REASONER, "2025-06-15T17:00:00Z", "0.135 0.035 0.55"),
    (REASONER, "2025-09-05T16:00:00Z", "0.56 0.07 1.68"),
    (CHAT, "2025-09-05T17:00:00Z", "0.56 0.07 1.68"),
    (CHAT, "2026-01-15T02:00:00Z", "0.28 0.028 0.42"),
    (CHAT, "2026-07-01T02:00:00Z", "0.14 0.0028 0.28"),
    (CHAT, "2026-07-24T15:59:00Z", None),
    (PRO, "2026-07-01T02:00:00Z", "0.435 0.003625 0.87"),
    (PRO, "2026-08-16T15:59:59.999999Z", "0.435 0.003625 0.87"),
    (PRO, "2026-08-16T16:00:00Z", "0.66 0.022 1.98"),
    (PRO, "2026-08-17T01:00:00Z", "1.32 0.044 3.96"),
    (PRO, "2026-08-22T01:30:00Z", "1.32 0.044 3.96"),  # a Saturday, before weekends were spared
    (PRO, "2026-08-23T01:30:00Z", "0.66 0.022 1.98"),  # a Sunday
    (PRO, "2026-11-18T05:00:00Z", "0.66 0.022 1.98"),  # between the peaks
    (PRO, "2026-11-18T09:59:59.999999Z", "1.32 0.044 3.96"),
    (FLASH, "2026-09-24T02:00:00Z", "0.3 0.006 1.2"),
    (FLASH, "2026-09-25T02:00:00Z", "0.15 0.003 0.6"),  # the Mid-Autumn Festival, a Friday
    (FLASH, "2026-10-07T02:00:00Z", "0.15 0.003 0.6"),  # the National Day week
    (FLASH, "2026-10-08T02:00:00Z", "0.3 0.006 1.2"),
    ("deepseek-v4-flash", "2026-09-10T03:59:59.999999Z", "0.44 0.014 1.32"),
    ("deepseek-v4-flash", "2026-09-10T04:00:00Z", "0.15 0.003 0.6"),
    ("deepseek-v4-flash-vision-exp", "2026-11-21T02:00:00Z", "0.15 0.003 0.6"),  # a Saturday
]


@pytest.mark.parametrize(("model", "instant", "usd"), DEEPSEEK_HISTORY)
def test_what_deepseek_asked_at_an_hour(shipped: Book, model: str, instant: str, usd: str | None) -> None:
    expected = [None, None, None] if usd is None else usd.split()
    assert prices_at(shipped, "deepseek", model, instant, TEXT) == expected
