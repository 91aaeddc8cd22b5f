"""Promise 5: nothing is rewritten, truncated, renamed over or deleted in ``journal/`` and ``prices/``."""

from __future__ import annotations

import ast
import contextlib
import errno
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import keledger.journal as write_side
from keledger.journal import AppendUnknown, Home, KeledgerError, Ledger, own_writers
from keledger.journal._disk import Disk
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from keledger.projections import open_projection, rebuild
from tests.cli.support import json_lines, keledger
from tests.journal.support import call, note
from tests.journal.test_spool import BEGIN, END

from .support import FAILURES, FaultyDisk, Tell, append_script, failing, in_child, kill_me, script_calls

pytestmark = pytest.mark.usefixtures("small_segments", "quick_syncs")


@dataclass(frozen=True)
class File:
    """A file of the truth as it was found."""

    inode: int
    content: bytes


def truth(home: Home) -> dict[Path, File]:
    """Every file in ``journal/`` and ``prices/``."""
    return {
        path: File(path.stat().st_ino, path.read_bytes())
        for folder in (home.journal, home.prices)
        for path in folder.rglob("*")
        if path.is_file()
    }


def check_kept(home: Home, before: dict[Path, File]) -> dict[Path, File]:
    """Each earlier file is still the same one, and its bytes begin the present ones; returns what is there now."""
    after = truth(home)
    for path, old in before.items():
        assert path in after, f"{path} is gone"
        assert after[path].inode == old.inode, f"{path} is another file"
        assert after[path].content.startswith(old.content), f"{path} was rewritten"
        assert path.parent != home.prices or after[path].content == old.content, f"{path} has grown"
    return after


class Life:
    """All that the program can do to a home, a step after the other."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.other = Home.at(folder / "other")
        self.call_id = ""
        self.by_hand = False
        """Whether the test itself is at work, where a dead process or a disk has left something."""

    def steps(self) -> list[Callable[[], object]]:
        """The steps, in an order in which each has something to do."""
        return [
            self.record, self.append, self.fail_to_write, self.fail_to_sync, self.fail_for_long, self.tear,
            self.leave_an_empty_segment, self.spool, self.bring_in, self.merge, self.merge_a_longer_copy, self.move,
            self.adopt_newer_prices, self.void, self.revert, self.project, self.rebuild, *self.commands(),
        ]  # fmt: skip

    def record(self) -> None:
        with Ledger.open(self.home.path) as ledger:
            self.call_id = ledger.record(**call(id="one"))
            ledger.record_many([call(session=f"s{number}") for number in range(5)])
        with Ledger.open(self.other.path) as ledger:
            ledger.record_many([call(session="other") for _ in range(3)])

    def append(self) -> None:
        append_script(self.home)

    def fail_to_write(self) -> None:
        append_script(self.home, FaultyDisk(1, failing(errno.ENOSPC), ("write",)))

    def fail_to_sync(self) -> None:
        append_script(self.home, FaultyDisk(1, failing(errno.EIO), ("sync",), late=True))

    def fail_for_long(self) -> None:
        disk = FaultyDisk(1, failing(errno.EIO), ("sync", "create_exclusive"), persistent=True)
        appender = Appender(self.home, disk=disk)
        with pytest.raises(AppendUnknown):
            appender.append([note()])
        disk.at = 0
        appender.append([note()])
        appender.close()

    def tear(self) -> None:
        self.by_hand = True
        with newest_of(self.home).open("ab") as file:
            file.write(b'{"specversion":"1.0","id":"')
        self.by_hand = False
        append_script(self.home)

    def leave_an_empty_segment(self) -> None:
        newest = newest_of(self.home)
        self.by_hand = True
        newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl").touch(mode=0o600)
        self.by_hand = False
        append_script(self.home)

    def spool(self) -> None:
        with pytest.MonkeyPatch.context() as patch, Ledger.open(self.home.path) as ledger:
            patch.setattr("keledger.journal._limits.LOCK_WAIT_S", 0.05)
            blocker = Appender(self.home)
            with blocker.locked():
                assert not ledger.record_hook(BEGIN, END).journaled
            blocker.close()

    def bring_in(self) -> None:
        with Ledger.open(self.home.path) as ledger:
            ledger.record(**call())
        assert list(self.home.spool.glob("*.json")) == []

    def merge(self) -> None:
        with Ledger.open(self.home.path) as ledger:
            assert ledger.merge(self.other.path).lines

    def merge_a_longer_copy(self) -> None:
        with Ledger.open(self.other.path) as ledger:
            ledger.record_many([call(session="later") for _ in range(3)])
        with Ledger.open(self.home.path) as ledger:
            assert ledger.merge(self.other.path).lines

    def move(self) -> None:
        """Away and back: the home's own writer is another one then."""
        identity = self.home.path / "writer.json"
        content = json.loads(identity.read_text())
        identity.write_text(json.dumps({**content, "machine": "0" * 32}))
        append_script(self.home)

    def adopt_newer_prices(self) -> None:
        for name in ("guard", "projections"):
            shutil.rmtree(self.home.path / name, ignore_errors=True)
        with Ledger.open(self.home.path) as ledger:
            ledger.record(**call())

    def void(self) -> None:
        with Ledger.open(self.home.path) as ledger:
            ledger.void(self.call_id, "a test")

    def revert(self) -> None:
        with Ledger.open(self.home.path) as ledger:
            ledger.revert_void(self.call_id, "a test")

    def project(self) -> None:
        with open_projection(self.home):
            pass

    def rebuild(self) -> None:
        rebuild(self.home)

    def commands(self) -> Iterator[Callable[[], object]]:
        """Every command that takes a home, as a user gives it."""
        target = str(self.folder / "out")
        given = json_lines(call(id="two"), call(session="s9"))
        for arguments in (
            ["record"], ["daily"], ["weekly"], ["monthly"], ["sessions"], ["session", "s1"], ["call", "ID"],
            ["sql", "SELECT * FROM calls"], ["sql", "DELETE FROM calls"], ["void", "ID", "--reason", "again"],
            ["void", "ID", "--undo", "--reason", "again"], ["verify"], ["replay"], ["replay", "--digest"],
            ["merge", str(self.other.path)], ["doctor"], ["anchor"],
            *(["export", "--format", name, "-o", f"{target}.{name}"] for name in ("jsonl", "csv")),
        ):  # fmt: skip
            yield partial(self.command, arguments, given)

    def command(self, arguments: list[str], given: str) -> None:
        told = [self.call_id if argument == "ID" else argument for argument in arguments]
        done = keledger("--home", str(self.home.path), *told, given=given)
        assert done.status == (2 if "DELETE FROM calls" in arguments else 0), (arguments, done.err)


