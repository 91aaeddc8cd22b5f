"""A home that is open for recording: its appender, the book that prices its calls, and its budgets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._adopting import Adoption, adopt_planned, adoption_of_loaded, plan_adoption
from ._adoption import what_holds
from ._attributes import AttributeResolver
from ._disk import Disk
from ._errors import HomeError
from ._home import Home, remedy
from ._identity import new_id
from ._line import NewEvent
from ._spool import Spool
from ._writer import Appender
from .prices import Book, PriceStore

if TYPE_CHECKING:
    from .budgets._enforcement import Enforcement, Reservation

BLOCKING = "guard/blocking"
"""Stands in a home while a budget does that blocks: for who cannot read the journal any more."""


class OpenedHome:
    """What a ledger stands on.  Safe to share between threads, and usable in forked children."""

    def __init__(self, home: Home, *, program: str, disk: Disk | None = None) -> None:
        self.home = home
        self._disk = disk or Disk()
        self._appender = Appender(home, disk=self._disk, program=program)
        self._spool = Spool(home, self._disk)
        self._attributes = AttributeResolver(home, self._disk)
        self._store = PriceStore(home.prices)
        self._book: Book | None = None
        self._book_as_of = -1
        self._book_path = ""
        self._adoption: Adoption | None = None
        self._has_budgets = False
        self._blocking = str(home.path / BLOCKING)
        self._enforcement: Enforcement | None = None
        self._reserved: dict[str, Reservation] = {}
        self.environment = self._attributes.environment
        """The ``KELEDGER_*`` variables that say whose calls these are, as of opening."""
        self.run = os.environ.get("KELEDGER_RUN") or new_id()

    def close(self) -> None:
        """Give all descriptors back.  Holds of calls that are under way still are found lost."""
        if self._enforcement is not None:
            self._enforcement.close()
        self._appender.close()

    def _enforcing(self) -> Enforcement:
        if self._enforcement is None:
            from .budgets._enforcement import Enforcement  # SQLite comes with it, which no home without budgets needs

            self._enforcement = Enforcement(self.home, self._disk, self._appender)
        return self._enforcement

    def _append_adopting(self, events: Sequence[NewEvent]) -> None:
        """Append after the book is adopted that prices the events, where that is due."""
        self._adopt_due()
        self._appender.append(events)

    def _adopt_due(self) -> None:
        """Adopt the book that calls are priced by, where the home does not have it yet."""
        adoption = self._adoption
        if self._book is not None and adoption is None and not self._has_book():
            adoption = adoption_of_loaded(self._store, self._book.sha256)  # the home was removed meanwhile
        if adoption is not None:
            actor = self._attributes.os_user
            if adopt_planned(self.home, self._appender, self._store, adoption, actor):
                self._adoption = None
            else:
                self._look_again()  # another process has adopted other prices meanwhile

    def _look_again(self) -> None:
        """Look up the home's book anew for the next call."""
        self._adoption = None
        self._book_as_of = -1

    def _has_book(self) -> bool:
        try:
            return self._disk.exists(self._book_path)
        except OSError as error:
            raise HomeError(f"cannot look at {self._book_path}: {error.strerror}; {remedy(error)}") from error

    def _current_book(self) -> Book:
        """The home's book, looked up again when another process may have adopted one.

        Where the shipped list is to be adopted, that is done with the next event that is appended, and not before.
        """
        seen = self._appender.adoptions_seen
        if self._book is None or (self._book_as_of != seen and self._adoption is None):
            adopted, self._has_budgets = what_holds(self.home, self._disk)
            if self._book is None:
                self._adoption = plan_adoption(self._store, adopted)
            planned = self._adoption
            if planned is not None:
                adopted = planned.manifest.sha256
                self._store.hold(planned.files)
            if adopted is not None and (self._book is None or self._book.sha256 != adopted):
                self._book = self._store.load_book(adopted)
                self._book_path = str(self.home.prices / adopted)
            self._book_as_of = seen
        if self._book is None:
            raise HomeError(f"{self.home.path} names no price book any more: run keledger verify")
        return self._book
