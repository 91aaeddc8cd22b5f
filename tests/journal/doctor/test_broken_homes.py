"""What ``diagnose`` says of each way in which a home is broken."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from keledger.journal import Home, diagnose
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._settled import leave
from keledger.journal._writer import Appender
from tests.journal.support import newest_segment, note

from .support import only


def _fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def _link(path: Path) -> None:
    kept = path.with_name(f"{path.name}-elsewhere")
    path.rename(kept)
    kept.rename(path.parents[1] / kept.name)
    path.symlink_to(path.parents[1] / kept.name)


def _book(home: Home) -> Path:
    """The adopted book's manifest."""
    return next(path for path in home.prices.iterdir() if path.read_bytes().startswith(b'{"keledger_book"'))


def _layer(home: Home) -> Path:
    return next(path for path in home.prices.iterdir() if path.read_bytes().startswith(b'{"keledger_layer"'))


def _swap(path: Path) -> None:
    """Change one byte."""
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"x" + content[-1:])


def _fail_a_sync(home: Home) -> None:
    """As a merge does whose sync of another writer's file fails."""
    other = Home.at(home.path.with_name("of another writer"))
    Appender(other).append([note("theirs")])
    merge(home, other.path, appender=Appender(home), actor="test")
    leave(home, Disk(), home.segments(other.writers()[0])[0])


def _socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(path.parent)  # an address has some hundred bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


Break = Callable[[Home], object]

BROKEN: dict[str, tuple[Break, str, str]] = {
    "files open": (lambda home: newest_segment(home).chmod(0o644), "files", "is open to others"),
    "folder open": (lambda home: home.journal.chmod(0o755), "files", "is open to others"),
    "lock a fifo": (lambda home: _fifo(home.lock), "lock", "is not a regular file"),
    "lock a link": (lambda home: _link(home.lock), "lock", "cannot be opened"),
    "lock a folder": (lambda home: (home.lock.unlink(), home.lock.mkdir()), "lock", "is not a regular file"),
    "lock a socket": (lambda home: _socket(home.lock), "lock", "cannot be opened"),
    "segment a fifo": (lambda home: _fifo(newest_segment(home)), "files", "is not what belongs there"),
    "segment a link": (lambda home: _link(newest_segment(home)), "files", "is not what belongs there"),
    "writer.json damaged": (
        lambda home: (home.path / "writer.json").write_text("{"),
        "writer",
        "cannot be read as a writer's identity",
    ),
    "writer.json of another kind": (
        lambda home: (home.path / "writer.json").write_text('["a"]'),
        "writer",
        "cannot be read as a writer's identity",
    ),
    "writer.json a fifo": (lambda home: _fifo(home.path / "writer.json"), "writer", "is not a plain file"),
    "a merged file's sync failed": (_fail_a_sync, "sync", "a power cut may take lines"),
    "config no TOML": (lambda home: home.config.write_text("a = = b"), "config", "cannot be read"),
    "config not UTF-8": (lambda home: home.config.write_bytes(b"a = '\xff'"), "config", "cannot be read"),
    "config a fifo": (lambda home: _fifo(home.config), "config", "is not a plain file"),
    "config a folder": (lambda home: home.config.mkdir(), "config", "is not a plain file"),
    "config to nowhere": (lambda home: home.config.symlink_to("nowhere"), "config", "No such file"),
    "config for all to write": (
        lambda home: (home.config.write_text(""), home.config.chmod(0o666)),
        "config",
        "can be written by others",
    ),
    "config with a wrong zone": (
        lambda home: home.config.write_text('timezone = "Mars/Olympus"'),
        "config",
        "reports have no time zone",
    ),
    "journal gone": (lambda home: shutil.rmtree(home.journal), "writer", "there is no folder"),
    "the writer's folder gone": (
        lambda home: shutil.rmtree(newest_segment(home).parent),
        "writer",
        "has no folder, where writer.json says",
    ),
    "journal a file": (
        lambda home: (shutil.rmtree(home.journal), home.journal.write_text("")),
        "files",
        "is not what belongs there",
    ),
    "prices gone": (lambda home: shutil.rmtree(home.prices), "prices", "is missing"),
    "book damaged": (lambda home: _swap(_book(home)), "prices", "is damaged"),
    "layer damaged": (lambda home: _swap(_layer(home)), "prices", "is damaged"),
    "layer missing": (lambda home: _layer(home).unlink(), "prices", "is missing"),
    "book a fifo": (lambda home: _fifo(_book(home)), "prices", "is not a plain file"),
    "book a folder": (lambda home: ((book := _book(home)).unlink(), book.mkdir()), "prices", "is not a plain file"),
    "adoption's cache a fifo": (
        lambda home: ((home.path / "guard").mkdir(0o700, exist_ok=True), _fifo(home.path / "guard" / "adopted.json")),
        "prices",
        "is not a plain file",
    ),
    "spool a file": (
        lambda home: (home.spool.parent.mkdir(parents=True), home.spool.write_text("")),
        "spool",
        "is not a folder",
    ),
    "spool open": (
        lambda home: (home.spool.mkdir(parents=True), home.spool.chmod(0o777)),
        "spool",
        "nothing in it is believed",
    ),
    "spool with a fifo": (
        lambda home: (home.spool.mkdir(0o700, parents=True), _fifo(home.spool / "a.json")),
        "spool",
        "1 file in",
    ),
    "spool with garbage": (
        lambda home: (home.spool.mkdir(0o700, parents=True), (home.spool / "a.json").write_text("garbage")),
        "spool",
        "1 file in",
    ),
}
"""What is done to a home, which check tells, and what it says."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_home(used: Home, case: str) -> None:
    destroy, name, words = BROKEN[case]
    destroy(used)
    checks = diagnose(used)
    problems = [check for check in checks if check.state == "problem"]
    told = [check for check in problems if check.name == name]
    assert any(words in check.message for check in told), problems
    assert all(check.remedy and "\n" not in check.sentence for check in problems)
    assert not any("this check itself failed" in check.message for check in checks)


@pytest.mark.parametrize("case", ["file", "link", "open", "below a file", "a device"])
def test_what_cannot_be_a_home(tmp_path: Path, case: str) -> None:
    path = tmp_path / "place"
    if case == "file":
        path.write_text("mine")
    elif case == "link":
        path.symlink_to(tmp_path)
    elif case == "open":
        path.mkdir()
        (path / "letter").write_text("mine")
        path.chmod(0o755)
    elif case == "below a file":
        path.write_text("mine")
        path = path / "home"
    else:
        path = Path(os.devnull)
    check = only(Home.at(path), "home")
    assert (check.state, bool(check.remedy)) == ("problem", True)
    assert str(path) in check.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("name", ["", "journal", "lock", "writer.json"])
def test_somebody_elses(used: Home, name: str) -> None:
    os.chown(used.path / name, 12345, 12345)
    told = [check for check in diagnose(used) if check.state == "problem"]
    assert any("belong" in check.message for check in told)
