"""``keledger budget explain``: everything that one window of a budget is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from keledger.journal import Ledger, pico_to_usd
from keledger.journal.budgets import Budget, Explanation, instant_asked, status_row

from ._budget_tables import at_options, none_stands, time_asked, told_group, told_time
from ._budget_telling import told_period, told_scope
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._progress import Progress
from ._table import Column, Table, exact_money, printable, terminal_width, wrapped
from ._where import parse_where

_SHARES = {"p50": "one call in two", "p90": "nine calls in ten", "p99": "99 calls in 100"}

WORST_OVERSHOOT = {"p50": "3.5 %", "p90": "0.01 %", "p99": "0"}
"""How far a limit was passed at worst, as measured: the table of docs/budgets.md, "How large a hold is"."""

_KINDS = {
    "call": "call",
    "unpriced": "call without a price",
    "unknown": "call, usage unknown",
    "adjustment": "adjustment",
    "open": "open hold",
    "lost": "lost hold",
    "resolved": "resolved hold",
}


@command(
    name="explain",
    examples=(
        "keledger budget explain crm",
        "keledger budget explain each-user --group user=ada --at 2026-11-20",
        "keledger --json budget explain crm | jq '.rows[] | select(.kind == \"lost\")'",
    ),
)
@click.argument("name", metavar="NAME")
@click.option(
    "--group", metavar="COLUMN=VALUE", multiple=True, help="Which of several windows: user=ada; user= for none."
)
@at_options
@common_options
@pass_settings
def explain(settings: Settings, name: str, group: tuple[str, ...], at: str | None, timezone: str | None) -> None:
    """Show every charge and every hold of one window of a budget.

    The amounts add up to what is spent and held, to the last digit.  The whole journal is folded for it, which takes
    some twenty seconds for each million events.
    """
    time = time_asked(settings, at, timezone)
    chosen = {column: value or None for column, value in parse_where(group)} or None
    home = settings.home_to_read()
    if not home.writers():
        none_stands([name])
    with Ledger.open(home.path) as ledger, Progress("adding up") as progress:
        found = ledger.budgets.telling(progress).explain(name, group=chosen, **time)
    budget = found.standing.budget
    assert budget is not None, "what a call declares cannot be explained"
    row = status_row(found.standing, instant_asked(budget, **time))
    if settings.as_json:
        _write_json(found, row, budget)
    else:
        _show(found, row, budget)


def overshoot(budget: Budget) -> str:
    """How far a budget can be overspent, by how much it holds for a call under way."""
    if budget.action == "warn":
        return "It only warns, so nothing keeps calls from passing the limit."
    if budget.hold == "max":
        return (
            "It holds the most that each call can cost, so it is never overspent by calls that were reserved; what was "
            "recorded or merged without a hold counts all the same."
        )
    return (
        f"It holds what {_SHARES[budget.hold]} of a kind cost at most ({budget.hold}): it can be overspent by what the "
        f"calls under way cost beyond their holds ({WORST_OVERSHOOT[budget.hold]} of the limit at worst where that was "
        "measured), and by nothing else that was reserved."
    )


def _write_json(found: Explanation, row: Mapping[str, Any], budget: Budget) -> None:
    write_json(
        {
            "schema_version": 1,
            "report": "budget explain",
            "currency": "USD",
            "budget": row,
            "hold": budget.hold,
            "overshoot": overshoot(budget),
            "rows": [entry.as_row() for entry in found.entries],
        }
    )


def _show(found: Explanation, row: Mapping[str, Any], budget: Budget) -> None:
    group = told_group(row["group"])
    of_group = f", {group}" if group else ""
    window = ""
    if row["window_from"] is not None:
        zone = row["timezone"] if not row["period"].startswith("rolling:") else "UTC"
        window = f", {told_time(row['window_from'], zone)} to {told_time(row['window_to'], zone)} ({zone})"
    heading = f"Budget {budget.name}: {told_scope(budget.scope)}{of_group}, {told_period(budget.scope)}{window}, in USD"
    table = Table(
        [
            Column("When", least=16, drop=2),
            Column("What", least=9),
            Column("Model", drop=3),
            Column("Id", least=36, drop=1),
            Column("Amount", number=True),
        ]
    )
    for entry in found.entries:
        told = entry.told
        when = told_time(told.get("started_at") or told.get("effective_at"), row["timezone"])
        is_hold = entry.kind in ("open", "lost", "resolved")
        shown_id = told["hold_id"] if is_hold else entry.id
        table.add(
            when, _KINDS[entry.kind], told.get("model", ""), shown_id, exact_money(pico_to_usd(entry.amount_pico))
        )
    table.add("", "Spent", "", "", exact_money(row["spent_usd"]), kind="total")
    table.add("", "Held", "", "", exact_money(row["open_usd"]))
    table.add("", "Left", "", "", exact_money(row["left_usd"]))
    table.add("", "Limit", "", "", exact_money(row["limit_usd"]))
    write_table(table, heading)
    sentences = [overshoot(budget)]
    if row["on_lost"] == "release" and row["lost_usd"] != "0":
        sentences.insert(0, "Lost holds are listed, and not spent: this budget releases them.")
    for sentence in sentences:
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)
