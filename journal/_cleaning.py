"""Holding given values to the rules of the line: refused where a person can mend them, repaired in a live call.

A live call (hook, library) has been made and must not be lost for what it carries, so long fields are cut, bad
tags dropped, surrogates replaced; each repair is named in ``repaired``.  ``record`` and imports refuse instead.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import orjson

from . import _limits as limits
from ._errors import InputRefused
from ._money import USD_PATTERN

_CONTEXT_KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MONEY = re.compile(USD_PATTERN)
_MONEY_STEP = Decimal("0.000000000001")
_MONEY_MAX = Decimal(10) ** 15
_CONTEXT_MAX = 16
DEPTH_MAX = 32
"""Levels of nesting in what is given; a provider's usage object has three or four."""
REPAIRED_MAX = 32
"""Repairs that are named in a live call's event."""
NAMES_KEPT_MAX = 1024
"""How many keys of tags, and names of usage objects, are known to be well-formed.  A user has some dozens."""
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str).encode


class _WellFormed(dict[str, bool]):
    """Whether a name matches a pattern: ``names[name]``.  Those that do are kept; any other may be of any length."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = re.compile(pattern)

    def __missing__(self, name: str) -> bool:
        if self._pattern.fullmatch(name) is None:
            return False
        if len(self) >= NAMES_KEPT_MAX:
            self.clear()
        self[name] = True
        return True


_TAG_KEYS = _WellFormed(r"[a-z][a-z0-9_.-]{0,62}")
_PLAIN_NAMES = _WellFormed(r"[A-Za-z0-9_.-]{1,128}")


def json_safe(value: Any, *, strict: bool, depth: int = DEPTH_MAX) -> Any:
    """*value* as what JSON can hold: times in RFC 3339, Decimal and UUID as strings, tuples as lists.

    What has no such form, or is nested too deep, is refused (InputRefused) when *strict*, else told by its kind or
    left out: a live call must not be lost for it.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if strict or math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth == 0:
            if strict:
                raise InputRefused(f"it is nested deeper than {DEPTH_MAX} levels")
            return None
        if isinstance(value, Mapping):
            return {str(key): json_safe(item, strict=strict, depth=depth - 1) for key, item in value.items()}
        return [json_safe(item, strict=strict, depth=depth - 1) for item in value]
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    if strict:
        raise InputRefused(f"a {kind.__name__} is no JSON value: give a string, a number, an object or a list")
    return f"<{kind.__name__}>"


