"""``keledger budget status``: how much of each budget is spent, held and left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from keledger.journal import Home, Ledger, pico_to_usd, usd_to_pico
from keledger.journal.budgets import instant_asked, status_row
from keledger.projections import open_projection, repriced_differences

from ._budget_tables import TimeAsked, at_options, none_stands, time_asked, told_group, told_reset, told_time
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import calls, usd_sum
from ._table import Column, Table, count, exact_money, money, printable, terminal_width, wrapped

WINDOWS_SHOWN_MAX = 20
"""More windows of one budget than this in a table help nobody; with --json all are there."""

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
    home = settings.home_to_read()
    rows, findings = _rows(home, names, time_asked(settings, at, timezone))
    if settings.as_json:
        found = {"currency": "USD", "findings": findings, "rows": rows}
        write_json({"schema_version": 1, "report": "budget status", **found})
    elif not rows:
        click.echo("Nothing to show: no budget stands, or none has counted anything in these windows.")
    else:
        write_table(_table(_most_used(rows)), "Budgets in USD")
        for sentence in _sentences(rows):
            for line in wrapped(printable(sentence), terminal_width()):
                click.echo(line)
    warn_findings(findings)


def _rows(home: Home, names: Sequence[str], time: TimeAsked) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows, and what is to be told of the journal."""
    if not home.writers():  # else nobody has set one
        none_stands(names)
        return [], []
    with Ledger.open(home.path) as ledger, Progress("counting") as progress:
        budgets = ledger.budgets.telling(progress)
        standings = budgets.standings(names, **time)
        behind = budgets.clock_behind()
    if behind is not None:
        say(behind)
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        differences = repriced_differences(projection, standings)
        findings = [finding.as_json() for finding in projection.findings]
    rows = []
    for each, difference in zip(standings, differences, strict=True):
        assert each.budget is not None, "what a call declares has no status"
        row = status_row(each, instant_asked(each.budget, **time))
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
            f"{count(_used(row))} %",
            told_reset(row),
            count(row["calls"]),
            money(row["calls_usd"]),
            *(money(row[name]) for name, _ in parts),
        )
    return table


def _most_used(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows, but of budgets with very many windows those alone that are used most."""
    shown: list[Mapping[str, Any]] = []
    for windows in _by_budget(rows).values():
        if len(windows) > WINDOWS_SHOWN_MAX:
            windows = sorted(windows, key=lambda row: usd_to_pico(row["spent_usd"]), reverse=True)[:WINDOWS_SHOWN_MAX]
        shown += windows
    return shown


def _by_budget(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


def _used(row: Mapping[str, Any]) -> int:
    """How much of its limit a window has used, in percent."""
    return usd_to_pico(row["spent_usd"]) * 100 // usd_to_pico(row["limit_usd"])


def _sentences(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What must be known to read the rows, of each budget over all its windows."""
    for name, windows in _by_budget(rows).items():
        if len(windows) > WINDOWS_SHOWN_MAX:
            yield f"{name} has {count(len(windows))} windows; those that are used most are shown, --json has all."
        raises = windows[0]["raises"]
        if raises:
            yield f"{name} is raised from {_limits(windows[0])} {_end(raises[-1]['until'], windows[0]['timezone'])}."
        yield from _of_unknown_cost(name, windows)
        difference = sum(usd_to_pico(row["difference_usd"]) for row in windows)
        if difference:
            current = usd_sum(*(row["current_calls_usd"] for row in windows))
            by = f"{exact_money(pico_to_usd(abs(difference)))} {'less' if difference < 0 else 'more'}"
            yield (
                f"{name}: after reprices its calls cost {exact_money(current)}, {by} than was recorded, which is what "
                "counts."
            )


def _limits(row: Mapping[str, Any]) -> str:
    return f"{exact_money(row['set_limit_usd'])} to {exact_money(row['limit_usd'])}"


def _end(until: str | None, timezone: str) -> str:
    return f"until {told_time(until, timezone)} ({timezone})" if until is not None else "for good"


def _of_unknown_cost(name: str, windows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    lost, unpriced, unknown = (
        sum(row[count_name] for row in windows) for count_name in ("lost_holds", "unpriced_calls", "unknown_calls")
    )
    if lost:
        counted = "" if windows[0]["on_lost"] == "count" else ", and nothing is counted for them"
        holds = "1 hold is" if lost == 1 else f"{count(lost)} holds are"
        yield f"{name}: {holds} lost{counted}; keledger budget holds lists them, keledger budget resolve ends one."
    if unpriced:
        counts = "counts" if unpriced == 1 else "count"
        yield f"{name}: {calls(unpriced)} without a known price {counts} at what was held, if anything was."
    if unknown:
        counts = "counts" if unknown == 1 else "count"
        yield f"{name}: {calls(unknown)} of which nobody knows what was used {counts} nothing."
