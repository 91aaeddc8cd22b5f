"""What keledger keeps of a response, taken field by field so that no message text comes along."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ._formats import detect_format
from ._types import ResponseFacts
from ._v1_reading import pricing_context

# Ids, model names, tiers and modalities of all providers look like this; sentences do not.
_IDENTIFIER = re.compile(r"[\w.:/@+~=-]+", re.ASCII)
_WORD = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)

MAX_IDENTIFIER_LENGTH = 256
MAX_WORD_LENGTH = 64
MAX_USAGE_STRING_LENGTH = 128  # the line format drops longer ones from usage_raw

# Usage objects nest three deep and list a handful of modalities; this bounds hostile or looping ones.
MAX_USAGE_DEPTH = 6
MAX_USAGE_ITEMS = 1_000

_USAGE_FIELDS = ("usage", "usageMetadata", "usage_metadata", "usage_info")

# The counts that tell a usage object handed in alone.  They are also asked for by name where an object
# neither converts itself nor lists its fields, such as the protocol buffers of xAI's SDK.
_COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "promptTokenCount",
    "candidatesTokenCount",
    "prompt_token_count",
    "candidates_token_count",
    "pages_processed",
    "total_tokens",
    "reasoning_tokens",
    "cached_prompt_text_tokens",
    "prompt_image_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "num_sources_used",
    "cost_in_usd_ticks",
)


def extract_response(response: object, provider: str) -> ResponseFacts:
    """Take the usage object, and the facts around it that keledger keeps, out of a response.

    ``response`` is a whole response, parsed from JSON or an object of the provider's SDK, or its usage
    object alone.  ``provider`` is any spelling that :func:`provider_name` knows.  Nothing raises: what
    is not there, or not of the expected form, is None.
    """
    usage = _usage_of(response)
    return ResponseFacts(
        usage=usage,
        usage_format=None if usage is None else detect_format(provider, usage),
        response_id=_identifier(response, "id", "responseId", "response_id"),
        response_model=_identifier(response, "model", "modelVersion", "model_version"),
        finish_reason=_finish_reason(response),
        pricing_context=pricing_context({"service_tier": _scalar(_field(response, "service_tier"))}),
    )


def _usage_of(response: object) -> dict[str, object] | None:
    for name in _USAGE_FIELDS:
        found = _field(response, name)
        if found is not None:
            return _plain_object(found, 0)
    if any(_field(response, name) is not None for name in _COUNTS):
        return _plain_object(response, 0)
    return None


def _finish_reason(response: object) -> str | None:
    """Return why the model stopped, in the provider's word.

    Chat completions and Gemini tell it for each answer, of which the first counts; Anthropic as
    ``stop_reason``; the Responses API as the reason why it is incomplete, else as its status.
    """
    answer = _first(_field(response, "choices")) or _first(_field(response, "candidates"))
    for value in (
        _field(answer, "finish_reason"),
        _field(answer, "finishReason"),
        _field(response, "finish_reason"),
        _field(response, "stop_reason"),
        _field(_field(response, "incomplete_details"), "reason"),
        _field(response, "status"),
    ):
        word = _scalar(value)
        if isinstance(word, str) and _is_word(word):
            return word
    return None


def _is_word(text: str) -> bool:
    return len(text) <= MAX_WORD_LENGTH and _WORD.fullmatch(text) is not None


def _identifier(response: object, *names: str) -> str | None:
    for name in names:
        value = _scalar(_field(response, name))
        if isinstance(value, str):
            return value
    return None


def _field(source: object, name: str) -> object:
    """Return a field of a JSON object or an attribute of any other, None where there is none."""
    if isinstance(source, Mapping):
        return source.get(name)
    with contextlib.suppress(Exception):  # an SDK's property may raise anything, and the call has succeeded
        return getattr(source, name, None)
    return None


def _first(items: object) -> object:
    return items[0] if isinstance(items, (list, tuple)) and items else None


def _scalar(value: object) -> object:
    """Return a JSON scalar, the value of an enum, or None; of strings only those of one word."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value if len(value) <= MAX_IDENTIFIER_LENGTH and _IDENTIFIER.fullmatch(value) else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def _plain(value: object, depth: int) -> object:
    """Return a value of a usage object as plain JSON."""
    scalar = _scalar(value)
    if isinstance(scalar, str) and len(scalar) > MAX_USAGE_STRING_LENGTH:
        return None
    if scalar is not None or value is None or isinstance(value, (str, float)):
        return scalar
    if depth >= MAX_USAGE_DEPTH:
        return None
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value[:MAX_USAGE_ITEMS]]
    return _plain_object(value, depth)


def _plain_object(source: object, depth: int) -> dict[str, object] | None:
    """Return a JSON object, or an object of an SDK, as a plain dict; None where it is neither."""
    fields = _fields(source)
    if fields is None:
        return None
    names = [name for name in fields if isinstance(name, str) and _is_word(name)]
    return {name: _plain(fields[name], depth + 1) for name in names[:MAX_USAGE_ITEMS]}


def _fields(source: object) -> Mapping[Any, object] | None:
    """Return the fields of an object: as it dumps itself, else its attributes and the known counts."""
    if isinstance(source, Mapping):
        return source
    if isinstance(source, type) or callable(source):
        return None
    with contextlib.suppress(Exception):  # an SDK's method may raise anything, and the call has succeeded
        for method, arguments in (("model_dump", {"warnings": False}), ("model_dump", {}), ("to_dict", {})):
            convert = getattr(source, method, None)
            if callable(convert):
                # An older or imitated model_dump takes no such argument.
                with contextlib.suppress(TypeError):
                    dumped = convert(**arguments)
                    if isinstance(dumped, Mapping):
                        return dumped
    # A protocol buffer answers 0 for what was not sent, which is no cost of 0.
    attributes = {name: value for name in _COUNTS if (value := _field(source, name))}
    with contextlib.suppress(TypeError):  # what has slots has no vars
        attributes.update((name, value) for name, value in vars(source).items() if name.islower())
    return attributes or None
