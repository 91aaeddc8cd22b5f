"""From what a caller gives for a call to the ``data`` of its event: cleaned, normalised, attributed and priced."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import _limits as limits
from ._attributes import NAMES
from ._cleaning import REPAIRED_MAX, Cleaner, compact_usage, json_kind
from ._errors import InputRefused
from ._identity import input_sha256
from ._time import format_time, now_us, read_time
from .prices import Book
from .usage import BUCKETS, NORMALIZER_VERSION, USAGE_FORMATS, detect_format, normalize, provider_name

TEXT_FIELDS = (
    "session", "prompt", "prompt_version", "statement", "client", "client_call_id", "operation_id",
    "parent_call_id", "trace_id", "span_id", "response_model", "response_id", "finish_reason", "error_type",
)  # fmt: skip
"""Fields of a call that are plain text, in the order of the format page, behind ``run``."""

GIVEN_FIELDS = frozenset(
    (
        "id", "time", "started_at", "run", "status", "duration_ms", "provider", "model", "http_status", "attempt",
        "usage", "usage_raw", "usage_format", "pricing_context", "call_keys", "reported_cost_usd", "quality",
        "original", "tags", "estimate_id", *TEXT_FIELDS, *NAMES,
    )
)  # fmt: skip
"""What ``record`` takes.  Everything else of a call is computed."""

OPTIONAL = (
    "duration_ms", "run", "attempt", "http_status", "tags", "call_keys", "estimate_id", "usage_raw", "usage_format",
    "usage_notes", "pricing_context", "reported_cost_usd", "original", "repaired", "clock_suspect",
)  # fmt: skip
"""What of a call is left out of its line where there is none, beside the fields of text."""

_WORD = re.compile(r"[A-Za-z0-9_.:/-]+")
"""The class of an error, or a provider's code for it; messages may quote what was asked."""

STATUSES = ("ok", "error", "unknown")
QUALITIES = ("measured", "totals_only", "under_count")


class BuiltCall(NamedTuple):
    """A call that is ready to be appended."""

    type: str
    data: dict[str, Any]


class Usage(NamedTuple):
    """What is known of a call's usage.  ``known`` is False where an answer may have been billed and nobody can say."""

    buckets: dict[str, int]
    known: bool
    raw: str | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()
    reported_cost_usd: str | None = None
    pricing_context: Mapping[str, str] | None = None


def check_attributes(fields: Mapping[str, object]) -> None:
    """Raise InputRefused for an attribute of another type than it has: 0 is no project."""
    for name in NAMES:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            raise InputRefused(f"{name} must be a string, not {json_kind(value)}")
    tags = fields.get("tags")
    if tags is not None and not isinstance(tags, (dict, Mapping)):
        raise InputRefused(f"tags must be an object of strings, not {json_kind(tags)}")


