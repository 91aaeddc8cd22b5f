"""A home and its copy go on apart and are merged again: what both found out of the same hold or budget is one event."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, format_time, now_us, verify
from keledger.journal.budgets._store import CALL_COUNT
from tests.journal.support import events
from tests.promises.support import Tell, in_child, kill_me

from .support import answer, call, check, row, set_budget

SPENT = "0.006602"
"""A call of a thousand tokens at 0.002 USD, beside what the lost hold stands for."""


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Home:
    """A copy of a home with a budget and a hold that nobody keeps; of what is under way there it has no file."""
    set_budget(home, limit="0.01", period="month", warn="15")

    def die_in_it(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            kill_me()

    in_child(die_in_it)
    made = Home.at(tmp_path / "copy")
    shutil.copytree(home.path, made.path)
    shutil.rmtree(made.path / "holds")
    return made


def merged(home: Home, copy: Home) -> list[str]:
    """The kinds of what ``verify`` finds once a home has taken its copy in; both are held to the model."""
    with Ledger.open(home.path) as ledger:
        ledger.merge(copy.path)
        check(home, ledger)
    return [finding.kind for finding in verify(home).findings]


def test_a_hold_that_both_find_lost_is_lost_once(home: Home, copy: Home) -> None:
    for each in (home, copy):
        with Ledger.open(each.path) as ledger:
            assert [hold["state"] for hold in ledger.budgets.holds()] == ["lost"]
    assert merged(home, copy) == []
    lost = [event for event in events(home) if event["type"] == "hold.lost"]
    assert sorted(event["data"]["cause"] for event in lost) == ["process_ended", "process_gone"]
    assert len({event["id"] for event in lost}) == 1


@pytest.mark.parametrize(("other_cost", "found"), [("0.002", []), ("0.003", ["conflict"])])
def test_who_resolves_it_and_why_makes_no_other_event(
    home: Home, copy: Home, other_cost: str, found: list[str]
) -> None:
    for each, cost, reason in ((home, "0.002", "by its invoice"), (copy, other_cost, "by its page")):
        with Ledger.open(each.path) as ledger:
            hold_id = ledger.budgets.holds()[0]["hold_id"]
            ledger.budgets.resolve(hold_id, cost, reason)
    assert merged(home, copy) == found


def test_a_threshold_that_both_cross_is_told_once(home: Home, copy: Home) -> None:
    for each, tokens in ((home, 1000), (copy, 900)):
        with Ledger.open(each.path) as ledger, ledger.call(**call()) as made:
            made.complete(answer(tokens))
        assert made.recorded is not None
        assert len(made.recorded.alerts) == 1
    assert merged(home, copy) == []
    raised = [event for event in events(home) if event["type"] == "alert.raised"]
    assert len({event["data"]["spent_usd"] for event in raised}) == 2
    assert len({event["id"] for event in raised}) == 1


def test_a_call_that_both_record_counts_once(home: Home, copy: Home) -> None:
    """Twice in one home under its key, and once in the other: the first that comes is the one that counts."""
    fields = {"id": "one", "provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": 1000}}
    now = format_time(now_us())
    for each in (home, home, copy):
        with Ledger.open(each.path) as ledger:
            ledger.record(time=now, **fields)
            assert row(ledger)["spent_usd"] == SPENT
    assert merged(home, copy) == []
    with Ledger.open(home.path) as ledger:
        assert row(ledger)["spent_usd"] == SPENT
        (standing,) = ledger.budgets.standings()
        assert standing.sums[CALL_COUNT] == 1
