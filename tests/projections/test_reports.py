"""The reports: their JSON, their columns and conditions, and what they refuse."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from keledger.journal import Home, NotFound, UsageError
from keledger.projections import (
    Projection,
    Report,
    ReportOptions,
    open_projection,
    report_call,
    report_daily,
    report_monthly,
    report_session,
    report_sessions,
    report_weekly,
)

from .support import append, call, call_id, expected, rebuild_or_not, uncosted, void

SUMS = [
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_output_tokens",
    "cost_usd",
    "adjustments_usd",
    "corrections_usd",
    "failed_calls",
    "unknown_calls",
    "unpriced_calls",
    "uncosted_calls",
]


@pytest.fixture(params=["tail", "layer"])
def home_of_calls(home: Home, request: pytest.FixtureRequest) -> Home:
    """Calls of two days, models, users and sessions, some without a cost; read from memory or from a layer."""
    append(
        home,
        call(
            "a",
            usd="0.5",
            session="s1",
            statement="01 .prompt",
            prompt="sum",
            user="ada",
            tags={"env": "dev"},
        ),
        call("b", usd="0.25", session="s1", statement="03 .exec", prompt="sum", user="ada", model="gpt-5"),
        call(
            "c",
            usd="1",
            session="s2",
            user="bob",
            started_at="2026-03-02T08:00:00.000000Z",
            client_call_id="m7",
        ),
        call("d", session="s2", user="bob", status="unknown", **uncosted("unknown")),
        call("e", user="bob", status="error", http_status=500, error_type="Timeout", **uncosted("unpriced")),
        call("f", usd="40", session="s1"),
        void("f"),
    )
    rebuild_or_not(home, request.param == "layer")
    return home


@pytest.fixture
def projection(home_of_calls: Home) -> Any:
    with open_projection(home_of_calls) as opened:
        yield opened


def sums(**given: Any) -> dict[str, Any]:
    calls = given.get("calls", 0)
    tokens = {
        "input_tokens": 15 * calls,
        "output_tokens": 10 * calls,
        "cache_read_input_tokens": 5 * calls,
        "cache_creation_input_tokens": 0,
        "reasoning_output_tokens": 3 * calls,
    }
    money = {"adjustments_usd": "0", "corrections_usd": "0"}
    rest = {**money, "failed_calls": 0, "unknown_calls": 0, "unpriced_calls": 0, "uncosted_calls": 0}
    return {"calls": calls, **tokens, "cost_usd": "0", **rest} | given


def test_the_json_of_a_report(projection: Projection, home_of_calls: Home) -> None:
    (writer,) = home_of_calls.writers()
    report = report_daily(projection)
    shown = report.as_json()
    assert list(shown) == [
        "schema_version",
        "report",
        "timezone",
        "currency",
        "prices",
        "position",
        "findings",
        "rows",
        "totals",
        "corrections",
    ]
    assert shown == {
        "schema_version": 1,
        "report": "daily",
        "timezone": "UTC",
        "currency": "USD",
        "prices": {"basis": "current", "book": None},
        "position": {writer: 8},
        "findings": [],
        "rows": [
            {
                "date": "2026-03-01",
                **sums(calls=4, cost_usd="0.75", failed_calls=1, unknown_calls=1, unpriced_calls=1, uncosted_calls=2),
            },
            {"date": "2026-03-02", **sums(calls=1, cost_usd="1")},
        ],
        "totals": sums(calls=5, cost_usd="1.75", failed_calls=1, unknown_calls=1, unpriced_calls=1, uncosted_calls=2),
        "corrections": [],
    }
    assert list(shown["rows"][0]) == ["date", *SUMS]
    assert list(shown["totals"]) == SUMS
    assert expected(home_of_calls).pico == 1_750_000_000_000


def test_columns(projection: Projection) -> None:
    report = report_monthly(projection, ReportOptions(by=("user", "tag:env")))
    assert [(row["month"], row["user"], row["tag:env"], row["calls"], row["cost_usd"]) for row in report.rows] == [
        ("2026-03", "ada", "dev", 1, "0.5"),
        ("2026-03", "ada", None, 1, "0.25"),
        ("2026-03", "bob", None, 3, "1"),
    ]
    assert list(report.rows[0])[:3] == ["month", "user", "tag:env"]


@pytest.mark.parametrize("report", [report_daily, report_weekly, report_monthly, report_sessions])
@pytest.mark.parametrize(
    "name",
    [
        "project",
        "team",
        "cost_center",
        "provider",
        "response_model",
        "prompt",
        "run",
        "client",
        "origin",
        "quality",
    ],
)
def test_every_column_splits_every_report(projection: Projection, report: Any, name: str) -> None:
    made = report(projection, ReportOptions(by=(name, "model", "status"), breakdown=True))
    assert made.totals == report_daily(projection).totals
    assert all(name in row for row in made.rows)


def test_breakdown(projection: Projection) -> None:
    (first, second) = report_daily(projection, ReportOptions(breakdown=True)).rows
    assert list(first) == ["date", *SUMS, "models"]
    assert [(part["provider"], part["model"], part["calls"], part["cost_usd"]) for part in first["models"]] == [
        ("openai", "gpt-5", 1, "0.25"),
        ("openai", "gpt-5-mini", 3, "0.5"),
    ]
    assert "adjustments_usd" not in first["models"][0]
    assert len(second["models"]) == 1


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ([("user", "ada")], 2),
        ([("user", "ada"), ("model", "gpt-5")], 1),
        ([("user", "ada"), ("user", "bob")], 0),
        ([("tag:env", "dev")], 1),
        ([("tag:env", "")], 4),
        ([("session", "")], 1),
        ([("status", "unknown")], 1),
        ([("user", "o'hara; DROP TABLE calls")], 0),
    ],
)
def test_where(projection: Projection, where: list[tuple[str, str]], wanted: int) -> None:
    options = ReportOptions(where=tuple(where))
    for report in (report_daily, report_weekly, report_sessions):
        totals = report(projection, options).totals
        assert totals["calls"] == wanted
        assert wanted or totals["cost_usd"] == "0"


def test_cost_is_null_only_where_calls_have_none(projection: Projection) -> None:
    options = ReportOptions(by=("status",))
    costs = {row["status"]: row["cost_usd"] for row in report_monthly(projection, options).rows}
    assert costs == {"ok": "1.75", "error": None, "unknown": None}
    nothing = report_daily(projection, ReportOptions(since=date(2030, 1, 1)))
    assert (nothing.rows, nothing.totals["cost_usd"]) == ((), "0")


def test_sessions(projection: Projection) -> None:
    report = report_sessions(projection)
    heads = [{name: value for name, value in row.items() if name not in SUMS} for row in report.rows]
    noon = "2026-03-01T12:00:00.000000Z"
    morning = "2026-03-02T08:00:00.000000Z"
    assert heads == [
        {
            "session": "s1",
            "started_at": noon,
            "last_call_at": noon,
            "user": "ada",
            "project": None,
            "prompt": "sum",
        },
        {
            "session": "s2",
            "started_at": noon,
            "last_call_at": morning,
            "user": "bob",
            "project": None,
            "prompt": None,
        },
        {
            "session": None,
            "started_at": noon,
            "last_call_at": noon,
            "user": "bob",
            "project": None,
            "prompt": None,
        },
    ]
    assert report.totals == report_daily(projection).totals
    split = report_sessions(projection, ReportOptions(breakdown=True, until=date(2026, 3, 1)))
    assert [row["calls"] for row in split.rows] == [2, 1, 1]
    assert [part["model"] for part in split.rows[0]["models"]] == ["gpt-5", "gpt-5-mini"]
    assert split.rows[0]["user"] == "ada"


def test_one_session(projection: Projection) -> None:
    report = report_session(projection, "s1")
    shown = report.as_json()
    assert (shown["report"], shown["session"]) == ("session", "s1")
    assert [(row["statement"], row["calls"], row["cost_usd"]) for row in report.rows] == [
        ("01 .prompt", 1, "0.5"),
        ("03 .exec", 1, "0.25"),
    ]
    (trip,) = report.rows[1]["round_trips"]
    assert trip == {
        "id": call_id("b"),
        "started_at": "2026-03-01T12:00:00.000000Z",
        "duration_ms": None,
        "status": "ok",
        "input_tokens": 15,
        "output_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 0,
        "reasoning_output_tokens": 3,
        "cost_usd": "0.25",
        "cost_state": "priced",
        "prompt": "sum",
        "prompt_version": None,
        "client": None,
        "client_call_id": None,
        "provider": "openai",
        "model": "gpt-5",
        "response_model": None,
        "http_status": None,
        "error_type": None,
        "origin": "hook",
        "quality": "measured",
    }
    assert report.totals == sums(calls=2, cost_usd="0.75")
    unknown = report_session(projection, "s2")
    assert unknown.totals == sums(calls=2, cost_usd="1", unknown_calls=1, uncosted_calls=1)
    assert unknown.rows[0]["statement"] is None


def test_sessions_that_are_not_meant(projection: Projection) -> None:
    with pytest.raises(UsageError, match="'s' is the beginning of s1, s2"):
        report_session(projection, "s")
    with pytest.raises(NotFound, match="no counted call has session 's9'"):
        report_session(projection, "s9")
    with pytest.raises(UsageError, match="no empty name"):
        report_session(projection, "")


def test_one_call(projection: Projection, home_of_calls: Home) -> None:
    (writer,) = home_of_calls.writers()
    report = report_call(projection, call_id("a"))
    assert report.as_json()["call"] == call_id("a")
    (row,) = report.rows
    assert row["lines"] == [
        {"bucket": "input_uncached", "quantity": 1, "usd_per_million": "1.25", "usd": "0.333333333334"},
        {"bucket": "output_text", "quantity": 1, "usd_per_million": "1.25", "usd": "0.166666666666"},
    ]
    assert (row["writer"], row["sequence"], row["uncounted"], row["other_lines"]) == (writer, 2, None, [])
    assert row["event"]["id"] == call_id("a")
    assert row["event"]["data"]["tags"] == {"env": "dev"}
    assert (row["session"], row["user"], row["cost_usd"]) == ("s1", "ada", "0.5")
    assert report.totals == sums(calls=1, cost_usd="0.5")


def test_a_call_that_does_not_count(projection: Projection) -> None:
    report = report_call(projection, call_id("f"))
    assert report.rows[0]["uncounted"] == "voided"
    assert report.rows[0]["cost_usd"] == "40"
    assert report.totals == sums(calls=0, cost_usd="0")


def test_ways_to_name_a_call(home: Home) -> None:
    append(home, *(call(number, client_call_id=f"m{number // 2}") for number in range(4)), call(0, given="twice"))
    with open_projection(home) as projection:
        for given in (call_id(1), call_id(1).upper(), call_id(1)[:13]):
            assert report_call(projection, given).as_json()["call"] == call_id(1)
        (row,) = report_call(projection, call_id(0)).rows
        assert [line["uncounted"] for line in row["other_lines"]] == ["conflict"]
        with pytest.raises(UsageError, match="'m1' may be each of") as caught:
            report_call(projection, "m1")
        assert call_id(2) in str(caught.value)
        assert call_id(3) in str(caught.value)
        for given in ("", "zz", "%", "m", call_id("none")):
            with pytest.raises(NotFound):
                report_call(projection, given)


def test_the_book_in_use(home: Home) -> None:
    from keledger.journal import NewEvent

    from .support import take_over

    def adopt(book: str, name: str) -> NewEvent:
        return NewEvent.of("prices.adopted", call_id(name), {"book": book * 64})

    other = Home.at(home.path.with_name("other"))
    append(home, adopt("a", "one"), call(1), adopt("b", "two"))
    append(other, *(call(f"o{number}") for number in range(9)), adopt("c", "three"))
    take_over(other, home)
    with open_projection(home) as projection:
        assert report_daily(projection).as_json()["prices"] == {"basis": "current", "book": "b" * 64}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 1)}, "there is no such day"),
        ({"by": ("colour",)}, "'colour' is no column"),
        ({"by": ("tag:",)}, "'tag:' is no column"),
        ({"by": ("tag:A'b",)}, "is no column"),
        ({"by": ("user", "user")}, "twice"),
        ({"where": (("cost_usd", "1"),)}, "'cost_usd' is no column"),
        ({"week_start": "monday"}, "cannot start on 'monday'"),
        ({"basis": "newest"}, "no basis of prices"),
        ({"basis": "known:2026-02-30"}, "no basis of prices: day"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReportOptions(**options)


def test_sessions_are_not_split_by_session(projection: Projection) -> None:
    with pytest.raises(UsageError, match="leave session out"):
        report_sessions(projection, ReportOptions(by=("session",)))


def test_recorded_and_current_are_one_as_long_as_nothing_was_repriced(projection: Projection) -> None:
    recorded = report_daily(projection, ReportOptions(basis="recorded"))
    assert isinstance(recorded, Report)
    assert recorded.rows == report_daily(projection).rows
    assert recorded.as_json()["prices"]["basis"] == "recorded"