class Cleaner:
    """Cleans the fields of one call.  ``repaired`` names what a live call needed; otherwise InputRefused is raised."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.repaired: list[str] = []

    def texts(self, given: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
        """Those of several fields that hold text, as :meth:`text` has it."""
        found: dict[str, str] = {}
        for name in names:
            value = given.get(name)
            if value is None:
                continue
            if type(value) is str and value.isascii() and 0 < len(value) <= limits.ATTRIBUTE_BYTES_MAX:
                found[name] = value  # most are, and this is asked some twenty times a call
            elif (text := self.text(name, value)) is not None:
                found[name] = text
        return found

    def text(self, name: str, value: object, limit: int = limits.ATTRIBUTE_BYTES_MAX) -> str | None:
        """A string in NFC within *limit* bytes; None for an empty or absent one."""
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            if not self.live:
                raise InputRefused(f"{name} must be a string, not {json_kind(value)}")
            self.repaired.append(f"text:{name}")
            value = str(value)
        if value.isascii():
            return value if len(value) <= limit else self._cut(name, value, limit)
        if any("\ud800" <= character <= "\udfff" for character in value):
            self._repair(
                f"surrogate:{name}",
                f"{name} holds a lone surrogate (U+D800 to U+DFFF): it is no valid Unicode",
            )
            value = re.sub("[\ud800-\udfff]", "\ufffd", value)
        value = unicodedata.normalize("NFC", value)
        return value if len(value.encode()) <= limit else self._cut(name, value, limit)

    def _cut(self, name: str, value: str, limit: int) -> str:
        length = len(value.encode())
        self._repair(f"cut:{name}", f"{name} is {length} bytes long, {limit} are allowed")
        return value.encode()[:limit].decode("utf-8", "ignore")

    def drop(self, name: str, refusal: str) -> None:
        """Leave a field out of a live call, by name; raises InputRefused with *refusal* for any other."""
        self._repair(f"dropped:{name}", refusal)

    def _repair(self, what: str, refusal: str) -> None:
        if not self.live:
            raise InputRefused(refusal)
        self.repaired.append(what)

    def count(self, name: str, value: object, *, least: int = 0, most: int = limits.INTEGER_MAX) -> int | None:
        """A whole number from *least* to *most*; None for an absent one, and for a bad one in a live call."""
        if value is None:
            return None
        if type(value) is int and least <= value <= most:
            return value
        shown = (
            "a negative number"
            if isinstance(value, int) and not isinstance(value, bool) and value < 0
            else json_kind(value)
        )
        self._repair(f"dropped:{name}", f"{name} must be a whole number from {least} to {most}, not {shown}")
        return None

    def tags(self, value: object) -> dict[str, str] | None:
        """Tags: keys like ``[a-z][a-z0-9_.-]{0,62}``, at most 32, values of at most 256 bytes."""
        if value is None:
            return None
        if not isinstance(value, (dict, Mapping)):
            self._repair("dropped:tags", f"tags must be an object of strings, not {json_kind(value)}")
            return None
        found: dict[str, str] = {}
        for key in sorted(value, key=str):
            if not isinstance(key, str) or not _TAG_KEYS[key]:
                shown = str(key).encode("ascii", "replace").decode()[:64]
                self._repair(f"dropped:tags.{shown}"[:128], f"tag key {shown!r} must match [a-z][a-z0-9_.-]{{0,62}}")
                continue
            if len(found) == limits.TAGS_MAX:
                self._repair("dropped:tags", f"{len(value)} tags are given, {limits.TAGS_MAX} are allowed")
                break
            found[key] = self.text(f"tags.{key}", value[key]) or ""
        return found or None

    def money(self, name: str, value: object) -> str | None:
        """USD as a decimal string in its one spelling; a live call's figure is rounded half-even to 12 decimals."""
        if value is None:
            return None
        if isinstance(value, str) and _MONEY.fullmatch(value) and not value.startswith("-"):
            return value
        if not self.live:
            raise InputRefused(
                f'{name} must be a decimal string like "0.004505" (at most 12 decimals, no exponent or sign), '
                f"not {json_kind(value)}"
            )
        try:
            amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
            if not amount.is_finite() or not 0 <= amount < _MONEY_MAX:
                raise InvalidOperation
        except InvalidOperation:
            self.repaired.append(f"dropped:{name}")
            return None
        rounded = amount.quantize(_MONEY_STEP)  # the default context rounds half-even
        if rounded != amount:
            self.repaired.append(f"rounded:{name}")
        spelled = format(rounded.normalize() + 0, "f")
        return spelled if _MONEY.fullmatch(spelled) else None

    def context(self, value: object) -> dict[str, str]:
        """A pricing context: a small map of strings."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._repair(
                "dropped:pricing_context",
                f"pricing_context must be an object of strings, not {json_kind(value)}",
            )
            return {}
        found: dict[str, str] = {}
        for key, item in value.items():
            if not isinstance(key, str) or not _CONTEXT_KEY.fullmatch(key) or len(found) == _CONTEXT_MAX:
                self._repair("dropped:pricing_context", f"pricing_context key {str(key)[:64]!r} is not allowed")
            elif text := self.text(f"pricing_context.{key}", item):
                found[key] = text
        return found

    def keys(self, value: object) -> list[str]:
        """Keys under which the call may be known elsewhere, without repetition."""
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            self._repair("dropped:call_keys", f"call_keys must be a list of strings, not {json_kind(value)}")
            return []
        found = [text for item in value if (text := self.text("call_keys", item))]
        if len(found) > limits.CALL_KEYS_MAX:
            self._repair("dropped:call_keys", f"{len(found)} call_keys are given, {limits.CALL_KEYS_MAX} are allowed")
        return list(dict.fromkeys(found))[: limits.CALL_KEYS_MAX] if len(found) > 1 else found


def json_kind(value: object) -> str:
    """What a value is, in JSON's words, for messages; never the value itself, which may be private."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, float):
        return "a floating-point number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "a list"


def compact_usage(raw: Mapping[str, Any]) -> str:
    """``usage_raw`` as it is journaled: compact JSON without long strings; its size and SHA-256 where it is large."""
    encoded = _compact(raw)
    if len(encoded) <= limits.RAW_USAGE_BYTES_MAX:
        return encoded.decode()
    digest = hashlib.sha256(encoded).hexdigest()
    return json.dumps({"size_bytes": len(encoded), "sha256": digest}, separators=(",", ":"))


def _compact(raw: Mapping[str, Any]) -> bytes:
    if _is_compact(raw):
        try:
            return orjson.dumps(raw)
        except TypeError:
            pass  # integers beyond 64 bits, lone surrogates
    return _encode(_without_text(raw)).encode("utf-8", "replace")


def _is_compact(raw: Any) -> bool:
    """Whether a usage object holds but counts, names, and objects and lists of such: most do, and are kept as is."""
    kind = type(raw)
    if kind is dict:
        for name in raw:
            if type(name) is not str or not _PLAIN_NAMES[name]:
                return False
        raw = raw.values()
    elif kind is not list:
        return False
    for item in raw:
        kind = type(item)
        if kind is str:
            if len(item) > limits.RAW_STRING_CHARACTERS_MAX:
                return False
        elif kind is not int and item is not None and kind is not bool and not _is_compact(item):
            return False
    return True


def _without_text(value: Any) -> Any:
    kind = type(value)  # parsed JSON is most often all there is, so exact types go first
    if kind is int or kind is str or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else None  # NaN and infinities are no JSON
    if kind is dict or isinstance(value, Mapping):
        return {
            str(key): item if type(item) is int else _without_text(item)
            for key, item in value.items()
            if (type(item) is int or not _is_text(item)) and _PLAIN_NAMES[str(key)]
        }
    if isinstance(value, list | tuple):
        return [_without_text(item) for item in value if not _is_text(item)]
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) > limits.RAW_STRING_CHARACTERS_MAX


def check_reason(reason: str) -> str:
    """The reason of an administrative event as it is journaled.

    Raises InputRefused where none is given, or it is no valid Unicode, or too long.
    """
    if not reason.strip():
        raise InputRefused("a reason is missing: say why, it is kept for whoever reads the journal later")
    return Cleaner(live=False).text("reason", reason, limit=limits.REASON_BYTES_MAX) or reason
