"""Promise 8: drop the caches at any moment, damage them anyhow: the commands say the same, or one sentence.

Here the real commands are held to it, end to end.  Each part on its own is held to in ``tests/projections``:
``test_cache.py`` (files missing, cut, foreign), ``test_properties.py`` (any history, caught up and rebuilt),
``test_concurrency.py`` (readers, appenders and a rebuild at once), ``test_digest.py`` (golden digests).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, Ledger
from keledger.projections import rebuild
from tests.cli.support import COMMAND, keledger, keledger_process, truth
from tests.journal.support import call as given_call
from tests.projections.support import append, call, copy_home, void

LARGE = 4_000
"""So many calls are more than a reader loads anew each time: the first command makes a layer of them by itself."""

REPORTS = (("--json", "daily"), ("--json", "sessions", "--breakdown"), ("replay", "--digest"))


Said = list[tuple[int, str]]


def said(home: Home) -> Said:
    """What the commands say of a home."""
    outcomes = [keledger("--home", str(home.path), *arguments) for arguments in REPORTS]
    return [(outcome.status, outcome.out) for outcome in outcomes]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Said]:
    """A home with a layer, with lines that do not count, and a few lines behind the layer; and what is said of it."""
    home = Home.at(tmp_path_factory.mktemp("template") / "home")
    append(home, *(call(number, session=f"s{number % 7}", usd=f"{number + 1}") for number in range(60)), void(2))
    append(home, call(1))
    rebuild(home)
    shutil.copytree(home.projections, home.path.with_name("kept"))
    append(home, call("tail"))
    wanted = said(home)
    shutil.rmtree(home.projections)
    home.path.with_name("kept").rename(home.projections)
    return home, wanted


@pytest.fixture
def built(template: tuple[Home, Said], home: Home) -> Home:
    """The home as it was made."""
    shutil.copytree(template[0].path, home.path)
    return home


@pytest.fixture
def wanted(template: tuple[Home, Said]) -> Said:
    """What is to be said of it."""
    return template[1]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that is large enough for commands to cache it, without a cache; not to be changed but for that."""
    made = Home.at(tmp_path_factory.mktemp("large") / "home")
    append(made, *(call(number, session=f"s{number % 50}", usd="2", padding="x" * 300) for number in range(LARGE)))
    return made


@contextlib.contextmanager
def unchanged(home: Home) -> Iterator[None]:
    """Whatever happens to the caches, the truth stays what it is, to the byte."""
    before = truth(home)
    yield
    assert truth(home) == before


