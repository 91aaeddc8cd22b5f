"""What ``doctor`` sees of the journal without reading it through: whose it is, its newest events, its prices."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from ._adoption import adopted_book
from ._check import Check, note, ok, problem
from ._disk import Disk
from ._errors import HomeError
from ._home import Home, own_writers, read_writer
from ._reader import release_key
from ._segment import read_head
from ._time import format_time, now_us
from ._validate import writes
from .prices import PriceStore, shipped_manifest

RECENT_BYTES = 1024 * 1024
"""So much of each writer's end is looked at: some thousand events, in a few milliseconds."""

PRICES_AGE_DAYS = 90
"""Providers change a price or bring a model every few weeks; after three months calls begin to lack prices."""

_EVENT = re.compile(
    rb'^\{"specversion":"1\.0","id":"[^"]{36}","source":"/keledger/[0-9a-f]{16}",'
    rb'"type":"([^"\\]{1,64})","v":(\d{1,10}),"time":"([0-9TZ:.-]{27})"',
    re.MULTILINE,
)


def is_plain_file(path: Path) -> bool:
    """Whether there is a plain file: what else might stand there could keep whoever opens it waiting."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def check_writer(home: Home) -> Iterator[Check]:
    """Whether writer.json is of this machine and place, who went before, and whether their files are there."""
    path = home.path / "writer.json"
    if not os.path.lexists(path):
        yield _no_writer(home, path)
    elif not is_plain_file(path):
        yield problem("writer", f"{path} is not a plain file", "move it away to begin a new writer")
    else:
        yield from _named_writers(home, own_writers(home))
    empty = [writer for writer in home.writers() if not home.segments(writer) and not home.strangers(writer)]
    if empty:
        # A process may have died, or found the disk full, between making a folder and its first line.
        yield note(
            "writer",
            f"{home.journal} has no file of {', '.join(empty)}, whose folder is there",
            "where that writer has recorded anything, restore its folder from a backup",
        )


def _no_writer(home: Home, path: Path) -> Check:
    if home.writers():
        return note("writer", f"{path} is missing", "the next append begins a writer that continues none of these")
    if home.prices.is_dir() and any(home.prices.iterdir()):
        return note(
            "writer",
            f"there is no writer, though {home.prices} has price files",  # a merge that died may have left them alone
            "where anything was recorded here, restore the home from a backup",
        )
    return ok("writer", "there is no writer yet; the first append begins one")


def _named_writers(home: Home, own: Sequence[str]) -> Iterator[Check]:
    """The writers that writer.json names, the present one last.  Its folder was made before it was named."""
    missing = [writer for writer in own if not (home.journal / writer).is_dir()]
    if own[-1] in missing:
        what = f"{home.journal} has no folder" if home.journal.is_dir() else f"there is no folder {home.journal}"
        yield problem(
            "writer",
            f"{what}, where writer.json says that {', '.join(missing)} wrote",
            "restore it from a backup; without it the next append begins a new writer",
        )
        return
    if read_writer(home) is None:
        yield note(
            "writer",
            f"writer {own[-1]} began on another machine or at another place",
            "the next append here begins a new writer that continues it; of two copies go on with one",
        )
    else:
        continued = f", which continues {own[-2]}" if len(own) > 1 else ""
        yield ok("writer", f"writer {own[-1]}{continued} is of this machine and place")
    if missing:
        yield note(
            "writer",
            f"{home.journal} has no folder of {', '.join(missing)}",
            "where that writer has recorded anything, restore its folder from a backup",
        )


class Recent(NamedTuple):
    """What the ends of the writers' newest segments hold."""

    newest_of_own: str
    """The latest time of writing that an own writer states; empty without any."""
    unread: Counter[str]
    """Events that this release does not read, by ``<type> v<version>``."""


