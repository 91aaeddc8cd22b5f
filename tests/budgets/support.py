"""What tests of budgets share: calls of a known size, and a home's budgets held to the model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from keledger.journal import Home, Ledger
from keledger.journal._home import own_writers
from keledger.journal.budgets import budget_fields
from keledger.journal.budgets._fold import Fold
from keledger.journal.budgets._guard import Guard
from keledger.journal.budgets._standing import Standing
from tests.journal.support import events

from .model import Model, Sums, in_order


def call(tokens: int = 1000, **fields: Any) -> dict[str, Any]:
    """A call that may be answered with so many tokens, at most."""
    request = {"messages": [{"role": "user", "content": "x" * 100}], "max_tokens": tokens}
    return {"provider": "openai", "model": "gpt-5-mini", "request": request, **fields}


def answer(tokens: int = 1000) -> dict[str, Any]:
    """An answer of so many tokens."""
    return {"usage": {"prompt_tokens": 40, "completion_tokens": tokens}}


def set_budget(home: Home, name: str = "all", limit: str = "1", period: str = "total", **fields: Any) -> str:
    """Set a budget that holds the most that a call can cost."""
    with Ledger.open(home.path) as ledger:
        return ledger.budgets.set(budget_fields(name, limit=limit, period=period, hold="max", **fields), replace=True)


def row(ledger: Ledger, name: str = "all") -> dict[str, Any]:
    """How the one window of a budget stands."""
    (standing,) = ledger.budgets.standings([name])
    return standing.as_row()


def check(home: Home, ledger: Ledger) -> Model:
    """Hold what a ledger says to the model and to a guard that is built from nothing; returns the model."""
    found = ledger.budgets.standings()
    model = Model(own_writers(home), in_order(events(home)))
    compare(model, found, datetime.now(UTC))
    assert carried(ledger) == from_nothing(home, ledger, home.path.parent / "built")
    return model


def carried(ledger: Ledger) -> dict[str, Any]:
    """All that a ledger's guard keeps."""
    with ledger._enforcing().guard.locked() as fold:
        return state_of(fold)


def from_nothing(home: Home, ledger: Ledger, folder: Path) -> dict[str, Any]:
    """All that a guard keeps which is built anew, in a folder of its own."""
    built = Guard(home, ledger._disk, ledger._appender)
    built._path = folder / "budgets.sqlite3"
    built.rebuild()
    with built.locked() as fold:
        state = state_of(fold)
    built.close()
    return state


def state_of(fold: Fold) -> dict[str, Any]:
    """All that a guard keeps, free of the numbers that it gave to scopes."""
    scopes = {number: fold.scopes[number].scope.definition for number in (0, 1, *fold.scopes.numbered)}

    def named(key: Sequence[Any]) -> tuple[Any, ...]:
        return scopes[key[0]], key[1], key[2]

    holds = dict(fold.store.holds.items())
    fold.learn_what_was_put_off()
    return {
        "sums": {
            (scope, group, slot): list(amounts)
            for number, scope in scopes.items()
            for group, slot, amounts in fold.store.windows(number)
        },
        "holds": {key: {**hold, "keys": sorted(map(named, hold["keys"]))} for key, hold in holds.items()},
        "alerts": {
            named((int(number), group, slot)): row
            for key, row in fold.store.alerts.items()
            for number, slot, group in [key.split(" ", 2)]
        },
        "exceptions": dict(fold.store.exceptions.items()),
        "histories": {key: history.rows for key, history in fold.store.histories.items()},
        "budgets": fold.budgets,
        "unreadable": fold.unreadable,
    }


def compare(model: Model, found: Sequence[Standing], at: datetime, *, looking_back: bool = False) -> None:
    """Hold standings to the model: as they are, or, *looking_back*, as they were with the raises of that time."""
    listed: dict[str, set[tuple[str | None, ...]]] = {name: set() for name in model.budgets}
    for each in found:
        assert each.budget is not None
        budget = model.budgets[each.budget.name]
        group = tuple(one.get("value") for one in each.summed.group(each.key[1]))
        sums = model.sums(budget, group, at)
        seen = [*(Decimal(amount) / 10**12 for amount in each.sums[:6]), *each.sums[6:]]
        assert seen == as_list(sums), (budget, group)
        assert Decimal(each.limit_pico) / 10**12 == budget.limit(at, known=at if looking_back else None)
        assert Decimal(each.spent_pico) / 10**12 == sums.spent(budget.data["on_lost"])
        listed[each.budget.name].add(group)
    for name, budget in model.budgets.items():
        told = {group for group in model.groups(budget, at) if model.sums(budget, group, at) != Sums()}
        assert told <= listed[name], name


def as_list(sums: Sums) -> list[Any]:
    """A window's sums in the order in which a guard keeps them."""
    amounts = [sums.calls, sums.lost, sums.resolved, sums.unpriced, sums.adjustments, sums.held]
    return [*amounts, sums.call_count, sums.lost_count, sums.unpriced_count, sums.unknown_count, sums.open_count]
