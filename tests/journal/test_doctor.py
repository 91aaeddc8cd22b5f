"""``diagnose``: what it says of a home that is well, and of every way in which one is not."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Check, Home, Ledger, NewEvent, diagnose, filesystem_kind, format_time
from keledger.journal import _doctor_home as doctor_home
from keledger.journal import _doctor_journal as doctor_journal
from keledger.journal import _doctor_machine as doctor_machine
from keledger.journal import _filesystem as filesystem
from keledger.journal._disk import Disk, write_new
from keledger.journal._doctor_journal import version_key
from keledger.journal._identity import new_id
from keledger.journal._time import now_us
from keledger.journal._writer import Appender

from .support import call, newest_segment, note, tree_bytes

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_keprompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which KePrompts a machine has is the machine's affair."""
    monkeypatch.setattr("keledger.journal.capture._enable.find_all", lambda: iter(()))


@pytest.fixture
def used(home: Home) -> Home:
    """A home with a call in it."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    return home


def seen(home: Home, name: str, **options: Any) -> list[Check]:
    return [check for check in diagnose(home, **options) if check.name == name]


def only(home: Home, name: str, **options: Any) -> Check:
    (check,) = seen(home, name, **options)
    return check


def append(home: Home, *events: NewEvent) -> None:
    appender = Appender(home)
    appender.append(events)
    appender.close()


def test_a_home_that_is_well(used: Home) -> None:
    checks = diagnose(used)
    assert [check.name for check in checks] == [
        "versions", "home", "filesystem", "space", "files", "config", "sync", "lock", "writer", "clock", "events",
        "prices", "spool", "keprompt",
    ]  # fmt: skip
    # Where the tests run, a temporary folder may be in memory or in a container.
    assert {check.name: check.state for check in checks if check.state != "ok"}.keys() <= {"filesystem", "space"}


def test_a_home_that_is_not_there_yet(home: Home) -> None:
    assert {check.state for check in diagnose(home) if check.name not in ("filesystem", "space")} == {"ok"}
    assert only(home, "home").message == f"{home.path} is not there yet and will be made with the first event"
    assert not home.path.exists()


def test_nothing_is_changed(used: Home) -> None:
    spool_a_call(used)
    before, folders, spooled = tree_bytes(used.path), sorted(used.path.rglob("*")), tree_bytes(used.spool)
    diagnose(used)
    assert (tree_bytes(used.path), sorted(used.path.rglob("*")), tree_bytes(used.spool)) == (before, folders, spooled)


def spool_a_call(home: Home) -> None:
    """Let a call wait."""
    home.spool.mkdir(parents=True, mode=0o700)
    begin = {"id": new_id(), "provider": "openai", "model": "gpt-5-mini", "started_at": format_time(now_us())}
    (home.spool / "a.json").write_text(json.dumps({"keledger_spool": 1, "begin": begin, "end": None}))


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


def test_notes_are_no_problems(used: Home, tmp_path: Path) -> None:
    (used.path / "letter.txt").write_text("mine")
    (used.path / ".writer.json.123.0a1b2c3d").write_text("half")
    os.link(newest_segment(used), tmp_path / "backup.jsonl")
    for path in (used.path / "letter.txt", used.path / ".writer.json.123.0a1b2c3d"):
        path.chmod(0o600)
    newest_segment(used).chmod(0o400)
    checks = seen(used, "files")
    assert {check.state for check in checks} == {"note"}
    assert [check.message.rpartition(": ")[2].split(" ", 1)[1][:12] for check in checks] == [
        "may not be w", "has another ", "was left beh", "does not bel",
    ]  # fmt: skip


def test_files_that_others_left_are_nobodys_who_died(used: Home) -> None:
    """Only drafts have a process behind them: what a desktop or an editor leaves does not belong there."""
    for name in (".DS_Store", ".config.toml.swp", ".nfs0000000000001"):
        (used.path / name).touch(0o600)
        (used.journal / name).touch(0o600)
    check = only(used, "files")
    assert check.message.endswith(" and 3 more do not belong in a home")
    assert check.remedy == "move them away"


def test_a_draft_of_each_kind_is_left_behind(used: Home) -> None:
    """The names are those under which the product really writes."""
    drafts: list[Path] = []

    def stop(self: Disk, source: Path, target: Path) -> None:
        drafts.append(source)
        raise OSError(5, "Input/output error")

    for name in ("writer.json", f".identity.key.{os.getpid()}.0a1b2c3d"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Disk, "replace", stop)
            with pytest.raises(OSError, match="Input/output error"):
                write_new(Disk(), used.path / name, b"half")
        drafts[-1].touch(0o600)
        assert only(used, "files").message == f"{drafts[-1]} was left behind by a process that died"
        drafts[-1].unlink()


def test_a_name_that_is_not_utf_8(used: Home) -> None:
    path = Path(os.fsdecode(os.fsencode(used.path) + b"/\xff"))
    try:
        path.touch(0o600)
    except OSError:
        pytest.skip("this filesystem takes only names in UTF-8")
    check = only(used, "files")
    assert check.as_json()["message"] == f"{used.path}/\\udcff does not belong in a home"
    assert check.sentence == f"{used.path}/\\udcff does not belong in a home: move it away"


def test_many_files_of_a_kind_are_counted(used: Home) -> None:
    for number in range(9):
        (used.prices / f"stray-{number}").touch(0o600)
    assert "stray-2 and 6 more" in only(used, "files").message


def test_a_lock_that_is_held(used: Home) -> None:
    with open(used.lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check = only(used, "lock")
    assert (check.state, bool(check.remedy)) == ("note", True)
    if Path("/proc/locks").exists():
        assert check.message.startswith(f"process {os.getpid()} (")


def test_a_lock_whose_taker_is_gone(used: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A forked child may hold on to what its parent locked; Linux goes on naming the parent."""
    number = used.lock.stat().st_ino
    listed = tmp_path / "locks"
    listed.write_text(f"1: FLOCK  ADVISORY  WRITE 99999999 fe:00:{number} 0 EOF\n")
    monkeypatch.setattr(doctor_home, "_LOCKS", listed)
    with open(used.lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "process 99999999, or a child it has left behind," in only(used, "lock").message


def test_a_home_that_may_not_be_written(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the error is made here that a read-only filesystem answers with."""

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system", str(used.path))

    monkeypatch.setattr(doctor_machine, "write_new", refused)
    check = only(used, "sync")
    assert (check.state, check.message) == ("problem", f"{used.path}: Read-only file system")
    assert check.remedy == "it is read-only: set KELEDGER_HOME to a folder that can be written"


def test_the_filesystems_clock(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "CLOCK_TOLERANCE_S", -3600.0)
    checks = seen(used, "sync")
    assert [check.state for check in checks] == ["ok", "problem"]
    assert "the filesystem's clock differs" in checks[1].message


def test_a_clock_that_is_behind_the_journal(used: Home) -> None:
    hour_us = 3600 * 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keledger.journal._writer.now_us", lambda: now_us() + hour_us, raising=True)
        append(used, note())
    check = only(used, "clock")
    assert check.state == "problem"
    assert "s ahead of the clock" in check.message


def test_a_clock_that_is_behind_the_release(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "now_us", lambda: 0)
    check = only(used, "clock")
    assert (check.state, check.remedy) == ("problem", "set the clock")
    assert "1970-01-01" in check.message


def test_a_home_that_was_moved(used: Home, tmp_path: Path) -> None:
    moved = Home.at(tmp_path / "moved")
    used.path.rename(moved.path)
    (first,) = moved.writers()
    check = only(moved, "writer")
    assert (check.state, check.message) == ("note", f"writer {first} began on another machine or at another place")
    with Ledger.open(moved.path) as ledger:
        ledger.record(**call())
    check = only(moved, "writer")
    assert check.state == "ok"
    assert check.message.endswith(f", which continues {first} is of this machine and place")
    shutil.rmtree(moved.journal / first)
    assert [check.state for check in seen(moved, "writer")] == ["ok", "note"]


def test_a_writer_that_is_missing(used: Home) -> None:
    (used.path / "writer.json").unlink()
    assert only(used, "writer").state == "note"


def test_a_folder_that_is_missing_is_not_another_machine(used: Home) -> None:
    (writer,) = used.writers()
    shutil.rmtree(used.journal / writer)
    assert f"{used.journal} has no folder, where writer.json says that {writer} wrote" == only(used, "writer").message


def test_a_writer_without_any_file(used: Home) -> None:
    (writer,) = used.writers()
    newest_segment(used).unlink()
    assert [check.state for check in seen(used, "writer")] == ["ok", "note"]
    assert seen(used, "writer")[1].message == f"{used.journal} has no file of {writer}, whose folder is there"


def test_prices_without_any_writer(used: Home) -> None:
    (used.path / "writer.json").unlink()
    shutil.rmtree(used.journal)
    check = only(used, "writer")
    assert (check.state, "has price files" in check.message) == ("note", True)
    shutil.rmtree(used.prices)
    assert only(used, "writer").state == "ok"


def test_events_of_a_newer_release(used: Home) -> None:
    append(used, note(), note())
    check = only(used, "events", unread={"test.noted v1": 7, "budget.set v3": 1})
    assert check.state == "note"
    assert "budget.set v3 (1 or more), test.noted v1 (7 or more)" in check.message
    assert check.remedy == "upgrade keledger"


def test_a_segment_that_asks_for_a_newer_reader(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keledger.journal._opening.READER_MIN", "7.1.0")
    shutil.rmtree(used.journal)
    append(used, note())
    assert only(used, "events").remedy == "upgrade keledger to 7.1.0 or later"


def test_the_journal_is_not_read_through(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_journal, "RECENT_BYTES", 900)
    append(used, note(), *(NewEvent.of("call.voided", new_id(), {"text": "x" * 400}) for _ in range(3)))
    assert only(used, "events").state == "ok"


@pytest.mark.parametrize(
    ("day", "state", "words"),
    [
        ("2026-11-21", "ok", "0 days old"),
        ("2027-02-19", "ok", "90 days old"),
        ("2027-02-20", "note", "91 days old"),
    ],
)
def test_the_age_of_prices(used: Home, monkeypatch: pytest.MonkeyPatch, day: str, state: str, words: str) -> None:
    from keledger.journal import parse_time

    monkeypatch.setattr(doctor_journal, "shipped_manifest", lambda: _Shipped("2026-11-21"))
    monkeypatch.setattr(doctor_journal, "now_us", lambda: parse_time(f"{day}T12:00:00Z"))
    check = only(used, "prices")
    assert (check.state, words in check.message) == (state, True)


class _Shipped:
    def __init__(self, list_date: str) -> None:
        self.list_date = list_date


def test_a_newer_list_that_comes_with_the_program(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_journal, "shipped_manifest", lambda: _Shipped("2999-01-01"))
    check = only(used, "prices")
    assert (check.state, check.remedy) == ("note", "the next append adopts that of 2999-01-01")


def test_calls_that_wait(used: Home) -> None:
    spool_a_call(used)
    check = only(used, "spool")
    assert (check.state, check.message) == ("note", f"1 call waits in {used.spool} to be journaled")


@pytest.mark.parametrize(
    ("free_bytes", "free_files", "all_files", "state"),
    [
        (10**7, 10**6, 10**6, "problem"),
        (5 * 10**8, 10**6, 10**6, "note"),
        (10**10, 10**6, 10**6, "ok"),
        (10**10, 10, 10**6, "problem"),
        (10**10, 0, 0, "ok"),
    ],
)
def test_space(
    home: Home, monkeypatch: pytest.MonkeyPatch, free_bytes: int, free_files: int, all_files: int, state: str
) -> None:
    found = os.statvfs_result((4096, 1, free_bytes, free_bytes, free_bytes, all_files, free_files, free_files, 0, 255))
    monkeypatch.setattr(doctor_machine.os, "statvfs", lambda _: found)
    assert only(home, "space").state == state


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = dict(part.replace("<", "").split(">=") for part in project["dependencies"])
    ranges = {name: tuple(stated[name].split(",")) for name in doctor_machine.SUPPORTED}
    assert ranges == doctor_machine.SUPPORTED
    assert project["requires-python"] == f">={doctor_machine.PYTHON_MIN}"


@pytest.mark.parametrize(
    ("version", "state"),
    [("1.4.9", "problem"), ("1.5.0", "ok"), ("2.14.3", "ok"), ("2.999", "ok"), ("3.0.0rc1", "problem")],
)
def test_a_version_out_of_range(home: Home, monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    found = {"click": "8.2", "duckdb": version, "orjson": "3.10", "pydantic": "2.11"}
    monkeypatch.setattr(doctor_machine.importlib.metadata, "version", found.__getitem__)
    check = only(home, "versions")
    assert check.state == state
    assert state == "ok" or "duckdb>=1.5,<3" in str(check.remedy)


def test_releases_are_ordered_by_their_numbers() -> None:
    assert version_key("2.14.3") > version_key("2.9") > version_key("2") > version_key("1.99.99+local.7")


def test_a_check_that_fails_hides_no_other(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Iterator[Check]:
        raise ValueError("with private words")

    monkeypatch.setattr("keledger.journal._doctor.check_files", failing)
    check = only(used, "files")
    assert (check.state, check.message) == ("problem", "this check itself failed (ValueError)")
    assert only(used, "prices").state == "ok"


MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:40 / /home rw,relatime shared:9 master:2 - autofs systemd-1 rw,fd=30
32 31 0:41 /export /home rw,relatime - nfs4 server:/export rw,vers=4.2
33 27 0:42 / /media/with\040space rw - cifs //server/share rw
34 27 0:43 / /media rw - fuse.sshfs user@server:/ rw
35 27 0:44 / /run rw shared:5 - tmpfs tmpfs rw,mode=755
36 27 0:45 / /mnt/c rw - 9p drvfs rw,aname=drvfs
37 27 0:46 /sub /data rw - btrfs /dev/sdb rw,subvol=/sub
38 27 0:47 / /media/disk rw - fuseblk /dev/sdc1 rw
39 27 0:48 / /media/odd rw - fuse.oddfs odd rw
40 27 0:49 / /var/lib/docker/merged rw - overlay overlay rw
41 27 0:60 / /srv/data rw - xfs /dev/sdd rw
42 27 0:61 / /srv rw - nfs4 server:/srv rw
not a mount
"""


@pytest.mark.parametrize(
    ("path", "device", "kind", "place"),
    [
        ("/", "254:0", "ext4", "disk"),
        ("/homes/me", "254:0", "ext4", "disk"),
        ("/home", "0:41", "nfs4", "network"),
        ("/home/me/.local/share/keledger", "0:41", "nfs4", "network"),
        ("/home/me", "0:99", "nfs4", "network"),  # of two mounts at one place the later one is seen
        ("/media/with space/home", "0:42", "cifs", "network"),
        ("/media/other", "0:43", "fuse.sshfs", "network"),
        ("/run/user/1000", "0:44", "tmpfs", "memory"),
        ("/mnt/c/Users", "0:45", "9p", "network"),
        ("/data/home", "0:99", "btrfs", "disk"),  # a subvolume shows a device of its own
        ("/media/disk/home", "0:47", "fuseblk", "disk"),
        ("/media/odd/home", "0:48", "fuse.oddfs", "unknown"),
        ("/var/lib/docker/merged/home", "0:49", "overlay", "disk"),
        ("/srv/data/home", "0:61", "nfs4", "network"),  # what was mounted deeper before lies hidden
    ],
)
def test_the_filesystem_of_a_path(path: str, device: str, kind: str, place: str) -> None:
    mount = filesystem.mount_of(path, device, filesystem.parse_mounts(MOUNTINFO))
    assert mount is not None
    found = filesystem.of_kind(mount.kind)
    assert (found.kind, found.place, found.is_network) == (kind, place, place == "network")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("nfs", "problem"),
        ("fuse.rclone", "problem"),
        ("tmpfs", "note"),
        ("overlay", "note"),
        ("oddfs", "note"),
        ("xfs", "ok"),
    ],
)
def test_what_is_said_of_a_filesystem(home: Home, monkeypatch: pytest.MonkeyPatch, kind: str, state: str) -> None:
    monkeypatch.setattr(doctor_machine, "filesystem_kind", lambda _: filesystem.of_kind(kind))
    check = only(home, "filesystem")
    assert check.state == state
    assert kind in check.message
    assert (state == "problem") == ("budgets will refuse it" in check.message)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="there is no /proc/self/mountinfo here")
def test_the_real_filesystems(tmp_path: Path) -> None:
    assert filesystem_kind("/proc").kind == "proc"
    found = filesystem_kind(tmp_path / "not" / "there" / "yet")
    assert found == filesystem_kind(tmp_path)
    assert found.kind != "unknown"
    shared_memory = Path("/dev/shm")
    if not os.path.ismount(shared_memory):
        pytest.skip("no /dev/shm is mounted here, so no tmpfs is at hand")
    assert filesystem_kind(shared_memory).place == "memory"


def test_a_machine_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "nothing")
    assert filesystem_kind(tmp_path) == filesystem.UNKNOWN


@pytest.mark.parametrize(("flags", "place"), [(0x1000, "disk"), (0, "network")])
def test_what_macos_tells(flags: int, place: str) -> None:
    """A struct statfs as <sys/mount.h> lays it out: sizes and counts, flags at 64, the kind's name at 72."""
    buffer = bytearray(filesystem.DARWIN_STATFS_BYTES)
    buffer[64:68] = flags.to_bytes(4, sys.byteorder)
    buffer[72:77] = b"apfs\0"
    assert (found := filesystem._of_statfs(bytes(buffer))).kind == "apfs"
    assert found.place == place
