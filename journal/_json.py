"""Where two encoders of JSON write the same bytes, and what of a value is plain JSON already.

The format defines the fingerprint of a call by the standard library's ``json``; orjson is ten times as fast and writes
the same for everything but floats (``1e16`` against ``1e+16``).  Integers beyond 64 bits, lone surrogates and keys that
are no strings it refuses with a TypeError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SCALARS = frozenset({str, int, bool, type(None)})
"""The types of JSON's values that hold no others, floats left out."""
_KEYS = frozenset({str})


def is_flat(values: Iterable[Any]) -> bool:
    """Whether all are strings, whole numbers, booleans or null: of exactly these types, so that nothing is hidden."""
    return SCALARS.issuperset(map(type, values))


def is_plain(value: Any, depth: int = 32) -> bool:
    """Whether a value is JSON as it stands: strings as keys, no floats, no types of Python's own, within *depth*.

    Both encoders spell such a value alike, if orjson takes it.
    """
    kind = type(value)
    if kind is not dict and kind is not list:
        return kind in SCALARS
    if not depth or (kind is dict and not _KEYS.issuperset(map(type, value))):
        return False
    items = value.values() if kind is dict else value
    if is_flat(items):
        return True
    return all(is_plain(item, depth - 1) for item in items if type(item) not in SCALARS)
