"""``keledger budget holds`` and ``resolve``: what is held for calls, and what becomes of it where nobody knows more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from keledger.journal import InputRefused, Ledger, amount_pico, pico_to_usd

from ._budget_tables import none_stands, told_time
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._progress import Progress
from ._table import Column, Table, exact_money


@command(
    name="holds",
    examples=("keledger budget holds", "keledger budget holds --budget crm", "keledger budget holds --state lost"),
)
@click.option("--budget", "name", metavar="NAME", help="Only those that count in this budget.")
@click.option(
    "--state", type=click.Choice(("open", "lost", "resolved", "unpriced")), help="Only those that are in this state."
)
@common_options
@pass_settings
def holds(settings: Settings, name: str | None, state: str | None) -> None:
    """Show the holds that no cost has settled.

    An open one is kept by a call under way.  A lost one is of a call whose process has died, or that was sent and never
    answered: it may have been billed, so its amount counts until it is resolved.  An unpriced one stands for a call
    that nobody can price.
    """
    home = settings.home_to_read()
    rows: Sequence[dict[str, Any]] = ()
    if home.writers():
        with Ledger.open(home.path) as ledger, Progress("counting") as progress:
            budgets = ledger.budgets.telling(progress)
            if name is not None:
                budgets.get(name)
            rows = budgets.holds()
    elif name is not None:
        none_stands([name])
    rows = [row for row in rows if name in (None, *row["budgets"]) and state in (None, row["state"])]
    if settings.as_json:
        write_json({"schema_version": 1, "report": "budget holds", "currency": "USD", "rows": rows})
    elif not rows:
        click.echo("No holds: what was reserved is settled.")
    else:
        write_table(_table(rows), "Holds in USD, times in UTC")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        [
            Column("Hold", least=36),
            Column("State", least=8),
            Column("Since", least=16, drop=2),
            Column("Model", drop=1),
            Column("Amount", number=True),
            Column("Resolved", number=True, drop=4),
            Column("Budgets", drop=3),
            Column("Why", least=13, drop=5),
        ]
    )
    for row in rows:
        table.add(
            row["hold_id"],
            row["state"],
            told_time(row["started_at"], "UTC"),
            row["model"],
            exact_money(row["amount_usd"]),
            exact_money(row["resolved_usd"]) if "resolved_usd" in row else "",
            ", ".join(row["budgets"]),
            _why(row),
        )
    return table


def _why(row: Mapping[str, Any]) -> str:
    if row["state"] == "open":
        return f"process {row['pid']}" if row["own"] else "of another home"
    return str(row.get("cause", "never answered" if row["state"] == "lost" else "")).replace("_", " ")


@command(
    name="resolve",
    examples=(
        "keledger budget resolve 7c0f1d52 --cost 0.0042 --reason 'the invoice has it'",
        "keledger budget resolve 7c0f1d52 --not-billed --reason 'the provider never got it'",
    ),
)
@click.argument("hold_id", metavar="HOLD")
@click.option("--cost", metavar="USD", help="What the call was billed at.")
@click.option("--not-billed", is_flag=True, help="It was not billed: it costs nothing.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def resolve(settings: Settings, hold_id: str, cost: str | None, not_billed: bool, reason: str) -> None:
    """Say what the call of a lost hold cost.

    HOLD is the id of a hold or of its call, or how one of them begins.  The cost takes the place of the hold's amount
    in every budget that covers the call.  Should the call's own cost come to the journal later, that one counts.
    """
    if (cost is None) is not not_billed:
        raise click.UsageError("give --cost with what the call was billed at, or --not-billed")
    cost_usd = _cost_usd(cost) if cost is not None else "0"
    with Ledger.open(settings.home_folder) as ledger:
        hold_id = ledger.budgets.hold_id(hold_id.lower())
        event_id = ledger.budgets.resolve(hold_id, cost_usd, reason)
    if settings.as_json:
        found = {"id": event_id, "hold_id": hold_id, "cost_usd": cost_usd}
        write_json({"schema_version": 1, "report": "budget resolve", "currency": "USD", **found})
    else:
        click.echo(f"Hold {hold_id} is resolved: its call cost {exact_money(cost_usd)}.")


def _cost_usd(text: str) -> str:
    try:
        pico = amount_pico(text)
    except InputRefused as error:
        raise click.BadParameter(str(error), param_hint="--cost") from None
    if pico < 0:
        raise click.BadParameter(f"a call does not cost {text} USD: give an amount from 0 on", param_hint="--cost")
    return pico_to_usd(pico)
