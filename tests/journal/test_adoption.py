"""Which book the home has adopted, and when the small cache of that is believed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keledger.journal import AppendUnknown, Home, Ledger
from keledger.journal._adoption import adopted_book
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import call, calls, events, newest_segment, note
from tests.journal.tampering import seal_off


@pytest.fixture
def cached(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that has adopted a book, and a cache that says so."""
    monkeypatch.setattr("keledger.journal._adoption._SAVE_EVERY_BYTES", 0)
    Appender(home).append([note("first")])
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert adopted_book(home, Disk()) == book_in(home)
    assert cache_of(home).exists()
    return home


def cache_of(home: Home) -> Path:
    """The cache."""
    return home.path / "guard" / "adopted.json"


def book_in(home: Home) -> str | None:
    """What the journal says."""
    books = [str(event["data"]["book"]) for event in events(home) if event["type"] == "prices.adopted"]
    return books[-1] if books else None


def adopting_line(path: Path) -> tuple[int, bytes]:
    """Where the line that adopts a book begins, and the line."""
    data = path.read_bytes()
    (line,) = [line for line in data.splitlines(keepends=True) if b'"type":"prices.adopted"' in line]
    return data.index(line), line


def cut_off(home: Home) -> None:
    """The file ends above the line, as a copy from before."""
    path = newest_segment(home)
    path.write_bytes(path.read_bytes()[: adopting_line(path)[0]])


def cut_off_and_gone_on(home: Home) -> None:
    """The same, and other events stand there since, as many bytes and more."""
    cut_off(home)
    Appender(home).append([note("x" * 100) for _ in range(20)])


def lost_page(home: Home) -> None:
    """The line is NULs, and what was written behind it stands."""
    path = newest_segment(home)
    start, line = adopting_line(path)
    path.write_bytes(path.read_bytes().replace(line, bytes(len(line))))
    assert path.read_bytes()[start] == 0


def sealed_off(home: Home) -> None:
    """The line stands, but the next segment begins above it."""
    path = newest_segment(home)
    seal_off(path, adopting_line(path)[0])


@pytest.mark.parametrize("lost", [cut_off, cut_off_and_gone_on, lost_page, sealed_off])
def test_the_cache_is_not_believed_where_the_line_is_gone(cached: Home, lost: Callable[[Home], None]) -> None:
    """Of a process that was killed before its sync the line was read; a power cut has taken it."""
    lost(cached)
    assert adopted_book(cached, Disk()) is None
    with Ledger.open(cached.path) as ledger:
        ledger.record(**call())
    assert book_in(cached) is not None
    assert adopted_book(cached, Disk()) == book_in(cached)


def test_the_cache_saves_looking_again(cached: Home) -> None:
    """What it was told is what is gone by while the lines stand: here a book that no line names."""
    cache = cache_of(cached)
    book = book_in(cached)
    assert book is not None
    cache.write_text(cache.read_text().replace(book, "0" * 64))
    assert adopted_book(cached, Disk()) == "0" * 64


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"book":"b","adopting":null,"positions":{}}', '{"book":1}', "\0"])
def test_a_damaged_cache_is_made_again(cached: Home, content: str) -> None:
    cache_of(cached).write_text(content)
    assert adopted_book(cached, Disk()) == book_in(cached)


def test_a_line_that_was_sealed_off_is_not_believed_without_a_cache_either(cached: Home) -> None:
    sealed_off(cached)
    cache_of(cached).unlink()
    assert adopted_book(cached, Disk()) is None


def test_an_adoption_whose_outcome_is_unknown_counts_or_is_made_again(home: Home) -> None:
    """What prices a call must stand in the journal above it."""

    class Failing(Disk):
        fails = False

        def sync(self, descriptor: int) -> None:
            if self.fails and os.fstat(descriptor).st_ino == newest_segment(home).stat().st_ino:
                raise OSError(errno.EIO, "Input/output error")
            super().sync(descriptor)

        def create_exclusive(self, path: Path) -> int:
            if self.fails and path.suffix == ".jsonl":
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().create_exclusive(path)

    Appender(home).append([note("first")])
    with Ledger(home, program="test", disk=(disk := Failing())) as ledger:
        disk.fails = True
        with pytest.raises(AppendUnknown):
            ledger.record(**call())
        disk.fails = False
        ledger.record(**call())
    (priced,) = calls(home)
    assert priced["data"]["cost"]["book"] == book_in(home)
    assert adopted_book(home, Disk()) == book_in(home)


def test_the_cache_may_go(cached: Home) -> None:
    cache_of(cached).unlink()
    assert adopted_book(cached, Disk()) == book_in(cached)
