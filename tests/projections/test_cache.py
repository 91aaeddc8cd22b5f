"""The cache: missing, damaged, foreign, out of date or not writable, it never changes what a report says."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, NewEvent, Position
from keledger.projections import (
    _cache,
    _engine,
    _projection,
    digest,
    export_jsonl,
    open_projection,
    rebuild,
    report_call,
    report_daily,
    report_sessions,
    run_sql,
)
from tests.journal.tampering import seal_off

from .support import (
    append,
    call,
    call_id,
    copy_home,
    drop_cache,
    expected,
    hold_to,
    layer_files,
    void,
)


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def manifest_of(home: Home) -> Path:
    return next(home.projections.glob("*/manifest"))


@pytest.fixture
def built(home: Home) -> Home:
    """A home with a layer, with marks, and a few lines that no layer holds yet."""
    events: list[NewEvent] = [call(number, session=f"s{number % 7}", usd=f"{number + 1}") for number in range(300)]
    append(home, *events, call(1), void(2))
    rebuild(home)
    append(home, call("tail"))
    return home


def test_a_home_that_is_not_there_is_empty_and_stays_away(home: Home) -> None:
    with open_projection(home) as projection:
        report = report_daily(projection)
        assert digest(projection) == digest_of(home)
    assert report.rows == ()
    assert report.totals["calls"] == 0
    assert report.totals["cost_usd"] == "0"
    assert not home.path.exists()
    assert rebuild(home).calls == 0
    assert not home.path.exists()


def test_a_small_journal_needs_no_cache(home: Home) -> None:
    append(home, call(1))
    with open_projection(home) as projection:
        assert report_daily(projection).totals["calls"] == 1
    assert not home.projections.exists()


def test_files_are_private(built: Home) -> None:
    for path in [built.projections, *built.projections.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert not list(built.projections.rglob("*.wal"))
    assert not list(built.projections.rglob("work-*"))


def test_the_folder_is_known_by_duckdb_and_schema(built: Home) -> None:
    (folder,) = built.projections.iterdir()
    assert folder.name == f"{_engine.version()}-{_cache.schema_hash()}"


@pytest.mark.parametrize("name", ["manifest", "layer", "marks"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "garbage", "text", "folder"])
def test_a_damaged_file_is_built_again(built: Home, name: str, damage: str) -> None:
    wanted = digest_of(built)
    path = next(built.projections.glob(f"*/{name}*"))
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[: len(content) // 2],
                "longer": content + b"\0",
                "garbage": os.urandom(len(content)),
                "text": b"{}",
            }[damage]
        )
    hold_to(built, expected(built))
    assert digest_of(built) == wanted


def test_a_foreign_file_of_the_same_name_and_size_is_not_taken(built: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    append(other, *(call(number, usd="7") for number in range(305)))
    rebuild(other)
    (mine,), (theirs,) = layer_files(built), layer_files(other)
    wanted = digest_of(built)
    size = mine.stat().st_size
    with open(theirs, "r+b") as file:
        file.truncate(max(size, theirs.stat().st_size))
    manifest = _cache.Cache.of(built).read()
    assert manifest is not None
    shutil.copyfile(theirs, mine)
    os.truncate(mine, size)
    assert digest_of(built) == wanted
    hold_to(built, expected(built))


def test_flipped_bits_never_give_a_wrong_figure(built: Home) -> None:
    wanted = digest_of(built)
    (path,) = layer_files(built)
    content = path.read_bytes()
    chance = random.Random(20261121)
    for _ in range(12):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        for present in layer_files(built):
            present.write_bytes(changed) if present == path else None
        assert digest_of(built) == wanted
        if not path.exists():  # it was built again, under another name
            (path,) = layer_files(built)
            content = path.read_bytes()


@pytest.mark.parametrize("victim", ["layer", "manifest"])
def test_damage_found_while_reading_is_healed(built: Home, victim: str) -> None:
    """The file is fine when it is opened, and its rows are not."""
    wanted = digest_of(built)
    with open_projection(built) as projection:
        before = report_daily(projection).as_json()
    path = next(built.projections.glob(f"*/{victim}*"))
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for offset in range(16384, size, 4096):
            file.seek(offset)
            file.write(b"\xff" * 8)
    for read in (
        lambda projection: report_daily(projection),
        lambda projection: report_sessions(projection),
        lambda projection: report_call(projection, call_id(5)),
        lambda projection: digest(projection),
        lambda projection: run_sql(projection, "SELECT * FROM charges"),
    ):
        with open_projection(built) as projection:
            read(projection)  # type: ignore[no-untyped-call]
    assert digest_of(built) == wanted
    with open_projection(built) as projection:
        assert report_daily(projection).as_json() == before


def test_an_export_over_a_damaged_cache_heals_it(built: Home) -> None:
    (path,) = layer_files(built)
    with open(path, "r+b") as file:
        for offset in range(16384, path.stat().st_size, 4096):
            file.seek(offset)
            file.write(b"\xff" * 8)
    with contextlib.suppress(HomeError):  # or it is noticed before the first row
        export_jsonl(built, io.BytesIO())
    assert export_jsonl(built, io.BytesIO()) == len(expected(built).counted)


def test_another_schema_is_left_alone(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = digest_of(built)
    old = {path: path.read_bytes() for path in built.projections.rglob("*") if path.is_file()}
    monkeypatch.setattr(_cache, "_FORMAT", 999)
    rebuild(built)
    assert digest_of(built) == wanted
    assert {path: path.read_bytes() for path in old} == old
    for path in old:
        os.utime(path, (0, 0))
    rebuild(built)
    assert not any(path.exists() for path in old), "a cache that nobody wrote to for long goes with a rebuild"


def test_leftovers_of_dead_builders_go(built: Home) -> None:
    folder = manifest_of(built).parent
    (folder / "layer-dead.duckdb").write_bytes(b"x")
    (folder / "work-old").mkdir()
    (folder / "work-new").mkdir()
    os.utime(folder / "work-old", (0, 0))
    rebuild(built)
    assert {path.name for path in folder.iterdir()} >= {"manifest", "lock", "work-new"}
    assert not (folder / "layer-dead.duckdb").exists()
    assert not (folder / "work-old").exists()


def test_a_build_that_dies_changes_nothing(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = digest_of(built)
    manifest = manifest_of(built).read_bytes()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_cache.Cache, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            rebuild(built)
    assert manifest_of(built).read_bytes() == manifest
    assert digest_of(built) == wanted


def test_a_manifest_replaced_between_reading_and_opening(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader finds a layer missing, reads the new manifest and goes on."""
    wanted = digest_of(built)
    real = _projection.read_on
    times = []

    def read_on_and_rebuild(*arguments: object) -> object:
        reading = real(*arguments)  # type: ignore[arg-type]
        if not times:
            times.append(1)
            monkeypatch.setattr(_projection, "read_on", real)
            rebuild(built)
        return reading

    monkeypatch.setattr(_projection, "read_on", read_on_and_rebuild)
    assert digest_of(built) == wanted


