"""One SQLite file, used by one thread of the process at a time, and by none while the process is forked.

SQLite keeps mutexes of its own: a child that is forked while another thread is in one of them finds it locked for ever.
It would wait for it with the home's lock, and everybody else for that.  So whoever forks waits until nobody is in
SQLite (https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_ has the rest: what
was opened before is not even closed in the child).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

_alone = threading.RLock()
"""Held by whoever is in SQLite; a signal handler may find its own thread there."""

ROWS_AT_ONCE = 1_000
"""Of a table that is read whole, between which others may use SQLite."""


def _wait_for_others() -> None:
    _alone.acquire()


def _go_on() -> None:
    _alone.release()


def _begin_anew() -> None:
    global _alone
    _alone = threading.RLock()


os.register_at_fork(before=_wait_for_others, after_in_parent=_go_on, after_in_child=_begin_anew)


class Database:
    """A connection.  Every method raises sqlite3.Error."""

    def __init__(self, path: Path | None) -> None:
        """Without a path, one in memory."""
        with _alone:
            # The lock that every use is under keeps threads apart; SQLite need not hold them to the one that opened it.
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=rw" if path is not None else ":memory:",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=1,
            )

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun that has not ended."""
        return self._connection.in_transaction

    def run(self, statement: str) -> None:
        """Run one or more statements that have no answer."""
        with _alone:
            self._connection.executescript(statement) if ";" in statement else self._connection.execute(statement)

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of the answer; None where there is none."""
        with _alone:
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of the answer."""
        with _alone:
            return self._connection.execute(query, values).fetchall()

    def each(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer that is too long to be kept."""
        with _alone:
            cursor = self._connection.execute(query)
        while True:
            with _alone:
                rows = cursor.fetchmany(ROWS_AT_ONCE)
            if not rows:
                return
            yield from rows

    def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement for each row; returns how many rows of the table it changed."""
        with _alone:
            return self._connection.executemany(statement, rows).rowcount

    def close(self) -> None:
        """Give the descriptors back."""
        with _alone:
            self._connection.close()
