"""What a name means, and that nothing is guessed."""

from __future__ import annotations

import pytest

from keledger.journal.prices import Book
from keledger.journal.usage._providers import PROVIDER_ALIASES

FOUND = [
    # asked as, found as, by which rule
    ("openai", "gpt-5", "openai", "gpt-5", "is gpt-5"),
    ("OpenAI", " GPT-5 ", "openai", "gpt-5", "is gpt-5"),
    ("openai", "gpt-5-2025-08-07", "openai", "gpt-5", "is gpt-5-2025-08-07"),
    ("openai", "gpt-5-20250807", "openai", "gpt-5", "is gpt-5-2025-08-07"),
    ("openai", "openai/gpt-5-mini", "openai", "gpt-5-mini", "is gpt-5-mini, without openai/"),
    ("openai", "gpt-4o-2024-05-13", "openai", "gpt-4o-2024-05-13", "is gpt-4o-2024-05-13"),
    ("litellm", "gemini/gemini-2.5-flash", "google", "gemini-2.5-flash", "is gemini-2.5-flash"),
    ("", "openai/gpt-5", "openai", "gpt-5", "is gpt-5"),
    (
        "gemini",
        "models/gemini-2.5-flash",
        "google",
        "gemini-2.5-flash",
        "is gemini-2.5-flash, without models/",
    ),
    ("vertex_ai", "gemini-2.5-pro-preview-06-05", "google", "gemini-2.5-pro", "starts with gemini-2.5-pro"),
    ("google", "gemini-1.5-flash-002", "google", "gemini-1.5-flash", "contains gemini-1.5-flash"),
    ("google", "gemini-1.5-flash-8b", "google", "gemini-1.5-flash-8b", "starts with gemini-1.5-flash-8b"),
    ("google", "gemini-1.5-flash-8b-001", "google", "gemini-1.5-flash-8b", "starts with gemini-1.5-flash-8b"),
    ("google", "gemini-2.0-flash-001", "google", "gemini-2.0-flash", "contains gemini-2.0-flash-0"),
    ("anthropic", "claude-opus-4-1-20250805", "anthropic", "claude-opus-4-1", "starts with claude-opus-4-1"),
    (
        "anthropic",
        "claude-sonnet-4-20250514",
        "anthropic",
        "claude-sonnet-4-0",
        "starts with claude-sonnet-4-2025",
    ),
    (
        "anthropic",
        "anthropic/claude-haiku-4.5",
        "anthropic",
        "claude-haiku-4-5",
        "starts with claude-haiku-4.5, without anthropic/",
    ),
    (
        "bedrock",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "aws",
        "regional.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "contains claude-3-5-sonnet-20241022",
    ),
    (
        "bedrock",
        "bedrock/eu.anthropic.claude-opus-4-6-v1",
        "aws",
        "regional.anthropic.claude-opus-4-6-v1:0",
        "contains eu.anthropic.claude-opus-4-6",
    ),
    ("aws", "amazon.nova-lite-v1:0:300k", "aws", "amazon.nova-lite-v1:0", "contains amazon.nova-lite"),
    ("azure", "gpt-4o", "openai", "gpt-4o", "is gpt-4o, which azure has from openai"),
    ("azure", "azure/gpt-4o", "openai", "gpt-4o", "is gpt-4o, which azure has from openai, without azure/"),
    ("azure_openai", "o4-mini-2025-04-16", "azure", "o4-mini", "contains o4-mini"),
    (
        "vertex_ai",
        "claude-fable-5-1-20260901",
        "anthropic",
        "claude-fable-5-1",
        "starts with claude-fable-5-1, which google has from anthropic",
    ),
    ("xai", "grok-4.7-latest", "x-ai", "grok-4.7", "is grok-4.7-latest"),
    ("mistral", "mistral-large-latest", "mistral", "mistral-large-latest", "is mistral-large-latest"),
    ("mistral", "mistral-large-2411", "mistral", "mistral-large", "is mistral-large-2411"),
    (
        "deepseek",
        "deepseek-v4-flash-vision-exp",
        "deepseek",
        "deepseek-v4-flash-vision-exp",
        "is deepseek-v4-flash-vision-exp",
    ),
    ("openrouter", "openai/gpt-5", "openrouter", "openai/gpt-5", "is openai/gpt-5"),
    (
        "openrouter",
        "openrouter/openai/gpt-5",
        "openrouter",
        "openai/gpt-5",
        "is openai/gpt-5, without openrouter/",
    ),
    ("minimax", "MiniMax-M2.1-highspeed", "minimax", "MiniMax-M2.1-highspeed", "is minimax-m2.1-highspeed"),
    ("fireworks", "deepseek-v4-pro", "fireworks", "deepseek-v4-pro", "is deepseek-v4-pro"),
]


