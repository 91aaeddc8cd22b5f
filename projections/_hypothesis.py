"""What is supposed of calls, and what comes of it: the figures of ``keledger whatif``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from keledger.journal import UsageError, pico_to_usd
from keledger.journal._tokenizers import RATIO_UNIT, TokenRatio

from ._pricing import parse_context


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What is supposed of all calls.  Raises UsageError where nothing is, or a discount is not from 0 to 100.

    *model* is a provider and a model in place of those that were called.  *context* overrides keys of the pricing
    context; an empty value removes one.  *no_cache* counts what was read from and written to a cache as input without
    one.  *discount_percent* is taken off the cost.  *prices_at* is a day, in the report's zone: the prices that were
    valid at its end hold at all times; hours of the day and days of the week stay those of the call.
    """

    model: tuple[str, str] | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    discount_percent: Decimal | None = None
    prices_at: date | None = None

    def __post_init__(self) -> None:
        if self.discount_percent is not None:
            if not self.discount_percent.is_finite() or not 0 <= self.discount_percent <= 100:
                raise UsageError(f"a discount of {self.discount_percent} percent is not from 0 to 100")
        elif not self.priced_anew:
            raise UsageError("nothing is supposed: give a model, a context, no cache, a discount or a day of prices")

    @property
    def priced_anew(self) -> bool:
        """Whether calls are priced again; a discount alone is taken off what they cost."""
        return bool(self.model or self.context or self.no_cache or self.prices_at)

    def discounted(self, pico: int) -> int:
        """A sum of costs less the discount, rounded half-even to a picodollar."""
        return pico if self.discount_percent is None else round(pico * (1 - Fraction(self.discount_percent) / 100))

    def as_json(self, book: str | None) -> dict[str, Any]:
        """What is supposed, and by which book it is priced: None where a discount is taken off what calls cost."""
        provider, model = self.model or (None, None)
        return {
            "provider": provider,
            "model": model,
            "context": dict(self.context),
            "no_cache": self.no_cache,
            "discount_percent": None if self.discount_percent is None else f"{self.discount_percent:f}",
            "prices_at": self.prices_at.isoformat() if self.prices_at else None,
            "book": book,
        }


class WhatIfSums(NamedTuple):
    """Calls that can be compared, and their cost in picodollars, actual and supposed; calls that cannot be."""

    calls: int
    apart_calls: int
    actual_pico: int
    low_pico: int
    high_pico: int

    def as_json(self) -> dict[str, Any]:
        """The figures under their names; amounts are null only where there are calls and none can be compared."""
        amounts = {
            "actual_usd": self.actual_pico,
            "low_usd": self.low_pico,
            "high_usd": self.high_pico,
            "difference_low_usd": self.low_pico - self.actual_pico,
            "difference_high_usd": self.high_pico - self.actual_pico,
        }
        known = self.calls or not self.apart_calls
        return {
            "calls": self.calls,
            **{name: pico_to_usd(pico) if known else None for name, pico in amounts.items()},
            "apart_calls": self.apart_calls,
        }


class Apart(NamedTuple):
    """Calls that stand on neither side, and why.

    *reason* is ``unknown_usage`` (sent, never answered, or counted by a newer release), ``reported`` (the cost was only
    reported), ``unpriced`` (no actual cost is known), ``unknown_model``, ``not_offered`` (not in this context),
    ``no_price`` (not then, or not for all that was used) or ``no_ratio`` (tokens of sound, images or video, of which
    another tokenizer's cannot be told).  *provider* and *model* are what would have been called, or what was.
    """

    reason: str
    provider: str
    model: str
    context: str
    calls: int
    actual_pico: int | None

    def as_json(self) -> dict[str, Any]:
        """All of it, the cost in USD, null where none is known."""
        usd = None if self.actual_pico is None else pico_to_usd(self.actual_pico)
        return {
            "reason": self.reason,
            "provider": self.provider,
            "model": self.model,
            "context": parse_context(self.context),
            "calls": self.calls,
            "actual_usd": usd,
        }


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the tokens of a model were converted into those of the model supposed."""

    model: str
    ratio: TokenRatio

    def as_json(self) -> dict[str, Any]:
        """The bounds as decimal texts, and what they rest on."""
        return {
            "model": self.model,
            "from_tokenizer": self.ratio.source,
            "to_tokenizer": self.ratio.target,
            "least": parts_of_one(self.ratio.least),
            "most": parts_of_one(self.ratio.most),
            "basis": self.ratio.basis,
        }


def parts_of_one(parts: int) -> str:
    """A ratio as a decimal text."""
    return f"{(Decimal(parts) / RATIO_UNIT).normalize():f}"
