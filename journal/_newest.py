"""The newest segment of the home's own writer, the only file that is ever appended to.

A segment is continued only where it ends in a whole line that fits, and is left for the next one when it is full, when
its tail is unclean, and after any write or sync of it that failed.  What another process wrote and may have died over
before its sync is synced before it is built upon.  Everything here happens under the home's lock.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import _limits as limits
from ._disk import Disk
from ._errors import AppendRefused, HomeError
from ._home import Home, WriterIdentity, make_writer, read_writer
from ._line import ZERO_HASH, encode_line, fits, stamps, stated_hash
from ._opening import Last, find_last, highest_tick, opening_event, seal, seals_after
from ._segment import read_end
from ._time import format_time, now_us

_ADOPTED = b'"type":"prices.adopted"'


class WriteFailed(Exception):
    """A write or sync failed; ``whole_lines`` tells whether a whole line may stand in the file."""

    def __init__(self, reason: str, error: OSError, whole_lines: bool) -> None:
        super().__init__(reason)
        self.reason, self.error, self.whole_lines = reason, error, whole_lines


class _NotSynced(WriteFailed):
    """The first line of a new segment was written, but it or the file's name could not be synced."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__("sync_failed", error, True)
        self.path = path


class Tail:
    """The end of the newest segment, as of the last look under the lock."""

    __slots__ = (
        "descriptor",
        "end",
        "hash",
        "holds_events",
        "is_settled",
        "next_path",
        "number",
        "path",
        "seq",
        "tick",
    )

    def __init__(self, descriptor: int, path: Path, end: int, line_hash: bytes, seq: int = 0, tick: int = 0) -> None:
        self.descriptor, self.path, self.end = descriptor, path, end
        self.hash, self.seq, self.tick = line_hash, seq, tick
        self.holds_events = False
        """Whether anything follows the segment's first line: one that has nothing else is never left for being full."""
        self.is_settled = True
        """Whether all up to here is known synced: not where the last line is another process's, which may be dead."""
        self.number = int(path.stem)
        self.next_path = str(path.with_name(f"{self.number + 1:08d}.jsonl"))

    def take(self, line: bytes) -> None:
        """Go on from the last line of the segment."""
        try:
            self.seq, self.tick = stamps(line)
        except ValueError:
            raise HomeError(f"the last line of {self.path} is no event: run keledger verify") from None
        self.holds_events, self.is_settled = True, False

    def last(self) -> Last:
        """The last line, for a segment that continues it."""
        return Last(self.path.name, self.end, self.seq, self.tick, self.hash)


class _Left(NamedTuple):
    """A file that must not be continued, for a write or sync of it failed and no next segment could be opened.

    The kernel reports a failed sync once and then holds the pages for written, so that a later sync of the same
    file would succeed over bytes that are lost.
    """

    path: Path
    size_bytes: int | None
    """Its size then; where it has grown since, another process, which could not know, has gone on in it."""
    last: Last | None
    reason: str


