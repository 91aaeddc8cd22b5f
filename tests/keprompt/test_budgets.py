"""Budgets and real KePrompts: what is refused before it is sent, what is held meanwhile, what deaths leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from keledger.journal import Home, Ledger
from keledger.journal.budgets import budget_fields
from keledger.journal.capture._launcher import ON_PATH

from .support import VERSIONS, Stage, end, events_of, wait_for, write_lines, write_prompt

TINY = "0.000001"
AMPLE = "100"


def guarded(home: Home) -> list[dict[str, Any]]:
    """Every event of calls, holds and alerts, in the journal's order."""
    return [event for event in events_of(home) if event["type"].startswith(("call.", "hold.", "alert."))]


def types(home: Home) -> list[str]:
    return [event["type"] for event in guarded(home)]


def open_holds(home: Home) -> list[str]:
    """The holds that no event has ended."""
    found = guarded(home)
    ended = {event["hold_id"] for event in found if "hold_id" in event}
    return [event["id"] for event in found if event["type"] == "call.reserved" and event["id"] not in ended]


def first_hold_usd(stage: Stage, ask: str) -> str:
    """What the first call of a chat is held at, in a home that knows no calls yet."""
    elsewhere = stage.folder / "elsewhere"
    stage.run(stage.watched(stage.chat(ask), "--budget", AMPLE), KELEDGER_HOME=str(elsewhere))
    amount: str = next(event["amount_usd"] for event in guarded(Home.at(elsewhere)) if event["type"] == "call.reserved")
    stage.provider.asked.clear()
    stage.provider.sent.clear()
    return amount


