"""``keledger budget check``: whether anything is left, for scripts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from keledger.journal import Ledger, usd_to_pico

from ._budget_tables import none_stands, told_group, told_reset
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json, write_table
from ._progress import Progress
from ._table import Column, Table, money
from ._where import parse_where

NOTHING_LEFT = 4

_ATTRIBUTES = ("user", "project", "team", "cost_center")
_FIELDS = ("provider", "model", "prompt", "prompt_version", "session", "run", "client")


@command(
    name="check",
    examples=(
        "keledger budget check && ./nightly-batch",
        "keledger budget check crm house",
        "keledger budget check --project crm --where model=gpt-5-mini",
    ),
    statuses={NOTHING_LEFT: "nothing is left in one of the windows"},
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, help="Of a call that has this; may be given again.")
@click.option("--user", metavar="NAME", help="Of a call for this user.")
@click.option("--project", metavar="NAME", help="Of a call for this project.")
@click.option("--team", metavar="NAME", help="Of a call for this team.")
@click.option("--cost-center", metavar="NAME", help="Of a call for this cost center.")
@common_options
@pass_settings
def check(settings: Settings, /, names: tuple[str, ...], where: tuple[str, ...], **attributes: str | None) -> None:
    """Say whether anything is left of budgets.

    Without options it looks at all present windows of the budgets that are named, or of all.  With options, at the
    windows that would cover a call that is made here and now and has these values; what is not given is as such a call
    would have it.  Something being left is no promise that the next call fits: that hangs on what it may cost.
    """
    asked = _asked(where, attributes)
    home = settings.home_to_read()
    rows: list[dict[str, Any]] = []
    if home.writers():
        with Ledger.open(home.path) as ledger, Progress("counting") as progress:
            budgets = ledger.budgets.telling(progress)
            behind = budgets.clock_behind()
            if asked is None:
                rows = [each.as_row() for each in budgets.standings(names)]
            else:
                for name in names:
                    budgets.get(name)
                budgets.holds()  # so that those are found that nobody keeps any more
                rows = ledger.covers({"id": "check", "environment": ledger.environment, "cwd": os.getcwd(), **asked})
                rows = [row for row in rows if not names or row["name"] in names]
        if behind is not None:
            say(behind)
    else:
        none_stands(names)
    exhausted = [row for row in rows if usd_to_pico(row["left_usd"]) <= 0]
    if settings.as_json:
        write_json(
            {"schema_version": 1, "report": "budget check", "currency": "USD", "left": not exhausted, "rows": rows}
        )
    else:
        _show(rows, exhausted)
    if exhausted:
        raise click.exceptions.Exit(NOTHING_LEFT)


def _asked(where: Sequence[str], attributes: Mapping[str, str | None]) -> dict[str, Any] | None:
    """The call that is asked about, as a ledger takes it; None where none is described."""
    given: dict[str, Any] = {name: value for name, value in attributes.items() if value is not None}
    fields: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for column, value in parse_where(where):
        if not value:
            raise click.BadParameter(f"{column}= has no value: leave it out", param_hint="--where")
        if column.startswith("tag:"):
            tags[column[4:]] = value
        elif column in _ATTRIBUTES:
            given[column] = value
        elif column in _FIELDS:
            fields[column] = value
        else:
            known = ", ".join((*_FIELDS, *_ATTRIBUTES))
            raise click.BadParameter(
                f"{column!r} is nothing to choose of a call: use {known} or tag:KEY", param_hint="--where"
            )
    if not (given or fields or tags):
        return None
    return {**fields, "attributes": {**given, "tags": tags} if tags else given}


def _show(rows: Sequence[Mapping[str, Any]], exhausted: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo("No budget covers that.")
        return
    table = Table(
        [
            Column("Budget", least=8),
            Column("For", least=8, drop=2),
            Column("Limit", number=True),
            Column("Spent", number=True),
            Column("Held", number=True, drop=1),
            Column("Left", number=True),
            Column("Resets", least=16, drop=3),
        ]
    )
    for row in rows:
        table.add(
            row["name"],
            told_group(row["group"]),
            money(row["limit_usd"]),
            money(row["spent_usd"]),
            money(row["held_usd"]),
            money(row["left_usd"]),
            told_reset(row),
        )
    write_table(table, "What is left, in USD, times in UTC")
    if exhausted:
        named = ", ".join(dict.fromkeys(row["name"] for row in exhausted))
        click.echo(f"Nothing is left of {named}.")
