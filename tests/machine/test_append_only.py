"""Promise 5 held by the file system: ``chattr +a`` on everything in ``journal/`` and ``prices/``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, verify
from tests.cli.support import keledger_process
from tests.journal.support import call, calls, newest_segment

from . import append_only
from ._needs import need_root

pytestmark = pytest.mark.machine

SUITE = (
    *(
        f"tests/journal/test_{name}.py"
        for name in ("append", "attributes", "home", "library", "merge", "record", "spool")
    ),
    "tests/promises/test_01_returned_is_durable.py",
    "tests/promises/test_03_three_outcomes.py",
    "tests/promises/test_06_a_fault_stays_where_it_is.py",
    "tests/promises/test_06_other_things_in_its_places.py",
    "tests/promises/test_06_the_lock.py",
    # Long, and little new here: what a writer does to a file after a fault, the tests of faults that are left show.
    "--deselect=tests/journal/test_append.py::test_eight_processes_append_while_two_read",
    "--deselect=tests/promises/test_01_returned_is_durable.py::test_a_power_cut_at_any_call_loses_nothing_acknowledged",
    "--deselect=tests/promises/test_03_three_outcomes.py::test_each_call_fails_from_some_moment_on",
    "--deselect=tests/promises/test_03_three_outcomes.py::test_a_kill_at_any_call_may_be_answered_by_sending_all_again",
)
"""The tests of what writes.  Those of what reads damage the journal themselves."""
FEWEST_PASSED = 250
"""Of some 300."""


@pytest.fixture(autouse=True)
def attribute(tmp_path: Path) -> None:
    """Skip where the attribute cannot be had."""
    need_root()
    if sys.platform != "linux":
        pytest.skip("only Linux has chattr")
    tried = tmp_path / "tried"
    tried.touch()
    try:
        append_only.set_append_only(tried)
    except OSError as error:
        pytest.skip(f"the file system of {tmp_path} has no append-only files: {error.strerror}")
    with pytest.raises(PermissionError):
        tried.unlink()
    append_only.set_append_only(tried, on=False)


def test_the_suite_passes_on_append_only_files() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.machine.append_only", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", *SUITE]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= FEWEST_PASSED


def test_commands_work_on_append_only_files(home: Home, tmp_path: Path) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    other = Home.at(tmp_path / "other")
    with Ledger.open(other.path) as ledger:
        ledger.record_many([call(), call()])
    truth = [home.journal, home.prices, newest_segment(home).parent, newest_segment(home), *home.prices.iterdir()]
    for path in truth:
        append_only.set_append_only(path)
    try:
        for arguments in (
            ("record",),
            ("void", calls(home)[0]["id"], "--reason", "a test"),
            ("merge", str(other.path)),
            ("daily", "--json"),
            ("replay", "--digest"),
            ("verify",),
        ):
            given = '{"provider":"openai","model":"gpt-5-mini","usage":{"input_uncached":1}}\n'
            outcome = keledger_process("--home", str(home.path), *arguments, given=given)
            assert outcome.status == 0, (arguments, outcome)
    finally:
        append_only.clear_append_only(home.path)
    assert len(calls(home)) == 4
    assert not verify(home).findings
