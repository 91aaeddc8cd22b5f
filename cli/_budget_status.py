"""``keledger budget status``: how much of each budget is spent, held and left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from keledger.journal import Home, Ledger, format_time, now_us, pico_to_usd, usd_to_pico
from keledger.journal.budgets import status_row
from keledger.projections import open_projection, repriced_differences

from ._budget_tables import at_options, instant_asked, none_stands, told_group, told_reset, told_time
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import calls
from ._table import Column, Table, count, exact_money, money, printable, terminal_width, wrapped

_PARTS = (
    ("lost_usd", "Lost"),
    ("resolved_usd", "Resolved"),
    ("unpriced_usd", "Unpriced"),
    ("adjustments_usd", "Adjusted"),
)
"""What is spent beside the calls' own costs, shown where there is any."""


@command(
    name="status",
    examples=(
        "keledger budget status",
        "keledger budget status crm --at 2026-10-31",
        "keledger --json budget status | jq '.rows[] | {name, group, left_usd}'",
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@at_options
@common_options
@pass_settings
def status(settings: Settings, names: tuple[str, ...], at: str | None, timezone: str | None) -> None:
    """Show how much of each budget is spent, held and left.

    What lost holds count for, what they were resolved to, unpriced calls and adjustments stand apart from the calls'
    own costs, which are the recorded ones: budgets do not follow reprices, and what these change is told below.
    """
    instant_us = instant_asked(settings, at, timezone)
    home = settings.home_to_read()
    rows, findings = _rows(home, names, instant_us)
    if settings.as_json:
        told = {"at": format_time(now_us() if instant_us is None else instant_us), "currency": "USD"}
        write_json({"schema_version": 1, "report": "budget status", **told, "findings": findings, "rows": rows})
    elif not rows:
        click.echo("Nothing to show: no budget stands, or none has counted anything in these windows.")
    else:
        write_table(_table(rows), "Budgets in USD")
        for sentence in _sentences(rows):
            for line in wrapped(printable(sentence), terminal_width()):
                click.echo(line)
    warn_findings(findings)


def _rows(
    home: Home, names: Sequence[str], instant_us: int | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows, and what is to be told of the journal."""
    if not home.writers():  # else nobody has set one
        none_stands(names)
        return [], []
    with Ledger.open(home.path) as ledger, Progress("counting") as progress:
        standings = ledger.budgets.telling(progress).standings(names, at_us=instant_us)
    told_us = now_us() if instant_us is None else instant_us
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        differences = repriced_differences(projection, standings)
        findings = [finding.as_json() for finding in projection.findings]
    rows = []
    for each, difference in zip(standings, differences, strict=True):
        row = status_row(each, told_us)
        current = usd_to_pico(row["calls_usd"]) + difference
        rows.append({**row, "current_calls_usd": pico_to_usd(current), "difference_usd": pico_to_usd(difference)})
    return rows, findings


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    parts = [(name, title) for name, title in _PARTS if any(row[name] != "0" for row in rows)]
    grouped = any(row["group"] for row in rows)
    table = Table(
        [
            Column("Budget", least=8),
            *([Column("For", least=8)] if grouped else []),
            Column("Limit", number=True),
            Column("Spent", number=True),
            Column("Held", number=True, drop=2),
            Column("Left", number=True),
            Column("Used", number=True, drop=1),
            Column("Resets", least=16, drop=3),
            Column("Calls", number=True, drop=5),
            Column("Cost of calls", number=True, drop=4),
            *(Column(title, number=True, drop=6) for _, title in parts),
        ]
    )
    for row in rows:
        table.add(
            row["name"],
            *([told_group(row["group"])] if grouped else []),
            money(row["limit_usd"]),
            money(row["spent_usd"]),
            money(row["open_usd"]),
            money(row["left_usd"]),
            f"{count(usd_to_pico(row['spent_usd']) * 100 // usd_to_pico(row['limit_usd']))} %",
            told_reset(row),
            count(row["calls"]),
            money(row["calls_usd"]),
            *(money(row[name]) for name, _ in parts),
        )
    return table


def _sentences(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What must be known to read the rows, a sentence each."""
    raised = {row["name"]: row for row in rows if row["raises"]}
    for name, row in raised.items():
        until = row["raises"][-1]["until"]
        end = f"until {told_time(until, row['timezone'])} ({row['timezone']})" if until is not None else "for good"
        yield f"{name} is raised from {exact_money(row['set_limit_usd'])} to {exact_money(row['limit_usd'])} {end}."
    for row in rows:
        yield from _of_window(row)


def _of_window(row: Mapping[str, Any]) -> Iterator[str]:
    group = told_group(row["group"])
    name = f"{row['name']} ({group})" if group else row["name"]
    if row["lost_holds"]:
        counted = "" if row["on_lost"] == "count" else ", and nothing is counted for them"
        holds = "1 hold is" if row["lost_holds"] == 1 else f"{count(row['lost_holds'])} holds are"
        yield f"{name}: {holds} lost{counted}; keledger budget holds lists them, keledger budget resolve ends one."
    if row["unpriced_calls"]:
        counts = "counts" if row["unpriced_calls"] == 1 else "count"
        yield f"{name}: {calls(row['unpriced_calls'])} without a known price {counts} at what was held, if anything was."
    if row["unknown_calls"]:
        counts = "counts" if row["unknown_calls"] == 1 else "count"
        yield f"{name}: {calls(row['unknown_calls'])} of which nobody knows what was used {counts} nothing."
    if row["difference_usd"] != "0":
        less = row["difference_usd"].startswith("-")
        by = f"{exact_money(row['difference_usd'].removeprefix('-'))} {'less' if less else 'more'}"
        yield (
            f"{name}: after reprices its calls cost {exact_money(row['current_calls_usd'])}, {by} than was recorded, "
            "which is what counts."
        )
