"""The reports, as JSON and as tables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import click
import pytest

from keledger.cli import _days
from keledger.cli._table import display_width
from keledger.journal import Home, Ledger
from keledger.projections import _engine
from tests.journal.support import call

from .support import Outcome, keledger, keledger_process, keledger_terminal

pytestmark = pytest.mark.usefixtures("used")


def table(*arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a report shows as a table."""
    outcome = keledger("--pretty", *arguments, environment=environment)
    assert outcome.status == 0
    return outcome.out.splitlines()


def test_a_report_in_a_pipe_is_json() -> None:
    report = keledger("daily").json
    assert list(report) == [
        "schema_version", "report", "timezone", "currency", "prices", "position", "findings", "rows", "totals",
        "corrections",
    ]  # fmt: skip
    assert [row["date"] for row in report["rows"]] == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert [row["calls"] for row in report["rows"]] == [1, 2, 2]
    assert report["rows"][2]["cost_usd"] is None
    assert sum(Decimal(row["cost_usd"]) for row in report["rows"][:2]) == Decimal(report["totals"]["cost_usd"])


DAILY = """\
Cost by day in USD, days of UTC, prices: current
Date                 Calls  Input  Output  Cache read  Cache write  Reasoning  Unknown  Unpriced        Cost
───────────────────  ─────  ─────  ──────  ──────────  ───────────  ─────────  ───────  ────────  ──────────
2026-11-19               1  1,000     200         600            0        120        0         0  $0.000515
  gpt-5-mini             1  1,000     200         600            0        120        0         0  $0.000515
2026-11-20               2  2,400     500         600          400        120        0         0  $0.009515
  claude-sonnet-4-5      1  1,400     300           0          400          0        0         0  $0.009000
  gpt-5-mini             1  1,000     200         600            0        120        0         0  $0.000515
2026-11-21               2     10       0           0            0          0        1         1   unpriced*
  unheard-of             1     10       0           0            0          0        0         1   unpriced*
  gpt-5-mini             1      0       0           0            0          0        1         0    unknown*
───────────────────  ─────  ─────  ──────  ──────────  ───────────  ─────────  ───────  ────────  ──────────
Total                    5  3,410     700       1,200          400        240        1         1  $0.010030*
* 1 call without a known price and 1 call without a known usage: not in this cost
"""


def test_daily_as_a_table() -> None:
    outcome = keledger("--pretty", "daily", "--breakdown")
    lines = [line.rstrip() for line in outcome.out.splitlines()]
    assert (outcome.status, outcome.err, lines) == (0, "", DAILY.splitlines())


def test_days_are_those_of_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["date"] for row in keledger("daily", "-z", "Europe/Berlin").json["rows"]] == [
        "2026-11-20",
        "2026-11-21",
    ]
    monkeypatch.setenv("KELEDGER_TZ", "Europe/Berlin")
    assert keledger("daily").json["timezone"] == "Europe/Berlin"
    assert table("daily")[0].endswith("days of Europe/Berlin, prices: current")


@pytest.mark.parametrize(
    ("arguments", "dates"),
    [
        (("--since", "2026-11-20"), ["2026-11-20", "2026-11-21"]),
        (("-s", "20261120", "-u", "20261120"), ["2026-11-20"]),
        (("--until", "2026-11-19"), ["2026-11-19"]),
        (("--order", "desc"), ["2026-11-21", "2026-11-20", "2026-11-19"]),
        (("--where", "model=claude-sonnet-4-5"), ["2026-11-20"]),
        (("--where", "session=s1", "--where", "tag:env="), ["2026-11-19", "2026-11-20"]),
        (("--where", "project=crm"), ["2026-11-21"]),
    ],
)
def test_which_days_are_shown(arguments: tuple[str, ...], dates: list[str]) -> None:
    assert [row["date"] for row in keledger("daily", *arguments).json["rows"]] == dates


