"""Making layers: what is new in the journal becomes a file, small files are taken up into larger ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from keledger.journal import Finding, Home, Position, Scan, boot_id, chain_leads_to, scan_journal

from . import _engine as engine
from ._cache import Cache, Layer, Manifest, Marks
from ._engine import Connection
from ._loading import (
    TABLES,
    UNAPPLIED,
    bears_on,
    covers_any,
    define_costs,
    define_lines,
    find_uncounted,
    load,
)
from ._staging import Staged, stage

Progress = Callable[[int, int], None]
"""Is told bytes done and bytes in all."""

BUILD_MEMORY = "300MB"
"""DuckDB's share of a build; the process stays below 450 MB (measured at 1 M and 4 M calls)."""

_GROWTH = 4
"""A layer is taken up by the next one unless it is at least this many times as large: layers stay few, and a line is
written again about log4(lines) times in all."""

_TAKEN_UP_ROWS_MAX = 250_000
"""Larger layers are left alone by readers (taking up this many takes about a second); ``rebuild`` makes one of all."""

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What a look at the journal brought: what the cache holds, and what is new behind it."""

    manifest: Manifest | None
    scan: Scan

    @property
    def new_bytes(self) -> int:
        """Bytes of the journal that the cache does not hold."""
        return sum(chunk.end - chunk.start for chunk in self.scan.chunks)


def read_on(home: Home, manifest: Manifest | None) -> Reading:
    """Check what follows the cache's positions; all of the journal where they do not hold any more."""
    held = _held(home, manifest) if manifest is not None else None
    if held is not None:
        scan = scan_journal(home, held.positions, skip_unreadable=True)
        if not scan.rewound:
            return Reading(held, scan)
    return Reading(None, scan_journal(home, skip_unreadable=True))


def read_up_to(reading: Reading) -> Manifest:
    """The manifest of a cache that has taken in what is new, with the files of before."""
    old, positions = reading.manifest or Manifest(), reading.scan.positions
    read_from = {writer: old.read_from.get(writer, 1) for writer in positions}
    return replace(old, positions=positions, boot=boot_id(), read_from=read_from)


def _held(home: Home, manifest: Manifest) -> Manifest | None:
    """The manifest, if what it holds still stands in the journal; after a restart of the machine with that noted."""
    if not _hold(home, manifest) or _is_readable_again(manifest) or _is_applicable_again(home, manifest):
        return None
    boot = boot_id()
    if boot and manifest.boot == boot:
        return manifest
    try:
        for writer, position in manifest.positions.items():
            if not chain_leads_to(home, writer, position, manifest.read_from.get(writer, 1)):
                return None
    except OSError:
        return None
    read_from = {writer: position.segment for writer, position in manifest.positions.items()}
    return replace(manifest, boot=boot, read_from=read_from)


def _hold(home: Home, manifest: Manifest) -> bool:
    """Whether the last line below each position still states the hash that it stated when it was read.

    A home restored from an older copy is shorter, or has gone on differently.
    """
    for writer, position in manifest.positions.items():
        path = home.journal / writer / f"{position.segment:08d}.jsonl"
        ending = b'"hash":"%b"}\n' % position.hash.encode()
        try:
            with open(path, "rb") as file:
                file.seek(position.offset_bytes - len(ending))
                if file.read(len(ending)) != ending:
                    return False
        except OSError:
            return False
    return True


def _is_readable_again(manifest: Manifest) -> bool:
    """Whether a segment that the cache was made without can be read now, or is no file any more.

    A bad block may stand anywhere in it, so it is read until that is met.
    """
    for path in (Path(finding.path) for finding in manifest.findings if finding.kind == "segment_unreadable"):
        try:
            if path.is_symlink() or not path.is_file():
                return True  # to open a FIFO would be to wait for ever
            with open(path, "rb") as file:
                while file.read(_BLOCK_BYTES):
                    pass
        except OSError:
            continue
        return True
    return False


