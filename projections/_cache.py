"""The cache on disk: immutable layers, a manifest that names them, and who may replace it.

::

    projections/<duckdb major.minor>-<schema>/
      manifest                names everything below, with sizes; replaced whole
      layer-<token>.duckdb    rows of a range of the journal; never changed once it is named
      marks-<token>.duckdb    which lines do not count, over all layers; absent where all count
  rates-<token>.duckdb    the prices by which lines were repriced; absent where none was
      lock                    the flock file of builders; readers take no lock

Readers open layers read-only, builders write new files under other names and then replace the manifest, so nobody
ever waits for a lock of DuckDB's.  Nothing here is synced: after a loss of power a file is whole, or its size,
checksum or token says that it is not, and then it is built again from the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import Finding, Home, Position
from keledger.journal.usage import NORMALIZER_VERSION

from . import _engine as engine
from ._engine import Connection

_FORMAT = 4
"""Raised where the manifest's shape, or how layers are made from the same SQL, changes."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600

_WORK_PREFIX = "work-"
_WORK_KEPT_S = 24 * 3600
"""Work folders this old were left by a process that died; a younger one may be in use."""

_SIBLING_KEPT_S = 30 * 24 * 3600
"""Caches of other versions that nobody has written to for a month are removed with the next rebuild."""

_LOCK_PAUSE_S = 0.02

