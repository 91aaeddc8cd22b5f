"""The guard's file is a cache: whatever becomes of it, calls are decided on by what the journal says."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
import shutil
import signal
import time
import weakref
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import BudgetExceeded, Home, HomeError, Ledger, filesystem_kind
from keledger.journal import _filesystem as filesystem
from keledger.journal import _limits as limits
from keledger.journal.budgets import _enforcement, _guard, _holders, budget_fields
from keledger.journal.budgets._store import FILE_NAME
from keledger.projections import ReportOptions, open_projection, report_daily
from tests.journal.support import events, newest_segment
from tests.promises.support import FaultyDisk, Tell, failing, in_child, kill_me

from .support import answer, call, check, row, set_budget

LIMIT = "0.0125"
HELD = "0.004602"


def spend(ledger: Ledger, tokens: int = 1000) -> None:
    """A call that takes 0.00201 USD for 1000 tokens; 0.004602 is held, the most that it could take."""
    with ledger.call(**call(tokens)) as made:
        assert made.reservation is not None
        made.complete(answer(tokens))


@pytest.fixture
def spent(home: Home) -> Home:
    """A home of whose one budget most is spent, and its guard's file written."""
    set_budget(home, limit=LIMIT)
    with Ledger.open(home.path) as ledger:
        for _ in range(4):
            spend(ledger)
        flush(ledger)
    return home


def flush(ledger: Ledger) -> None:
    guard = ledger._enforcing().guard
    with guard.locked():
        guard.flush()


def file_of(home: Home) -> Path:
    return home.path / "guard" / FILE_NAME


def missing(home: Home) -> None:
    file_of(home).unlink()


def all_gone(home: Home) -> None:
    shutil.rmtree(home.path / "guard")


def empty(home: Home) -> None:
    file_of(home).write_bytes(b"")


