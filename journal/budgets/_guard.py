"""The guard: the fold of the home's journal, brought up to its last line whenever a call is to be decided on.

Its state is a cache in ``guard/``, written every 128 KiB of journal, together with the position up to which it holds.
Each process keeps the rows that it touches, and folds on from there; where another process has written the file
meanwhile, what is kept is forgotten, for a row that is read then may be ahead of those that were kept.  Where the file
is missing, damaged, of another release, or no longer what the journal says, it is built anew from the journal, without
the lock but for its end.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson

from keledger.journal._boot import boot_id
from keledger.journal._disk import Disk
from keledger.journal._errors import HomeError, InputRefused, KeledgerError, UsageError
from keledger.journal._home import Home, own_writers, remedy
from keledger.journal._line import TAIL_BYTES, NewEvent, fits, stamps, stated_hash
from keledger.journal._reader import Position, Scan, scan_journal
from keledger.journal._restart import chain_leads_to
from keledger.journal._writer import Appender, Written

from ._fold import Fold, ImportsAreKeyed, Unplaced
from ._passing import Progress, in_order, new_fold, numbered, read_event_of, scan_for_fold, take, take_all
from ._policy import Scope
from ._scopes import Scopes
from ._set_budgets import NewScope
from ._store import FILE_NAME, IdsRepeat, Place, Store

FLUSH_BYTES = 128 * 1024
"""How much journal is folded before the state is written: what a new process must fold, in 2 ms."""

ATTEMPTS_MAX = 5
"""How often a state is built while others go on writing, before that is told as a failure."""

BLOCKING = "blocking"
"""A file in ``guard/`` that stands while a blocking budget does: for who cannot open the home any more."""


Folded = TypeVar("Folded", bound=Fold)


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _drop_inherited() -> None:
    for guard in list(_guards):
        guard.drop_inherited()


os.register_at_fork(after_in_child=_drop_inherited)


class Guard:
    """The fold of one home.  Every use but :meth:`rebuild` is under the home's lock."""

    def __init__(self, home: Home, disk: Disk, appender: Appender) -> None:
        self._home, self._disk, self._appender = home, disk, appender
        self.read_event = read_event_of(home)
        self._path = home.path / "guard" / FILE_NAME
        self._path_text = str(self._path)
        self._building = threading.RLock()  # a signal handler may come here in the middle of it
        self._fold: Fold | None = None
        self._stamp: tuple[int, ...] | None = None
        self._positions: dict[str, Position] = {}
        self._folded_bytes = 0
        self._expected: Sequence[tuple[NewEvent, Mapping[str, Any]]] = ()
        self._before: Written | None = None
        self._failures = 0
        """Of the appender, as of when what is kept was known to be durable."""
        self._names_seen = -1
        self._inherited: list[Fold] = []
        _guards.add(self)

    @property
    def fold(self) -> Fold:
        """What the journal comes to, after :meth:`catch_up`."""
        if self._fold is None:
            raise KeledgerError(f"the budgets of {self._home.path} are not open")
        return self._fold

    @property
    def exists(self) -> bool:
        """Whether there is a state, of whatever worth."""
        return self._path.exists()

    @property
    def says_that_none_blocks(self) -> bool:
        """Whether the state was last left without a budget that blocks: for who cannot ask it."""
        if self.exists:
            return not (self._path.parent / BLOCKING).exists()
        try:
            return not self.of_journal(only_budgets=True).blocks
        except (HomeError, NewScope, ImportsAreKeyed):
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[Fold]:
        """Hold the home's lock, with the fold brought up to the journal's last line.

        Raises AppendRefused where the lock is not to be had, HomeError where the journal cannot be read.
        """
        for _ in range(ATTEMPTS_MAX):
            with self._appender.locked(beside_syncs=True):
                self._appender.writer()
                if self.catch_up():
                    try:
                        yield self.fold
                    except BaseException:
                        self.close()  # what was being read may be kept in part
                        raise
                    self.flush_if_due()
                    return
            self.rebuild()
        raise self.never_ready()

    def ready(self) -> None:
        """Build the state where that is due, so that nobody need do it under the lock."""
        with self.locked():
            pass

    def expect(self, told: Sequence[tuple[NewEvent, Mapping[str, Any]]]) -> None:
        """Know the events that are about to be appended, with their data: they need not be read when they are folded.

        Called under the lock, right after :meth:`catch_up`.
        """
        self._expected, self._before = told, self._appender.last_written

    def catch_up(self) -> bool:
        """Fold what was appended since; False where the state is to be built anew.  Called under the lock."""
        writer = self._appender.present_writer
        if self._failures != self._appender.failures:
            self.close()  # what was folded while it was being synced may not stand, or not there
            self._failures = self._appender.failures
        try:
            if self._fold is None or self._stamp != self._present_stamp():
                return self._open(writer)
            if self._names_seen != self._appender.names_seen:
                if self._was_set_back() or self._others_grew(writer, self._positions):
                    return False
                self._names_seen = self._appender.names_seen
            return self._fold_tail(writer)
        except (NewScope, ImportsAreKeyed, Unplaced, _Unfoldable, sqlite3.Error):
            self.close()
            return False
        except BaseException:
            self.close()  # a part of a line's sums may have been added
            raise

    def fold_meanwhile(self, written: Written) -> None:
        """Fold what was expected and is being synced: time in which there is nothing else to do.

        Called under the lock.  Where the sync fails, :meth:`catch_up` finds that out by the appender's failures.
        """
        try:
            self._fold_expected(self._appender.present_writer, written)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            # The event is to be synced all the same; whoever comes next reads it, and tells what is wrong with it.

    def flush_if_due(self) -> bool:
        """Write the state where enough was folded since; False where that failed, and it is to be built anew.

        Called under the lock.
        """
        if self._folded_bytes >= FLUSH_BYTES:
            self.flush()
        return self._fold is not None

    def flush(self) -> None:
        """Write the state.  Called under the lock, right after :meth:`catch_up`."""
        fold = self.fold
        try:
            fold.learn_what_was_put_off()
            fold.store.flush(_meta(fold, self._positions))
        except (sqlite3.Error, OSError):
            self.close()  # a cache that cannot be written is read again, or built anew
            return
        except BaseException:
            self.close()  # a part of what has changed may have been written, and taken back
            raise
        self._stamp, self._folded_bytes = self._present_stamp(), 0

    def rebuild(self, scopes: Sequence[Scope] = (), progress: Progress | None = None) -> None:
        """Fold the journal from its beginning, and put the state in the place of what is there.

        *scopes* are summed beside those of the budgets that stand.  Called without the lock; raises HomeError where
        the journal cannot be read or the state cannot be written.
        """
        with self._building:
            folder = self._path.parent
            try:
                self._home.create(self._disk)
                self._disk.make_folder(folder)
                _remove_drafts_of_the_dead(folder)
                draft = folder / f".{FILE_NAME}.{os.getpid()}.{os.urandom(4).hex()}"
                try:
                    with self._blocking_until_known():
                        try:
                            self._build(draft, list(scopes), progress, only_new_ids=True)
                        except IdsRepeat:
                            draft.unlink()
                            self._build(draft, list(scopes), progress, only_new_ids=False)
                finally:
                    draft.unlink(missing_ok=True)
            except OSError as error:
                raise HomeError(f"cannot write to {folder}: {error.strerror}; {remedy(error)}") from error
            except sqlite3.Error as error:
                raise HomeError(f"cannot write to {folder}: {error}; make room on that disk") from error

    def fold_anew(self, make: Callable[[bool], Folded], progress: Progress | None = None) -> Folded:
        """The whole journal, taken by a fold of the caller's own; *make* is told whether calls were imported.

        Called without the lock; what is appended meanwhile is not in it.
        """
        scan, found = scan_for_fold(self._home)
        fold = make(found.imports)
        take_all(fold, scan.chunks, progress)
        return fold

    def close(self) -> None:
        """Give the descriptors back, and forget what is kept."""
        if self._fold is not None:
            self._fold.store.close()
        self._fold, self._stamp, self._expected = None, None, ()

    def of_nothing(self) -> Fold:
        """The fold of a journal without a line."""
        return Fold(Store(None), Scopes({}), own_writers=(), read_event=self.read_event)

    def of_journal(self, progress: Progress | None = None, *, only_budgets: bool = False) -> Fold:
        """The fold of the whole journal in memory: for a home that can only be read.  Raises HomeError.

        With *only_budgets* nothing but what says which of them stand.
        """
        scan, found = scan_for_fold(self._home)
        scopes = Scopes(numbered(found.scopes))
        own = own_writers(self._home)
        fold = Fold(Store(None), scopes, own_writers=own, read_event=self.read_event, keyed=found.imports)
        for line, place in in_order(scan.chunks):
            if not only_budgets or b'"type":"budget.' in line:
                take(fold, line, place)
        for line, place in found.damaged:
            fold.note_damage(line, place)
        return fold

    def _build(self, draft: Path, scopes: list[Scope], progress: Progress | None, *, only_new_ids: bool) -> None:
        own = own_writers(self._home)
        scan, found = scan_for_fold(self._home)
        by_number = numbered([*scopes, *found.scopes])
        fold = new_fold(draft, by_number, own, self.read_event, keyed=found.imports, only_new_ids=only_new_ids)
        try:
            take_all(fold, scan.chunks, progress)
            for line, place in found.damaged:
                fold.note_damage(line, place)
            with self._appender.locked(beside_syncs=True):
                self._appender.writer()
                tail = scan_journal(self._home, scan.positions, locked=True, skip_unreadable=True)
                if tail.rewound or own_writers(self._home) != own:
                    return  # what was read is no longer so; whoever asked does it again
                if len({chunk.writer for chunk in tail.chunks}) > 1:
                    return
                try:
                    for line, place in in_order(tail.chunks):
                        if b'"type":"merge.completed"' in line:
                            return
                        take(fold, line, place)
                except (NewScope, ImportsAreKeyed):
                    return
                positions = {**scan.positions, **tail.positions}
                fold.learn_what_was_put_off()
                fold.store.flush(_meta(fold, positions))
                fold.store.finish()
                # A journal of SQLite's that a dead process left would be played back into the new file.  The old file
                # goes first: without its journal it might look sound.
                for old in (self._path, self._path.with_name(f"{FILE_NAME}-journal")):
                    old.unlink(missing_ok=True)
                self._disk.replace(draft, self._path)
                self._tell_blocking(fold)
                self.close()
        finally:
            fold.store.close()

    def _open(self, writer: str) -> bool:
        """Take the state from its file, if that is what the journal says; fold what follows."""
        self.close()
        stamp = self._present_stamp()
        if stamp is None:
            return False
        store = Store(self._path)
        try:
            if store.meta("own_writers") != list(own_writers(self._home)):
                raise _Unfoldable
            positions = {name: Position(**position) for name, position in store.meta("positions").items()}
            restarted = store.meta("boot_id") != boot_id()
            if not all(self._still_stands(name, position, restarted) for name, position in positions.items()):
                raise _Unfoldable
            fold = _stored_fold(store, own_writers(self._home), self.read_event)
            if self._others_grew(writer, positions):
                raise _Unfoldable
        except (_Unfoldable, sqlite3.Error, AttributeError, KeyError, TypeError, ValueError, InputRefused, UsageError):
            store.close()
            return False
        except BaseException:
            store.close()
            raise
        self._fold, self._stamp, self._folded_bytes = fold, stamp, 0
        self._positions, self._names_seen = positions, self._appender.names_seen
        self._fold_tail(writer)
        if restarted:
            self.flush()
        return self._fold is not None

    def _still_stands(self, writer: str, position: Position, restarted: bool) -> bool:
        """Whether the line is there up to which the state holds, and, after a restart of the machine, all below it."""
        path = self._home.journal / writer / f"{position.segment:08d}.jsonl"
        try:
            if restarted:
                return chain_leads_to(self._home, writer, position, position.segment)
            with open(path, "rb") as file:
                file.seek(max(0, position.offset_bytes - TAIL_BYTES))
                stated = stated_hash(file.read(min(position.offset_bytes, TAIL_BYTES)))
        except OSError:
            return False
        return stated is not None and stated.hex() == position.hash

    def _was_set_back(self) -> bool:
        """Whether a line is gone up to which was folded, as where a copy of the journal was put in its place."""
        return not all(self._still_stands(name, position, False) for name, position in self._positions.items())

    def _others_grew(self, writer: str, positions: Mapping[str, Position]) -> bool:
        """Whether other writers' files have lines that were not folded, as after a merge that was killed, or are gone
        of which lines were."""
        others = {name for name in self._home.writers() if name != writer}
        for name in others:
            since = {name: positions[name]} if name in positions else None
            scan = scan_journal(self._home, since, writer=name, locked=True, skip_unreadable=True)
            if scan.rewound or scan.chunks:
                return True
        return not others.issuperset(name for name in positions if name != writer)

    def _fold_expected(self, writer: str, written: Written | None) -> None:
        """Take what this process appended last, if that is what follows: nobody else wrote before it, for it was
        decided on under the same lock."""
        expected, self._expected = self._expected, ()
        position = self._positions.get(writer)
        if not expected or written is None or written is self._before or position is None:
            return
        if written.ids != tuple([event.id for event, _ in expected]):
            return  # what was decided was never written, and something else was
        if (position.segment, position.offset_bytes) != (written.segment, written.start):
            return  # a segment was begun for it: its first line stands between
        start = written.start
        for (event, data), end in zip(expected, written.ends, strict=True):
            told = {"type": event.type, "id": event.id, "v": 1, "time": written.time, "data": data}
            self.fold.take(told, Place(writer, written.segment, start))
            self.fold.learn_from(data)
            start = end
        read = position.lines + len(expected)
        self._positions[writer] = Position(
            written.segment, written.end, written.seq, written.tick, written.hash.hex(), read
        )
        self._folded_bytes += written.end - written.start

    def _fold_tail(self, writer: str) -> bool:
        if self._expected:
            self._fold_expected(writer, self._appender.last_written)
        position = self._positions.get(writer)
        data = self._appender.read_behind(position.segment, position.offset_bytes) if position is not None else None
        if data is None or position is None:
            since = {writer: position} if position is not None else None
            scan = scan_journal(self._home, since, writer=writer, locked=True, skip_unreadable=True)
            if scan.rewound or any(finding.kind == "line_damaged" for finding in scan.findings):
                raise _Unfoldable  # a fold from the beginning looks at what a damaged line may have been
            self._fold_chunks(scan, writer)
            return True
        if not data:
            return True
        start, previous, line = position.offset_bytes, bytes.fromhex(position.hash), b""
        lines = data.splitlines(keepends=True)
        for line in lines:
            digest = fits(previous, line)
            if digest is None:
                raise _Unfoldable
            self._take_own(line, Place(writer, position.segment, start))
            start, previous = start + len(line), digest
        seq, tick = stamps(line)
        read = position.lines + len(lines)
        self._positions[writer] = Position(position.segment, start, seq, tick, previous.hex(), read)
        self._folded_bytes += len(data)
        return True

    def _fold_chunks(self, scan: Scan, writer: str) -> None:
        for line, place in in_order(scan.chunks):
            self._take_own(line, place)
            self._folded_bytes += len(line)
        self._positions.update(scan.positions)

    def _take_own(self, line: bytes, place: Place) -> None:
        if b'"type":"merge.completed"' in line:
            raise _Unfoldable  # what it brought may belong before what was folded
        fold = self.fold
        before = fold.budget_changes
        take(fold, line, place)
        if fold.budget_changes != before:
            self._tell_blocking(fold)

    @contextlib.contextmanager
    def _blocking_until_known(self) -> Iterator[None]:
        """Let those who wait for an answer wait, while nobody knows yet whether a budget blocks."""
        marker = self._path.parent / BLOCKING
        if self.exists or marker.exists():
            yield
            return
        marker.touch(mode=0o600)
        try:
            yield
        except BaseException:
            if not self.exists:
                marker.unlink(missing_ok=True)  # nothing was found out, and nothing is known to block
            raise

    def _tell_blocking(self, fold: Fold) -> None:
        marker = self._path.parent / BLOCKING
        with contextlib.suppress(OSError):  # only a hint
            if fold.blocks:
                marker.touch(mode=0o600)
            else:
                marker.unlink(missing_ok=True)

    def _present_stamp(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._path_text)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def never_ready(self) -> KeledgerError:
        """What is raised where the journal's end was not to be reached, however often that was tried."""
        return KeledgerError(
            f"the budgets of {self._home.path} could not be brought up to its journal {ATTEMPTS_MAX} times: "
            "run keledger verify"
        )

    def drop_inherited(self) -> None:
        """In a forked child: SQLite must not even be closed where it was not opened."""
        if self._fold is not None:
            self._inherited.append(self._fold)
        self._fold, self._stamp, self._building = None, None, threading.RLock()


class _Unfoldable(Exception):
    """The state cannot be gone on from."""


def _stored_fold(store: Store, own: tuple[str, ...], read_event: Callable[[Place], Mapping[str, Any]]) -> Fold:
    numbered = {
        int(number): Scope.of_data(orjson.loads(definition)) for number, definition in store.meta("scopes").items()
    }
    fold = Fold(store, Scopes(numbered), own_writers=own, read_event=read_event, keyed=store.meta("keyed"))
    fold.restore({name: store.meta(name) for name in fold.kept()})
    return fold


def _meta(fold: Fold, positions: Mapping[str, Position]) -> dict[str, Any]:
    return {
        "boot_id": boot_id(),
        "own_writers": fold.own_writers,
        "positions": {writer: position._asdict() for writer, position in positions.items()},
        "scopes": {str(number): scope.definition for number, scope in fold.scopes.numbered.items()},
        "keyed": fold.keyed,
        **fold.kept(),
    }


def _remove_drafts_of_the_dead(folder: Path) -> None:
    for draft in folder.glob(f".{FILE_NAME}.*.*"):
        process = draft.name.rsplit(".", 2)[1]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            draft.unlink(missing_ok=True)
