"""The reports over many calls: ``daily``, ``weekly``, ``monthly``, ``sessions``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from keledger.journal import check_zone, report_zone
from keledger.projections import (
    Projection,
    Report,
    ReportOptions,
    open_projection,
    report_daily,
    report_monthly,
    report_sessions,
    report_weekly,
)

from ._days import parse_day, parse_since, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings, prices_option
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import corrections_note, footnote, joined, period_table, sessions_table
from ._where import parse_where

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_ROWS = {"daily": "day", "weekly": "week", "monthly": "month", "sessions": "session"}

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_OPTIONS = (
    click.option(
        "-s",
        "--since",
        metavar="DAY",
        help="First day: YYYY-MM-DD, YYYYMMDD, today, yesterday, or 28d for the last 28 days.",
    ),
    click.option("-u", "--until", metavar="DAY", help="Last day, included: YYYY-MM-DD, YYYYMMDD, today or yesterday."),
    click.option(
        "-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's."
    ),
    click.option("-b", "--breakdown", is_flag=True, help="Show each row by model, too."),
    click.option(
        "--by", metavar="COLUMN,…", multiple=True, help="Split rows by columns, such as model, project or tag:env."
    ),
    click.option(
        "--where",
        metavar="COLUMN=VALUE",
        multiple=True,
        help="Only calls that have exactly this; nothing behind = for those that have none.  Each must hold.",
    ),
    prices_option,
    click.option(
        "-o",
        "--order",
        type=click.Choice(["asc", "desc"]),
        default="asc",
        show_default=True,
        help="Oldest or newest first.",
    ),
)


def report_options(function: _Decorated) -> _Decorated:
    """The options of all reports over many calls."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return common_options(function)


def _weekday(_: click.Context, parameter: click.Parameter, value: str) -> str:
    found = [day for day in WEEKDAYS if value.lower() in (day, day[:3])]
    if not found:
        raise click.BadParameter(f"{value!r} is no day of the week: use {', '.join(day[:3] for day in WEEKDAYS)}")
    return found[0][:3]


@command(
    name="daily",
    examples=("keledger daily --since 28d --breakdown", "keledger daily --by project --where model=gpt-5-mini"),
)
@report_options
@pass_settings
def daily(settings: Settings, /, **given: Any) -> None:
    """Show what the calls of each day cost."""
    _show(settings, report_daily, "date", given)


@command(name="weekly", examples=("keledger weekly --start-of-week sun", "keledger --json weekly --since 20261101"))
@click.option(
    "-w",
    "--start-of-week",
    default="mon",
    show_default=True,
    metavar="DAY",
    callback=_weekday,
    help="A week's first day.",
)
@report_options
@pass_settings
def weekly(settings: Settings, /, **given: Any) -> None:
    """Show what the calls of each week cost."""
    _show(settings, report_weekly, "week", given)


@command(name="monthly", examples=("keledger monthly --by project,model", "keledger monthly --prices recorded"))
@report_options
@pass_settings
def monthly(settings: Settings, /, **given: Any) -> None:
    """Show what the calls of each month cost."""
    _show(settings, report_monthly, "month", given)


@command(
    name="sessions",
    examples=("keledger sessions --since yesterday", "keledger sessions --where project=crm --order desc"),
)
@report_options
@pass_settings
def sessions(settings: Settings, /, **given: Any) -> None:
    """Show what each session cost."""
    _show(settings, report_sessions, None, given)


def _show(
    settings: Settings,
    report: Callable[[Projection, ReportOptions], Report],
    period: str | None,
    given: dict[str, Any],
) -> None:
    """Make a report and write it; *period* is the name of its rows' period, None for sessions."""
    home = settings.home_to_read()
    zone = check_zone(given["timezone"], "--timezone") if given["timezone"] else report_zone(home)
    options = _options(zone, **given)
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        document = report(projection, options).as_json()
    if given["order"] == "desc":
        document["rows"].reverse()
    if settings.as_json:
        write_json(document)
    else:
        table = period_table(document, period, options.by) if period else sessions_table(document, options.by)
        notes = (footnote(document["totals"]), corrections_note(document.get("corrections", ())))
        write_table(table, _heading(document, options), joined(*notes))
    warn_findings(document["findings"])


def _options(
    zone: str,
    *,
    since: str | None,
    until: str | None,
    breakdown: bool,
    by: tuple[str, ...],
    where: tuple[str, ...],
    prices: str,
    start_of_week: str = "mon",
    **_: object,
) -> ReportOptions:
    today = today_in(zone)
    return ReportOptions(
        since=parse_since(since, today) if since else None,
        until=parse_day(until, "--until", today) if until else None,
        timezone=zone,
        week_start=start_of_week,
        breakdown=breakdown,
        by=tuple(name.strip() for names in by for name in names.split(",") if name.strip()),
        where=parse_where(where),
        basis=prices,
    )


def _heading(document: dict[str, Any], options: ReportOptions) -> str:
    """What the table is of: its days, their zone, and by what prices."""
    parts = [f"Cost by {_ROWS[document['report']]} in USD"]
    if options.since or options.until:
        parts.append(f"{options.since or 'the first call'} to {options.until or 'now'}")
    parts += [f"{name}={value}" for name, value in options.where]
    parts += [f"days of {document['timezone']}", f"prices: {document['prices']['basis']}"]
    return ", ".join(parts)