def test_rows_are_split_by_columns() -> None:
    rows = keledger("monthly", "--by", "provider,tag:env").json["rows"]
    assert [(row["month"], row["provider"], row["tag:env"], row["calls"]) for row in rows] == [
        ("2026-11", "acme", None, 1),
        ("2026-11", "anthropic", "prod", 1),
        ("2026-11", "openai", None, 3),
    ]
    lines = table("monthly", "--by", "provider", "--by", "tag:env")
    assert lines[1].startswith("Month    Provider   tag:env  Calls")
    assert lines[3].startswith("2026-11  acme       (none) ")


@pytest.mark.parametrize(("first_day", "weeks"), [("mon", ["2026-11-16"]), ("Friday", ["2026-11-13", "2026-11-20"])])
def test_weeks_begin_where_one_says(first_day: str, weeks: list[str]) -> None:
    assert [row["week"] for row in keledger("weekly", "-w", first_day).json["rows"]] == weeks
    assert table("weekly", "-w", first_day)[1].startswith("Week ")


def test_sessions() -> None:
    assert [row["session"] for row in keledger("sessions").json["rows"]] == ["s1", "s2"]
    lines = table("sessions")
    assert lines[1].split()[:4] == ["Session", "Started", "Prompt", "Project"]
    assert lines[3].split()[:4] == ["s1", "2026-11-19", "23:30:00", "(none)"]


def test_a_session_by_statement_and_call() -> None:
    report = keledger("session", "s1").json
    assert [(row["statement"], len(row["round_trips"])) for row in report["rows"]] == [("01 .exec", 1), ("02 .exec", 2)]
    lines = table("session", "s1")
    assert lines[0] == "Session s1, cost in USD, clocks of UTC, prices: current"
    assert lines[3].startswith("01 .exec ")
    call_id = report["rows"][1]["round_trips"][1]["id"]
    assert any(line.startswith(f"  {call_id}  2026-11-20 10:00:01  claude-sonnet-4-5") for line in lines)


def test_a_session_shows_how_calls_ended() -> None:
    lines = table("session", "s2")
    assert "Outcome" in lines[1]
    (unanswered,) = (line for line in lines if "TimeoutError" in line)
    assert "unknown (TimeoutError)" in unanswered
    assert unanswered.endswith("unknown*")


def test_a_call_with_every_price_line() -> None:
    call_id = keledger("session", "s1").json["rows"][0]["round_trips"][0]["id"]
    row = keledger("call", call_id).json["rows"][0]
    assert row["event"]["id"] == call_id
    lines = table("call", call_id[:13])
    fields = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines[: lines.index("")])
    assert fields["Call"] == call_id
    assert fields["Model"] == "openai/gpt-5-mini"
    assert fields["Started"] == "2026-11-19 23:30:00 (UTC)"
    assert lines[lines.index("") + 1 :] == [
        "Cost in USD, prices: current",
        "Bucket            Quantity  USD per million       Cost",
        "────────────────  ────────  ───────────────  ─────────",
        "input_uncached         400            $0.25    $0.0001",
        "cache_read             600           $0.025  $0.000015",
        "output_text             80               $2   $0.00016",
        "output_reasoning       120               $2   $0.00024",
        "────────────────  ────────  ───────────────  ─────────",
        "Total                                        $0.000515",
    ]


