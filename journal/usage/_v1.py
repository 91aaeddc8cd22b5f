"""Version 1 of the normaliser: one function a usage format.

Released: what this module answers never changes, for recorded calls name the version that counted
them.  A better reading of a usage object is a version 2 in a module of its own.

Providers disagree about what includes what, and that is the commonest cause of wrong costs:

=======================  ===========================  ========================  =======
format                   input count includes         output count includes     source
=======================  ===========================  ========================  =======
openai.chat              cache reads, writes; audio   reasoning, audio          [1]
openai.responses         cache reads, writes          reasoning                 [1]
anthropic.messages       neither reads nor writes     thinking                  [2]
gemini.generate_content  cache reads; no tool prompt  no thoughts               [3]
mistral.chat             cache reads                  reasoning                 [4]
deepseek.chat            cache reads                  reasoning                 [5]
xai.chat                 cache reads                  no reasoning              [6]
cerebras.chat            cache reads                  reasoning                 [7]
openrouter.chat          cache reads, writes          reasoning                 [8]
=======================  ===========================  ========================  =======

[1] developers.openai.com/api/docs/guides/prompt-caching (of 2,600 tokens 2,000 read, 400 written and 200
    neither), openai-python 3.54 types/completion_usage.py and types/responses/response_usage.py.
[2] platform.claude.com/docs/en/build-with-claude/prompt-caching and /compaction, anthropic-sdk-python
    2.12 types/beta/beta_usage.py.
[3] ai.google.dev/api/generate-content#UsageMetadata, google-genai 3.4 types.py.
[4] docs.mistral.ai/studio-api/conversations/advanced/prompt-caching.
[5] api-docs.deepseek.com/api/create-chat-completion.
[6] docs.x.ai, "Consumption and Rate Limits" (reasoning is counted apart from completion_tokens, but in
    total_tokens) and "Cost Tracking".
[7] inference-docs.cerebras.ai/capabilities/prompt-caching, cerebras-cloud-sdk 1.91.
[8] openrouter.ai/docs/use-cases/usage-accounting.
All read in 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ._types import Normalized
from ._v1_reading import Tally, objects


def _openai_chat(tally: Tally, raw: Mapping[str, object], *, reasoning_apart: bool = False) -> None:
    """Chat completions, and the many that speak its dialect; the differing names of some are tried in turn.

    A cache write has neither of the times to live that have a bucket, so it counts as one without.
    """
    hit = tally.count(raw, "prompt_cache_hit_tokens")
    miss = tally.count(raw, "prompt_cache_miss_tokens")
    prompt = tally.whole(raw, "prompt_tokens")
    if prompt is None and hit is not None and miss is not None:
        prompt, tally.readable = hit + miss, True
    if prompt is None:
        tally.note("prompt_tokens:missing")
        prompt = 0
    answer = tally.whole(raw, "completion_tokens") or 0
    total = tally.count(raw, "total_tokens")
    reasoning = tally.count(raw, ("completion_tokens_details", "reasoning_tokens"), "reasoning_tokens")
    output = tally.output_whole(answer, reasoning, None if total is None else total - prompt, apart=reasoning_apart)
    cache_read = hit
    if cache_read is None:
        cache_read = tally.count(
            raw,
            ("prompt_tokens_details", "cached_tokens"),
            ("prompt_token_details", "cached_tokens"),  # Mistral writes both spellings
            "num_cached_tokens",  # Mistral
            "cached_prompt_text_tokens",  # xAI's own SDK
            "cached_tokens",  # Moonshot, and Anthropic through its OpenAI endpoint
        )
    tally.add_input(
        prompt,
        cache_read=cache_read,
        cache_write_5m=tally.count(raw, ("prompt_tokens_details", "cache_write_tokens")),
        audio=tally.count(raw, ("prompt_tokens_details", "audio_tokens")),
        image=tally.count(raw, ("prompt_tokens_details", "image_tokens"), "prompt_image_tokens"),
        video=tally.count(raw, ("prompt_tokens_details", "video_tokens")),
    )
    tally.add_output(
        output,
        reasoning=reasoning,
        audio=tally.count(raw, ("completion_tokens_details", "audio_tokens")),
        image=tally.count(raw, ("completion_tokens_details", "image_tokens")),
    )
    seconds = tally.count(raw, "prompt_audio_seconds")
    if seconds:
        # Mistral bills sound by the second; its tokens stand in total_tokens and nowhere else.
        tally.add("input_audio_ms", seconds * 1000)
    else:
        tally.check_total(total, prompt + output)


def _xai_chat(tally: Tally, raw: Mapping[str, object]) -> None:
    _openai_chat(tally, raw, reasoning_apart=True)


def _mistral_ocr(tally: Tally, raw: Mapping[str, object]) -> None:
    tally.add("input_pages", tally.whole(raw, "pages_processed"))


def _openai_embeddings(tally: Tally, raw: Mapping[str, object]) -> None:
    prompt = tally.whole(raw, "prompt_tokens") or 0
    tally.add_input(prompt)
    tally.check_total(tally.count(raw, "total_tokens"), prompt)


def _openai_responses(tally: Tally, raw: Mapping[str, object]) -> None:
    """Responses, and with the same names images and transcriptions."""
    whole = tally.whole(raw, "input_tokens")
    if whole is None:
        tally.note("input_tokens:missing")
        whole = 0
    answer = tally.whole(raw, "output_tokens") or 0
    total = tally.count(raw, "total_tokens")
    reasoning = tally.count(raw, ("output_tokens_details", "reasoning_tokens"))
    output = tally.output_whole(answer, reasoning, None if total is None else total - whole, apart=False)
    tally.add_input(
        whole,
        cache_read=tally.count(raw, ("input_tokens_details", "cached_tokens")),
        cache_write_5m=tally.count(raw, ("input_tokens_details", "cache_write_tokens")),
        # The singular is the spelling of transcriptions.
        audio=tally.count(raw, ("input_tokens_details", "audio_tokens"), ("input_token_details", "audio_tokens")),
        image=tally.count(raw, ("input_tokens_details", "image_tokens")),
    )
    tally.add_output(
        output,
        reasoning=reasoning,
        audio=tally.count(raw, ("output_tokens_details", "audio_tokens")),
        image=tally.count(raw, ("output_tokens_details", "image_tokens")),
    )
    tally.check_total(total, whole + output)


def _anthropic_messages(tally: Tally, raw: Mapping[str, object]) -> None:
    """Messages: the three input counts stand beside each other.

    Tokens of a compaction are billed but not in the top-level counts, so they are added.  Those of an
    advisor are billed too, at another model's prices: no price of this call fits them, hence a note.
    """
    _anthropic_sample(tally, raw)
    for iteration in objects(raw, "iterations"):
        kind = iteration.get("type")
        if kind == "compaction":
            _anthropic_sample(tally, iteration)
            tally.note("compaction_added")
        elif kind == "advisor_message":
            tally.note("advisor_message:not_counted")


def _anthropic_sample(tally: Tally, sample: Mapping[str, object]) -> None:
    uncached = tally.whole(sample, "input_tokens")
    if uncached is None:
        tally.note("input_tokens:missing")
        uncached = 0
    cache_read = tally.count(sample, "cache_read_input_tokens") or 0
    write_5m, write_1h = _anthropic_cache_writes(tally, sample)
    tally.add_input(
        uncached + cache_read + write_5m + write_1h,
        cache_read=cache_read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
    )
    thinking = tally.count(sample, ("output_tokens_details", "thinking_tokens"))
    tally.add_output(tally.whole(sample, "output_tokens") or 0, reasoning=thinking)


def _anthropic_cache_writes(tally: Tally, sample: Mapping[str, object]) -> tuple[int, int]:
    """Return the tokens written to the cache for five minutes and for one hour.

    ``cache_creation_input_tokens`` is the total and ``cache_creation`` its split by time to live.  Where
    they disagree the total holds: what the split leaves open was written for five minutes, the default,
    and a split above it keeps its one-hour part first, so that the dearer tokens are not lost.
    """
    total = tally.count(sample, "cache_creation_input_tokens")
    write_5m = tally.count(sample, ("cache_creation", "ephemeral_5m_input_tokens"))
    write_1h = tally.count(sample, ("cache_creation", "ephemeral_1h_input_tokens"))
    if write_5m is None and write_1h is None:
        return total or 0, 0
    split = (write_5m or 0) + (write_1h or 0)
    if total is None:
        total = split
    if split != total:
        tally.note("cache_write_split!=total")
    write_1h = min(write_1h or 0, total)
    return total - write_1h, write_1h


def _gemini_generate_content(tally: Tally, raw: Mapping[str, object]) -> None:
    """generateContent, in the names of the API and of Google's Python SDK.

    Details by modality include what was cached of it.  Older answers name the cached tokens by modality
    only.
    """
    prompt = tally.whole(raw, "promptTokenCount", "prompt_token_count")
    if prompt is None:
        tally.note("promptTokenCount:missing")
        prompt = 0
    whole = prompt + (tally.count(raw, "toolUsePromptTokenCount", "tool_use_prompt_token_count") or 0)
    cached = _modalities(tally, raw, "cacheTokensDetails", "cache_tokens_details")
    cache_read = tally.count(raw, "cachedContentTokenCount", "cached_content_token_count")
    parts = _modalities(tally, raw, "promptTokensDetails", "prompt_tokens_details")
    tool_parts = _modalities(tally, raw, "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details")
    tally.add_input(
        whole,
        cache_read=sum(cached.values()) if cache_read is None else cache_read,
        audio=parts["audio"] + tool_parts["audio"],
        image=parts["image"] + tool_parts["image"],
        video=parts["video"] + tool_parts["video"],
        cached=cached,
    )
    answer = tally.whole(
        raw,
        "candidatesTokenCount",
        "candidates_token_count",
        "responseTokenCount",  # the Live API's name
        "response_token_count",
    )
    thoughts = tally.whole(raw, "thoughtsTokenCount", "thoughts_token_count")
    total = tally.count(raw, "totalTokenCount", "total_token_count")
    output = tally.output_whole(answer or 0, thoughts, None if total is None else total - whole, apart=True)
    made = _modalities(tally, raw, "candidatesTokensDetails", "candidates_tokens_details")
    tally.add_output(output, reasoning=thoughts, audio=made["audio"], image=made["image"], video=made["video"])
    tally.check_total(total, whole + output)


# Pages of documents are priced as images.
_MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}


_NO_PARTS: Mapping[str, int] = MappingProxyType({"text": 0, "audio": 0, "image": 0, "video": 0})


def _modalities(tally: Tally, raw: Mapping[str, object], name: str, name_in_sdk: str) -> Mapping[str, int]:
    """Return a list of Gemini's ModalityTokenCount as counts by modality."""
    if name not in raw and name_in_sdk not in raw:
        return _NO_PARTS
    counts = dict(_NO_PARTS)
    for item in objects(raw, name, name_in_sdk):
        modality = item.get("modality")
        kind = _MODALITIES.get(modality.upper(), "text") if isinstance(modality, str) else "text"
        counts[kind] += tally.count(item, "tokenCount", "token_count") or 0
    return counts


