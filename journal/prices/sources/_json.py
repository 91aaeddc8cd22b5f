"""Reading a source's JSON: figures stay the decimals that are written there, and what does not fit is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from keledger.journal._errors import InputRefused

CONTENT_BYTES_MAX = 64 * 2**20
"""Of a price list.  The largest that is known has 3.2 MB."""


def load(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in *content*; its numbers with a point or exponent are Decimal, exactly as they are written.

    Raises InputRefused where there is none.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise InputRefused(f"{where} has more than {CONTENT_BYTES_MAX:,} bytes, which no price list has")
    try:
        raw = json.loads(content, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputRefused(f"{where} is not JSON{line}: {what.lower()}") from None
    if not isinstance(raw, dict):
        raise InputRefused(f"{where} holds no JSON object, as every price list that can be taken in does")
    return raw


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
