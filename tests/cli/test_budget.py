"""``keledger budget set|list|raise|remove``: what they say, what they journal, and what they refuse."""

from __future__ import annotations

from typing import Any

import click
import pytest

from keledger.journal import Home
from tests.journal.support import events

from .support import keledger, keledger_terminal, truth

SET = ("budget", "set", "crm", "--limit", "50", "--period", "month")


@pytest.fixture
def found(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that does not exist yet, which commands find; days are Berlin's."""
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    monkeypatch.setenv("KELEDGER_TZ", "Europe/Berlin")
    return home


def rows() -> list[dict[str, Any]]:
    """The budgets that stand."""
    outcome = keledger("budget", "list")
    assert outcome.status == 0
    listed: list[dict[str, Any]] = outcome.json["rows"]
    return listed


def journaled(home: Home) -> list[tuple[str, dict[str, Any]]]:
    """The events of budgets, without what every event has."""
    return [
        (event["type"], {name: value for name, value in event["data"].items() if name not in ("input_sha256", "actor")})
        for event in events(home)
        if event["type"].startswith("budget.")
    ]


def test_a_budget_is_set_and_listed(found: Home) -> None:
    outcome = keledger(
        *SET, "--where", "project=crm,user=*", "--where", "team=", "--warn", "95,80", "--unpriced", "7.5",
        "--hold", "p99", "--on-lost", "release", "--reason", "a test",
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    (event,) = (event for event in events(found) if event["type"] == "budget.set")
    where = [{"column": "project", "value": "crm"}, {"column": "user", "each": True}, {"column": "team"}]
    row = {
        "name": "crm",
        "id": event["id"],
        "action": "block",
        "limit_usd": "50",
        "set_limit_usd": "50",
        "period": "month",
        "timezone": "Europe/Berlin",
        "week_start": None,
        "where": sorted(where, key=lambda condition: str(condition["column"])),
        "warn_percent": [80, 95],
        "hold": "p99",
        "on_lost": "release",
        "unpriced": "rate",
        "unpriced_usd_per_million": "7.5",
        "raises": [],
    }
    assert outcome.json == {"schema_version": 1, "report": "budget set", "currency": "USD", **row}
    assert rows() == [row]
    assert event["data"]["where"] == where
    assert event["data"]["reason"] == "a test"
    assert event["data"]["actor"]


def test_what_a_terminal_is_told(found: Home) -> None:
    said = keledger("--pretty", *SET, "--where", "project=crm,user=*", "--where", "session=*").out
    assert said == (
        "Budget crm is set: calls of project=crm may cost $50 a month (Europe/Berlin), each session and user apart; "
        "a call that does not fit is refused, and it warns at 80 % and 100 %.\n"
    )
    week = ("--limit", "2.5", "--period", "week", "--week-start", "sun", "-z", "Asia/Tokyo")
    said = keledger("--pretty", "budget", "set", "all", *week, "--action", "warn", "--warn", "none").out
    assert said == (
        "Budget all is set: all calls may cost $2.5 a week from Sunday on (Asia/Tokyo); no call is refused for it, and "
        "it never warns.\n"
    )
    for period, words in (("total", "$5 in all;"), ("session", "$5 a session;"), ("rolling:2d", "$5 in 48 hours;")):
        said = keledger("--pretty", "budget", "set", "x", "--limit", "5", "--period", period, "--replace").out
        assert words in said
    table = keledger_terminal("budget", "list", columns=140).out
    assert [line.split()[:2] for line in table.splitlines()[3:]] == [["all", "$2.5"], ["crm", "$50"], ["x", "$5"]]
    assert "project=crm,session=*,user=*" in table
    narrow = keledger_terminal("budget", "list", columns=60).out
    assert all(len(click.unstyle(line)) <= 60 for line in narrow.splitlines())
    assert "(too narrow for: " in narrow


def test_a_name_stands_once(found: Home) -> None:
    keledger(*SET)
    before = truth(found)
    outcome = keledger(*SET, "--where", "project=crm")
    assert (outcome.status, outcome.out) == (1, "")
    assert "a budget crm of 50 USD stands already" in outcome.complaint
    assert truth(found) == before
    outcome = keledger("budget", "set", "crm", "--limit", "40", "--period", "day", "--replace")
    assert outcome.status == 0
    assert [(row["limit_usd"], row["period"]) for row in rows()] == [("40", "day")]
    (first, second) = (event for event in events(found) if event["type"] == "budget.set")
    assert second["data"]["replaces"] == first["id"]


def test_a_raise_and_its_end(found: Home) -> None:
    keledger(*SET)
    outcome = keledger("budget", "raise", "crm", "--to", "80", "--until", "2999-11-30", "--reason", "the launch")
    assert (outcome.status, outcome.json["limit_usd"], outcome.json["set_limit_usd"]) == (0, "80", "50")
    budget_id = rows()[0]["id"]
    assert journaled(found)[1] == (
        "budget.raised",
        {"name": "crm", "budget_id": budget_id, "limit_usd": "80", "until": "2999-11-30T23:00:00.000000Z",
         "reason": "the launch"},
    )  # fmt: skip
    assert rows()[0]["raises"] == [
        {"id": events(found)[-1]["id"], "limit_usd": "80", "until": "2999-11-30T23:00:00.000000Z"}
    ]
    assert "2999-12-01 00:00" in keledger("--pretty", "budget", "list").out
    said = keledger("--pretty", "budget", "raise", "crm", "--to", "90", "--until", "2999-01-01T00:00Z", "--reason", "x")
    assert "no day or time" in said.complaint, "seconds are part of a time"
    until = ("--until", "2999-01-01T00:00:00Z")
    said = keledger("--pretty", "budget", "raise", "crm", "--to", "90", *until, "--reason", "x")
    assert "may cost $90 (until 2999-01-01 01:00, then $80) a month" in said.out
    assert keledger("budget", "raise", "crm", "--to", "100", "--reason", "x").json["limit_usd"] == "100"
    assert "may cost $100 a month" in keledger("--pretty", *SET, "--limit", "100", "--replace").out
    assert rows()[0]["raises"] == [], "a budget that is set anew is raised anew"


def test_a_budget_is_removed(found: Home) -> None:
    keledger(*SET)
    budget_id = rows()[0]["id"]
    outcome = keledger("budget", "remove", "crm", "--reason", "it is over")
    assert outcome.status == 0
    assert outcome.json == {
        "schema_version": 1,
        "report": "budget remove",
        "id": events(found)[-1]["id"],
        "name": "crm",
    }
    assert journaled(found)[-1] == ("budget.removed", {"name": "crm", "budget_id": budget_id, "reason": "it is over"})
    assert rows() == []
    assert keledger("--pretty", "budget", "list").out == "No budget stands; keledger budget set makes one.\n"
    assert keledger(*SET).status == 0, "the name is free again"
    assert keledger("--pretty", "budget", "remove", "crm").out == "Budget crm holds no more.\n"


def test_a_listing_makes_no_home(found: Home) -> None:
    outcome = keledger("budget", "list")
    assert (outcome.status, outcome.json["rows"]) == (0, [])
    assert outcome.complaint == f"there is no journal at {found.path} yet"
    assert not found.path.exists()
    found.path.mkdir(mode=0o700)
    assert keledger("budget", "list").json["rows"] == []
    assert list(found.path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--limit", "0"), 2, "'0' is no limit: give an amount in USD"),
        (("--limit", "-5"), 2, "'-5' is no limit"),
        (("--limit", "NaN"), 2, "'NaN' is no limit"),
        (("--limit", "1e400"), 2, "'1e400' is no limit"),
        (("--limit", ""), 2, "'' is no limit"),
        (("--period", "fortnight"), 2, "'fortnight' is no period: use day, week, month"),
        (("--period", "rolling:0d"), 2, "with N from 1 to 366"),
        (("--timezone", "Mars/Olympus"), 2, "timezone: 'Mars/Olympus' is no time zone"),
        (("--where", "projet=crm"), 2, "did you mean 'project'?"),
        (("--where", "project=a,project=b"), 2, "project stands twice"),
        (("--where", f"project={'x' * 300}"), 1, "project is 300 bytes long"),
        (("--where", "crm"), 2, "'crm' is no condition"),
        (("--week-start", "mon"), 2, "has no week that could start on 'mon'"),
        (("--warn", "80,120"), 2, "'120' is no percentage to warn at"),
        (("--warn", ""), 2, "give whole numbers from 1 to 100"),
        (("--action", "stop"), 2, "'stop' is not one of 'block', 'warn'"),
        (("--hold", "p95"), 2, "'p95' is not one of"),
        (("--on-lost", "forget"), 2, "'forget' is not one of"),
        (("--unpriced", "0"), 2, "unpriced can be block, allow, or a rate"),
        (("--reason", " "), 1, "a reason is missing"),
        (("more",), 2, "unexpected extra argument"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    found: Home, arguments: tuple[str, ...], status: int, words: str
) -> None:
    keledger("budget", "set", "other", "--limit", "1", "--period", "day")
    before = truth(found)
    outcome = keledger(*SET, *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert words in outcome.complaint
    assert truth(found) == before


@pytest.mark.parametrize("name", ["CRM", "", "c r m", "x" * 64, "-crm"])
def test_a_bad_name(found: Home, name: str) -> None:
    outcome = keledger("budget", "set", "--limit", "1", "--period", "day", "--", name)
    assert (outcome.status, outcome.out) == (2, "")
    assert "is no name for a budget" in outcome.complaint
    assert not found.path.exists()


@pytest.mark.parametrize("missing", ["--limit", "--period"])
def test_what_must_be_given(found: Home, missing: str) -> None:
    place = SET.index(missing)
    outcome = keledger(*SET[:place], *SET[place + 2 :])
    assert outcome.status == 2
    assert f"Missing option '{missing}'" in outcome.complaint


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("raise", "crm", "--to", "50"), 1, "is 50 USD now, and 50 does not raise it"),
        (("raise", "crm", "--to", "0"), 2, "'0' is no limit"),
        (("raise", "crm", "--to", "80", "--until", "2020-01-01"), 1, "a raise until 2020-01-01 would be over already"),
        (("raise", "crm", "--to", "80", "--until", "soon"), 2, "'soon' is no day or time for a raise to end"),
        (("raise", "crn", "--to", "80"), 1, "no budget 'crn' stands here; did you mean 'crm'?"),
        (("remove", "xyz"), 1, "no budget 'xyz' stands here; keledger budget list names those that stand"),
        (("remove", "crm", "--reason", ""), 1, "a reason is missing"),
    ],
)
def test_what_cannot_be_changed(found: Home, arguments: tuple[str, ...], status: int, words: str) -> None:
    keledger(*SET)
    before = truth(found)
    reason = ("--reason", "a test") if arguments[0] == "raise" else ()
    outcome = keledger("budget", *arguments, *reason)
    assert (outcome.status, outcome.out) == (status, "")
    assert words in outcome.complaint
    assert truth(found) == before


def test_a_raise_needs_a_reason(found: Home) -> None:
    keledger(*SET)
    assert "Missing option '--reason'" in keledger("budget", "raise", "crm", "--to", "80").complaint


def test_recording_tells_what_it_reached(found: Home) -> None:
    """A budget warns of what was spent elsewhere, too; once."""
    keledger("budget", "set", "crm", "--limit", "0.01", "--period", "day", "--where", "project=crm", "--warn", "40,90")
    call = b'{"provider":"openai","model":"gpt-5-mini","project":"crm","usage":{"input_uncached":20000}}\n'
    first = keledger("record", given=call)
    assert first.status == 0
    assert first.err == "keledger: budget crm has reached 40 % of $0.01: $0.005 is spent\n"
    assert keledger("record", given=call.replace(b"20000", b"1")).err == ""


def test_setting_tells_what_is_reached_already(found: Home) -> None:
    """Where a limit is set, or raised, so low that what is spent has passed a threshold of it."""
    call = b'{"provider":"openai","model":"gpt-5-mini","project":"crm","usage":{"input_uncached":20000}}\n'
    assert keledger("record", given=call).status == 0
    outcome = keledger("budget", "set", "crm", "--limit", "0.005", "--period", "day", "--where", "project=crm")
    assert outcome.err == (
        "keledger: budget crm has reached 80 % of $0.005: $0.005 is spent\n"
        "keledger: budget crm has reached 100 % of $0.005: $0.005 is spent\n"
    )
    raised = keledger("budget", "raise", "crm", "--to", "0.006", "--reason", "more")
    assert raised.err == "keledger: budget crm has reached 80 % of $0.006: $0.005 is spent\n"
