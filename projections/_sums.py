"""What a report adds up: counts, tokens and picodollars, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keledger.journal import pico_to_usd

TOKEN_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_output_tokens",
)
"""OpenTelemetry's names for what a call read and wrote."""

COLUMNS = (
    "calls",
    "failed_calls",
    "unknown_calls",
    "unpriced_calls",
    "costed_calls",
    *TOKEN_COLUMNS,
    "cost_pico",
)
"""The sums, in the order in which the rollups select them."""


class Sums:
    """Sums over calls, in the order of COLUMNS.  They are exact, so they can be added up in any order."""

    __slots__ = ("adjustments_pico", "corrections_pico", "values")

    def __init__(
        self, values: Iterable[int] | None = None, *, adjustments_pico: int = 0, corrections_pico: int = 0
    ) -> None:
        self.values: list[int] = [0] * len(COLUMNS) if values is None else list(values)
        self.adjustments_pico = adjustments_pico
        """Money beside the calls."""
        self.corrections_pico = corrections_pico
        """What is taken over of closed periods: calls and adjustments."""

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Sums:
        """The sums that a rollup selected.  Money comes as a Decimal without decimals, or as NULL."""
        *counts, cost_pico = row
        return cls([*counts, int(cost_pico or 0)])

    def add(self, other: Sums) -> None:
        """Add what another holds."""
        self.values = [mine + more for mine, more in zip(self.values, other.values, strict=True)]
        self.adjustments_pico += other.adjustments_pico
        self.corrections_pico += other.corrections_pico

    def as_json(self, *, of_calls: bool = False) -> dict[str, Any]:
        """The sums under their names, with *of_calls* only those that are of calls.

        ``cost_usd`` is null only where calls exist and none of them has a cost.
        """
        calls, failed, unknown, unpriced, costed, *tokens, cost_pico = self.values
        shown: dict[str, Any] = {"calls": calls, **dict(zip(TOKEN_COLUMNS, tokens, strict=True))}
        shown["cost_usd"] = pico_to_usd(cost_pico) if costed or not calls else None
        if not of_calls:
            shown["adjustments_usd"] = pico_to_usd(self.adjustments_pico)
            shown["corrections_usd"] = pico_to_usd(self.corrections_pico)
        counts = {"failed_calls": failed, "unknown_calls": unknown, "unpriced_calls": unpriced}
        return shown | counts | {"uncosted_calls": calls - costed}


def total(parts: Iterable[Sums]) -> Sums:
    """The sum of sums."""
    whole = Sums()
    for part in parts:
        whole.add(part)
    return whole


def order(values: Sequence[Any]) -> tuple[Any, ...]:
    """A key that sorts rows by texts, those without one last."""
    return tuple((value is None, value or "") for value in values)
