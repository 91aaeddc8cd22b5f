"""Instants as people type them: a day, or a time with its offset or of a time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_instant(text: str, zone: str, option: str, *, day_zone: str = "UTC") -> int:
    """The instant that is meant, in microseconds since 1970 UTC.

    A day alone begins at 0:00 in *day_zone* (where the clocks skip midnight, when they skip it).  A time has an offset
    or ``Z``, or is one of *zone*; one that this zone's clocks skip or show twice is refused, for nobody can know which
    is meant.  Raises click.BadParameter that names *option*.
    """
    try:
        if _DAY.fullmatch(text):
            return _since_epoch(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(day_zone)))
        found = _TIME.fullmatch(text)
        if found is None:
            raise ValueError("write a day like 2026-11-21, or a time like 2026-11-21T19:00Z or 2026-11-21T19:00+01:00")
        day, clock, offset = found.groups()
        if offset is not None:
            return _since_epoch(datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}"))
        return _of_zone(datetime.fromisoformat(f"{day}T{clock}"), zone)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is no time: {error}", param_hint=option) from None


def _of_zone(wall: datetime, zone: str) -> int:
    """The only instant at which the clocks of a zone show this.  Raises ValueError where there is none, or two."""
    first, second = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return _since_epoch(first)
    exists = first.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall
    what = "show it twice" if exists else "skip it"
    raise ValueError(f"the clocks of {zone} {what}; give it with an offset like +01:00")


def _since_epoch(instant: datetime) -> int:
    return (instant.astimezone(UTC) - _EPOCH) // _MICROSECOND