def test_a_cache_that_cannot_be_written(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader without the right to write goes on in memory, or in a folder of its own where the journal is large."""
    wanted = digest_of(built)
    drop_cache(built)
    built.projections.write_bytes(b"a file in the folder's place")
    assert digest_of(built) == wanted
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0)
    assert digest_of(built) == wanted
    assert built.projections.read_bytes() == b"a file in the folder's place"
    monkeypatch.setattr(_projection, "MEMORY_BYTES_MAX", 0)
    with pytest.raises(HomeError, match="cannot build"):
        open_projection(built)
    with pytest.raises(HomeError, match="cannot build"):
        rebuild(built)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_home(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = digest_of(built)
    drop_cache(built)
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0)
    monkeypatch.setattr(_projection, "MEMORY_BYTES_MAX", 0)
    built.path.chmod(0o500)
    try:
        assert digest_of(built) == wanted
    finally:
        built.path.chmod(0o700)


def test_another_builder_holds_the_lock(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = digest_of(built)
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0)
    monkeypatch.setattr(_projection, "BUILD_WAIT_S", 0.05)
    cache = _cache.Cache.of(built)
    before = cache.read()
    with cache.lock(0.0) as alone:
        assert alone
        assert digest_of(built) == wanted  # in memory
        with pytest.raises(HomeError, match="another process"):
            rebuild(built)
        monkeypatch.setattr(_projection, "MEMORY_BYTES_MAX", 0)
        assert digest_of(built) == wanted  # in a folder of its own
    assert cache.read() == before


def test_a_home_restored_from_an_older_copy(built: Home, tmp_path: Path) -> None:
    """The file is shorter than the cache's position, and then goes on differently."""
    older = copy_home(built, tmp_path / "older")
    append(built, *(call(f"lost {number}", usd="100") for number in range(5)))
    rebuild(built)
    shutil.rmtree(built.journal)
    shutil.copytree(older.journal, built.journal)
    hold_to(built, expected(built))
    append(built, *(call(f"other {number}", usd="200") for number in range(5)))
    hold_to(built, expected(built))


def test_bytes_sealed_off_after_they_were_read(built: Home) -> None:
    """A position below which lines vanish does not hold: the cache is left and made again."""
    cache = _cache.Cache.of(built)
    manifest = cache.read()
    assert manifest is not None
    ((writer, position),) = manifest.positions.items()
    path = built.journal / writer / f"{position.segment:08d}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, sum(map(len, lines[:-3])))
    hold_to(built, expected(built))
    assert isinstance(position, Position)


def test_a_line_sealed_off_after_it_was_read(built: Home) -> None:
    """It stands where it stood, but the next segment begins above it."""
    manifest = _cache.Cache.of(built).read()
    assert manifest is not None
    ((writer, position),) = manifest.positions.items()
    path = built.journal / writer / f"{position.segment:08d}.jsonl"
    lines = path.read_bytes()[: position.offset_bytes].splitlines(keepends=True)
    before = expected(built)
    seal_off(path, sum(map(len, lines[:-3])))
    assert expected(built) != before
    hold_to(built, expected(built))


def test_findings_are_told_again_from_the_cache(built: Home) -> None:
    (writer,) = built.writers()
    path = built.segments(writer)[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = lines[10].replace(b'"session":"s', b'"session":"X')
    path.write_bytes(b"".join(lines) + b"torn")
    drop_cache(built)
    with open_projection(built) as projection:
        first = projection.findings
    assert [finding.kind for finding in first] == ["line_damaged", "tail_torn"]
    for _ in range(2):
        rebuild(built)
        with open_projection(built) as projection:
            assert projection.findings == first
    append(built, call("behind"))
    with open_projection(built) as projection:
        kinds = [finding.kind for finding in projection.findings]
    assert kinds == ["line_damaged", "residue_sealed"]
    hold_to(built, expected(built))


def test_positions_and_progress(built: Home) -> None:
    told: list[tuple[int, int]] = []
    result = rebuild(built, on_progress=lambda done, total: told.append((done, total)))
    (writer,) = built.writers()
    assert result.positions == {writer: 304}
    assert (result.calls, result.others) == (302, 2)
    assert result.size_bytes == sum(path.stat().st_size for path in built.projections.glob("*/*.duckdb"))
    assert told[-1][0] == told[-1][1] == sum(path.stat().st_size for path in built.segments(writer))
    with open_projection(built) as projection:
        assert projection.positions == {writer: 304}
