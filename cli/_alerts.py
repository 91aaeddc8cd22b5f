"""``keledger alerts``: the thresholds of budgets that were crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from keledger.journal import Zone, check_zone, parse_time, report_zone
from keledger.projections import list_alerts, open_projection

from ._budget_tables import told_group, told_time
from ._days import parse_day, parse_since, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._table import Column, Table, exact_money


@command(
    name="alerts",
    examples=("keledger alerts", "keledger alerts --budget crm --since 28d", "keledger --json alerts --since today"),
)
@click.option("--budget", "name", metavar="NAME", help="Only those of this budget, whether it stands still or not.")
@click.option("-s", "--since", metavar="DAY", help="First day; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Last day, included.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@common_options
@pass_settings
def alerts(settings: Settings, name: str | None, since: str | None, until: str | None, timezone: str | None) -> None:
    """Show which thresholds of budgets were crossed.

    The newest stands last.  Each is told once for a window, a limit and a version of its budget; windows that never
    end, and rolling ones, are told of again after they were below the threshold for a day.
    """
    home = settings.home_to_read()
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(home)
    today = today_in(zone)
    first = Zone(zone).start_us(parse_since(since, today)) if since is not None else None
    behind = Zone(zone).end_us(parse_day(until, "--until", today)) if until is not None else None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        found = list_alerts(projection)
        findings = [finding.as_json() for finding in projection.findings]
    rows = [row for row in found if name in (None, row["name"]) and _within(row, first, behind)]
    if settings.as_json:
        told = {"timezone": zone, "currency": "USD", "findings": findings}
        write_json({"schema_version": 1, "report": "alerts", **told, "rows": rows})
    elif not rows:
        click.echo("No alerts.")
    else:
        write_table(_table(rows, zone), f"Alerts of budgets, in USD, clocks of {zone}")
    warn_findings(findings)


def _within(row: Mapping[str, Any], first: int | None, behind: int | None) -> bool:
    raised_us = parse_time(row["raised_at"])
    return (first is None or raised_us >= first) and (behind is None or raised_us < behind)


def _table(rows: Sequence[Mapping[str, Any]], zone: str) -> Table:
    grouped = any(row["group"] for row in rows)
    table = Table(
        [
            Column("When", least=16),
            Column("Budget", least=8),
            *([Column("For", least=8)] if grouped else []),
            Column("Reached", number=True),
            Column("Limit", number=True),
            Column("Spent", number=True),
            Column("Window from", least=16, drop=2),
            Column("By call", least=36, drop=3),
        ]
    )
    for row in rows:
        table.add(
            told_time(row["raised_at"], zone),
            row["name"],
            *([told_group(row["group"] or ())] if grouped else []),
            f"{row['threshold_percent']} %",
            exact_money(row["limit_usd"]),
            exact_money(row["spent_usd"]),
            told_time(row["window_from"], zone),
            row["call_id"] or "",
        )
    return table
