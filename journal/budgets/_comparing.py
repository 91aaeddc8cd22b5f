"""Holding the guard's state to the journal: what its file says, and what a fold from the beginning comes to."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from keledger.journal._disk import Disk
from keledger.journal._home import Home, own_writers
from keledger.journal._reader import Chunk, Position
from keledger.journal._settled import settled

from ._passing import new_fold, read_event_of, scan_for_fold, take_all
from ._policy import read_scope
from ._set_budgets import NewScope
from ._store import FILE_NAME, Rows, Store

TOLD_MAX = 5
"""Differences that are told one by one: the remedy is the same for all."""


def compare_guard(home: Home) -> list[str]:
    """In what the guard's state differs from the journal, up to the line that it has come to; a sentence each.

    Nothing where there is no state, or none that anybody would go on from: it is built anew, then.  Reads only.
    """
    path = home.path / "guard" / FILE_NAME
    with tempfile.TemporaryDirectory(prefix="keledger-guard-") as folder:
        copy = Path(folder) / FILE_NAME
        try:
            _copy(home, path, copy)
            store = Store(copy)
        except (OSError, sqlite3.Error):
            return []
        try:
            return _compare(home, store, Path(folder) / "fresh")
        except (sqlite3.Error, KeyError, TypeError, ValueError):
            return []  # damaged: nobody goes on from it
        finally:
            store.close()


def _copy(home: Home, path: Path, copy: Path) -> None:
    """Copy the state while nobody writes it; with what SQLite needs to take back a write that was cut off."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError, PermissionError):  # a copy of a home has no lock
            stack.enter_context(settled(home, Disk()))
        for suffix in ("", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")


def _compare(home: Home, kept: Store, draft: Path) -> list[str]:
    own = own_writers(home)
    positions = {name: Position(**position) for name, position in kept.meta("positions").items()}
    scan, found = scan_for_fold(home)
    if kept.meta("own_writers") != list(own) or not _stands(positions, scan.positions):
        return []
    scopes = {int(number): read_scope(definition) for number, definition in kept.meta("scopes").items()}
    fresh = new_fold(draft, scopes, own, read_event_of(home), keyed=found.imports, only_new_ids=False)
    try:
        take_all(fresh, list(_up_to(scan.chunks, positions)))
        fresh.store.flush({})
        differences = [*_sums_differ(kept, fresh.store), *_holds_differ(kept, fresh.store)]
        differences += [
            f"its {what} are not those of the journal"
            for what, mine, other in (
                ("places of events", kept.all_places(), fresh.store.all_places()),
                ("voided and shadowed calls", _all(kept.exceptions), _all(fresh.store.exceptions)),
                ("alerts", _all(kept.alerts), _all(fresh.store.alerts)),
            )
            if mine != other
        ]
        if kept.meta("budgets") != fresh.kept()["budgets"]:
            differences.append("the budgets that stand are not those of the journal")
    except NewScope as missing:
        differences = [f"a budget stands in the journal whose scope is not kept: {missing}"]
    finally:
        fresh.store.close()
    more = len(differences) - TOLD_MAX
    return differences[:TOLD_MAX] + ([f"{more} more differences"] if more > 0 else [])


def _all(rows: Rows) -> list[tuple[str, Any]]:
    return sorted(rows.items(), key=lambda row: row[0])


def _stands(kept: Mapping[str, Position], now: Mapping[str, Position]) -> bool:
    """Whether the journal reaches as far as the state: one that is ahead is built anew."""
    return all(
        writer in now and (now[writer].segment, now[writer].offset_bytes) >= (position.segment, position.offset_bytes)
        for writer, position in kept.items()
    )


def _up_to(chunks: list[Chunk], positions: Mapping[str, Position]) -> Iterator[Chunk]:
    """The part of the journal that the state was made of."""
    for chunk in chunks:
        position = positions.get(chunk.writer)
        if position is None or chunk.segment > position.segment:
            continue
        end = min(chunk.end, position.offset_bytes) if chunk.segment == position.segment else chunk.end
        if end > chunk.start:
            yield replace(chunk, end=end)


def _sums_differ(kept: Store, fresh: Store) -> Iterator[str]:
    mine, other = kept.all_sums(), fresh.all_sums()
    for key in sorted(mine.keys() | other.keys()):
        if mine.get(key) != other.get(key):
            yield f"scope {key[0]} {key[1]} from {key[2]}: kept {mine.get(key)}, journaled {other.get(key)}"


def _holds_differ(kept: Store, fresh: Store) -> Iterator[str]:
    mine, other = dict(kept.holds.items()), dict(fresh.holds.items())
    for hold_id in sorted(mine.keys() | other.keys()):
        states = [hold["state"] if hold is not None else "none" for hold in (mine.get(hold_id), other.get(hold_id))]
        if states[0] != states[1]:
            yield f"hold {hold_id}: kept as {states[0]}, journaled as {states[1]}"