def cut(home: Home) -> None:
    os.truncate(file_of(home), file_of(home).stat().st_size // 2)


def cut_to_its_head(home: Home) -> None:
    os.truncate(file_of(home), 100)


def garbage(home: Home) -> None:
    file_of(home).write_bytes(random.Random(1).randbytes(20_000))


def text(home: Home) -> None:
    file_of(home).write_text("this is no database\n")


def without_tables(home: Home) -> None:
    import sqlite3

    file_of(home).unlink()
    connection = sqlite3.connect(file_of(home))
    connection.execute("CREATE TABLE meta (key TEXT, value BLOB)")
    connection.close()


def of_other_values(home: Home) -> None:
    import sqlite3

    connection = sqlite3.connect(file_of(home))
    connection.execute("UPDATE meta SET value = '[1]' WHERE key = 'positions'")
    connection.commit()
    connection.close()


def of_other_writers(home: Home) -> None:
    import sqlite3

    connection = sqlite3.connect(file_of(home))
    connection.execute("""UPDATE meta SET value = '["0000000000000000"]' WHERE key = 'own_writers'""")
    connection.commit()
    connection.close()


def a_folder(home: Home) -> None:
    file_of(home).unlink()
    file_of(home).mkdir()


HARMS = (
    missing, all_gone, empty, cut, cut_to_its_head, garbage, text, without_tables, of_other_values, of_other_writers,
)  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("is_living", [True, False], ids=["under a living ledger", "before a new one"])
def test_a_file_that_is_harmed_is_built_anew(spent: Home, harm: Callable[[Home], None], is_living: bool) -> None:
    with Ledger.open(spent.path) as ledger:
        if is_living:
            assert row(ledger)["left_usd"] == "0.00446"
        harm(spent)
        with pytest.raises(BudgetExceeded) as refused:
            spend(ledger)
        assert [(each.limit_usd, each.spent_usd) for each in refused.value.refusals] == [(LIMIT, "0.00804")]
        spend(ledger, 900)
        assert row(ledger)["spent_usd"] == "0.00985"
        check(spent, ledger)


def test_a_folder_in_its_place_is_refused_with_what_to_do(spent: Home) -> None:
    a_folder(spent)
    with Ledger.open(spent.path) as ledger, pytest.raises(BudgetExceeded, match=f"cannot write to {spent.path}/guard"):
        spend(ledger)


@pytest.mark.parametrize("is_living", [True, False])
def test_each_page_may_be_damaged(home: Home, is_living: bool) -> None:
    """Also one that is read only when a call asks for it."""
    set_budget(home, where=["user=*"])
    users = [f"user {number}" for number in range(150)]
    with Ledger.open(home.path) as ledger:
        ledger.record_many(
            {"provider": "openai", "model": "gpt-5-mini", "user": user, "usage": {"output_text": 1000}}
            for user in users
        )
        flush(ledger)
    whole = file_of(home).read_bytes()
    pages = range(0, len(whole), 4096)
    assert len(pages) > 8
    for page in pages:
        with Ledger.open(home.path) as ledger:
            if is_living:
                ledger.budgets.list()
            file_of(home).write_bytes(whole[:page] + random.Random(page).randbytes(4096) + whole[page + 4096 :])
            for user in users[::40]:
                with ledger.call(**call(user=user)) as made:
                    assert made.reservation is not None
                    made.not_sent()
            sums = {standing.key[1]: standing.sums[0] for standing in ledger.budgets.standings()}
            assert set(sums.values()) == {2 * 10**9}
            assert len(sums) == len(users)


def test_a_file_that_is_older_than_the_journal_is_caught_up(spent: Home, tmp_path: Path) -> None:
    shutil.copy(file_of(spent), tmp_path / "old")
    with Ledger.open(spent.path) as ledger:
        spend(ledger, 500)
        flush(ledger)
        shutil.copy(tmp_path / "old", file_of(spent))
        assert row(ledger)["spent_usd"] == "0.00905"
        check(spent, ledger)
    with Ledger.open(spent.path) as ledger:
        check(spent, ledger)


@pytest.mark.parametrize("is_living", [True, False])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_file_that_is_ahead_of_a_journal_set_back_is_built_anew(
    spent: Home, tmp_path: Path, is_living: bool, goes_on: bool
) -> None:
    """A journal is restored from an older copy, and perhaps others went on in it, by as many bytes."""
    old = newest_segment(spent).read_bytes()
    with Ledger.open(spent.path) as ledger:
        spend(ledger, 700)
        flush(ledger)
        if not is_living:
            ledger.close()
        shutil.copytree(spent.path, tmp_path / "meanwhile")
        (tmp_path / "old").write_bytes(old)
        os.replace(tmp_path / "old", newest_segment(spent))
        if goes_on:
            file_of(spent).unlink()
            with Ledger.open(spent.path) as other:
                spend(other, 701)
            shutil.rmtree(spent.path / "guard")
            shutil.copytree(tmp_path / "meanwhile" / "guard", spent.path / "guard")
        assert row(ledger)["spent_usd"] == ("0.009452" if goes_on else "0.00804")
        check(spent, ledger)


def test_what_was_folded_while_its_sync_failed_is_forgotten(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is no event then, and stands in the next segment once more; nothing is built anew for that."""
    set_budget(home, limit="1")
    disk = FaultyDisk(0, failing(errno.EIO), ["sync"])
    with Ledger(home, program="test", disk=disk) as ledger:
        assert row(ledger)["spent_usd"] == "0"
        monkeypatch.setattr(_guard.Guard, "rebuild", not_asked_for)
        for failed in (1, 2):
            with ledger.call(**call()) as made:
                disk.made.clear()
                disk.at = failed
                made.complete(answer())
            disk.at = 0
            assert row(ledger)["spent_usd"] == str(failed * Decimal("0.00201"))
    monkeypatch.undo()
    with Ledger.open(home.path) as ledger:
        check(home, ledger)


def not_asked_for(*_: Any, **__: Any) -> None:
    """For what must not be done."""
    raise AssertionError("the state was built anew")


def test_ledgers_that_write_it_in_turn_never_count_twice(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the clock stands still: what another one has written is read again, whatever its time says."""
    set_budget(home, where=["user=*"])
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000 * 10**9)
    with Ledger.open(home.path) as one, Ledger.open(home.path) as two:
        for turn in range(12):
            for ledger in (one, two) if turn % 3 else (two, one):
                with ledger.call(**call(user=f"user {turn % 4}")) as made:
                    made.complete(answer())
                if turn % 2:
                    flush(ledger)
        sums = [{standing.key[1]: standing.sums[0] for standing in each.budgets.standings()} for each in (one, two)]
    assert sums[0] == sums[1]
    assert set(sums[0].values()) == {6 * 2_010_000_000}


def test_a_ledger_that_was_forked_goes_on_by_itself(spent: Home) -> None:
    with Ledger.open(spent.path) as ledger:
        spend(ledger, 100)

        def child(tell: Tell) -> None:
            spend(ledger, 100)
            tell(str(ledger._enforcing().guard._inherited != []))

        assert in_child(child).told == ["True"]
        spend(ledger, 100)
        assert row(ledger)["spent_usd"] == "0.00867"
        check(spent, ledger)


def restart(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_guard, _holders):
        monkeypatch.setattr(module, "boot_id", lambda: "another start of the machine")


def test_after_a_restart_holds_are_lost_and_the_state_is_held_to_the_hashes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(home, limit=LIMIT)

    def die(_: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            kill_me()

    in_child(die)
    in_child(die)
    shutil.rmtree(home.path / "holds")  # as a power cut may leave it
    restart(monkeypatch)
    with Ledger.open(home.path) as ledger:
        assert [hold["cause"] for hold in ledger.budgets.holds()] == ["process_gone"] * 2
        model = check(home, ledger)
        assert [hold.state for hold in model.holds.values()] == ["lost"] * 2


def test_a_restart_that_took_lines_from_the_middle_is_noticed(spent: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut takes what a dead process never synced, in any part: the last line stands, one above it does not."""
    path = newest_segment(spent)
    lines = path.read_bytes().splitlines(keepends=True)
    spent_on = next(index for index, line in enumerate(lines) if b'"type":"call.completed"' in line)
    lines[spent_on] = b"\0" * (len(lines[spent_on]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    restart(monkeypatch)
    with Ledger.open(spent.path) as ledger:
        assert row(ledger)["spent_usd"] == "0.010632", "of the call that is gone, its hold is lost"
        assert row(ledger)["held_usd"] == "0"
        check(spent, ledger)


ACTIONS = pytest.mark.parametrize("action", ["block", "warn"])


def goes_out(ledger: Ledger) -> bool:
    """Whether a call may be made; no other error than a refusal comes out."""
    try:
        with ledger.call(**call()) as made:
            made.complete(answer())
    except BudgetExceeded as refused:
        return "\n" in str(refused)
    return made.recorded is not None


@ACTIONS
def test_only_a_budget_that_blocks_stops_a_call_whose_hold_cannot_be_kept(home: Home, action: str) -> None:
    set_budget(home, action=action)
    (home.path / "holds").touch()  # a file where the folder belongs
    with Ledger.open(home.path) as ledger:
        assert goes_out(ledger) == (action == "warn")
        (home.path / "holds").unlink()
        assert goes_out(ledger)
        check(home, ledger)


@ACTIONS
def test_only_a_budget_that_blocks_stops_a_call_while_somebody_keeps_the_lock(
    home: Home, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(home, action=action)
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    with Ledger.open(home.path) as ledger, open(home.lock, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert goes_out(ledger) == (action == "warn")
    with Ledger.open(home.path) as ledger:
        assert goes_out(ledger)


@ACTIONS
def test_only_a_budget_that_blocks_stops_a_call_where_the_guard_cannot_be_written(home: Home, action: str) -> None:
    set_budget(home, action=action)
    file_of(home).unlink()

    def on_a_full_disk(tell: Tell) -> None:
        """Files may not grow beyond 12 kB: the journal is shorter, and the guard longer."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Ledger.open(home.path) as ledger:
            resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
            tell(str(goes_out(ledger)))

    assert in_child(on_a_full_disk).told == [str(action == "warn")]


def test_a_home_is_marked_as_long_as_a_budget_blocks(home: Home) -> None:
    """For who cannot open it any more."""
    mark = home.path / "guard" / "blocking"
    with Ledger.open(home.path) as ledger:
        set_budget(home, action="warn")
        assert not mark.exists()
        set_budget(home, "other")
        assert mark.exists()
        (home.path / "writer.json").rename(home.path / "away")
        (home.path / "writer.json").write_text("{")
        with Ledger.open(home.path) as other:
            assert not goes_out(other)
            (home.path / "away").replace(home.path / "writer.json")
            assert goes_out(other)
        ledger.budgets.remove("other")
        assert not mark.exists()


def test_a_network_filesystem_is_refused_where_a_budget_blocks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    set_budget(home)
    assert filesystem_kind(home.path).place != "network"
    monkeypatch.setattr(_enforcement, "filesystem_kind", lambda _: filesystem.of_kind("nfs4"))
    with Ledger.open(home.path) as ledger:
        with pytest.raises(HomeError, match="is on a network filesystem"):
            ledger.budgets.set(budget_fields("another", limit="1", period="day"))
        ledger.budgets.set(budget_fields("warning", limit="1", period="day", action="warn"))
        with pytest.raises(BudgetExceeded, match="is on a network filesystem"):
            spend(ledger)
        ledger.budgets.remove("all")
        spend(ledger)
        assert events(home)[-1]["type"] == "call.completed"


def test_ledgers_are_forgotten_when_they_are_closed(home: Home) -> None:
    import gc

    set_budget(home)
    with Ledger.open(home.path) as ledger:
        spend(ledger)
    seen = weakref.ref(ledger._enforcing().guard), weakref.ref(ledger._enforcing()._holders)
    del ledger
    gc.collect()
    assert [each() for each in seen] == [None, None]


def test_what_counts_is_what_reports_count(home: Home, tmp_path: Path) -> None:
    """Step by step under a living ledger: imports that are told better, voids, adjustments, another machine's calls."""
    set_budget(home, limit="1")
    set_budget(home, "crm", limit="1", period="month", where=["project=crm"])
    told: dict[str, Any] = {
        "provider": "openai", "model": "gpt-5-mini", "project": "crm", "usage": {"output_text": 1000},
    }  # fmt: skip
    told_1, told_2 = ({**told, "call_keys": [f"openai:r{number}"]} for number in (1, 2))
    made: list[str] = []

    def answered(ledger: Ledger) -> None:
        with ledger.call(**call(project="crm")) as live:
            live.complete({"id": "r1", **answer()})
        made.append(live.id)

    def on_another_machine(ledger: Ledger) -> None:
        set_budget(Home.at(tmp_path / "other"))
        with Ledger.open(tmp_path / "other") as other:
            other.record(source="import:there", **told_2)
            answered(other)
            other.call(**call(project="crm")).__enter__()
        ledger.merge(tmp_path / "other")

    steps: list[tuple[Callable[[Ledger], object], str, str]] = [
        (lambda ledger: ledger.record(source="import:a", quality="totals_only", **told_1), "0.002", "0"),
        (answered, "0.00201", "0"),
        (lambda ledger: ledger.record(source="import:b", **told_1), "0.00201", "0"),
        (lambda ledger: ledger.void(made[0], "a test"), "0", "0"),
        (lambda ledger: ledger.revert_void(made[0], "a mistake"), "0.00201", "0"),
        (lambda ledger: ledger.record(source="import:a", quality="totals_only", **told_2), "0.00401", "0"),
        (on_another_machine, "0.00602", HELD),
        (lambda ledger: ledger.void(made[1], "a test"), "0.00401", HELD),
        (lambda ledger: ledger.record(**{**told, "model": "nobody prices it"}), "0.00401", HELD),
    ]  # fmt: skip
    with Ledger.open(home.path) as ledger:
        for step, (act, spent, held) in enumerate(steps):
            act(ledger)
            for name in ("all", "crm"):
                found = row(ledger, name)
                assert (step, found["spent_usd"], found["held_usd"]) == (step, spent, held)
            with open_projection(home) as projection:
                options = ReportOptions(basis="recorded", where=(("project", "crm"),))
                assert (step, report_daily(projection, options).as_json()["totals"]["cost_usd"] or "0") == (step, spent)
            check(home, ledger)


@pytest.mark.parametrize("guard_is_there", [True, False])
def test_a_budget_whose_line_is_damaged_stops_calls_until_it_is_set_anew(home: Home, guard_is_there: bool) -> None:
    set_budget(home, limit="0.001")
    with Ledger.open(home.path) as ledger:
        ledger.record(provider="openai", model="gpt-5-mini", usage={"output_text": 1})
    (path,) = (home.journal / home.writers()[0]).iterdir()
    path.write_bytes(path.read_bytes().replace(b'"limit_usd":"0.001"', b'"limit_usd":"9.001"'))
    if not guard_is_there:
        shutil.rmtree(home.path / "guard")
        with Ledger.open(home.path) as ledger, pytest.raises(BudgetExceeded, match="is damaged"):
            ledger.call(**call()).__enter__()
        set_budget(home, limit="5")
        with Ledger.open(home.path) as ledger, ledger.call(**call()) as made:
            made.complete({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    else:  # what was folded before stands
        with Ledger.open(home.path) as ledger, pytest.raises(BudgetExceeded, match=r"of \$0\.001"):
            ledger.call(**call()).__enter__()
