"""``keledger budget set``, ``raise`` and ``remove``."""

from __future__ import annotations

from typing import Any

import click

from keledger.journal import Ledger, report_zone
from keledger.journal.budgets import budget_fields

from ._budget_options import policy_options
from ._budget_telling import as_json, told_budget
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json


@command(
    name="set",
    examples=(
        "keledger budget set crm --limit 50 --period month --where project=crm --warn 80,95",
        "keledger budget set each-user --limit 2 --period day --where 'user=*' --timezone Europe/Berlin",
        "keledger budget set house --limit 500 --period rolling:30d --hold max",
        "keledger budget set tests --limit 5 --period total --where tag:kind=test --action warn --replace",
    ),
)
@click.argument("name", metavar="NAME")
@policy_options
@click.option("--replace", is_flag=True, help="Put it in the place of the budget of that name.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def set_budget(
    settings: Settings, /, name: str, timezone: str | None, replace: bool, reason: str | None, **given: Any
) -> None:
    """Set a budget: what calls may cost in a period.

    What the journal holds already in the present period counts.  A call must fit into every budget that covers it.
    """
    fields = budget_fields(name, timezone=timezone or report_zone(settings.home), **given)
    with Ledger.open(settings.home_folder) as ledger:
        budgets = ledger.budgets
        budgets.set(fields, replace=replace, reason=reason)
        found = budgets.get(name)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "budget set", "currency": "USD", **as_json(found)})
    else:
        click.echo(f"Budget {name} is set: {told_budget(found)}.")
    for alert in budgets.alerts:
        say(alert)


@command(
    name="raise",
    examples=(
        "keledger budget raise crm --to 80 --until 2026-11-30 --reason 'the launch'",
        "keledger budget raise crm --to 80 --reason 'two more people'",
    ),
)
@click.argument("name", metavar="NAME")
@click.option("--to", "limit", metavar="USD", required=True, help="The new limit, above the one in force.")
@click.option("--until", metavar="DAY|TIME", help="The last day, in the budget's zone, or a time with its offset.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def raise_budget(settings: Settings, name: str, limit: str, until: str | None, reason: str) -> None:
    """Raise a budget's limit, for good or for a time.

    When it is over, the limit that was in force before holds again.  To lower a limit, set the budget anew.
    """
    with Ledger.open(settings.home_folder) as ledger:
        budgets = ledger.budgets
        budgets.raise_limit(name, limit, until, reason)
        found = budgets.get(name)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "budget raise", "currency": "USD", **as_json(found)})
    else:
        click.echo(f"Budget {name} is raised: {told_budget(found)}.")
    for alert in budgets.alerts:
        say(alert)


@command(name="remove", examples=("keledger budget remove crm --reason 'the project is over'",))
@click.argument("name", metavar="NAME")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def remove_budget(settings: Settings, name: str, reason: str | None) -> None:
    """Remove a budget.

    No call is refused for it any more.  What was spent stays in the journal: a budget of the same scope that is set
    later counts it.
    """
    with Ledger.open(settings.home_folder) as ledger:
        event_id = ledger.budgets.remove(name, reason)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "budget remove", "id": event_id, "name": name})
    else:
        click.echo(f"Budget {name} holds no more.")
