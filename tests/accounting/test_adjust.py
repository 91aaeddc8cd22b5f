"""``keledger adjust``: money beside the calls, found by what is given for it, and taken back."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from keledger.journal import Home, InputRefused, verify
from keledger.projections import ReportOptions, open_projection, report_daily
from tests.cli.support import keledger, keledger_terminal, truth
from tests.journal.support import events
from tests.projections.repricing import ledger_of
from tests.projections.support import rebuild_or_not

from .support import close_month, monthly

CREDIT = (
    "adjust",
    "-12.50",
    "--provider",
    "OpenAI",
    "--date",
    "2026-10-31",
    "--category",
    "credit",
    "--reason",
    "note 17",
)


def adjust(*arguments: str) -> dict[str, Any]:
    outcome = keledger(*arguments)
    assert outcome.status == 0, outcome.err
    document: dict[str, Any] = outcome.json
    return document


def test_an_adjustment_is_one_event_in_words_of_focus(used: Home) -> None:
    document = adjust(*CREDIT, "--project", "crm", "--tag", "env=prod")
    (event,) = (one for one in events(used) if one["type"] == "charge.adjusted")
    data = event["data"]
    assert document["id"] == event["id"]
    assert (data["amount_usd"], data["provider"], data["category"]) == ("-12.5", "openai", "Credit")
    assert (data["effective_at"], data["reason"]) == ("2026-10-31T12:00:00.000000Z", "note 17")
    assert (data["project"], data["tags"]) == ("crm", {"env": "prod"})
    assert not verify(used).findings
    assert adjust("adjust", "--list")["rows"][0]["id"] == event["id"]


@pytest.mark.parametrize("rebuilt", [False, True])
def test_it_stands_beside_the_cost_and_never_in_it(used: Home, rebuilt: bool) -> None:
    before = monthly(used)
    adjust(*CREDIT, "--project", "crm")
    adjust("adjust", "0.000000000001", "--provider", "acme", "--date", "2026-08-01", "--reason", "a grain")
    rebuild_or_not(used, rebuilt)
    after = monthly(used)
    assert after.totals["cost_usd"] == before.totals["cost_usd"]
    assert after.totals["adjustments_usd"] == "-12.499999999999"
    assert [(row["month"], row["calls"], row["adjustments_usd"]) for row in after.rows] == [
        ("2026-08", 0, "0.000000000001"), ("2026-09", 1, "0"), ("2026-10", 5, "-12.5"),
    ]  # fmt: skip
    assert after.corrections == ()
    assert monthly(used, basis="recorded").totals["adjustments_usd"] == "-12.499999999999"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"where": (("project", "crm"),)}, "-12.5"),
        ({"where": (("project", "web"),)}, "0"),
        ({"where": (("provider", "openai"),)}, "-12.5"),
        ({"where": (("tag:env", "prod"),)}, "-12.5"),
        ({"where": (("team", ""), ("session", ""))}, "-12.5"),
        ({"where": (("session", "s1"),)}, "0"),
    ],
)
def test_where_finds_it_by_what_it_has(used: Home, options: dict[str, Any], wanted: str) -> None:
    adjust(*CREDIT, "--project", "crm", "--tag", "env=prod")
    assert monthly(used, **options).totals["adjustments_usd"] == wanted


def test_by_splits_it_from_what_it_does_not_have(used: Home) -> None:
    adjust(*CREDIT, "--project", "crm")
    rows = monthly(used, by=("project", "model"), where=(("project", "crm"),)).rows
    assert [(row["model"], row["calls"], row["adjustments_usd"]) for row in rows] == [
        ("gpt-5-mini", 1, "0"), (None, 0, "-12.5"),
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Lima"])
def test_its_day_is_the_same_in_the_zones_around(used: Home, zone: str) -> None:
    adjust(*CREDIT)
    with open_projection(used) as projection:
        rows = report_daily(projection, ReportOptions(timezone=zone)).rows
        (row,) = (row for row in rows if row["adjustments_usd"] != "0")
        assert row["date"] == "2026-10-31"
        for since, until, wanted in ((31, 31, "-12.5"), (1, 30, "0")):
            options = ReportOptions(timezone=zone, since=date(2026, 10, since), until=date(2026, 10, until))
            assert report_daily(projection, options).totals["adjustments_usd"] == wanted


def test_it_is_taken_back_once_by_its_opposite(used: Home) -> None:
    booked = adjust(*CREDIT, "--project", "crm")
    back = adjust("adjust", "--reverse", booked["id"][:20], "--reason", "booked twice")
    assert (back["amount_usd"], back["reverses"], back["project"]) == ("12.5", booked["id"], "crm")
    assert monthly(used).totals["adjustments_usd"] == "0"
    before = truth(used)
    for given, complaint in ((booked["id"], "was taken back already"), (back["id"], "takes another one back itself")):
        assert complaint in keledger("adjust", "--reverse", given, "--reason", "again").complaint
    assert truth(used) == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["12,50"], "'12,50' is no amount: write it like 12.50"),
        (["$5"], "'$5' is no amount"),
        (["0.00"], "0 changes nothing"),
        (["1.1234567890123"], "has more than 12 decimals"),
        (["--typo"], "'--typo' is no amount"),
        (["5", "--date", "2026-02-30"], "'2026-02-30' is no day"),
        (["5", "--category", "Gift"], "'Gift' is not one of"),
        (["5", "--tag", "env"], "'env' is not KEY=VALUE"),
        (["5", "--tag", "Bad Key=1"], "tags"),
        (["5", "--provider", ""], "--provider is missing"),
        (["5", "--reason", ""], "a reason is missing: say why"),
        (["1000000000000.000000000001"], "that is more than 1,000,000,000,000 USD, the most that can be booked"),
        (["-999999999999999"], "that is more than 1,000,000,000,000 USD, the most that can be booked"),
        (["5", "--list"], "--list takes no amount"),
        (["5", "--reverse", "x"], "give an amount, or --reverse"),
        (["--reverse", "x"], "no adjustment has the id 'x'"),
        ([], "give an amount, or --reverse"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(used: Home, arguments: list[str], complaint: str) -> None:
    before = truth(used)
    given = ["--provider", "openai", "--date", "2026-10-31", "--reason", "test", *arguments]
    outcome = keledger("adjust", *given)
    assert outcome.status in (1, 2)
    assert complaint in outcome.complaint
    assert truth(used) == before


def test_the_library_books_no_more_either(used: Home) -> None:
    data = {"provider": "openai", "effective_at": "2026-10-31T12:00:00.000000Z", "category": "Tax"}
    with ledger_of(used) as ledger:
        for _ in range(2):
            ledger.adjust({**data, "amount_usd": "1000000000000"}, "test")
        with pytest.raises(InputRefused, match="the most that can be booked"):
            ledger.adjust({**data, "amount_usd": "1000000000000.01"}, "test")
    assert monthly(used).totals["adjustments_usd"] == "2000000000000"


@pytest.mark.parametrize("command", ["adjust", "reopen"])
def test_an_empty_reason_is_refused_alike(used: Home, command: str) -> None:
    given = {"adjust": CREDIT[:-2], "reopen": ("reopen", "2026-10")}[command]
    with ledger_of(used) as ledger:
        close_month(used, ledger, "2026-10")
    outcome = keledger(*given, "--reason", " ")
    assert (outcome.status, outcome.complaint.partition(":")[0]) == (1, "a reason is missing")
    assert keledger(*given).status == 2


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_ids_and_days_in_a_list_are_whole_or_left_out(used: Home, columns: int) -> None:
    booked = adjust(*CREDIT)["id"]
    table = keledger_terminal("adjust", "--list", columns=columns).out
    assert "2026-10-31" in table
    assert booked in table or "Id" in table.partition("too narrow for:")[2]
    assert (booked in table) == (columns >= 60)


def test_a_table_shows_it_apart(used: Home) -> None:
    adjust(*CREDIT)
    assert "Adjusted" in keledger_terminal("monthly").out
    assert "-$12.500000" in keledger_terminal("monthly").out
    assert "note 17" in keledger_terminal("adjust", "--list", columns=200).out
