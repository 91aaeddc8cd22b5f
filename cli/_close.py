"""``keledger close`` and ``keledger reopen``: months whose reports show the same digits for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from keledger.journal import Anchor, Home, KeledgerError, Ledger, NotFound, anchor, check_zone, report_zone
from keledger.projections import (
    check_closable,
    check_periods,
    closing_as_json,
    closing_data,
    find_closing,
    is_as_closed,
    list_periods,
    open_months_before,
    open_projection,
    period_difference,
    report_closed,
    report_monthly,
    shown_totals,
)

from ._asking import ask
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, warn_findings, write_fields, write_json, write_table
from ._progress import Progress
from ._report_tables import calls, corrections_note, footnote, joined, marked_cost, period_table, uncosted, usd_sum
from ._table import Column, Table, count, exact_money, money

MONTHS_SHOWN_MAX = 12
"""Open months that are named to people; JSON has all."""


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
    correction, shown in the month that takes it.  Only where another machine has closed the same month before does a
    merge put that closing in the place of this one; it says so, and --show with the id of this one still prints it.
    What is still open is shown first: calls without a known usage or price.
    """
    if do_list:
        if month is not None or do_show or timezone is not None:
            raise click.UsageError("--list takes no month, no --show and no --timezone")
        _list(settings)
    elif month is None:
        raise click.UsageError("give a month like 2026-10, or --list")
    elif do_show:
        if timezone is not None:
            raise click.UsageError("--show takes no --timezone: the month was closed in one")
        _show(settings, month)
    else:
        _close(settings, month, timezone, reason, yes)


def _close(settings: Settings, month: str, timezone: str | None, reason: str | None, yes: bool) -> None:
    home = settings.home
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(home)
    through = _anchor(home)
    positions = {line.writer: line.seq for line in through.lines}
    with Progress("folding") as progress, open_projection(home, through=positions, on_progress=progress) as projection:
        periods = list_periods(projection)
        check_closable(periods, month, zone, time.time_ns() // 1000)
        before = open_months_before(projection, periods, month, zone)
        findings = projection.findings
        data = closing_data(projection, month, zone, through)
    document: dict[str, Any] = {
        "schema_version": 1,
        "report": "close",
        "period": month,
        "timezone": zone,
        "currency": "USD",
        "id": None,
        "totals": shown_totals(data["totals"]),
        "open": {"unpriced_estimate_usd": None, **data["open"]},
        "open_months_before": before,
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


def _anchor(home: Home) -> Anchor:
    """What there is to close.  Raises NotFound where there is nothing."""
    try:
        return anchor(home)
    except NotFound:
        lack = "there are no events in the" if home.path.exists() else "there is no"
        raise NotFound(f"{lack} keledger home at {home.path}: there is nothing to close") from None


def _sums(row: dict[str, Any]) -> dict[str, Any]:
    """The sums of a closing, with what tells why a cost is lacking."""
    return {**row["totals"], "unpriced_calls": row["open"]["unpriced_calls"]}


def _tell_totals(document: dict[str, Any]) -> None:
    totals, still, sums = document["totals"], document["open"], _sums(document)
    write_fields(
        {
            "Month": f"{document['period']}, days of {document['timezone']}",
            "Calls": count(totals["calls"]),
            "Cost": marked_cost(sums, incomplete=uncosted(sums) > 0, spell=exact_money),
            "Adjustments": exact_money(totals["adjustments_usd"]) if totals["adjustments_usd"] != "0" else None,
            "Corrections": exact_money(totals["corrections_usd"]) if totals["corrections_usd"] != "0" else None,
        }
    )
    if uncosted(sums):
        click.echo(f"* {calls(uncosted(sums))} not in this cost.")
    for sentence in _open_sentences(document, still):
        click.echo(sentence)


def _open_sentences(document: dict[str, Any], still: dict[str, Any]) -> list[str]:
    """What is still open in a month, and before it."""
    told = []
    if still["unknown_calls"]:
        told.append(f"{calls(still['unknown_calls'])} without a known usage.")
    if still["unpriced_calls"]:
        estimate = "no price is known for any of them"
        if still["unpriced_estimate_usd"] is not None:
            estimate = (
                f"by the newest prices {calls(still['unpriced_estimated_calls'])} of them would cost "
                f"{exact_money(still['unpriced_estimate_usd'])} (keledger replay --reprice --only unpriced)"
            )
        told.append(f"{calls(still['unpriced_calls'])} without a known price: {estimate}.")
    months = document["open_months_before"]
    if months:
        more = len(months) - MONTHS_SHOWN_MAX
        told.append(
            f"Calls of earlier months are in no closed month: {', '.join(months[-MONTHS_SHOWN_MAX:])}"
            + (f" and {count(more)} before." if more > 0 else ".")
        )
    return told


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
        note = joined(_list_note(rows), corrections_note(corrections))
        write_table(_table(rows), "Closed months in USD, in the order of closing", note)
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
    incomplete = any(uncosted(row["totals"]) for row in rows)
    for row in rows:
        table.add(
            row["period"],
            row["timezone"],
            row["state"],
            row["closed_at"][:16].replace("T", " "),
            count(row["totals"]["calls"]),
            marked_cost(_sums(row), incomplete=incomplete),
            _sum_money(row["corrections"]),
            row["id"],
            row["reason"],
        )
    return table


def _list_note(rows: Sequence[dict[str, Any]]) -> str | None:
    """What the marks in the list mean, and which closing stands instead of one that is overlapped."""
    marked = any(uncosted(row["totals"]) for row in rows)
    overlapped = [
        f"{row['id']} of {row['period']} is overlapped by {row['overlapped_by']}, which came before it"
        for row in rows
        if row["overlapped_by"]
    ]
    return joined("* without calls of which no usage or price was known" if marked else None, *overlapped)


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
    them; the month that is open takes the opposite, so that the sum of all months is right.  Where another machine has
    closed the same month, too, that closing stands then: it is told, and is to be taken back as well.
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
    still = periods.standing_without(closing)
    if settings.as_json:
        write_json(
            {
                "schema_version": 1,
                "report": "reopen",
                "id": event_id,
                "close_id": closing.id,
                "period": closing.period,
                "still_closed_by": [other.id for other in still],
            }
        )
    elif not still:
        click.echo(f"{closing.period} is open again.")
    for other in still:
        sentence = (
            f"{closing.period} is not open yet: the closing {other.id} of {other.period} in {other.timezone} stands "
            f"now; keledger reopen {other.id} --reason TEXT takes that back, too"
        )
        if settings.as_json:
            say(f"warning: {sentence}")
        else:
            click.echo(f"{sentence}.")