class NewestSegment:
    """Opens, continues and leaves the segment that the home's writer appends to."""

    def __init__(self, home: Home, disk: Disk, program: str) -> None:
        self._home, self._disk, self._program = home, disk, program
        self._merging = str(home.merging)
        self._identity: WriterIdentity | None = None
        self._tail: Tail | None = None
        self._left: _Left | None = None
        self.above_merged = False
        """Whether the ticks were raised above what a merge, under way or dead, has brought."""
        self.adoptions_seen = 0
        """Grows when another process may have adopted other prices, as far as was seen here."""

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
        if status.st_nlink == 0 or self._disk.exists(tail.next_path):
            self.forget()
            return self._open_newest()
        if status.st_size != tail.end and not self._read_on(tail, status.st_size):
            self.open_next("unclean_tail")
        if self._disk.exists(self._merging):
            self._raise_tick()
        return None

    def write(self, data: bytes) -> None:
        """Write whole lines behind the end and sync them; the caller moves the end.  Raises WriteFailed."""
        self._write_and_sync(self.tail, data)
        self.tail.is_settled = True

    def open_next(self, reason: str) -> None:
        """Leave the present segment at its last synced line and begin the next one there.

        Raises OSError and WriteFailed; the present segment is not continued then either, if a write or sync of it is
        why it is left.
        """
        tail = self.tail
        if reason != "sync_failed" and not tail.is_settled:
            reason = self._sync_before_sealing(tail.descriptor, reason)
        if reason in ("write_failed", "sync_failed"):
            self._left = self._leaving(tail, reason)
        self._create(tail.number + 1, tail.last(), [seal(tail.path, tail.end)], reason)
        self._close_quietly(tail.descriptor)

    def give_up(self, reason: str) -> None:
        """Never continue the present segment: a write or sync of it failed, and there was no other."""
        self._left = self._leaving(self.tail, reason)
        self.forget()

    def forget(self) -> None:
        """Give the descriptor back; the next :meth:`look` finds the end anew."""
        if self._tail is not None:
            self._close_quietly(self._tail.descriptor)
        self._tail = None

    def _read_on(self, tail: Tail, size: int) -> bool:
        """Take in what other processes appended since the last look.  False where it does not end in a whole line.

        Whoever wrote a line had held the one above it to its hash, so only the last is held to its own here.
        """
        data = self._disk.read_at(tail.descriptor, tail.end, size - tail.end) if size > tail.end else b""
        if len(data) != size - tail.end:
            return False
        self.adoptions_seen += _ADOPTED in data
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
            self._create(1, None, [], "first")
        elif self._is_left(paths[-1]):
            self._open_after(paths)
        elif not self._open_clean(paths[-1]):
            self._open_behind(paths)
        if self._disk.exists(self._merging):
            self._raise_tick()

    def _is_left(self, newest: Path) -> bool:
        left = self._left
        return left is not None and left.path == newest and left.size_bytes in (None, newest.stat().st_size)

    def _open_after(self, paths: list[Path]) -> None:
        """Open the segment that could not be opened when the newest one was left."""
        left = self._left
        assert left is not None
        number, taken_over = int(paths[-1].stem) + 1, False
        if left.reason == "write_failed" and paths[-1].stat().st_size == 0:
            number, taken_over = int(paths.pop().stem), True  # nothing of it was ever taken
        self._create(number, left.last, seals_after(paths, left.last, number), left.reason, taken_over=taken_over)

    def _open_behind(self, paths: list[Path]) -> None:
        """Open the next segment behind one whose tail is unclean."""
        reason = "unclean_tail"
        last = find_last(self._home, self.writer.writer)
        if last is not None:
            descriptor = self._disk.open_append(paths[-1].with_name(last.file))
            reason = self._sync_before_sealing(descriptor, reason)
            self._close_quietly(descriptor)
        # An empty file is taken over: a full disk, asked again and again, must not leave one at each time.
        taken = paths.pop() if paths[-1].stat().st_size == 0 else None
        number = int(taken.stem) if taken else int(paths[-1].stem) + 1
        self._create(number, last, seals_after(paths, last, number), reason, taken_over=taken is not None)

    def _open_clean(self, path: Path) -> bool:
        """Open a segment whose last line stands whole and fits; False for any other."""
        end = read_end(path)
        if end is None:
            return False
        self._sync_folder(path.parent)  # whoever made the segment may have died before its name was durable
        descriptor = self._disk.open_append(path)
        self._tail = Tail(descriptor, path, end.size_bytes, end.hash)
        self._tail.take(end.line)
        return True

    def _sync_folder(self, path: Path) -> None:
        folder = self._disk.open_folder(path)
        try:
            self._disk.sync_folder(folder)
        finally:
            self._close_quietly(folder)

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
            self._create_file(number + 1, after, [*seals, seal(failed.path, 0)], "sync_failed")
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
            descriptor = self._disk.open_append(path) if taken_over else self._disk.create_exclusive(path)
            fresh = Tail(descriptor, path, 0, digest, seq, tick)
            try:
                self._write_and_sync(fresh, line)
                self._sync_names(number, folder, path)
            except BaseException as error:
                failed = error.reason if isinstance(error, WriteFailed) else reason
                self._left = self._leaving(fresh, failed, last=after)
                self._close_quietly(descriptor)
                if isinstance(error, WriteFailed) and error.reason == "sync_failed":
                    raise _NotSynced(path, error.error) from error
                raise
        finally:
            self._close_quietly(folder)
        fresh.end = len(line)
        self._tail = fresh

    def _sync_names(self, number: int, folder: int, path: Path) -> None:
        try:
            self._disk.sync_folder(folder)
            if number == 1:
                # A dead process may have made the writer's folder and writer.json without syncing their names.
                self._sync_folder(self._home.journal)
                self._sync_folder(self._home.path)
        except OSError as error:
            raise _NotSynced(path, error) from error

    def _leaving(self, tail: Tail, reason: str, last: Last | None = None) -> _Left:
        try:
            size = self._disk.status(tail.descriptor).st_size
        except OSError:
            size = None
        return _Left(tail.path, size, last if tail.end == 0 else tail.last(), reason)

    def _write_and_sync(self, tail: Tail, data: bytes) -> None:
        try:
            written = self._disk.write(tail.descriptor, data)
        except OSError as error:
            raise WriteFailed("write_failed", error, self._whole_line_after(tail)) from error
        if written != len(data):
            short = OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken (no space left)")
            raise WriteFailed("write_failed", short, b"\n" in data[:written])
        try:
            self._disk.sync(tail.descriptor)
        except OSError as error:
            raise WriteFailed("sync_failed", error, True) from error

    def _whole_line_after(self, tail: Tail) -> bool:
        """Whether a failed write left a whole line behind the last synced one; in doubt, yes."""
        try:
            left = self._disk.read_at(tail.descriptor, tail.end, limits.LINE_BYTES_MAX)
        except OSError:
            return True
        return b"\n" in left

    def _raise_tick(self) -> None:
        self.tail.tick = max(self.tail.tick, highest_tick(self._home))
        self.above_merged = True

    def _close_quietly(self, descriptor: int) -> None:
        """Close a file whose content is synced, or given up: nothing that closing tells matters any more."""
        with contextlib.suppress(OSError):
            self._disk.close(descriptor)
