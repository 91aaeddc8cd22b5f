"""The cache after a restart of the machine: lines that it holds may never have been synced, and be gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from keledger.journal import Home
from keledger.projections import _build, open_projection, rebuild
from keledger.projections._cache import Cache, Manifest

from .support import append, call, expected, hold_to, layer_files


@pytest.fixture
def built(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose cache was made before the machine was restarted."""
    monkeypatch.setattr(_build, "boot_id", lambda: "before")
    append(home, *(call(number, usd="1") for number in range(30)))
    rebuild(home)
    monkeypatch.setattr(_build, "boot_id", lambda: "after")
    return home


def manifest_of(home: Home) -> Manifest:
    manifest = Cache.of(home).read()
    assert manifest is not None
    return manifest


def lowest_read(home: Home) -> Mapping[str, int]:
    return manifest_of(home).read_from


def newest(home: Home) -> Path:
    (writer,) = home.writers()
    return home.segments(writer)[-1]


def lose_the_middle(path: Path) -> None:
    """A page of lines that were written at once, and not synced, is missing; the last line stands whole."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4096))


def test_lines_that_the_power_cut_took_are_no_longer_counted(built: Home) -> None:
    lose_the_middle(newest(built))
    wanted = expected(built)
    assert 20 < len(wanted.counted) < 30
    hold_to(built, wanted)


def test_where_nothing_is_lost_the_cache_stays_and_is_looked_through_once(
    built: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {path: path.stat().st_mtime_ns for path in layer_files(built)}
    append(built, call("after"))
    hold_to(built, expected(built))
    assert {path: path.stat().st_mtime_ns for path in layer_files(built)} == layers
    assert manifest_of(built).boot == "after"

    def look_through(*_: object) -> bool:
        pytest.fail("it was held to the journal after this restart already")

    monkeypatch.setattr(_build, "chain_leads_to", look_through)
    hold_to(built, expected(built))


def test_where_the_system_does_not_tell_its_starts_each_reader_looks(
    built: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_build, "boot_id", lambda: "")
    for _ in range(2):
        hold_to(built, expected(built))
    lose_the_middle(newest(built))
    hold_to(built, expected(built))


def test_a_cache_that_cannot_be_written_is_looked_through_by_each_reader(
    built: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = manifest_of(built)
    with Cache.of(built).lock(0.0), open_projection(built) as projection:
        assert projection.positions
    assert manifest_of(built) == before
    hold_to(built, expected(built))
    assert manifest_of(built).boot == "after"


def test_only_what_was_read_since_the_last_start_is_looked_through(built: Home) -> None:
    """A segment that was held to its hashes at one start is not looked through again at the next."""
    (writer,) = built.writers()
    with open(newest(built), "ab") as file:
        file.write(b'{"torn')
    append(built, call("next segment"))
    rebuild(built)
    assert lowest_read(built) == {writer: 1}  # all of it was read by this build
    _read_after(built, "third")
    assert lowest_read(built) == {writer: 2}


def _read_after(home: Home, boot: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_build, "boot_id", lambda: boot)
        with open_projection(home):
            pass
