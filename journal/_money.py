"""Exact money: USD as one decimal spelling in text, as whole picodollars in code.

A picodollar is 1e-12 USD.  Prices stand on a grid of 1e-6 USD per million units, which is one picodollar a unit,
so every price times every count is a whole number of picodollars: nothing is rounded, and sums are equal in any
order and on any engine.
"""

from __future__ import annotations

import re

from . import _limits as limits
from ._errors import InputRefused

PICODOLLARS = 10**12
"""Picodollars in one dollar."""

USD_PATTERN = r"^(?:0|-?(?:[1-9][0-9]{0,14}(?:\.[0-9]{0,11}[1-9])?|0\.[0-9]{0,11}[1-9]))$"
"""The one spelling of money: no exponent, no ``+``, no leading or trailing zeros, no ``-0``, at most 12 decimals,
below 10^15.  Without look-around, so that regular expression engines of other languages take it too."""

PRICE_PATTERN = r"^(?:0|[1-9][0-9]{0,11}(?:\.[0-9]{0,5}[1-9])?|0\.[0-9]{0,5}[1-9])$"
"""The one spelling of a price in USD per million units: not negative, on the grid of 1e-6, below 10^12, so that its
picodollars a unit fit DECIMAL(18,0)."""

SHOWN_DECIMALS = 6
"""A short call costs some millionths of a dollar."""

_USD = re.compile(USD_PATTERN)
_PRICE = re.compile(PRICE_PATTERN)
_USD_END = 10**15 * PICODOLLARS


def usd_to_pico(text: str) -> int:
    """Dollars in their one spelling as picodollars.  Raises InputRefused for any other spelling."""
    if _USD.fullmatch(text) is None:
        raise InputRefused(
            f"{text!r} is no amount in USD: write it like 0.002475, with at most 12 decimals, below 10^15, "
            "without exponent, plus sign or superfluous zeros"
        )
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(12, "0"))


def pico_to_usd(picodollars: int) -> str:
    """Picodollars as dollars in their one spelling.  Raises InputRefused from 10^15 USD on."""
    magnitude = abs(picodollars)
    if magnitude >= _USD_END:
        raise InputRefused(f"{picodollars} picodollars are more than an amount may be (below 10^15 USD)")
    whole, fraction = divmod(magnitude, PICODOLLARS)
    sign = "-" if picodollars < 0 else ""
    return f"{sign}{whole}.{fraction:012}".rstrip("0") if fraction else f"{sign}{whole}"


def shown_usd(text: str) -> str:
    """Dollars for people, rounded half-even to six decimals; what would round to nothing says so (``<$0.000001``)."""
    from decimal import ROUND_HALF_EVEN, Decimal  # nothing else of the write side needs it

    amount, least = Decimal(text), Decimal(1).scaleb(-SHOWN_DECIMALS)
    rounded = amount.quantize(least, ROUND_HALF_EVEN)
    sign = "-" if amount < 0 else ""
    return f"{sign}<${least:f}" if amount and not rounded else f"{sign}${abs(rounded):,}"


def check_adjusted(picodollars: int) -> None:
    """Raise InputRefused for more than an adjustment or an invoice may come to, either way."""
    if abs(picodollars) > limits.ADJUSTED_USD_MAX * PICODOLLARS:
        raise InputRefused(f"that is more than {limits.ADJUSTED_USD_MAX:,} USD, the most that can be booked")


def micro_per_million(text: str) -> int:
    """A price in USD per million units as picodollars a unit.

    One unit at 1e-6 USD per million costs 1e-12 USD, hence the price's micro-dollars per million are its
    picodollars per unit.  Raises InputRefused for a price that is negative, off the grid or spelled otherwise.
    """
    if _PRICE.fullmatch(text) is None:
        raise InputRefused(
            f"{text!r} is no price in USD per million units: write it like 0.075, with at most 6 decimals, "
            "not negative, below 10^12, without exponent or superfluous zeros"
        )
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(6, "0"))
