"""Budgets in the library: ``with ledger.call(…)`` among threads, tasks and processes, and what it raises."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from typing import Any

import pytest

from keledger.journal import BudgetExceeded, Home, Ledger, format_time, now_us
from keledger.journal._errors import AppendRefused
from keledger.journal._identity import new_id
from keledger.journal.budgets import budget_fields
from keledger.journal.budgets._holders import left_files
from tests.journal.support import events
from tests.promises.support import Tell, in_child, started_child

from .support import answer, call, check, row, set_budget

HELD = "0.004602"
"""For a call of 1000 tokens, at most; it takes 0.00201."""


def refuse(*_: Any) -> None:
    """In the place of an append."""
    raise AppendRefused("the disk is full")


def kinds(home: Home) -> list[str]:
    """What was journaled of calls and holds, in order."""
    return [event["type"] for event in events(home) if event["type"].startswith(("call.", "hold."))]


def test_a_call_is_held_for_before_it_is_made_and_settled_behind_it(home: Home, ledger: Ledger) -> None:
    set_budget(home)
    with ledger.call(**call()) as made:
        assert made.reservation is not None
        assert made.reservation.amount_usd == HELD
        with Ledger.open(home.path) as other:
            assert row(other)["held_usd"] == HELD
            assert kinds(home) == ["call.reserved"]
        made.complete(answer())
    assert (row(ledger)["spent_usd"], row(ledger)["held_usd"]) == ("0.00201", "0")
    reserved, completed = (event["data"] for event in events(home) if event["type"].startswith("call."))
    assert completed["hold_id"] == made.reservation.hold_id
    assert completed["started_at"] == reserved["started_at"]
    assert reserved["call_id"] == made.id
    check(home, ledger)


def test_a_refusal_carries_the_numbers_and_nothing_was_sent(home: Home, ledger: Ledger) -> None:
    set_budget(home, "small", limit="0.005", period="day")
    set_budget(home, "large", limit="100")
    with ledger.call(**call()) as made:
        made.complete(answer())
    entered = False
    with pytest.raises(BudgetExceeded) as refused, ledger.call(**call()):
        entered = True
    assert not entered
    (refusal,) = refused.value.refusals
    assert (refusal.cause, refusal.budget, refusal.declared) == ("limit", "small", None)
    assert (refusal.limit_usd, refusal.spent_usd, refusal.held_usd, refusal.asked_usd) == (
        "0.005",
        "0.00201",
        "0",
        HELD,
    )
    assert refusal.resets_at is not None
    assert refusal.resets_at.endswith("T00:00:00.000000Z")
    assert str(refused.value) == refusal.sentence
    for part in ("budget small", "$0.005", "$0.00201", "$0.004602", "keledger budget raise small --to"):
        assert part in refusal.sentence
    assert refused.value.exit_status == 4
    assert kinds(home) == ["call.reserved", "call.completed", "call.blocked"]
    check(home, ledger)


@pytest.mark.parametrize(
    ("how", "spent", "held", "state"),
    [
        ("answered", "0.00201", "0", None),
        ("refused", "0", "0", None),
        ("raised", HELD, "0", "lost"),
        ("left", HELD, "0", "lost"),
        ("unread", HELD, "0", "lost"),
        ("not sent", "0", "0", None),
    ],
)
def test_how_a_call_ends_its_hold(
    home: Home, ledger: Ledger, how: str, spent: str, held: str, state: str | None
) -> None:
    set_budget(home)
    error = ConnectionError("a line that broke")
    if how == "refused":
        error.status_code = 429  # type: ignore[attr-defined]
    raises = pytest.raises(ConnectionError) if how in ("refused", "raised") else contextlib.nullcontext()
    with raises as caught, ledger.call(**call()) as made:
        if how == "answered":
            made.complete(answer())
        elif how == "unread":
            made.complete({"no": "usage"})
        elif how == "not sent":
            made.not_sent()
        elif how != "left":
            raise error
    assert caught is None or caught.value is error, "the exception goes on"
    assert (row(ledger)["spent_usd"], row(ledger)["held_usd"]) == (spent, held)
    assert [hold["state"] for hold in ledger.budgets.holds()] == ([state] if state else [])
    assert left_files(home) == []
    assert "hold.lost" not in kinds(home), "the call's own event makes it lost"
    check(home, ledger)


def test_what_an_answer_says_of_the_call_does_not_move_it_to_another_window(home: Home, ledger: Ledger) -> None:
    set_budget(home, where=["session=*"])
    with ledger.call(**call(session="first")) as made:
        made.complete({"no": "usage"}, session="second", model="gpt-5", finish_reason="stop")
    ledger.budgets.resolve(made.id, "0.5", "so the invoice says")
    (standing,) = ledger.budgets.standings()
    assert standing.as_row()["group"] == [{"column": "session", "value": "first"}]
    assert standing.as_row()["spent_usd"] == "0.5"
    check(home, ledger)


@pytest.mark.parametrize("asks_first", [True, False])
def test_the_first_budget_holds_for_the_ledger_that_sets_it(home: Home, ledger: Ledger, asks_first: bool) -> None:
    """Whatever it did before: a home without budgets is not asked about them again and again."""
    if asks_first:
        assert ledger.budgets.list() == []
    for _ in range(2):
        with ledger.call(**call()) as made:
            made.complete(answer())
    assert made.reservation is None
    ledger.budgets.set(budget_fields("watched", limit="0.005", period="total", action="warn"))
    with ledger.call(**call()) as made:
        made.complete(answer())
    assert made.reservation is not None
    assert made.recorded is not None
    assert made.recorded.alerts or made.reservation.alerts
    ledger.budgets.set(budget_fields("all", limit="0.001", period="total"))
    with pytest.raises(BudgetExceeded), ledger.call(**call()):
        pass


def test_the_first_budget_holds_at_once_for_whoever_is_running(home: Home, ledger: Ledger) -> None:
    for _ in range(3):
        with ledger.call(**call()) as made:
            made.complete(answer())
    in_child(lambda _: set_budget(home, limit="0.001"))
    with pytest.raises(BudgetExceeded), ledger.call(**call()):
        pass


def test_an_alert_tells_what_is_spent_once_a_lost_hold_has_settled(home: Home, ledger: Ledger) -> None:
    """A hold that was given up for lost counts no more beside the cost of its call."""
    set_budget(home, limit="0.008", warn="50,80")
    with ledger.call(**call()) as made:
        ledger._enforcing()._holders.let_go(made.reservation.hold_id)  # type: ignore[union-attr]
        with Ledger.open(home.path) as other:
            assert [hold["state"] for hold in other.budgets.holds()] == ["lost"]
        made.complete(answer())
    assert made.recorded is not None
    assert made.recorded.alerts == ()
    assert row(ledger)["spent_usd"] == "0.00201"
    check(home, ledger)


def test_threads_share_a_ledger_and_a_budget(home: Home, ledger: Ledger) -> None:
    """Which of the calls are refused hangs on the order of the threads; that each hold ended as told does not."""
    set_budget(home, limit="0.02")
    with ledger.call(**call()) as first:
        first.not_sent()
    outcomes = ["released"]

    def run(number: int) -> None:
        for turn in range(6):
            try:
                with ledger.call(**call(500 + number * 100)) as made:
                    if (number + turn) % 5 == 0:
                        made.not_sent()
                        ended = "released"
                    else:
                        made.complete(answer(500))
                        ended = "settled"
            except BudgetExceeded:
                ended = "refused"
            outcomes.append(ended)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 49
    assert set(outcomes) == {"released", "settled", "refused"}
    assert row(ledger)["held_usd"] == "0"
    model = check(home, ledger)
    granted = [ended for ended in outcomes if ended != "refused"]
    assert Counter(hold.state for hold in model.holds.values()) == Counter(granted)


def test_tasks_hold_and_settle_beside_the_event_loop(home: Home, ledger: Ledger) -> None:
    set_budget(home, limit="0.03")

    async def one(number: int) -> str:
        try:
            async with ledger.call(**call(), session=f"s{number}") as made:
                await asyncio.sleep(0.001)
                made.complete(answer())
        except BudgetExceeded as refused:
            return refused.refusals[0].cause
        return "made"

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(30)))

    outcomes = asyncio.run(all_of_them())
    assert set(outcomes) == {"made", "limit"}
    assert row(ledger)["held_usd"] == "0"
    check(home, ledger)


@pytest.mark.parametrize("delay_ms", [0, 0.2, 0.5, 1, 2, 4, 8, 16])
def test_a_task_that_is_cancelled_keeps_no_hold(home: Home, ledger: Ledger, delay_ms: float) -> None:
    """Before its block its call was not sent; in it, nobody knows."""
    set_budget(home)
    entered: list[bool] = []

    async def one() -> None:
        async with ledger.call(**call()):
            entered.append(True)
            await asyncio.sleep(60)

    async def cancelled() -> None:
        tasks = [asyncio.create_task(one()) for _ in range(3)]
        await asyncio.sleep(delay_ms / 1000)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}

    asyncio.run(cancelled())
    states = [hold["state"] for hold in ledger.budgets.holds()]
    assert states == ["lost"] * len(entered)
    assert row(ledger)["held_usd"] == "0"
    check(home, ledger)


def test_what_was_not_sent_raises_nothing_though_its_hold_cannot_be_given_back(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(home)

    with monkeypatch.context() as full, ledger.call(**call()) as made:
        full.setattr(ledger._appender, "append", refuse)
        made.not_sent()
    assert [hold["state"] for hold in ledger.budgets.holds()] == ["lost"]


def test_a_call_whose_journal_fails_at_its_end_waits_and_takes_the_place_of_its_lost_hold(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(home)

    with monkeypatch.context() as full, ledger.call(**call()) as made:
        full.setattr(ledger._appender, "append", refuse)
        made.complete(answer())
    assert made.recorded is not None
    assert not made.recorded.journaled
    with Ledger.open(home.path) as other:
        assert [hold["state"] for hold in other.budgets.holds()] == ["lost"]
        assert row(other)["spent_usd"] == HELD
        assert other.bring_in_spooled() == 1
        assert row(other)["spent_usd"] == "0.00201"
        assert other.budgets.holds() == []
        check(home, other)


def test_what_was_decided_and_never_written_is_not_taken_for_what_is_written_next(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the two: what stands at that place then is another event."""
    set_budget(home)
    with ledger.call(**call()) as made:
        made.complete(answer())

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    never_held, held = ledger.call(**call()), ledger.call(**call()).__enter__()
    held.complete(answer())
    for act in (never_held.__enter__, lambda: held.__exit__(None, None, None)):
        with monkeypatch.context() as interrupted:
            interrupted.setattr(ledger._appender, "_write", interrupt)
            with pytest.raises(KeyboardInterrupt):
                act()
        ledger.record(provider="openai", model="gpt-5-mini", usage={"output_text": 100_000})
        check(home, ledger)
    ledger.bring_in_spooled()
    assert row(ledger)["spent_usd"] == "0.40402"
    check(home, ledger)


