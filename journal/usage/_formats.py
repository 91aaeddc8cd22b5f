"""Which format a usage object has.

The names of the fields come first, for several APIs are served by several providers: Gemini through an
OpenAI endpoint, Claude through Vertex AI, anything through Azure.  The provider decides only among
formats that share their names.
"""

from __future__ import annotations

from collections.abc import Mapping

from ._providers import provider_name

_GEMINI_FIELDS = frozenset(
    {
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "totalTokenCount",
        "prompt_token_count",
        "candidates_token_count",
        "thoughts_token_count",
        "total_token_count",
    }
)

# Providers whose chat completions differ from OpenAI's in names or in meaning.
_CHAT_FORMATS = {
    "cerebras": "cerebras.chat",
    "deepseek": "deepseek.chat",
    "mistral": "mistral.chat",
    "openrouter": "openrouter.chat",
    "x-ai": "xai.chat",
}

# Fields that give one of them away where the provider is not told; the first that is there decides.
_CHAT_MARKS = {
    "prompt_cache_hit_tokens": "deepseek.chat",
    "cost_in_usd_ticks": "xai.chat",
    "num_sources_used": "xai.chat",
    "cached_prompt_text_tokens": "xai.chat",
    "cost_details": "openrouter.chat",
    "is_byok": "openrouter.chat",
    "prompt_audio_seconds": "mistral.chat",
    "num_cached_tokens": "mistral.chat",
}

_ANTHROPIC_MARKS = frozenset(
    {
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation",
        "inference_geo",
        "iterations",
    }
)
_RESPONSES_MARKS = frozenset({"input_tokens_details", "input_token_details", "total_tokens"})

# Providers whose bare pair of input_tokens and output_tokens is a Responses one.
_RESPONSES_PROVIDERS = frozenset({"azure", "openai", "x-ai"})


def detect_format(provider: str, usage_raw: Mapping[str, object]) -> str | None:
    """Return the usage format of an object, None where it can't be told.

    ``provider`` is any spelling that :func:`provider_name` knows, or another name; then the fields of
    the object alone must decide.
    """
    if not isinstance(usage_raw, (dict, Mapping)):
        return None
    provider = provider_name(provider)
    if not _GEMINI_FIELDS.isdisjoint(usage_raw):
        return "gemini.generate_content"
    if "prompt_tokens" in usage_raw or "completion_tokens" in usage_raw:
        return _chat_format(provider, usage_raw)
    if "input_tokens" in usage_raw or "output_tokens" in usage_raw:
        return _messages_or_responses(provider, usage_raw)
    if "pages_processed" in usage_raw:
        return "mistral.ocr"
    return None


def _chat_format(provider: str, usage_raw: Mapping[str, object]) -> str:
    if provider in _CHAT_FORMATS:
        return _CHAT_FORMATS[provider]
    for field, usage_format in _CHAT_MARKS.items():
        if field in usage_raw:
            return usage_format
    # OpenAI's and Azure's embeddings have no output, every chat completion has.
    return "openai.chat" if "completion_tokens" in usage_raw else "openai.embeddings"


def _messages_or_responses(provider: str, usage_raw: Mapping[str, object]) -> str | None:
    if provider in ("anthropic", "openai"):
        return "anthropic.messages" if provider == "anthropic" else "openai.responses"
    is_anthropic = not _ANTHROPIC_MARKS.isdisjoint(usage_raw)
    is_responses = not _RESPONSES_MARKS.isdisjoint(usage_raw)
    if is_anthropic and is_responses:
        return None  # a gateway's mixture: whether cached tokens are in input_tokens can't be told
    if is_anthropic or is_responses:
        return "anthropic.messages" if is_anthropic else "openai.responses"
    # Two bare counts mean the same in both formats.
    return "openai.responses" if provider in _RESPONSES_PROVIDERS else "anthropic.messages"
