"""The normaliser against genai-prices' ``extract_usage``, and against the buckets an object was made of.

Hypothesis draws buckets, writes them as each provider would, and expects the same buckets back.  What
genai-prices reads of the same object must agree: its totals, and each part it knows.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from genai_prices import extract_usage
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.usage import normalize, token_totals

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))["case"]

# Provider and flavour of genai-prices by usage format.  It has no snake_case Gemini.
FLAVOURS = {
    "anthropic.messages": ("anthropic", "default"),
    "cerebras.chat": ("cerebras", "chat"),
    "deepseek.chat": ("deepseek", "chat"),
    "gemini.generate_content": ("google", "default"),
    "mistral.chat": ("mistral", "default"),
    "mistral.ocr": ("mistral", "ocr"),
    "openai.chat": ("openai", "chat"),
    "openai.embeddings": ("openai", "embeddings"),
    "openai.responses": ("openai", "responses"),
    "openrouter.chat": ("openrouter", "chat"),
    "xai.chat": ("x-ai", "chat"),
}
ROOTS = {"gemini.generate_content": "usageMetadata", "mistral.ocr": "usage_info"}

# What each of genai-prices' inclusive counts is in disjoint buckets.
PARTS = {
    "cache_read_tokens": ("cache_read", "cache_read_audio"),
    "cache_write_tokens": ("cache_write_5m", "cache_write_1h"),
    "cache_write_5m_tokens": ("cache_write_5m",),
    "cache_write_1h_tokens": ("cache_write_1h",),
    "cache_audio_read_tokens": ("cache_read_audio",),
    "input_audio_tokens": ("input_audio", "cache_read_audio"),
    "output_reasoning_tokens": ("output_reasoning",),
    "output_audio_tokens": ("output_audio",),
    "output_image_tokens": ("output_image",),
    "output_video_tokens": ("output_video",),
    "input_image_tokens": ("input_image",),
    "input_video_tokens": ("input_video",),
    "web_searches": ("web_searches",),
    "input_document_pages": ("input_pages",),
}

# What genai-prices 0.2.3 does not read although the provider documents it (cases.toml has the sources).
# The totals agree all the same; only the split is finer here.
_FINER_INPUT = {"input_image_tokens", "input_video_tokens", "cache_audio_read_tokens"}
NEVER_READ = {
    "anthropic.messages": {"cache_write_5m_tokens"},  # only where the object splits by time to live
    "cerebras.chat": {"cache_read_tokens"},
    "openai.chat": {"cache_write_5m_tokens"} | _FINER_INPUT,
    "openai.responses": {
        "cache_write_5m_tokens",
        "input_audio_tokens",
        "input_image_tokens",
        "output_image_tokens",
        "web_searches",
    },
    "openrouter.chat": {"cache_write_5m_tokens", "web_searches"} | _FINER_INPUT,
}


def extracted(raw: Mapping[str, object], usage_format: str) -> dict[str, int]:
    """Return what genai-prices reads of a usage object, without what it would infer from that."""
    provider, flavour = FLAVOURS[usage_format]
    response = {ROOTS.get(usage_format, "usage"): raw}
    return dict(vars(extract_usage(response, provider_id=provider, api_flavor=flavour).usage))


def counted(raw: Mapping[str, object], usage_format: str) -> dict[str, int]:
    """Return our count in genai-prices' inclusive terms."""
    usage = normalize(raw, usage_format).usage
    totals = token_totals(usage)
    parts = {part: sum(usage.get(bucket, 0) for bucket in buckets) for part, buckets in PARTS.items()}
    return {"input_tokens": totals.input_tokens, "output_tokens": totals.output_tokens, **parts}


def differences(raw: Mapping[str, object], usage_format: str) -> dict[str, tuple[int, int]]:
    """Return genai-prices' count and ours wherever it has one and they differ."""
    theirs, ours = extracted(raw, usage_format), counted(raw, usage_format)
    # Cached images and videos have no bucket of their own, so theirs are taken off.
    for kind in ("image", "video"):
        if f"input_{kind}_tokens" in theirs:
            theirs[f"input_{kind}_tokens"] -= theirs.get(f"cache_{kind}_read_tokens", 0)
    return {name: (theirs[name], n) for name, n in ours.items() if name in theirs and theirs[name] != n}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_table_agrees_but_where_it_says_why(case: dict[str, Any]) -> None:
    raw = json.loads(case["raw"])
    try:
        theirs = extracted(raw, case["format"])
    except ValueError:
        assert "genai" in case
        return
    ours = counted(raw, case["format"])
    unread = {name for name, number in ours.items() if number and name not in theirs}
    agrees = not differences(raw, case["format"]) and not unread - NEVER_READ.get(case["format"], set())
    assert agrees == ("genai" not in case)


counts = st.one_of(st.just(0), st.integers(1, 3_000_000))
Drawn = tuple[dict[str, Any], dict[str, int]]


def drawn_buckets(*names: str) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries(dict.fromkeys(names, counts))


def total_of(buckets: Mapping[str, int], side: str) -> int:
    sides = ("input", "cache") if side == "input" else ("output",)
    return sum(n for name, n in buckets.items() if name.startswith(sides) and name != "input_audio_ms")


