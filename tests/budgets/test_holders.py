"""Holder files: locked while their process lives, given to its next hold, and removed when it is dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest

from keledger.journal import Home, Ledger
from keledger.journal._disk import Disk
from keledger.journal._errors import AppendRefused
from keledger.journal.budgets import _holders
from tests.promises.support import Tell, in_child, started_child

from .support import answer, call, row, set_budget

LIMIT = "0.0125"
HELD = "0.004602"

SPENDS_AND_ENDS = """
import sys
from keledger.journal import Ledger
with Ledger.open(sys.argv[1]).call(provider="openai", model="gpt-5-mini", request={"max_tokens": 10}) as made:
    made.complete({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
"""


def spend(ledger: Ledger, tokens: int = 1000) -> None:
    """A call that takes 0.00201 USD for 1000 tokens; 0.004602 is held, the most that it could take."""
    with ledger.call(**call(tokens)) as made:
        assert made.reservation is not None
        made.complete(answer(tokens))


def test_a_hold_stands_while_its_process_lives_though_its_file_is_deleted(home: Home) -> None:
    set_budget(home, limit=LIMIT)

    def hold(tell: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            tell("held")
            signal.pause()

    with started_child(hold) as child, Ledger.open(home.path) as ledger:
        assert child.wait_for_line() == "held"
        shutil.rmtree(home.path / "holds")
        assert [each["state"] for each in ledger.budgets.holds()] == ["open"]
        spend(ledger)
        assert row(ledger)["held_usd"] == "0.004602"
        child.send(signal.SIGKILL)
        child.ended()
        (lost,) = ledger.budgets.holds()
        assert (lost["state"], lost["cause"], lost["pid"]) == ("lost", "process_gone", child.pid)


def test_a_number_given_to_another_process_is_not_its_holder(home: Home) -> None:
    """The number of a dead process is given again: its start tells them apart."""
    set_budget(home, limit=LIMIT)
    with Ledger.open(home.path) as ledger:
        holder = _holders.this_process()
        assert _holders._lives(holder)
        (start,) = holder.keys() - {"boot_id", "pid"}
        assert not _holders._lives({**holder, start: holder[start] - 1})
        assert not _holders._lives({**holder, "boot_id": "another"})
        assert not _holders._lives({"boot_id": holder["boot_id"], "pid": 2**22 + 1})
        spend(ledger)


def test_a_forked_child_keeps_no_hold_of_its_parent(home: Home) -> None:
    """The parent dies and its child lives on: the hold is lost.  The child dies first: it is not."""
    set_budget(home, limit=LIMIT)

    def parent(tell: Tell) -> None:
        with Ledger.open(home.path).call(**call()):
            if os.fork() == 0:
                tell(f"child {os.getpid()}")
                signal.pause()
            signal.pause()

    with started_child(parent) as child, Ledger.open(home.path) as ledger:
        grandchild = int(child.wait_for_line().split()[1])
        try:
            assert [each["state"] for each in ledger.budgets.holds()] == ["open"]
            child.send(signal.SIGKILL)
            child.wait()
            (lost,) = ledger.budgets.holds()
            assert (lost["state"], lost["cause"]) == ("lost", "process_ended")
        finally:
            os.kill(grandchild, signal.SIGKILL)

    with Ledger.open(home.path) as ledger, ledger.call(**call()) as made:
        in_child(lambda tell: ledger.close())
        assert [each["state"] for each in ledger.budgets.holds()] == ["lost", "open"]
        made.complete(answer())


def test_the_file_of_an_ended_hold_is_given_to_the_next(home: Home) -> None:
    """It stays locked all the time; where it is gone, or the next one's name is taken, a new one is made."""
    set_budget(home, limit="1")
    folder = home.path / "holds"

    def names() -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def is_kept(name: str) -> bool:
        with open(folder / name, "rb") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        return True

    with Ledger.open(home.path) as ledger:
        spend(ledger)
        (spare,) = names()
        first = (folder / spare).stat().st_ino
        assert spare.startswith(".")
        assert is_kept(spare)
        with ledger.call(**call()) as made:
            (name,) = names()
            assert made.reservation is not None
            assert name == made.reservation.hold_id
            assert is_kept(name)
            assert (folder / name).stat().st_ino == first
            made.complete(answer())
        (spare,) = names()
        assert (folder / spare).stat().st_ino == first
        assert is_kept(spare)
        (folder / spare).unlink()
        spend(ledger)
        assert len(names()) == 1
        with ledger.call(**call()) as one, ledger.call(**call()) as two:
            assert len(names()) == 2
            assert all(map(is_kept, names()))
            one.complete(answer(1))
            two.complete(answer(1))
    assert names() == []


@pytest.mark.parametrize("has_spare", [True, False])
def test_a_file_that_another_has_locked_is_left_to_it(home: Home, has_spare: bool) -> None:
    """Two that reserve for one call: the second is refused, and the first keeps its hold."""
    set_budget(home, limit="1")
    one, two = (_holders.Holders(home, Disk()) for _ in range(2))
    try:
        one.take("hold")
        if has_spare:
            two.take("other")
            two.give_back("other")
        with pytest.raises(AppendRefused, match="another process has locked it"):
            two.take("hold")
        assert _holders.why_lost(home, Disk(), "hold", {}) is None
        assert _holders.left_files(home) == ["hold"]
        one.let_go("hold")
        two.take("hold")
        two.give_back("hold")
        assert _holders.left_files(home) == []
    finally:
        one.close()
        two.close()


def test_spare_files_are_removed_when_their_process_is_dead(home: Home) -> None:
    """By whoever looks next; those of the living are not.  Whoever ends without a word leaves none."""
    set_budget(home, limit="1")

    def spend_and_wait(tell: Tell) -> None:
        ledger = Ledger.open(home.path)
        spend(ledger)
        tell("spent")
        signal.pause()

    with started_child(spend_and_wait) as child, Ledger.open(home.path) as ledger:
        assert child.wait_for_line() == "spent"
        subprocess.run([sys.executable, "-c", SPENDS_AND_ENDS, str(home.path)], check=True)
        (spare,) = (home.path / "holds").iterdir()
        ledger.budgets.holds()
        assert spare.exists()
        child.send(signal.SIGKILL)
        child.wait()
        ledger.budgets.holds()
        assert list((home.path / "holds").iterdir()) == []


def test_files_that_the_dead_left_are_removed(home: Home) -> None:
    """One may die between the making of the file and the event, or behind the ending of the hold."""
    set_budget(home, limit=LIMIT)
    with Ledger.open(home.path) as ledger:
        with ledger.call(**call()) as made:
            assert made.reservation is not None
            left = home.path / "holds" / "00000000-0000-7000-8000-000000000000"
            left.touch()
            ledger.budgets.holds()
            assert [path.name for path in left.parent.iterdir()] == [made.reservation.hold_id]
            made.not_sent()
        assert _holders.left_files(home) == []
