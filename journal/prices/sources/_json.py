"""Reading a source's JSON: figures stay the decimals that are written there, and what does not fit is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from keledger.journal._errors import InputRefused

CONTENT_BYTES_MAX = 64 * 2**20
"""Of a price list.  The largest that is known has 3.2 MB."""

_TOLD_MAX = 60
"""Of what a file says, characters that a message repeats."""


class _TwiceThere(Exception):
    """A key that stands twice in one object, with other values."""


def load(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in *content*; its numbers with a point or exponent are Decimal, exactly as they are written.

    A key may stand twice in an object where both say the same.  Raises InputRefused where there is no JSON object, or a
    key says two things: which of them a program takes is up to it.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise InputRefused(f"{where} has more than {CONTENT_BYTES_MAX:,} bytes, which no price list has")
    try:
        raw = json.loads(content, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_members)
    except _TwiceThere as error:
        raise InputRefused(f"{where} has {error}: leave one of them out of the file") from None
    except (ValueError, RecursionError, ArithmeticError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputRefused(f"{where} is not JSON{line}: {what.lower()}") from None
    if not isinstance(raw, dict):
        raise InputRefused(f"{where} holds no JSON object, as every price list that can be taken in does")
    return raw


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members and members[key] != value:
            told = f"{_told(members[key])} and as {_told(value)}"
            raise _TwiceThere(f"the key {_told(key)} twice in one object, as {told}")
        members[key] = value
    return members


def _told(value: Any) -> str:
    """A value as the file may have written it, in a few characters."""
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)
    return text if len(text) <= _TOLD_MAX else f"{text[:_TOLD_MAX]}..."


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
