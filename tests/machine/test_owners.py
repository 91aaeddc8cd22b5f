"""Files that belong to somebody else, and somebody else at the files: one home, one user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, Ledger, verify
from tests.cli.support import COMMAND, json_lines, keledger_process
from tests.journal.support import call, calls, newest_segment, tree_bytes

from ._needs import need_root

pytestmark = pytest.mark.machine

NOBODY = 65534

ON_A_HOME = {
    "record": ("record",),
    "daily": ("daily",),
    "verify": ("verify",),
    "replay": ("replay",),
    "sql": ("sql", "SELECT 1 AS one"),
    "export": ("export", "--format", "jsonl", "-o", "-"),
}


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user of this machine can reach, unlike pytest's own."""
    need_root()
    with tempfile.TemporaryDirectory(prefix="keledger-test-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def used(shared: Path) -> Home:
    """A home with one call that every user could reach, were it not for its modes."""
    found = Home.at(shared / "home")
    with Ledger.open(found.path) as ledger:
        ledger.record(**call())
    return found


def _as_nobody(attempt: Callable[[], object]) -> str:
    """Do it in a child that is another user; returns the result, or the name of the exception."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            told = str(attempt())
        except Exception as error:  # noqa: BLE001 - it is what the parent asks for
            told = type(error).__name__
        os.write(send, told.encode())
        os._exit(0)
    os.close(send)
    with open(receive, encoding="utf-8") as file:
        told = file.read()
    os.waitpid(child, 0)
    return told


def _give_away(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("arguments", ON_A_HOME.values(), ids=ON_A_HOME)
def test_another_users_home_is_refused(used: Home, arguments: tuple[str, ...]) -> None:
    _give_away(used.path)
    before = tree_bytes(used.path)
    outcome = keledger_process("--home", str(used.path), *arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith(f"{used.path} belongs to user id {NOBODY}, not to you: ")
    assert tree_bytes(used.path) == before


@pytest.mark.parametrize("which", ["lock", "segment"])
def test_another_users_file_in_the_own_home_is_refused(used: Home, which: str) -> None:
    path = used.lock if which == "lock" else newest_segment(used)
    os.chown(path, NOBODY, NOBODY)
    before = path.read_bytes()
    with Ledger.open(used.path) as ledger, pytest.raises(HomeError, match=f"{path} belongs to user id {NOBODY}"):
        ledger.record(**call())
    assert path.read_bytes() == before


def test_another_users_spool_is_not_believed(used: Home) -> None:
    with Ledger.open(used.path) as ledger:
        used.spool.mkdir(parents=True, mode=0o700)
        ledger._spool.keep({"id": "01980000-0000-7000-8000-000000000001", "provider": "openai", "model": "m"}, None)
        _give_away(used.spool)
        ledger.record(**call())
        assert len(calls(used)) == 2
        assert [finding.kind for finding in verify(used).findings] == ["spool_open"]
        shutil.chown(used.spool, os.geteuid())
        ledger.record(**call())
    assert len(calls(used)) == 4


def test_nobody_else_reads_or_changes_a_home(used: Home) -> None:
    assert keledger_process("--home", str(used.path), "daily").status == 0
    for path in (used.path, *used.path.rglob("*")):
        attempt: Callable[[], object] = path.iterdir().__next__ if path.is_dir() else path.read_bytes
        assert _as_nobody(attempt) == "PermissionError", path
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
    assert _as_nobody(lambda: Ledger.open(used.path)) == "HomeError"


@pytest.fixture
def address(used: Home, shared: Path) -> Iterator[Path]:
    """The socket of a command under ``keledger run``."""
    environment = {**os.environ, "KELEDGER_HOME": str(used.path), "TMPDIR": str(shared)}
    environment.pop("XDG_RUNTIME_DIR", None)
    program = "import os; print(os.environ['KELEDGER_SOCKET'], flush=True); input()"
    command = [*COMMAND, "run", "--", sys.executable, "-c", program]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip())
        process.communicate("\n")


def _connect(address: Path) -> str:
    """What the other end does: closes, or waits for what is said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        connection.connect(str(address))
        try:
            return "closed" if connection.recv(1) == b"" else "answered"
        except ConnectionResetError:
            return "closed"
        except TimeoutError:
            return "waits"


def test_nobody_else_talks_to_a_run(address: Path) -> None:
    assert _as_nobody(lambda: _connect(address)) == "PermissionError"
    os.chmod(address.parent, 0o755)
    os.chmod(address, 0o666)
    assert _as_nobody(lambda: _connect(address)) == "closed"  # its user id is asked of the kernel
    assert _connect(address) == "waits"