def keledgers_words(errors: str) -> list[str]:
    """What keledger said on stderr, where KePrompt tells of its failure as well."""
    return [line for line in errors.splitlines() if line.startswith("keledger: ")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hard_stop_on_the_second_round_trip_of_a_tool_loop(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    limit = first_hold_usd(stage, "tool")  # so that the first call just fits, and no second one
    ended = stage.run(stage.watched(stage.chat("tool"), "--budget", limit))
    assert len(stage.provider.asked) == 1
    assert ended.returncode == 1
    envelope = json.loads(ended.stdout)
    assert envelope["success"] is False
    assert types(stage.home) == ["call.reserved", "call.completed", "call.blocked"]
    assert open_holds(stage.home) == []
    reserved, completed, blocked = guarded(stage.home)
    assert reserved["request"]["messages"] == 2
    assert 0 < reserved["request"]["bytes"] < blocked["request"]["bytes"]
    assert Decimal(completed["cost"]["total_usd"]) <= Decimal(reserved["amount_usd"]) == Decimal(limit)
    [refusal] = blocked["refusals"]
    assert (refusal["cause"], refusal["declared"]) == ("limit", "run")
    assert (refusal["limit_usd"], refusal["spent_usd"], refusal["held_usd"]) == (
        limit, completed["cost"]["total_usd"], "0",
    )  # fmt: skip
    said, closing = keledgers_words(ended.stderr)
    assert said.startswith("keledger: call refused: ")
    assert said.removeprefix("keledger: call refused: ") in envelope["error"]
    for part in (
        f"${limit}",
        f"${completed['cost']['total_usd']}",
        f"${refusal['asked_usd']}",
        "keledger run --budget",
    ):
        assert part in said
    assert closing.startswith("keledger: 1 call (1 refused by a budget), ")
    shown = json.loads(stage.run([str(stage.keprompt), "chat", "get", completed["session"], "--json"]).stdout)
    assert completed["session"] in json.dumps(shown)
    stage.check_against_provider()


@pytest.mark.parametrize(
    ("keledger", "setting", "inserted"),
    [
        (f'{{"budget":{TINY}}}', (), ""),
        ("", (f"keledger_budget={TINY}",), ""),
        ("", (), f".# keledger budget={TINY}\n"),
        ("", (), f".set keledger_budget {TINY}\n"),
        (f'{{"budget":{AMPLE}}}', (f"keledger_budget={TINY}",), f".# keledger budget={AMPLE}\n"),
    ],
)
def test_a_prompt_declares_what_its_session_may_cost(
    stage: Stage, keledger: str, setting: tuple[str, ...], inserted: str
) -> None:
    write_lines(stage.workspace, inserted, keledger)
    ended = stage.run(stage.watched(stage.chat("hello", *setting)))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert types(stage.home) == ["call.blocked"]
    assert ended.stderr.splitlines()[-1] == "keledger: 0 calls (1 refused by a budget)"


def test_a_chat_goes_on_when_its_budget_is_raised_with_the_reply(stage: Stage) -> None:
    write_prompt(stage.workspace, f'{{"budget":{first_hold_usd(stage, "hello")}}}')
    first = stage.run(stage.watched(stage.chat("hello")))
    assert first.returncode == 0, first.stderr
    chat_id = json.loads(first.stdout)["chat_id"]
    assert stage.run(stage.watched(stage.reply(chat_id, "and now?"))).returncode == 1
    assert len(stage.provider.asked) == 1
    raised = stage.run(stage.watched(stage.reply(chat_id, "and now?", "keledger_budget=1.00")))
    assert raised.returncode == 0, raised.stderr
    # Each of the three was asked of the same window, and the raise is kept with the chat.
    assert stage.run(stage.watched(stage.reply(chat_id, "once more?"))).returncode == 0
    assert types(stage.home).count("call.completed") == 3
    assert open_holds(stage.home) == []


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e400", "much"])
def test_an_amount_that_is_none_refuses_the_call(stage: Stage, amount: str) -> None:
    ended = stage.run(stage.watched(stage.chat("hello", f"keledger_budget={amount}")))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert json.loads(ended.stdout)["success"] is False
    assert ended.stderr.startswith(f"keledger: call refused: keledger_budget: '{amount}' is no limit: ")
    assert not stage.home.path.exists()


def test_all_of_a_run_has_one_budget_which_an_inner_run_can_only_tighten(stage: Stage) -> None:
    hold = first_hold_usd(stage, "hello")

    def chat(*options: str) -> str:
        command = " ".join(stage.watched(stage.chat("hello"), "--quiet", *options) if options else stage.chat("hello"))
        return f"{command} >/dev/null; echo $?"

    script = "\n".join([chat(), chat("--budget", AMPLE), chat("--budget", hold), chat()])
    ended = stage.run(stage.watched(["sh", "-c", script], "--budget", "1.00"))
    assert ended.stdout.split() == ["0", "0", "1", "0"]
    assert len(stage.provider.asked) == 3
    limits = [
        each["limit_usd"]
        for event in guarded(stage.home)
        if event["type"] == "call.reserved"
        for each in event["budgets"]
    ]
    assert limits == ["1", "1", "1"]
    spent = 3 * Decimal("0.0003757")
    assert ended.stderr.splitlines()[-1].endswith(f"; ${1 - spent:.6f} left of $1.000000")


def test_ctrl_c_in_the_middle_of_a_guarded_call_loses_its_hold_and_leaks_none(stage: Stage) -> None:
    running = stage.start(stage.watched(stage.chat("tool slow"), "--budget", "1.00"))
    wait_for(lambda: len(stage.provider.asked) == 2)
    assert len(open_holds(stage.home)) == 1
    os.killpg(running.pid, signal.SIGINT)
    assert end(running)[0] == 128 + signal.SIGINT
    assert types(stage.home) == ["call.reserved", "call.completed", "call.reserved", "call.failed"]
    failed = guarded(stage.home)[-1]
    assert failed["status"] == "unknown"
    assert open_holds(stage.home) == []
    assert not list((stage.home.path / "holds").iterdir())


def test_a_request_that_never_left_gives_its_hold_back(stage: Stage) -> None:
    ended = stage.run(
        stage.watched(stage.chat("hello"), "--budget", "1.00"), KELEDGER_LOCAL_PROVIDER="http://127.0.0.1:9"
    )
    assert ended.returncode == 1
    assert types(stage.home) == ["call.reserved", "hold.released"]
    assert ended.stderr.endswith("keledger: 0 calls (1 never sent); $1.000000 left of $1.000000\n")


def test_a_launcher_that_was_killed_leaves_a_hold_that_is_found_lost_and_then_replaced(stage: Stage) -> None:
    with TemporaryDirectory(prefix="kl-") as runtime:  # for the socket, which nobody removes this time
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        running = stage.start(stage.watched(stage.chat("slow"), "--budget", "1.00"))
        wait_for(lambda: stage.provider.asked)
        running.kill()
        running.wait()
        stage.provider.hurry()
        assert "keledger: a call could not be journaled and waits in " in end(running)[2]
    [spooled] = stage.home.spool.iterdir()
    waiting = spooled.rename(stage.folder / spooled.name)
    with Ledger.open(stage.home.path) as ledger:
        assert [hold["state"] for hold in ledger.budgets.holds()] == ["lost"]
        assert types(stage.home) == ["call.reserved", "hold.lost"]
        waiting.rename(spooled)
        ledger.bring_in_spooled()
    reserved, lost, completed = guarded(stage.home)
    assert lost["hold_id"] == completed["hold_id"] == reserved["id"]
    assert completed["status"] == "ok"
    stage.check_against_provider()


def test_once_the_launcher_is_gone_nothing_is_sent_under_a_budget(stage: Stage) -> None:
    with TemporaryDirectory(prefix="kl-") as runtime:
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        running = stage.start(stage.watched(stage.chat("late tool"), "--budget", "1.00"))
        wait_for(lambda: stage.provider.asked)
        running.kill()
        running.wait()
        stage.provider.hurry()
        errors = end(running)[2]
    assert len(stage.provider.asked) == 1
    assert "keledger: call refused: keledger does not answer" in errors


def test_a_home_that_cannot_be_opened_refuses_what_has_a_budget(stage: Stage) -> None:
    stage.home.path.write_text("a file, where the home belongs")
    ended = stage.run(stage.watched(stage.chat("hello"), "--budget", "1.00"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    refused, closing = keledgers_words(ended.stderr)
    assert refused.startswith("keledger: call refused: ")
    assert str(stage.home.path) in refused
    assert closing == "keledger: 0 calls (1 refused by a budget)"
    assert not stage.home.spool.exists()


def set_budget(stage: Stage, name: str, limit: str, **how: Any) -> None:
    """Set a budget in the stage's home, a day's unless said otherwise."""
    with Ledger.open(stage.home.path) as ledger:
        ledger.budgets.set(budget_fields(name, limit=limit, **{"period": "day", **how}))


def test_a_budget_of_the_home_holds_in_keprompt_and_says_how_it_is_raised(stage: Stage) -> None:
    set_budget(stage, "crm", TINY, where=["project=crm"])
    assert stage.run(stage.watched(stage.chat("hello"), "--project", "sales")).returncode == 0
    ended = stage.run(stage.watched(stage.chat("hello"), "--project", "crm"))
    assert ended.returncode == 1
    assert len(stage.provider.asked) == 1
    refused, _ = keledgers_words(ended.stderr)
    for part in ("budget crm says no", f"${TINY}", "the window resets ", "keledger budget raise crm --to 0.0"):
        assert part in refused


def test_a_warning_is_said_once_for_a_threshold_and_window(stage: Stage) -> None:
    set_budget(stage, "watchful", "0.0008", action="warn", warn="40,80")
    said = [keledgers_words(stage.run(stage.watched(stage.chat("hello"), "--quiet")).stderr) for _ in range(4)]
    assert [len(words) for words in said] == [1, 1, 0, 0]  # 0.0003757 each: 47 %, 94 %
    assert "budget watchful has reached 40 %" in said[0][0]
    assert "budget watchful has reached 80 %" in said[1][0]
    assert types(stage.home).count("alert.raised") == 2
    assert open_holds(stage.home) == []


def test_what_was_spent_before_counts_for_a_warning(stage: Stage) -> None:
    stage.run(stage.watched(stage.chat("hello")))
    set_budget(stage, "late", "0.0008", action="warn", warn="40,80")  # 40 % is reached as it is set, and journaled then
    said = keledgers_words(stage.run(stage.watched(stage.chat("hello"), "--quiet")).stderr)
    assert ["80 %" in said[0], len(said)] == [True, 1]
    reached = [data["threshold_percent"] for data in events_of(stage.home) if data["type"] == "alert.raised"]
    assert reached == [40, 80]


def test_without_a_launcher_a_standing_budget_lets_nothing_go(stage: Stage) -> None:
    set_budget(stage, "all", AMPLE)
    stage.environment["PYTHONPATH"] = os.pathsep.join((ON_PATH, stage.environment["PYTHONPATH"]))
    ended = stage.run(stage.chat("hello"), KELEDGER_SOCKET=str(stage.folder / "nobody"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert "keledger: call refused: keledger does not answer" in ended.stderr
    with Ledger.open(stage.home.path) as ledger:
        ledger.budgets.remove("all")
    assert stage.run(stage.chat("hello"), KELEDGER_SOCKET=str(stage.folder / "nobody")).returncode == 0


def test_a_home_that_lost_its_caches_holds_all_the_same(stage: Stage) -> None:
    set_budget(stage, "all", TINY)
    shutil.rmtree(stage.home.path / "guard")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert (ended.returncode, stage.provider.asked) == (1, [])


def test_a_killed_keprompt_loses_its_hold(stage: Stage) -> None:
    pid_file = stage.folder / "pid"
    program = f'echo $$ > {pid_file}; exec "$@"'
    running = stage.start(stage.watched(["sh", "-c", program, "sh", *stage.chat("slow")], "--budget", "1.00"))
    wait_for(lambda: stage.provider.asked)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert end(running)[0] == 128 + signal.SIGKILL
    reserved, failed = guarded(stage.home)
    assert (failed["hold_id"], failed["status"], failed["error_type"]) == (reserved["id"], "unknown", "ClientDied")
    with Ledger.open(stage.home.path) as ledger:
        [hold] = ledger.budgets.holds()
    assert (hold["state"], hold["amount_usd"]) == ("lost", reserved["amount_usd"])


def test_runs_that_race_for_one_budget_do_not_pass_it(stage: Stage) -> None:
    hold = Decimal(first_hold_usd(stage, "hello"))
    limit = hold * 5 / 2  # two may be under way at once, and a third never
    set_budget(stage, "shared", f"{limit:f}")
    running = []
    for number in range(6):  # KePrompts that share a database lock each other out of it
        own = ["env", f"KEPROMPT_DATABASE_URL=sqlite:///{number}.db", *stage.chat("hello")]
        running.append(stage.start(stage.watched(own)))
    statuses = [end(process)[0] for process in running]
    made = [event for event in guarded(stage.home) if event["type"] == "call.completed"]
    refused = [event for event in guarded(stage.home) if event["type"] == "call.blocked"]
    assert (statuses.count(0), statuses.count(1)) == (len(made), len(refused))
    assert len(made) >= 2
    for event in guarded(stage.home):
        if event["type"] == "call.reserved":
            [state] = event["budgets"]
            kept = sum(Decimal(amount) for amount in (state["spent_usd"], state["held_usd"], event["amount_usd"]))
            assert kept <= limit
    for event in refused:
        [state] = event["refusals"]
        asked = sum(Decimal(amount) for amount in (state["spent_usd"], state["held_usd"], state["asked_usd"]))
        assert asked > limit
    assert open_holds(stage.home) == []
    stage.check_against_provider()