def look_at_ends(home: Home) -> Recent:
    """Look at the last ``RECENT_BYTES`` of every writer; hashes are not checked."""
    own = own_writers(home) if is_plain_file(home.path / "writer.json") else ()
    newest, unread = "", Counter[str]()
    for writer in home.writers():
        for path in home.segments(writer)[-1:]:
            for event_type, version, time in _EVENT.findall(_end_of(path)):
                name = event_type.decode("ascii", "replace")
                if version != b"1" or not writes(name):
                    unread[f"{name} v{version.decode()}"] += 1
                if writer in own:
                    newest = max(newest, time.decode())
    return Recent(newest, unread)


def _end_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - RECENT_BYTES))
        return file.read(RECENT_BYTES)


def check_events(home: Home, unread: Mapping[str, int]) -> Iterator[Check]:
    """Whether this release reads all that is in the journal, as far as the projections and the newest events tell.

    *unread* is what the projections hold; the newest events may be among it, so the larger count is told.
    """
    found = dict(look_at_ends(home).unread)
    for name, count in unread.items():
        found[name] = max(found.get(name, 0), count)
    wanted = _reader_wanted(home)
    upgrade = f"upgrade keledger to {wanted} or later" if wanted else "upgrade keledger"
    if found:
        kinds = ", ".join(f"{name} ({count:,} or more)" for name, count in sorted(found.items()))
        yield note("events", f"events are kept that this release does not read, {kinds}", upgrade)
    elif wanted:
        yield note("events", f"a segment says that keledger {wanted} is needed to read it", upgrade)
    else:
        yield ok("events", "the newest events are all of kinds that this release reads")


def _reader_wanted(home: Home) -> str | None:
    """The highest release that a segment asks of its readers, where that is above this one."""
    import keledger

    wanted = [
        str(head.event["data"].get("reader_min", ""))
        for writer in home.writers()
        for path in home.segments(writer)
        if (head := read_head(path)) is not None
    ]
    highest = max(filter(None, wanted), key=release_key, default="")
    return highest if highest and release_key(highest) > release_key(keledger.__version__) else None


def version_key(version: str) -> tuple[int, ...]:
    """The numbers of a release, for comparison: ``2.14.3`` is above ``2.9``."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


class _NoChange(Disk):
    """A disk on which nothing is made: the search for the adopted book may keep what it found, but not from here."""

    def make_folder(self, path: Path) -> bool:
        raise PermissionError(f"{path} is not made by a command that only looks")


def check_prices(home: Home) -> Iterator[Check]:
    """Whether the adopted price book is there and whole, and how old its prices are."""
    shipped = shipped_manifest()
    cache = home.path / "guard" / "adopted.json"
    if os.path.lexists(cache) and not is_plain_file(cache):
        yield problem("prices", f"{cache} is not a plain file", "move it away, it is a cache")
        return
    adopted = adopted_book(home, _NoChange()) if is_plain_file(home.path / "writer.json") else None
    if adopted is None:
        yield ok("prices", f"no price book is adopted yet; the first event adopts the list of {shipped.list_date}")
        return
    store = PriceStore(home.prices)
    _read_price_file(home, store, adopted)
    manifest = store.load_manifest(adopted)
    for sha256 in manifest.files:
        _read_price_file(home, store, sha256)
    listed = manifest.list_date
    message = f"price book {adopted[:12]} is whole"
    if not listed:
        yield ok("prices", f"{message} and holds no list")
    elif shipped.list_date > listed:
        yield note(
            "prices", f"{message}; its list is of {listed}", f"the next append adopts that of {shipped.list_date}"
        )
    else:
        yield _age(message, listed)


def _read_price_file(home: Home, store: PriceStore, sha256: str) -> None:
    """Read one file, its hash checked.  Raises KeledgerError that says what to do."""
    path = home.prices / sha256
    if os.path.lexists(path) and not is_plain_file(path):
        raise HomeError(f"{path} is not a plain file: restore it from a backup")
    store.read(sha256)


def _age(message: str, listed: str) -> Check:
    age_days = (date.fromisoformat(format_time(now_us())[:10]) - date.fromisoformat(listed)).days
    message = f"{message}; its list is of {listed}, {age_days:,} {'day' if age_days == 1 else 'days'} old"
    if age_days > PRICES_AGE_DAYS:
        return note("prices", message, "a newer keledger brings a newer list, which the next append adopts")
    return ok("prices", message)
