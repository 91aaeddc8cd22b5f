"""Where the rows work: a folder on a real disk, journals in it, and an environment that leads nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from keledger.journal import Home

from ._processes import part, run
from .generate import Plan, generate

MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")
"""A sync costs nothing there, so the ratios of what syncs say nothing."""

LARGE = 4
"""How many times as many calls the large journal has."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much the rows do."""

    calls: int
    """Calls in the journal."""
    large: bool
    """Whether there is a journal of four times as many, too."""
    appends: int
    """Appends of each kind in the rows append and record."""
    pairs: int
    """Runs of a KePrompt with and without keledger."""
    repeats: int
    """Repetitions of what takes tenths of a second."""
    rebuilds: int
    """Repetitions of what takes many seconds."""
    judged: bool
    """Whether figures are held to their bounds: those of design section 9 are for a million calls."""


FULL = Size(calls=1_000_000, large=True, appends=4_000, pairs=25, repeats=15, rebuilds=3, judged=True)
SMOKE = Size(calls=20_000, large=False, appends=400, pairs=3, repeats=3, rebuilds=1, judged=False)


class Workshop:
    """The folder of one run; it is removed at the end."""

    def __init__(self, parent: Path, size: Size, *, quiet: bool = False) -> None:
        self.size = size
        self._quiet = quiet
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
        self.filesystem = filesystem_of(self.folder)
        self.environment = self._environment()
        self._own_environment = dict(os.environ)
        self._homes: dict[tuple[int, int], Home] = {}
        self._built: set[Path] = set()

    def __enter__(self) -> Self:
        os.environ.clear()
        os.environ.update(self.environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.environ.clear()
        os.environ.update(self._own_environment)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """For this process and its children: nothing of the user's configuration reaches them."""
        user = self.folder / "user"
        user.mkdir()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("KELEDGER_", "XDG_", "PYTHON"))
        }
        return kept | {"HOME": str(user), "TZ": "UTC", "COLUMNS": "200", "TERM": "xterm-256color"}

    def say(self, text: str) -> None:
        """Tell whoever waits what is being done."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def home(self) -> Home:
        """The journal of ``size.calls`` calls, made once; rows leave it as it is, but for its caches."""
        return self._home(self.size.calls, 1)

    def large_home(self) -> Home:
        """The journal with four times as many calls: the first quarter is that of :meth:`home`."""
        return self._home(self.size.calls, LARGE)

    def built_home(self) -> Home:
        """:meth:`home` with its projections up to date, in one file."""
        return self._build(self.home())

    def built_large_home(self) -> Home:
        """:meth:`large_home` with its projections up to date, in one file."""
        return self._build(self.large_home())

    def _build(self, home: Home) -> Home:
        if home.path not in self._built:
            self.say(f"building the projections of {home.path.name}")
            run(part("rebuild", home.path), self.environment)
            self.is_built(home)
        return home

    def is_built(self, home: Home) -> None:
        """A row has rebuilt the home's projections: no other need do so."""
        self._built.add(home.path)

    def _home(self, calls: int, parts: int) -> Home:
        made = self._homes.get((calls, parts))
        if made is None:
            self.say(f"making a journal of {calls * parts:,} calls")
            folder = self.folder / f"home-{parts}"
            if parts > 1:
                self.copy(self._home(calls, 1), folder.name, caches=False)
            for seed in range(1 if parts == 1 else 2, parts + 1):
                made = generate(folder, Plan(calls, seed))
            assert made is not None
            self._homes[calls, parts] = made
        return made

    def copy(self, home: Home, name: str, *, caches: bool = True) -> Home:
        """Another home with the same journal, to be changed: what never changes is shared, the rest copied."""
        newest = {home.segments(writer)[-1] for writer in home.writers()}

        def place(source: str, target: str) -> None:
            fixed = source.endswith((".jsonl", ".duckdb")) and Path(source) not in newest
            (os.link if fixed else shutil.copy2)(source, target)

        ignored = None if caches else shutil.ignore_patterns("projections", "guard")
        target = Path(shutil.copytree(home.path, self.folder / name, copy_function=place, ignore=ignored))
        identity = json.loads((target / "writer.json").read_text())
        (target / "writer.json").write_text(json.dumps({**identity, "home": os.path.realpath(target)}))
        return Home.at(target)

    def remove(self, home: Home) -> None:
        """Remove a copy before the end: what it does not share with the others may be as large as they are."""
        shutil.rmtree(home.path)

    def new_folder(self, name: str) -> Path:
        """An empty folder of a row's own."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))


def filesystem_of(folder: Path) -> str:
    """The kind of filesystem that holds a folder, as the mount table has it; ``unknown`` where there is none."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    path = os.path.realpath(folder)
    best = ("", "unknown")
    for mount in mounts:
        _, place, kind, *_ = mount.split(" ")
        if os.path.commonpath([path, place]) == place and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]
