"""How the windows of the budgets stand that cover a call: what decisions, refusals and alerts are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from keledger.journal._money import pico_to_usd, usd_to_pico

from ._fold import Fold
from ._policy import Budget
from ._scopes import RUN, SESSION, Summed, built_in_key
from ._set_budgets import spent_pico
from ._store import OPEN, Sums, SumsKey
from ._windows import Window

DECLARED = {"run": RUN, "session": SESSION}
"""What a call itself may declare a budget for, and the scope that is summed for it."""


class Standing(NamedTuple):
    """One window of a budget: a set one, or one that a call declares for its run or session."""

    budget: Budget | None
    declared: str | None
    summed: Summed
    key: SumsKey
    window: Window
    limit_pico: int
    sums: Sums
    """Over the whole window; of a rolling one, over all its hours."""

    @property
    def spent_pico(self) -> int:
        """What the window's calls came to, and what stands for those of which nobody knows."""
        return spent_pico(self.budget, self.sums)

    @property
    def held_pico(self) -> int:
        """What open holds keep back."""
        return self.sums[OPEN]

    @property
    def left_pico(self) -> int:
        """What the next hold may take; negative where more was spent than there was."""
        return self.limit_pico - self.spent_pico - self.held_pico

    @property
    def blocks(self) -> bool:
        """Whether it stops calls, or only warns."""
        return self.budget is None or self.budget.action == "block"

    @property
    def resets(self) -> bool:
        """Whether the window ends some day."""
        return self.summed.scope.period.resets

    @property
    def name(self) -> str:
        """The budget, for people."""
        return f"budget {self.budget.name}" if self.budget is not None else f"the {self.declared}'s budget"

    @property
    def group(self) -> list[dict[str, str]]:
        """What tells the window from others of its budget, as events have it; a declared one's is told by the call."""
        return self.summed.group(self.key[1]) if self.budget is not None else []

    def kept(self) -> Standing:
        """The same for good: the sums of the fold go on changing."""
        return self._replace(sums=list(self.sums))

    def as_row(self) -> dict[str, Any]:
        """For people and programs: how much of it is left, and when it resets."""
        data = self.as_data()
        return {
            "name": data.get("name", self.declared),
            "declared": self.declared,
            "period": str(self.summed.scope.period) if self.declared is None else self.declared,
            "group": data.get("group", []),
            "limit_usd": data["limit_usd"],
            "spent_usd": data["spent_usd"],
            "held_usd": data["held_usd"],
            "left_usd": pico_to_usd(self.left_pico),
            "resets_at": data.get("window_to"),
        }

    def as_data(self) -> dict[str, Any]:
        """As events tell it."""
        budget, group = self.budget, self.group
        data: dict[str, Any] = {
            **self.summed.told(self.window),
            "limit_usd": pico_to_usd(self.limit_pico),
            "spent_usd": pico_to_usd(self.spent_pico),
            "held_usd": pico_to_usd(self.held_pico),
        }
        if budget is not None:
            data["name"], data["budget_id"] = budget.name, budget.id
        else:
            data["declared"] = self.declared
        if group:
            data["group"] = group
        return data


def standings(
    fold: Fold, data: Mapping[str, Any], started_us: int, declared: Sequence[Mapping[str, str]] = ()
) -> list[Standing]:
    """How every budget stands that covers a call of these recorded fields: in the order in which they were set, then
    those that the call declares."""
    covering = fold.covering(fold.scopes.keys(data, started_us))
    found = [standing(fold, budget, key, started_us) for budget, key in covering]
    for each in declared:
        number = DECLARED[each["scope"]]
        value = data.get(each["scope"])
        if value is not None:
            summed, key = fold.scopes[number], built_in_key(number, value)
            limit_pico, window = usd_to_pico(each["limit_usd"]), summed.window(started_us)
            found.append(Standing(None, each["scope"], summed, key, window, limit_pico, fold.store.sums(key)))
    return found


def standing(fold: Fold, budget: Budget, key: SumsKey, instant_us: int) -> Standing:
    """How one window of a budget stands: the one that the instant lies in."""
    summed = fold.scopes[key[0]]
    sums = window_sums(fold, key, instant_us)
    limit_pico = budget.limit_pico_at(instant_us) if budget.raises else budget.limit_pico
    return Standing(budget, None, summed, key, summed.window(instant_us), limit_pico, sums)


def window_sums(fold: Fold, key: SumsKey, instant_us: int) -> Sums:
    """The sums of the window that an instant lies in, not to be changed: of a rolling one, over all its hours."""
    summed = fold.scopes[key[0]]
    if not summed.is_rolling:
        return fold.store.sums(key)
    window = summed.window(instant_us)
    return fold.store.sums_between(key[0], key[1], window.start_us, window.end_us)


def present_standings(fold: Fold, budget: Budget, now_us: int) -> Iterator[Standing]:
    """How the present windows of a budget stand: one for each group of which anything was counted in them.

    Where the budget is not for each of something, its one window is told though nothing was counted in it yet.
    """
    number = fold.scopes.number(budget.scope)
    if number is None:
        return
    summed = fold.scopes[number]
    window = summed.window(now_us)
    groups = {group for group, slot, _ in fold.store.windows(number) if not summed.resets or _within(slot, window)}
    if not summed.columns:
        groups.add("")
    for group in sorted(groups):
        key = (number, group, window.start_us if summed.resets else 0)
        yield standing(fold, budget, key, now_us)


def _within(slot: int, window: Window) -> bool:
    return window.start_us <= slot < window.end_us
