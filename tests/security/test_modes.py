"""Folders are 0700 and files 0600, whatever the umask is: each way in which keledger makes any."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, diagnose
from keledger.journal import _limits as limits
from keledger.journal._writer import Appender
from keledger.projections import _confined, open_projection, rebuild, run_sql
from tests.cli.support import json_lines, keledger, keledger_process
from tests.journal.support import call, calls
from tests.journal.test_spool import BEGIN, END
from tests.keprompt.support import Stage
from tests.projections.support import append, void
from tests.projections.support import call as small_call

from .support import open_ones


@pytest.fixture(autouse=True, params=[0o000, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """The umask of this process and of all that it starts."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the spool is, folders above it included; it is not there yet."""
    return tmp_path / "user" / "state"


def test_the_library(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        with ledger.call(provider="openai", model="gpt-5-mini") as one:
            one.complete({"usage": call()["usage_raw"]})
        ledger.record(**call(id="a"))
        ledger.void(one.id, "a test")
    assert open_ones(home.path) == []


def test_a_home_below_folders_that_are_not_there(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "some" / "where" / "home")
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert open_ones(tmp_path / "some") == []


def test_the_commands(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    for arguments in (
        ("record",), ("daily",), ("replay",), ("replay", "--digest"), ("verify",), ("doctor",), ("sessions",),
        ("sql", "SELECT data FROM events"), ("completion", "bash"), ("schema",),
    ):  # fmt: skip
        assert keledger(*arguments, given=json_lines(call())).status in (0, 3), arguments
    assert open_ones(home.path) == []


def test_pseudonyms(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    home.path.chmod(0o700)
    home.config.touch(0o600)
    home.config.chmod(0o600)
    home.config.write_text('identity = "pseudonym"\n')
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert (home.path / "identity.key").exists()
    assert open_ones(home.path) == []


def test_more_than_one_segment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2000)
    with Ledger.open(home.path) as ledger:
        for _ in range(4):
            ledger.record(**call())
    assert len(home.segments(home.writers()[0])) > 1
    assert open_ones(home.path) == []


def test_the_guards_cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keledger.journal._adoption._SAVE_EVERY_BYTES", 0)
    for _ in range(2):
        with Ledger.open(home.path) as ledger:
            ledger.record(**call())
    assert (home.path / "guard" / "adopted.json").exists()
    assert open_ones(home.path) == []


def test_a_merge(home: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    for place in (home, other):
        with Ledger.open(place.path) as ledger:
            ledger.record(**call())
    for path in other.path.rglob("*"):  # as a copy on a stick would be
        path.chmod(0o777 if path.is_dir() else 0o666)
    with Ledger.open(home.path) as ledger:
        assert ledger.merge(other.path).lines
    assert len(home.writers()) == 2
    assert open_ones(home.path) == []


def test_layers_and_marks(home: Home) -> None:
    append(home, *(small_call(number) for number in range(20)), small_call(0), void(1))
    rebuild(home)
    append(home, small_call("later"))
    with open_projection(home) as projection:
        run_sql(projection, "SELECT * FROM events")
    kinds = {path.name.partition("-")[0] for path in home.projections.rglob("*") if path.is_file()}
    assert kinds == {"layer", "marks", "manifest", "lock"}
    assert open_ones(home.path) == []


def test_the_copies_that_a_statement_reads(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in a folder that nobody else gets into; their own modes are the umask's."""
    append(home, small_call(1))
    rebuild(home)
    seen = []
    copies = _confined._copies

    def watched(projection: object, folder: Path) -> list[Path]:
        seen.append(stat.S_IMODE(folder.stat().st_mode))
        return copies(projection, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(_confined, "_copies", watched)
    with open_projection(home) as projection:
        run_sql(projection, "SELECT data FROM events")
    assert seen == [0o700]


def _spooled_by_the_ledger(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
        monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
        with Appender(home).locked():
            assert not ledger.record_hook(BEGIN, END).journaled


def _spooled_by_the_client(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from keledger.journal.capture import client

    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    assert client.keep(BEGIN, END) is not None


@pytest.mark.parametrize("spool", [_spooled_by_the_ledger, _spooled_by_the_client])
def test_the_spool(
    home: Home, state: Path, monkeypatch: pytest.MonkeyPatch, spool: Callable[[Home, pytest.MonkeyPatch], None]
) -> None:
    spool(home, monkeypatch)
    assert len(list(home.spool.glob("*.json"))) == 1
    assert open_ones(state) == []
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert list(home.spool.glob("*.json")) == []
    assert open_ones(state, home.path) == []
    assert [check.message for check in diagnose(home) if check.name == "files" and check.state == "problem"] == []


@pytest.mark.parametrize(
    "command",
    [("export", "--format", "jsonl"), ("export", "--format", "csv"), ("export", "--events"), ("anchor",)],
    ids=" ".join,
)
def test_a_file_that_was_asked_for(home: Home, tmp_path: Path, command: tuple[str, ...]) -> None:
    append(home, small_call(1))
    folder = tmp_path / "out"
    folder.mkdir()
    folder.chmod(0o700)
    file = folder / "file"
    for force in ((), ("--force",)):
        assert keledger("--home", str(home.path), *command, "-o", str(file), *force).status == 0
        assert open_ones(folder) == []
        file.chmod(0o644)  # what it replaces decides nothing


WATCHING_THE_SOCKET = """
import json, os, stat
address = os.environ["KELEDGER_SOCKET"]
modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (os.path.dirname(address), address)]
print(json.dumps([address, modes]))
"""


def test_the_socket_of_a_run(home: Home) -> None:
    runtime = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))  # an address has some hundred bytes at most
    try:
        options = {"env": {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}}
        command = ("--home", str(home.path), "run", "--", sys.executable, "-c", WATCHING_THE_SOCKET)
        outcome = keledger_process(*command, **options)
        address, modes = json.loads(outcome.out)
        assert address.startswith(str(runtime))
        assert modes == [0o700, 0o600]
        assert list(runtime.iterdir()) == []
    finally:
        runtime.rmdir()


def test_a_keprompt(stage: Stage, state: Path) -> None:
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    assert len(calls(stage.home)) == 1
    assert open_ones(stage.home.path) == []
    stage.home.lock.unlink()
    stage.home.lock.mkdir(mode=0o700)
    stage.run(stage.watched(stage.chat("hello")))
    stage.home.lock.rmdir()
    assert len(list(stage.home.spool.iterdir())) == 1
    assert open_ones(state) == []


@pytest.mark.parametrize("umask", [0o000], ids=oct, indirect=True)
@pytest.mark.skipif(importlib.util.find_spec("keprompt") is None, reason="keprompt is not installed beside keledger")
def test_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o700)
    outcome = keledger_process("demo", "--keep", env={**os.environ, "TMPDIR": str(folder)})
    assert outcome.status == 0, outcome.err
    (demo,) = folder.glob("keledger-demo-*")
    assert stat.S_IMODE(demo.stat().st_mode) == 0o700
    assert open_ones(demo / "home") == []