def test_a_call_without_a_price_says_what_lacks_one() -> None:
    call_id = keledger("session", "s2").json["rows"][0]["round_trips"][0]["id"]
    lines = table("call", call_id)
    assert any(line.split() == ["input_uncached", "10", "no", "price", "unknown"] for line in lines)
    assert lines[-1].split() == ["Total", "unpriced"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("session", "nobody"), 1, "no counted call has session 'nobody'"),
        (("session", "s"), 2, "is the beginning of s1, s2"),
        (("call", "zzz"), 1, "no call has the id 'zzz'"),
        (("daily", "--since", "2026-02-30"), 2, "'2026-02-30' is no day: day is out of range for month"),
        (("daily", "--since", "soon"), 2, "or 28d for the last 28 days"),
        (("daily", "--until", "28d"), 2, "'28d' is no day"),
        (("daily", "--since", "20261122", "--until", "20261121"), 2, "since 2026-11-22 is after until 2026-11-21"),
        (("daily", "--timezone", "Berlin"), 2, "--timezone: 'Berlin' is no time zone"),
        (("daily", "--by", "colour"), 2, "'colour' is no column of reports"),
        (("daily", "--where", "model"), 2, "'model' is not COLUMN=VALUE"),
        (("daily", "--prices", "yesterdays"), 2, "'yesterdays' is no basis of prices"),
        (("weekly", "-w", "someday"), 2, "'someday' is no day of the week"),
        (("daily", "--order", "up"), 2, "--order"),
    ],
)
def test_what_cannot_be_reported_gets_one_sentence(arguments: tuple[str, ...], status: int, words: str) -> None:
    outcome = keledger(*arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert words in outcome.complaint


def test_no_calls_are_said_to_be_none() -> None:
    assert table("daily", "--since", "2027-01-01")[-1].startswith("No calls: ")


def test_a_home_that_is_not_there_is_an_empty_journal(tmp_path: Any) -> None:
    missing = tmp_path / "nowhere"
    outcome = keledger("--home", str(missing), "daily")
    assert (outcome.status, outcome.json["rows"]) == (0, [])
    assert outcome.complaint == f"there is no journal at {missing} yet"
    assert not missing.exists()


def test_names_that_would_steer_the_terminal_are_shown_as_they_are_spelled(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(project="\x1b[31mred\nline", time="2026-11-20T10:00:00Z"))
    (line,) = (line for line in table("daily", "--by", "project") if "red" in line)
    assert "\\x1b[31mred\\nline" in line


def test_an_encoding_that_lacks_a_character_is_no_failure(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(project="漢字", time="2026-11-20T10:00:00Z"))
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    shown = keledger_process("--pretty", "daily", "--by", "project", env=environment)
    assert (shown.status, shown.err) == (0, "")
    assert "\\u6f22\\u5b57" in shown.out
    assert "---" in shown.out
    assert (
        keledger_process("daily", "--by", "project", env=environment).json == keledger("daily", "--by", "project").json
    )


def on_terminal(*arguments: str, columns: int, environment: Mapping[str, str] | None = None) -> Outcome:
    outcome = keledger_terminal(*arguments, columns=columns, environment=environment)
    assert outcome.status == 0
    return outcome


def test_a_terminal_gets_a_coloured_table_that_fits() -> None:
    shown = on_terminal("daily", "--breakdown", columns=70).out
    assert "\x1b[1m" in shown
    lines = click.unstyle(shown).splitlines()
    assert lines[0] == "Cost by day in USD, days of UTC, prices: current"
    assert lines[1].split() == ["Date", "Calls", "Input", "Output", "Unpriced", "Cost"]
    assert max(map(display_width, lines)) <= 70
    assert "(too narrow for: Cache read, Cache write, Reasoning, Unknown; --json has all)" in " ".join(lines)


def test_a_terminal_can_have_json_and_no_colour() -> None:
    assert on_terminal("--json", "daily", columns=70).json == keledger("daily").json
    assert "\x1b[" not in on_terminal("daily", columns=70, environment={"NO_COLOR": "1"}).out


@pytest.mark.parametrize(
    ("text", "behind"), [("today", 0), ("yesterday", 1), ("1d", 0), ("28d", 27), ("2026-11-01", 20), ("20261101", 20)]
)
def test_days_as_people_type_them(text: str, behind: int) -> None:
    today = date(2026, 11, 21)
    assert _days.parse_since(text, today) == today - timedelta(days=behind)


@pytest.mark.parametrize("text", ["", "0d", "2026-1-1", "2026-11-1x", "２０２６1101", "d", "-1d", "99999999d"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(click.BadParameter):
        _days.parse_since(text, date(2026, 11, 21))


@pytest.mark.parametrize("arguments", [("daily",), ("efficiency",)])
def test_without_enough_memory_it_says_so(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setattr(_engine, "connect", partial(_engine.connect, memory_limit="1MB"))
    outcome = keledger(*arguments)
    assert (outcome.status, outcome.out) == (1, "")
    (sentence,) = outcome.err.splitlines()
    assert sentence.startswith("keledger: there is not enough memory for this: ask for fewer days")
    assert "temp_directory" not in sentence
