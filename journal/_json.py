"""Where two encoders of JSON write the same bytes, and what of a value is plain JSON already.

The format defines the fingerprint of a call by the standard library's ``json``; orjson is ten times as fast and writes
the same for everything but floats (``1e16`` against ``1e+16``).  Integers beyond 64 bits, lone surrogates and keys that
are no strings it refuses with a TypeError.
"""

from __future__ import annotations

from typing import Any

SCALARS = frozenset({str, int, bool, type(None)})
"""The types of JSON's values that hold no others, floats left out."""


def is_plain(value: Any, depth: int = 32) -> bool:
    """Whether a value is JSON as it stands: strings as keys, no floats, no types of Python's own, within *depth*.

    Both encoders spell such a value alike, if orjson takes it.
    """
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list:
        return kind in SCALARS
    if not depth:
        return False
    for item in value:  # noqa: SIM110 - a generator would take half as long again
        if type(item) not in SCALARS and not is_plain(item, depth - 1):
            return False
    return True
