"""``keledger estimates``: how good estimates were, and what came of each."""

from __future__ import annotations

from typing import Any

import click

from keledger.journal import UsageError, check_zone, report_zone
from keledger.projections import EstimateOptions, list_estimates, open_projection, report_estimates

from ._days import parse_day, parse_since, today_in
from ._estimates_tables import write_list, write_report
from ._group import command
from ._options import Settings, common_options, pass_settings, prices_option
from ._output import warn_findings, write_json
from ._progress import Progress
from ._where import parse_where


@command(
    name="estimates",
    examples=(
        "keledger estimates --since 28d",
        "keledger estimates --over week --by model",
        "keledger estimates --where prompt=summarize --by model,basis",
        "keledger estimates --list --where outcome=open",
    ),
)
@click.option("-s", "--since", metavar="DAY", help="First day of estimates; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Last day, included.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option("--by", metavar="COLUMN,…", multiple=True, help="Rows by columns of estimates; else by model,prompt.")
@click.option("--over", type=click.Choice(("day", "week", "month")), help="Rows by these, too: how it developed.")
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, help="Only estimates that have exactly this.")
@prices_option
@click.option("--list", "do_list", is_flag=True, help="List single estimates and what came of them, the newest first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many of the list; else 20.")
@common_options
@pass_settings
def estimates(settings: Settings, /, **given: Any) -> None:
    """Show how good estimates were, and what came of each.

    Each is held against the calls that name it: how far the median was off, in the middle and in 95 of 100 cases; how
    many calls ended in the range that nine of ten were to end in, and how wide that was; and what was said of output
    and cost.  Where the last estimates of a model and prompt were wrong, a sentence says so.

    Estimates without a call yet, and those of calls that failed or were not made, stand apart.  Nothing is written.
    """
    if given["do_list"] and (given["by"] or given["over"]):
        raise UsageError("--list has a row for each estimate: leave out --by and --over")
    if given["limit"] is not None and not given["do_list"]:
        raise UsageError("--limit is of --list: give both or none")
    home = settings.home_to_read()
    zone = check_zone(given["timezone"], "--timezone") if given["timezone"] else report_zone(home)
    today = today_in(zone)
    by = tuple(name.strip() for names in given["by"] for name in names.split(",") if name.strip())
    options = EstimateOptions(
        since=parse_since(given["since"], today) if given["since"] else None,
        until=parse_day(given["until"], "--until", today) if given["until"] else None,
        timezone=zone,
        by=by or EstimateOptions().by,
        over=given["over"],
        where=parse_where(given["where"]),
        basis=given["prices"],
    )
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        if given["do_list"]:
            document = list_estimates(projection, options, limit=given["limit"]).as_json()
        else:
            with Progress("adding up") as adding:
                document = report_estimates(projection, options, on_progress=adding).as_json()
    if settings.as_json:
        write_json(document)
    elif given["do_list"]:
        write_list(document, options)
    else:
        write_report(document, options)
    warn_findings(document["findings"])