def check_field_names(fields: Mapping[str, object]) -> None:
    """Raise InputRefused for a field that ``record`` does not know, with the nearest one that it does."""
    if fields.keys() <= GIVEN_FIELDS:
        return
    for name in fields:
        if name not in GIVEN_FIELDS:
            near = difflib.get_close_matches(name, GIVEN_FIELDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; keledger schema call.completed lists a call's fields"
            raise InputRefused(f"unknown field {name[:64]!r}{hint}")


def build_call(
    fields: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    book: Book,
    origin: str,
    os_user: str,
    live: bool,
    run: str | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    plain: bool = False,
) -> BuiltCall:
    """Build the event of one call.

    *fields* are the given ones, *attributes* what they and the places around resolve to, *run* what holds where no run
    is given, *fingerprint* what ``input_sha256`` is made over (the given fields, where absent), *plain* whether that is
    known to be plain JSON.  Raises InputRefused unless *live*.
    """
    clean = Cleaner(live=live)
    if "unreadable" in attributes:
        clean.repaired.append(f"unreadable:{attributes['unreadable']}")
    provider = clean.text("provider", fields.get("provider"))
    model = clean.text("model", fields.get("model"))
    if not live and not (provider and model):
        raise InputRefused(f"{'provider' if not provider else 'model'} is missing: every call names both")
    provider = clean.text("provider", provider_name(provider or "")) or "unknown"
    model = model or "unknown"
    usage = _usage(fields, provider, clean)
    given_cost = clean.money("reported_cost_usd", fields.get("reported_cost_usd"))
    reported = given_cost if given_cost is not None else _reported(usage, clean)
    http_status = clean.count("http_status", fields.get("http_status"), least=100, most=599)
    status = _status(fields, usage, http_status, reported, clean)
    event_type = "call.completed" if status == "ok" else "call.failed"
    started_us, started_at, suspect = started(fields, clean)
    context = {**(usage.pricing_context or {}), **clean.context(fields.get("pricing_context"))}
    known = usage.known or (status == "error" and usage.raw is None)  # a refusal without usage costs nothing
    duration_ms = clean.count("duration_ms", fields.get("duration_ms"))
    run = clean.text("run", fields.get("run", run))
    texts = texts_of(fields, clean)
    data = {
        "input_sha256": input_sha256(event_type, _without_id(fingerprint or fields), plain=plain),
        "status": status,
        "started_at": started_at,
        "duration_ms": duration_ms,
        "run": run,
        **texts,
        "attempt": clean.count("attempt", fields.get("attempt")),
        "http_status": http_status,
        "provider": provider,
        "model": model,
        **clean.texts(attributes, NAMES),
        "tags": clean.tags(attributes.get("tags")),
        "os_user": os_user,
        "origin": origin,
        "call_keys": _call_keys(fields, provider, texts.get("response_id"), clean),
        "estimate_id": fields.get("estimate_id"),
        "usage": usage.buckets,
        "usage_raw": usage.raw,
        "usage_format": usage.format,
        "usage_notes": list(usage.notes[:16]) if usage.notes else None,
        "normalizer": NORMALIZER_VERSION,
        "pricing_context": context or None,
        "cost": book.price(
            provider=provider,
            model=book.priced_model(provider, model, texts.get("response_model")),
            usage=usage.buckets,
            at_us=started_us,
            context=context,
            reported_cost_usd=reported,
            usage_known=known,
        ),
        "reported_cost_usd": reported,
        "quality": _one_of("quality", fields.get("quality"), QUALITIES, clean) or "measured",
        "original": fields.get("original"),
        "repaired": list(dict.fromkeys(clean.repaired))[:REPAIRED_MAX] if clean.repaired else None,
        "clock_suspect": suspect or None,
    }
    for name in OPTIONAL:
        if data[name] is None:
            del data[name]
    return BuiltCall(event_type, data)


def _without_id(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in given.items() if name != "id"} if "id" in given else given


def texts_of(fields: Mapping[str, Any], clean: Cleaner) -> dict[str, str]:
    """The fields of plain text, cleaned."""
    texts = clean.texts(fields, TEXT_FIELDS)
    error_type = texts.get("error_type")
    if error_type is not None and not _WORD.fullmatch(error_type):
        clean.drop(
            "error_type", "error_type must be one word like RateLimitError: the text of an error is not journaled"
        )
        del texts["error_type"]
    return texts


def _usage(fields: Mapping[str, Any], provider: str, clean: Cleaner) -> Usage:
    raw, given = fields.get("usage_raw"), fields.get("usage")
    if given is not None and not clean.live and not isinstance(given, Mapping):
        raise InputRefused(f"usage must be an object of buckets, not {json_kind(given)}")
    if given is not None and isinstance(given, Mapping):
        compact = compact_usage(raw) if isinstance(raw, Mapping) else None
        buckets, known = _given_buckets(given, clean)
        return Usage(buckets, known=known, raw=compact, format=_given_format(fields, clean))
    if raw is None:
        return Usage({}, known=False)
    if not isinstance(raw, (dict, Mapping)):
        if not clean.live:
            raise InputRefused(f"usage_raw must be the provider's usage object, not {json_kind(raw)}")
        clean.repaired.append("dropped:usage_raw")
        return Usage({}, known=False)
    usage_format = _given_format(fields, clean) or detect_format(provider, raw)
    if usage_format is None:
        if not clean.live:
            raise InputRefused(
                f"usage_raw is in no format that is known for provider {provider!r}: give usage_format "
                "(openai.chat, anthropic.messages, ...) or usage in buckets"
            )
        return Usage({}, known=False, raw=compact_usage(raw), notes=("format:unknown",))
    found = normalize(raw, usage_format)
    if found.notes and not clean.live and found.readable and any(note.endswith(":unreadable") for note in found.notes):
        raise InputRefused(f"usage_raw has a count that is no whole number from 0 on: {', '.join(found.notes)}")
    return Usage(
        dict(found.usage) if found.readable else {},
        known=found.readable,
        raw=compact_usage(raw),
        format=usage_format,
        notes=tuple(found.notes),
        reported_cost_usd=found.reported_cost_usd,
        pricing_context=found.pricing_context,
    )


def _given_buckets(given: Mapping[str, Any], clean: Cleaner) -> tuple[dict[str, int], bool]:
    """The buckets as given, and whether they tell anything: what was not readable is not zero."""
    if not given and not clean.live:
        raise InputRefused("usage is empty: give at least one bucket; 0 is a count too")
    counts: dict[str, int] = {}
    for name, value in given.items():
        if name not in BUCKETS:
            if not clean.live:
                raise InputRefused(f"unknown usage bucket {str(name)[:64]!r}: the known ones are {', '.join(BUCKETS)}")
            clean.repaired.append("dropped:usage")
            continue
        count = clean.count(f"usage.{name}", value)
        if count is not None:
            counts[name] = count
    complete = len(counts) == len(given)
    if not counts or (not complete and counts.keys() <= {"requests"}):
        return {}, False
    counts.setdefault("requests", 1)
    return {name: count for name, count in counts.items() if count}, True


def _given_format(fields: Mapping[str, Any], clean: Cleaner) -> str | None:
    return _one_of("usage_format", fields.get("usage_format"), USAGE_FORMATS, clean)


def _one_of(name: str, value: object, allowed: Any, clean: Cleaner) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value in allowed:
        return value
    if not clean.live:
        raise InputRefused(f"{name} must be one of {', '.join(allowed)}")
    clean.repaired.append(f"dropped:{name}")
    return None


def _status(
    fields: Mapping[str, Any], usage: Usage, http_status: int | None, reported: str | None, clean: Cleaner
) -> str:
    """The status as given; without one, what the HTTP status says.

    An answer of the 2xx kind whose usage cannot be read may have been billed: it is unknown, neither ok nor a
    refusal that costs nothing.
    """
    given = _one_of("status", fields.get("status"), STATUSES, clean)
    if given == "ok" and http_status is not None and http_status >= 300 and not clean.live:
        raise InputRefused(f"status ok and http_status {http_status} contradict each other")
    if given is None:
        given = "error" if http_status is not None and http_status >= 300 else "ok"
    if usage.known or reported is not None:
        return given
    if given == "ok" and not clean.live:
        raise InputRefused(_missing_usage(usage))
    answered_well = http_status is not None and http_status < 300
    return "unknown" if given == "ok" or (given == "error" and answered_well) else given


def _missing_usage(usage: Usage) -> str:
    if usage.raw is None:
        return "usage is missing: give usage_raw, usage, reported_cost_usd, or a status of error or unknown"
    return (
        f"usage_raw has no count that can be read as {usage.format} ({', '.join(usage.notes)}): check it, or give usage"
    )


def started(fields: Mapping[str, Any], clean: Cleaner) -> tuple[int, str, bool]:
    """When the call began, as an instant and as text, and whether its clock is to be doubted."""
    now = now_us()
    given = fields.get("started_at")
    if given is None:
        given = fields.get("time")
    if given is None:
        return now, format_time(now), False
    try:
        if not isinstance(given, str):
            raise InputRefused(f"time must be a string like 2026-11-21T19:00:00Z, not {json_kind(given)}")
        started, written = read_time(given)
    except InputRefused:
        if not clean.live:
            raise
        clean.repaired.append("replaced:started_at")
        return now, format_time(now), True
    if started - now <= limits.AHEAD_US_MAX:
        return started, written, False
    if not clean.live:
        raise InputRefused(f"time {given} is more than 24 h ahead: check the clock or the offset")
    return started, written, True


def _reported(usage: Usage, clean: Cleaner) -> str | None:
    """The provider's own figure, rounded like a live one whoever hands it in: it is a fact, not an input to mend."""
    if usage.reported_cost_usd is None:
        return None
    lenient = Cleaner(live=True)
    amount = lenient.money("reported_cost_usd", usage.reported_cost_usd)
    clean.repaired += lenient.repaired
    return amount


def _call_keys(fields: Mapping[str, Any], provider: str, response_id: str | None, clean: Cleaner) -> list[str] | None:
    keys = clean.keys(fields.get("call_keys"))
    if response_id:
        key = f"{provider}:{response_id}"
        if key not in keys and len(key.encode()) <= limits.ATTRIBUTE_BYTES_MAX:
            keys = [key, *keys][: limits.CALL_KEYS_MAX]
    return keys or None
