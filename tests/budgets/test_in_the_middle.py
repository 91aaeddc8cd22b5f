"""The guard is interrupted, forked, looked at by others or killed in the middle of what it does to its file."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, Ledger
from keledger.journal._disk import Disk
from keledger.journal.budgets import _database, _guard, _store
from tests.promises.support import Tell, in_child

from .support import answer, call, check, row, set_budget

SELECTS = "SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000"
READS = "SELECT count(*), sum(length(amounts)) FROM sums"


@pytest.fixture
def ledger(home: Home) -> Ledger:
    set_budget(home, limit="1", where=["user=*"])
    return Ledger.open(home.path)


def spend(ledger: Ledger, user: str = "ada") -> None:
    with ledger.call(**call(user=user)) as made:
        made.complete(answer())


@pytest.mark.parametrize("table", ["sums", "hold", "history", "meta"])
def test_an_interrupt_of_a_flush_loses_nothing(
    home: Home, ledger: Ledger, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were written and taken back are not held for written."""
    spend(ledger)
    many = _database.Database.many

    def interrupted(database: _database.Database, statement: str, rows: Any) -> int:
        if f" {table} " in statement:
            raise KeyboardInterrupt
        return many(database, statement, rows)

    monkeypatch.setattr(_guard, "FLUSH_BYTES", 1)
    monkeypatch.setattr(_database.Database, "many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        row(ledger)
    monkeypatch.undo()
    with ledger:
        with ledger.call(**call(user="bob", prompt="another")) as made:
            made.complete(answer())
        with ledger._enforcing().guard.locked():
            ledger._enforcing().guard.flush()
        check(home, ledger)
    with Ledger.open(home.path) as another:
        check(home, another)


def test_a_journal_of_the_dead_is_not_played_back_into_a_new_file(home: Home, ledger: Ledger) -> None:
    """As where a process was killed in a flush, and somebody deleted the file and left what stood beside it."""
    with ledger:
        for number in range(40):
            spend(ledger, f"user {number}")
        with ledger._enforcing().guard.locked():
            ledger._enforcing().guard.flush()
        for number in range(20):
            spend(ledger, f"later {number}")
    path = home.path / "guard" / _store.FILE_NAME

    def die_in_a_flush(_: Tell) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=PERSIST")
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN")
        for table in ("sums", "place", "hold", "history", "meta"):
            connection.execute(f"DELETE FROM {table}")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die_in_a_flush).killed
    assert path.with_name(f"{path.name}-journal").read_bytes()[:8] == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    path.unlink()
    with Ledger.open(home.path) as ledger:
        spend(ledger)
        check(home, ledger)
    with Ledger.open(home.path) as ledger:
        check(home, ledger)


def test_who_looks_at_the_file_by_other_programs_does_no_harm(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite plays back the journal of a flush that is under way, unless it sees that somebody lives who writes it."""
    path = home.path / "guard" / _store.FILE_NAME
    many, run = _database.Database.many, _database.Database.run
    seen: list[list[str]] = []

    def look(tell: Tell) -> None:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0)
        try:
            tell(f"{connection.execute(READS).fetchone()}")
        except sqlite3.OperationalError as error:
            tell(str(error))

    def written_at_once(database: _database.Database, statement: str) -> None:
        run(database, f"{statement}; PRAGMA cache_size=1" if "synchronous=FULL" in statement else statement)

    def looked_at(database: _database.Database, statement: str, rows: Any) -> int:
        if " meta " in statement:
            seen.append(in_child(look).told)
        return many(database, statement, rows)

    monkeypatch.setattr(_database.Database, "run", written_at_once)
    monkeypatch.setattr(_database.Database, "many", looked_at)
    with ledger:
        for number in range(20):
            spend(ledger, f"user {number}")
        with ledger._enforcing().guard.locked():
            ledger._enforcing().guard.flush()
    monkeypatch.undo()
    assert ["database", "is", "locked"] in seen
    with Ledger.open(home.path) as another:
        check(home, another)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_nobody_is_forked_while_somebody_is_in_sqlite() -> None:
    """The child would find SQLite's own mutexes locked by a thread that it does not have."""
    database = _database.Database(None)
    done = threading.Event()
    # Told from within SQLite, where it is at its end: a thread that is out of it may be forked at any moment.
    database._connection.create_function("told", 1, lambda total: done.set())

    def count() -> None:
        database.one(f"WITH RECURSIVE n(i) AS ({SELECTS}) SELECT told(sum(i)) FROM n")

    thread = threading.Thread(target=count)
    thread.start()
    while thread.is_alive() and _database._alone.acquire(blocking=False):
        _database._alone.release()
        time.sleep(0.0005)
    was_forked_behind = in_child(lambda tell: tell(str(done.is_set()))).told
    thread.join()
    assert was_forked_behind == ["True"]
    database.close()


class ForkingDisk(Disk):
    """A disk on which a process is forked while a file is renamed, as another thread may do."""

    found: list[int]

    def replace(self, source: Path | str, target: Path | str) -> None:
        """Rename, and see what a child has of the folder."""
        super().replace(source, target)
        if "/holds/" in str(target):
            pid = os.fork()
            if pid == 0:
                os._exit(sum("/holds/" in name for name in open_files()))
            self.found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def open_files() -> list[str]:
    """What the descriptors of this process are of."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # that by which the folder was listed
            continue
    return names


def test_a_child_that_is_forked_while_a_file_gets_its_next_name_does_not_keep_it(home: Home) -> None:
    set_budget(home, limit="1")
    disk = ForkingDisk()
    disk.found = []
    with Ledger(home, program="test", disk=disk) as ledger:
        for _ in range(2):
            spend(ledger)
    assert disk.found == [0, 0, 0]


def test_a_state_is_built_in_the_middle_of_another_building(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that makes a call comes upon its own thread."""
    spend(ledger)
    (home.path / "guard" / _store.FILE_NAME).unlink()
    build, inner = _guard.Guard._build, [True]

    def interrupted(guard: _guard.Guard, *arguments: Any, **options: Any) -> None:
        if inner and inner.pop():
            spend(ledger)
        build(guard, *arguments, **options)

    monkeypatch.setattr(_guard.Guard, "_build", interrupted)
    worker = threading.Thread(target=spend, args=(ledger,), daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive(), "it waits for itself"
    with ledger:
        check(home, ledger)
        assert row(ledger)["spent_usd"] == "0.00603"
