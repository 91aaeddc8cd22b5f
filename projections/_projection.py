"""A projection: the journal as tables, up to the moment it was opened."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson

from keledger.journal import Finding, Home, HomeError, Position, own_writers

from . import _engine as engine
from ._build import Progress, Reading, fold, read_on
from ._cache import Cache, Manifest, Marks
from ._engine import Connection
from ._loading import bears_on, define_lines, find_uncounted, load
from ._staging import stage

TAIL_BYTES_MAX = 4 * 1024 * 1024
"""New lines beyond this become a layer; up to it each reader loads them anew, which takes some ten milliseconds."""

MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""Up to this a reader that cannot have the builders' lock goes on in memory; beyond, it waits for the lock."""

BUILD_WAIT_S = 600.0
"""How long a reader waits for another's build; one of 4 M calls takes a minute."""

_MARKED_CALLS_MIN = 100_000
"""With fewer calls it does not matter that each reader finds out anew which of them count."""

_ATTEMPTS_MAX = 8

FACTS = ("call_fact", "charge_fact", "day_fact", "session_fact")
"""The portable files that stand on each other in this order, each a view of its name.  Most reports need the first
alone, so the others are defined where they are asked for."""

_TAIL = "tail_"

_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Opened:
    """A connection with everything defined on it, and where its content comes from."""

    connection: Connection
    seen: Manifest | None
    """The manifest on disk at that moment."""
    positions: Mapping[str, Position]
    findings: tuple[Finding, ...]
    unread: Mapping[str, int]
    remarked: bool
    """Which lines count had to be found anew, because the tail bears on it."""
    complete: bool = False
    """Whether all facts are defined."""
    spent: bool = False
    """Whether nothing but closing may be done with the connection."""


class Projection:
    """The tables of one home, read-only.  Made by :func:`open_projection`; close it, or use it in a ``with``."""

    def __init__(self, home: Home, cache: Cache, on_progress: Progress | None) -> None:
        self.home = home
        self._cache = cache
        self._on_progress = on_progress
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
        return {writer: position.seq for writer, position in sorted(self._opened.positions.items())}

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
        """The price book (SHA-256 of its manifest) that the home's own writers adopted last; None without one."""
        own = own_writers(self.home)
        rows = self._rows(
            "SELECT writer, data FROM other_line WHERE type = 'prices.adopted' AND v = 1 "
            "ORDER BY tick DESC, writer DESC"
        )
        for writer, data in rows:
            if writer in own:
                book = orjson.loads(data).get("book")
                return book if isinstance(book, str) else None
        return None

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
        with engine.noticing_damage():
            if complete and not opened.complete:
                _complete(opened.connection)
                opened.complete = True
            opened.spent = spends
            return action(opened.connection)

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

    def _open(self, distrusted: Manifest | None = None) -> _Opened:
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
                opened = _open_reading(self._cache, reading, seen)
            except engine.CacheDamaged:
                distrusted = seen
                continue
            calls = reading.manifest.calls if reading.manifest else 0
            if opened.remarked and calls >= _MARKED_CALLS_MIN and not folded:
                folded = True
                if self._folded(reading, seen):
                    opened.connection.close()
                    continue
            return opened
        return self._open_alone()

    def _open_alone(self) -> _Opened:
        try:
            with self._cache.lock(BUILD_WAIT_S):
                seen = self._cache.read()
                return _open_reading(self._cache, read_on(self.home, seen), seen)
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
                        fold(self._cache, reading, on_progress=self._on_progress)
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


