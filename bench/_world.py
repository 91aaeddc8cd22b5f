"""A made-up year: who calls which models, when, with what usage.

Everything follows from a seed, by generators of ``random`` that are seeded a day each, so that days can be made in
any process and the bytes stay the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

FIRST_DAY = date(2025, 11, 1)
"""The year's first day.  It lies in the past of every release, for calls from the future are refused."""

DAYS = 365

USERS = 40
PROJECTS = 25
TEAMS = 6
COST_CENTERS = 8
PROMPTS = 30
FEATURES = 9

SESSION_CALLS_MEAN = 5
"""Calls of a session: at least one, else as an exponential distribution has them."""

REFUSED_OF_1000 = 20
UNANSWERED_OF_1000 = 6

DAY_US = 24 * 3600 * 1_000_000
WEEKEND_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class Model:
    """A model as calls name it, the share of sessions that use it, and how its usage objects are made."""

    provider: str
    model: str
    response_model: str
    response_id: str
    """How the provider's ids begin."""
    share: int
    usage: Callable[[random.Random], dict[str, Any]]


def tokens(draw: random.Random, typical: int) -> int:
    """A number of tokens: most near *typical*, a few many times larger, never 0."""
    return max(1, int(typical * draw.lognormvariate(0.0, 0.7)))


def _cached(draw: random.Random, prompt: int) -> int:
    """How many of a prompt's tokens were read from a cache: half of all calls miss, the others hit in steps of 128."""
    return prompt * draw.randrange(40, 95) // 100 // 128 * 128 if draw.random() < 0.5 else 0


def _openai(reasons: bool) -> Callable[[random.Random], dict[str, Any]]:
    def usage(draw: random.Random) -> dict[str, Any]:
        prompt, answer = tokens(draw, 2_400), tokens(draw, 300)
        reasoning = tokens(draw, 400) // 64 * 64 if reasons and draw.random() < 0.6 else 0
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer + reasoning,
            "total_tokens": prompt + answer + reasoning,
            "prompt_tokens_details": {"cached_tokens": _cached(draw, prompt), "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    return usage


def _anthropic(draw: random.Random) -> dict[str, Any]:
    prompt = tokens(draw, 3_200)
    read = _cached(draw, prompt)
    written = tokens(draw, 900) if draw.random() < 0.15 else 0
    return {
        "input_tokens": prompt - read,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens(draw, 350),
        "service_tier": "standard",
    }


def _google(draw: random.Random) -> dict[str, Any]:
    prompt, answer = tokens(draw, 2_800), tokens(draw, 320)
    thoughts = tokens(draw, 500) if draw.random() < 0.5 else 0
    usage: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "totalTokenCount": prompt + answer + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if cached := _cached(draw, prompt):
        usage["cachedContentTokenCount"] = cached
    return usage


def _plain(draw: random.Random) -> dict[str, Any]:
    prompt, answer = tokens(draw, 1_500), tokens(draw, 250)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _with_cost(draw: random.Random) -> dict[str, Any]:
    usage = _plain(draw)
    return usage | {"cost": round(usage["total_tokens"] * 4e-7, 9), "is_byok": False}


MODELS = (
    Model("openai", "gpt-5-mini", "gpt-5-mini-2025-08-07", "chatcmpl-", 26, _openai(True)),
    Model("openai", "gpt-5", "gpt-5-2025-08-07", "chatcmpl-", 12, _openai(True)),
    Model("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "chatcmpl-", 10, _openai(False)),
    Model("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "msg_01", 18, _anthropic),
    Model("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", "msg_01", 10, _anthropic),
    Model("google", "gemini-2.5-flash", "gemini-2.5-flash", "", 10, _google),
    Model("google", "gemini-2.5-pro", "gemini-2.5-pro", "", 5, _google),
    Model("mistral", "mistral-large-latest", "mistral-large-latest", "", 4, _plain),
    Model("x-ai", "grok-4", "grok-4-0709", "", 3, _plain),
    # Nobody prices these two: one says what it cost, the other does not.
    Model("openrouter", "example/in-house-model", "example/in-house-model", "gen-", 1, _with_cost),
    Model("openai", "in-house-model", "in-house-model", "chatcmpl-", 1, _plain),
)
"""No price of theirs changes within a day of the year, so a cost that was made once a day holds for that day."""

MODEL_SHARES = tuple(accumulate(model.share for model in MODELS))


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation: what all its calls have in common, and when each begins."""

    id: str
    run: str
    model: Model
    user: int
    project: int
    prompt: int
    starts_us: tuple[int, ...]
    """Begin of each call, in UTC microseconds."""


def calls_of_days(calls: int) -> list[int]:
    """How many of *calls* fall on each day of the year: fewer on weekends, as many in all."""
    weights = [WEEKEND_WEIGHT if (FIRST_DAY + timedelta(days=day)).weekday() >= 5 else 1.0 for day in range(DAYS)]
    total = sum(weights)
    bounds = [round(calls * part / total) for part in accumulate(weights)]
    return [bound - before for before, bound in zip([0, *bounds], bounds, strict=False)]


def sessions_of_day(draw: random.Random, day_us: int, calls: int) -> list[Session]:
    """Sessions with *calls* calls in all; none goes on beyond its day."""
    sessions = []
    left = calls
    while left:
        count = min(left, 1 + int(draw.expovariate(1 / (SESSION_CALLS_MEAN - 1))))
        left -= count
        gaps = [draw.randrange(2_000_000, 90_000_000) for _ in range(count)]
        hours = min(max(draw.gauss(13.0, 3.5), 0.1), 23.5)
        first = min(int(hours * 3_600_000_000), DAY_US - 1 - sum(gaps))
        starts = [day_us + max(first, 0) + offset for offset in accumulate(gaps[:-1], initial=0)]
        sessions.append(
            Session(
                id=f"{draw.getrandbits(32):08x}",
                run=new_uuid(draw, starts[0]),
                model=draw.choices(MODELS, cum_weights=MODEL_SHARES)[0],
                user=_skewed(draw, USERS),
                project=_skewed(draw, PROJECTS),
                prompt=_skewed(draw, PROMPTS),
                starts_us=tuple(starts),
            )
        )
    return sessions


def _skewed(draw: random.Random, count: int) -> int:
    """One of *count*, the first ones most often."""
    return int(count * draw.random() ** 2)


def new_uuid(draw: random.Random, instant_us: int) -> str:
    """A UUID of version 7 as keledger makes them, from the generator's own randomness."""
    digits = (
        f"{instant_us // 1000:012x}7{draw.getrandbits(12):03x}{8 | draw.getrandbits(2):x}{draw.getrandbits(60):015x}"
    )
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
