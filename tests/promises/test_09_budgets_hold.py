"""Promise 9: budgets hold under concurrency, durable before the call is made; each hold ends once, by an event.

``tests/budgets`` has more of it: 64 processes in ``test_race.py``, deaths and failing disks in ``test_crashes.py``,
random histories against a plain model in ``test_model.py``, what may become of the guard's files in ``test_guard.py``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from keledger.journal import BudgetExceeded, Home, Ledger, verify
from tests.budgets.support import answer, call, check, row, set_budget
from tests.journal.support import events

from .power import Machine, die
from .support import Tell, ignore, in_child, kill_me, started_child

HELD = Decimal("0.004602")
"""What is held for a call of :func:`.call`, which then takes 0.00201."""

LIMIT = "0.0125"
"""For two calls at once, or for five one after the other."""

ENDS = ("call.completed", "call.failed", "hold.released", "hold.lost")


def calls_in_turn(home: Home, told: Callable[[str], object]) -> None:
    """Two calls, each told when it may be sent and when it has ended."""
    with Ledger.open(home.path) as ledger:
        for _ in range(2):
            with ledger.call(**call()) as made:
                assert made.reservation is not None
                told(made.reservation.hold_id)
                made.complete(answer())
            assert made.recorded is not None
            if made.recorded.journaled:
                told(made.id)


def test_what_was_granted_survives_a_power_cut_at_any_moment(tmp_path: Path, quick_syncs: None) -> None:
    """A call may go out only when its hold is on the disk, and where it is, it counts when the machine is up again."""

    def machine(name: object) -> Machine:
        folder = tmp_path / str(name)
        folder.mkdir(mode=0o700)
        set_budget(Home.at(folder / "home"), limit="1")
        return Machine(folder)

    counted = machine("counted")
    with counted.running():
        calls_in_turn(Home.at(counted.folder / "home"), ignore)
    assert len(counted.calls) > 20
    for at in range(1, len(counted.calls) + 1):
        cut, told = machine(at), list[str]()
        with cut.running(at, die):
            calls_in_turn(Home.at(cut.folder / "home"), told.append)
        image = tmp_path / f"{at}-cut"
        cut.cut_power(image)
        found = Home.at(image / "home")
        journaled = {event["id"]: event for event in events(found)}
        assert (at, [each for each in told if each not in journaled]) == (at, [])
        with Ledger.open(found.path) as ledger:
            settled = sum(event["type"] == "call.completed" for event in journaled.values())
            begun = sum(event["type"] == "call.reserved" for event in journaled.values())
            stands = row(ledger)
            used = Decimal(stands["spent_usd"]) + Decimal(stands["held_usd"])
            assert (at, used) == (at, settled * Decimal("0.00201") + (begun - settled) * HELD)
            check(found, ledger)
        assert not verify(found).damaged
        shutil.rmtree(image)
        shutil.rmtree(cut.folder)


def test_each_hold_ends_once_by_an_event_whatever_ends_its_process(home: Home) -> None:
    """Answered, failed, never sent, or killed: then whoever looks next finds it lost, and nobody finds it again."""
    set_budget(home, limit="1")

    def die_in_it(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            kill_me()

    def leave_by_an_error(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            raise SystemExit(0)

    def never_send(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()) as made:
            made.not_sent()

    def leave_without_a_word(_: Tell) -> None:
        Ledger.open(home.path).call(**call()).__enter__()

    def be_answered(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()) as made:
            made.complete(answer())

    for action in (die_in_it, leave_by_an_error, never_send, leave_without_a_word, be_answered):
        in_child(action)
    with Ledger.open(home.path) as one, Ledger.open(home.path) as other:
        for ledger in (one, other, one):
            assert [hold["state"] for hold in ledger.budgets.holds()] == ["lost"] * 3
        assert row(other)["held_usd"] == "0"
        check(home, other)
    told = events(home)
    ends = [event["data"]["hold_id"] for event in told if event["type"] in ENDS]
    assert sorted(ends) == sorted(event["id"] for event in told if event["type"] == "call.reserved")
    assert len(set(ends)) == len(ends) == 5


def test_what_others_hold_is_not_granted_again(home: Home, ledger: Ledger) -> None:
    """While it is held, and not when it has been given back: by its end, or by its holder's death and a word on it."""
    set_budget(home, limit=LIMIT)

    def hold(tell: Tell) -> None:
        with Ledger.open(home.path).call(**call()) as made:
            tell("held")
            while not (home.path / "go on").exists():
                time.sleep(0.005)
            made.not_sent()

    with started_child(hold) as one, started_child(hold) as two:
        assert [child.wait_for_line() for child in (one, two)] == ["held", "held"]
        with pytest.raises(BudgetExceeded) as refused, ledger.call(**call()):
            pass
        assert Decimal(refused.value.refusals[0].held_usd) == 2 * HELD
        one.send(9)
        one.wait()
        with pytest.raises(BudgetExceeded) as refused, ledger.call(**call()):
            pass
        (refusal,) = refused.value.refusals
        assert (Decimal(refusal.spent_usd), Decimal(refusal.held_usd)) == (HELD, HELD)
        (home.path / "go on").touch()
        assert two.ended().status == 0
    (lost,) = ledger.budgets.holds()
    with ledger.call(**call()) as made:
        made.complete(answer())
    ledger.budgets.resolve(lost["hold_id"], "0", "it was not billed")
    assert row(ledger)["left_usd"] == str(Decimal(LIMIT) - Decimal("0.00201"))
    check(home, ledger)
