"""Local days as ranges of UTC microseconds, exact in every zone and across every change of its clocks.

The ranges come from Python's zoneinfo, so that budgets, reports and every SQL engine count the same days.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, tzinfo

DAY_US = 86_400_000_000

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""What a week may start on, in the order of :meth:`datetime.date.weekday`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)

_USUAL_YEARS = range(2000, 2041)

BEFORE_ALL_US = (date.min.toordinal() - _EPOCH_ORDINAL) * DAY_US
AFTER_ALL_US = (date.max.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_US
"""The first instant that has a date in UTC, and the first that has none: there the first day of any zone begins, and
the last one ends."""


class Zone:
    """A time zone of the IANA database, as far as days are counted in it."""

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
            return BEFORE_ALL_US
        return (datetime(day.year, day.month, day.day, tzinfo=self._zone) - _EPOCH) // _MICROSECOND

    def end_us(self, day: date) -> int:
        """When the day after begins."""
        return AFTER_ALL_US if day == date.max else self.start_us(day + _DAY)

    def day(self, instant_us: int) -> date:
        """The day that has begun last.

        That is the one that a clock shows, but for rare hours: where clocks were set back over midnight, they showed
        the old day again though the new one had begun (Newfoundland, at a minute past midnight until 2010).
        """
        try:
            shown = (_EPOCH + timedelta(microseconds=instant_us)).astimezone(self._zone).date()
        except OverflowError:
            return date.min if instant_us < 0 else date.max
        if shown > date.min and instant_us < self.start_us(shown):
            return shown - _DAY
        return shown + _DAY if shown < date.max and instant_us >= self.end_us(shown) else shown


def first_of_week(day: date, weekday: int) -> date:
    """The first day of the week of a day, for weeks that start on *weekday* (0 is Monday)."""
    return day - timedelta(days=min((day.weekday() - weekday) % 7, day.toordinal() - 1))
