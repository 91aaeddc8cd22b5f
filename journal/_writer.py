"""Appending: one writer a home, one lock, one newest segment.

Writing and syncing happen under the one lock, so a line is acknowledged or the last thing in its segment.  After
a failed or short write, a failed sync, or on an unclean tail, the next segment is opened before the lock is let go,
chained to the last line that is known synced; no sync is ever retried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from . import _limits as limits
from ._disk import Disk
from ._errors import AppendRefused, AppendUnknown
from ._home import Home, WriterIdentity, make_writer, read_writer, remedy
from ._line import ZERO_HASH, NewEvent, encode_line, fits
from ._lock import HomeLock
from ._opening import Last, find_last, highest_tick, opening_event, seal, seals_after
from ._segment import read_end
from ._time import format_time, now_us


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an event came to stand."""

    id: str
    seq: int
    tick: int


@dataclass(slots=True)
class _Tail:
    """The end of the newest segment, as of the last look under the lock."""

    descriptor: int
    path: Path
    end: int
    hash: bytes
    seq: int = 0
    tick: int = 0
    holds_events: bool = False
    """Whether anything follows the segment's first line: one that has nothing else is never left for being full."""
    number: int = field(init=False)
    next_path: str = field(init=False)

    def __post_init__(self) -> None:
        self.number = int(self.path.stem)
        self.next_path = str(self.path.with_name(f"{self.number + 1:08d}.jsonl"))

    def take(self, line: bytes) -> None:
        """Go on from the last line of the segment."""
        event = orjson.loads(line)
        self.seq, self.tick, self.holds_events = event["seq"], event["tick"], True


class _WriteFailed(Exception):
    """A write or sync failed; ``whole_lines`` tells whether a whole line may stand in the file."""

    def __init__(self, reason: str, error: OSError, whole_lines: bool) -> None:
        super().__init__(reason)
        self.reason, self.error, self.whole_lines = reason, error, whole_lines


