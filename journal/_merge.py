"""Taking in other writers' journals: a verified copy of their files and of the price books they name.

Nothing of this home changes before everything was checked.  New files are copied beside and linked into place
under the lock; a file that is here already is extended by the bytes it lacks, never rewritten.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from . import _limits as limits
from ._adopting import keep_price_file, sync_prices
from ._disk import Disk, sync_folder
from ._errors import HomeError, JournalDamaged, KeledgerError, UsageError
from ._home import Home, remedy
from ._identity import new_id
from ._line import NewEvent, stamps
from ._reader import Position, Scan, read_bounds, scan_journal
from ._segment import iter_lines
from ._settled import leave, settled, sync_named
from ._unsynced import refuse_unsynced
from ._validate import check_data, writes
from ._verify import verify
from ._writer import Appender
from .prices import BookManifest

_HARMLESS = ("tail_torn", "conflict", "writer_missing", "end_missing")
"""Findings of a source that do not keep it from being merged: no event that it holds is in doubt."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge took in: per writer the last sequence number and how many lines were new here."""

    writers: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    books: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes of one source segment that this home lacks; a new file where ``start`` is 0."""

    writer: str
    source: Path
    target: Path
    start: int
    end: int


class MergeRefused(KeledgerError):
    """Two folders of one writer went different ways, or one is not safe to take in; nothing was changed."""


def merge(
    home: Home, folder: str | os.PathLike[str], *, appender: Appender, actor: str, reason: str | None = None
) -> Merged:
    """Take the journals and price books of another home (or a copy of one) into *home*.

    Raises MergeRefused where one writer's copies contradict each other or a tick is out of bounds, JournalDamaged
    where the source does not verify, UsageError where *folder* is no home.  In all of these nothing was changed.
    HomeError where a file or folder cannot be read or written; run again, it goes on.
    """
    source = Home.at(folder)
    if not source.journal.is_dir():
        raise UsageError(
            f"{source.path} has no folder journal/: give the path of another keledger home or a copy of one"
        )
    if os.path.realpath(source.path) == os.path.realpath(home.path):
        raise UsageError(f"{source.path} is this home itself: give the path of another one")
    for finding in verify(source).findings:
        if finding.damage and finding.kind not in _HARMLESS:
            raise JournalDamaged(f"{finding.message}; nothing was merged")
    staging = home.path / f"merge-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        theirs = _settled(source, appender.disk)
        if not home.path.exists():
            appender.disk.make_folder(home.path)
        with appender.locked():
            refuse_unsynced(home, theirs.positions)  # first, for an append may lead another way
            appender.writer()  # a home without one gets it now, so that merge.completed has a place
        _remove_staging_of_the_dead(home)
        pieces = _plan(home, source, theirs, scan_journal(home))
        if not pieces:
            with appender.locked():
                _sync_merged(home, appender.disk, theirs)
            return Merged()
        books = _named_books(pieces)
        files = _price_files(source, books)
        staged = _stage(appender.disk, staging, pieces)
        with appender.locked():
            if _plan(home, source, theirs, scan_journal(home)) != pieces:
                raise MergeRefused(
                    f"{home.journal} changed while {source.path} was copied; nothing was merged: run it again"
                )
            for name, content in files.items():
                keep_price_file(home, appender.disk, name, content)
            sync_prices(home, appender.disk)
            appender.begin_merge()
            _sync_merged(home, appender.disk, theirs)  # above what a killed merge left unsynced nothing may be put
            for piece in pieces:
                _place(home, appender.disk, piece, staged.get(piece.source))
            _sync_merged(home, appender.disk, theirs)
            return _complete(home, appender, pieces, theirs, books, actor, reason)
    except OSError as error:
        raise HomeError(
            f"cannot copy {source.path} into {home.path}: {error.strerror}; {remedy(error)}, then merge again"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _settled(source: Home, disk: Disk) -> Scan:
    """What stands in the source for good.

    In a home that is being written to, the last line may be on its way: whoever writes it may yet lose it, and would
    then go on otherwise than what was merged.  So the newest segments are synced under the source's own lock.
    """
    theirs = scan_journal(source)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(settled(source, disk))
        except TimeoutError as error:
            raise MergeRefused(f"{error.strerror}: nothing was merged; try again") from error
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM):
                raise
            return theirs  # a copy, or one that may only be read: nobody writes there
        for writer, position in theirs.positions.items():
            _sync_for_reading(disk, source, writer, position.segment)
        again = scan_journal(source, theirs.positions, locked=True)
    if again.rewound:
        raise MergeRefused(f"{source.path} changed while it was read; nothing was merged: run it again")
    return theirs


def _sync_for_reading(disk: Disk, source: Home, writer: str, number: int) -> None:
    """Sync a writer's segments from *number* on, and the names on the way; a filesystem that syncs nothing is left."""
    segments = [path for path in source.segments(writer) if int(path.stem) >= number]
    folders = (source.journal / writer, source.journal, source.path)
    for sync in [
        *(partial(sync_named, source, disk, path) for path in segments),
        *(partial(sync_folder, disk, path) for path in folders),
    ]:
        try:
            sync()
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise


