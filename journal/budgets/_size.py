"""The one amount of a hold that several budgets cover: the largest that any of their policies asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keledger.journal._asked_call import AskedCall
from keledger.journal.prices import Book

from ._fold import Fold
from ._sizes import History, Sized, Unbounded, Unpriced, history_key, size_at_rate, size_hold
from ._standing import Standing

HOLD_GRAIN_PICO = 10**6
"""Holds are rounded up to whole micro-dollars: they are estimates, and people read them."""

DECLARED_POLICY = "p90"
"""Of a budget that a call declares for its run or session."""


@dataclass(slots=True)
class Size:
    """How much to hold, how that was come to, and why some budgets cannot say how much."""

    amount_pico: int = 0
    told: dict[str, Any] | None = None
    """As events tell it."""
    is_unknown: bool = False
    """Whether a budget lets the call pass though nobody knows what it may cost: only while anything is left."""
    causes: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By the identity of a :class:`Standing` that refuses: a cause, and its detail."""

    @property
    def hold_pico(self) -> int:
        """The amount of the hold."""
        return -(-self.amount_pico // HOLD_GRAIN_PICO) * HOLD_GRAIN_PICO

    def take(self, policy: str, sized: Sized) -> None:
        """Hold as much as this, if nothing asks for more."""
        if self.told is not None and sized.amount_pico <= self.amount_pico:
            return
        self.amount_pico = sized.amount_pico
        told = {
            "policy": policy,
            "method": sized.method,
            "calls": sized.calls or None,
            "input_tokens": sized.input_tokens,
            "output_tokens": sized.output_tokens,
        }
        self.told = {name: value for name, value in told.items() if value is not None}


def size_call(fold: Fold, stand: Sequence[Standing], asked: AskedCall, book: Book) -> Size:
    """How much to hold for a call that these windows cover."""
    size = Size()
    data = asked.data
    key = history_key(data["provider"], data["model"], data.get("prompt"))
    known = fold.history(key)
    if known is not None:
        history = known.repriced(book, data["provider"], data["model"], asked.started_us)
        if history is not known:
            fold.store.histories.put(key, history)
            known = history
    sized: dict[str, Sized | Unbounded | Unpriced] = {}

    def of_policy(policy: str) -> Sized | Unbounded | Unpriced:
        if policy not in sized:
            sized[policy] = size_hold(
                policy,
                book=book,
                provider=data["provider"],
                model=data["model"],
                at_us=asked.started_us,
                context=data.get("pricing_context", {}),
                shape=data.get("request"),
                history=known,
            )
        return sized[policy]

    done: set[str] = set()
    for each in stand:
        policy = each.budget.hold if each.budget is not None else DECLARED_POLICY
        if policy in done:
            continue
        found = of_policy(policy)
        if isinstance(found, Sized):
            done.add(policy)
        elif isinstance(found, Unpriced):
            found = _unpriced(each, policy, found, asked, known, book)
            size.is_unknown |= isinstance(found, Sized) and found.method == "free"
        if isinstance(found, Unbounded) and not each.blocks:
            policy = DECLARED_POLICY  # it only warns: as good a guess as any
            found = of_policy(policy)
        if isinstance(found, Sized):
            size.take(policy, found)
        else:
            cause = "unbounded" if isinstance(found, Unbounded) else "unpriced"
            size.causes[id(each)] = (cause, found.reason)
    return size


def _unpriced(
    each: Standing, policy: str, found: Unpriced, asked: AskedCall, history: History | None, book: Book
) -> Sized | Unbounded | Unpriced:
    """What a budget does with a call that nobody can price."""
    budget = each.budget
    if budget is None or (budget.unpriced == "block" and each.blocks):
        return found
    if policy == "max" and each.blocks:
        return Unbounded("no price is known for it, and what its provider may report as its cost has no bound")
    if budget.unpriced != "rate" or budget.unpriced_pico_per_token is None:
        return Sized(0, "free", 0, None, None)
    data = asked.data
    return size_at_rate(
        policy,
        budget.unpriced_pico_per_token,
        book=book,
        provider=data["provider"],
        model=data["model"],
        shape=data.get("request"),
        history=history,
    )
