"""Many processes that race for one budget: it is never overspent, and nothing that fits is refused.

All is judged by the journal alone, folded by ``model.py``.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from keledger.journal import BudgetExceeded, Home, InputRefused, Ledger, verify
from keledger.journal import _limits as limits
from keledger.journal._home import own_writers
from keledger.journal.budgets import budget_fields
from tests.journal.support import events
from tests.promises.support import Child, Tell, kill_me, started_child

from .model import Event, Model, in_order
from .support import answer, call, check, row, set_budget

LIMIT = Decimal("1.00")
PROCESSES = 64
NOW = datetime.now(UTC)

ENDINGS = ("call.completed", "call.failed", "hold.released", "hold.lost")
"""What ends a hold; ``hold.resolved`` says what a lost one came to."""


@dataclass(frozen=True)
class Race:
    """A home with one budget, and what its processes do."""

    home: Home
    calls: int
    """How many each process makes."""
    is_deadly: bool = False
    """Whether half of the processes are killed: in a call, or at any moment."""

    def run(self, number: int, tell: Tell, inherited: Ledger) -> None:
        """Make calls of random size, each at random cost below the most that it may take."""
        chance = random.Random(number)
        ledger = inherited if number % 2 else Ledger.open(self.home.path)
        dies_in_call = chance.randrange(2) if self.is_deadly and number % 4 == 0 else None
        if self.is_deadly and number % 4 == 1:
            die_after(chance.uniform(0.001, 0.006 * self.calls))
        for made_before in range(self.calls):
            tokens = chance.randrange(200, 20_000)
            with contextlib.suppress(BudgetExceeded), ledger.call(**call(tokens)) as made:
                time.sleep(chance.random() / 200)
                if made_before == dies_in_call:
                    kill_me()
                if chance.random() < 0.05:
                    made.not_sent()
                else:
                    made.complete(answer(chance.randrange(tokens)))
        tell("done")


def die_after(cpu_s: float) -> None:
    """Let the kernel end this process at once when it has worked for so long, wherever it is then."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up waiting for the lock, however busy the machine is: that is another matter."""
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 120.0)


@contextlib.contextmanager
def racing(race: Race) -> Iterator[list[Child]]:
    """The processes, all let go at once.  Every other one has inherited an open ledger."""
    with Ledger.open(race.home.path) as inherited, contextlib.ExitStack() as stack:
        inherited.budgets.list()
        gate, hold_back = os.pipe()

        def action(number: int) -> Callable[[Tell], None]:
            def run(tell: Tell) -> None:
                os.close(hold_back)
                os.read(gate, 1)
                race.run(number, tell, inherited)

            return run

        children = [stack.enter_context(started_child(action(number))) for number in range(PROCESSES)]
        os.close(gate)
        os.close(hold_back)
        yield children


def judged(home: Home) -> tuple[Model, list[Event]]:
    """What the journal comes to, each decision held to the state in which it was taken."""
    told = in_order(events(home))
    model = Model(own_writers(home))
    for event in told:
        model.judge(event)
        model.take(event)
        if event["type"] in ("call.completed", "call.failed"):
            sums = model.sums(model.budgets["all"], (), NOW)
            assert sums.calls <= LIMIT, "more was spent than there was"
    for hold_id, kinds in endings(told).items():
        assert len(kinds) == 1, f"hold {hold_id} ended by {kinds}"
    return model, told


def endings(told: list[Event]) -> dict[str, list[str]]:
    """By what each hold ended."""
    found: dict[str, list[str]] = {}
    for event in told:
        if event["type"] in ENDINGS and "hold_id" in event["data"]:
            found.setdefault(event["data"]["hold_id"], []).append(event["type"])
    return found


def of_type(told: list[Event], kind: str) -> list[Event]:
    return [event for event in told if event["type"] == kind]


def spend_the_rest(home: Home) -> Decimal:
    """Make calls as large as fit, each answered in full; returns what the smallest of all would have taken."""
    with Ledger.open(home.path) as ledger:
        tokens = 2**18
        while True:
            try:
                with ledger.call(**call(tokens)) as made:
                    made.complete(answer(tokens))
            except BudgetExceeded as error:
                if tokens == 1:
                    return Decimal(error.refusals[0].asked_usd or "0")
                tokens //= 2


def left(home: Home) -> Decimal:
    with Ledger.open(home.path) as ledger:
        return Decimal(row(ledger)["left_usd"])