def _remove_staging_of_the_dead(home: Home) -> None:
    """What a killed merge left beside the journal; what it had linked into place stays there."""
    for folder in home.path.glob("merge-*-*"):
        process = folder.name.split("-")[1]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _plan(home: Home, source: Home, theirs: Scan, ours: Scan) -> list[_Piece]:
    pieces: list[_Piece] = []
    for writer, position in theirs.positions.items():
        if position.tick > limits.MERGED_TICK_MAX:
            raise MergeRefused(
                f"writer {writer} of {source.path} has reached tick {position.tick}, above {limits.MERGED_TICK_MAX}: "
                "it is not taken in"
            )
        pieces += _plan_writer(home, source, writer, theirs, position, ours.positions.get(writer))
    return pieces


def _plan_writer(
    home: Home, source: Home, writer: str, theirs: Scan, their_end: Position, our_end: Position | None
) -> list[_Piece]:
    """What of one writer is lacking here: nothing, if its valid lines here go at least as far."""
    pieces: list[_Piece] = []
    if our_end is not None:
        _refuse_contradiction(home, source, writer, min(their_end.seq, our_end.seq))
        if our_end.seq >= their_end.seq:
            return []
    paths = {int(path.stem): path for path in source.segments(writer)}
    _, seals = read_bounds(paths)
    for number, path in paths.items():
        if number > their_end.segment or (our_end is not None and number < our_end.segment):
            continue
        # What was sealed off stays behind: until the segment that seals it is here, too, it would be taken for events.
        end = their_end.offset_bytes if number == their_end.segment else seals.get(number, 0)
        target = home.journal / writer / path.name
        start = our_end.offset_bytes if our_end is not None and number == our_end.segment else 0
        if start == 0 and target.exists():
            if end == 0:
                continue  # it holds no events, and a merge that was cut off has brought it already
            raise MergeRefused(
                f"{target} stands here without the lines before it; remove nothing, and run keledger verify"
            )
        if end > start or start == 0:
            pieces.append(_Piece(writer, path, target, start, end))
    return pieces


def _refuse_contradiction(home: Home, source: Home, writer: str, last_seq: int) -> None:
    """Raise MergeRefused where both sides hold one valid seq with different hashes."""
    mine, other = _seq_hashes(home, writer, last_seq), _seq_hashes(source, writer, last_seq)
    left, right = next(mine, None), next(other, None)
    while left is not None and right is not None:
        if left[0] == right[0] and left[1] != right[1]:
            raise MergeRefused(
                f"writer {writer} went two ways: seq {left[0]} differs between {home.journal / writer} and "
                f"{source.journal / writer}; nothing was merged"
            )
        behind = min(left[0], right[0])
        left = next(mine, None) if left[0] == behind else left
        right = next(other, None) if right[0] == behind else right


def _seq_hashes(home: Home, writer: str, last_seq: int) -> Iterator[tuple[int, bytes]]:
    """(seq, hash) of every valid line up to *last_seq*."""
    for chunk in scan_journal(home, writer=writer).chunks:
        for line in chunk.lines():
            seq, _ = stamps(line)
            if seq > last_seq:
                return
            yield seq, line[-67:-3]


def _named_books(pieces: list[_Piece]) -> tuple[str, ...]:
    """The price books that the pieces' events name."""
    names: set[str] = set()
    for piece in pieces:
        for line in iter_lines(piece.source, piece.start, piece.end):
            if b'"book":"' in line:
                with contextlib.suppress(ValueError):  # bytes that a later segment sealed off are copied, too
                    names.update(_books_of(orjson.loads(line)))
    return tuple(sorted(names))


def _books_of(event: dict[str, Any]) -> set[str]:
    """The books that an event names.  What a later release wrote may have anything under the same keys."""
    data = event["data"]
    if event["v"] != 1 or not writes(event["type"]):
        return set()
    named = data.get("book", data.get("cost", {}).get("book"))
    return {named} if named is not None else set()


