"""Windows of budgets: exact first and last instants, in zones whose clocks do odd things."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keledger.journal import DAY_US, WEEKDAYS, UsageError, Zone, format_time, parse_time
from keledger.journal.budgets import PERIODS, Period, Window, Windows
from keledger.journal.budgets._windows import ALWAYS, HOUR_US, window_at
from keledger.projections._calendar import calendar
from keledger.projections._options import period_label

_MONDAY = 0
_FROM_US = parse_time("1960-01-01T00:00:00Z")
_TO_US = parse_time("2060-01-01T00:00:00Z")

zones = st.sampled_from(sorted(available_timezones()))
instants = st.integers(_FROM_US, _TO_US)
weekdays = st.integers(0, 6)
calendar_kinds = st.sampled_from(["day", "week", "month", "quarter", "year"])


@pytest.mark.parametrize(
    ("zone", "period", "instant", "first", "behind"),
    [
        ("UTC", "day", "2026-11-22T16:00", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("UTC", "week", "2026-11-22T16:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("UTC", "month", "2026-11-22T16:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("UTC", "month", "2028-02-29T16:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("UTC", "quarter", "2026-11-22T16:00", "2026-10-01T00:00", "2027-01-01T00:00"),
        ("UTC", "quarter", "2026-06-30T16:00", "2026-04-01T00:00", "2026-07-01T00:00"),
        ("UTC", "year", "2026-11-22T16:00", "2026-01-01T00:00", "2027-01-01T00:00"),
        # 23 and 25 hours
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Europe/Berlin", "week", "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "month", "2026-03-29T12:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("Europe/Berlin", "month", "2026-12-31T23:00", "2026-12-31T23:00", "2027-01-31T23:00"),
        ("Europe/Berlin", "quarter", "2026-02-01T00:00", "2025-12-31T23:00", "2026-03-31T22:00"),
        ("Europe/Berlin", "quarter", "2026-11-01T00:00", "2026-09-30T22:00", "2026-12-31T23:00"),
        ("Europe/Berlin", "year", "2026-07-01T00:00", "2025-12-31T23:00", "2026-12-31T23:00"),
        ("America/New_York", "day", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        ("America/New_York", "day", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/New_York", "month", "2026-11-01T12:00", "2026-11-01T04:00", "2026-12-01T05:00"),
        ("America/New_York", "month", "2026-12-01T04:59", "2026-11-01T04:00", "2026-12-01T05:00"),
        ("Asia/Kolkata", "day", "2026-11-22T00:00", "2026-11-21T18:30", "2026-11-22T18:30"),
        ("Asia/Kolkata", "quarter", "2026-11-22T00:00", "2026-09-30T18:30", "2026-12-31T18:30"),
        # clocks that change by half an hour
        ("Australia/Lord_Howe", "day", "2026-04-05T00:00", "2026-04-04T13:00", "2026-04-05T13:30"),
        ("Australia/Lord_Howe", "day", "2026-10-04T00:00", "2026-10-03T13:30", "2026-10-04T13:00"),
        ("Australia/Lord_Howe", "month", "2026-04-05T00:00", "2026-03-31T13:00", "2026-04-30T13:30"),
        # 2011-12-30 was left out
        ("Pacific/Apia", "day", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "day", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
        ("Pacific/Apia", "week", "2011-12-30T10:00", "2011-12-26T10:00", "2012-01-01T10:00"),
        ("Pacific/Apia", "month", "2011-12-30T10:00", "2011-12-01T10:00", "2011-12-31T10:00"),
        ("Pacific/Apia", "year", "2011-12-30T10:00", "2011-01-01T10:00", "2011-12-31T10:00"),
        # 14 hours ahead: where every day begins first
        ("Pacific/Kiritimati", "day", "2025-12-31T12:00", "2025-12-31T10:00", "2026-01-01T10:00"),
        ("Pacific/Kiritimati", "year", "2025-12-31T12:00", "2025-12-31T10:00", "2026-12-31T10:00"),
        # a midnight that comes twice, and midnights that do not exist
        ("America/Havana", "day", "2026-11-01T05:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/Havana", "day", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        ("America/Havana", "month", "2026-11-01T05:00", "2026-11-01T04:00", "2026-12-01T05:00"),
        ("America/Sao_Paulo", "day", "2018-11-04T03:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("America/Sao_Paulo", "day", "2018-02-18T02:59", "2018-02-17T02:00", "2018-02-18T03:00"),
        ("America/Sao_Paulo", "week", "2018-11-04T03:00", "2018-10-29T03:00", "2018-11-05T02:00"),
        ("Asia/Beirut", "day", "2024-03-31T12:00", "2024-03-30T22:00", "2024-03-31T21:00"),
        ("Asia/Beirut", "day", "2024-10-26T21:59", "2024-10-25T21:00", "2024-10-26T22:00"),
        ("America/St_Johns", "day", "2010-11-07T03:00", "2010-11-07T02:30", "2010-11-08T03:30"),
        # the present hour is one of the hours of a rolling window, in whatever zone
        ("Asia/Kolkata", "rolling:1d", "2026-11-22T16:59", "2026-11-21T17:00", "2026-11-22T17:00"),
        ("Europe/Berlin", "rolling:1d", "2026-03-29T17:00", "2026-03-28T18:00", "2026-03-29T18:00"),
        ("UTC", "rolling:30d", "2026-11-22T16:20", "2026-10-23T17:00", "2026-11-22T17:00"),
        ("UTC", "rolling:366d", "2028-12-31T23:30", "2028-01-01T00:00", "2029-01-01T00:00"),
    ],
)
def test_first_and_last_instants(zone: str, period: str, instant: str, first: str, behind: str) -> None:
    windows = Windows(Period.parse(period), Zone(zone), _MONDAY)
    window = windows.window(parse_time(f"{instant}:00Z"))
    assert [format_time(bound)[:16] for bound in window] == [first, behind]
    assert window.start_us % 60_000_000 == window.end_us % 60_000_000 == 0
    if windows.period.days is None:
        assert {windows.window(at) for at in (window.start_us, window.end_us - 1)} == {window}
        assert windows.window(window.start_us - 1).end_us == window.start_us
        assert windows.window(window.end_us).start_us == window.end_us


@pytest.mark.parametrize(
    ("week_start", "first"),
    [("mon", 16), ("tue", 17), ("wed", 18), ("thu", 19), ("fri", 20), ("sat", 21), ("sun", 22)],
)
def test_weeks_start_on_any_day(week_start: str, first: int) -> None:
    windows = Windows(Period("week"), Zone("Europe/Berlin"), WEEKDAYS.index(week_start))
    start_us = parse_time(f"2026-11-{first - 1}T23:00:00Z")
    assert windows.window(parse_time("2026-11-22T22:59:59.999999Z")) == (start_us, start_us + 7 * DAY_US)


def test_a_week_may_start_on_a_day_that_was_left_out() -> None:
    windows = Windows(Period("week"), Zone("Pacific/Apia"), WEEKDAYS.index("fri"))
    skipped_us = parse_time("2011-12-30T10:00:00Z")
    assert windows.window(skipped_us) == (skipped_us, parse_time("2012-01-05T10:00:00Z"))
    assert windows.window(skipped_us - 1) == (parse_time("2011-12-23T10:00:00Z"), skipped_us)


@pytest.mark.parametrize("kind", ["session", "total"])
def test_what_never_resets_counts_all_of_time(kind: str) -> None:
    windows = Windows(Period.parse(kind), Zone("UTC"), _MONDAY)
    assert not windows.period.resets
    for instant_us in (ALWAYS.start_us, parse_time("2026-11-22T00:00:00Z"), ALWAYS.end_us - 1):
        assert windows.window(instant_us) == ALWAYS
        assert windows.slot(instant_us) == 0


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("text", [*PERIODS[:5], "rolling:366d"])
def test_the_first_and_the_last_instant_that_have_a_date(text: str, zone: str) -> None:
    """They lie beyond the first and the last window, all of whose bounds have a date in any zone."""
    windows = Windows(Period.parse(text), Zone(zone), _MONDAY)
    for instant_us, year in ((ALWAYS.start_us, 3), (ALWAYS.end_us - 1, 9998)):
        window = windows.window(instant_us)
        for bound_us in (window.start_us, window.end_us, windows.slot(instant_us)):
            told = datetime.fromisoformat(format_time(bound_us)).astimezone(ZoneInfo(zone))
            assert abs(told.year - year) <= 1
        assert windows.slot(instant_us) in (window.start_us, window.end_us - HOUR_US)
        assert windows.window((window.start_us + window.end_us) // 2) == window or windows.period.days is not None


@settings(database=None, deadline=None)
@given(zones, calendar_kinds, weekdays, instants)
@example("America/St_Johns", "day", 0, parse_time("2010-11-07T03:00:00Z"))
@example("Pacific/Apia", "week", 4, parse_time("2011-12-30T09:59:59.999999Z"))
def test_calendar_windows_partition_time(zone: str, kind: str, week_start: int, instant_us: int) -> None:
    windows = Windows(Period(kind), Zone(zone), week_start)
    window = windows.window(instant_us)
    assert window.start_us <= instant_us < window.end_us
    for inside_us in (window.start_us, (window.start_us + window.end_us) // 2, window.end_us - 1):
        assert windows.window(inside_us) == window
        assert windows.slot(inside_us) == window.start_us
    assert windows.window(window.end_us).start_us == window.end_us
    assert windows.window(window.start_us - 1).end_us == window.start_us


@settings(database=None, deadline=None, max_examples=40)
@given(zones, st.sampled_from([("day", "daily"), ("week", "weekly"), ("month", "monthly")]), weekdays, instants)
@example("America/St_Johns", ("day", "daily"), 0, parse_time("2010-11-07T03:00:00Z"))
def test_windows_are_the_periods_of_reports(
    zone: str, kinds: tuple[str, str], week_start: int, instant_us: int
) -> None:
    label: Callable[[date], str] = lambda day: period_label(kinds[1], day, WEEKDAYS[week_start])  # noqa: E731
    window = window_at(Period(kinds[0]), Zone(zone), week_start, instant_us)
    first_us, last_us = (bound - bound % DAY_US for bound in window)
    made = calendar(Zone(zone), range(first_us - DAY_US, last_us + DAY_US, DAY_US), label)
    rows = list(zip(made.labels, made.starts_us, made.ends_us, strict=True))
    (name,) = (name for name, start_us, end_us in rows if start_us <= instant_us < end_us)
    own = [(start_us, end_us) for label, start_us, end_us in rows if label == name]
    assert Window(own[0][0], own[-1][1]) == window


@settings(database=None, deadline=None)
@given(st.integers(1, 366), instants)
def test_a_rolling_window_is_a_sum_of_hours(days: int, instant_us: int) -> None:
    windows = Windows(Period("rolling", days), Zone("Asia/Kathmandu"), _MONDAY)
    window = windows.window(instant_us)
    assert window.end_us - window.start_us == days * DAY_US
    assert window.start_us % HOUR_US == window.end_us % HOUR_US == 0
    assert windows.slot(instant_us) == window.end_us - HOUR_US
    assert windows.slot(instant_us) <= instant_us < window.end_us


@settings(database=None, deadline=None)
@given(
    zones,
    st.sampled_from([*PERIODS[:-1], "rolling:7d"]),
    weekdays,
    st.lists(st.tuples(instants, st.integers(-DAY_US, DAY_US)), min_size=1, max_size=8),
)
def test_what_is_remembered_changes_no_window(
    zone: str, period: str, week_start: int, near: list[tuple[int, int]]
) -> None:
    windows = Windows(Period.parse(period), Zone(zone), week_start)
    for instant_us in (at for at, distance in near for at in (at, at + distance)):
        assert windows.window(instant_us) == window_at(windows.period, windows.zone, week_start, instant_us)


@pytest.mark.parametrize("text", [*PERIODS[:-1], "rolling:1d", "rolling:30d", "rolling:366d"])
def test_a_period_is_written_as_it_was_read(text: str) -> None:
    assert str(Period.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "daily", "Day", "month ", "rolling", "rolling:Nd", "rolling:0d", "rolling:367d", "rolling:1000d", "rolling:7",
     "rolling:-7d", "rolling:07d", "rolling:7h", "rolling:٧d", "30d"],
)  # fmt: skip
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no period: use day, week, .*N from 1 to 366"):
        Period.parse(text)


def test_the_windows_that_the_page_tells_of() -> None:
    page = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]\w+/\w+) \| `(\w+)` \| ([0-9-]+) \| (\S+) \| (\S+) \|$", page, re.M)
    assert len(rows) == 8
    for zone, period, day, first, behind in rows:
        windows = Windows(Period.parse(period), Zone(zone), _MONDAY)
        window = windows.window(windows.zone.start_us(date.fromisoformat(day)))
        assert window == (parse_time(first), parse_time(behind)), (zone, day)
