"""``keledger close`` and ``keledger reopen``: months whose reports show the same digits for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from keledger.journal import KeledgerError, Ledger, anchor, check_zone, report_zone
from keledger.projections import (
    check_closable,
    check_periods,
    closing_as_json,
    closing_data,
    find_closing,
    is_as_closed,
    list_periods,
    open_projection,
    period_difference,
    report_closed,
    report_monthly,
)

from ._asking import ask
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_fields, write_json, write_table
from ._progress import Progress
from ._report_tables import corrections_note, footnote, joined, period_table, usd_sum
from ._table import Column, Table, count, exact_money, money


@command(
    name="close",
    examples=(
        "keledger close 2026-10",
        "keledger close 2026-10 --timezone Europe/Berlin --yes",
        "keledger close 2026-10 --show",
        "keledger close --list",
    ),
)
@click.argument("month", metavar="[MONTH]", required=False)
@click.option("--list", "do_list", is_flag=True, help="List all closings, and what came later.")
@click.option("--show", "do_show", is_flag=True, help="Show the closed month, the same digits for ever.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
@pass_settings
def close(
    settings: Settings,
    month: str | None,
    do_list: bool,
    do_show: bool,
    timezone: str | None,
    reason: str | None,
    yes: bool,
) -> None:
    """Close a month: its report shows the same digits from then on.

    MONTH is written like 2026-10.  What comes later (merged calls, reprices, voids) does not change it: that is a
    correction, shown in the month that takes it.  What is still open is shown first: calls without a known usage or
    price.
    """
    if do_list:
        if month is not None or do_show:
            raise click.UsageError("--list takes no month and no --show")
        _list(settings)
    elif month is None:
        raise click.UsageError("give a month like 2026-10, or --list")
    elif do_show:
        _show(settings, month)
    else:
        _close(settings, month, timezone, reason, yes)


def _close(settings: Settings, month: str, timezone: str | None, reason: str | None, yes: bool) -> None:
    home = settings.home
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(home)
    through = anchor(home)
    positions = {line.writer: line.seq for line in through.lines}
    with Progress("folding") as progress, open_projection(home, through=positions, on_progress=progress) as projection:
        skipped = check_closable(list_periods(projection), month, zone, time.time_ns() // 1000)
        findings = projection.findings
        data = closing_data(projection, month, zone, through)
    document: dict[str, Any] = {
        "schema_version": 1,
        "report": "close",
        "period": month,
        "timezone": zone,
        "currency": "USD",
        "id": None,
        "totals": data["totals"],
        "open": {"unpriced_estimate_usd": None, **data["open"]},
        "open_months_before": skipped,
        "digest": data["digest"],
        "findings": [finding.as_json() for finding in findings],
    }
    if not settings.as_json:
        _tell_totals(document)
    warn_findings(document["findings"])
    ask(
        settings,
        [f"Close {month} with these figures?"],
        yes=int(yes),
        nothing="nothing was written",
        instead="give --yes to close the month",
    )
    with Ledger.open(settings.home_folder) as ledger:
        document["id"] = ledger.close_period(data, reason or f"{month} is over", since=through)
    if settings.as_json:
        write_json(document)
    else:
        click.echo(f"{month} is closed ({document['id']}); keledger reopen {month} --reason TEXT takes that back.")


def _tell_totals(document: dict[str, Any]) -> None:
    totals, still = document["totals"], document["open"]
    write_fields(
        {
            "Month": f"{document['period']}, days of {document['timezone']}",
            "Calls": count(totals["calls"]),
            "Cost": exact_money(totals["cost_usd"]),
            "Adjustments": exact_money(totals["adjustments_usd"]) if totals["adjustments_usd"] != "0" else None,
            "Corrections": exact_money(totals["corrections_usd"]) if totals["corrections_usd"] != "0" else None,
        }
    )
    for sentence in _open_sentences(document, still):
        click.echo(sentence)


def _open_sentences(document: dict[str, Any], still: dict[str, Any]) -> list[str]:
    """What is still open in a month, and before it."""
    told = []
    if still["unknown_calls"]:
        told.append(f"{_calls(still['unknown_calls'])} without a known usage.")
    if still["unpriced_calls"]:
        estimate = "no price is known for any of them"
        if still["unpriced_estimate_usd"] is not None:
            estimate = (
                f"by the newest prices {_calls(still['unpriced_estimated_calls'])} of them would cost "
                f"{exact_money(still['unpriced_estimate_usd'])} (keledger replay --reprice --only unpriced)"
            )
        told.append(f"{_calls(still['unpriced_calls'])} without a known price: {estimate}.")
    if document["open_months_before"]:
        told.append(f"Still open before it: {', '.join(document['open_months_before'])}.")
    return told


def _calls(number: int) -> str:
    return f"{count(number)} call{'s' if number != 1 else ''}"


def _show(settings: Settings, month: str) -> None:
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        closing = find_closing(projection, month)
    with open_projection(home, through=closing.through) as projection:
        report = report_closed(projection, closing)
        fits = is_as_closed(projection, closing)
    document = report.as_json()
    if not fits:
        document["findings"].append(period_difference(home, closing).as_json())
    if settings.as_json:
        write_json(document)
    else:
        heading = f"{closing.period} as it was closed, in USD, days of {closing.timezone}, prices: current then"
        note = joined(footnote(document["totals"]), corrections_note(document["corrections"]))
        write_table(period_table(document, "date", ()), heading, note)
    warn_findings(document["findings"])


def _list(settings: Settings) -> None:
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        periods = list_periods(projection)
        corrections = report_monthly(projection).corrections or ()
        findings = list(projection.findings)
    with Progress("folding") as progress:
        findings += check_periods(home, periods, on_progress=progress)
    rows = [
        {
            **closing_as_json(closing, periods),
            "corrections": [one for one in corrections if one["period"] == closing.period]
            if closing in periods.standing()
            else [],
        }
        for closing in periods.closings
    ]
    told = [finding.as_json() for finding in dict.fromkeys((*findings, *periods.findings))]
    if settings.as_json:
        write_json({"schema_version": 1, "report": "closings", "currency": "USD", "findings": told, "rows": rows})
    elif not rows:
        click.echo("No month is closed.")
    else:
        write_table(_table(rows), "Closed months in USD, in the order of closing", corrections_note(corrections))
    warn_findings(told)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        [
            Column("Month", least=7),
            Column("Zone", drop=2),
            Column("State", least=10),
            Column("Closed at", least=16, drop=3),
            Column("Calls", number=True),
            Column("Cost", number=True),
            Column("Corrections", number=True),
            Column("Id", least=36, drop=1),
            Column("Reason", drop=4),
        ]
    )
    for row in rows:
        table.add(
            row["period"],
            row["timezone"],
            row["state"],
            row["closed_at"][:16].replace("T", " "),
            count(row["totals"]["calls"]),
            money(row["totals"]["cost_usd"]),
            _sum_money(row["corrections"]),
            row["id"],
            row["reason"],
        )
    return table


def _sum_money(corrections: Sequence[dict[str, Any]]) -> str:
    return money(usd_sum(*(one[name] for one in corrections for name in ("cost_usd", "adjustments_usd"))))


@command(
    name="reopen",
    examples=("keledger reopen 2026-10 --reason 'the calls of a laptop were missing'",),
)
@click.argument("month", metavar="MONTH")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def reopen(settings: Settings, month: str, reason: str) -> None:
    """Take the closing of a month back.

    The month shows what the journal says now, and may be closed anew.  What other months took over of it stays with
    them; the month that is open takes the opposite, so that the sum of all months is right.
    """
    home = settings.home_to_read()
    since = anchor(home) if home.path.exists() else None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        closing = find_closing(projection, month)
        periods = list_periods(projection)
    if periods.reopening(closing.id) is not None:
        raise KeledgerError(f"the closing {closing.id} of {closing.period} was taken back already; nothing was written")
    with Ledger.open(settings.home_folder) as ledger:
        event_id = ledger.reopen_period(closing.id, reason, since=since)
    if settings.as_json:
        write_json(
            {
                "schema_version": 1,
                "report": "reopen",
                "id": event_id,
                "close_id": closing.id,
                "period": closing.period,
            }
        )
    else:
        click.echo(f"{closing.period} is open again.")
