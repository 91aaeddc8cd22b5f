"""What is taken for granted of a model before a call of it was seen."""

from __future__ import annotations

import pytest

from keledger.journal._tokenizers import load_tokenizers
from keledger.journal.estimates._families import load_priors, prior_of


@pytest.mark.parametrize(
    ("provider", "model", "name", "exact"),
    [
        ("openai", "gpt-5", "gpt-5 and o", True),
        ("openrouter", "openai/gpt-5-mini-2025-08-07", "gpt-5 and o", True),
        ("azure", "gpt-5.1-chat-latest", "gpt-5.1", True),
        ("openai", "o3-mini", "gpt-5 and o", True),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o and 4.1", True),
        ("openai", "ft:gpt-4.1-mini:org::id", "gpt-4o and 4.1", True),
        ("openai", "gpt-4-turbo", "gpt-4 and 3.5", True),
        ("openai", "gpt-3.5-turbo-0125", "gpt-4 and 3.5", True),
        ("openai", "text-embedding-3-large", "embeddings", True),
        ("groq", "openai/gpt-oss-120b", "gpt-oss", True),
        ("openai", "gpt-6-astra", "other gpt and o", False),
        ("openai", "codex-mini-latest", "other gpt and o", False),
        ("openai", "o5", "other gpt and o", False),
        ("OpenAI", "our-deployment", "openai by another name", False),
        ("anthropic", "claude-3-haiku-20240307", "claude 3 to 4.6", False),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude 3 to 4.6", False),
        ("anthropic", "claude-opus-4-7", "claude from 4.7 on", False),
        ("anthropic", "claude-next", "other claude", False),
        ("anthropic", "claude-2.1", "claude-2", False),
        ("gemini", "models/gemini-2.5-pro", "gemini", False),
        ("deepseek", "deepseek-chat", "other deepseek", False),
        ("deepseek", "deepseek-v3.2", "deepseek-v3", False),
        ("mistral", "mistral-large-latest", "other mistral", False),
        ("mistral", "open-mixtral-8x22b", "mistral sentencepiece", False),
        ("mistral", "ministral-8b-latest", "mistral tekken", False),
        ("qwen", "qwen3-max", "qwen", False),
        ("qwen", "qwen-plus", "other qwen", False),
        ("xai", "grok-4-fast", "grok-4", False),
        ("meta", "llama-3.1-70b", "any other model", False),
        ("", "", "any other model", False),
    ],
)
def test_the_prior_of_a_model(provider: str, model: str, name: str, exact: bool) -> None:
    found = prior_of(provider, model)
    assert (found.name, found.exact) == (name, exact)
    assert found.least <= 1 <= found.most
    assert found.ratio == 1 or not exact


def test_the_band_of_a_measured_family_is_what_was_measured() -> None:
    found = prior_of("mistral", "mistral-nemo")
    assert (found.least, found.most) == (pytest.approx(1.04 / 1.08), pytest.approx(1.68 / 1.08))
    claude = prior_of("anthropic", "claude-sonnet-4-5")
    assert (claude.least, claude.most) == (pytest.approx(0.95 / 1.19), pytest.approx(1.91 * 1.12 / 1.19))


def test_the_file_is_whole() -> None:
    families = {family.name for family in load_tokenizers().families}
    named = [name for row in load_priors().rows for name in row.get("families", ())]
    assert set(named) == families, "a family without a prior, or a prior of none"
    rows = load_priors().rows
    assert len({row["name"] for row in rows}) == len(rows)
    assert not {"families", "models", "providers"} & rows[-1].keys()
    for row in rows:
        assert row["source"], row["name"]
        assert row.get("reason") or "band" not in row, row["name"]
        assert "band" in row or "families" in row, row["name"]
        assert row["vocabulary"] in ("o200k_base", "cl100k_base")
        assert row.get("exact") is None or float(row["ratio"]) == 1
    for least, most in (load_priors().overhead, load_priors().bytes):
        assert 0 < least < 1 < most
