"""``diagnose``: what it says of a home that is well, and of what is worth knowing in one."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keledger.journal import Check, Home, Ledger, NewEvent, diagnose
from keledger.journal import _doctor_home as doctor_home
from keledger.journal import _doctor_journal as doctor_journal
from keledger.journal import _doctor_machine as doctor_machine
from keledger.journal._disk import Disk, write_new
from keledger.journal._identity import new_id
from keledger.journal._time import now_us
from tests.journal.support import call, newest_segment, note, tree_bytes

from .support import append, only, seen, spool_a_call


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


def test_a_check_that_fails_hides_no_other(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Iterator[Check]:
        raise ValueError("with private words")

    monkeypatch.setattr("keledger.journal._doctor.check_files", failing)
    check = only(used, "files")
    assert (check.state, check.message) == ("problem", "this check itself failed (ValueError)")
    assert only(used, "prices").state == "ok"
