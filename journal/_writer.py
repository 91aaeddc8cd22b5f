"""Appending: one writer a home, one lock, one newest segment.

Writing and syncing happen under the one lock, so a line is acknowledged or the last thing in its segment.  After
a failed or short write, a failed sync, or on an unclean tail, the next segment is opened before the lock is let go,
chained to the last line that is known synced; no sync is ever retried.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from . import _limits as limits
from ._disk import Disk
from ._errors import AppendRefused, AppendUnknown, HomeError
from ._home import Home, WriterIdentity, make_writer, read_writer, remedy
from ._identity import new_id
from ._line import ZERO_HASH, NewEvent, encode_line, fits
from ._reader import scan_journal
from ._segment import read_end, read_head
from ._time import format_time, now_us

READER_MIN = "0.1.0"
"""The oldest release that reads what this one writes."""


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
    number: int
    next_path: str
    end: int
    hash: bytes
    seq: int
    tick: int
    holds_events: bool
    """Whether anything follows the segment's first line: one that has nothing else is never left for being full."""


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
        self._mutex = threading.Lock()
        self._pid = os.getpid()
        self._lock: int | None = None
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
        """Hold the home's lock, within this process and among all."""
        if os.getpid() != self._pid:
            self._after_fork()
        if not self._mutex.acquire(timeout=limits.LOCK_WAIT_S):
            raise AppendRefused(self._lock_timeout("a thread of this process"))
        try:
            descriptor = self._take_lock()
            try:
                yield
            except BaseException:
                self._forget()
                raise
            finally:
                self._give_lock_back(descriptor)
        finally:
            self._mutex.release()

    def _take_lock(self) -> int:
        taken = False
        try:
            descriptor = self._lock_descriptor()
            taken = self.disk.lock(descriptor, limits.LOCK_WAIT_S)
        except OSError as error:
            raise AppendRefused(f"cannot lock {self.home.lock}: {error.strerror}; nothing was written") from error
        finally:
            if not taken:
                self.close()
        if not taken:
            raise AppendRefused(self._lock_timeout("another process"))
        return descriptor

    def _give_lock_back(self, descriptor: int) -> None:
        try:
            self.disk.unlock(descriptor)
        except OSError:  # closing it gives it back too; what was appended is durable either way
            self.close()

    def writer(self) -> WriterIdentity:
        """The home's own writer, made on its first event.  Called under the lock."""
        self._ready()
        if self._identity is None:  # unreachable after _ready; told to the type checker
            raise HomeError(f"{self.home.path} has no writer")
        return self._identity

    def close(self) -> None:
        """Give the descriptors back.  The appender may be used again."""
        self._forget()
        if self._lock is not None:
            self._close_quietly(self._lock)
            self._lock = None

    def _lock_timeout(self, who: str) -> str:
        return (
            f"{who} has held {self.home.lock} for {limits.LOCK_WAIT_S:.0f} s: nothing was written; "
            "find it with fuser or lsof, or try again"
        )

    def _after_fork(self) -> None:
        """In a forked child: inherited descriptors share the parent's lock, so they are dropped, never unlocked."""
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self.close()

    def _lock_descriptor(self) -> int:
        if self._lock is not None and self.disk.status(self._lock).st_nlink == 0:  # the home was removed
            self.close()
        if self._lock is None:
            self.home.create(self.disk)
            try:
                self._lock = self.disk.open_lock(self.home.lock)
            except OSError as error:
                raise HomeError(f"cannot open {self.home.lock}: {error.strerror}; {remedy(error)}") from error
        return self._lock

    def append_locked(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append while the caller holds :meth:`locked`."""
        try:
            self._ready()
        except (OSError, _WriteFailed) as error:
            raise self._refused(error) from error
        done: list[Appended] = []
        batch: list[NewEvent] = []
        size = 0
        for event in events:
            length = len(event.data) + 512  # the envelope is below 350 bytes
            if batch and size + length > limits.BATCH_BYTES_MAX:
                done += self._append_batch(batch)
                batch, size = [], 0
            batch.append(event)
            size += length
        return done + self._append_batch(batch)

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
        tail, identity = self._tail, self._identity
        if tail is None or identity is None:
            raise AppendRefused(f"{self.home.path} is not open for appending")
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
        if len(data) != size - tail.end:
            return False
        previous, last = tail.hash, b""
        for line in data.splitlines(keepends=True):
            digest = fits(previous, line)
            if digest is None:
                return False
            previous, last = digest, line
            tail.end += len(line)
            tail.hash = digest
        if last:
            self._take_last(tail, last)
        return True

    def _take_last(self, tail: _Tail, line: bytes) -> None:
        event = orjson.loads(line)
        tail.seq, tail.tick, tail.holds_events = event["seq"], event["tick"], True

    def _open_newest(self) -> None:
        self.adoptions_seen += 1
        identity = read_writer(self.home)
        if identity is None:
            identity = make_writer(self.home, self.disk)
        self._identity = identity
        self.disk.make_folder(self.home.journal / identity.writer)
        paths = self.home.segments(identity.writer)
        if not paths:
            self._create_segment(1, None, [], "first", identity)
        elif not self._open_clean(paths[-1]):
            self._open_after_unclean(paths, identity)
        if self._tail is not None and (len(paths) == 0 or self.disk.exists(self._merging)):
            self._raise_tick()

    def _open_clean(self, path: Path) -> bool:
        """Open a segment whose last line stands whole and fits; False for any other."""
        end = read_end(path)
        if end is None:
            return False
        self._sync_entry(path)
        descriptor = self.disk.open_append(path)
        tail = _Tail(descriptor, path, int(path.stem), str(_next_path(path)), end.size_bytes, end.hash, 0, 0, True)
        self._take_last(tail, end.line)
        self._tail = tail
        return True

    def _sync_entry(self, path: Path) -> None:
        """Whoever made the segment may have died before its name was durable."""
        folder = self.disk.open_folder(path.parent)
        try:
            self.disk.sync_folder(folder)
        finally:
            self._close_quietly(folder)

    def _open_after_unclean(self, paths: Sequence[Path], identity: WriterIdentity) -> None:
        """Begin the segment after an unclean one: everything below it that is not sealed yet is sealed now."""
        scan = scan_journal(self.home, writer=identity.writer, locked=True)
        position = scan.positions.get(identity.writer)
        sealed: set[str] = set()
        for path in paths:
            head = read_head(path)
            sealed.update(head.seals if head is not None else ())
        seals = []
        for path in paths:
            if path.name not in sealed:
                valid = position.offset_bytes if position and int(path.stem) == position.segment else 0
                seals.append(_seal(path, valid))
        number = int(paths[-1].stem) + 1
        if position is None:
            return self._create_segment(number, None, seals, "unclean_tail", identity)
        predecessor = _Tail(
            -1,
            self.home.journal / identity.writer / f"{position.segment:08d}.jsonl",
            position.segment,
            "",
            position.offset_bytes,
            bytes.fromhex(position.hash),
            position.seq,
            position.tick,
            True,
        )
        return self._create_segment(number, predecessor, seals, "unclean_tail", identity)

    def _open_next(self, reason: str) -> None:
        """Leave the present segment at its last synced line and begin the next one there."""
        tail, identity = self._tail, self._identity
        if tail is None or identity is None:
            raise AppendRefused(f"{self.home.path} is not open for appending")
        self._create_segment(tail.number + 1, tail, [_seal(tail.path, tail.end)], reason, identity)
        self._close_quietly(tail.descriptor)

    def _create_segment(
        self,
        number: int,
        predecessor: _Tail | None,
        seals: list[dict[str, object]],
        reason: str,
        identity: WriterIdentity,
    ) -> None:
        if number > limits.SEGMENT_NUMBER_MAX:
            raise AppendRefused(f"writer {identity.writer} has used up its segment numbers: nothing was written")
        previous = predecessor.hash if predecessor else ZERO_HASH
        data: dict[str, object] = {"prev_hash": previous.hex(), "seals": seals, "reason": reason}
        if predecessor:
            data["predecessor"] = {
                "file": predecessor.path.name,
                "length_bytes": predecessor.end,
                "seq": predecessor.seq,
                "hash": previous.hex(),
            }
        elif identity.continues:
            data["continues"] = list(identity.continues)
        data |= {
            "program": self.program,
            "reader_min": READER_MIN,
            "host": socket.gethostname()[:255] or "unknown",
        }
        folder_path = self.home.journal / identity.writer
        path = folder_path / f"{number:08d}.jsonl"
        tick = predecessor.tick if predecessor else self._highest_tick()
        seq = predecessor.seq + 1 if predecessor else 1
        event = NewEvent.of("segment.opened", new_id(), data)
        line, digest = encode_line(
            event,
            writer=identity.writer,
            time=format_time(now_us()),
            seq=seq,
            tick=tick + 1,
            previous=previous,
        )
        folder = self.disk.open_folder(folder_path)
        try:
            descriptor = self.disk.create_exclusive(path)
            fresh = _Tail(descriptor, path, number, str(_next_path(path)), 0, previous, seq, tick + 1, False)
            try:
                self._write_and_sync(fresh, line)
                self.disk.sync_folder(folder)
            except BaseException:
                self._close_quietly(descriptor)
                raise
        finally:
            self._close_quietly(folder)
        fresh.end, fresh.hash = len(line), digest
        self._tail = fresh

    def _highest_tick(self) -> int:
        """The highest tick of any valid line of any writer in this home; 0 in an empty one."""
        return max((last_tick(self.home, writer) for writer in self.home.writers()), default=0)

    def _raise_tick(self) -> None:
        if self._tail is not None:
            self._tail.tick = max(self._tail.tick, self._highest_tick())

    def _forget(self) -> None:
        if self._tail is not None:
            self._close_quietly(self._tail.descriptor)
        self._tail = None

    def _close_quietly(self, descriptor: int) -> None:
        """Close a file whose content is synced, or given up: nothing that closing tells matters any more."""
        with contextlib.suppress(OSError):
            self.disk.close(descriptor)


def last_tick(home: Home, writer: str) -> int:
    """The tick of a writer's last valid line, by the end of its newest segment where that is clean; 0 without any."""
    paths = home.segments(writer)
    end = read_end(paths[-1]) if paths else None
    if end is not None:
        return int(orjson.loads(end.line)["tick"])
    position = scan_journal(home, writer=writer, locked=True).positions.get(writer)
    return position.tick if position is not None else 0


def _next_path(path: Path) -> Path:
    return path.with_name(f"{int(path.stem) + 1:08d}.jsonl")


def _seal(path: Path, length_bytes: int) -> dict[str, object]:
    """How a segment is sealed at a length: what follows is residue, told by its size and SHA-256."""
    with open(path, "rb") as file:
        file.seek(length_bytes)
        residue = file.read()
    seal: dict[str, object] = {
        "file": path.name,
        "length_bytes": length_bytes,
        "residue_bytes": len(residue),
    }
    if residue:
        seal["residue_sha256"] = hashlib.sha256(residue).hexdigest()
    return seal
