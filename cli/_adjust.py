"""``keledger adjust``: money that no call cost, booked beside the calls."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import click

from keledger.journal import (
    InputRefused,
    KeledgerError,
    Ledger,
    amount_pico,
    check_reason,
    check_zone,
    format_time,
    parse_time,
    pico_to_usd,
    report_zone,
)
from keledger.journal.usage import provider_name
from keledger.projections import Adjustment, find_adjustment, list_adjustments, open_projection

from ._days import parse_day, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json, write_table
from ._progress import Progress
from ._table import Column, Table, exact_money

CATEGORIES = ("Adjustment", "Credit", "Purchase", "Tax", "Usage")
"""FOCUS's values of ChargeCategory."""

_NAMES = ("model", "user", "project", "team", "cost_center")

_NOON = time(12)
"""The moment of the day at which an adjustment counts, so that it is the same day in the zones around."""


@command(
    name="adjust",
    examples=(
        "keledger adjust -12.50 --provider openai --date 2026-10-31 --category Credit --reason 'credit note 17'",
        "keledger adjust 3.80 --provider anthropic --date 2026-10-31 --category Tax --reason VAT",
        "keledger adjust --reverse 019aa8d7-2c5b --reason 'booked twice'",
        "keledger adjust --list",
    ),
    context_settings={"ignore_unknown_options": True},  # so that -12.50 is an amount
)
@click.argument("amount", metavar="[AMOUNT]", required=False)
@click.option("--provider", metavar="NAME", help="Whose charges are adjusted.")
@click.option("--date", "day", metavar="DAY", help="The day on which it counts: YYYY-MM-DD, today or yesterday.")
@click.option(
    "--category",
    type=click.Choice(CATEGORIES, case_sensitive=False),
    default="Adjustment",
    show_default=True,
    help="What it is, in FOCUS's words.",
)
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@click.option("--model", metavar="NAME", help="The model that it is about.")
@click.option("--user", metavar="NAME", help="The user that it counts for.")
@click.option("--project", metavar="NAME", help="The project that it counts for.")
@click.option("--team", metavar="NAME", help="The team that it counts for.")
@click.option("--cost-center", metavar="NAME", help="The cost center that it counts for.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="A tag that it counts for; may be given again.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose day; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option("--list", "do_list", is_flag=True, help="List all adjustments.")
@click.option("--reverse", metavar="ID", help="Take an adjustment back, by one of the opposite amount.")
@common_options
@pass_settings
def adjust(
    settings: Settings,
    /,
    amount: str | None,
    do_list: bool,
    reverse: str | None,
    reason: str | None,
    **given: Any,
) -> None:
    """Book money beside the calls: a credit, a tax, a fee, a difference.

    AMOUNT is in USD, negative for what lowers the bill.  It stands in reports under adjustments, never in the cost of
    calls; --where and --by find it by what is given for it here.
    """
    if do_list:
        if amount is not None or reverse is not None:
            raise click.UsageError("--list takes no amount and no --reverse")
        return _list(settings)
    if (amount is None) is (reverse is None):
        raise click.UsageError("give an amount, or --reverse with the id of an adjustment, or --list")
    if reason is None:
        raise click.UsageError("--reason is missing: say why, for whoever reads the journal later")
    reason = check_reason(reason)
    data = _reversal(settings, reverse) if reverse is not None else _data(settings, str(amount), **given)
    with Ledger.open(settings.home_folder) as ledger:
        event_id = ledger.adjust(data, reason)
    tell_booked(settings, "adjust", event_id, data)
    return None


def tell_booked(settings: Settings, report: str, event_id: str, data: dict[str, Any]) -> None:
    """Say that an adjustment was booked."""
    if settings.as_json:
        write_json({"schema_version": 1, "report": report, "id": event_id, **data})
    else:
        click.echo(
            f"{exact_money(data['amount_usd'])} for {data['provider']} on {data['effective_at'][:10]} is booked "
            f"({event_id}); keledger adjust --reverse {event_id} --reason TEXT takes that back."
        )


def noon_of(day: date, zone: str) -> str:
    """Noon of a day in a zone, as an event has it."""
    return format_time(parse_time(datetime.combine(day, _NOON, ZoneInfo(zone)).isoformat()))


def _data(
    settings: Settings,
    amount: str,
    *,
    provider: str | None,
    day: str | None,
    category: str,
    tags: tuple[str, ...],
    timezone: str | None,
    **names: str | None,
) -> dict[str, Any]:
    if not provider or not day:
        raise click.UsageError(f"--{'date' if provider else 'provider'} is missing")
    try:
        pico = amount_pico(amount)
    except InputRefused as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT") from None
    if not pico:
        raise click.BadParameter("0 changes nothing", param_hint="AMOUNT")
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(settings.home)
    pairs = [_pair(tag) for tag in tags]
    given = {"amount_usd": pico_to_usd(pico), "provider": provider_name(provider)}
    given |= {name: value for name in _NAMES if (value := names[name])}
    data: dict[str, Any] = given | {"effective_at": noon_of(parse_day(day, "--date", today_in(zone)), zone)}
    return data | {"category": category} | ({"tags": dict(pairs)} if pairs else {})


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--tag")
    return name, value


def _reversal(settings: Settings, given: str) -> dict[str, Any]:
    """What takes an adjustment back: the same with the opposite sign."""
    with Progress("catching up") as progress, open_projection(settings.home, on_progress=progress) as projection:
        found = find_adjustment(projection, given)
        back = next((one for one in list_adjustments(projection) if one.data.get("reverses") == found.id), None)
    if back is not None:
        raise KeledgerError(f"adjustment {found.id} was taken back already, by {back.id}: nothing was written")
    if found.data.get("reverses"):
        raise KeledgerError(f"adjustment {found.id} takes another one back itself: book a new one instead")
    left_out = ("input_sha256", "actor", "reason")
    kept = {name: value for name, value in found.data.items() if name not in left_out}
    return kept | {"amount_usd": pico_to_usd(-found.pico), "reverses": found.id}


def _list(settings: Settings) -> None:
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        rows = list_adjustments(projection)
    if settings.as_json:
        shown = [one.as_json() for one in rows]
        write_json({"schema_version": 1, "report": "adjustments", "currency": "USD", "rows": shown})
    elif not rows:
        click.echo("Nothing was adjusted.")
    else:
        write_table(_table(rows), "Adjustments in USD; days in UTC")


def _table(rows: list[Adjustment]) -> Table:
    table = Table(
        [
            Column("Day", least=10),
            Column("Provider", drop=2),
            Column("Category", least=10, drop=3),
            Column("Amount", number=True),
            Column("Id", least=36, drop=1),
            Column("Reverses", least=36, drop=5),
            Column("Reason", drop=4),
        ]
    )
    for one in rows:
        shown = one.as_json()
        table.add(
            shown["effective_at"][:10],
            shown["provider"],
            shown["category"],
            exact_money(shown["amount_usd"]),
            one.id,
            shown["reverses"] or "",
            shown["reason"],
        )
    return table
