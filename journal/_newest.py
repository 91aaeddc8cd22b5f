"""The newest segment of the home's own writer, the only file that is ever appended to.

A segment is continued only where it ends in a whole line that fits, and is left for the next one when it is full, when
its tail is unclean, and after any write or sync of it that failed.  What another process wrote and may have died over
before its sync is synced before it is built upon.  Everything here happens under the home's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import _limits as limits
from ._disk import Disk, close_quietly, sync_folder
from ._end import Tail, WriteFailed
from ._errors import AppendRefused
from ._home import Home, WriterIdentity, make_writer, read_writer
from ._line import ZERO_HASH, encode_line, fits, stated_hash
from ._lock import UNSEEN, HomeLock, Seen
from ._opening import Last, find_last, highest_tick, opening_event, seal, seals_after, what_stands
from ._segment import read_end
from ._time import format_time, now_us

NAMES_ABOVE = 2
"""Folders above a home that are made with it where they are missing: ``.local`` and ``share``."""

_ADOPTED = b'"type":"prices.adopted"'
_BUDGET_SET = b'"type":"budget.set"'


class _NotSynced(WriteFailed):
    """The first line of a new segment was written, but it or the file's name could not be synced."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__("sync_failed", error, True)
        self.path = path


class _Left(NamedTuple):
    """A file that must not be continued, for a write or sync of it failed and no next segment was begun at once.

    The kernel reports a failed sync once and then holds the pages for written, so that a later sync of the same
    file would succeed over bytes that are lost.
    """

    path: Path
    size_bytes: int | None
    """Its size then."""
    last: Last | None
    reason: str
    seen: Seen
    """Since when others could go on in it, or name what stands there."""


