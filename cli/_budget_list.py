"""``keledger budget list``: what stands, and what each budget says."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keledger.journal import Ledger, now_us, pico_to_usd
from keledger.journal.budgets import NAME_LENGTH_MAX, Budget

from ._budget_telling import as_json, end_of_raise, told_instant, told_scope, told_usd
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._table import Column, Table, exact_money


@command(name="list", examples=("keledger budget list", "keledger budget list --json"))
@common_options
@pass_settings
def list_budgets(settings: Settings) -> None:
    """Show the budgets that stand.

    The limit is the one in force.  `keledger budget status` shows how much of each is spent.
    """
    home = settings.home_to_read()
    found = []
    if home.writers():  # else nobody has set one
        with Ledger.open(home.path) as ledger:
            found = ledger.budgets.list()
    if settings.as_json:
        rows = [as_json(budget) for budget in found]
        write_json({"schema_version": 1, "report": "budget list", "currency": "USD", "rows": rows})
    elif not found:
        click.echo("No budget stands; keledger budget set makes one.")
    else:
        write_table(_table(found), "Budgets, with their limits in USD")


def _table(found: Sequence[Budget]) -> Table:
    any_raised = any(end_of_raise(budget) is not None for budget in found)
    table = Table(
        [
            Column("Budget", least=NAME_LENGTH_MAX),
            Column("Limit", number=True),
            *([Column("Raised until", least=16, drop=4)] if any_raised else []),
            Column("Period", least=12),
            Column("Zone", drop=3),
            Column("Calls"),
            Column("Action", least=6, drop=1),
            Column("Warns at", drop=5),
            Column("Hold", least=4, drop=2),
            Column("Lost", least=7, drop=6),
            Column("Unpriced", least=8, drop=7),
        ]
    )
    for budget in found:
        end_us = end_of_raise(budget)
        until = told_instant(end_us, budget.timezone) if end_us is not None else ""
        rate = budget.unpriced_pico_per_token
        table.add(
            budget.name,
            told_usd(budget, now_us()),
            *([until] if any_raised else []),
            str(budget.scope.period),
            budget.timezone,
            told_scope(budget.scope),
            budget.action,
            ",".join(map(str, budget.warn_percent)) or "none",
            budget.hold,
            budget.on_lost,
            budget.unpriced if rate is None else f"{exact_money(pico_to_usd(rate * 10**6))}/M",
        )
    return table