_CACHE_NAME = re.compile(r"\d+\.\d+-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of rows.  ``token`` stands in the file, too: a file of the same name and size is not enough."""

    file: str
    size_bytes: int
    token: str
    calls: int
    others: int
    imported: int
    voids: int
    accounting: int = 0
    """Lines of closings, reopenings and adjustments."""
    unread: Mapping[str, int] = field(default_factory=dict)
    """Events that this release keeps and does not read, by ``<type> v<version>``."""

    @property
    def rows(self) -> int:
        """Lines of the journal in this layer."""
        return self.calls + self.others


@dataclass(frozen=True, slots=True)
class Marks:
    """A file of what holds over all layers: the lines which do not count, or the rates of those that were repriced."""

    file: str
    size_bytes: int
    token: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the cache holds: the journal up to ``positions``."""

    layers: tuple[Layer, ...] = ()
    marks: Marks | None = None
    rates: Marks | None = None
    repriced_through: Mapping[str, int] = field(default_factory=dict)
    """By writer the last ``seq`` that any reprice covers: a line below it that comes later is to be repriced, too."""
    positions: Mapping[str, Position] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    """What was wrong below the positions; a reader that goes on from there would not see it again."""
    boot: str = ""
    """The start of the machine in which all that is below the positions was last read, or held to its hashes."""
    read_from: Mapping[str, int] = field(default_factory=dict)
    """By writer the lowest segment of which lines were read since that start: they may never have been synced."""

    @property
    def calls(self) -> int:
        """Lines of calls, whether they count or not."""
        return sum(layer.calls for layer in self.layers)

    @property
    def files(self) -> list[Layer | Marks]:
        """Every file that this manifest names."""
        return [*self.layers, *(named for named in (self.marks, self.rates) if named)]

    def encoded(self) -> bytes:
        """As JSON with a checksum over itself."""
        content = {
            "format": _FORMAT,
            "layers": [{**asdict(layer), "unread": dict(layer.unread)} for layer in self.layers],
            "marks": asdict(self.marks) if self.marks else None,
            "rates": asdict(self.rates) if self.rates else None,
            "repriced_through": dict(self.repriced_through),
            "positions": {writer: position._asdict() for writer, position in self.positions.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "boot": self.boot,
            "read_from": dict(self.read_from),
        }
        body = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n"

    @classmethod
    def decoded(cls, data: bytes) -> Manifest | None:
        """What :meth:`encoded` made; None for anything else."""
        checksum, _, body = data.partition(b"\n")
        body = body.removesuffix(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            return None
        content: dict[str, Any] = orjson.loads(body)
        return cls(
            layers=tuple(Layer(**layer) for layer in content["layers"]),
            marks=Marks(**content["marks"]) if content["marks"] else None,
            rates=Marks(**content["rates"]) if content["rates"] else None,
            repriced_through=content["repriced_through"],
            positions={writer: Position(**position) for writer, position in content["positions"].items()},
            findings=tuple(Finding(**finding) for finding in content["findings"]),
            boot=content["boot"],
            read_from=content["read_from"],
        )


def schema_hash() -> str:
    """What decides the content of a layer, in 12 hex digits: a cache made otherwise is never opened."""
    parts = [engine.sql(name) for name in ("duckdb_load_calls", "duckdb_load_others", "uncounted", "pricing")]
    return hashlib.sha256("\0".join([str(_FORMAT), str(NORMALIZER_VERSION), *parts]).encode()).hexdigest()[:12]


class Cache:
    """One folder of layers.  Making this object touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, home: Home) -> Cache:
        """The cache of a home for this DuckDB and this schema."""
        return cls(home.projections / f"{engine.version()}-{schema_hash()}")

    @classmethod
    @contextlib.contextmanager
    def private(cls) -> Iterator[Cache]:
        """A cache for one reader, where the home's own cannot be written."""
        with tempfile.TemporaryDirectory(prefix="keledger-", ignore_cleanup_errors=True) as folder:
            yield cls(Path(folder))

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest"

    def read(self) -> Manifest | None:
        """The manifest; None where there is none, it is damaged, or a file it names has another size."""
        try:
            if not stat.S_ISREG(os.lstat(self._manifest).st_mode):
                return None  # to open a FIFO would be to wait for ever
            manifest = Manifest.decoded(self._manifest.read_bytes())
            if manifest is None:
                return None
            for named in manifest.files:
                if os.stat(self.folder / named.file).st_size != named.size_bytes:
                    return None
        except OSError:
            return None
        return manifest

    def attach(self, connection: Connection, named: Layer | Marks, name: str) -> None:
        """Attach one file read-only.  Raises CacheDamaged where it is not the file that was named."""
        path = self.folder / named.file
        try:
            with engine.noticing_damage():
                connection.execute(f"ATTACH {engine.quote(str(path))} AS {name} (READ_ONLY)")
                token = engine.one(connection, f"SELECT token FROM {name}.token")
        except engine.duckdb.CatalogException:
            token = None
        if token != named.token:
            raise engine.CacheDamaged(f"{path} is another file than the one that was written")

    def prepare(self) -> None:
        """Make the folder.  Raises OSError where that is not possible."""
        for folder in (self.folder.parent, self.folder):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(_FOLDER_MODE)

    @contextlib.contextmanager
    def lock(self, wait_s: float) -> Iterator[bool]:
        """Be the only builder; False where another one kept the lock for *wait_s*.  Raises OSError."""
        self.prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self.folder / "lock", flags, _FILE_MODE)
        try:
            yield _acquire(descriptor, wait_s)
        finally:
            os.close(descriptor)

    def scratch_folder(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder for a reader: in the cache where that can be written, else in the system's."""
        beside = self.folder if os.access(self.folder, os.W_OK) else None
        return tempfile.TemporaryDirectory(
            prefix=_WORK_PREFIX if beside else "keledger-", dir=beside, ignore_cleanup_errors=True
        )

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """A private folder for a builder's unfinished files, removed at the end."""
        folder = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, finished: Path, name: str) -> int:
        """Give a finished file its name in the cache.  Returns its size."""
        os.chmod(finished, _FILE_MODE)
        size_bytes = finished.stat().st_size
        os.replace(finished, self.folder / name)
        return size_bytes

    def replace(self, manifest: Manifest) -> None:
        """Let *manifest* be what readers see from now on, and remove what it no longer names.  Under the lock.

        A reader that has read the old manifest either has its files open, and keeps them, or finds one missing
        and reads the new manifest.
        """
        temporary = self.folder / f"{_WORK_PREFIX}manifest"
        temporary.unlink(missing_ok=True)  # a dead builder's
        with open(temporary, "xb", opener=_private) as file:
            file.write(manifest.encoded())
        os.chmod(temporary, _FILE_MODE)  # whatever the umask
        os.replace(temporary, self._manifest)
        self._sweep({named.file for named in manifest.files} | {self._manifest.name, "lock"})

    def _sweep(self, kept: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.name in kept or (path.name.startswith(_WORK_PREFIX) and not is_left_behind(path)):
                continue
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sweep_siblings(self) -> None:
        """Remove caches of other versions of DuckDB or keledger that have long been left alone."""
        for path in self.folder.parent.iterdir():
            if path == self.folder or not _CACHE_NAME.fullmatch(path.name):
                continue  # the folder may be a link to one that holds other things
            manifest = path / self._manifest.name
            if _age_s(manifest if manifest.exists() else path) > _SIBLING_KEPT_S:
                shutil.rmtree(path, ignore_errors=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, _FILE_MODE)


def _acquire(descriptor: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True


def is_left_behind(path: Path) -> bool:
    """Whether this is a work folder of a process that died, as far as its age tells."""
    return path.name.startswith(_WORK_PREFIX) and _age_s(path) >= _WORK_KEPT_S


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
