"""Many worlds, one after the other, and what a failing one leaves behind."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .world import STEPS, World

_IN_MEMORY = Path("/dev/shm")
"""Where worlds are made if it is there: nothing is synced, so a disk would only be slower."""

PROJECTED = 25
"""One world in so many is looked at through DuckDB, which takes longer than all else in it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A world in which a promise was broken."""

    seed: int
    steps: int
    message: str
    trace: tuple[str, ...]
    folder: Path | None

    def told(self, command: str) -> str:
        """The last system calls and steps, what broke, and how to see it again."""
        kept = f"\nits folder is kept: {self.folder}" if self.folder else ""
        last = "\n".join(self.trace)
        return (
            f"{last}\nworld {self.seed} failed at step {self.steps}: {self.message}{kept}\nto see it again: {command}"
        )


@dataclass(slots=True)
class Result:
    """What a run did."""

    worlds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    trace: tuple[str, ...] = ()
    """The last steps and system calls of the last world."""

    def add(self, other: Result) -> None:
        """Take in what another process did in the same time."""
        self.worlds += other.worlds
        self.seconds = max(self.seconds, other.seconds)
        self.counts += other.counts
        self.failures += other.failures
        self.trace = other.trace

    def summary(self) -> str:
        """One line of figures."""
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        return f"{self.worlds} worlds in {self.seconds:.0f} s: {counts}; {len(self.failures)} failed"


def run_world(seed: int, *, steps: int = STEPS, project: bool | None = None, keep: bool = False) -> Result:
    """Live through the world of a seed."""
    project = seed % PROJECTED == 0 if project is None else project
    base = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="keledger-simulator-", dir=base))
    world = World(seed, folder, project=project)
    result = Result(worlds=1)
    began = time.monotonic()
    failed = False
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            world.live(steps)
    except Exception as error:  # noqa: BLE001 - whatever comes out of a world is a finding
        failed = True
        kept = folder if keep else None
        result.failures.append(Failure(seed, world.steps, _message(error, folder), world.trace(), kept))
    finally:
        result.trace = world.trace()
        world.close()
        if not (failed and keep):
            shutil.rmtree(folder, ignore_errors=True)
    result.seconds = time.monotonic() - began
    result.counts.update(asdict(world.counts()))
    return result


def run_for(seconds: float, first_seed: int, *, every: int = 1, steps: int = STEPS, keep: bool = False) -> Result:
    """Live through worlds from a seed on, each *every*-th, for so long or until one fails."""
    result = Result()
    began = time.monotonic()
    for seed in _seeds(first_seed, every):
        result.add(run_world(seed, steps=steps, keep=keep))
        result.seconds = time.monotonic() - began
        if result.failures or result.seconds >= seconds:
            return result
    raise AssertionError("seeds do not end")


def _seeds(first: int, every: int) -> Iterator[int]:
    while True:
        yield first
        first += every


def _message(error: Exception, folder: Path) -> str:
    """What broke; for anything but a broken promise with the place in the code."""
    told = f"{type(error).__name__}: {error}".replace(str(folder), "")
    if isinstance(error, AssertionError) and str(error):
        return told
    frames = traceback.format_tb(error.__traceback__)[-6:]
    return told + "\n" + "".join(frames).rstrip()
