"""The periods of budgets, and the windows they make: which calls count together, and when that begins anew."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import NamedTuple

from keledger.journal._days import AFTER_ALL_US, BEFORE_ALL_US, DAY_US, Zone, first_of_week
from keledger.journal._errors import UsageError

HOUR_US = 3_600_000_000

ROLLING_DAYS_MAX = 366
"""A year and its leap day.  The guard sums every hour of a rolling window, and what is longer is a total."""

PERIODS = ("day", "week", "month", "quarter", "year", "session", "total", "rolling:Nd")
"""What a period may be, N being 1 to 366."""

_ROLLING = re.compile(r"rolling:([1-9][0-9]{0,2})d")
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Window(NamedTuple):
    """A span of time in microseconds since 1970 UTC, its end not included."""

    start_us: int
    end_us: int


ALWAYS = Window(BEFORE_ALL_US, AFTER_ALL_US)
"""The window of what never begins anew."""

_FIRST_US = BEFORE_ALL_US + 2 * 366 * DAY_US
_LAST_US = AFTER_ALL_US - 366 * DAY_US
"""Earlier and later calls, of clocks that are far out, count in the first and the last window: the bounds of all others
have a date in every zone."""


class Period(NamedTuple):
    """How long a budget counts before it begins anew; ``days`` is how far a rolling one looks back."""

    kind: str
    days: int | None = None

    @classmethod
    def parse(cls, text: str) -> Period:
        """A period as it is written: one of :data:`PERIODS`.  Raises UsageError for anything else."""
        if text in PERIODS[:-1]:
            return cls(text)
        found = _ROLLING.fullmatch(text)
        if found is not None and int(found[1]) <= ROLLING_DAYS_MAX:
            return cls("rolling", int(found[1]))
        raise UsageError(f"{text[:64]!r} is no period: use {', '.join(PERIODS)} with N from 1 to {ROLLING_DAYS_MAX}")

    def __str__(self) -> str:
        return self.kind if self.days is None else f"rolling:{self.days}d"

    @property
    def resets(self) -> bool:
        """Whether what was spent stops counting some day."""
        return self.kind not in ("session", "total")


def window_at(period: Period, zone: Zone, week_start: int, instant_us: int) -> Window:
    """The window that an instant lies in.  Weeks start on *week_start* (0 is Monday).

    Calendar windows are whole days of the zone, the days of its reports.  A rolling one is N x 24 hours of UTC, each
    from its minute 0, and ends with the hour of the instant.  The window of a session or a total is all of time.
    """
    if period.days is not None:
        end_us = _hour_us(instant_us) + HOUR_US
        return Window(end_us - period.days * DAY_US, end_us)
    if not period.resets:
        return ALWAYS
    first, behind = _days_of(period.kind, zone.day(_counted_us(instant_us)), week_start)
    return Window(zone.start_us(first), zone.start_us(behind))


def _counted_us(instant_us: int) -> int:
    return min(max(instant_us, _FIRST_US), _LAST_US)


def _hour_us(instant_us: int) -> int:
    counted_us = _counted_us(instant_us)
    return counted_us - counted_us % HOUR_US


def _days_of(kind: str, day: date, week_start: int) -> tuple[date, date]:
    """The first day of a day's period, and the first one behind it."""
    if kind in _MONTHS:
        months = day.year * 12 + day.month - 1
        first = months - months % _MONTHS[kind]
        return _month(first), _month(first + _MONTHS[kind])
    if kind == "day":
        return day, day + timedelta(days=1)
    start = first_of_week(day, week_start)
    return start, start + timedelta(days=7)


def _month(months: int) -> date:
    return date(months // 12, months % 12 + 1, 1)


class Windows:
    """The windows of one period in one zone.  The last is remembered: most calls lie in that of the call before."""

    __slots__ = ("_last", "period", "week_start", "zone")

    def __init__(self, period: Period, zone: Zone, week_start: int) -> None:
        self.period = period
        self.zone = zone
        self.week_start = week_start
        self._last: Window = Window(0, 0)

    def window(self, instant_us: int) -> Window:
        """The window that an instant lies in; see :func:`window_at`."""
        last = self._last  # once: another thread may replace it
        if last.start_us <= instant_us < last.end_us and self.period.days is None:
            return last
        self._last = last = window_at(self.period, self.zone, self.week_start, instant_us)
        return last

    def slot(self, instant_us: int) -> int:
        """The key under which a call of that instant is summed.

        That is the start of its calendar window; its hour where windows are rolling, which are sums of hours; 0 where
        all calls count together.
        """
        if self.period.days is not None:
            return _hour_us(instant_us)
        return self.window(instant_us).start_us if self.period.resets else 0