def test_a_child_that_was_forked_in_a_block_does_not_end_its_parents_call(home: Home, ledger: Ledger) -> None:
    set_budget(home)
    with ledger.call(**call()) as made:

        def child(_: Tell) -> None:
            made.complete(answer(1))
            made.__exit__(None, None, None)
            with ledger.call(**call()) as own:
                own.complete(answer(2))

        in_child(child)
        assert kinds(home) == ["call.reserved", "call.reserved", "call.completed"]
        made.complete(answer())
    assert kinds(home)[-1] == "call.completed"
    assert row(ledger)["spent_usd"] == "0.002024"
    check(home, ledger)


def test_budgets_of_a_run_and_a_session_hold_beside_those_that_are_set(home: Home, ledger: Ledger) -> None:
    """They are declared with the call itself; the journal has no other word of them."""
    begin = {
        "origin": "hook", "provider": "openai", "model": "gpt-5-mini", "run": "r1", "session": "s1",
        "request": {"bytes": 100, "messages": 1, "max_output_tokens": 1000, "self_contained": True},
        "declared": [{"scope": "session", "limit_usd": "0.003"}, {"scope": "run", "limit_usd": "5"}],
    }  # fmt: skip
    end = {"status": "ok", "usage_raw": answer()["usage"]}
    ids = [f"01a2041e-0000-7000-8000-00000000000{number}" for number in range(4)]
    assert ledger.reserve({**begin, "id": ids[0]}) is not None
    assert ledger.record_hook({**begin, "id": ids[0]}, end).journaled
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve({**begin, "id": ids[1]})
    (refusal,) = refused.value.refusals
    assert (refusal.declared, refusal.budget, refusal.limit_usd, refusal.spent_usd) == (
        "session",
        None,
        "0.003",
        "0.00201",
    )
    assert ledger.reserve({**begin, "id": ids[2], "session": "s2"}) is not None
    rows = {each["name"]: each for each in ledger.covers({**begin, "id": ids[3]})}
    assert {name: (each["limit_usd"], each["spent_usd"]) for name, each in rows.items()} == {
        "session": ("0.003", "0.00201"), "run": ("5", "0.00201"),
    }  # fmt: skip
    ledger.release(ids[2])
    ledger.release(ids[3])
    assert kinds(home)[-1] == "hold.released"
    check(home, ledger)