_SERVER_TOOL_FIELDS = frozenset({"server_tool_use", "server_tool_use_details", "server_side_tool_usage_details"})


def _server_tools(tally: Tally, raw: Mapping[str, object]) -> None:
    """Count the tools that a provider runs itself and bills by the call."""
    if _SERVER_TOOL_FIELDS.isdisjoint(raw):
        return
    tally.add(
        "web_searches",
        tally.count(
            raw,
            ("server_tool_use", "web_search_requests"),  # Anthropic, OpenRouter
            ("server_tool_use_details", "web_search_requests"),  # OpenRouter
            ("server_side_tool_usage_details", "web_search_calls"),  # xAI
        ),
    )
    tally.add("file_searches", tally.count(raw, ("server_side_tool_usage_details", "file_search_calls")))
    for name in ("x_search_calls", "code_interpreter_calls", "document_search_calls"):
        if tally.count(raw, ("server_side_tool_usage_details", name)):
            tally.note(f"{name}:not_counted")


FORMATS: Mapping[str, Callable[[Tally, Mapping[str, object]], None]] = MappingProxyType(
    {
        "anthropic.messages": _anthropic_messages,
        "cerebras.chat": _openai_chat,
        "deepseek.chat": _openai_chat,
        "gemini.generate_content": _gemini_generate_content,
        "mistral.chat": _openai_chat,
        "mistral.ocr": _mistral_ocr,
        "openai.chat": _openai_chat,
        "openai.embeddings": _openai_embeddings,
        "openai.responses": _openai_responses,
        "openrouter.chat": _openai_chat,
        "xai.chat": _xai_chat,
    }
)


def normalize(usage_raw: Mapping[str, object], usage_format: str) -> Normalized:
    """Normalise one usage object; see :func:`keledger.journal.usage.normalize`."""
    tally = Tally()
    read = FORMATS.get(usage_format)
    if not isinstance(usage_raw, (dict, Mapping)):
        tally.note("usage_raw:not_an_object")
        usage_raw = {}
    elif read is None:
        tally.note("usage_format:unknown")
    else:
        read(tally, usage_raw)
        _server_tools(tally, usage_raw)
    return tally.finish(usage_raw, usage_format)
