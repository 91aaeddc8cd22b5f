"""A call that is about to be made, as far as it is known before it is sent: for a hold, or for a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import _limits as limits
from ._attributes import NAMES
from ._calls import TEXT_FIELDS, started, texts_of
from ._cleaning import REPAIRED_MAX, Cleaner
from ._identity import input_sha256
from .usage import provider_name

_ANSWERED = ("response_model", "response_id", "finish_reason", "error_type")
_SHAPE_COUNTS = ("bytes", "growth_bytes", "messages", "tools", "choices", "max_output_tokens")
_SHAPE_FLAGS = ("self_contained", "thinking_off")
_SHAPE = (*_SHAPE_COUNTS, *_SHAPE_FLAGS, "cache_write", "service_tier", "speed", "unbounded")


class AskedCall(NamedTuple):
    """What is known of a call, under the names of its event's fields, and the instant to which it belongs."""

    data: dict[str, Any]
    started_us: int


def asked_call(
    begin: Mapping[str, Any], attributes: Mapping[str, Any], context: Mapping[str, str], *, os_user: str, plain: bool
) -> AskedCall:
    """What *begin* says of a call, cleaned as a live call is; never refused for its content.

    *plain* is whether it is known to be plain JSON.
    """
    clean = Cleaner(live=True)
    provider = clean.text("provider", provider_name(clean.text("provider", begin.get("provider")) or "")) or "unknown"
    started_us, started_at, _ = started(begin, clean)
    texts = texts_of(begin, clean)
    data = {
        "input_sha256": input_sha256("call.reserved", begin, plain=plain),
        "call_id": begin["id"],
        "started_at": started_at,
        "run": clean.text("run", begin.get("run")),
        **{name: texts[name] for name in TEXT_FIELDS if name in texts and name not in _ANSWERED},
        "attempt": clean.count("attempt", begin.get("attempt")),
        "provider": provider,
        "model": clean.text("model", begin.get("model")) or "unknown",
        **clean.texts(attributes, NAMES),
        "tags": clean.tags(attributes.get("tags")),
        "os_user": os_user,
        "origin": "library" if begin.get("origin") == "library" else "hook",
        "pricing_context": clean.context(context) or None,
        "request": _shape(begin.get("request")),
        "repaired": list(dict.fromkeys(clean.repaired))[:REPAIRED_MAX] or None,
    }
    return AskedCall({name: value for name, value in data.items() if value is not None}, started_us)


def _shape(given: object) -> dict[str, Any] | None:
    """The counts that were told of the request; what is no count is not told."""
    if not isinstance(given, Mapping):
        return None
    shape: dict[str, Any] = {}
    for name in _SHAPE:
        value = given.get(name)
        if name in _SHAPE_COUNTS:
            fits = type(value) is int and 0 <= value <= limits.INTEGER_MAX
        elif name in _SHAPE_FLAGS:
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, str) and 0 < len(value.encode()) <= limits.ATTRIBUTE_BYTES_MAX
        if fits:
            shape[name] = value
    return shape or None
