"""The reports on one thing: ``session ID``, ``call ID``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from unicodedata import normalize

import click

from keledger.journal import check_zone, report_zone
from keledger.projections import ReportOptions, open_projection, report_call, report_session

from ._detail_tables import call_fields, price_lines_table, session_table
from ._group import command
from ._options import Settings, common_options, pass_settings, prices_option
from ._output import warn_findings, write_fields, write_json, write_table
from ._progress import Progress
from ._report_tables import footnote

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def _detail_options(function: _Decorated) -> _Decorated:
    zone = click.option(
        "-z", "--timezone", metavar="ZONE", help="Whose clocks; else KELEDGER_TZ, the config, the machine's."
    )
    return zone(prices_option(common_options(function)))


def _options(settings: Settings, timezone: str | None, prices: str) -> ReportOptions:
    home = settings.home_to_read()
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(home)
    return ReportOptions(timezone=zone, basis=prices)


@command(
    name="session",
    examples=("keledger session 6f1c2a9b", "keledger --json session 6f1c2a9b | jq '.rows[].round_trips[].id'"),
)
@click.argument("session_id", metavar="ID")
@_detail_options
@pass_settings
def session(settings: Settings, session_id: str, timezone: str | None, prices: str) -> None:
    """Show one session by statement and call.

    ID is a session's name or the beginning of it, where no other begins so.
    """
    options = _options(settings, timezone, prices)
    with Progress("catching up") as progress, open_projection(settings.home, on_progress=progress) as projection:
        document = report_session(projection, normalize("NFC", session_id), options).as_json()
    if settings.as_json:
        write_json(document)
    else:
        heading = (
            f"Session {document['session']}, cost in USD, clocks of {document['timezone']}, "
            f"prices: {document['prices']['basis']}"
        )
        write_table(session_table(document), heading, footnote(document["totals"]))
    warn_findings(document["findings"])


@command(
    name="call",
    examples=(
        "keledger call 019aa8d7-2c5b-7e4f-9c1d-0a4f6be2d913",
        "keledger --json call 019aa8d7-2c5b | jq '.rows[0].event'",
    ),
)
@click.argument("call_id", metavar="ID")
@_detail_options
@pass_settings
def call(settings: Settings, call_id: str, timezone: str | None, prices: str) -> None:
    """Show one call with every price line.

    ID is an event id, the beginning of one, or the client's own name for the call, where only one call fits.
    """
    options = _options(settings, timezone, prices)
    with Progress("catching up") as progress, open_projection(settings.home, on_progress=progress) as projection:
        document = report_call(projection, normalize("NFC", call_id), options).as_json()
    if settings.as_json:
        write_json(document)
    else:
        write_fields(call_fields(document))
        click.echo()
        write_table(price_lines_table(document), f"Cost in USD, prices: {document['prices']['basis']}")
    warn_findings(document["findings"])
