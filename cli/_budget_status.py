"""``keledger budget status`` and ``check``: how much of each budget is spent, held and left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from keledger.journal import Ledger, check_zone, format_time, now_us, pico_to_usd, report_zone, usd_to_pico
from keledger.journal.budgets import Standing, status_row
from keledger.projections import open_projection, repriced_differences

from ._budget_telling import told_group, told_instant
from ._budget_where import asked_call
from ._group import command
from ._instants import parse_instant
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import calls
from ._table import Column, Table, count, exact_money, money

PARTS = (
    ("calls_usd", "Calls"),
    ("lost_usd", "Lost"),
    ("resolved_usd", "Resolved"),
    ("unpriced_usd", "Unpriced"),
    ("adjustments_usd", "Adjusted"),
)
"""What is spent, apart by where it comes from, and what a table calls it."""

LEFT_IS_NOTHING = 4


def at_option(function: Any) -> Any:
    """Let a command look at the windows of another time."""
    zone = click.option("-z", "--timezone", metavar="ZONE", help="Of --at; else KELEDGER_TZ, config.toml, the machine's.")
    at = click.option("--at", metavar="DAY|TIME", help="The windows in which this lies; without it, now.")
    return at(zone(function))


def instant_of(settings: Settings, at: str | None, timezone: str | None) -> int | None:
    """What ``--at`` and ``--timezone`` say; None for now."""
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(settings.home)
    return parse_instant(at, zone, "--at", day_zone=zone) if at is not None else None


@command(
    name="status",
    examples=(
        "keledger budget status",
        "keledger budget status crm --at 2026-10-31",
        "keledger --json budget status | jq '.rows[] | {name, group, left_usd}'",
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@at_option
@common_options
@pass_settings
def status(settings: Settings, names: tuple[str, ...], at: str | None, timezone: str | None) -> None:
    """Show how much of each budget is spent, held and left.

    Where what was spent is not of calls alone, it stands apart, too: what lost holds count for, what they were resolved
    to, unpriced calls, adjustments.  Budgets do not follow reprices; what these would change is told below.
    """
    instant_us = instant_of(settings, at, timezone)
    home = settings.home_to_read()
    rows, findings = [], []
    if home.writers():
        with Ledger.open(home.path) as ledger, Progress("counting") as progress:
            standings = ledger.budgets.telling(progress).standings(names, at_us=instant_us)
        told_us = now_us() if instant_us is None else instant_us
        with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
            differences = repriced_differences(projection, standings)
            findings = [finding.as_json() for finding in projection.findings]
        rows = [_row(each, told_us, difference) for each, difference in zip(standings, differences, strict=True)]
    if settings.as_json:
        found = {"at": format_time(now_us() if instant_us is None else instant_us), "currency": "USD"}
        write_json({"schema_version": 1, "report": "budget status", **found, "findings": findings, "rows": rows})
    elif not rows:
        click.echo("No budget has counted anything yet; keledger budget list shows those that stand.")
    else:
        write_table(_table(rows), "Budgets in USD", None)
        for sentence in _sentences(rows):
            click.echo(sentence)
    warn_findings(findings)
