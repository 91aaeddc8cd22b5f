"""Appending: one writer a home, one lock, one newest segment, and three outcomes.

Writing happens under the one lock, and so does syncing where nobody else wants it: then a line is acknowledged or
the last thing in its segment.  After a failed or short write, a failed sync, or on an unclean tail, the next segment is
opened before the lock is let go, chained to the last line that is known synced.  Where the lock had to be waited for,
it is given back before the sync, which then covers every line up to the appender's own; where that sync fails, the
segment is left at its last whole line, for others' lines behind this one may be acknowledged.  Either way the event is
written once more, under its id, and no sync is ever retried.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from . import _limits as limits
from ._disk import Disk, write_new
from ._end import WriteFailed
from ._errors import AppendRefused, AppendUnknown, HomeError, KeledgerError, LockHeld
from ._home import Home, WriterIdentity, remedy
from ._line import NewEvent, encode_line
from ._lock import HomeLock
from ._newest import NewestSegment
from ._settled import wait_for_syncs
from ._time import format_time, now_us


class Appended(NamedTuple):
    """Where an event came to stand."""

    id: str
    seq: int
    tick: int


class Written(NamedTuple):
    """Where the lines of the last append stand, and what the last of them states."""

    segment: int
    start: int
    end: int
    hash: bytes
    seq: int
    tick: int
    ends: tuple[int, ...]
    """Where each line ends."""
    ids: tuple[str, ...]
    """Of the events, in order."""
    time: str


class _Locked:
    """The lock of an appender, held within a ``with``.  A plain class: a generator would cost each append 7 us."""

    __slots__ = ("_lock", "_newest")

    def __init__(self, lock: HomeLock, newest: NewestSegment) -> None:
        self._lock, self._newest = lock, newest

    def __enter__(self) -> None:
        if self._lock.is_mine:  # a signal handler, or a finalizer, in the middle of another append
            raise AppendRefused("this thread is in the middle of an append: nothing was written; append behind it")
        try:
            if self._lock.acquire():
                self._newest.forget()  # this process was forked: what it inherited is its parent's
        except BaseException:
            self.end(failed=True)
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(failed=kind is not None)

    def end(self, *, failed: bool) -> None:
        """Give the lock back, if this thread has it.  Where the block failed, the journal's end is looked up anew."""
        if self._lock.is_mine:
            try:
                if failed:
                    self._newest.abandon()
                    self._newest.forget()
            finally:
                self._lock.release()


_appenders: weakref.WeakSet[Appender] = weakref.WeakSet()


def _drop_inherited() -> None:
    for appender in list(_appenders):
        appender.drop_inherited()


os.register_at_fork(after_in_child=_drop_inherited)


