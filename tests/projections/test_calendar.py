"""Local days, exact where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Home, parse_time
from keledger.projections import ReportOptions, open_projection, report_daily, report_monthly, report_weekly
from keledger.projections._calendar import DAY_US, Zone, calendar
from keledger.projections._options import WEEKDAYS, period_label

from .support import append, call

HOUR_US = 3_600_000_000


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


@settings(database=None, deadline=None)
@given(
    st.sampled_from(sorted(available_timezones())),
    st.integers(int(datetime(1950, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())),
)
def test_an_instant_belongs_to_the_day_that_a_clock_shows(zone: str, second: int) -> None:
    shown = datetime.fromtimestamp(second, ZoneInfo(zone)).date()
    instant_us = second * 1_000_000
    utc_day_us = instant_us - instant_us % DAY_US
    days = calendar(Zone(zone), [utc_day_us], date.isoformat)
    rows = list(zip(days.labels, days.starts_us, days.ends_us, strict=True))
    assert [label for label, start, end in rows if start <= instant_us < end] == [shown.isoformat()]
    assert [days.starts_us[0], *days.ends_us] == [*days.starts_us, days.ends_us[-1]], "the pieces are adjacent"
    assert (days.starts_us[0], days.ends_us[-1]) == (utc_day_us, utc_day_us + DAY_US), "and cover the day"
    assert all(bound % days.slot_us == 0 for bound in (*days.starts_us, *days.ends_us))


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
@given(st.dates(), st.sampled_from(WEEKDAYS))
def test_weeks(day: date, start: str) -> None:
    first = date.fromisoformat(period_label("weekly", day, start))
    assert 0 <= (day - first).days < 7
    assert WEEKDAYS[first.weekday()] == start or first == date.min
    assert period_label("monthly", day, start) == f"{day.year:04d}-{day.month:02d}"


def rows_of(home: Home, report: object, **options: object) -> list[tuple[str, int]]:
    with open_projection(home) as projection:
        made = report(projection, ReportOptions(**options))  # type: ignore[operator,arg-type]
    return [(next(iter(row.values())), row["calls"]) for row in made.rows]


@pytest.fixture
def days_home(home: Home) -> Home:
    """A call a quarter of an hour before, at and behind each local midnight around a change of clocks in Berlin."""
    midnights = ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]
    instants = [parse_time(text) + shift for text in midnights for shift in (-1, 0, HOUR_US // 4)]
    times = [datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") for us in instants]
    micros = [f"{us % 1_000_000:06d}" for us in instants]
    append(
        home,
        *(
            call(number, started_at=f"{text}.{micro}Z")
            for number, (text, micro) in enumerate(zip(times, micros, strict=True))
        ),
    )
    return home


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [("2026-03-28", 3), ("2026-03-29", 3)]),
        ({"timezone": "Europe/Berlin"}, [("2026-03-28", 1), ("2026-03-29", 3), ("2026-03-30", 2)]),
        ({"timezone": "Europe/Berlin", "since": date(2026, 3, 29)}, [("2026-03-29", 3), ("2026-03-30", 2)]),
        ({"timezone": "Europe/Berlin", "until": date(2026, 3, 29)}, [("2026-03-28", 1), ("2026-03-29", 3)]),
        (
            {"timezone": "Europe/Berlin", "since": date(2026, 3, 29), "until": date(2026, 3, 29)},
            [("2026-03-29", 3)],
        ),
        ({"since": date(2026, 3, 30)}, []),
    ],
)
def test_days_of_reports(days_home: Home, options: dict[str, object], wanted: list[tuple[str, int]]) -> None:
    assert rows_of(days_home, report_daily, **options) == wanted


def test_weeks_and_months_of_reports(days_home: Home) -> None:
    berlin = {"timezone": "Europe/Berlin"}
    assert rows_of(days_home, report_weekly, **berlin) == [("2026-03-23", 4), ("2026-03-30", 2)]
    assert rows_of(days_home, report_weekly, **berlin, week_start="sun") == [
        ("2026-03-22", 1),
        ("2026-03-29", 5),
    ]
    assert rows_of(days_home, report_monthly, **berlin) == [("2026-03", 6)]


def test_a_zone_whose_days_the_usual_slot_does_not_divide(home: Home) -> None:
    append(
        home,
        call(1, started_at="1971-06-01T00:44:29.999999Z"),
        call(2, started_at="1971-06-01T00:44:30.000000Z"),
    )
    assert (44 * 60 + 30) * 1_000_000 % Zone("Africa/Monrovia").usual_slot_us != 0
    rows = rows_of(home, report_daily, timezone="Africa/Monrovia")
    assert rows == [("1971-05-31", 1), ("1971-06-01", 1)]


def test_far_away_dates(home: Home) -> None:
    append(
        home,
        call(1, started_at="0001-01-01T00:00:00.000000Z"),
        call(2, started_at="9999-12-31T23:59:59.999999Z"),
    )
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        rows = rows_of(home, report_daily, timezone=zone)
        assert [calls for _, calls in rows] == [1, 1]
