"""Make a journal of any size from a seed: ``python -m bench.generate HOME --calls 1000000 --seed 1``.

The journal is what an appender would have written over a year: valid by ``keledger verify``, priced by the shipped
book, in segments that seal each other.  The same seed gives the same bytes under ``journal/`` and ``prices/``, on
any machine.  A home that is there already is written on, so that large journals can be made in parts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from keledger.journal import Home
from keledger.journal._home import machine_id, read_writer
from keledger.journal._identity import input_sha256
from keledger.journal._limits import SEGMENT_BYTES_MAX
from keledger.journal._line import ZERO_HASH, NewEvent, encode_line
from keledger.journal._segment import read_end
from keledger.journal._time import format_time
from keledger.journal._validate import check_data
from keledger.journal.prices import BookManifest, PriceStore, shipped_book

from ._forms import OS_USER, Call, Day
from ._world import FIRST_DAY, calls_of_days, new_uuid

PROCESSES = 2
"""Days are made in this many processes; one more chains and writes the lines."""

INLINE_CALLS_MAX = 20_000
"""So few are made in this process: starting others would take longer."""

DAYS_AHEAD = 8
"""Days made ahead of what is written: bounds the memory at a few ten thousand calls."""


BUFFER_BYTES = 1 << 20

READER_MIN = "0.1.0"
"""The oldest release that reads what is written here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make.  *lean* calls have neither ``usage_raw`` nor what a client tells: 1.1 kB a line instead of 1.9."""

    calls: int
    seed: int = 1
    lean: bool = False


def generate(folder: str | os.PathLike[str], plan: Plan) -> Home:
    """Write the calls of *plan* into the home at *folder*, which is made where it is missing."""
    home = Home.at(folder)
    draw = random.Random(f"keledger bench {plan.seed}")
    book = _keep_shipped_book(home)
    with _Writer(home, draw) as writer:
        if writer.is_new:
            writer.write(_midnight_us(0), _adopted(home, book, draw))
        for calls in _days(home, book, plan):
            for call in calls:
                writer.write(call.ends_us, call.event)
    return home


def _midnight_us(day: int) -> int:
    midnight = datetime.combine(FIRST_DAY + timedelta(days=day), datetime.min.time(), UTC)
    return int(midnight.timestamp()) * 1_000_000


def _days(home: Home, book: str, plan: Plan) -> Iterator[list[Call]]:
    """The calls of each day, in order."""
    tasks = [(plan, day, count) for day, count in enumerate(calls_of_days(plan.calls)) if count]
    if plan.calls <= INLINE_CALLS_MAX:
        _start_worker(home.prices, book)
        yield from (_one_day(*task) for task in tasks)
        return
    with ProcessPoolExecutor(PROCESSES, initializer=_start_worker, initargs=(home.prices, book)) as pool:
        ahead: deque[Future[list[Call]]] = deque()
        for task in tasks:
            ahead.append(pool.submit(_one_day, *task))
            if len(ahead) > DAYS_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


_store: PriceStore
_book: str


def _start_worker(prices: Path, book: str) -> None:
    global _store, _book
    _store, _book = PriceStore(prices), book


def _one_day(plan: Plan, day: int, count: int) -> list[Call]:
    draw = random.Random(f"keledger bench {plan.seed} day {day}")
    return Day(draw, _midnight_us(day), _store.load_book(_book), lean=plan.lean).calls(count)


def _keep_shipped_book(home: Home) -> str:
    """Put the shipped book's files into the home; returns the book's SHA-256."""
    for folder in (home.path, home.journal, home.prices):
        folder.mkdir(mode=0o700, parents=folder == home.path, exist_ok=True)
    manifest, files = shipped_book()
    book = hashlib.sha256(manifest).hexdigest()
    for name, content in {book: manifest, **files}.items():
        (home.prices / name).write_bytes(content)
    return book


def _adopted(home: Home, book: str, draw: random.Random) -> NewEvent:
    manifest = BookManifest.parse((home.prices / book).read_bytes(), book)
    fields = {
        "book": book,
        "layers": [layer._asdict() for layer in manifest.layers],
        "names": manifest.names,
        "reason": "the list that comes with the program",
    }
    data = {"input_sha256": input_sha256("prices.adopted", fields), **fields, "actor": OS_USER}
    check_data("prices.adopted", data)
    return NewEvent.of("prices.adopted", new_uuid(draw, _midnight_us(0)), data)


class _Writer:
    """Chains lines and writes them as an appender does, but syncs once, at the end."""

    def __init__(self, home: Home, draw: random.Random) -> None:
        self._draw = draw
        identity = read_writer(home)
        self.is_new = identity is None
        self._name = identity.writer if identity else f"{draw.getrandbits(64):016x}"
        self._folder = home.journal / self._name
        self._hash, self._seq, self._number, self._size_bytes = ZERO_HASH, 0, 0, 0
        self._file: BinaryIO | None = None
        if identity is None:
            self._folder.mkdir(mode=0o700)
            content = {
                "writer": self._name,
                "machine": machine_id(),
                "home": os.path.realpath(home.path),
                "continues": [],
            }
            (home.path / "writer.json").write_text(json.dumps(content, indent=1) + "\n")
        else:
            self._go_on(home.segments(self._name)[-1])

    def _go_on(self, path: Path) -> None:
        end = read_end(path)
        if end is None:
            raise SystemExit(f"{path} does not end in a whole line: give another home")
        self._hash, self._seq = end.hash, orjson.loads(end.line)["seq"]
        self._number, self._size_bytes = int(path.stem), end.size_bytes
        self._file = path.open("ab", buffering=BUFFER_BYTES)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        os.sync()

    def write(self, at_us: int, event: NewEvent) -> None:
        """Write one event, in the next segment where this one is full."""
        if self._file is None:
            self._open_next(at_us)
        line, digest = self._encode(at_us, event)
        if self._size_bytes + len(line) > SEGMENT_BYTES_MAX:
            self._open_next(at_us)
            line, digest = self._encode(at_us, event)
        self._put(line, digest)

    def _encode(self, at_us: int, event: NewEvent) -> tuple[bytes, bytes]:
        seq = self._seq + 1
        time = format_time(at_us)
        # Nobody else writes here, so a tick is the seq.
        return encode_line(event, writer=self._name, time=time, seq=seq, tick=seq, previous=self._hash)

    def _put(self, line: bytes, digest: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._hash = digest
        self._seq += 1
        self._size_bytes += len(line)

    def _open_next(self, at_us: int) -> None:
        data: dict[str, Any] = {"prev_hash": self._hash.hex(), "seals": [], "reason": "first"}
        if self._file is not None:
            self._file.close()
            left = {"file": f"{self._number:08d}.jsonl", "length_bytes": self._size_bytes}
            data["reason"] = "full"
            data["seals"] = [{**left, "residue_bytes": 0}]
            data["predecessor"] = {**left, "seq": self._seq, "hash": self._hash.hex()}
        data |= {"program": "keledger bench", "reader_min": READER_MIN, "host": "bench"}
        check_data("segment.opened", data)
        self._number, self._size_bytes = self._number + 1, 0
        descriptor = os.open(self._folder / f"{self._number:08d}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=BUFFER_BYTES)
        self._put(*self._encode(at_us, NewEvent.of("segment.opened", new_uuid(self._draw, at_us), data)))


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.generate",
        description="Make a journal of any size from a seed, valid and priced by the shipped book.",
    )
    parser.add_argument("home", metavar="HOME", help="the home to make, or to write on")
    parser.add_argument("--calls", type=int, default=1_000_000, metavar="N", help="how many calls (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what the calls follow from (default: 1)")
    parser.add_argument(
        "--lean", action="store_true", help="calls as short as they can be: 1.1 kB a line instead of 1.9"
    )
    chosen = parser.parse_args(arguments)
    begun = time.perf_counter()
    home = generate(chosen.home, Plan(chosen.calls, chosen.seed, chosen.lean))
    taken_s = time.perf_counter() - begun
    size_bytes = sum(path.stat().st_size for writer in home.writers() for path in home.segments(writer))
    print(f"{home.path}: {chosen.calls:,} calls in {taken_s:.1f} s; the journal has {size_bytes / 1e6:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