def chat(
    *names: str,
    reasoning_apart: bool = False,
    more: Callable[[dict[str, int]], dict[str, Any]] = lambda b: {},
) -> st.SearchStrategy[Drawn]:
    """Draw buckets and write them as chat completions do."""

    def write(b: dict[str, int]) -> Drawn:
        read, reasoning = b.get("cache_read", 0), b.get("output_reasoning", 0)
        prompt, output = total_of(b, "input"), total_of(b, "output")
        prompt_details = {"cached_tokens": read, "audio_tokens": b.get("input_audio", 0)}
        if "cache_write_5m" in b:
            prompt_details["cache_write_tokens"] = b["cache_write_5m"]
        raw = {
            "prompt_tokens": prompt,
            "completion_tokens": output - reasoning if reasoning_apart else output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": prompt_details,
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": b.get("output_audio", 0),
            },
        }
        return {**raw, **more(b)}, b

    return drawn_buckets("input_uncached", "output_text", "output_reasoning", *names).map(write)


def responses() -> st.SearchStrategy[Drawn]:
    def write(b: dict[str, int]) -> Drawn:
        whole, output = total_of(b, "input"), total_of(b, "output")
        return {
            "input_tokens": whole,
            "input_tokens_details": {
                "cached_tokens": b["cache_read"],
                "cache_write_tokens": b["cache_write_5m"],
            },
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": b["output_reasoning"]},
            "total_tokens": whole + output,
        }, b

    names = ("input_uncached", "cache_read", "cache_write_5m", "output_text", "output_reasoning")
    return drawn_buckets(*names).map(write)


def anthropic() -> st.SearchStrategy[Drawn]:
    def write(b: dict[str, int]) -> Drawn:
        return {
            "input_tokens": b["input_uncached"],
            "cache_read_input_tokens": b["cache_read"],
            "cache_creation_input_tokens": b["cache_write_5m"] + b["cache_write_1h"],
            "cache_creation": {
                "ephemeral_5m_input_tokens": b["cache_write_5m"],
                "ephemeral_1h_input_tokens": b["cache_write_1h"],
            },
            "output_tokens": total_of(b, "output"),
            "output_tokens_details": {"thinking_tokens": b["output_reasoning"]},
            "server_tool_use": {"web_search_requests": b["web_searches"]},
        }, b

    return drawn_buckets(
        "input_uncached",
        "cache_read",
        "cache_write_5m",
        "cache_write_1h",
        "output_text",
        "output_reasoning",
        "web_searches",
    ).map(write)


def gemini() -> st.SearchStrategy[Drawn]:
    """Draw Gemini's counts by modality; cached images and videos fall into ``cache_read``."""

    def details(**parts: int) -> list[dict[str, object]]:
        return [{"modality": name.upper(), "tokenCount": number} for name, number in parts.items() if number]

    def write(drawn: tuple[dict[str, int], dict[str, int], int]) -> Drawn:
        b, cached, tool = drawn
        whole = total_of(b, "input") + sum(cached.values())
        candidates = total_of(b, "output") - b["output_reasoning"]
        raw = {
            "promptTokenCount": whole,
            "cachedContentTokenCount": sum(cached.values()),
            "candidatesTokenCount": candidates,
            "thoughtsTokenCount": b["output_reasoning"],
            "toolUsePromptTokenCount": tool,
            "totalTokenCount": whole + tool + candidates + b["output_reasoning"],
            "promptTokensDetails": details(
                text=b["input_uncached"] + cached["text"],
                audio=b["input_audio"] + cached["audio"],
                image=b["input_image"] + cached["image"],
                video=b["input_video"] + cached["video"],
            ),
            "cacheTokensDetails": details(**cached),
            "candidatesTokensDetails": details(
                text=b["output_text"],
                audio=b["output_audio"],
                image=b["output_image"],
                video=b["output_video"],
            ),
        }
        cache_read = cached["text"] + cached["image"] + cached["video"]
        expected = {"input_uncached": b["input_uncached"] + tool, "cache_read": cache_read}
        return raw, {**b, **expected, "cache_read_audio": cached["audio"]}

    buckets = drawn_buckets(
        "input_uncached",
        "input_audio",
        "input_image",
        "input_video",
        "output_text",
        "output_reasoning",
        "output_audio",
        "output_image",
        "output_video",
    )
    return st.tuples(buckets, drawn_buckets("text", "audio", "image", "video"), counts).map(write)


STRATEGIES: dict[str, st.SearchStrategy[Drawn]] = {
    "anthropic.messages": anthropic(),
    "cerebras.chat": chat("cache_read"),
    "deepseek.chat": chat(
        "cache_read",
        more=lambda b: {
            "prompt_cache_hit_tokens": b["cache_read"],
            "prompt_cache_miss_tokens": b["input_uncached"],
        },
    ),
    "gemini.generate_content": gemini(),
    "mistral.chat": chat("cache_read"),
    "mistral.ocr": drawn_buckets("input_pages").map(lambda b: ({"pages_processed": b["input_pages"]}, b)),
    "openai.chat": chat("cache_read", "cache_write_5m", "input_audio", "output_audio"),
    "openai.embeddings": drawn_buckets("input_uncached").map(
        lambda b: ({"prompt_tokens": b["input_uncached"], "total_tokens": b["input_uncached"]}, b)
    ),
    "openai.responses": responses(),
    "openrouter.chat": chat("cache_read", "cache_write_5m", "input_audio", "output_audio"),
    "xai.chat": chat("cache_read", "output_audio", reasoning_apart=True),
}


@pytest.mark.parametrize("usage_format", sorted(STRATEGIES))
@steady
@given(data=st.data())
def test_buckets_written_as_a_provider_does_come_back(usage_format: str, data: st.DataObject) -> None:
    raw, buckets = data.draw(STRATEGIES[usage_format])
    found = normalize(raw, usage_format)
    assert found.usage == {**{name: n for name, n in buckets.items() if n}, "requests": 1}
    assert found.notes == ()
    assert differences(raw, usage_format) == {}
