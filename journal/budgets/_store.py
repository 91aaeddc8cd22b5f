"""What the fold of the journal keeps, in one SQLite file behind dicts: sums by window, holds, and where events stand.

A reservation touches a handful of rows of what may be millions, so each is read when it is first asked for and written
in batches.  SQLite, because a file that must be read whole takes 60 ms to open at 100,000 windows (measured), this half
a one.  Every use of the file is under the home's lock, so SQLite's own is never contended; it is taken all the same,
for others may look at the file by other programs, and would play back the journal of a flush that is under way.  The
plain rollback journal is used and not the write-ahead log, in which SQLite up to 3.51.2, which Pythons of today still
link, may skip pages when a checkpoint and a commit meet.  The file is a cache: whatever is wrong with it, it is built
anew.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from keledger.journal._disk import FILE_MODE

from ._database import Database
from ._sizes import History

FORMAT = 1
"""Of the tables below, and of what the fold puts there: another one's file is built anew."""

FILE_NAME = f"budgets-{FORMAT}.sqlite3"

ROWS_KEPT_MAX = 50_000
"""Rows that are kept in memory after they were written: some 30 MB."""

IDS_KEPT_MAX = 10_000
"""Ids that are kept in memory after they were written, so that nobody need look for a younger one: 1 MB."""

ABSENT_MAX = 1_000
"""Ids that are remembered as not seen yet: a call's is asked for three times before its event comes."""

ROWS_READ_AT_ONCE = 200
"""A table of so few rows is read at once, in half a millisecond, and not asked for what it does not have any more."""

MISSES_MAX = 16
"""Windows of a scope that are read one by one, before all of them are read where they are few."""

WINDOWS_READ_AT_ONCE = 1_000
"""So many are read in the time of some forty that are asked for one by one."""

CALLS, LOST, RESOLVED, UNPRICED, ADJUSTMENTS, OPEN = range(6)
"""Places of a window's picodollars in its sums."""

CALL_COUNT, LOST_COUNT, UNPRICED_COUNT, UNKNOWN_COUNT, OPEN_COUNT = range(6, 11)
"""Places of its counts."""

_NOTHING = (0,) * 11

SumsKey = tuple[int, str, int]
"""A scope's number, the values of its group as JSON text, and the slot of :class:`.Windows`."""

