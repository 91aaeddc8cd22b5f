"""Local days as ranges of UTC microseconds, exact in every zone and across every change of its clocks.

The ranges come from Python's zoneinfo, not from the SQL engine, so that every engine counts the same days.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

DAY_US = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)

_USUAL_YEARS = range(2000, 2041)

_BEFORE_ALL_US = (date.min.toordinal() - _EPOCH_ORDINAL) * DAY_US
_AFTER_ALL_US = (date.max.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_US
"""The first instant that has a date in UTC, and the first that has none: there the first day of any zone begins, and
the last one ends."""


class Zone:
    """A time zone of the IANA database, as far as reports need it."""

    def __init__(self, name: str) -> None:
        if name == "UTC":  # zoneinfo need not be loaded for the most frequent zone
            self._zone: tzinfo = UTC
        else:
            from zoneinfo import ZoneInfo

            self._zone = ZoneInfo(name)

    @property
    def usual_slot_us(self) -> int:
        """A width that divides the bounds of all days in this zone that anybody is likely to ask for.

        That is a day in UTC, an hour in most zones, half or a quarter of one in some.
        """
        instants = (datetime(year, month, 1, tzinfo=UTC) for year in _USUAL_YEARS for month in (1, 7))
        offsets = (instant.astimezone(self._zone).utcoffset() or timedelta() for instant in instants)
        return math.gcd(DAY_US, *(offset // _MICROSECOND for offset in offsets))

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
    """Pieces of UTC days, each within one local day, and a width that divides all their bounds."""

    utc_days_us: list[int]
    starts_us: list[int]
    ends_us: list[int]
    labels: list[str]
    slot_us: int


def calendar(zone: Zone, utc_days_us: Iterable[int], label: Callable[[date], str]) -> Calendar:
    """The given UTC days, told by their first instant, cut at the bounds of local days and labelled by these."""
    made = Calendar([], [], [], [], 0)
    bounds: set[int] = set()
    for utc_day_us in utc_days_us:
        day, last = zone.day(utc_day_us), zone.day(utc_day_us + DAY_US - 1)
        while True:
            start_us, end_us = zone.start_us(day), zone.end_us(day)
            if start_us < end_us:
                made.utc_days_us.append(utc_day_us)
                made.starts_us.append(max(start_us, utc_day_us))
                made.ends_us.append(min(end_us, utc_day_us + DAY_US))
                made.labels.append(label(day))
                bounds.update((start_us, end_us))
            if day >= last:
                break
            day += _DAY
    return replace(made, slot_us=math.gcd(DAY_US, *bounds))
