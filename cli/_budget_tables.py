"""What the tables on budgets have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import click

from keledger.journal import NotFound, check_zone, parse_time, report_zone

from ._days import parse_day, today_in
from ._instants import parse_instant
from ._options import Settings

_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}", re.ASCII)

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class TimeAsked(TypedDict, total=False):
    """A day of each budget's zone, or an instant; neither for now."""

    day: date
    at_us: int


def at_options(function: _Decorated) -> _Decorated:
    """Let a command look at the windows of another time."""
    at = click.option(
        "--at",
        metavar="DAY|TIME",
        help="The windows in which this lies, a day in each budget's zone; else the present ones.",
    )
    zone = click.option(
        "-z",
        "--timezone",
        metavar="ZONE",
        help="Whose clocks a time of --at is by; else KELEDGER_TZ, config.toml, the machine's.",
    )
    return at(zone(function))


def time_asked(settings: Settings, at: str | None, timezone: str | None) -> TimeAsked:
    """What ``--at`` and ``--timezone`` say."""
    zone = check_zone(timezone, "--timezone") if timezone else report_zone(settings.home)
    if at is None:
        return {}
    if at in ("today", "yesterday") or _DAY.fullmatch(at):
        return {"day": parse_day(at, "--at", today_in(zone))}
    return {"at_us": parse_instant(at, zone, "--at")}


def none_stands(names: Sequence[str]) -> None:
    """Raise NotFound where budgets were named in a home that has no journal."""
    if names:
        raise NotFound(f"no budget {names[0]!r} stands here; keledger budget list names those that stand")


def told_group(group: Sequence[Mapping[str, str]]) -> str:
    """Of which window of several a row is: ``user=ada``, ``team=`` for those that have none."""
    return ",".join(f"{each['column']}={each.get('value', '')}" for each in group)


def told_time(text: str | None, timezone: str) -> str:
    """A time of the journal on a zone's clocks, to the minute; nothing for none."""
    if text is None:
        return ""
    try:
        instant = datetime.fromtimestamp(parse_time(text) // 1_000_000, ZoneInfo(timezone))
    except (OverflowError, ValueError):  # where dates end
        return text
    return instant.strftime("%Y-%m-%d %H:%M")


def told_reset(row: Mapping[str, Any]) -> str:
    """When a window begins anew, on the clocks of the budget's zone."""
    if row["resets_at"] is None:
        return "never"
    if row["period"].startswith("rolling:"):
        return "hour by hour"
    return told_time(row["resets_at"], row.get("timezone", "UTC"))