@pytest.mark.parametrize("calls", [3, pytest.param(30, marks=pytest.mark.exhaustive)])
def test_many_processes_never_overspend_a_budget_and_are_refused_only_what_does_not_fit(home: Home, calls: int) -> None:
    set_budget(home, limit=str(LIMIT), warn="50,90")
    with racing(Race(home, calls)) as children:
        assert {(ended.status, *ended.told) for ended in [child.ended() for child in children]} == {(0, "done")}
    model, told = judged(home)
    assert len(of_type(told, "call.reserved")) + len(of_type(told, "call.blocked")) == PROCESSES * calls
    assert of_type(told, "call.blocked"), "nobody was refused: the race was too small"
    assert len(endings(told)) == len(of_type(told, "call.reserved"))
    assert {hold.state for hold in model.holds.values()} <= {"settled", "released"}
    assert [event["data"]["threshold_percent"] for event in of_type(told, "alert.raised")] in ([50, 90], [50])
    assert not verify(home).damaged
    smallest = spend_the_rest(home)
    assert left(home) < smallest < LIMIT / 500


@pytest.mark.parametrize("calls", [4, pytest.param(30, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("on_lost", ["count", "release"])
def test_processes_that_are_killed_at_any_moment_lose_their_holds_and_no_money(
    home: Home, calls: int, on_lost: str
) -> None:
    set_budget(home, limit=str(LIMIT), on_lost=on_lost)
    with racing(Race(home, calls, is_deadly=True)) as children:
        statuses = [child.ended().status for child in children]
    assert {0} < set(statuses) <= {0, -signal.SIGKILL, -signal.SIGPROF}
    with Ledger.open(home.path) as ledger:
        lost = ledger.budgets.holds()
    model, told = judged(home)
    assert lost, "nobody was killed in the middle of a call"
    unsettled = {event["id"] for event in of_type(told, "call.reserved")} - {
        event["data"].get("hold_id") for event in told if event["type"] in ("call.completed", "hold.released")
    }
    assert {hold["hold_id"] for hold in lost} == unsettled
    assert {(hold["state"], hold["own"], tuple(hold["budgets"])) for hold in lost} == {("lost", True, ("all",))}
    assert {hold["cause"] for hold in lost} <= {"process_ended", "process_gone"}
    (budget,) = model.budgets.values()
    sums = model.sums(budget, (), NOW)
    assert (sums.lost_count, sums.open_count) == (len(lost), 0)
    assert sums.lost == sum(Decimal(hold["amount_usd"]) for hold in lost)
    if on_lost == "count":
        with Ledger.open(home.path) as ledger:
            for hold in lost:
                ledger.budgets.resolve(hold["hold_id"], "0", "it was not billed")
    smallest = spend_the_rest(home)
    judged(home)
    assert left(home) < smallest < LIMIT / 500


def test_processes_that_find_no_state_build_it_and_agree(home: Home) -> None:
    """All at once, while others go on: each is decided on by the whole journal."""
    set_budget(home, limit="0.02")
    with Ledger.open(home.path) as ledger:
        ledger.record_many(
            {"provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": 4}} for _ in range(500)
        )
    shutil.rmtree(home.path / "guard")

    def one_call(tell: Tell) -> None:
        try:
            with Ledger.open(home.path).call(**call()) as made:
                made.complete(answer())
            tell("made")
        except BudgetExceeded:
            tell("refused")

    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(started_child(one_call)) for _ in range(12)]
        told = [child.ended().told for child in children]
    assert sorted(told) in ([["made"]] * made + [["refused"]] * (12 - made) for made in range(3, 7))
    with Ledger.open(home.path) as ledger:
        check(home, ledger)
    assert [path.name for path in (home.path / "guard").glob(".*")] == [], "drafts of the state are left"


def test_of_processes_that_set_one_name_one_does(home: Home) -> None:
    def set_it(tell: Tell) -> None:
        try:
            Ledger.open(home.path).budgets.set(budget_fields("all", limit="1", period="day"))
            tell("set")
        except InputRefused:
            tell("refused")

    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(started_child(set_it)) for _ in range(8)]
        told = sorted(child.ended().told[0] for child in children)
    assert told == ["refused"] * 7 + ["set"]
    assert len(of_type(list(events(home)), "budget.set")) == 1