def test_a_closed_ledger_lets_go_of_its_holds_and_can_be_used_again(home: Home, ledger: Ledger) -> None:
    set_budget(home)
    with ledger.call(**call()) as made:
        ledger.close()
        with Ledger.open(home.path) as other:
            assert [hold["state"] for hold in other.budgets.holds()] == ["lost"]
        made.complete(answer())
    assert row(ledger)["spent_usd"] == "0.00201"
    check(home, ledger)


def test_a_process_that_waits_in_a_call_keeps_its_hold_from_nobody_else(home: Home, ledger: Ledger) -> None:
    """Each asks under the lock what the others hold."""
    set_budget(home, limit="0.01")

    def hold(tell: Tell) -> None:
        with Ledger.open(home.path).call(**call()) as made:
            tell("held")
            threading.Event().wait(30)
            made.complete(answer())

    with started_child(hold) as first, started_child(hold) as second:
        assert (first.wait_for_line(), second.wait_for_line()) == ("held", "held")
        with pytest.raises(BudgetExceeded) as refused, ledger.call(**call()):
            pass
        assert refused.value.refusals[0].held_usd == "0.009204"
    with pytest.raises(BudgetExceeded), ledger.call(**call()):
        pass
    for lost in ledger.budgets.holds():
        ledger.budgets.resolve(lost["hold_id"][:13], "0", "both were killed before they sent anything")
    with ledger.call(**call()) as made:
        made.complete(answer())
    check(home, ledger)


def test_a_clock_that_was_set_back_is_told(home: Home, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """Its calls count in windows that were over, and that is said: by the call, and to whoever looks."""
    ledger.budgets.set(budget_fields("all", limit="1", period="day"))
    assert ledger.budgets.clock_behind() is None
    year_ago = format_time(now_us() - 365 * 24 * 3600 * 10**6)
    held = ledger.reserve({"id": new_id(), "provider": "openai", "model": "gpt-5-mini", "started_at": year_ago})
    assert held is not None
    assert "set the clock right" in held.alerts[0]
    assert year_ago in held.alerts[0]
    with ledger.call(**call()) as made:
        made.complete(answer())
    assert caplog.records == [], "the clock is right"