Sums = list[int]

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sums (
    scope INTEGER, grp TEXT, slot INTEGER, amounts TEXT NOT NULL, PRIMARY KEY (scope, grp, slot)
) WITHOUT ROWID;
CREATE TABLE place (
    id BLOB PRIMARY KEY, writer INTEGER NOT NULL, segment INTEGER NOT NULL, start INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE hold (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE call_key (key TEXT, id TEXT, rank TEXT NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE exception (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE history (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE alert (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class Place(NamedTuple):
    """Where an event's line begins."""

    writer: str
    segment: int
    start: int


def _as_it_is(value: Any) -> Any:
    return value


class Rows:
    """A table of JSON values by a text key, as a dict that is read row by row."""

    def __init__(
        self,
        database: Database,
        table: str,
        *,
        read: Callable[[Any], Any] = _as_it_is,
        write: Callable[[Any], Any] = _as_it_is,
        read_at_once: bool = True,
    ) -> None:
        """*read* and *write* make what is kept of JSON values, and JSON values of what is kept.  *read_at_once* says
        that rows are short, so that a table of few is read whole."""
        self._database, self._table, self._read, self._as_json = database, table, read, write
        self._kept: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._has_all: bool | None = None if read_at_once else False
        """Whether everything that is stored is kept, as is so of a small table: what is not kept is not there, then."""

    def get(self, key: str) -> Any:
        """The value under a key; None where there is none."""
        try:
            return self._kept[key]
        except KeyError:
            if self._has_all is None:
                self._keep_all()
                return self.get(key)
            if self._has_all:
                return None
            found = self._database.one(f"SELECT value FROM {self._table} WHERE key = ?", (key,))
            value = self._kept[key] = self._read(_loaded(found[0])) if found is not None else None
            return value

    def _keep_all(self) -> None:
        rows = self._database.all(f"SELECT key, value FROM {self._table} LIMIT {ROWS_READ_AT_ONCE + 1}")
        self._has_all = len(rows) <= ROWS_READ_AT_ONCE
        if self._has_all:
            for key, value in rows:
                if key not in self._changed:
                    self._kept[key] = self._read(_loaded(value))

    def put(self, key: str, value: Any) -> None:
        """Set the value under a key; None takes it out.  Money in it is text: JSON's numbers end at 2^63."""
        self._kept[key] = value
        self._changed.add(key)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Everything, in no order."""
        for key, value in self._database.all(f"SELECT key, value FROM {self._table}"):
            if key not in self._changed:
                yield key, self._read(_loaded(value))
        yield from [(key, self._kept[key]) for key in sorted(self._changed) if self._kept[key] is not None]

    def flush(self) -> None:
        """Write what has changed."""
        gone = [(key,) for key in self._changed if self._kept[key] is None]
        new = [
            (key, orjson.dumps(self._as_json(self._kept[key]))) for key in self._changed if self._kept[key] is not None
        ]
        if gone:
            self._database.many(f"DELETE FROM {self._table} WHERE key = ?", gone)
        if new:
            self._database.many(f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?)", new)
        self._changed.clear()
        for (key,) in gone:
            del self._kept[key]
        if len(self._kept) > ROWS_KEPT_MAX:
            self._kept.clear()
            self._has_all = False


class IdsRepeat(Exception):
    """An event came twice, and was not looked for."""


class Store:
    """The rows of one file.  Raises sqlite3.Error where it is damaged, missing or of another format."""

    def __init__(self, path: Path | None, *, new: bool = False, only_new_ids: bool = False) -> None:
        """Without a path, an empty one that is never written.

        *only_new_ids*: no event comes twice, as is nearly always so; writing raises IdsRepeat where one did."""
        if new and path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        self.path = path if path is not None else Path(":memory:")
        self._database = Database(path)
        try:
            if new or path is None:
                # Nobody knows the name yet: whoever dies here leaves a file that is never opened.
                self._database.run("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;" + _TABLES)
            else:
                self._database.run("PRAGMA journal_mode=PERSIST; PRAGMA synchronous=FULL; PRAGMA mmap_size=0")
            self.holds = Rows(self._database, "hold", read=_with_keys)
            self.exceptions = Rows(self._database, "exception")
            self.histories = Rows(
                self._database, "history", read=History, write=lambda history: history.rows, read_at_once=False
            )
            self.alerts = Rows(self._database, "alert")
            self._sums: dict[SumsKey, Sums] = {}
            self._changed: set[SumsKey] = set()
            self._misses: dict[int, int] = {}
            self._whole: set[int] = set()
            """Scopes of which all windows are kept: one that is not was never counted in."""
            self._slots: dict[tuple[int, str], dict[int, Sums]] = {}
            self._running: dict[tuple[int, str], tuple[int, int, Sums]] = {}
            self._rolling: set[int] = set()
            """The scopes of which sums over several slots are kept in ``_running``."""
            self._places: dict[str, Place] = {}
            self._absent: set[str] = set()
            self._newest = ""
            """When the newest id was made of those that say it."""
            self._newest_not_kept = ""
            """The same of the ids that are not in ``_kept_ids``: an id that is newer is there, or was not seen."""
            self._kept_ids: set[str] = set()
            self._keys: dict[str, list[tuple[str, str]]] = {}
            self._writers: list[str] = []
            self.is_new = new or path is None
            """Whether it is being made: then what was never there may yet come."""
            self._only_new_ids = only_new_ids
            if not new and path is not None:
                self._writers, self._newest = self.meta("writers"), self.meta("newest")
                self._newest_not_kept = self._newest
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        self._database.close()

    def meta(self, name: str) -> Any:
        """What was written with the last flush under a name of its own."""
        found = self._database.one("SELECT value FROM meta WHERE key = ?", (name,))
        if found is None:
            raise sqlite3.DatabaseError(f"{self.path} has no {name}")
        return orjson.loads(found[0])

    def add(self, keys: Sequence[SumsKey], amounts: Sequence[tuple[int, int]]) -> None:
        """Add amounts, each with its place, to the sums of several windows."""
        for key in keys:
            sums = self._sums.get(key)
            if sums is None:
                sums = self.sums(key)
            for index, amount in amounts:
                sums[index] += amount
            if key[0] in self._rolling:
                self._add_running(key, amounts)
        self._changed.update(keys)

    def _add_running(self, key: SumsKey, amounts: Sequence[tuple[int, int]]) -> None:
        running = self._running.get(key[:2])
        if running is not None and running[0] <= key[2] < running[1]:
            for index, amount in amounts:
                running[2][index] += amount

    def sums(self, key: SumsKey) -> Sums:
        """The sums of a window, not to be changed; zeros where nothing was counted in it."""
        try:
            return self._sums[key]
        except KeyError:
            sums = self._sums[key] = self._stored_sums(key)
            slots = self._slots.get(key[:2])
            if slots is not None:
                slots[key[2]] = sums
            return sums

    def _stored_sums(self, key: SumsKey) -> Sums:
        scope = key[0]
        if scope not in self._whole:
            misses = self._misses[scope] = self._misses.get(scope, 0) + 1
            if misses == MISSES_MAX:
                self._keep_whole(scope)
        if scope in self._whole:
            return self._sums.get(key) or list(_NOTHING)
        found = self._database.one("SELECT amounts FROM sums WHERE scope = ? AND grp = ? AND slot = ?", key)
        return _parse(found[0]) if found is not None else list(_NOTHING)

    def _keep_whole(self, scope: int) -> None:
        """Keep all windows of a scope, if they are few."""
        query = f"SELECT grp, slot, amounts FROM sums WHERE scope = ? LIMIT {WINDOWS_READ_AT_ONCE + 1}"
        rows = self._database.all(query, (scope,))
        if len(rows) > WINDOWS_READ_AT_ONCE:
            return
        for group, slot, amounts in rows:
            if (scope, group, slot) not in self._sums:
                self._sums[scope, group, slot] = sums = _parse(amounts)
                slots = self._slots.get((scope, group))
                if slots is not None:
                    slots[slot] = sums
        self._whole.add(scope)

    def sums_between(self, scope: int, group: str, start: int, end: int) -> Sums:
        """The sums over the slots in ``[start, end)`` of a group, not to be changed."""
        running = self._running.get((scope, group))
        if running is None or running[:2] != (start, end):
            slots = self._slots.get((scope, group))
            if slots is None:
                slots = self._slots[scope, group] = dict(self._stored_slots(scope, group))
            within = [sums for slot, sums in slots.items() if start <= slot < end]
            running = (start, end, [sum(column) for column in zip(_NOTHING, *within, strict=True)])
            self._running[scope, group] = running
            self._rolling.add(scope)
        return running[2]

    def slots_of(self, scope: int, group: str) -> list[tuple[int, Sums]]:
        """Every slot of a group, and its sums."""
        return list(self._stored_slots(scope, group))

    def _stored_slots(self, scope: int, group: str) -> Iterator[tuple[int, Sums]]:
        rows = self._database.all("SELECT slot FROM sums WHERE scope = ? AND grp = ?", (scope, group))
        slots = {slot for (slot,) in rows} | {key[2] for key in self._sums if key[:2] == (scope, group)}
        for slot in slots:
            yield slot, self.sums((scope, group, slot))

    def windows(self, scope: int) -> list[tuple[str, int, Sums]]:
        """Group, slot and sums of everything that was counted for a scope."""
        stored = self._database.all("SELECT grp, slot, amounts FROM sums WHERE scope = ?", (scope,))
        found = {(group, slot): _parse(amounts) for group, slot, amounts in stored}
        found.update((key[1:], sums) for key, sums in self._sums.items() if key[0] == scope)
        return [(group, slot, sums) for (group, slot), sums in sorted(found.items()) if any(sums)]

    def all_sums(self) -> dict[SumsKey, Sums]:
        """The sums of every window of which anything was counted."""
        rows = self._database.all("SELECT scope, grp, slot, amounts FROM sums")
        found = {(scope, group, slot): _parse(amounts) for scope, group, slot, amounts in rows}
        return {key: sums for key, sums in {**found, **self._sums}.items() if any(sums)}

    def all_places(self) -> str:
        """SHA-256 over the places of all events that were written, and the keys of calls, by id."""
        hashed = hashlib.sha256()
        for event_id, writer, segment, start in self._database.each("SELECT * FROM place ORDER BY id"):
            hashed.update(b"%b %b %d %d\n" % (event_id, self._writers[writer].encode(), segment, start))
        for row in self._database.each("SELECT key, id, rank FROM call_key ORDER BY key, id"):
            hashed.update("\n".join(row).encode())
        return hashed.hexdigest()

    def place(self, event_id: str) -> Place | None:
        """Where the copy of an event stands that counts; None for one that was not seen."""
        place = self._places.get(event_id)
        if place is None:
            query = "SELECT writer, segment, start FROM place WHERE id = ?"
            found = self._database.one(query, (_bytes(event_id),))
            if found is not None:
                place = Place(self._writers[found[0]], found[1], found[2])
        return place

    def knows(self, event_id: str) -> bool:
        """Whether an event was taken before."""
        if event_id in self._kept_ids:
            return True
        if self._only_new_ids or event_id in self._absent or _made_at(event_id) > self._newest_not_kept:
            return False
        if self.place(event_id) is not None:
            return True
        if len(self._absent) >= ABSENT_MAX:
            self._absent.clear()
        self._absent.add(event_id)
        return False

    def put_place(self, event_id: str, place: Place) -> None:
        """Remember where an event stands."""
        self._places[event_id] = place
        self._kept_ids.add(event_id)
        self._absent.discard(event_id)
        made_at = _made_at(event_id)
        if made_at > self._newest:
            self._newest = made_at

    def ids_under(self, call_key: str) -> list[tuple[str, str]]:
        """Rank and id of the calls that have a key."""
        rows = self._database.all("SELECT rank, id FROM call_key WHERE key = ?", (call_key,))
        return [*rows, *self._keys.get(call_key, ())]

    def put_call_key(self, call_key: str, event_id: str, rank: str) -> None:
        """Remember that a call has a key."""
        self._keys.setdefault(call_key, []).append((rank, event_id))

    def flush(self, meta: dict[str, Any]) -> None:
        """Write everything that has changed, and *meta*, in one transaction."""
        before_ns = os.stat(self.path).st_mtime_ns
        if not self.is_new:
            self._database.run("BEGIN IMMEDIATE")
        try:
            self._write(meta)
            self._database.run("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.run("ROLLBACK")
            raise
        if self.is_new:
            self._database.run("BEGIN")
            return
        # The kernel's own stamp has grains of 4 ms, and the clock may stand still: two states never have one stamp.
        now_ns = max(time.time_ns(), before_ns + 1)
        os.utime(self.path, ns=(now_ns, now_ns))

    def finish(self) -> None:
        """Bring a new file to stable storage, after its last flush, before it gets its name."""
        self._database.run("COMMIT")
        self._database.close()
        self._only_new_ids = False
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget_kept(self) -> None:
        """Keep nothing in memory that was written: for a fold of very many windows."""
        if len(self._sums) > ROWS_KEPT_MAX:
            self._sums.clear()
            self._misses.clear()
            self._whole.clear()
            self._slots.clear()
            self._running.clear()

    @property
    def changed_rows(self) -> int:
        """How many rows wait to be written."""
        return len(self._changed) + len(self._places)

    def _write(self, meta: dict[str, Any]) -> None:
        rows = [(*key, ",".join(map(str, self._sums[key]))) for key in self._changed]
        self._database.many("INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?)", rows)
        self._changed.clear()
        for place in self._places.values():
            if place.writer not in self._writers:
                self._writers.append(place.writer)
        numbers = {writer: number for number, writer in enumerate(self._writers)}
        places = [
            (_bytes(event_id), numbers[place.writer], place.segment, place.start)
            for event_id, place in self._places.items()
        ]
        written = self._database.many("INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?)", places)
        if written < len(places) and self._only_new_ids:
            raise IdsRepeat
        self._places.clear()
        if len(self._kept_ids) > IDS_KEPT_MAX:
            self._kept_ids.clear()
            self._newest_not_kept = self._newest
        keys = [(key, event_id, rank) for key, calls in self._keys.items() for rank, event_id in calls]
        self._database.many("INSERT OR REPLACE INTO call_key VALUES (?, ?, ?)", keys)
        self._keys.clear()
        for table in (self.holds, self.exceptions, self.histories, self.alerts):
            table.flush()
        values = [
            (name, orjson.dumps(value))
            for name, value in {**meta, "writers": self._writers, "newest": self._newest}.items()
        ]
        self._database.many("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
        self.forget_kept()


def _loaded(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"a row is damaged: {error}") from error


def _with_keys(hold: Any) -> Any:
    """A hold with the keys of its windows as they are asked for: JSON has no tuples."""
    try:
        hold["keys"] = [tuple(key) for key in hold["keys"]]
    except (KeyError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a row is damaged: {error}") from error
    return hold


def _parse(amounts: str) -> Sums:
    try:
        return [int(amount) for amount in amounts.split(",")]
    except (ValueError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"a row is damaged: {error}") from error


def _made_at(event_id: str) -> str:
    """When an id was made, as text that sorts by it (a UUIDv7's milliseconds, RFC 9562); empty where it says not."""
    return event_id[:13] if event_id[14] == "7" else ""


def _bytes(event_id: str) -> bytes:
    return bytes.fromhex(event_id.replace("-", ""))