def _is_applicable_again(home: Home, manifest: Manifest) -> bool:
    """Whether a reprice that the cache was made without can be applied now."""
    left_out = [finding for finding in manifest.findings if finding.kind == UNAPPLIED]
    if not left_out:
        return False
    from ._reprices import is_book_readable  # brings pricing along, which few readers need

    return any(is_book_readable(home, Path(finding.path).name) for finding in left_out)


def settled(findings: Sequence[Finding], positions: dict[str, Position]) -> list[Finding]:
    """Those findings that a reader who goes on from *positions* would not see again."""
    kept = []
    for finding in findings:
        path = Path(finding.path)
        position = positions.get(path.parent.name)
        if position is None or not path.stem.isdigit() or finding.kind == "tail_torn":
            continue
        number, offset = int(path.stem), finding.offset_bytes or 0
        if number == position.segment and finding.kind == "seal_missing":
            continue  # it depends on what stands above
        if number < position.segment or (number == position.segment and offset < position.offset_bytes):
            kept.append(finding)
    return kept


def fold(cache: Cache, home: Home, reading: Reading, *, on_progress: Progress | None = None) -> Manifest:
    """Make a layer of what is new, publish a manifest that holds it, and return it.  Called under the lock.

    Raises OSError, CacheDamaged and what DuckDB raises.
    """
    old = reading.manifest or Manifest()
    with cache.work_folder() as folder:
        staging = folder / "lines"
        staging.mkdir()
        total = reading.new_bytes
        staged = stage(reading.scan.chunks, staging, on_progress=_looking(on_progress, total))
        with _builder(folder) as connection:
            manifest = _Builder(cache, home, connection, folder, old, staged).run(reading)
        cache.replace(manifest)
    if on_progress is not None:
        on_progress(total, total)
    return manifest


