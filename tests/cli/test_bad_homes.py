"""Homes that cannot be used: one clear sentence, a documented status, and not a byte changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from keledger.journal import Home
from tests.journal.support import call, calls, events

from .support import json_lines, keledger, keledger_process, truth

WITHOUT_ROOTS_POWER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""Runs a command whose file permissions bind it, although it is root's."""

ON_A_HOME = {
    "record": ("record",),
    "daily": ("daily",),
    "verify": ("verify",),
    "replay": ("replay",),
    "sql": ("sql", "SELECT 1 AS one"),
    "export": ("export", "--format", "jsonl", "-o", "-"),
    "void": ("void", "0000", "--reason", "a test"),
}


def bound_by_permissions() -> Sequence[str]:
    """What to put in front of a command so that permissions bind it; skips the test where that cannot be had."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("this is root, whom permissions do not bind, and there is no setpriv to give that up")
    if subprocess.run([*WITHOUT_ROOTS_POWER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this is root, whom permissions do not bind, and setpriv may not give that up here")
    return WITHOUT_ROOTS_POWER


@pytest.mark.parametrize("arguments", ON_A_HOME.values(), ids=ON_A_HOME)
def test_a_home_that_is_a_file(tmp_path: Path, arguments: Sequence[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    outcome = keledger("--home", str(file), *arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith(f"{file} is not a folder: ")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("arguments", ON_A_HOME.values(), ids=ON_A_HOME)
def test_a_home_that_is_a_link(tmp_path: Path, arguments: Sequence[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    outcome = keledger("--home", str(link), *arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith(f"{link} is a symbolic link: ")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("arguments", ON_A_HOME.values(), ids=ON_A_HOME)
def test_a_home_of_somebody_else(used: Home, arguments: Sequence[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    before = truth(used)
    os.chown(used.path, 12345, 12345)
    outcome = keledger(*arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith(f"{used.path} belongs to user id 12345, not to you: ")
    assert truth(used) == before


@pytest.mark.parametrize("arguments", ON_A_HOME.values(), ids=ON_A_HOME)
def test_a_home_that_is_open_to_others(used: Home, arguments: Sequence[str]) -> None:
    used.path.chmod(0o755)
    outcome = keledger(*arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.endswith(f"run chmod 700 {used.path}")


def test_a_home_that_may_not_be_written_refuses_calls(used: Home) -> None:
    prefix = bound_by_permissions()
    before = truth(used)
    segment = used.segments(used.writers()[0])[0]
    for path in (segment, segment.parent, used.journal, used.lock, used.path):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        outcome = keledger_process("record", given=json_lines(call()), prefix=prefix)
    finally:
        used.path.chmod(0o700)
    assert (outcome.status, outcome.out) == (1, "")
    assert "Permission denied" in outcome.complaint
    assert str(used.path) in outcome.complaint
    assert truth(used) == before


@pytest.mark.parametrize(
    "arguments", [("daily",), ("sql", "SELECT count(*) AS calls FROM calls")], ids=["daily", "sql"]
)
def test_a_home_that_may_not_be_written_can_be_read(used: Home, arguments: Sequence[str]) -> None:
    prefix = bound_by_permissions()
    expected = keledger("--json", *arguments).json
    for path in sorted(used.path.rglob("*"), reverse=True):
        path.chmod(0o500 if path.is_dir() else 0o400)
    used.path.chmod(0o500)
    try:
        outcome = keledger_process("--json", *arguments, prefix=prefix)
    finally:
        for path in (used.path, *used.path.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.json == expected


def test_a_place_where_no_home_can_be_made(tmp_path: Path) -> None:
    prefix = bound_by_permissions()
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    outcome = keledger_process("--home", str(shut / "home"), "record", given=json_lines(call()), prefix=prefix)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith(f"cannot make the home {shut / 'home'}: Permission denied; set KELEDGER_HOME")


def test_a_full_disk_refuses_calls_and_harms_none(used: Home) -> None:
    """A limit on file sizes stands for the disk: every further write fails, as on a full one."""
    before = events(used)
    limited = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
    outcome = keledger_process("record", given=json_lines(call()), prefix=limited)
    assert (outcome.status, outcome.out) == (1, "")
    assert "nothing was written" in outcome.complaint
    assert "make room" in outcome.complaint
    assert events(used) == before
    assert keledger("record", given=json_lines(call())).status == 0
    assert len(calls(used)) == 6


def test_an_empty_home_option_is_a_usage_error() -> None:
    outcome = keledger("--home", "", "verify")
    assert outcome.status == 2
    assert "--home" in outcome.complaint


def test_the_home_may_be_named_behind_the_command(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELEDGER_HOME")
    outcome = keledger("verify", "--home", str(used.path))
    assert outcome.json["home"] == str(used.path)
    assert outcome.json == keledger("--home", str(used.path), "verify").json


def test_verify_does_not_call_a_missing_home_well(tmp_path: Path) -> None:
    outcome = keledger("--home", str(tmp_path / "typo"), "verify")
    assert outcome.status == 1
    assert str(tmp_path / "typo") in outcome.complaint