def open_projection(home: Home, *, on_progress: Progress | None = None) -> Projection:
    """Catch up with the journal of *home* and open it as tables.

    A home that does not exist is an empty journal; nothing is made for it.  *on_progress* is told bytes done and
    bytes in all while a layer is built.  Raises HomeError where the home cannot be used.
    """
    home.check()
    return Projection(home, Cache.of(home), on_progress)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild made: lines of calls (whether they count or not), other lines, and bytes on disk."""

    calls: int
    others: int
    size_bytes: int
    positions: Mapping[str, int]
    findings: tuple[Finding, ...]


def rebuild(home: Home, *, on_progress: Progress | None = None) -> Rebuilt:
    """Build the home's cache again from nothing, every hash checked; readers go on with the old one meanwhile.

    Raises HomeError where the home cannot be read or its cache not written.
    """
    home.check()
    cache = Cache.of(home)
    if not home.path.exists():
        return Rebuilt(0, 0, 0, {}, ())
    try:
        with cache.lock(BUILD_WAIT_S) as alone:
            if not alone:
                raise HomeError(f"{cache.folder} has been built by another process for long: stop it, or try again")
            with engine.noticing_damage():
                manifest = fold(cache, read_on(home, None), on_progress=on_progress)
            cache.sweep_siblings()
    except OSError as error:
        raise HomeError(f"cannot build {cache.folder}: {error.strerror}") from error
    except engine.CacheDamaged as error:
        raise HomeError(f"cannot build {cache.folder}: {error}") from None
    with open_projection(home) as projection:
        return Rebuilt(
            calls=manifest.calls,
            others=sum(layer.others for layer in manifest.layers),
            size_bytes=sum(named.size_bytes for named in manifest.files),
            positions={writer: position.seq for writer, position in manifest.positions.items()},
            findings=projection.findings,
        )


def _open_reading(cache: Cache, reading: Reading, seen: Manifest | None) -> _Opened:
    """Attach the layers, load the tail into memory, and define the tables over both."""
    manifest, scan = reading.manifest or Manifest(), reading.scan
    findings: list[Finding] = []
    unread: Counter[str] = Counter()
    connection = engine.connect()
    try:
        with engine.noticing_damage():
            prefixes = [f"layer_{number}." for number in range(len(manifest.layers))]
            for prefix, layer in zip(prefixes, manifest.layers, strict=True):
                cache.attach(connection, layer, prefix.removesuffix("."))
                unread.update(layer.unread)
            remarked = False
            if scan.chunks or not prefixes:
                with tempfile.TemporaryDirectory(prefix="keledger-") as folder:
                    staged = stage(scan.chunks, Path(folder))
                    findings = load(connection, _TAIL, staged)
                unread.update(staged.unread)
                imported = sum(layer.imported for layer in manifest.layers)
                remarked = bears_on(connection, _TAIL, prefixes, new_voids=staged.voids, old_imported=imported)
                prefixes.append(_TAIL)
            define_lines(connection, prefixes)
            _define_uncounted(connection, cache, manifest.marks, remarked)
            connection.execute(f"CREATE VIEW call_fact AS {engine.sql('call_fact')}")
    except BaseException:
        connection.close()
        raise
    return _Opened(
        connection=connection,
        seen=seen,
        positions=scan.positions,
        findings=tuple(dict.fromkeys([*manifest.findings, *scan.findings, *findings])),
        unread=unread,
        remarked=remarked,
    )


def _complete(connection: Connection) -> None:
    """Define what :func:`_open_reading` left out."""
    for statement in engine.statements("duckdb_base"):
        connection.execute(statement)
    for fact in FACTS[1:]:
        connection.execute(f"CREATE OR REPLACE VIEW {fact} AS {engine.sql(fact)}")


def _define_uncounted(connection: Connection, cache: Cache, marks: Marks | None, remarked: bool) -> None:
    if remarked:
        find_uncounted(connection, "uncounted_line")
    elif marks is not None:
        cache.attach(connection, marks, "marks")
        connection.execute("CREATE VIEW uncounted_line AS SELECT * FROM marks.uncounted_lines")
    else:
        connection.execute("CREATE TABLE uncounted_line (writer VARCHAR, seq BIGINT, id UUID, reason VARCHAR)")
