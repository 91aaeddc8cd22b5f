"""A projection: the journal as tables, up to the moment it was opened."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from keledger.journal import Finding, Home, HomeError, Position

from . import _engine as engine
from ._basis import CURRENT, Basis, adopted_books, book_of
from ._build import Progress, Reading, fold, read_on
from ._cache import Cache, Manifest
from ._engine import Connection
from ._loading import Layers
from ._opened import Opened, define_basis, define_facts, define_schema, open_reading

TAIL_BYTES_MAX = 4 * 1024 * 1024
"""New lines beyond this become a layer; up to it each reader loads them anew, which takes some ten milliseconds."""

MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""Up to this a reader that cannot have the builders' lock goes on in memory; beyond, it waits for the lock."""

BUILD_WAIT_S = 600.0
"""How long a reader waits for another's build; one of 4 M calls takes a minute."""

_MARKED_CALLS_MIN = 100_000
"""With fewer calls it does not matter that each reader finds out anew which of them count and what they cost."""

_ATTEMPTS_MAX = 8

_Result = TypeVar("_Result")


class Projection:
    """The tables of one home, read-only.  Made by :func:`open_projection`; close it, or use it in a ``with``."""

    def __init__(
        self, home: Home, cache: Cache, on_progress: Progress | None, through: Mapping[str, int] | None = None
    ) -> None:
        self.home = home
        self._through = through
        self._cache = cache
        self._on_progress = on_progress
        self._basis = CURRENT
        self._cleanup = contextlib.ExitStack()
        self._opened = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._opened.connection.close()
        self._cleanup.close()

    @property
    def connection(self) -> Connection:
        """The connection as it is now; :meth:`run` is the way to use it that survives a damaged cache."""
        return self._opened.connection

    @property
    def positions(self) -> dict[str, int]:
        """Up to which ``seq`` of each writer this projection holds the journal."""
        held = {writer: position.seq for writer, position in sorted(self._opened.positions.items())}
        if self._through is None:
            return held
        return {writer: min(seq, self._through[writer]) for writer, seq in held.items() if writer in self._through}

    @property
    def layers(self) -> Layers:
        """The tables of lines of the connection as it is now."""
        return self._opened.layers

    @property
    def cut(self) -> Mapping[str, Position]:
        """The same as positions in the files."""
        return self._opened.positions

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a report must tell: damage and torn tails, conflicts, events that this release cannot read."""
        return (*self._opened.findings, *self._conflicts(), *self._unread())

    @property
    def book(self) -> str | None:
        """The price book (SHA-256 of its manifest) of the basis; None where nothing was adopted.

        For ``recorded`` and ``current`` it is the one that the home's own writers adopted last.
        """
        return book_of(self._basis, self.run(lambda connection: adopted_books(connection, self.home)))

    def price_by(self, basis: Basis) -> None:
        """Let all that is asked from now on stand for the costs of a basis; at first it is ``current``.

        Raises NotFound, with the next question, where no book was known that the basis names.
        """
        self._basis = basis

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement of this package's own, over all facts."""
        return self._rows(statement, parameters, complete=True)

    def _rows(self, statement: str, parameters: Sequence[Any] = (), *, complete: bool = False) -> list[tuple[Any, ...]]:
        return self.run(
            lambda connection: connection.execute(statement, list(parameters)).fetchall(), complete=complete
        )

    def run(self, action: Callable[[Connection], _Result], *, complete: bool = False, spends: bool = False) -> _Result:
        """Do something with the connection; where that shows a damaged cache, build it again and repeat, once.

        call_line, other_line, uncounted_line and call_fact are there, with *complete* the other facts, too.  With
        *spends* the connection is fit for nothing else afterwards: whoever comes next gets a new one.
        """
        if self._opened.spent:
            self.refresh()
        try:
            return self._do(action, complete, spends)
        except engine.CacheDamaged:
            self.refresh(damaged=True)
            return self._do(action, complete, spends)

    def _do(self, action: Callable[[Connection], _Result], complete: bool, spends: bool) -> _Result:
        opened = self._opened
        with engine.noticing_used_up_memory(), engine.noticing_damage():
            if opened.basis != self._basis:
                define_basis(opened, self.home, self._basis)
                opened.basis, opened.complete = self._basis, False
            if complete and not opened.complete:
                define_facts(opened, opened.basis)
                opened.complete = True
            opened.spent = spends
            return action(opened.connection)

    def define_schema(self, basis: Basis) -> None:
        """Define all tables once more at the costs of a basis, in a schema of its name: for several in one statement.

        To be called from what :meth:`run` runs, which is to be told that the connection is spent.
        """
        define_schema(self._opened, self.home, basis)

    def steadily(self, make: Callable[[], _Result]) -> _Result:
        """What *make* makes of several queries; again where the projection was opened anew between two of them."""
        while True:
            before = self._opened
            made = make()
            if self._opened is before:
                return made

    def refresh(self, *, damaged: bool = False) -> None:
        """Begin again with a new connection, which sees what was appended meanwhile.

        With *damaged* the cache as it was opened is not trusted any more.
        """
        self._opened.connection.close()
        self._opened = self._open(distrusted=self._opened.seen if damaged else None)

    def scratch_folder(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder for what does not fit in memory, to be used in a ``with``.

        It is beside the cache where there is one, for the system's folder may be in memory itself.
        """
        return self._cache.scratch_folder()

    def _open(self, distrusted: Manifest | None = None) -> Opened:
        """Catch up with the journal and define the tables, without *distrusted*, which is damaged.

        Between reading the manifest and opening what it names, a builder may have replaced both: then the new one
        is read.  Against builders that never rest, the last try is made under their lock.
        """
        folded = False
        for _ in range(_ATTEMPTS_MAX):
            seen = self._cache.read()
            damaged = seen is not None and seen == distrusted
            reading = read_on(self.home, None if damaged else seen)
            # One layer a reader: with fast appenders there would be no end to it.
            may_fold = not folded or reading.new_bytes > MEMORY_BYTES_MAX
            if may_fold and (damaged or reading.new_bytes > TAIL_BYTES_MAX) and self._folded(reading, seen):
                folded = True
                continue
            seen = self._kept(reading.manifest, seen)
            try:
                opened = open_reading(self._cache, self.home, reading, seen, self._through)
            except engine.CacheDamaged:
                distrusted = seen
                continue
            calls = reading.manifest.calls if reading.manifest else 0
            if opened.anew and calls >= _MARKED_CALLS_MIN and not folded:
                folded = True
                if self._folded(reading, seen):
                    opened.connection.close()
                    continue
            return opened
        return self._open_alone()

    def _open_alone(self) -> Opened:
        try:
            with self._cache.lock(BUILD_WAIT_S):
                seen = self._cache.read()
                return open_reading(self._cache, self.home, read_on(self.home, seen), seen, self._through)
        except OSError as error:
            raise HomeError(f"cannot open {self._cache.folder}: {error.strerror}") from error
        except engine.CacheDamaged as error:
            raise HomeError(f"{self._cache.folder} stays damaged ({error}): is the disk all right?") from None

    def _kept(self, held: Manifest | None, seen: Manifest | None) -> Manifest | None:
        """Keep that the cache was held to the journal after a restart, so that the next reader need not do it.

        Returns the manifest that is on disk then: *seen* where another builder is at work, or nothing can be written.
        """
        if held is not None and held != seen:
            with contextlib.suppress(OSError), self._cache.lock(0.0) as alone:
                if alone and self._cache.read() == seen:
                    self._cache.replace(held)
                    return held
        return seen

    def _folded(self, reading: Reading, seen: Manifest | None) -> bool:
        """Make a layer of what is new, and say whether to look again: not where the reader goes on in memory."""
        in_memory = reading.new_bytes <= MEMORY_BYTES_MAX
        try:
            with self._cache.lock(0.0 if in_memory else BUILD_WAIT_S) as alone:
                if alone and self._cache.read() == seen:
                    with engine.noticing_damage():
                        fold(self._cache, self.home, reading, on_progress=self._on_progress)
                    return True
                if alone or in_memory:
                    return not in_memory
        except engine.CacheDamaged as error:
            if reading.manifest is not None:
                # The new layer could not be held against the old ones: begin from nothing.
                return self._folded(read_on(self.home, None), seen)
            if not in_memory:
                raise HomeError(f"cannot build {self._cache.folder}: {error}") from None
            return False
        except OSError as error:
            if not in_memory and error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise HomeError(f"cannot build {self._cache.folder}: {error.strerror}; make room there") from error
            if in_memory:
                return False
        # The journal is large and the home's cache cannot be had: build one for this reader alone.
        self._cache = self._cleanup.enter_context(Cache.private())
        return True

    def _conflicts(self) -> Iterator[Finding]:
        rows = self._rows(
            "SELECT CAST(id AS VARCHAR), writer, seq FROM uncounted_line WHERE reason = 'conflict' ORDER BY 1, 2, 3"
        )
        for call_id, writer, seq in rows:
            path = str(self.home.journal / writer)
            message = f"call {call_id} was given differently in {path} at seq {seq}: the first one counts"
            yield Finding("conflict", path, message)

    def _unread(self) -> Iterator[Finding]:
        for name, count in sorted(self._opened.unread.items()):
            path = str(self.home.journal)
            noun = "event" if count == 1 else "events"
            message = f"{path} has {count} {noun} {name} that this release keeps but does not read: upgrade keledger"
            yield Finding("events_unread", path, message, damage=False)


def open_projection(
    home: Home, *, through: Mapping[str, int] | None = None, on_progress: Progress | None = None
) -> Projection:
    """Catch up with the journal of *home* and open it as tables.

    With *through*, the last ``seq`` of each writer, it stands for the journal up to there alone: which calls count and
    what they cost is found anew by these lines.  A home that does not exist is an empty journal; nothing is made for
    it.  *on_progress* is told bytes done and bytes in all while a layer is built.  Raises HomeError where the home
    cannot be used.
    """
    home.check()
    return Projection(home, Cache.of(home), on_progress, through)
