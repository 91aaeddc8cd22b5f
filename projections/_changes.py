"""What new prices change for calls: counts and sums, which can be added up in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from keledger.journal import pico_to_usd

from ._sums import order

Keys = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for some of the calls: how many, and their cost in picodollars before and after.

    ``changed_calls`` get another cost or state; ``before_costed`` and ``after_costed`` are how many have a cost at all;
    ``newly_priced_pico`` is what those cost that had no price.
    """

    keys: Keys
    calls: int = 0
    changed_calls: int = 0
    newly_priced: int = 0
    newly_unpriced: int = 0
    kept_calls: int = 0
    before_costed: int = 0
    after_costed: int = 0
    before_pico: int = 0
    after_pico: int = 0
    newly_priced_pico: int = 0

    @property
    def difference_pico(self) -> int:
        """What is added to the cost; negative where it falls."""
        return self.after_pico - self.before_pico

    def as_json(self) -> dict[str, Any]:
        """The figures under their names, money as decimal strings in USD.

        ``before_usd`` and ``after_usd`` are null where there are calls and none of them has a cost, the difference
        where that is so of both; ``uncosted_calls`` are those without a cost afterwards.
        """
        before = self.before_costed or not self.calls
        after = self.after_costed or not self.calls
        return {
            "calls": self.calls,
            "changed_calls": self.changed_calls,
            "newly_priced": self.newly_priced,
            "newly_unpriced": self.newly_unpriced,
            "before_usd": pico_to_usd(self.before_pico) if before else None,
            "after_usd": pico_to_usd(self.after_pico) if after else None,
            "difference_usd": pico_to_usd(self.difference_pico) if before or after else None,
            "uncosted_calls_before": self.calls - self.before_costed,
            "uncosted_calls": self.calls - self.after_costed,
        }


def summed(parts: Iterable[Change], keys_of: Callable[[Keys], Keys]) -> tuple[Change, ...]:
    """The sums of *parts* by what *keys_of* makes of their keys, in their order, those without one last."""
    sums: dict[Keys, list[int]] = {}
    for part in parts:
        figures = _figures(part)
        held = sums.get(keys := keys_of(part.keys))
        sums[keys] = figures if held is None else [mine + more for mine, more in zip(held, figures, strict=True)]
    return tuple(Change(keys, *sums[keys]) for keys in sorted(sums, key=order))


def total(parts: Iterable[Change]) -> Change:
    """The sum of all."""
    whole = summed(parts, lambda _: ())
    return whole[0] if whole else Change(())


def _figures(change: Change) -> list[int]:
    return [
        change.calls, change.changed_calls, change.newly_priced, change.newly_unpriced, change.kept_calls,
        change.before_costed, change.after_costed, change.before_pico, change.after_pico, change.newly_priced_pico,
    ]  # fmt: skip