class NewestSegment:
    """Opens, continues and leaves the segment that the home's writer appends to."""

    def __init__(self, home: Home, disk: Disk, lock: HomeLock, program: str) -> None:
        self._home, self._disk, self._lock, self._program = home, disk, lock, program
        self._looked_us = 0
        """When the names in the journal were last looked at."""
        self._identity: WriterIdentity | None = None
        self._tail: Tail | None = None
        self._left: _Left | None = None
        self._unfinished: int | None = None
        """How long the newest segment becomes by a write that was begun, until that is known to be durable."""
        self.above_merged = False
        """Whether the ticks were raised above what a merge, under way or dead, has brought."""
        self.adoptions_seen = 0
        """Grows when other prices may have been adopted elsewhere, or a budget was set, as far as was seen here."""

    @property
    def tail(self) -> Tail:
        """The end, after :meth:`look`."""
        if self._tail is None:
            raise AppendRefused(f"{self._home.path} is not open for appending: nothing was written")
        return self._tail

    @property
    def writer(self) -> WriterIdentity:
        """The home's own writer, after :meth:`look`."""
        if self._identity is None:
            raise AppendRefused(f"{self._home.path} is not open for appending: nothing was written")
        return self._identity

    def look(self) -> None:
        """Bring the end up to what stands on disk; open a segment where there is none, or its tail is unclean.

        Raises OSError, WriteFailed, HomeError and AppendRefused; nothing of an event was written then.
        """
        tail = self._tail
        if tail is None:
            return self._open_newest()
        status = self._disk.status(tail.descriptor)
        if status.st_nlink == 0 or not self._has_newest_names(tail):
            self.forget()
            return self._open_newest()
        if status.st_size != tail.end and not self._read_on(tail, status.st_size):
            self.open_next("unclean_tail")
        return None

    def _has_newest_names(self, tail: Tail) -> bool:
        """Whether no other segment or merge has been begun since the names were looked at.

        Appenders tell each other (:meth:`HomeLock.tell_others`).  What somebody put there by hand, a copy that was
        played back, is found by looking now and then.
        """
        now = now_us()
        if not self._lock.is_news and 0 <= now - self._looked_us < limits.LOOKED_US_MAX:
            return True
        if self._disk.exists(tail.next_path) or self._disk.exists(str(self._home.merging)):
            return False
        self._lock.is_news, self._looked_us = False, now
        return True

    def write(
        self,
        data: bytes,
        give_back: Callable[[], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Write whole lines behind the end and sync them; the caller moves the end.  Raises WriteFailed.

        *give_back* gives the lock back between the two; where the sync then fails, the segment is left to whoever opens
        the next one.  *meanwhile* is done under the lock, while the disk is busy, and not where that is given back.
        """
        tail = self.tail
        self.adoptions_seen += _BUDGET_SET in data
        self._unfinished = tail.end + len(data)
        tail.write(data)
        lock_given_back = False
        if give_back is not None and tail.share():
            give_back()
            lock_given_back = True
        elif meanwhile is not None:
            tail.begin_sync(len(data))
            meanwhile()
        try:
            tail.sync()
        except WriteFailed as failed:
            if lock_given_back:
                failed.lock_given_back = True
                self.abandon()
            raise
        tail.is_settled = True
        self._unfinished = None
        if lock_given_back:
            try:
                tail.unshare()
            except OSError:
                self.forget()

    def abandon(self) -> None:
        """Where a write was begun of which nobody knows whether it is durable, let nobody go on in the segment.

        The next one's file is made, empty; whoever appends next opens it.  That needs no lock: two that do so make one
        file, and so do an opener and this.  Whoever has just looked and goes on nevertheless had the segment open
        before, so that its own sync will tell.
        """
        tail = self._tail
        if tail is not None and self._unfinished is not None:
            left = _Left(tail.path, self._unfinished, tail.last(), "sync_failed", UNSEEN)
            self._left = left
            self._make_name(tail.number + 1)
            with contextlib.suppress(OSError):
                if self._lock.tell_others():
                    self._left = left._replace(seen=self._lock.seen)

    def open_next(self, reason: str) -> None:
        """Leave the present segment at its last synced line and begin the next one there.

        Raises OSError and WriteFailed; the present segment is not continued then either, if a write or sync of it is
        why it is left.
        """
        tail = self.tail
        if not tail.is_settled and reason != "sync_failed":
            reason = self._sync_before_sealing(tail.descriptor, reason)
        if reason in ("write_failed", "sync_failed"):
            self._left = self._leaving(tail, reason)
        try:
            last = what_stands(tail.path, tail.last()) if reason == "sync_failed" else tail.last()
            self._create(tail.number + 1, last, [seal(tail.path, last.length_bytes)], reason)
        except (OSError, WriteFailed, AppendRefused):
            if reason == "sync_failed":  # and the segment cannot be read back, perhaps
                self._make_name(tail.number + 1)
            raise
        close_quietly(self._disk, tail.descriptor)

    def give_up(self, reason: str) -> None:
        """Never continue the present segment, the second in a row of which a write or sync failed.

        After a failed sync no other process may go on in it either: it would be told of no failure.
        """
        if reason == "sync_failed":
            self.abandon()
        else:
            self._left = self._leaving(self.tail, reason)
        self.forget()

    def forget(self) -> None:
        """Give the descriptor back; the next :meth:`look` finds the end anew."""
        if self._tail is not None:
            close_quietly(self._disk, self._tail.descriptor)
        self._tail = self._unfinished = None

    def _read_on(self, tail: Tail, size: int) -> bool:
        """Take in what other processes appended since the last look.  False where it does not end in a whole line.

        Whoever wrote a line had held the one above it to its hash, so only the last is held to its own here.
        """
        data = self._disk.read_at(tail.descriptor, tail.end, size - tail.end) if size > tail.end else b""
        if len(data) != size - tail.end:
            return False
        self.adoptions_seen += _ADOPTED in data or _BUDGET_SET in data
        start = data.rfind(b"\n", 0, -1) + 1
        line = data[start:]
        above = stated_hash(data[:start]) if start else tail.hash
        digest = fits(above, line) if above is not None else None
        if digest is None:
            self._read_each(tail, data)
            return False
        tail.hash, tail.end = digest, size
        tail.take(line)
        return True

    def _read_each(self, tail: Tail, data: bytes) -> None:
        """Take in the lines that fit, up to the first that does not."""
        last = b""
        for line in data.splitlines(keepends=True):
            digest = fits(tail.hash, line)
            if digest is None:
                break
            tail.hash, last = digest, line
            tail.end += len(line)
        if last:
            tail.take(last)

    def _open_newest(self) -> None:
        self.adoptions_seen += 1
        identity = read_writer(self._home) or make_writer(self._home, self._disk)
        self._identity = identity
        self._disk.make_folder(self._home.journal / identity.writer)
        paths = self._home.segments(identity.writer)
        if not paths:
            self._sync_names_above()
            self._create(1, None, [], "first")
        elif self._left is not None and self._is_newest(self._left.path, paths):
            self._open_after(paths, self._left)
        elif not self._open_clean(paths[-1]):
            self._sync_names_above()
            self._open_behind(paths)
        if self._disk.exists(str(self._home.merging)):
            self._raise_tick()

    def _is_newest(self, path: Path, paths: Sequence[Path]) -> bool:
        """Whether nothing was begun behind a segment: nothing stands there but the next one's name."""
        return path in paths[-2:] and not any(other.stat().st_size for other in paths if other > path)

    def _open_after(self, paths: list[Path], left: _Left) -> None:
        """Open the segment that could not be opened when the newest one was left, or that has only its name yet.

        Where somebody had the lock meanwhile who wrote there, or named what stands there, all whole lines are kept.
        """
        if self._lock.seen != left.seen or left.path.stat().st_size != left.size_bytes:
            return self._open_behind(paths, left.reason)
        taken = paths.pop() if paths[-1].stat().st_size == 0 else None  # nothing of it was ever taken
        number = int(taken.stem) if taken else int(paths[-1].stem) + 1
        last = left.last
        if last is not None and left.reason == "sync_failed":
            last = what_stands(left.path, last)
        self._create(number, last, seals_after(paths, last, number), left.reason, taken_over=taken is not None)
        return None

    def _open_behind(self, paths: list[Path], reason: str = "unclean_tail") -> None:
        """Open the next segment behind the last line that stands whole and fits."""
        last = find_last(self._home, self.writer.writer)
        if last is not None and reason != "sync_failed":
            descriptor = self._disk.open_append(paths[-1].with_name(last.file))
            try:
                reason = self._sync_before_sealing(descriptor, reason)
            finally:
                close_quietly(self._disk, descriptor)
            if reason == "sync_failed":  # some filesystems drop what they could not write
                last = find_last(self._home, self.writer.writer)
        # An empty file is taken over: a full disk, asked again and again, must not leave one at each time.
        taken = paths.pop() if paths[-1].stat().st_size == 0 else None
        number = int(taken.stem) if taken else int(paths[-1].stem) + 1
        self._create(number, last, seals_after(paths, last, number), reason, taken_over=taken is not None)

    def _open_clean(self, path: Path) -> bool:
        """Open a segment whose last line stands whole and fits; False for any other.

        Where a sync of it goes on for long, the next one is begun: it may fail yet.
        """
        end = read_end(path)
        if end is None:
            return False
        tail = Tail(self._disk, self._disk.open_append(path), path, end.size_bytes, end.hash)
        self._tail = tail
        tail.take(end.line)
        if len(end.line) == end.size_bytes and not self._sync_first_line(tail):
            return True
        if not self._disk.lock(tail.descriptor, limits.SYNC_WAIT_S):
            waiting, tail.descriptor = tail.descriptor, self._disk.open_append(path)
            close_quietly(self._disk, waiting)  # so that the wait that was given up is over
            self.open_next("sync_pending")
            return True
        self._disk.unlock(tail.descriptor)
        following = Path(tail.next_path)
        if following.is_file() and not following.is_symlink():  # the sync that was waited for has failed
            self.forget()
            return False
        return True

    def _sync_first_line(self, tail: Tail) -> bool:
        """Sync a segment without an event, and its names: whoever began it may have died before they were durable.

        Else a failed sync of the first event could take that line along, and with it what it seals.  False where this
        sync fails: then the next segment is begun, behind that line only if it still stands.
        """
        sync_folder(self._disk, tail.path.parent)
        self._sync_names_above()
        try:
            self._disk.sync(tail.descriptor)
        except OSError:
            self._left = _Left(tail.path, None, None, "sync_failed", UNSEEN)
            self._make_name(tail.number + 1)
            self.forget()
            self._open_behind(self._home.segments(self.writer.writer), "sync_failed")
            return False
        return True

    def _sync_before_sealing(self, descriptor: int, reason: str) -> str:
        """Sync a segment that is about to be left: its last lines may be a dead process's, which never synced them.

        Where that fails, what was acknowledged stands all the same, for it was synced before: the segment is sealed as
        it is, and left for that reason.
        """
        try:
            self._disk.sync(descriptor)
        except OSError:
            return "sync_failed"
        return reason

    def _create(
        self, number: int, after: Last | None, seals: Sequence[dict[str, Any]], reason: str, *, taken_over: bool = False
    ) -> None:
        """Begin a segment; where its first line cannot be synced, the one behind it, before the lock is let go.

        Another process would find that line whole and go on behind it, though it may be lost.
        """
        try:
            self._create_file(number, after, seals, reason, taken_over=taken_over)
        except _NotSynced as failed:
            try:
                self._create_file(number + 1, after, [*seals, seal(failed.path, 0)], "sync_failed")
            except _NotSynced as again:
                self._make_name(number + 2)
                raise again from failed
        self._left = None

    def _create_file(
        self, number: int, after: Last | None, seals: Sequence[dict[str, Any]], reason: str, *, taken_over: bool = False
    ) -> None:
        identity = self.writer
        if number > limits.SEGMENT_NUMBER_MAX:
            raise AppendRefused(f"{self._home.path} has used up its segment numbers: nothing was written")
        path = self._home.journal / identity.writer / f"{number:08d}.jsonl"
        seq, tick = (after.seq + 1, after.tick + 1) if after else (1, highest_tick(self._home) + 1)
        line, digest = encode_line(
            opening_event(after, seals, reason, identity, self._program),
            writer=identity.writer,
            time=format_time(now_us()),
            seq=seq,
            tick=tick,
            previous=after.hash if after else ZERO_HASH,
        )
        if len(line) > limits.LINE_BYTES_MAX:
            raise AppendRefused(f"the first line of {path} would be {len(line)} bytes long: nothing was written")
        folder = self._disk.open_folder(path.parent)
        try:
            self._tell_others(reason)
            descriptor = self._open_empty(path, taken_over=taken_over)
            fresh = Tail(self._disk, descriptor, path, 0, digest, seq, tick)
            try:
                fresh.write(line)
                fresh.sync()
                self._disk.sync_folder(folder)
            except BaseException as error:
                if isinstance(error, OSError):
                    error = WriteFailed("sync_failed", error, True)  # of a name
                failed = error.reason if isinstance(error, WriteFailed) else reason
                self._left = self._leaving(fresh, failed, last=after)
                close_quietly(self._disk, descriptor)
                if isinstance(error, WriteFailed) and error.reason == "sync_failed":
                    raise _NotSynced(path, error.error) from error
                raise
        finally:
            close_quietly(self._disk, folder)
        fresh.end = len(line)
        self._tail, self._unfinished = fresh, None

    def _tell_others(self, reason: str) -> None:
        """Before a segment is begun, let those who have the one below open look for it.

        After a failed sync that may fail: the kernel tells them too, and it is newcomers who must find the name.
        """
        before = self._lock.seen
        try:
            self._lock.tell_others()
        except OSError:
            if reason != "sync_failed":
                raise
        if self._left is not None and self._left.seen == before:
            self._left = self._left._replace(seen=self._lock.seen)

    def _make_name(self, number: int) -> None:
        """Make a segment's file, empty, so that nobody who comes new goes on in the one below."""
        with contextlib.suppress(OSError):
            path = self._home.journal / self.writer.writer / f"{number:08d}.jsonl"
            close_quietly(self._disk, self._disk.create_exclusive(path))

    def _open_empty(self, path: Path, *, taken_over: bool) -> int:
        """Make a segment's file.  An empty one that is there was made by a sync that failed without the lock."""
        if not taken_over:
            try:
                return self._disk.create_exclusive(path)
            except FileExistsError:
                if path.stat().st_size:
                    raise
        return self._disk.open_append(path)

    def _sync_names_above(self) -> None:
        """Bring the names on the way to the writer's folder to stable storage: who made them may have died before.

        Done before a segment without events is begun or gone on in, so that nobody who finds an event need do it.
        """
        sync_folder(self._disk, self._home.journal)
        sync_folder(self._disk, self._home.path)
        for path in (self._home.path, *self._home.path.parents[:NAMES_ABOVE]):
            self._disk.sync_name(path)

    def _leaving(self, tail: Tail, reason: str, last: Last | None = None) -> _Left:
        try:
            size = self._disk.status(tail.descriptor).st_size
        except OSError:
            size = None
        return _Left(tail.path, size, last if tail.end == 0 else tail.last(), reason, self._lock.seen)

    def _raise_tick(self) -> None:
        self.tail.tick = max(self.tail.tick, highest_tick(self._home))
        self.above_merged = True