def _price_files(source: Home, books: tuple[str, ...]) -> dict[str, bytes]:
    """The files of these books, a manifest after what it names; each held to its hash."""
    files: dict[str, bytes] = {}
    for book in books:
        manifest = _priced(source, book)
        for part in BookManifest.parse(manifest, str(source.prices / book)).files:
            files[part] = _priced(source, part)
        files[book] = manifest
    return files


def _priced(source: Home, name: str) -> bytes:
    path = source.prices / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise JournalDamaged(f"{path} is missing, though events name it; nothing was merged") from None
    except OSError as error:
        raise HomeError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != name:
        raise JournalDamaged(f"{path} does not have the SHA-256 of its name; nothing was merged")
    return content


def _stage(disk: Disk, staging: Path, pieces: list[_Piece]) -> dict[Path, Path]:
    """Copy whole new files beside the journal, synced, so that the lock is held for links only."""
    disk.make_folder(staging)
    staged: dict[Path, Path] = {}
    for index, piece in enumerate(pieces):
        if piece.start == 0:
            copy = staging / f"{index}.jsonl"
            descriptor = disk.create_exclusive(copy)
            try:
                _copy(disk, piece, descriptor)
                disk.sync(descriptor)
            finally:
                disk.close(descriptor)
            staged[piece.source] = copy
    return staged


def _copy(disk: Disk, piece: _Piece, descriptor: int) -> None:
    with open(piece.source, "rb") as file:
        file.seek(piece.start)
        left = piece.end - piece.start
        while left:
            block = file.read(min(left, limits.BATCH_BYTES_MAX))
            if not block:
                raise HomeError(f"{piece.source} became shorter while it was copied; nothing was merged")
            left -= len(block)
            while block:
                block = block[disk.write(descriptor, block) :]


def _place(home: Home, disk: Disk, piece: _Piece, staged: Path | None) -> None:
    disk.make_folder(home.journal / piece.writer)
    if staged is None:
        descriptor = disk.open_append(piece.target)
        try:
            _copy(disk, replace(piece, start=_already_here(piece)), descriptor)
            try:
                disk.sync(descriptor)
            except OSError:
                leave(home, disk, piece.target)
                raise
        finally:
            disk.close(descriptor)
        return
    folder = disk.open_folder(piece.target.parent)
    try:
        disk.link(staged, piece.target)
        disk.sync_folder(folder)
    finally:
        disk.close(folder)


def _sync_merged(home: Home, disk: Disk, theirs: Scan) -> None:
    """Sync what a merge that was killed may have put in place without: the end of a writer's files, and all names.

    Raises HomeError where that has failed before.
    """
    for writer in theirs.positions:
        for newest in home.segments(writer)[-1:]:
            sync_named(home, disk, newest)
            sync_folder(disk, newest.parent)
    sync_folder(disk, home.journal)


def _already_here(piece: _Piece) -> int:
    """Where to go on in a file that a merge, killed or on a full disk, has extended in part.

    Raises MergeRefused where what stands behind the last valid line is not the source's.
    """
    with open(piece.target, "rb") as mine, open(piece.source, "rb") as other:
        mine.seek(piece.start)
        other.seek(piece.start)
        there = mine.read()
        if other.read(len(there)) != there:
            raise MergeRefused(
                f"{piece.target} has {len(there)} bytes after its last whole line that {piece.source} has not: "
                "nothing was merged from it; if a merge left it unfinished, move it away and merge again"
            )
    return piece.start + len(there)


def _complete(
    home: Home,
    appender: Appender,
    pieces: list[_Piece],
    theirs: Scan,
    books: tuple[str, ...],
    actor: str,
    reason: str | None,
) -> Merged:
    writers = sorted({piece.writer for piece in pieces})
    positions = [
        {"writer": writer, "seq": theirs.positions[writer].seq, "hash": theirs.positions[writer].hash}
        for writer in writers
    ]
    data: dict[str, Any] = {"writers": positions, "books": list(books), "actor": actor}
    if reason:
        data["reason"] = reason
    check_data("merge.completed", data)
    appender.append_locked([NewEvent.of("merge.completed", new_id(), data)])
    lines = sum(1 for piece in pieces for _ in iter_lines(piece.source, piece.start, piece.end))
    return Merged({writer: theirs.positions[writer].seq for writer in writers}, lines, books)
