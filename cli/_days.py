"""Days as people type them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import click

_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_LAST_DAYS = re.compile(r"(\d{1,5})d", re.ASCII)


def today_in(zone: str) -> date:
    """Today's date in a time zone."""
    return datetime.now(ZoneInfo(zone)).date()


def parse_day(text: str, option: str, today: date) -> date:
    """A day: ``2026-11-21``, ``20261121``, ``today``, ``yesterday``.  Raises click.BadParameter that names *option*."""
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    found = _DATE.fullmatch(text)
    more = ", or 28d for the last 28 days" if option == "--since" else ""
    try:
        if found is not None:
            return date(*map(int, found.groups()))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day: {error}", param_hint=option) from None
    raise click.BadParameter(
        f"{text!r} is no day: write YYYY-MM-DD, YYYYMMDD, today, yesterday{more}", param_hint=option
    )


def parse_since(text: str, today: date) -> date:
    """The first day of a report: as :func:`parse_day`, or ``28d`` for the last 28 days, today included."""
    found = _LAST_DAYS.fullmatch(text)
    if found is None:
        return parse_day(text, "--since", today)
    days = int(found[1])
    if not days:
        raise click.BadParameter("0d is no day: 1d is today", param_hint="--since")
    return today - timedelta(days=days - 1)
