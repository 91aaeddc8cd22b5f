"""``verify``: every line of every writer held to all that this release knows of it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._anchor import Anchor
from ._disk import Disk
from ._errors import HomeError, UsageError
from ._home import Home, own_writers
from ._line import ZERO_HASH
from ._reader import Chunk, read_bounds, scan_journal
from ._segment import Finding, SegmentScan
from ._spool import Spool
from ._verify_conflicts import conflicts
from ._verify_prices import check_prices
from ._verify_promised import Promised, PromisedLines
from ._verify_segment import DEPTHS, Depth, SegmentCheck, check_segment, in_order, line_finding
from ._verify_workers import Task, check_in_workers, worker_count


@dataclass(slots=True)
class Verified:
    """What ``verify`` looked at and found."""

    depth: Depth = "content"
    lines: int = 0
    writers: dict[str, int] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    """Events of types or versions that this release cannot read; they are kept."""
    books: int = 0
    anchors: list[tuple[str, bool]] = field(default_factory=list)
    """Each anchor that was given, by its name, and whether all that it names still stands."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong; notes do not count."""
        return any(finding.damage for finding in self.findings)


def verify(
    home: Home,
    *,
    depth: Depth = "content",
    anchors: Sequence[Anchor] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check chain, sequence, order, content, conflicts and price files of a home, and hold it to anchors.  Reads only.

    *depth* is ``chain``, ``events`` or ``content``, each looking at more of a line than the one before.  *workers* is
    the number of processes (by default as many as pay for a journal of this size; 0 checks everything in this one);
    findings and their order do not depend on it.  *on_progress* is told bytes done and bytes in all.  Raises HomeError
    where the home cannot be read, UsageError for an anchor that was taken of another home.
    """
    if depth not in DEPTHS:
        raise UsageError(f"there is no depth {depth!r}: choose {', '.join(DEPTHS)}")
    home.check()
    _refuse_foreign(home, anchors)
    result = Verified(depth)
    journal = _Pass(home, depth, on_progress)
    journal.prefetch(workers)
    scan = scan_journal(home, read=journal.read, skip_unreadable=True)
    result.lines = scan.lines
    result.writers = {writer: position.seq for writer, position in scan.positions.items()}
    journal.settle(scan.chunks)
    result.findings += scan.findings
    for check in journal.checks:
        result.types.update(check.types)
        result.unknown += check.unknown
    result.findings += conflicts(journal.checks)
    promised = PromisedLines(home, journal.checks, scan.positions)
    merged = journal.merged()
    result.findings += promised.findings(merged, promised.hashes(merged))
    for anchor in anchors:
        broken = _held_to(home, anchor, promised)
        result.anchors.append((anchor.name, not broken))
        result.findings += broken
    result.books, wrong = check_prices(home, journal.books())
    result.findings += [*wrong, *_spooled(home), *_guard(home, depth)]
    journal.done()
    return result


def _refuse_foreign(home: Home, anchors: Sequence[Anchor]) -> None:
    known = set(home.writers())
    with contextlib.suppress(HomeError):  # writer.json is damaged: then the writers' folders must do
        known.update(own_writers(home))
    for anchor in anchors:
        if known.isdisjoint(line.writer for line in anchor.lines):
            raise UsageError(f"{anchor.name} names no writer of {home.path}: it was taken of another home")


def _held_to(home: Home, anchor: Anchor, promised: PromisedLines) -> list[Finding]:
    """What of an anchor does not stand any more."""
    promises = [Promised(line.writer, line.seq, line.hash, anchor.name) for line in anchor.lines]
    hashes = promised.hashes(promises)
    broken = promised.findings(promises, hashes)
    if not broken and not anchor.fits(hashes):
        message = (
            f"{anchor.name} does not fit the hashes of the lines that it names: at least one of them was rewritten, "
            "though all are here"
        )
        broken.append(Finding("anchor_differs", str(home.journal), message))
    if len(promises) > 1 and all(promised.is_behind(promise, hashes) for promise in promises):
        message = f"every writer that {anchor.name} names ends before: {home.path} is an older copy of the home"
        broken.append(Finding("home_rolled_back", str(home.path), message))
    return broken


def _spooled(home: Home) -> list[Finding]:
    spool, folder = Spool(home, Disk()), str(home.spool)
    found = []
    if spool.is_open():
        message = f"{folder} can be written by others, so nothing in it is believed: look at it, then chmod 700"
        found.append(Finding("spool_open", folder, message))
    waiting = sum(1 for _ in spool.waiting())
    if waiting:
        message = f"{waiting} calls wait in {folder}: the next append brings them in"
        found.append(Finding("spool_waiting", folder, message, damage=False))
    return found


def _guard(home: Home, depth: Depth) -> list[Finding]:
    """Whether the budgets' sums are what the journal comes to, where any are kept."""
    folder = home.path / "guard"
    if depth == "chain" or not folder.is_dir():
        return []
    from .budgets._comparing import compare_guard  # SQLite, which a home without budgets need not load

    remedy = "delete that folder, it is made anew; no call was counted wrongly in any report"
    return [
        Finding("guard_differs", str(folder), f"{folder} does not say what the journal does: {difference}; {remedy}")
        for difference in compare_guard(home)
    ]


class _Pass:
    """One pass over all segments: each is checked, by a worker or here, then joined to the one below."""

    def __init__(self, home: Home, depth: Depth, on_progress: Callable[[int, int], None] | None) -> None:
        self._home, self._depth = home, depth
        self.checks: list[SegmentCheck] = []
        self._prefetched: dict[Path, SegmentCheck] = {}
        self._progress = _Progress(on_progress)
        self._writer = ""
        self._last_hash = ZERO_HASH
        self._next_seq: int | None = 1
        self._last_tick = 0

    def prefetch(self, workers: int | None) -> None:
        """Have workers check what can be checked by itself: segments whose first line states the hash before it."""
        tasks: list[Task] = []
        try:
            for writer in self._home.writers():
                paths = {int(path.stem): path for path in self._home.segments(writer)}
                heads, seals = read_bounds(paths, {})  # what cannot be read is told in its turn
                for number, path in paths.items():
                    self._progress.expect(path, path.stat().st_size)
                    head = heads[number]
                    if head is not None:
                        tasks.append(Task(path, head.prev_hash, seals.get(number)))
        except OSError as error:
            raise HomeError(f"cannot read {error.filename or self._home.journal}: {error.strerror}") from error
        count = worker_count(len(tasks), self._progress.total) if workers is None else workers
        if count:
            self._prefetched = check_in_workers(tasks, self._depth, count, self._progress.tell)

    def read(
        self, path: Path, previous: bytes, *, start: int = 0, length: int | None = None, first_line: int = 1
    ) -> SegmentScan:
        """Check a segment in its turn.  A worker's check stands if it began and ended as is asked for now."""
        check = self._prefetched.pop(path, None)
        if check is None or start or (check.previous, check.length) != (previous, length):
            check = check_segment(
                path,
                previous,
                depth=self._depth,
                start=start,
                length=length,
                first_line=first_line,
                on_bytes=lambda done: self._progress.tell(path, done),
            )
            self._progress.tell(path, check.scan.end)
        self._join(check)
        self.checks.append(check)
        return check.scan

    def settle(self, chunks: Sequence[Chunk]) -> None:
        """Forget lines that turned out to be sealed off, for only the segment above told it."""
        runs: dict[Path, list[tuple[int, int]]] = {}
        for chunk in chunks:
            if chunk.end > chunk.start:
                runs.setdefault(chunk.path, []).append((chunk.start, chunk.end))
        for number, check in enumerate(self.checks):
            left = runs.get(check.path, [])
            if left != check.scan.runs:
                end = left[-1][1] if left else 0
                self.checks[number] = check_segment(check.path, check.previous, depth=self._depth, length=end)

    def merged(self) -> list[Promised]:
        """The positions that merges and reprices name."""
        return [
            Promised(position["writer"], position["seq"], position["hash"], f"{check.path} (byte {offset})")
            for check in self.checks
            for offset, position in check.merged
        ]

    def books(self) -> dict[str, str]:
        """The price books that are named, and where first."""
        named: dict[str, str] = {}
        for check in self.checks:
            for book, offset in check.books.items():
                named.setdefault(book, f"{check.path} (byte {offset})")
        return named

    def done(self) -> None:
        """Tell that everything was looked at."""
        self._progress.finish()

    def _join(self, check: SegmentCheck) -> None:
        """Hold a segment's first event to the last one below it, and remember where it ends."""
        if check.writer != self._writer:
            self._writer, self._last_hash, self._next_seq, self._last_tick = check.writer, ZERO_HASH, 1, 0
        first, scan = check.first, check.scan
        if first is not None:
            found = []
            # Where the first line is damaged, or the chain does not lead here, that is told, and any number may follow.
            is_whole = first.offset_bytes == 0
            expected = self._next_seq if is_whole and check.previous == self._last_hash else None
            if expected is not None and first.seq != expected:
                what = f"seq {expected} was to follow, it says {first.seq}"
                found.append(line_finding("sequence_broken", check.path, first.line, first.offset_bytes, what))
            if is_whole and first.tick <= self._last_tick:
                what = f"tick {first.tick} follows {self._last_tick}"
                found.append(line_finding("tick_backwards", check.path, first.line, first.offset_bytes, what))
            scan.findings = in_order([*found, *scan.findings])
        if scan.lines:
            self._last_hash = scan.last_hash
            self._next_seq = check.last_seq + 1 if check.last_seq is not None else None
            self._last_tick = check.last_tick or self._last_tick


class _Progress:
    """How many bytes of all segments were read, told in this process and never going back."""

    def __init__(self, on_progress: Callable[[int, int], None] | None) -> None:
        self._on_progress = on_progress
        self._sizes: dict[Path, int] = {}
        self._read: dict[Path, int] = {}
        self._done = self.total = 0

    def expect(self, path: Path, size: int) -> None:
        """Count a segment's bytes among those in all."""
        self._sizes[path] = size
        self.total += size

    def tell(self, path: Path, done: int) -> None:
        """So many bytes of a segment were read; fewer than before where it is read again."""
        read = min(done, self._sizes.get(path, 0))
        more = read - self._read.get(path, 0)
        if more > 0:
            self._read[path] = read
            self._done += more
            self._say()

    def finish(self) -> None:
        """Everything was read, bytes that are no events included."""
        if self._done < self.total:
            self._done = self.total
            self._say()

    def _say(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self.total)
