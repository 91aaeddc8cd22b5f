"""Local days as ranges of UTC microseconds, exact in every zone and across every change of its clocks.

The ranges come from Python's zoneinfo, not from the SQL engine, so that every engine counts the same days.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

DAY_US = 86_400_000_000

USUAL_SLOT_US = 900_000_000
"""A quarter of an hour divides the days of all zones of today, and of nearly all in history."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)

_BEFORE_ALL_US = (date.min.toordinal() - _EPOCH_ORDINAL) * DAY_US
_AFTER_ALL_US = (date.max.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_US
"""The first instant that has a date in UTC, and the first that has none: there the first day of any zone begins, and
the last one ends."""


class Zone:
    """A time zone of the IANA database, as far as reports need it."""

    def __init__(self, name: str) -> None:
        self.is_utc = name == "UTC"
        if self.is_utc:  # zoneinfo need not be loaded for the most frequent zone
            self._zone: tzinfo = UTC
        else:
            from zoneinfo import ZoneInfo

            self._zone = ZoneInfo(name)

    def start_us(self, day: date) -> int:
        """When the day begins.

        Where the clocks skip midnight, the day begins at the moment they skip it; where they repeat midnight, at
        the first one.  That is what ``fold=0`` means for a time that does not exist, or exists twice (PEP 495).
        """
        if day == date.min:
            return _BEFORE_ALL_US
        return (datetime(day.year, day.month, day.day, tzinfo=self._zone) - _EPOCH) // _MICROSECOND

    def end_us(self, day: date) -> int:
        """When the day after begins."""
        return _AFTER_ALL_US if day == date.max else self.start_us(day + timedelta(days=1))

    def day(self, instant_us: int) -> date:
        """The day to which an instant belongs."""
        try:
            return (_EPOCH + timedelta(microseconds=instant_us)).astimezone(self._zone).date()
        except OverflowError:
            return date.min if instant_us < 0 else date.max


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days in order, each with the label of its period, and a width that divides all their bounds."""

    labels: list[str]
    starts_us: list[int]
    ends_us: list[int]
    slot_us: int


def calendar(zone: Zone, utc_days_us: Iterable[int], label: Callable[[date], str]) -> Calendar:
    """The local days that overlap the given UTC days, which are told by their first instant."""
    days: set[date] = set()
    for utc_day_us in utc_days_us:
        days.add(zone.day(utc_day_us))
        days.add(zone.day(utc_day_us + DAY_US - 1))
    ordered = sorted(days)
    starts = [zone.start_us(day) for day in ordered]
    ends = [zone.end_us(day) for day in ordered]
    return Calendar([label(day) for day in ordered], starts, ends, math.gcd(DAY_US, *starts, *ends))