def newest_of(home: Home) -> Path:
    """The file that the home's own writer appends to."""
    return home.segments(own_writers(home)[-1])[-1]


def name_of(step: Callable[[], object]) -> str:
    return " ".join(step.args[0]) if isinstance(step, partial) else step.__name__


def test_whatever_is_done_each_file_keeps_its_bytes(home: Home, tmp_path: Path) -> None:
    life = Life(home, tmp_path)
    before: dict[Path, File] = {}
    for step in life.steps():
        step()
        try:
            before = check_kept(home, before)
        except AssertionError as error:
            raise AssertionError(f"{name_of(step)}: {error}") from error
    assert len(before) > 20


def test_no_call_that_fails_or_kills_rewrites_anything(home: Home, tmp_path: Path) -> None:
    """One home for all: what one fault leaves is what the next one finds."""
    before: dict[Path, File] = {}
    for at in range(1, len(script_calls(tmp_path)) + 1):
        with contextlib.suppress(KeledgerError):
            append_script(home, FaultyDisk(at, failing(FAILURES[at % len(FAILURES)])))
        assert in_child(partial(_append_in_child, home, at)).status in (0, -9)
        before = check_kept(home, before)


def _append_in_child(home: Home, at: int, _tell: Tell) -> None:
    append_script(home, FaultyDisk(at, kill_me))


def test_a_merge_that_is_killed_anywhere_rewrites_nothing(home: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    append_script(home)
    append_script(other)
    merge(home, other.path, appender=Appender(home), actor="test")
    append_script(other)
    here, there = truth(home), truth(other)
    at, ended = 0, None
    while ended is None or ended.killed:
        at += 1
        ended = in_child(partial(_merge_in_child, home, other, at))
        here = check_kept(home, here)
    assert at > 20
    assert check_kept(other, there) == there


def _merge_in_child(home: Home, other: Home, at: int, _tell: Tell) -> None:
    merge(home, other.path, appender=Appender(home, disk=FaultyDisk(at, kill_me)), actor="test")


# What the operating system is asked for, seen by the interpreter's own audit events.

WATCHED = ("open", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod", "os.chown",
           "shutil.rmtree", "shutil.move", "shutil.copyfile", "os.utime")  # fmt: skip


def forbidden(home: Home, event: str, arguments: tuple[Any, ...]) -> str | None:
    """What is wrong with an audited call; None for one that may be made.

    A file may be made where none is (exclusively, by a link, or by moving a whole one in), and be appended to.
    """
    paths = [Path(os.fsdecode(path)) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
    inside = [path for path in paths if {home.journal, home.prices} & {path, *path.parents}]
    if event == "os.truncate" and isinstance(arguments[0], int):
        inside = paths = [Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))]
    if not inside:
        return None
    if event == "open":
        flags = arguments[2]
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT)
        allowed = flags & os.O_APPEND and not flags & os.O_TRUNC and (flags & os.O_EXCL or not flags & os.O_CREAT)
        return None if not writes or allowed else f"open {inside[0]} with flags {flags:#o}"
    if event in ("os.rename", "os.link") and paths[0] not in inside and not paths[1].exists():
        return None
    return f"{event} {' '.join(map(str, paths))}"


