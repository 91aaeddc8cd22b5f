"""``keledger budget backtest``: what a budget would have done to the calls of the past."""

from __future__ import annotations

from typing import Any

import click

from keledger.journal import Ledger, report_zone
from keledger.journal.budgets import budget_fields
from keledger.projections import Backtest, ReportOptions, backtest, open_projection

from ._budget_options import policy_options
from ._budget_tables import told_group, told_time
from ._days import parse_day, parse_since, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import calls
from ._table import Column, Table, count, exact_money, money, printable, terminal_width, wrapped

REFUSED_SHOWN_MAX = 20
"""More refused calls than this in a table help nobody; with --json all are there."""


@command(
    name="backtest",
    examples=(
        "keledger budget backtest --limit 5 --period day --where project=crm --since 28d",
        "keledger budget backtest --limit 2 --period day --where 'user=*' --hold p99 --since 2026-11-01",
        "keledger --json budget backtest --limit 50 --period month | jq '.refused[].id'",
    ),
)
@policy_options
@click.option("-s", "--since", metavar="DAY", help="First day; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Last day, included.")
@common_options
@pass_settings
def backtest_budget(
    settings: Settings, /, since: str | None, until: str | None, timezone: str | None, **given: Any
) -> None:
    """Show what a budget that is not set would have done.

    That is which calls of the past it would have refused or warned of, when, and what would have been saved.  Calls
    begin and end as they did, each holds what the guard would have held for it by what was known then, and a call that
    is refused costs later ones nothing.  What recorded or imported calls would have met counts like the rest.  Nothing
    is written, and no other budget is asked.
    """
    home = settings.home_to_read()
    zone = timezone or report_zone(home)
    fields = budget_fields("backtest", timezone=zone, **given)
    with Ledger.open(home.path) as ledger:
        fields = ledger.budgets.as_journaled(fields)
    today = today_in(zone)
    options = ReportOptions(
        since=parse_since(since, today) if since is not None else None,
        until=parse_day(until, "--until", today) if until is not None else None,
        timezone=zone,
    )
    with (
        Progress("catching up") as progress,
        open_projection(home, on_progress=progress) as projection,
        Progress("replaying") as replaying,
    ):
        report = backtest(projection, fields, options, on_progress=replaying)
    if settings.as_json:
        write_json(report.as_json())
    else:
        _show(report)
    warn_findings(finding.as_json() for finding in report.findings)


def _show(report: Backtest) -> None:
    write_table(_days_table(report), f"Calls held to that budget, in USD, days of {report.budget.timezone}")
    if report.refused:
        shown = report.refused[:REFUSED_SHOWN_MAX]
        more = f" (the first {len(shown)} of {count(report.totals.refused_calls)})"
        click.echo()
        write_table(_refused_table(report), f"Refused{more if len(shown) < report.totals.refused_calls else ''}")
    for sentence in (_summary(report), *report.notes()):
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)


def _days_table(report: Backtest) -> Table:
    table = Table(
        [
            Column("Date", least=10),
            Column("Calls", number=True, drop=1),
            Column("Cost", number=True),
            Column("Refused", number=True),
            Column("Saved", number=True),
            Column("Alerts", number=True, drop=2),
        ]
    )
    rows = [(day, sums, "plain") for day, sums in sorted(report.days.items())]
    for day, sums, kind in [*rows, ("Total", report.totals, "total")]:
        row = sums.as_json()
        numbers = (count(sums.calls), money(row["cost_usd"]), count(sums.refused_calls), money(row["saved_usd"]))
        table.add(day, *numbers, count(sums.alerts), kind=kind)
    return table


def _refused_table(report: Backtest) -> Table:
    grouped = any(call["group"] for call in report.refused[:REFUSED_SHOWN_MAX])
    table = Table(
        [
            Column("When", least=16),
            *([Column("For", least=8)] if grouped else []),
            Column("Model", drop=2),
            Column("Call", least=36, drop=1),
            Column("Cost", number=True),
            Column("Asked", number=True, drop=5),
            Column("Spent", number=True, drop=3),
            Column("Held", number=True, drop=4),
        ]
    )
    for call in report.refused[:REFUSED_SHOWN_MAX]:
        table.add(
            told_time(call["started_at"], report.budget.timezone),
            *([told_group(call["group"] or ())] if grouped else []),
            call["model"],
            call["id"],
            money(call["cost_usd"]) if call["cost_usd"] is not None else "unknown",
            money(call["asked_usd"]) if call["asked_usd"] is not None else call["cause"],
            money(call["spent_usd"]),
            money(call["held_usd"]),
        )
    return table


def _summary(report: Backtest) -> str:
    totals = report.totals.as_json()
    if not report.totals.calls:
        return "No calls of that time are covered by it."
    refused = report.totals.refused_calls
    if not refused:
        return f"It would have refused none of {calls(report.totals.calls)}."
    return (
        f"It would have refused {count(refused)} of {calls(report.totals.calls)}, and saved "
        f"{exact_money(totals['saved_usd'])} of {exact_money(totals['cost_usd'])}."
    )
