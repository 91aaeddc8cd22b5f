"""``budget status``, ``check``, ``holds``, ``resolve``, ``alerts``, and the tables of SQL: what they say of a home.

That the guard's sums are the journal's, whatever happens, is held by ``test_model.py``; here that people see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import DAY_US, Home, Ledger, Zone, format_time, now_us, pico_to_usd, usd_to_pico
from keledger.journal.budgets import budget_fields
from keledger.projections import open_projection, repriced_differences
from tests.cli.support import Outcome, keledger, keledger_terminal, truth
from tests.projections.repricing import adopt, reprice
from tests.projections.support import append, call

from .histories import BUDGETS, DAY, answered, begin, lived, open_ledger

Lived = tuple[Home, Ledger, dict[str, str]]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lived]:
    monkeypatch.delenv("COLUMNS", raising=False)  # of the terminal that the tests run in
    with lived(tmp_path) as found:
        monkeypatch.setenv("KELEDGER_HOME", str(found[0].path))
        yield found


def rows(*arguments: str) -> list[dict[str, Any]]:
    outcome = keledger(*arguments)
    assert (outcome.status, outcome.err) == (0, "")
    found: list[dict[str, Any]] = outcome.json["rows"]
    return found


def pico(row: dict[str, Any], *names: str) -> int:
    return sum(usd_to_pico(row[name]) for name in names)


# status


def test_every_part_stands_apart(history: Lived) -> None:
    (row,) = rows("budget", "status", "crm", "--at", DAY)
    expected = {"lost_holds": 2, "open_holds": 1, "unpriced_calls": 1, "unknown_calls": 1, "calls": 11}
    assert {name: row[name] for name in expected} == expected
    assert row["resolved_usd"] == "0.0123"
    assert row["adjustments_usd"] == "-0.00031"
    assert pico(row, "lost_usd") > 0 < pico(row, "open_usd")
    parts = ("calls_usd", "lost_usd", "resolved_usd", "unpriced_usd", "adjustments_usd")
    assert pico(row, "spent_usd") == pico(row, *parts)
    assert pico(row, "left_usd") == pico(row, "limit_usd") - pico(row, "spent_usd", "open_usd")
    assert (row["window_from"], row["window_to"]) == (f"{DAY}T00:00:00.000000Z", "2026-11-03T00:00:00.000000Z")
    assert row["resets_at"] == row["window_to"]


def test_what_is_lost_is_not_spent_where_it_is_released(history: Lived) -> None:
    ada, bob = rows("budget", "status", "each", "--at", DAY)
    assert [pair["value"] for pair in (*ada["group"], *bob["group"])] == ["ada", "bob"]
    assert pico(ada, "lost_usd") > 0
    parts = ("calls_usd", "resolved_usd", "unpriced_usd", "adjustments_usd")
    assert pico(ada, "spent_usd") == pico(ada, *parts)


REPORTS = {
    "crm": [("project", "crm")],
    "all": [],
    "each": [("user", "ada")],
    "both": [("project", "crm"), ("user", "ada")],
    "ever": [("tag:env", "prod")],
    "sessions": [("session", "s1")],
}
"""The ``--where`` of a report that is of the calls of one window of each budget."""


@pytest.mark.parametrize("name", REPORTS)
def test_calls_usd_is_what_the_report_says(history: Lived, name: str) -> None:
    reprice(history[0], adopt(history[0], "halved"))  # what budgets do not follow
    where = REPORTS[name]
    group = dict(where)
    (row,) = [
        row
        for row in rows("budget", "status", name, "--at", DAY)
        if all(group[pair["column"]] == pair.get("value") for pair in row["group"])
    ]
    asked = [f"--where={column}={value}" for column, value in where]
    if row["window_from"] is not None:
        zone = Zone(row["timezone"])
        first, last = (zone.day(us) for us in span_of(row))
        asked += ["--since", str(first), "--until", str(last), "--timezone", row["timezone"]]
    recorded = keledger("daily", "--prices", "recorded", *asked).json["totals"]
    assert row["calls_usd"] == recorded["cost_usd"] != "0"
    assert (row["calls"], row["unpriced_calls"]) == (recorded["calls"], recorded["unpriced_calls"])
    assert row["adjustments_usd"] == recorded["adjustments_usd"]
    current = keledger("daily", *asked).json["totals"]
    assert row["current_calls_usd"] == current["cost_usd"] != row["calls_usd"]
    assert pico(row, "difference_usd") == pico(row, "current_calls_usd") - pico(row, "calls_usd")


def span_of(row: dict[str, Any]) -> tuple[int, int]:
    from keledger.journal import parse_time

    return parse_time(row["window_from"]), parse_time(row["window_to"]) - 1


def test_the_difference_of_every_group_and_column(home: Home) -> None:
    users = ("ada", "bob", None)
    calls = [
        call(
            number,
            started_at=f"{DAY}T{number:02}:00:00.000000Z",
            os_user="root" if number % 2 else "www",
            **({"user": users[number % 3]} if users[number % 3] else {}),
        )
        for number in range(20)
    ]
    append(home, *calls)
    reprice(home, adopt(home, "halved"))
    with open_ledger(home) as ledger:
        for name, where in (
            ("users", "user=*"),
            ("both", "os_user=*,user=*"),
            ("none", "user="),
            ("root", "os_user=root"),
        ):
            ledger.budgets.set(budget_fields(name, limit="9", period="day", where=[where]))
        standings = ledger.budgets.standings(day=date.fromisoformat(DAY))
    with open_projection(home) as projection:
        found = repriced_differences(projection, standings)
        costs = {
            row[0]: int(row[1] - row[2])
            for row in projection.query("SELECT CAST(id AS VARCHAR), cost_pico, recorded_pico FROM call_fact")
        }
    of = {event.id: number for number, event in enumerate(calls)}
    assert len(standings) == 3 + 6 + 1 + 1
    for each, difference in zip(standings, found, strict=True):
        group = {pair["column"]: pair.get("value") for pair in each.summed.group(each.key[1])}
        name = each.budget.name if each.budget is not None else ""
        expected = 0
        for call_id, number in of.items():
            user, os_user = users[number % 3], "root" if number % 2 else "www"
            fits = group.get("user", user) == user and group.get("os_user", os_user) == os_user
            fits = fits and (name != "none" or user is None) and (name != "root" or os_user == "root")
            expected += costs[call_id] * fits
        assert difference == expected != 0


def test_a_raise_and_a_past_window(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    now = now_us()
    today = Zone("UTC").day(now)
    yesterday = today - timedelta(days=1)
    with open_ledger(home) as ledger:
        ledger.record(provider="openai", model="gpt-5-mini", usage=answered()["usage"], time=format_time(now - DAY_US))
        ledger.budgets.set(budget_fields("crm", limit="5", period="day"))
        ledger.budgets.raise_limit("crm", "7", None, "more")
        ledger.budgets.raise_limit("crm", "9", str(today), "today")
    (row,) = rows("budget", "status")
    assert (row["limit_usd"], row["set_limit_usd"], row["calls_usd"]) == ("9", "5", "0")
    assert [(each["limit_usd"], each["until"] is None) for each in row["raises"]] == [("7", True), ("9", False)]
    (row,) = rows("budget", "status", "--at", str(yesterday))
    assert (row["calls"], row["calls_usd"]) == (1, "0.002025")
    (row,) = rows("budget", "status", "--at", str(today + timedelta(days=1)))
    assert (row["limit_usd"], len(row["raises"])) == ("7", 1)
    shown = keledger("--pretty", "budget", "status").out
    assert "crm is raised from $5 to $9 until" in shown


def test_the_table_says_what_there_is(history: Lived) -> None:
    reprice(history[0], adopt(history[0], "halved"))
    shown = keledger_terminal("budget", "status", "--at", DAY, columns=160).out
    for text in ("user=ada", "Lost", "Resolved", "Adjusted", "never", "hour by hour", "keledger budget resolve"):
        assert text in shown, text
    assert "less than was recorded" in shown
    narrow = keledger_terminal("budget", "status", "crm", "--at", DAY, columns=50).out
    assert "too narrow for" in narrow


def test_of_very_many_windows_a_table_shows_those_that_are_used_most(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    with open_ledger(home) as ledger:
        ledger.record_many(
            {
                "provider": "openai",
                "model": "gpt-5-mini" if user else "nobody-prices-this",
                "usage": {"output_text": 1000 + user},
                "user": f"user-{user}",
            }
            for user in range(30)
        )
        ledger.budgets.set(budget_fields("each", limit="1", period="total", where=["user=*"], unpriced="allow"))
    assert len(rows("budget", "status")) == 30
    shown = keledger("--pretty", "budget", "status").out
    assert [f"user-{user} " in shown for user in (0, 1, 9, 10, 29)] == [False, False, False, True, True]
    assert "each has 30 windows; those that are used most are shown" in shown
    assert "each: 1 call without a known price" in shown


# check


def test_check_exits_with_4_where_nothing_is_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    monkeypatch.setenv("KELEDGER_USER", "bob")

    def check(*arguments: str) -> tuple[int, list[str]]:
        outcome = keledger("budget", "check", *arguments)
        found = outcome.json
        assert found["left"] is (outcome.status == 0)
        return outcome.status, [row["name"] for row in found["rows"]]

    with open_ledger(home) as ledger:
        ledger.budgets.set(budget_fields("house", limit="100", period="total"))
        ledger.budgets.set(budget_fields("crm", limit="0.002", period="total", where=["project=crm"]))
        ledger.budgets.set(budget_fields("each", limit="0.002", period="month", where=["user=*"], action="warn"))
        ledger.budgets.set(budget_fields("prod", limit="0.001", period="day", where=["tag:env=prod,model=gpt-5-mini"]))
        assert check() == (0, ["crm", "house", "prod"])
        ledger.record(provider="openai", model="gpt-5-mini", usage=answered()["usage"], project="crm", user="ada")
    assert check() == (4, ["crm", "each", "house", "prod"])
    assert check("house", "prod") == (0, ["house", "prod"])
    assert check("crm") == (4, ["crm"])
    # A call that is made here is bob's.
    assert check("--project", "erp") == (0, ["house", "each"])
    assert check("--project", "crm") == (4, ["house", "crm", "each"])
    assert check("--project", "crm", "house") == (0, ["house"])
    assert check("--user", "ada", "--project", "erp")[0] == 4
    assert check("--where", "tag:env=prod", "--where", "model=gpt-5-mini") == (0, ["house", "each", "prod"])
    shown = keledger("--pretty", "budget", "check")
    assert (shown.status, "Nothing is left of crm, each." in shown.out) == (4, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no budget 'nothing' stands here"),
        (("--project", "crm", "nothing"), "no budget 'nothing' stands here"),
        (("--where", "color=red"), "'color' is nothing to choose of a call"),
        (("--where", "user="), "user= has no value"),
        (("--where", "user"), "is not COLUMN=VALUE"),
    ],
)
def test_what_cannot_be_checked(history: Lived, arguments: tuple[str, ...], said: str) -> None:
    outcome = keledger("budget", "check", *arguments)
    assert outcome.status in (1, 2)
    assert said in outcome.complaint


def test_a_home_that_is_not_there_is_left_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    for arguments in (("status",), ("check",), ("holds",)):
        outcome = keledger("budget", *arguments)
        assert (outcome.status, outcome.json["rows"]) == (0, [])
    assert (keledger("alerts").json["rows"], keledger("budget", "status", "crm").status) == ([], 1)
    assert keledger("sql", "SELECT * FROM budgets, budget_windows, holds, alerts").json["rows"] == []
    assert not home.path.exists()


# holds and resolve


def test_holds_and_what_becomes_of_them(history: Lived) -> None:
    _, ledger, ids = history
    states = {row["call_id"]: row["state"] for row in rows("budget", "holds")}
    assert states == {
        ids["unpriced"]: "unpriced",
        ids["unanswered"]: "lost",
        ids["resolved"]: "resolved",
        ids["died"]: "lost",
        ids["died, resolved"]: "resolved",
        ids["open"]: "open",
    }
    lost = rows("budget", "holds", "--state", "lost", "--budget", "crm")
    assert {row["call_id"] for row in lost} == {ids["unanswered"], ids["died"]}
    shown = keledger_terminal("budget", "holds", columns=220).out
    assert "never answered" in shown
    before = ledger.budgets.standings(["crm"], day=date.fromisoformat(DAY))[0]
    (died,) = [row for row in lost if row["call_id"] == ids["died"]]
    outcome = keledger("budget", "resolve", died["hold_id"][:13].upper(), "--cost", "0.50", "--reason", "billed")
    assert (outcome.status, outcome.json["cost_usd"]) == (0, "0.5")
    after = ledger.budgets.standings(["crm"], day=date.fromisoformat(DAY))[0]
    assert after.spent_pico - before.spent_pico == usd_to_pico("0.5") - usd_to_pico(died["amount_usd"])
    (row,) = [row for row in rows("budget", "holds") if row["call_id"] == ids["died"]]
    assert (row["state"], row["resolved_usd"]) == ("resolved", "0.5")
    billed = keledger("--pretty", "budget", "resolve", ids["unanswered"], "--not-billed", "--reason", "not billed")
    assert "its call cost $0" in billed.out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--cost", "1", "--not-billed"), 2, "give --cost"),
        ((), 2, "give --cost"),
        (("--cost", "-1"), 2, "does not cost -1"),
        (("--cost", "1e400"), 2, "'1e400' is no amount"),
        (("--cost", "nan"), 2, "'nan' is no amount"),
    ],
)
def test_a_cost_that_is_none(history: Lived, arguments: tuple[str, ...], status: int, said: str) -> None:
    before = truth(history[0])
    outcome = keledger("budget", "resolve", history[2]["died"], *arguments, "--reason", "x")
    assert (outcome.status, said in outcome.complaint) == (status, True)
    assert truth(history[0]) == before


def test_holds_that_cannot_be_resolved(history: Lived) -> None:
    def refused(hold: str) -> Outcome:
        outcome = keledger("budget", "resolve", hold, "--not-billed", "--reason", "x")
        assert outcome.status == 1
        return outcome

    assert "is under way" in refused(history[2]["open"]).complaint
    assert "is resolved already" in refused(history[2]["resolved"]).complaint
    assert "no hold" in refused("00000000").complaint


# alerts


def test_alerts_newest_last(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    assert keledger("--pretty", "alerts").out == "No alerts.\n"
    with open_ledger(home) as ledger:
        for name, where in (("crm", "project=crm"), ("each", "user=*")):
            fields = budget_fields(name, limit="0.002", period="day", where=[where], warn="50,100", action="warn")
            ledger.budgets.set(fields)
        calls = [begin(f"a{number}", number) for number in range(2)]
        for made in calls:
            ledger.reserve(made)
            ledger.record_hook(made, answered(900))
    found = rows("alerts")
    assert [row["call_id"] for row in found] == [made["id"] for made in calls for _ in range(2)]
    assert [row["threshold_percent"] for row in found] == [50, 50, 100, 100]
    assert sorted(row["name"] for row in found[:2]) == ["crm", "each"]
    assert [row["raised_at"] for row in found] == sorted(row["raised_at"] for row in found)
    assert {str(row["group"]) for row in found if row["name"] == "each"} == {"[{'column': 'user', 'value': 'ada'}]"}
    assert [row["name"] for row in rows("alerts", "--budget", "crm")] == ["crm", "crm"]
    assert len(rows("alerts", "--since", "today", "-z", "UTC")) == 4
    assert rows("alerts", "--until", "yesterday", "-z", "UTC") == []
    assert "user=ada" in keledger("--pretty", "alerts").out
    listed = keledger("sql", "SELECT name, threshold_percent, limit_usd FROM alerts ORDER BY raised_at, name").json
    assert len(listed["rows"]) == 4
    assert Decimal(listed["rows"][0]["limit_usd"]) == Decimal("0.002")


# SQL


def test_the_tables_of_sql_are_the_guards(history: Lived) -> None:
    home, ledger, _ = history
    before = truth(home)
    budgets = keledger("sql", "SELECT * FROM budgets ORDER BY name").json["rows"]
    assert [row["name"] for row in budgets] == sorted(BUDGETS)
    assert [(row["period"], row["hold"]) for row in budgets if row["name"] == "rolls"] == [("rolling:2d", "p90")]
    windows = keledger("sql", "SELECT * FROM budget_windows").json["rows"]
    told = {
        (each.budget.name, str(each.summed.group(each.key[1]))): each
        for each in ledger.budgets.standings(day=date.fromisoformat(DAY))
        if each.budget is not None
    }
    both = [
        (row, told[row["name"], str(row["group"])])
        for row in windows
        if row["window_from"] is None or row["window_from"][:10] != "2026-10-26"  # the week before that, in New York
    ]
    assert len(both) == len([key for key in told if key[0] != "rolls"]) == len(windows) - 1
    for row, each in both:
        assert Decimal(row["spent_usd"]) == Decimal(pico_to_usd(each.spent_pico))
        assert Decimal(row["open_usd"]) == Decimal(pico_to_usd(each.held_pico))
        assert Decimal(row["left_usd"]) == Decimal(pico_to_usd(each.left_pico))
        assert (row["window_from"] is None) is not each.resets
    holds = keledger("sql", "SELECT id, state, budgets FROM holds ORDER BY id").json["rows"]
    assert [(row["id"], row["state"]) for row in holds] == sorted(
        (hold["hold_id"], hold["state"]) for hold in ledger.budgets.holds()
    )
    assert truth(home) == before
    joined = "SELECT w.name FROM budget_windows w JOIN budgets b ON b.id = w.budget_id WHERE w.spent_usd > b.limit_usd"
    assert keledger("sql", joined).json["rows"] == []


def test_a_statement_journals_nothing(history: Lived) -> None:
    home, _, _ = history
    with open_ledger(home) as dying:
        dying.reserve(begin("dies unseen", 9))
    before = truth(home)
    holds = keledger(
        "sql", "SELECT h.state, w.open_holds FROM holds AS h, budget_windows AS w WHERE w.name = 'crm'"
    ).json
    assert [row["state"] for row in holds["rows"]].count("open") == 2 == holds["rows"][0]["open_holds"]
    assert truth(home) == before
    assert len(rows("budget", "holds", "--state", "open")) == 1
    assert truth(home) != before


def test_a_guard_that_cannot_be_opened_fails_no_other_statement(history: Lived) -> None:
    home, ledger, _ = history
    ledger.close()
    guard = home.path / "guard"
    for path in guard.iterdir():
        path.unlink()
    guard.rmdir()
    guard.write_text("in the way")
    assert keledger("sql", "SELECT count(*) AS n FROM calls").json["rows"] == [{"n": 11}]
    outcome = keledger("sql", "SELECT * FROM budget_windows")
    assert (outcome.status, outcome.out) == (1, "")
    assert str(guard) in outcome.complaint
