"""Names of providers, and the format of a usage object by its provider and its fields."""

from __future__ import annotations

from typing import Any

import pytest

from keledger.journal.usage import USAGE_FORMATS, detect_format, provider_name
from keledger.journal.usage._providers import PROVIDER_ALIASES


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("gemini", "google"),
        ("Gemini", "google"),
        ("vertex_ai", "google"),
        ("gcp.vertex_ai", "google"),
        ("xai", "x-ai"),
        ("x_ai", "x-ai"),
        ("x-ai", "x-ai"),
        ("bedrock", "aws"),
        ("aws.bedrock", "aws"),
        ("azure.ai.openai", "azure"),
        ("mistral_ai", "mistral"),
        ("together_ai", "together"),
        (" OpenAI ", "openai"),
        ("OpenAI", "openai"),
        ("groq", "groq"),
        ("Acme Labs", "acme labs"),
        ("", ""),
    ],
)
def test_a_provider_has_one_name(name: str, canonical: str) -> None:
    assert provider_name(name) == canonical
    assert provider_name(canonical) == canonical


def test_aliases_are_spelled_as_they_are_looked_up() -> None:
    for alias, canonical in PROVIDER_ALIASES.items():
        assert alias == alias.strip().lower()
        assert canonical not in PROVIDER_ALIASES


PAIR = {"input_tokens": 1, "output_tokens": 1}
CHAT = {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.parametrize(
    ("provider", "usage_raw", "usage_format"),
    [
        # The provider decides where the fields are shared.
        ("openai", CHAT, "openai.chat"),
        ("azure", CHAT, "openai.chat"),
        ("groq", CHAT, "openai.chat"),
        ("together", CHAT, "openai.chat"),
        ("mistral", CHAT, "mistral.chat"),
        ("deepseek", CHAT, "deepseek.chat"),
        ("xai", CHAT, "xai.chat"),
        ("cerebras", CHAT, "cerebras.chat"),
        ("openrouter", CHAT, "openrouter.chat"),
        ("openai", PAIR, "openai.responses"),
        ("azure", PAIR, "openai.responses"),
        ("anthropic", PAIR, "anthropic.messages"),
        ("anthropic", {**PAIR, "total_tokens": 2}, "anthropic.messages"),
        # The fields decide where the provider serves another's API.
        ("google", CHAT, "openai.chat"),
        ("vertex", {**PAIR, "cache_read_input_tokens": 0}, "anthropic.messages"),
        ("aws", PAIR, "anthropic.messages"),
        ("deepseek", {**PAIR, "cache_read_input_tokens": 0}, "anthropic.messages"),
        ("xai", {**PAIR, "cache_read_input_tokens": 0}, "anthropic.messages"),
        ("openrouter", {**PAIR, "total_tokens": 2}, "openai.responses"),
        ("openai", {**CHAT, "cost": 0.1, "cost_details": {}}, "openrouter.chat"),
        ("openai", {"prompt_tokens": 8, "total_tokens": 8}, "openai.embeddings"),
        ("openrouter", {"prompt_tokens": 8, "total_tokens": 8, "cost": 0.1}, "openrouter.chat"),
        # The fields alone suffice for a provider nobody knows.
        ("acme", CHAT, "openai.chat"),
        ("acme", {**CHAT, "prompt_cache_hit_tokens": 0}, "deepseek.chat"),
        ("acme", {**CHAT, "cost_in_usd_ticks": 5}, "xai.chat"),
        ("acme", {**CHAT, "is_byok": False}, "openrouter.chat"),
        ("acme", {**CHAT, "prompt_audio_seconds": None}, "mistral.chat"),
        ("acme", {"promptTokenCount": 1}, "gemini.generate_content"),
        ("acme", {"total_token_count": 1}, "gemini.generate_content"),
        ("acme", {**PAIR, "input_tokens_details": {}}, "openai.responses"),
        ("acme", {**PAIR, "cache_creation_input_tokens": 0}, "anthropic.messages"),
        ("acme", {"pages_processed": 3}, "mistral.ocr"),
        # A chat completion that repeats its counts in the other names is still one.
        ("acme", {**CHAT, "input_tokens": 0, "output_tokens": 0}, "openai.chat"),
        # Nothing to tell it by, or a mixture in which input_tokens may or may not include cached ones.
        ("openai", {}, None),
        ("acme", {"tokens": 5}, None),
        ("acme", {"usage": CHAT}, None),
        ("acme", {**PAIR, "cache_read_input_tokens": 5, "total_tokens": 7}, None),
    ],
)
def test_the_format_of_a_usage_object(provider: str, usage_raw: dict[str, Any], usage_format: str | None) -> None:
    assert detect_format(provider, usage_raw) == usage_format
    assert usage_format is None or usage_format in USAGE_FORMATS
