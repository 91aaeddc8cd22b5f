"""A process that dies, or whose disk fails, at any call on the operating system between a hold and its end.

Whatever was granted is in the journal; what was begun and has no end is found lost, once; and everybody else goes on.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from keledger.journal import BudgetExceeded, Home, Ledger, verify
from keledger.journal import _limits as limits
from tests.journal.support import events
from tests.promises.support import FaultyDisk, Tell, failing, in_child, kill_me

from .model import Model
from .support import answer, call, check, row, set_budget

ENDS = ("completed", "unknown", "not sent")
CASES = [
    ("completed", errno.EIO, "block"),
    ("completed", errno.EIO, "warn"),
    ("completed", errno.ENOSPC, "block"),
    ("unknown", errno.ENOSPC, "warn"),
    ("not sent", errno.EIO, "block"),
    ("not sent", errno.ENOSPC, "warn"),
]


def one_call(ledger: Ledger, how: str, tell: Tell) -> None:
    """A call from its hold to its end."""
    with ledger.call(**call()) as made:
        tell("granted")
        tell(made.id)
        if how == "completed":
            made.complete(answer())
        elif how == "not sent":
            made.not_sent()
    if made.recorded is None or made.recorded.journaled:
        tell("ended")


def begun(home: Home) -> Home:
    """With a budget, and a hold that is lost."""
    set_budget(home, limit="100", warn="none")

    def die(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            kill_me()

    in_child(die)
    return home


def faults() -> Iterator[int]:
    """Each call of the script in turn, as long as there are more."""
    return itertools.count(1)


@pytest.mark.parametrize("how", ENDS)
def test_who_is_killed_at_any_call_has_granted_nothing_that_is_not_journaled(
    home: Home, how: str, quick_syncs: None
) -> None:
    begun(home)
    for at in faults():
        disk = FaultyDisk(at)

        def run(tell: Tell, disk: FaultyDisk = disk) -> None:
            one_call(Ledger(home, program="test", disk=disk), how, tell)

        ended = in_child(run)
        if not ended.killed:
            break
        with Ledger.open(home.path) as ledger:
            assert row(ledger)["held_usd"] == "0"
            model = check(home, ledger)
        told_is_journaled(model, ended.told, how)
    assert at > 20
    assert ended.status == 0
    no_hold_ended_twice(home)
    with Ledger.open(home.path) as ledger:
        ledger.budgets.holds()
    assert list((home.path / "holds").iterdir()) == []


def told_is_journaled(model: Model, told: list[str], how: str) -> None:
    """What the process was told, before it died, stands in the journal."""
    holds = {hold.data["call_id"]: hold for hold in model.holds.values()}
    if "granted" in told:
        hold = holds[told[told.index("granted") + 1]]
        assert hold.state != "open"
        if "ended" in told:
            assert hold.state == {"completed": "settled", "unknown": "lost", "not sent": "released"}[how]


def no_hold_ended_twice(home: Home) -> None:
    ends: dict[str, list[str]] = {}
    for event in events(home):
        if event["type"] in ("call.completed", "call.failed", "hold.released", "hold.lost"):
            ends.setdefault(event["data"]["hold_id"], []).append(event["type"])
    reserved = {event["id"] for event in events(home) if event["type"] == "call.reserved"}
    assert reserved == ends.keys()
    assert {len(kinds) for kinds in ends.values()} == {1}
    assert not verify(home).damaged


@pytest.mark.parametrize(("how", "code", "action"), CASES)
def test_whose_disk_fails_at_any_call_is_refused_or_goes_on(
    home: Home, how: str, code: int, action: str, quick_syncs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but a refusal comes out of it, and of a budget that only warns not even that; and in the end all that
    was held for is explained, and no call counts beside its own hold."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.2)
    begun(home)
    set_budget(home, limit="100", warn="none", action=action)
    refused = 0
    for at in faults():
        disk = FaultyDisk(at, failing(code))
        told: list[str] = []
        with Ledger(home, program="test", disk=disk) as ledger:
            try:
                one_call(ledger, how, told.append)
            except BudgetExceeded:
                assert told == [], "refused after it was granted"
                refused += 1
            is_last, disk.at = len(disk.made) < at, 0
            ledger.record(provider="openai", model="gpt-5-mini", usage={"output_text": 7})
            check(home, ledger)
        if is_last:
            break
        with Ledger.open(home.path) as ledger:
            ledger.bring_in_spooled()
            assert row(ledger)["held_usd"] == "0"
            check(home, ledger)
            calls = {event["id"] for event in events(home) if event["type"] == "call.completed"}
            assert calls.isdisjoint(hold["call_id"] for hold in ledger.budgets.holds())
    assert refused > 5 if action == "block" else refused == 0
    with Ledger.open(home.path) as ledger:
        assert Decimal(row(ledger)["spent_usd"]) > 0
        with ledger.call(**call()) as made:
            made.complete(answer())
        check(home, ledger)
    assert not verify(home).damaged
    assert list((home.path / "holds").iterdir()) == []