class Appender:
    """Appends events to the home's own writer.  Safe to share between threads, and after a fork."""

    def __init__(self, home: Home, *, disk: Disk | None = None, program: str = "keledger") -> None:
        self.home = home
        self.disk = disk or Disk()
        self._lock = HomeLock(home, self.disk)
        self._newest = NewestSegment(home, self.disk, self._lock, program)
        self._locked = _Locked(self._lock, self._newest)
        self.last_written: Written | None = None
        """Of the last append, whether or not it has returned: for who folds what it appended itself."""
        self.failures = 0
        """Grows with each write of which it is not known that it is durable."""
        _appenders.add(self)

    @property
    def adoptions_seen(self) -> int:
        """Grows when another process may have adopted other prices or set a budget, as far as appending has seen."""
        return self._newest.adoptions_seen

    @property
    def present_writer(self) -> str:
        """The home's own writer, as of the last look: what :meth:`append` decides by, and after :meth:`writer`."""
        return self._newest.writer.writer

    @property
    def names_seen(self) -> int:
        """Grows when another process may have put other writers' files in place, as far as appending has seen."""
        return self._newest.adoptions_seen

    def read_behind(self, segment: int, offset_bytes: int) -> bytes | None:
        """The whole lines of the newest segment behind an offset; None where that is in another one.

        Called under :meth:`locked`, after :meth:`writer`, or from what :meth:`append` decides by.
        """
        tail = self._newest.tail
        if tail.number != segment or tail.end < offset_bytes:
            return None
        if tail.end == offset_bytes:
            return b""
        try:
            return self.disk.read_at(tail.descriptor, offset_bytes, tail.end - offset_bytes)
        except OSError as error:
            raise HomeError(f"cannot read {tail.path}: {error.strerror}") from error

    def append(
        self,
        events: Sequence[NewEvent] | Callable[[], Sequence[NewEvent]],
        meanwhile: Callable[[Written], None] | None = None,
    ) -> list[Appended]:
        """Make the events durable, under one lock and one sync (batches over the limit: one sync each 4 MiB).

        A function says under the lock what is to be appended, and may raise; then nothing is written.  *meanwhile* is
        called, under the lock, while the disk is busy with a single event, where nobody waits for the lock: nobody
        knows yet whether it will be durable (:attr:`failures`).

        Raises AppendRefused where nothing of them can appear, AppendUnknown where they may, HomeError where the
        home cannot be used.  After an exception, appending the same events under their ids is always safe.
        """
        decide = events if callable(events) else None
        if not events:
            return []
        try:
            with self._locked:
                self._look()
                if decide is not None:
                    events = decide()
                    if not events:
                        return []
                assert not callable(events)
                try:
                    give_back = self._lock.give_back if self._lock.was_contended else None
                    return self._append_at_end(events, give_back, meanwhile)
                except WriteFailed as error:
                    self._newest.forget()
                    failed = error
            return self._append_again(events, failed)
        except KeledgerError:
            raise
        except BaseException:  # raised by a signal handler, perhaps where the lock was just being given back
            self._locked.end(failed=True)
            raise

    @contextlib.contextmanager
    def locked(self, *, beside_syncs: bool = False) -> Iterator[None]:
        """Hold the home's lock; unless *beside_syncs*, also wait until no sync goes on.

        After an exception the end of the journal is looked up anew.
        """
        try:
            with self._locked:
                if not beside_syncs:
                    self._wait_for_syncs()
                yield
        except KeledgerError:
            raise
        except BaseException:
            self._locked.end(failed=True)
            raise

    def _wait_for_syncs(self) -> None:
        try:
            wait_for_syncs(self.home, self.disk, self._lock.deadline_s)
        except OSError as error:
            raise self._refused(error) from error

    def writer(self) -> WriterIdentity:
        """The home's own writer, made on its first event.  Called under the lock."""
        self._look()
        return self._newest.writer

    def begin_merge(self) -> None:
        """Under :meth:`locked`, put the marker of a merge: whoever appends next has a tick above all that it brings.

        Raises OSError.
        """
        self._lock.tell_others()
        write_new(self.disk, self.home.merging, b"")

    def drop_inherited(self) -> None:
        """In a forked child, close what is the parent's: an open copy would keep its locks when it has died.

        Not where the thread that forked is in the middle of an append: that is found out when it goes on.
        """
        if not self._lock.is_mine:
            self._newest.forget()
            self._lock.drop_inherited()

    def close(self) -> None:
        """Give the descriptors back, after an append of another thread.  The appender may be used again.

        Not where this thread is in the middle of one, in a signal handler: it goes on with them.
        """
        with self._lock.alone() as alone:
            if alone:
                self._newest.forget()
                self._lock.close()

    def append_locked(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append while the caller holds :meth:`locked`."""
        return self._append(events)

    def _append(self, events: Sequence[NewEvent]) -> list[Appended]:
        self._look()
        return self._append_at_end(events)

    def _append_at_end(
        self,
        events: Sequence[NewEvent],
        give_back: Callable[[], None] | None = None,
        meanwhile: Callable[[Written], None] | None = None,
    ) -> list[Appended]:
        """Append in batches.  Raises WriteFailed where *give_back* was called and the sync failed: then the segment is
        left, and the lock is somebody else's."""
        if len(events) == 1 and not self._newest.above_merged:  # nearly always
            return self._append_batch(events, give_back, meanwhile)
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
        if done or self._newest.above_merged:
            give_back = None  # what follows the sync is done under the lock
        done += self._append_after(done, batch, give_back)
        if self._newest.above_merged:
            # The marker stands only while a merge holds the lock, or after one died with it.  From here on this
            # writer's own end has a tick above all that was merged.
            with contextlib.suppress(OSError):
                self.disk.remove(self.home.merging)
            self._newest.above_merged = False
        return done

    def _append_after(
        self, done: Sequence[Appended], events: Sequence[NewEvent], give_back: Callable[[], None] | None = None
    ) -> list[Appended]:
        """Append the next batch.  A refusal is none any more where an earlier batch is durable."""
        try:
            return self._append_batch(events, give_back)
        except (AppendRefused, HomeError) as error:
            if not done:
                raise
            raise AppendUnknown(
                f"{len(done)} events are journaled, {len(events)} more are not: {error}; send all again under their ids"
            ) from error

    def _look(self) -> None:
        try:
            self._newest.look()
        except (OSError, WriteFailed) as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError | WriteFailed) -> AppendRefused:
        cause = error.error if isinstance(error, WriteFailed) else error
        refusal = LockHeld if isinstance(cause, TimeoutError) else AppendRefused
        return refusal(f"{self.home.path}: {cause.strerror or cause}; nothing was written; {remedy(cause)}")

    def _append_batch(
        self,
        events: Sequence[NewEvent],
        give_back: Callable[[], None] | None,
        meanwhile: Callable[[Written], None] | None = None,
    ) -> list[Appended]:
        """Write a batch; where that fails, once more in the next segment."""
        try:
            return self._write(events, give_back, meanwhile)
        except WriteFailed as failed:
            if failed.lock_given_back:
                raise
            return self._write_again(events, failed)

    def _append_again(self, events: Sequence[NewEvent], failed: WriteFailed) -> list[Appended]:
        """Append after a sync failed that went on without the lock; the line stands in the segment that was left."""
        try:
            with self._locked:
                return self._append(events)
        except (AppendRefused, HomeError) as error:
            raise AppendUnknown(
                f"{failed.error.strerror or failed.error} on {self.home.path}; then {error}; the event may appear; "
                f"{remedy(failed.error)}, then send it again under its id"
            ) from failed.error

    def _write_again(self, events: Sequence[NewEvent], failed: WriteFailed) -> list[Appended]:
        what = f"{failed.error.strerror or failed.error} on {self._newest.tail.path}"
        try:
            self._newest.open_next(failed.reason)
        except (OSError, WriteFailed, KeledgerError) as error:
            self._newest.forget()
            if failed.whole_lines:
                cause = error.error if isinstance(error, WriteFailed) else error
                raise AppendUnknown(
                    f"{what}, and the next segment could not be opened ({cause}): the event may appear; "
                    f"{remedy(failed.error)}, then send it again under its id"
                ) from failed.error
            raise AppendRefused(f"{what}: nothing was written; {remedy(failed.error)}") from failed.error
        try:
            return self._write(events)
        except WriteFailed as again:
            self._newest.give_up(again.reason)
            problem = f"{again.error.strerror or again.error} on {self.home.path}, twice"
            if again.whole_lines:
                raise AppendUnknown(
                    f"{problem}: the event may appear; {remedy(again.error)}, then send it again under its id"
                ) from again.error
            raise AppendRefused(f"{problem}: nothing was written; {remedy(again.error)}") from again.error

    def _write(
        self,
        events: Sequence[NewEvent],
        give_back: Callable[[], None] | None = None,
        meanwhile: Callable[[Written], None] | None = None,
    ) -> list[Appended]:
        tail, writer = self._newest.tail, self._newest.writer.writer
        if tail.tick + len(events) >= limits.TICK_MAX:
            raise AppendRefused(f"writer {writer} has used up its ticks: nothing was written")
        time = format_time(now_us())
        lines: list[bytes] = []
        done: list[Appended] = []
        seq, tick, previous = tail.seq, tail.tick, tail.hash
        for event in events:
            seq, tick = seq + 1, tick + 1
            line, previous = encode_line(event, writer=writer, time=time, seq=seq, tick=tick, previous=previous)
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
                self._newest.open_next("full")
            except (OSError, WriteFailed) as error:
                raise self._refused(error) from error
            return self._write(events, give_back, meanwhile)
        end = tail.end + len(data)
        ends = tuple(accumulate(map(len, lines), initial=tail.end))[1:]
        ids = tuple([each.id for each in done])
        written = Written(tail.number, tail.end, end, previous, seq, tick, ends, ids, time)
        try:
            self._newest.write(data, give_back, partial(meanwhile, written) if meanwhile is not None else None)
        except BaseException:
            self.failures += 1
            raise
        tail.end, tail.hash, tail.seq, tail.tick, tail.holds_events = end, previous, seq, tick, True
        self.last_written = written
        return done
