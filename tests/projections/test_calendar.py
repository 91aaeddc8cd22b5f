"""The days, weeks and months of reports, where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import DAY_US, Home, Zone, parse_time
from keledger.projections import ReportOptions, open_projection, report_daily, report_monthly, report_weekly
from keledger.projections._calendar import calendar
from keledger.projections._options import period_label

from .support import append, call

HOUR_US = 3_600_000_000


@settings(database=None, deadline=None)
@given(
    st.sampled_from(sorted(available_timezones())),
    st.integers(int(datetime(1950, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())),
)
def test_the_pieces_of_a_utc_day(zone: str, second: int) -> None:
    instant_us = second * 1_000_000
    utc_day_us = instant_us - instant_us % DAY_US
    days = calendar(Zone(zone), [utc_day_us], date.isoformat)
    rows = list(zip(days.labels, days.starts_us, days.ends_us, strict=True))
    assert [label for label, start, end in rows if start <= instant_us < end] == [
        Zone(zone).day(instant_us).isoformat()
    ]
    assert [days.starts_us[0], *days.ends_us] == [*days.starts_us, days.ends_us[-1]], "the pieces are adjacent"
    assert (days.starts_us[0], days.ends_us[-1]) == (utc_day_us, utc_day_us + DAY_US), "and cover the day"
    assert all(bound % days.slot_us == 0 for bound in (*days.starts_us, *days.ends_us))


@pytest.mark.parametrize(
    ("kind", "day", "label"),
    [
        ("daily", date(2026, 11, 22), "2026-11-22"),
        ("weekly", date(2026, 11, 22), "2026-11-18"),
        ("weekly", date(1, 1, 2), "0001-01-01"),  # there is no Wednesday before it
        ("monthly", date(2026, 11, 22), "2026-11"),
        ("monthly", date(1, 1, 2), "0001-01"),
    ],
)
def test_the_names_of_periods(kind: str, day: date, label: str) -> None:
    assert period_label(kind, day, "wed") == label


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