def test_the_operating_system_is_never_asked_to_change_old_bytes(home: Home, tmp_path: Path) -> None:
    def live(tell: Tell) -> None:
        seen = 0

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event in WATCHED and not life.by_hand:
                seen += 1
                problem = forbidden(home, event, arguments)
                if problem is not None:
                    tell(problem.replace(" ", "_"))

        life = Life(home, tmp_path)
        sys.addaudithook(audit)  # it cannot be taken back: therefore in a child
        for step in life.steps():
            step()
        tell(f"seen:{seen > 1000}")

    ended = in_child(live)
    assert ended.status == 0
    assert ended.told == ["seen:True"]


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("journal/x/00000001.jsonl", None, os.O_RDWR)),
        ("open", ("journal/x/00000001.jsonl", "w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
        ("open", ("journal/x/00000001.jsonl", "a", os.O_WRONLY | os.O_APPEND | os.O_CREAT)),
        ("open", ("prices/ab", "r+", os.O_RDWR)),
        ("os.remove", ("journal/x/00000001.jsonl", -1)),
        ("os.rename", ("journal/x/00000001.jsonl", "elsewhere", -1, -1)),
        ("os.rename", ("writer.json", "journal/x/00000001.jsonl", -1, -1)),
        ("os.truncate", ("journal/x/00000001.jsonl", 0)),
        ("shutil.rmtree", ("journal", None)),
    ],
)
def test_the_audit_would_see_it(home: Home, event: str, arguments: tuple[Any, ...]) -> None:
    (home.journal / "x").mkdir(parents=True)
    (home.journal / "x" / "00000001.jsonl").touch()
    told = tuple(str(home.path / part) if index < 2 and isinstance(part, str) and ("/" in part or "." in part
                 or part in ("journal", "elsewhere")) else part for index, part in enumerate(arguments))  # fmt: skip
    assert forbidden(home, event, told)


# The write side's own source.

CHANGES = {
    "os": ("chmod", "link", "makedirs", "mkdir", "open", "remove", "rename", "replace", "rmdir", "truncate", "unlink",
           "ftruncate", "write", "pwrite", "sendfile", "copy_file_range"),
    "shutil": ("copy", "copy2", "copyfile", "copytree", "move", "rmtree"),
}  # fmt: skip
PATH_CHANGES = ("hardlink_to", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text")

ELSEWHERE = {
    ("_home.py", "os.chmod"): "an empty folder that somebody made to be the home",
    ("_spool.py", "os.chmod"): "the spool, outside of the home",
    ("_merge.py", "shutil.rmtree"): "drafts beside journal/",
    ("_schema.py", ".write_text"): "the file that the developer's own command is told to write",
}
"""What else changes files, and which: none of it stands in ``journal/`` or ``prices/``."""


def changes_files(node: ast.AST) -> str | None:
    """The call that a node makes, if it may change a file."""
    if not isinstance(node, ast.Call):
        return None
    called = node.func
    if isinstance(called, ast.Name) and called.id == "open":
        mode = node.args[1] if len(node.args) > 1 else None
        harmless = mode is None or (isinstance(mode, ast.Constant) and not set(str(mode.value)) & set("wax+"))
        return None if harmless else "open"
    if isinstance(called, ast.Attribute):
        owner = called.value.id if isinstance(called.value, ast.Name) else ""
        if (owner, called.attr) == ("os", "open") and "O_RDONLY" in ast.unparse(node):
            return None
        if called.attr in CHANGES.get(owner, PATH_CHANGES):
            return f"{owner}.{called.attr}"
    return None


def test_only_the_disk_module_changes_the_truth() -> None:
    folder = Path(write_side.__path__[0])
    found = {
        (path.name, change)
        for place in (folder, folder / "prices", folder / "usage")
        for path in place.glob("*.py")
        if path.name != "_disk.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if (change := changes_files(node))
    }
    assert found == set(ELSEWHERE)


def test_the_disk_opens_to_append_or_to_make_only(tmp_path: Path) -> None:
    disk, path = Disk(), tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        disk.open_append(path)
    for open_it in (disk.create_exclusive, disk.open_append):
        descriptor = open_it(path)
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        os.lseek(descriptor, 0, os.SEEK_SET)
        disk.write(descriptor, b"ab")
        disk.close(descriptor)
    assert path.read_bytes() == b"abab"
    with pytest.raises(FileExistsError):
        disk.create_exclusive(path)
    with pytest.raises(FileExistsError):
        disk.link(path, path)
