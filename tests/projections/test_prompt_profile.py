"""The tokens of a prompt's calls, held against a plain count over the calls that were recorded."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from typing import Any

import pytest

from keledger.journal import Home, Ledger, NotFound
from keledger.projections import called_providers, open_projection, prompt_profiles, token_ratio

MODELS = (("openai", "gpt-5-mini"), ("anthropic", "claude-haiku-4-5"))


def made_up_calls(number: int) -> list[dict[str, Any]]:
    """Calls of two prompts and two versions on two models, with and without a cache and reasoning."""
    chance = random.Random(7)
    calls = []
    for place in range(number):
        provider, model = MODELS[chance.random() < 0.3]
        usage = {"input_uncached": chance.randrange(1, 5000), "output_text": chance.randrange(1, 900)}
        if chance.random() < 0.5:
            usage |= {"cache_read": chance.randrange(1, 3000), "output_reasoning": chance.randrange(1, 400)}
        if chance.random() < 0.2:
            usage["cache_write_5m"] = chance.randrange(1, 500)
        calls.append(
            {
                "id": str(place),
                "provider": provider,
                "model": model,
                "prompt": chance.choice(["summarize", "triage"]),
                "prompt_version": chance.choice(["1", "2"]),
                "usage": usage,
                "time": "2026-11-20T10:00:00Z",
            }
        )
    return calls


def quantile(counts: list[int], share: float) -> int:
    """The least count that at least this share of all do not exceed."""
    return sorted(counts)[math.ceil(share * len(counts)) - 1]


def by_hand(calls: list[dict[str, Any]], prompt: str, version: str | None) -> dict[tuple[str, str], dict[str, int]]:
    usages = defaultdict(list)
    for call in calls:
        if call["prompt"] == prompt and version in (None, call["prompt_version"]):
            usages[call["provider"], call["model"]].append(call["usage"])
    found = {}
    for key, of_model in usages.items():
        inputs = [sum(usage.get(name, 0) for name in ("input_uncached", "cache_read", "cache_write_5m"))
                  for usage in of_model]  # fmt: skip
        outputs = [usage["output_text"] + usage.get("output_reasoning", 0) for usage in of_model]
        found[key] = {
            "calls": len(of_model),
            "input_p50": quantile(inputs, 0.5),
            "input_p90": quantile(inputs, 0.9),
            "output_p50": quantile(outputs, 0.5),
            "output_p90": quantile(outputs, 0.9),
            "input_total": sum(inputs),
            "cache_read_total": sum(usage.get("cache_read", 0) for usage in of_model),
            "cache_write_total": sum(usage.get("cache_write_5m", 0) for usage in of_model),
            "output_total": sum(outputs),
            "reasoning_total": sum(usage.get("output_reasoning", 0) for usage in of_model),
        }
    return found


@pytest.mark.parametrize("version", [None, "1"])
@pytest.mark.parametrize("number", [1, 2, 11, 60])
def test_a_profile_is_a_count_over_the_calls(home: Home, number: int, version: str | None) -> None:
    calls = [call | {"prompt": "summarize", "prompt_version": "1"} for call in made_up_calls(1)]
    calls += made_up_calls(number)[1:]
    with Ledger.open(home.path) as ledger:
        ledger.record_many(calls)
    with open_projection(home) as projection:
        profiles = prompt_profiles(projection, "summarize", version)
    told = {
        (profile.provider, profile.model): {name: getattr(profile, name) for name in next(iter(hand.values()))}
        for hand in [by_hand(calls, "summarize", version)]
        for profile in profiles
    }
    assert told == by_hand(calls, "summarize", version)
    assert [profile.calls for profile in profiles] == sorted((profile.calls for profile in profiles), reverse=True)


def test_what_was_not_answered_tells_nothing_of_a_prompt(home: Home) -> None:
    given = {"provider": "openai", "model": "gpt-5-mini", "prompt": "broken", "time": "2026-11-20T10:00:00Z"}
    with Ledger.open(home.path) as ledger:
        ledger.record_many([given | {"status": "unknown"}, given | {"status": "error", "http_status": 429}])
    with (
        open_projection(home) as projection,
        pytest.raises(NotFound, match="no call of the prompt broken was answered"),
    ):
        prompt_profiles(projection, "broken")


def test_a_prompt_that_was_never_called_names_those_like_it(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record_many(made_up_calls(20))
    with open_projection(home) as projection:
        with pytest.raises(NotFound, match=r"no call of a prompt sumarize yet: did you mean summarize\?"):
            prompt_profiles(projection, "sumarize")
        with pytest.raises(NotFound, match="give --input-tokens") as raised:
            prompt_profiles(projection, "xyzzy")
        assert "did you mean" not in str(raised.value)
        with pytest.raises(NotFound, match="in version 3: there is 1, 2"):
            prompt_profiles(projection, "summarize", "3")
        assert called_providers(projection) == ["anthropic", "openai"]


def test_a_ratio_is_that_of_the_tokenizers() -> None:
    assert token_ratio("gpt-5-mini", "gpt-5") == (10_000, 10_000)
    least, most = token_ratio("gpt-5-mini", "claude-sonnet-4-5")
    assert least < most
