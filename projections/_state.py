"""In which state the caches are, told from the outside: nothing is opened by DuckDB, built, or removed."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keledger.journal import Check, Home, HomeError

from ._cache import Cache, Manifest, is_left_behind
from ._projection import TAIL_BYTES_MAX


@dataclass(frozen=True, slots=True)
class ProjectionState:
    """What is known of a home's caches.

    ``state`` is ``none`` (nothing is cached), ``ready``, ``other`` (only caches of another DuckDB or another release
    are there), ``damaged`` (a manifest that does not fit, or a file that it names is missing or cut) or ``blocked``
    (something else stands where the folder belongs).  *behind_bytes* is how much of the journal the cache does not
    hold, at most: residues of torn tails count along.  *unread* are events in the cache that this release keeps and
    does not read, by ``<type> v<version>``.
    """

    state: Literal["none", "ready", "other", "damaged", "blocked"]
    folder: Path
    behind_bytes: int = 0
    calls: int = 0
    unread: Mapping[str, int] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """Names of caches beside it, of another DuckDB or another release."""
    leftovers: tuple[str, ...] = ()
    """Work folders that a builder left behind."""


def projection_state(home: Home) -> ProjectionState:
    """Look at the caches of *home*.  Raises HomeError where they, or the journal's folders, cannot be looked into."""
    try:
        return _state_of(home, Cache.of(home))
    except OSError as error:
        raise HomeError(f"cannot look at {error.filename or home.projections}: {error.strerror}") from error


def _state_of(home: Home, cache: Cache) -> ProjectionState:
    if _blocked(home.projections) or _blocked(cache.folder):
        return ProjectionState("blocked", cache.folder)
    others = tuple(sorted(path.name for path in _listed(home.projections) if path != cache.folder))
    leftovers = tuple(sorted(path.name for path in _listed(cache.folder) if is_left_behind(path)))
    if not os.path.lexists(cache.folder / "manifest"):
        state: Literal["other", "none"] = "other" if others else "none"
        return ProjectionState(state, cache.folder, _size_behind(home, None), others=others, leftovers=leftovers)
    manifest = cache.read()
    if manifest is None:
        behind = _size_behind(home, None)
        return ProjectionState("damaged", cache.folder, behind, others=others, leftovers=leftovers)
    unread: Counter[str] = Counter()
    for layer in manifest.layers:
        unread.update(layer.unread)
    behind = _size_behind(home, manifest)
    return ProjectionState("ready", cache.folder, behind, manifest.calls, unread, others, leftovers)


def check_projections(state: ProjectionState) -> Check:
    """What ``doctor`` says of the caches.  Nothing of them is ever needed: a reader builds what it cannot use."""
    behind = f"{state.behind_bytes:,} bytes of the journal"
    remedy = "the next report builds it again; keledger replay does so at once"
    if state.state == "blocked":
        return Check(
            "projections", "problem", f"{state.folder} cannot be made, something else stands there", "move it away"
        )
    if state.state == "damaged":
        return Check("projections", "note", f"{state.folder} is damaged and not believed", remedy)
    if state.state == "other":
        message = f"only caches of another DuckDB or release are there ({', '.join(state.others)})"
        return Check("projections", "note", message, remedy)
    if state.leftovers:
        message = f"{state.folder} holds unfinished builds of processes that died ({len(state.leftovers)})"
        return Check("projections", "note", message, "keledger replay removes them")
    if state.state == "none":
        few = state.behind_bytes <= TAIL_BYTES_MAX
        what = "a journal of this size is read anew by each report" if few else "the next report builds it"
        return Check("projections", "ok", f"there is no cache; {what}")
    if not state.behind_bytes:
        return Check("projections", "ok", f"{state.calls:,} calls are cached, nothing is behind")
    return Check("projections", "ok", f"{state.calls:,} calls are cached; {behind} are behind, at most")


def _blocked(folder: Path) -> bool:
    """Whether something that is no folder has its name."""
    try:
        return not stat.S_ISDIR(os.lstat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size_behind(home: Home, manifest: Manifest | None) -> int:
    """The journal's bytes behind the cache's positions, by the sizes of files."""
    positions = manifest.positions if manifest is not None else {}
    behind = 0
    for writer in home.writers():
        position = positions.get(writer)
        for path in home.segments(writer):
            number, size = int(path.stem), path.stat().st_size
            if position is None or number > position.segment:
                behind += size
            elif number == position.segment:
                behind += max(0, size - position.offset_bytes)
    return behind
