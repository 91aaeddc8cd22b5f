"""What of a request is told before it leaves: how large it is and what bounds its answer, in counts and fixed words.

Like ``client.py`` it is loaded into the interpreter of a client that may hold neither keledger nor anything it depends
on: it imports the standard library alone and keeps to Python 3.10's syntax.  No text of a request leaves it, not even
the name of a field.

It judges a request as a stranger would.  What it knows to be text, or a tool that the caller runs, is counted; for
anything else it says that the request does not contain all that the model reads, or that nothing bounds its cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

COUNT_MAX = 2**53 - 1
DEPTH_MAX = 64

NOT_SENT = frozenset(("timeout", "extra_headers", "extra_query"))
"""Arguments of the providers' Python libraries that are no part of a request's body."""

NESTED = frozenset(("generation_config", "config", "extra_body"))
"""Fields that hold further fields of a request: Gemini's, its Python library's, and OpenAI's Python library's."""

LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
CHOICES = ("n", "candidate_count", "best_of")
CONVERSATIONS = ("messages", "contents", "input")
INSTRUCTIONS = ("system", "system_instruction", "instructions")

ELSEWHERE = frozenset(("previous_response_id", "conversation", "cached_content", "audio"))
"""Fields that bring in what the request itself does not contain."""

BEYOND = {
    "code_execution": "code_execution",
    "compound_custom": "server_tool",
    "container": "code_execution",
    "context_management": "context_management",
    "documents": "server_tool",
    "fallbacks": "other_models",
    "mcp_servers": "mcp",
    "models": "other_models",
    "plugins": "server_tool",
    "preset": "stored_prompt",
    "prompt": "stored_prompt",
    "search_parameters": "web_search",
    "search_settings": "web_search",
    "web_search_options": "web_search",
}
"""Fields that let the provider spend more than one answer of one model to what is asked, and the word for each."""

HARMLESS = frozenset(
    (
        "background", "betas", "cache_control", "deferred", "dimensions", "encoding_format", "frequency_penalty",
        "function_call", "include", "include_reasoning", "inference_geo", "labels", "logit_bias", "logprobs",
        "max_tool_calls", "media_resolution", "metadata", "min_p", "min_tokens", "modalities", "model",
        "output_config", "output_format", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
        "prompt_cache_retention", "prompt_mode", "provider", "random_seed", "reasoning", "reasoning_effort",
        "reasoning_format", "repetition_penalty", "response_format", "response_json_schema", "response_logprobs",
        "response_mime_type", "response_modalities", "response_schema", "route", "safe_prompt", "safety_identifier",
        "safety_settings", "seed", "service_tier", "session_id", "speech_config", "speed", "stop", "stop_sequences",
        "store", "stream", "stream_options", "structured_outputs", "temperature", "text", "thinking",
        "thinking_config", "tool_choice", "tool_config", "top_a", "top_k", "top_logprobs", "top_p", "transforms",
        "truncation", "usage", "user", "verbosity",
    )
)  # fmt: skip
"""Fields that neither add to what the model reads nor to what it may write, in snake_case."""

KNOWN = frozenset((*HARMLESS, *NESTED, *LIMITS, *CHOICES, *CONVERSATIONS, *INSTRUCTIONS, "tools", "functions"))

TEXT_TYPES = frozenset(
    (
        "text", "input_text", "output_text", "refusal", "message", "tool_use", "tool_result", "function",
        "function_call", "function_call_output", "custom", "custom_tool_call", "custom_tool_call_output",
    )
)  # fmt: skip
"""Kinds of messages and of their parts that are text and nothing else."""

TEXT_FIELDS = frozenset(
    (
        "type", "role", "name", "id", "status", "text", "refusal", "cache_control", "is_error", "phase",
        "tool_call_id", "tool_use_id", "call_id", "prefix", "reasoning_content",
    )
)  # fmt: skip
"""Fields of a message or part whose value is text, a name or a flag."""

INNER_FIELDS = frozenset(("content", "parts", "output", "tool_calls", "function", "custom", "function_call"))
"""Fields of a message or part that hold messages or parts in turn."""

DATA_FIELDS = frozenset(("args", "arguments", "input", "response"))
"""Fields of a tool's call or result that hold JSON of the caller's own making, which the model reads as text."""

SCHEMAS = frozenset(
    ("output_config", "output_format", "response_format", "response_json_schema", "response_schema", "text")
)
"""Fields with which a provider may tell the model in what form to answer."""

SPREAD_BYTES = 6
"""What a comma, colon or bracket may gain: a line break, an indentation (a token or two), a space and ``.0``."""

EXPONENT_BYTES = 324
"""What a number with an exponent may gain: 5e-324 gains most."""

_EXPONENT = re.compile(r"\de[+-]")
_OTHER_THAN_5M = re.compile(r'"ttl":(?!"5m")')

SERVICE_TIERS = frozenset(("auto", "default", "flex", "priority", "scale", "standard", "standard_only"))

SERVER_TOOLS = (
    ("web_search", "web_search"),
    ("google_search", "web_search"),
    ("enterprise_web_search", "web_search"),
    ("google_maps", "web_search"),
    ("web_fetch", "web_fetch"),
    ("url_context", "web_fetch"),
    ("code_execution", "code_execution"),
    ("code_interpreter", "code_execution"),
    ("file_search", "file_search"),
    ("image_generation", "image_generation"),
    ("mcp", "mcp"),
    ("tool_search", "tool_search"),
)
"""How the names of tools begin that a provider runs itself, and the word for each."""

PROVIDERS_OWN_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "local_shell", "apply_patch")
"""How the types of tools begin that the caller runs, but whose definition the provider writes: it is not in here."""


def shape_of(request: object) -> dict[str, Any]:
    """Tell the shape of a request: of its body as JSON, or of the arguments of a provider's Python library.

    It reads OpenAI's chat completions, responses and embeddings, Anthropic's messages, Gemini's generateContent, and
    the many that speak one of these.  The result holds counts, flags and words of this module only:

    - ``bytes``: the request's length as compact JSON in UTF-8, as it is or after Unicode's NFKC, whichever is more,
      for some tokenisers read it like that; absent where not all of it could be read as JSON.
    - ``messages``, ``tools``: how many; a system prompt counts as a message.
    - ``choices``: how many answers are asked for.
    - ``max_output_tokens``: the request's own limit of one answer; absent where it has none that can be relied on.
    - ``growth_bytes``: how much longer its data and the definitions of its tools may get where they are written out
      again for the model.
    - ``self_contained``: whether all that the model reads is text that stands in the request.
    - ``cache_write``: ``none``, ``5m`` or ``1h``: the longest time for which it asks its input to be cached.
    - ``thinking_off``: true where it says so in a way that leaves no doubt; else absent.
    - ``service_tier``: as asked for, one of a few words; absent where it asks for none.
    - ``speed``: ``fast`` where it asks for Anthropic's fast mode; else absent.
    - ``unbounded``: why nothing bounds its cost, in one word (``web_search``, ``stored_prompt``, ...); else absent.

    Nothing raises; of what cannot be read the worst is told.
    """
    try:
        return _Reading(request).shape()
    except Exception:  # noqa: BLE001  the request is an object of somebody else's making, and it is on its way out
        return {"self_contained": False, "unbounded": "unreadable"}


class _Reading:
    """What is found in one request while it is read."""

    def __init__(self, request: object) -> None:
        self._limits: list[int | None] = []
        self._choices = 1
        self._messages = 0
        self._tools = 0
        self._self_contained = True
        self._growth_bytes = 0
        self._thinking_off = False
        self._service_tier: str | None = None
        self._speed: str | None = None
        self._unbounded: str | None = None
        body = self._plain(request, 0)
        if not isinstance(body, dict):
            raise TypeError("a request is an object")
        body = {name: value for name, value in body.items() if name not in NOT_SENT}
        text = _compact(body)
        self._bytes = _length_bytes(text)
        self._cache_write = _cache_write(text)
        for name, value in _fields(body):
            if value is not None:
                self._field(name, value)

    def shape(self) -> dict[str, Any]:
        told = {
            "bytes": None if self._unbounded == "unreadable" else self._bytes,
            "messages": self._messages,
            "tools": self._tools,
            "choices": self._choices,
            "max_output_tokens": self._limit(),
            "growth_bytes": self._growth_bytes,
            "self_contained": self._self_contained,
            "cache_write": self._cache_write,
            "thinking_off": self._thinking_off or None,
            "service_tier": self._service_tier,
            "speed": self._speed,
            "unbounded": self._unbounded,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _limit(self) -> int | None:
        """The highest of the limits given: which of two a provider takes is not known; one it can't read is none."""
        known = [limit for limit in self._limits if limit is not None]
        return max(known) if known and len(known) == len(self._limits) else None

    def _field(self, name: str, value: Any) -> None:
        if name in LIMITS:
            self._limits.append(_count(value))
        elif name in CHOICES:
            self._take_choices(_count(value))
        elif name in CONVERSATIONS or name in INSTRUCTIONS:
            self._take_messages(value)
        elif name in ("tools", "functions"):
            self._take_tools(value)
        elif name == "prompt" and isinstance(value, str):
            self._messages += 1
        elif name in BEYOND:
            self._beyond("choices" if isinstance(value, list) and name == "prompt" else BEYOND[name])
        elif name in ELSEWHERE:
            self._self_contained = False
        elif name not in KNOWN:
            self._beyond("unknown_field")
        else:
            self._setting(name, value)

    def _setting(self, name: str, value: Any) -> None:
        """A field that by itself costs nothing, but may change what another one means."""
        if name == "service_tier":
            word = str(value).lower()
            self._service_tier = word if word in SERVICE_TIERS else None
        elif name == "speed":
            self._speed = "fast" if value != "standard" else None
        elif name == "prediction":
            self._limits.append(None)  # the tokens of it that are rejected are billed, and its documents allow no limit
        elif name in SCHEMAS:
            self._growth_bytes += _growth_bytes(value)
        elif name == "thinking_config":
            budget = _snake_keys(value).get("thinking_budget") if isinstance(value, dict) else None
            self._thinking_off = type(budget) is int and budget == 0

    def _take_choices(self, count: int | None) -> None:
        if count is None:
            self._beyond("choices")
        else:
            self._choices = max(self._choices, count)

    def _take_messages(self, value: Any) -> None:
        items = value if isinstance(value, list) else [value]
        self._messages += len(items)
        if not all(self._is_text(item) for item in items):
            self._self_contained = False

    def _is_text(self, item: Any) -> bool:
        """Whether a message or a part of one is text and nothing else.  Reads no further than to where it is not."""
        if item is None or isinstance(item, (str, int)):
            return True
        if isinstance(item, list):
            return all(self._is_text(each) for each in item)
        if not isinstance(item, dict):
            return False
        kind = item.get("type", "text")
        is_text = isinstance(kind, str) and kind in TEXT_TYPES
        for given, value in item.items():
            name = _snake(given)
            if name in DATA_FIELDS:
                self._growth_bytes += _growth_bytes(value)
            if name in INNER_FIELDS or name == "function_response":
                is_text = self._is_text(value) and is_text
            elif name not in TEXT_FIELDS and name not in DATA_FIELDS:
                is_text = is_text and not value
            elif name in TEXT_FIELDS and name != "cache_control":
                is_text = is_text and not isinstance(value, (dict, list))
        return is_text

    def _take_tools(self, value: Any) -> None:
        if not isinstance(value, list):
            self._beyond("server_tool")
            return
        for tool in value:
            self._take_tool(_snake_keys(tool) if isinstance(tool, dict) else {})

    def _take_tool(self, tool: dict[str, Any]) -> None:
        self._growth_bytes += _growth_bytes(tool)
        declarations = tool.pop("function_declarations", None)
        if isinstance(declarations, list):  # Gemini's, which stand beside its own tools in one object
            self._tools += len(declarations)
        if "type" in tool or "name" in tool:
            self._tools += 1
            kinds = [tool.get("type", "custom")]
        else:
            kinds = [name for name, value in tool.items() if value is not None]
        for kind in kinds:
            if not isinstance(kind, str):
                self._beyond("server_tool")
            elif kind.startswith(PROVIDERS_OWN_TOOLS):
                self._self_contained = False
            elif kind not in ("function", "custom"):
                self._beyond(_server_tool(kind))

    def _beyond(self, word: str) -> None:
        if self._unbounded is None:
            self._unbounded = word

    def _plain(self, value: object, depth: int) -> Any:
        """A request as plain JSON.  An object of a library that can dump itself is dumped; any other is unreadable."""
        if value is None or isinstance(value, (str, int, float)):
            return value
        if depth < DEPTH_MAX:
            if isinstance(value, Mapping):
                return {str(name): self._plain(item, depth + 1) for name, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [self._plain(item, depth + 1) for item in value]
            dump = getattr(value, "model_dump", None)
            if callable(dump) and not isinstance(value, type):
                return self._plain(dump(mode="json", exclude_none=True), depth + 1)
        self._beyond("unreadable")
        return None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _length_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    import unicodedata  # most requests have no need of it

    spellings = (text, unicodedata.normalize("NFKC", text))
    return max(len(spelling.encode("utf-8", "surrogatepass")) for spelling in spellings)


def _growth_bytes(value: Any) -> int:
    """How much longer JSON may get where a provider writes it out again, before the model reads it as text.

    Line breaks, indentation and decimals that were not there, letters as escapes, and numbers without an exponent.
    """
    text = value if isinstance(value, str) else _compact(value)
    spread = SPREAD_BYTES * sum(text.count(mark) for mark in ",:[{")
    escaped = 0 if text.isascii() else len(json.dumps(text)) - len(text)
    return spread + escaped + EXPONENT_BYTES * len(_EXPONENT.findall(text))


def _cache_write(text: str) -> str:
    """For how long at most a request asks its input to be cached.  A quote inside of a text is escaped: no key."""
    if '"cache_control":' not in text:
        return "none"
    return "1h" if _OTHER_THAN_5M.search(text) else "5m"


def _fields(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a request by their names in snake_case, those of the nested objects among them."""
    for given, value in body.items():
        name = _snake(given)
        if name in NESTED and isinstance(value, dict):
            yield from _fields(value)
        else:
            yield name, value


def _count(value: object) -> int | None:
    """A whole number from 1 on; None for what is none, such as the -1 by which some servers mean "no limit"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 1 <= value <= COUNT_MAX else None


def _server_tool(name: str) -> str:
    return next((word for beginning, word in SERVER_TOOLS if name.startswith(beginning)), "server_tool")


def _snake_keys(fields: dict[str, Any]) -> dict[str, Any]:
    return {_snake(name): value for name, value in fields.items()}


def _snake(name: str) -> str:
    """``maxOutputTokens`` as ``max_output_tokens``: Gemini takes both spellings."""
    if name.islower():
        return name
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