class _Builder:
    """One layer in the making: the new lines stand in ``fresh``, the layers before in ``old_<n>``."""

    def __init__(
        self, cache: Cache, home: Home, connection: Connection, folder: Path, old: Manifest, staged: Staged
    ) -> None:
        self.cache, self.home, self.connection = cache, home, connection
        self.folder, self.old, self.staged = folder, old, staged
        self.token = os.urandom(8).hex()

    def run(self, reading: Reading) -> Manifest:
        """Load, take up, publish the files, and return the manifest that names them."""
        scan = reading.scan
        self._create("fresh")
        for number, layer in enumerate(self.old.layers):
            self.cache.attach(self.connection, layer, f"old_{number}")
        findings = load(self.connection, "fresh.", self.staged)
        marks = self._marks()
        if self.staged.reprices or covers_any(self.connection, "fresh.", self.old.repriced_through):
            manifest = self._repriced(read_up_to(reading))
        else:
            manifest = self._grown(read_up_to(reading))
        kept = settled([*scan.findings, *findings], scan.positions)
        return replace(manifest, marks=marks, findings=tuple(dict.fromkeys([*manifest.findings, *kept])))

    def _grown(self, manifest: Manifest) -> Manifest:
        """With one layer more, which takes up small ones."""
        layers = self.old.layers[: len(self.old.layers) - _taken_up(self.old.layers, self._rows())]
        for number in range(len(layers), len(self.old.layers)):
            for table in TABLES:
                self.connection.execute(f"INSERT INTO fresh.{table} SELECT * FROM old_{number}.{table}")
        layer = self._finish("fresh", self.old.layers[len(layers) :])
        return replace(manifest, layers=(*layers, layer) if layer.rows else layers)

    def _repriced(self, manifest: Manifest) -> Manifest:
        """With one layer of everything: what a line costs may have changed in each of them."""
        from ._reprices import reprice_lines

        prefixes = [*(f"old_{number}." for number in range(len(self.old.layers))), "fresh."]
        define_lines(self.connection, prefixes)
        self._create("rates")
        assigned = reprice_lines(self.connection, self.home, "rates.rate")
        define_costs(self.connection, "repriced")
        self._create("whole")
        self.connection.execute("CREATE TABLE whole.call_lines AS SELECT * FROM call_line")
        self.connection.execute("CREATE TABLE whole.other_lines AS SELECT * FROM other_line")
        layer = self._finish("whole", self.old.layers)
        found = engine.one(self.connection, "SELECT COUNT(*) FROM rates.rate")
        size_bytes = self._close("rates", name := f"rates-{self.token}.duckdb")
        others = (finding for finding in manifest.findings if finding.kind != UNAPPLIED)
        return replace(
            manifest,
            layers=(layer,) if layer.rows else (),
            rates=Marks(name, size_bytes, self.token) if found else None,
            repriced_through=assigned.through,
            findings=(*others, *assigned.findings),
        )

    def _create(self, name: str) -> None:
        """Begin a file of the cache, which statements know by *name*."""
        self.connection.execute(f"ATTACH {engine.quote(str(self.folder / name))} AS {name}")

    def _rows(self) -> int:
        rows = engine.one(self.connection, "SELECT COUNT(*) FROM fresh.call_lines")
        return int(rows) + self.staged.others

    def _marks(self) -> Marks | None:
        """The lines that do not count: as before where the new ones do not bear on that, else found anew."""
        old = [f"old_{number}." for number in range(len(self.old.layers))]
        imported = sum(layer.imported for layer in self.old.layers)
        if not bears_on(self.connection, "fresh.", old, new_voids=self.staged.voids, old_imported=imported):
            return self.old.marks
        self._create("marks")
        define_lines(self.connection, [*old, "fresh."])
        find_uncounted(self.connection, "marks.uncounted_lines")
        found = engine.one(self.connection, "SELECT COUNT(*) FROM marks.uncounted_lines")
        size_bytes = self._close("marks", f"marks-{self.token}.duckdb")
        return Marks(f"marks-{self.token}.duckdb", size_bytes, self.token) if found else None

    def _finish(self, source: str, taken_up: Sequence[Layer]) -> Layer:
        calls = engine.one(self.connection, f"SELECT COUNT(*) FROM {source}.call_lines")
        imported = engine.one(
            self.connection, f"SELECT COUNT(*) FROM {source}.call_lines WHERE SUBSTR(origin, 1, 7) = 'import:'"
        )
        unread: dict[str, int] = dict(self.staged.unread)
        for layer in taken_up:
            for name, count in layer.unread.items():
                unread[name] = unread.get(name, 0) + count
        name = f"layer-{self.token}.duckdb"
        return Layer(
            file=name,
            size_bytes=self._close(source, name),
            token=self.token,
            calls=calls,
            others=self.staged.others + sum(layer.others for layer in taken_up),
            imported=imported,
            voids=self.staged.voids + sum(layer.voids for layer in taken_up),
            accounting=self.staged.accounting + sum(layer.accounting for layer in taken_up),
            unread=unread,
        )

    def _close(self, name: str, published: str) -> int:
        """Write the file's token, let go of it with nothing left in a log, and publish it."""
        self.connection.execute(f"CREATE TABLE {name}.token AS SELECT {engine.quote(self.token)} AS token")
        self.connection.execute(f"CHECKPOINT {name}")
        self.connection.execute(f"DETACH {name}")
        return self.cache.publish(self.folder / name, published)


def _taken_up(layers: Sequence[Layer], rows: int) -> int:
    """How many of the newest layers a new one of so many rows takes up."""
    largest = max(_TAKEN_UP_ROWS_MAX, sum(layer.rows for layer in layers) // 16)
    count = 0
    for layer in reversed(layers):
        if layer.rows >= _GROWTH * rows or layer.rows + rows > largest:
            break
        rows += layer.rows
        count += 1
    return count


@contextmanager
def _builder(folder: Path) -> Iterator[Connection]:
    connection = engine.connect(memory_limit=BUILD_MEMORY, spill=folder / "spill")
    try:
        yield connection
    finally:
        connection.close()


def _looking(on_progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Progress of looking at the lines: a tenth of a build.  DuckDB's share of it tells only that it is over."""
    if on_progress is None:
        return None
    done = 0

    def tell(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        on_progress(done // 10, total)

    return tell