def test_a_cache_damaged_at_any_byte_changes_nothing_that_is_said(built: Home, wanted: Said) -> None:
    """In the headers of its files, all along them, and at their ends; ``test_cache.py`` flips more of them."""
    pristine = built.path.with_name("pristine")
    shutil.copytree(built.projections, pristine)
    with unchanged(built):
        for name in ("manifest", "layer", "marks"):
            (path,) = pristine.glob(f"*/{name}*")
            content = path.read_bytes()
            places = [0, 8, 40, *range(64, len(content), len(content) // 6)]
            changed = [content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :] for at in places]
            for damaged in (*changed, content[: len(content) // 2], content[:-1], content + b"\0", b""):
                shutil.rmtree(built.projections)
                shutil.copytree(pristine, built.projections)
                (built.projections / path.relative_to(pristine)).write_bytes(damaged)
                daily = keledger("--home", str(built.path), *REPORTS[0])
                assert (daily.status, daily.out) == wanted[0], (name, len(damaged))
        assert said(built) == wanted


def _fifo(path: Path) -> None:
    _away(path)
    os.mkfifo(path)


def _away(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _link_elsewhere(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def _dangling(path: Path) -> None:
    _away(path)
    path.symlink_to(path.parent / "nowhere")


def _loop(path: Path) -> None:
    _away(path)
    path.symlink_to(path.name)


def _link_to_truth(path: Path) -> None:
    (home,) = (parent for parent in path.parents if (parent / "journal").is_dir())
    _away(path)
    path.symlink_to(next(home.glob("journal/*/*.jsonl")))


def _folder(path: Path) -> None:
    _away(path)
    path.mkdir()


def _open_to_all(path: Path) -> None:
    path.chmod(0o777)


PLACES = ("", "*", "*/manifest", "*/layer*", "*/marks*", "*/lock")
"""The folder of all caches, the folder of ours, and each kind of file in it."""


@pytest.mark.parametrize(
    ("place", "change"),
    [
        *((place, change) for place in PLACES for change in (_fifo, _link_to_truth)),
        *((place, change) for place in PLACES[:3] for change in (_link_elsewhere, _dangling)),
        *((place, change) for place in PLACES[:2] for change in (_away, _folder, _loop)),
        *((place, _open_to_all) for place in PLACES[1:3]),
    ],
)
def test_something_else_in_the_place_of_a_cache_is_neither_believed_nor_waited_for(
    built: Home, wanted: Said, place: str, change: Callable[[Path], None]
) -> None:
    """Reports are as ever; only a rebuild may say that it cannot."""
    change(next(built.projections.glob(place)) if place else built.projections)
    with unchanged(built):
        run = keledger_process if change is _fifo else keledger  # which is ended after a minute
        daily = run("--home", str(built.path), *REPORTS[0])
        assert (daily.status, daily.out) == wanted[0]
        replayed = keledger("--home", str(built.path), *REPORTS[2])
        assert replayed.out == wanted[2][1] or (replayed.status, str(built.path) in replayed.complaint) == (1, True)
        daily = keledger("--home", str(built.path), *REPORTS[0])
        assert (daily.status, daily.out) == wanted[0]


def test_a_link_in_the_place_of_the_folder_costs_nothing_that_is_behind_it(built: Home, tmp_path: Path) -> None:
    """A rebuild sweeps caches that were left alone for long, and nothing else that stands beside them."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis").mkdir()
    (tmp_path / "documents" / "thesis" / "chapter").write_text("years of work")
    os.utime(tmp_path / "documents" / "thesis", (0, 0))
    shutil.rmtree(built.projections)
    built.projections.symlink_to(tmp_path / "documents")
    rebuild(built)
    assert (tmp_path / "documents" / "thesis" / "chapter").read_text() == "years of work"


def test_the_cache_of_another_home_is_not_taken(built: Home, tmp_path: Path) -> None:
    """Neither that of a stranger, nor that of this home's journal as it went another way before it was restored."""
    append(built, call("here", usd="3"))  # by a writer of this place
    shutil.copytree(built.journal, tmp_path / "backup")
    append(built, call("another way", usd="1000"), void(3))
    rebuild(built)
    shutil.copytree(built.projections, tmp_path / "another way")
    shutil.rmtree(built.journal)
    shutil.copytree(tmp_path / "backup", built.journal)
    append(built, call("this way", usd="5"), call("and on", usd="7"), void(4))
    shutil.rmtree(built.projections)
    wanted = said(built)
    stranger = Home.at(tmp_path / "stranger")
    append(stranger, *(call(f"other {number}", usd="1000") for number in range(63)))
    rebuild(stranger)
    for projections in (stranger.projections, tmp_path / "another way"):
        shutil.rmtree(built.projections)
        shutil.copytree(projections, built.projections)
        with unchanged(built):
            assert said(built) == wanted


KILLER = """
import os, signal, sys
sys.argv = ["keledger"]
from keledger.cli.main import main
from keledger.journal import Home
from keledger.projections import rebuild
import duckdb
home = Home.at(sys.stdin.readline().strip())
at = 0
while True:
    at += 1
    pid = os.fork()
    if pid == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir"):
                if event == "open" and not str(arguments[0]).startswith(str(home.projections)):
                    return
                seen += 1
                if seen == at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        rebuild(home)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, flush=True)
    if status == 0 or sys.stdin.readline() == "":
        break
"""
"""Rebuilds a home again and again, killed (kill -9) before its first, second, third ... step, until one runs through.

A step is what Python does to the file system; DuckDB writes between them.  The interpreter is warmed up once, and
forked while it has one thread."""


def test_a_builder_killed_at_any_step_leaves_what_was_or_what_is_to_be(built: Home, wanted: Said) -> None:
    killed = 0
    with (
        unchanged(built),
        subprocess.Popen(
            [sys.executable, "-c", KILLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as killer,
    ):
        assert killer.stdin is not None
        assert killer.stdout is not None
        killer.stdin.write(f"{built.path}\n")
        killer.stdin.flush()
        while (status := int(killer.stdout.readline())) != 0:
            assert status == -9
            killed += 1
            daily = keledger("--home", str(built.path), *REPORTS[0])
            assert (daily.status, daily.out) == wanted[0], killed
            killer.stdin.write("on\n")
            killer.stdin.flush()
        assert said(built) == wanted
    assert killed >= 10
    rebuild(built)
    assert len(list(built.projections.glob("*/layer-*"))) == 1


def test_caches_dropped_at_any_moment_while_commands_run(large: Home) -> None:
    """And with a builder's lock held by somebody else: the commands go on in memory."""
    wanted = said(large)
    (folder,) = large.projections.iterdir()  # so large a journal is cached by whoever reads it first
    over = threading.Event()

    def drop() -> None:
        while not over.is_set():
            shutil.rmtree(large.projections, ignore_errors=True)
            over.wait(0.05)

    with unchanged(large):
        dropping = threading.Thread(target=drop)
        dropping.start()
        try:
            for arguments, expected in zip(REPORTS, wanted, strict=True):
                outcome = keledger_process("--home", str(large.path), *arguments)
                if arguments == REPORTS[2] and outcome.status:  # it is asked to build, and may say that it cannot
                    assert outcome.complaint.startswith(f"cannot build {large.path}")
                else:
                    assert (outcome.status, outcome.out) == expected, outcome.err
        finally:
            over.set()
            dropping.join()
        shutil.rmtree(large.projections, ignore_errors=True)
        folder.mkdir(parents=True)
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outcome = keledger_process("--home", str(large.path), *REPORTS[0])
            assert (outcome.status, outcome.out) == wanted[0]
            assert [path.name for path in folder.iterdir()] == ["lock"]


def test_merging_in_any_order_and_reading_at_any_split_give_one_digest(tmp_path: Path) -> None:
    sources = [Home.at(tmp_path / name) for name in "abc"]
    for number, source in enumerate(sources):
        with Ledger.open(source.path) as ledger:
            for again in range(2):
                ledger.record(
                    **given_call(id=f"shared {again}", session=str(number) * again, time="2026-11-20T10:00:00Z")
                )
            ledger.record(**given_call(id=f"own {number}", time="2026-11-20T11:00:00Z"))
            ledger.void(ledger.record(**given_call(id=f"gone {number}", time="2026-11-20T12:00:00Z")), "a test")
    digests = set()
    for order in list(permutations(sources))[::2]:
        merged = Home.at(tmp_path / "-".join(source.path.name for source in order))
        for place, source in enumerate(order):
            outcome = keledger("--home", str(merged.path), "merge", str(source.path))
            assert outcome.status == 0, outcome.err
            if place == len(order) % 2:  # some catch up from a cache made half-way
                rebuild(merged)
        digests.add(keledger("--home", str(merged.path), "replay", "--digest").out)
        with open_digest(merged) as caught_up:
            digests.add(caught_up)
        daily = keledger("--home", str(merged.path), "--json", "daily", "--timezone", "UTC").json
        assert daily["totals"]["calls"] == 5
    assert len(digests) == 1


@contextlib.contextmanager
def open_digest(home: Home) -> Iterator[str]:
    """The digest of what catching up gives, as the command prints that of a rebuild."""
    from keledger.projections import digest, open_projection

    with open_projection(home) as projection:
        yield digest(projection) + "\n"


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "Kathmandu, C": {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    "Apia, another locale": {"TZ": "Pacific/Apia", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "77", "PYTHONUTF8": "0"},
    "no zone, optimised": {"TZ": ":/nowhere", "PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "0", "KELEDGER_TZ": "UTC"},
}


@pytest.mark.parametrize("around", ENVIRONMENTS)
def test_nothing_around_enters_the_digest(tmp_path: Path, around: str) -> None:
    """The golden journal of the projections, in other zones, locales, hash seeds, umasks and working folders."""
    from tests.projections.test_digest import GOLDEN, GOLDEN_DIGEST

    (tmp_path / "parent").mkdir()
    golden = copy_home(Home.at(GOLDEN), tmp_path / "parent" / "home")
    for umask, folder in (("000", "/"), ("277", str(tmp_path))):
        command = f'umask {umask}; cd {folder}; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", command, "sh", *COMMAND, "--home", str(golden.path), "replay", "--digest"],
            env={**os.environ, **ENVIRONMENTS[around]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (0, GOLDEN_DIGEST), done.stderr
        for path in (golden.projections, *golden.projections.rglob("*")):
            assert not path.stat().st_mode & 0o077
    assert json.loads(keledger("--home", str(golden.path), "verify").out)["damaged"] is True  # it holds a conflict
