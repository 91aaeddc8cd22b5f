"""LiteLLM's off-peak hours: windows in UTC, some only on weekdays that are those of another zone's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from keledger.journal.prices._cells import DAY_MINUTES

from ._conditions import WEEK, Window

_NAMES = ("mon monday", "tue tues tuesday", "wed wednesday", "thu thur thurs thursday", "fri friday")
_NUMBERS = {name: day for day, names in enumerate((*_NAMES, "sat saturday", "sun sunday")) for name in names.split()}
_YEARS = range(2020, 2041)
"""In which a zone must keep one offset: a cell's weekdays are those of UTC, all year."""


class NoHours(Exception):
    """The hours cannot be told by cells, and why."""


class _Rule(NamedTuple):
    windows: tuple[Window, ...]
    weekdays: frozenset[int]


class Hours(NamedTuple):
    """When off-peak rates hold."""

    rules: tuple[_Rule, ...]
    offset_minutes: int
    """Of the calendar by which weekdays are told, east of UTC."""

    @property
    def by_weekday(self) -> bool:
        """Whether the weekday matters."""
        return any(len(rule.weekdays) < len(WEEK) for rule in self.rules)

    @property
    def boundaries(self) -> list[int]:
        """The minutes of the UTC day at which they may begin or end."""
        ends = [minute for rule in self.rules for window in rule.windows for minute in window]
        return [*ends, -self.offset_minutes % DAY_MINUTES]

    def hold(self, weekday: int, minute: int) -> bool:
        """Whether they hold at a minute of a UTC weekday."""
        local = (weekday + (minute + self.offset_minutes) // DAY_MINUTES) % len(WEEK)
        return any(local in rule.weekdays and any(minute in each for each in rule.windows) for rule in self.rules)


def off_peak_hours(raw: Any) -> Hours | None:
    """The hours of an ``off_peak_pricing``; None where there is none.  Raises NoHours."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise NoHours("its off-peak hours cannot be read")
    rules = []
    if "hours_utc" in raw:
        rules.append(_Rule(_windows(raw["hours_utc"]), frozenset(WEEK)))
    windows = raw.get("windows", [])
    for rule in windows if isinstance(windows, list) else [None]:
        if not isinstance(rule, dict):
            raise NoHours("its off-peak hours cannot be read")
        rules.append(_Rule(_windows(rule.get("hours_utc")), _weekdays(rule.get("weekdays"))))
    hours = Hours(tuple(rules), 0)
    return hours._replace(offset_minutes=_offset(raw.get("weekday_timezone"))) if hours.by_weekday else hours


def _windows(raw: Any) -> tuple[Window, ...]:
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list):
        raise NoHours("its off-peak hours cannot be read")
    windows = []
    for text in texts:
        try:
            start, end = (datetime.strptime(part.strip(), "%H:%M") for part in text.split("-"))
        except (ValueError, AttributeError):
            raise NoHours(f"its off-peak hours {text!r} are not like 16:30-00:30") from None
        windows.append(Window(start.hour * 60 + start.minute, end.hour * 60 + end.minute))
    return tuple(windows)


def _weekdays(raw: Any) -> frozenset[int]:
    if raw is None:
        return frozenset(WEEK)
    days = [_weekday(each) for each in raw] if isinstance(raw, list) else []
    numbers = {day for day in days if day is not None}
    if len(numbers) < len(days) or not numbers:
        raise NoHours(f"{raw!r} are no days of the week")
    return frozenset(numbers)


def _weekday(raw: Any) -> int | None:
    """From Monday on: there from 1, here from 0."""
    if type(raw) is int:
        return raw - 1 if 1 <= raw <= len(WEEK) else None
    return _NUMBERS.get(raw.strip().lower()) if isinstance(raw, str) else None


def _offset(zone: Any) -> int:
    """Minutes east of UTC.  A zone that changes its offset has no weekdays that cells could tell."""
    if zone is None or zone == "":
        return 0
    try:
        found = ZoneInfo(zone)
    except (KeyError, ValueError, TypeError, OSError):
        raise NoHours(f"its weekdays are those of {zone!r}, which is no zone") from None
    offsets = {
        datetime(year, month, 1, tzinfo=UTC).astimezone(found).utcoffset() for year in _YEARS for month in range(1, 13)
    }
    offset = offsets.pop() or timedelta(0)
    if offsets or offset.seconds % 60:
        raise NoHours(f"its weekdays are those of {zone}, whose offset changes in the year")
    return offset // timedelta(minutes=1)
