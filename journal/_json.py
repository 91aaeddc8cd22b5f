"""Where two encoders of JSON write the same bytes, and what of a value is plain JSON already.

The format defines the fingerprint of a call by the standard library's ``json``; orjson is ten times as fast and writes
the same for everything but floats (``1e16`` against ``1e+16``).  Integers beyond 64 bits, lone surrogates and keys that
are no strings it refuses with a TypeError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_SCALARS = frozenset({str, int, bool, type(None)})
_SPELLED_ALIKE = _SCALARS | {dict, list}


def is_flat(values: Iterable[Any]) -> bool:
    """Whether all are strings, whole numbers, booleans or null: of exactly these types, so that nothing is hidden."""
    return _SCALARS.issuperset(map(type, values))


def is_spelled_alike(value: Any) -> bool:
    """Whether orjson, where it takes a value at all, writes what ``json`` does: plain types without floats."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return kind in _SCALARS
    items = value.values() if kind is dict else value
    if is_flat(items):
        return True
    return _SPELLED_ALIKE.issuperset(map(type, items)) and all(map(is_spelled_alike, items))
