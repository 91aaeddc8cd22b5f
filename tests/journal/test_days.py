"""Local days, exact where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keledger.journal import WEEKDAYS, Zone, first_of_week, parse_time

HOUR_US = 3_600_000_000
_BEGIN_S = int(datetime(1850, 1, 1, tzinfo=UTC).timestamp())
_END_S = int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("UTC", "2026-03-01", "2026-03-01T00:00:00Z", 24),
        ("Europe/Berlin", "2026-03-28", "2026-03-27T23:00:00Z", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", 25),
        ("Asia/Kathmandu", "2026-03-01", "2026-02-28T18:15:00Z", 24),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24.5),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23),  # midnight does not exist
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", 25),  # midnight comes twice
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0),  # the day does not exist
        ("Africa/Monrovia", "1971-06-01", "1971-06-01T00:44:30Z", 24),
    ],
)
def test_days(zone: str, day: str, begin: str, hours: float) -> None:
    local = Zone(zone)
    assert local.start_us(date.fromisoformat(day)) == parse_time(begin)
    assert local.end_us(date.fromisoformat(day)) - parse_time(begin) == hours * HOUR_US


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("America/St_Johns", "2010-11-07T02:29:59.999999Z", "2010-11-06"),
        ("America/St_Johns", "2010-11-07T02:30:00Z", "2010-11-07"),  # the first midnight
        ("America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07"),  # set back over it: clocks show 23:30 of the 6th
        ("America/St_Johns", "2010-11-07T03:30:00Z", "2010-11-07"),  # the second midnight
        ("America/Toronto", "1919-03-31T04:45:00Z", "1919-03-30"),  # 23:30 was followed by 00:30
        ("America/Toronto", "1919-03-31T05:00:00Z", "1919-03-31"),
        ("Pacific/Apia", "2011-12-30T09:59:59.999999Z", "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31"),
    ],
)
def test_the_day_of_an_instant(zone: str, instant: str, day: str) -> None:
    assert Zone(zone).day(parse_time(instant)) == date.fromisoformat(day)


@settings(database=None, deadline=None)
@given(st.sampled_from(sorted(available_timezones())), st.integers(_BEGIN_S, _END_S))
@example("America/St_Johns", 1289098800)
@example("America/Toronto", -1601493300)
@example("America/Juneau", -3225200000)  # had one date twice, when it was sold
def test_an_instant_lies_within_the_day_that_a_clock_shows(zone: str, second: int) -> None:
    local = Zone(zone)
    day = local.day(second * 1_000_000)
    assert local.start_us(day) <= second * 1_000_000 < local.end_us(day)
    shown = datetime.fromtimestamp(second, ZoneInfo(zone)).date()
    assert shown == day or (abs(shown - day).days == 1 and shown.year < 2011)


@pytest.mark.parametrize(
    ("zone", "minutes"),
    [("UTC", 1440), ("Europe/Berlin", 60), ("Australia/Lord_Howe", 30), ("Asia/Kolkata", 30), ("Asia/Kathmandu", 15)],
)
def test_usual_slots(zone: str, minutes: int) -> None:
    assert Zone(zone).usual_slot_us == minutes * 60_000_000


@pytest.mark.parametrize("day", [date.min, date.max])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_the_ends_of_the_calendar(zone: str, day: date) -> None:
    local = Zone(zone)
    assert local.end_us(day) > local.start_us(day)
    assert local.day(local.start_us(day)) in (day, date.min)


@settings(database=None, deadline=None)
@given(st.dates(), st.integers(0, 6))
def test_weeks(day: date, weekday: int) -> None:
    first = first_of_week(day, weekday)
    assert 0 <= (day - first).days < 7
    assert first.weekday() == weekday or first == date.min


def test_the_days_of_the_week_are_in_their_order() -> None:
    assert WEEKDAYS[date(2026, 11, 22).weekday()] == "sun"
