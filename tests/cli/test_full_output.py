"""Output that cannot be written, as on a full disk: one sentence, exit status 1, and what was done stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from keledger.journal import Home
from tests.journal.support import call, calls

from .support import COMMAND, json_lines, keledger, keledger_process
from .test_journal_commands import damage

FULL = Path("/dev/full")

pytestmark = [
    pytest.mark.usefixtures("used"),
    pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here, on which every write fails"),
]

COMPLAINT = "keledger: the output cannot be written: No space left on device"

WRITING = {
    "daily": ("daily",),
    "call": ("call", "{call}"),
    "sql": ("sql", "FROM calls"),
    "many rows": ("sql", "SELECT repeat('x', 100) AS text FROM range(10000)"),
    "export": ("export",),
    "export as CSV": ("export", "--format", "csv"),
    "export of events": ("export", "--events"),
    "void": ("void", "{call}", "--reason", "a test"),
    "verify": ("verify",),
    "anchor": ("anchor",),
    "doctor": ("doctor",),
    "replay": ("replay",),
    "digest": ("replay", "--digest"),
    "schema": ("schema",),
    "completion": ("completion", "bash"),
    "keprompt": ("keprompt", "status"),
    "version": ("--version",),
    "help": ("--help",),
    "a command's help": ("record", "--help"),
    "the launcher's help": ("run", "--help"),
    "the launcher's help behind an option": ("--json", "run", "--help"),
}


SMALL_BATCHES = """
import sys
from keledger.cli.main import main
from keledger.journal import _limits
_limits.BATCH_BYTES_MAX = 65536
sys.exit(main(sys.argv[1:]))
"""
IN_SMALL_BATCHES = (sys.executable, "-c", SMALL_BATCHES)
"""The command, which tells of 64 KiB of calls before it writes the next."""


def on_full(
    *arguments: str, given: str = "", unbuffered: bool = False, command: Sequence[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    """Run a command whose stdout takes nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    with open(FULL, "wb") as full:
        return subprocess.run(
            [*command, *arguments],
            input=given, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.mark.parametrize("case", WRITING)
def test_one_sentence_names_the_output(home: Home, case: str) -> None:
    arguments = [part.format(call=calls(home)[0]["id"]) for part in WRITING[case]]
    done = on_full(*arguments)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(COMPLAINT)) == (1, True)


@pytest.mark.parametrize("options", [("--pretty",), ("--json",)])
@pytest.mark.parametrize("command", ["daily", "verify", "anchor", "doctor", "replay"])
def test_tables_and_json_alike(options: Sequence[str], command: str) -> None:
    done = on_full(*options, command)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(COMPLAINT)) == (1, True)


def test_without_pythons_own_buffers() -> None:
    done = on_full("daily", unbuffered=True)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(COMPLAINT)) == (1, True)


def test_damage_that_cannot_be_told_is_a_failure(home: Home) -> None:
    damage(home)
    assert keledger("verify").status == 3
    assert on_full("verify").returncode == 1


@pytest.mark.parametrize("number", [1, 500])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_calls_are_recorded_all_the_same(home: Home, number: int, options: Sequence[str]) -> None:
    """The ids of 500 calls are more than a buffer holds, so that the output fails amid the work."""
    before = len(calls(home))
    done = on_full(*options, "record", given=json_lines(*[call()] * number), command=IN_SMALL_BATCHES)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(COMPLAINT)) == (1, True)
    assert len(calls(home)) == before + number


def test_an_error_does_not_end_in_another_one(home: Home) -> None:
    """What was printed before the refusal is told to be lost, and nothing of the interpreter's."""
    given = json_lines(call()) + "nonsense\n"
    done = on_full("record", "--partial", given=given)
    *told, line = done.stderr.splitlines()
    assert (done.returncode, line.startswith(COMPLAINT)) == (1, True)
    assert len(told) == 2
    assert all(sentence.startswith("keledger: ") for sentence in told)


@pytest.mark.parametrize("command", ["export", "anchor"])
def test_a_full_device_is_named(command: str) -> None:
    outcome = keledger_process(command, "-o", str(FULL))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint == f"{FULL} cannot be written: No space left on device"


@pytest.mark.parametrize(("arguments", "status"), [(("verify",), 3), (("dayly",), 2), (("daily",), 0)])
def test_where_stderr_takes_nothing_the_status_tells(home: Home, arguments: Sequence[str], status: int) -> None:
    damage(home)
    with open(FULL, "wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=full, timeout=60, check=False)
    assert done.returncode == status
    assert status == 2 or json.loads(done.stdout)
