"""What a later release has journaled of budgets, and this one cannot read: no call goes out under a budget that blocks.

``tests/promises/test_versions.py`` holds what becomes of unknown events elsewhere.
"""

from __future__ import annotations

from typing import Any

import pytest

from keledger.journal import BudgetExceeded, Home, Ledger
from keledger.journal.budgets import budget_fields
from tests.cli.support import forge
from tests.journal.support import events

from .support import answer, call, check, set_budget

NAMED = {"name": "later", "action": "block"}
MUST_BE_READ = (
    ("budget.set", 2, {"name": "later", "action": "warn"}),
    ("budget.raised", 2, {"name": "all"}),
    ("budget.removed", 2, {"name": "all"}),
    ("budget.paused", 1, {"name": "all"}),
    ("hold.lost", 2, {"hold_id": "a"}),
    ("hold.extended", 1, {"hold_id": "a"}),
    ("period.closed", 2, {}),
    ("period.ended", 1, {}),
    ("call.reserved", 2, {"call_id": "a"}),
)
NEED_NOT_BE_READ = (
    ("alert.raised", 2, {"name": "all"}),
    ("alert.delivered", 1, {}),
    ("call.completed", 2, {"hold_id": "a"}),
    ("call.blocked", 2, {}),
    ("invoice.recorded", 2, {}),
    ("test.noted", 1, {}),
)


def goes_out(home: Home) -> bool:
    """Whether a call does, by a ledger of its own; a refusal says what to do."""
    with Ledger.open(home.path) as ledger:
        try:
            with ledger.call(**call(1)) as made:
                made.complete(answer(1))
        except BudgetExceeded as refused:
            (refusal, *_) = refused.refusals
            return (refusal.cause, "upgrade keledger in " in refusal.sentence) != ("unreadable", True)
        return True


def told_and_rebuilt(home: Home) -> bool:
    """As :func:`goes_out`; a guard that is built from nothing says the same."""
    first = goes_out(home)
    for path in (home.path / "guard").glob("*.sqlite3"):
        path.unlink()
    assert goes_out(home) == first
    return first


@pytest.mark.parametrize(("kind", "v", "data"), MUST_BE_READ)
def test_under_a_budget_that_blocks_what_must_be_read_and_cannot_be_stops_calls(
    home: Home, kind: str, v: int, data: dict[str, Any]
) -> None:
    set_budget(home)
    assert goes_out(home)
    forge(home, kind, data, v=v)
    assert not told_and_rebuilt(home)
    last = events(home)[-1]
    assert last["type"] == "call.blocked"
    assert [refusal["cause"] for refusal in last["data"]["refusals"]] == ["unreadable"]
    with Ledger.open(home.path) as ledger:
        check(home, ledger)


@pytest.mark.parametrize(("kind", "v", "data"), MUST_BE_READ)
def test_under_one_that_only_warns_it_stops_none(home: Home, kind: str, v: int, data: dict[str, Any]) -> None:
    set_budget(home, action="warn")
    forge(home, kind, data, v=v)
    assert told_and_rebuilt(home)


@pytest.mark.parametrize(("kind", "v", "data"), NEED_NOT_BE_READ)
def test_what_says_nothing_of_limits_stops_none(home: Home, kind: str, v: int, data: dict[str, Any]) -> None:
    set_budget(home)
    forge(home, kind, data, v=v)
    assert told_and_rebuilt(home)


def test_a_budget_that_cannot_be_read_blocks_by_itself_unless_it_says_that_it_warns(home: Home) -> None:
    set_budget(home, action="warn")
    forge(home, "budget.set", NAMED, v=2)
    assert not told_and_rebuilt(home)
    forge(home, "budget.raised", {"name": "later"}, v=2)
    assert not told_and_rebuilt(home), "what is done to it makes it no other budget"
    forge(home, "budget.set", {**NAMED, "action": "warn"}, v=2)
    assert told_and_rebuilt(home)
    forge(home, "budget.set", {**NAMED, "action": "stop"}, v=3)
    assert not told_and_rebuilt(home), "an action that nobody here knows"


def test_its_name_and_version_are_told_and_who_wrote_it(home: Home) -> None:
    set_budget(home, action="warn")
    forge(home, "budget.set", NAMED, v=7)
    with Ledger.open(home.path) as ledger, pytest.raises(BudgetExceeded) as refused, ledger.call(**call()):
        pass
    for part in ("budget later", "budget.set version 7", "by keledger "):
        assert part in str(refused.value)
    assert refused.value.refusals[0].budget == "later"


def test_a_version_that_can_be_read_takes_its_place(home: Home) -> None:
    set_budget(home, action="warn")
    forge(home, "budget.set", NAMED, v=2)
    assert not goes_out(home)
    set_budget(home, "later", action="block")
    assert told_and_rebuilt(home)


def test_one_that_replaced_a_version_that_can_be_read_stands_though_that_is_removed(home: Home) -> None:
    set_budget(home, "later")
    forge(home, "budget.set", NAMED, v=2)
    assert not told_and_rebuilt(home)
    with Ledger.open(home.path) as ledger:
        ledger.budgets.remove("later")
    assert not told_and_rebuilt(home)


def test_of_another_homes_writers_it_stops_none(home: Home, tmp_path: Any) -> None:
    """Their budgets are theirs; and what they hold counts as far as it can be read."""
    other = Home.at(tmp_path / "other")
    with Ledger.open(other.path) as theirs:
        theirs.budgets.set(budget_fields("theirs", limit="0.000001", period="day"))
        for kind, v, data in (*MUST_BE_READ, ("budget.set", 2, NAMED)):
            forge(other, kind, data, v=v)
    set_budget(home)
    with Ledger.open(home.path) as ledger:
        ledger.merge(other.path)
        check(home, ledger)
    assert told_and_rebuilt(home)


def test_what_no_release_writes_cannot_be_read_either(home: Home) -> None:
    """Whoever wrote it knew how hashes are made, and no more."""
    set_budget(home)
    forge(home, "hold.released", {"cause": "it names no hold"})
    assert not told_and_rebuilt(home)


def test_a_zone_that_this_machine_does_not_know_cannot_be_counted_in(home: Home) -> None:
    set_budget(home, action="warn")
    set_data = next(event["data"] for event in events(home) if event["type"] == "budget.set")
    forge(home, "budget.set", {**set_data, "name": "martian", "action": "block", "timezone": "Mars/Olympus"})
    assert not told_and_rebuilt(home)
