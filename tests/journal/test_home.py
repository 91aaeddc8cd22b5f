"""What may be a home, and what is refused, untouched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, Ledger, verify
from keledger.journal._disk import Disk, write_new
from keledger.journal._writer import Appender

from .support import call, calls, newest_segment, note, tree_bytes
from .tampering import append_body


def test_an_empty_folder_that_somebody_made_becomes_private(home: Home) -> None:
    home.path.mkdir(mode=0o755)
    home.path.chmod(0o755)
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_folder_with_something_in_it_is_not_taken_over(home: Home) -> None:
    home.path.mkdir()
    (home.path / "letter.txt").write_text("mine")
    home.path.chmod(0o755)
    before = tree_bytes(home.path)
    with pytest.raises(HomeError, match=f"run chmod 700 {home.path}"):
        Ledger.open(home.path)
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o755
    assert tree_bytes(home.path) == before


def test_a_symbolic_link_is_refused_with_where_it_leads(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    home.path.symlink_to(target)
    with pytest.raises(HomeError, match=f"is a symbolic link: .* {target}"):
        Ledger.open(home.path)
    assert list(target.iterdir()) == []


def test_a_file_is_no_home(home: Home) -> None:
    home.path.write_text("a file")
    with pytest.raises(HomeError, match="is not a folder"):
        Ledger.open(home.path)
    assert home.path.read_text() == "a file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_somebody_elses_home_is_refused(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    os.chown(home.path, 65534, 65534)
    with pytest.raises(HomeError, match="belongs to user id 65534"):
        Ledger.open(home.path)


def test_a_file_that_cannot_be_replaced_leaves_no_draft(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    (home.path / "name").mkdir()
    with pytest.raises(IsADirectoryError):
        write_new(Disk(), home.path / "name", b"content")
    assert [path.name for path in home.path.iterdir()] == ["name"]


def test_a_last_line_that_is_no_event_is_told_by_whoever_begins(home: Home) -> None:
    """Its writer is not gone on with, but its ticks are to be passed."""
    Appender(home).append([note("first")])
    append_body(newest_segment(home), b'{"seq":3,"tick":"x"')
    (home.path / "writer.json").unlink()
    with pytest.raises(HomeError, match=r"the last line of .* is no event: run keledger verify"):
        Appender(home).append([note("second")])


def test_a_torn_tail_is_read_without_the_lock(home: Home) -> None:
    """As on a read-only medium, where the lock cannot even be made."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    with newest_segment(home).open("ab") as file:
        file.write(b"torn")
    home.lock.unlink()
    assert [finding.kind for finding in verify(home).findings] == ["tail_torn"]
    assert not home.lock.exists()
    assert len(calls(home)) == 1


def test_a_home_that_goes_away_gets_its_prices_again(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
        home.path.rename(home.path.with_name("away"))
        home.path.with_name("away").rename(home.path.with_name("further"))
        for path in sorted((home.path.with_name("further")).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        ledger.record(**call())
    assert not verify(home).damaged
    assert len(calls(home)) == 1