class Appender:
    """Appends events to the home's own writer.  Safe to share between threads, and after a fork."""

    def __init__(self, home: Home, *, disk: Disk | None = None, program: str = "keledger") -> None:
        self.home = home
        self.disk = disk or Disk()
        self.program = program
        self._merging = str(home.merging)
        self._above_merged = False
        self._lock = HomeLock(home, self.disk)
        self._identity: WriterIdentity | None = None
        self._tail: _Tail | None = None
        self.adoptions_seen = 0
        """Grows when another process may have adopted other prices, as far as appending has seen."""

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Make the events durable, under one lock and one sync (batches over the limit: one sync each 4 MiB).

        Raises AppendRefused where nothing of them can appear, AppendUnknown where they may, HomeError where the
        home cannot be used.  After an exception, appending the same events under their ids is always safe.
        """
        if not events:
            return []
        with self.locked():
            return self.append_locked(events)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home's lock.  After an exception the end of the journal is looked up anew."""
        if self._lock.forked():
            self._forget()
        with self._lock.held():
            try:
                yield
            except BaseException:
                self._forget()
                raise

    def writer(self) -> WriterIdentity:
        """The home's own writer, made on its first event.  Called under the lock."""
        self._look()
        return self._opened()[1]

    def close(self) -> None:
        """Give the descriptors back.  The appender may be used again."""
        self._forget()
        self._lock.close()

    def append_locked(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append while the caller holds :meth:`locked`."""
        self._look()
        done: list[Appended] = []
        batch: list[NewEvent] = []
        size = 0
        for event in events:
            length = len(event.data) + 512  # the envelope is below 350 bytes
            if batch and size + length > limits.BATCH_BYTES_MAX:
                done += self._append_after(done, batch)
                batch, size = [], 0
            batch.append(event)
            size += length
        done += self._append_after(done, batch)
        if self._above_merged:
            # The marker stands only while a merge holds the lock, or after one died with it.  From here on this
            # writer's own end has a tick above all that was merged.
            with contextlib.suppress(OSError):
                self.disk.remove(self.home.merging)
            self._above_merged = False
        return done

    def _append_after(self, done: Sequence[Appended], events: Sequence[NewEvent]) -> list[Appended]:
        """Append the next batch.  A refusal is none any more where an earlier batch is durable."""
        try:
            return self._append_batch(events)
        except AppendRefused as error:
            if not done:
                raise
            raise AppendUnknown(
                f"{len(done)} events are journaled, {len(events)} more are not: {error}; send all again under their ids"
            ) from error

    def _look(self) -> None:
        try:
            self._ready()
        except (OSError, _WriteFailed) as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError | _WriteFailed) -> AppendRefused:
        cause = error.error if isinstance(error, _WriteFailed) else error
        return AppendRefused(f"{self.home.path}: {cause.strerror or cause}; nothing was written; {remedy(cause)}")

    def _append_batch(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Write a batch; where that fails, once more in the next segment."""
        try:
            return self._write(events)
        except _WriteFailed as failed:
            return self._write_again(events, failed)

    def _write_again(self, events: Sequence[NewEvent], failed: _WriteFailed) -> list[Appended]:
        what = f"{failed.error.strerror or failed.error} on {self._tail.path if self._tail else self.home.path}"
        try:
            self._open_next(failed.reason)
        except (OSError, _WriteFailed) as error:
            self._forget()
            if failed.whole_lines:
                raise AppendUnknown(
                    f"{what}, and the next segment could not be opened ({error}): the event may appear; "
                    "send it again under its id"
                ) from failed.error
            raise AppendRefused(f"{what}: nothing was written; {remedy(failed.error)}") from failed.error
        try:
            return self._write(events)
        except _WriteFailed as again:
            self._forget()
            problem = f"{again.error.strerror or again.error} on {self.home.path}, twice"
            if again.whole_lines:
                raise AppendUnknown(f"{problem}: the event may appear; send it again under its id") from again.error
            raise AppendRefused(f"{problem}: nothing was written; {remedy(again.error)}") from again.error

    def _write(self, events: Sequence[NewEvent]) -> list[Appended]:
        tail, identity = self._opened()
        if tail.tick + len(events) >= limits.TICK_MAX:
            raise AppendRefused(f"writer {identity.writer} has used up its ticks: nothing was written")
        time = format_time(now_us())
        lines: list[bytes] = []
        done: list[Appended] = []
        seq, tick, previous = tail.seq, tail.tick, tail.hash
        for event in events:
            seq, tick = seq + 1, tick + 1
            line, previous = encode_line(
                event, writer=identity.writer, time=time, seq=seq, tick=tick, previous=previous
            )
            if len(line) > limits.LINE_BYTES_MAX:
                raise AppendRefused(
                    f"event {event.id} ({event.type}) is {len(line)} bytes long, {limits.LINE_BYTES_MAX} are allowed: "
                    "nothing was written"
                )
            lines.append(line)
            done.append(Appended(event.id, seq, tick))
        data = b"".join(lines)
        if tail.holds_events and tail.end + len(data) > limits.SEGMENT_BYTES_MAX:
            try:
                self._open_next("full")
            except (OSError, _WriteFailed) as error:
                raise self._refused(error) from error
            return self._write(events)
        self._write_and_sync(tail, data)
        tail.end += len(data)
        tail.hash, tail.seq, tail.tick, tail.holds_events = previous, seq, tick, True
        return done

    def _write_and_sync(self, tail: _Tail, data: bytes) -> None:
        try:
            written = self.disk.write(tail.descriptor, data)
        except OSError as error:
            raise _WriteFailed("write_failed", error, self._whole_line_after(tail)) from error
        if written != len(data):
            short = OSError(28, f"only {written} of {len(data)} bytes were taken (no space left)")
            raise _WriteFailed("write_failed", short, b"\n" in data[:written])
        try:
            self.disk.sync(tail.descriptor)
        except OSError as error:
            raise _WriteFailed("sync_failed", error, True) from error

    def _whole_line_after(self, tail: _Tail) -> bool:
        """Whether a failed write left a whole line behind the last synced one; in doubt, yes."""
        try:
            left = self.disk.read_at(tail.descriptor, tail.end, limits.LINE_BYTES_MAX)
        except OSError:
            return True
        return b"\n" in left

    def _ready(self) -> None:
        """Bring ``_tail`` up to what stands on disk; open a segment where there is none, or its tail is unclean."""
        tail = self._tail
        if tail is None:
            return self._open_newest()
        status = self.disk.status(tail.descriptor)
        if status.st_nlink == 0 or self.disk.exists(tail.next_path):
            self._forget()
            return self._open_newest()
        if status.st_size != tail.end and not self._read_on(tail, status.st_size):
            self._open_next("unclean_tail")
        if self.disk.exists(self._merging):
            self._raise_tick()
        return None

    def _read_on(self, tail: _Tail, size: int) -> bool:
        """Take in what other processes appended since the last look.  False where it does not end in a whole line."""
        data = self.disk.read_at(tail.descriptor, tail.end, size - tail.end) if size > tail.end else b""
        self.adoptions_seen += b'"type":"prices.adopted"' in data
        clean = len(data) == size - tail.end
        last = b""
        for line in data.splitlines(keepends=True):
            digest = fits(tail.hash, line)
            if digest is None:
                clean = False
                break
            tail.hash, last = digest, line
            tail.end += len(line)
        if last:
            tail.take(last)
        return clean

    def _open_newest(self) -> None:
        self.adoptions_seen += 1
        identity = read_writer(self.home) or make_writer(self.home, self.disk)
        self._identity = identity
        self.disk.make_folder(self.home.journal / identity.writer)
        paths = self.home.segments(identity.writer)
        if not paths:
            self._create_segment(1, None, [], "first")
        elif not self._open_clean(paths[-1]):
            last = find_last(self.home, identity.writer)
            # An empty file is taken over: a full disk, asked again and again, must not leave one at each time.
            taken = paths.pop() if paths[-1].stat().st_size == 0 else None
            number = int(taken.stem) if taken else int(paths[-1].stem) + 1
            self._create_segment(number, last, seals_after(paths, last), "unclean_tail", taken_over=taken is not None)
        if self.disk.exists(self._merging):
            self._raise_tick()

    def _open_clean(self, path: Path) -> bool:
        """Open a segment whose last line stands whole and fits; False for any other."""
        end = read_end(path)
        if end is None:
            return False
        self._sync_entry(path)
        descriptor = self.disk.open_append(path)
        self._tail = _Tail(descriptor, path, end.size_bytes, end.hash)
        self._tail.take(end.line)
        return True

    def _sync_entry(self, path: Path) -> None:
        """Whoever made the segment may have died before its name was durable."""
        folder = self.disk.open_folder(path.parent)
        try:
            self.disk.sync_folder(folder)
        finally:
            self._close_quietly(folder)

    def _open_next(self, reason: str) -> None:
        """Leave the present segment at its last synced line and begin the next one there."""
        tail, _ = self._opened()
        last = Last(tail.path.name, tail.end, tail.seq, tail.tick, tail.hash)
        self._create_segment(tail.number + 1, last, [seal(tail.path, tail.end)], reason)
        self._close_quietly(tail.descriptor)

    def _create_segment(
        self,
        number: int,
        after: Last | None,
        seals: Sequence[dict[str, Any]],
        reason: str,
        *,
        taken_over: bool = False,
    ) -> None:
        identity = self._identity
        if identity is None or number > limits.SEGMENT_NUMBER_MAX:
            raise AppendRefused(f"{self.home.path} has used up its segment numbers: nothing was written")
        path = self.home.journal / identity.writer / f"{number:08d}.jsonl"
        seq, tick = (after.seq + 1, after.tick + 1) if after else (1, highest_tick(self.home) + 1)
        line, digest = encode_line(
            opening_event(after, seals, reason, identity, self.program),
            writer=identity.writer,
            time=format_time(now_us()),
            seq=seq,
            tick=tick,
            previous=after.hash if after else ZERO_HASH,
        )
        if len(line) > limits.LINE_BYTES_MAX:
            raise AppendRefused(f"the first line of {path} would be {len(line)} bytes long: nothing was written")
        folder = self.disk.open_folder(path.parent)
        try:
            descriptor = self.disk.open_append(path) if taken_over else self.disk.create_exclusive(path)
            fresh = _Tail(descriptor, path, 0, digest, seq, tick)
            try:
                self._write_and_sync(fresh, line)
                self.disk.sync_folder(folder)
            except BaseException:
                self._close_quietly(fresh.descriptor)
                raise
        finally:
            self._close_quietly(folder)
        fresh.end = len(line)
        self._tail = fresh

    def _raise_tick(self) -> None:
        tail, _ = self._opened()
        tail.tick = max(tail.tick, highest_tick(self.home))
        self._above_merged = True

    def _opened(self) -> tuple[_Tail, WriterIdentity]:
        if self._tail is None or self._identity is None:
            raise AppendRefused(f"{self.home.path} is not open for appending: nothing was written")
        return self._tail, self._identity

    def _forget(self) -> None:
        if self._tail is not None:
            self._close_quietly(self._tail.descriptor)
        self._tail = None

    def _close_quietly(self, descriptor: int) -> None:
        """Close a file whose content is synced, or given up: nothing that closing tells matters any more."""
        with contextlib.suppress(OSError):
            self.disk.close(descriptor)