@pytest.mark.parametrize(("provider", "model", "found_provider", "found_model", "rule"), FOUND)
def test_a_name_means_one_model_by_a_rule_that_is_told(
    shipped: Book, provider: str, model: str, found_provider: str, found_model: str, rule: str
) -> None:
    match = shipped.match(provider, model)
    assert match is not None
    assert (match.provider, match.model, match.rule) == (found_provider, found_model, rule)


MISSED = [
    # A shorter name has a price; none of these is that model.
    ("openai", "gpt-5-turbo-9000"),
    ("openai", "gpt-5-mini-2027-01-01"),
    ("openai", "gpt-7"),
    ("openai", "gpt"),
    ("google", "gemini-3.8-flash-cyber"),
    ("google", "gemini-2.0-flash-exp-image-generation"),
    ("google", "gemini-2.5-pro-hd-tts"),
    ("google", "my-gemini-1.5-pro"),
    ("anthropic", "claude-opus-9"),
    ("anthropic", "claude-opus-4-15"),
    ("anthropic", "claude-opus-4-8-5"),
    ("anthropic", "claude-3-opus-mini"),
    ("deepseek", "deepseek-r1-distill-llama-70b"),
    ("deepseek", "deepseek-v4-flash-lite"),
    ("openrouter", "openai/gpt-5:free"),
    ("openrouter", "openai/gpt-5:online"),
    ("aws", "amazon.nova-lite-v1:0:300k-turbo"),
    # The model has a price, of another provider.
    ("openai", "claude-opus-4-1"),
    ("openai", "anthropic/claude-opus-4-1"),
    ("my-openai-proxy", "gpt-5"),
    ("", "gpt-5"),
    # No names at all.
    ("openai", ""),
    ("", ""),
    ("openai", "models/"),
    ("openai", "openai/"),
    ("openai", "gpt-5\ud800"),
    ("openai", 'gpt-5","context":"'),
]


@pytest.mark.parametrize(("provider", "model"), MISSED)
def test_what_no_rule_names_is_a_miss_and_unpriced(shipped: Book, provider: str, model: str) -> None:
    assert shipped.match(provider, model) is None
    cost = shipped.price(provider=provider, model=model, usage={"output_text": 1}, at_us=0, context={})
    assert (cost["state"], cost["missing"], "matched" in cost) == ("unpriced", ["output_text"], False)


ONE_MODEL = {
    "anthropic": "claude-opus-5",
    "aws": "amazon.nova-lite-v1:0",
    "azure": "gpt-4o",
    "cerebras": "gpt-oss-120b",
    "deepseek": "deepseek-flash",
    "fireworks": "kimi-k3",
    "github-copilot": "gpt-5-mini",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-large-2512",
    "moonshotai": "kimi-k2.6",
    "openrouter": "openai/gpt-5",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "x-ai": "grok-4.7",
}


@pytest.mark.parametrize("alias", sorted(PROVIDER_ALIASES))
def test_a_provider_has_the_same_other_names_as_in_usage(shipped: Book, alias: str) -> None:
    provider = PROVIDER_ALIASES[alias]
    match = shipped.match(alias, ONE_MODEL[provider])
    assert match is not None
    assert match == shipped.match(provider, ONE_MODEL[provider])


def test_azure_does_not_take_a_dearer_model_for_the_one_its_name_begins_with(shipped: Book) -> None:
    match = shipped.match("azure", "o4-mini-deep-research")
    assert match is not None
    assert (match.provider, match.model) == ("openai", "o4-mini-deep-research")


def test_a_long_name_makes_no_long_rule(shipped: Book) -> None:
    name = "publishers/anthropic/models/" * 20 + "gemini-2.5-flash"
    cost = shipped.price(provider="google", model=name, usage={"output_text": 1}, at_us=0, context={})
    assert cost["matched"]["model"] == "gemini-2.5-flash"
    assert len(cost["matched"]["rule"].encode()) == 256
