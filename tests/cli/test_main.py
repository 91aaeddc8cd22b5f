"""The command line as a whole: help, errors, interrupts, colour, and what it imports."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pytest

import keledger as package
from keledger.cli import _options, _progress
from keledger.cli._group import Command, LazyGroup
from keledger.cli._guard import guarded
from keledger.cli.main import SECTIONS, program
from keledger.journal import BudgetExceeded, JournalDamaged, KeledgerError, UsageError

from .support import COMMAND, keledger, keledger_process

NOT_OURS = {"run", "keprompt", "demo"}
"""Commands whose kind is their own."""

ENTRIES = dict(program.entries())
GROUPS = {name: group for name, entry in ENTRIES.items() if isinstance(group := entry.load(), LazyGroup)}
OURS = {name: entry for name, entry in ENTRIES.items() if name not in NOT_OURS and name not in GROUPS} | {
    f"{name} {part}": entry for name, group in GROUPS.items() for part, entry in group.entries()
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_lists_its_commands_without_importing_them(name: str) -> None:
    assert GROUPS[name].get_short_help_str(1000) == ENTRIES[name].summary
    shown = " ".join(keledger(name, "--help").out.split())
    assert all(f"{part} {entry.summary}" in shown for part, entry in GROUPS[name].entries())


def test_version() -> None:
    outcome = keledger("--version")
    assert (outcome.status, outcome.out) == (0, f"keledger {package.__version__}\n")


def test_help_lists_every_command_by_section() -> None:
    shown = keledger("--help").out
    for heading, section in SECTIONS.items():
        assert f"{heading}:" in shown
        for name, entry in section.items():
            assert f"  {name} " in shown
            assert entry.summary in " ".join(shown.split())


def test_without_a_command_help_goes_to_stderr() -> None:
    outcome = keledger()
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: keledger ")


@pytest.mark.parametrize("name", OURS)
def test_a_commands_summary_is_the_one_in_the_list(name: str) -> None:
    assert OURS[name].load().get_short_help_str(1000) == OURS[name].summary


@pytest.mark.parametrize("name", OURS)
def test_every_command_has_an_example_and_says_its_statuses(name: str) -> None:
    command = OURS[name].load()
    assert isinstance(command, Command)
    assert command.name == name.split()[-1]
    assert all(f"keledger {name}" in example or f" {name} " in example for example in command.examples)
    shown = keledger(*name.split(), "--help").out
    assert "Examples:" in shown
    assert "Exit status:" in shown


@pytest.mark.parametrize("name", OURS)
def test_every_option_has_a_help_text(name: str) -> None:
    for parameter in OURS[name].load().params:
        assert not isinstance(parameter, click.Option) or parameter.help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dayly",), "no such command 'dayly'; did you mean 'daily'? (see keledger --help)"),
        (("qqqq",), "no such command 'qqqq' (see keledger --help)"),
        (("record", "--again", "--qieut"), "--quiet"),
        (("--hom", "x", "record"), "--home"),
        (("record", "a", "b"), "unexpected extra argument"),
        (("schema", "call.complete"), "'call.complete' is not an event type"),
    ],
)
def test_a_usage_error_is_one_line_with_the_nearest_name(arguments: Sequence[str], words: str) -> None:
    outcome = keledger(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert words in outcome.complaint


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeledgerError, 1), (UsageError, 2), (JournalDamaged, 3), (BudgetExceeded, 4)],
)
def test_an_errors_status_is_its_own(
    error: type[KeledgerError], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error("what happened,\n and what to do")

    assert guarded(fail) == status
    assert capsys.readouterr().err == "keledger: what happened, and what to do\n"


def test_a_bug_is_one_line_that_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("oh")

    assert guarded(fail) == 1
    line = "keledger: this is a bug in keledger: ZeroDivisionError: oh (KELEDGER_DEBUG=1 shows where)\n"
    assert capsys.readouterr().err == line
    monkeypatch.setenv("KELEDGER_DEBUG", "1")
    assert guarded(fail) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last):")
    assert shown.endswith(line)


def test_an_error_of_the_operating_system_names_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert guarded((tmp_path / "missing").read_bytes) == 1
    assert capsys.readouterr().err == f"keledger: {tmp_path / 'missing'}: No such file or directory\n"


def test_an_argument_that_is_not_utf8_is_a_usage_error() -> None:
    outcome = keledger_process("session", "caf\udce9")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.complaint == r"argument 'caf\udce9' is not valid UTF-8 (see keledger session --help)"


NOWHERE = ("sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh")
"""Runs a command in a working folder that is gone."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--home", "rel", "daily"), "the home's path rel is a relative one"),
        (("--home", "rel", "doctor"), "the home's path rel is a relative one"),
        (("--home", "rel", "record"), "the home's path rel is a relative one"),
        (("--home", "rel", "run", "--", "true"), "the home's path is a relative one"),
        (("export", "-o", "calls.jsonl"), "a relative path leads nowhere"),
        (("anchor", "-o", "anchor.json"), "a relative path leads nowhere"),
    ],
)
@pytest.mark.usefixtures("used")
def test_a_working_folder_that_is_gone(tmp_path: Path, arguments: Sequence[str], words: str) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    outcome = keledger_process(*arguments, prefix=NOWHERE, cwd=folder)
    assert (outcome.status != 0, outcome.out) == (True, "")
    assert outcome.complaint.startswith("the working folder is gone, and ")
    assert words in outcome.complaint


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_nothing_to_read_or_write(closed: str) -> None:
    outcome = keledger_process("record", prefix=("sh", "-c", f'exec "$@" {closed}', "sh"))
    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err in ("", "keledger: stdin holds no calls\n")


def test_a_bar_is_shown_when_something_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with _progress.Progress("checking") as progress:
        progress(1, 4)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(_progress, "SHOWN_AFTER_S", 0.0)
    with _progress.Progress("checking") as progress:
        progress(1, 4)
        progress(4, 4)
    assert "checking" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    shown = terminal.getvalue()
    with _progress.Progress("checking", hidden=True) as progress:
        progress(1, 4)
    assert terminal.getvalue() == shown


def test_ctrl_c_is_130_without_a_traceback() -> None:
    controller, terminal = pty.openpty()
    try:
        with subprocess.Popen([*COMMAND, "record"], stdin=terminal, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("keledger: reading calls from the terminal")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
            assert process.stderr.read().strip() == "keledger: interrupted"
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize("arguments", [("schema",), ("--help",), ("schema", "--help"), ("run", "--help")])
def test_a_reader_that_leaves_is_no_error_message(arguments: Sequence[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + 13, b"")


@pytest.mark.parametrize(
    ("environment", "color"),
    [
        ({"TERM": "xterm"}, None),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0", "TERM": "xterm"}, None),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": "", "FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_what_the_environment_says_of_colour(
    environment: Mapping[str, str], color: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _options.color_wanted() is color


def test_colour_flags_are_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    plain = keledger("--pretty", "daily").out
    coloured = keledger("--color", "--pretty", "daily").out
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert click.unstyle(coloured) == plain


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_keledger(shell: str) -> None:
    outcome = keledger("completion", shell)
    assert outcome.status == 0
    assert "_KELEDGER_COMPLETE" in outcome.out


def test_completion_completes_commands() -> None:
    environment = {**os.environ, "COMP_WORDS": "keledger ver", "COMP_CWORD": "1", "_KELEDGER_COMPLETE": "bash_complete"}
    assert keledger_process(env=environment).out.strip() == "plain,verify"


ESTIMATING = {"tiktoken", "imagesize", "keledger.journal.estimates", "keledger.projections._estimator"}
HEAVY = {"duckdb", "_duckdb", "rich", "genai_prices", "keledger.cli._demo", "keledger.cli._keprompt", *ESTIMATING}

IMPORTS = {
    "version": (("--version",), HEAVY | {"keledger.journal", "keledger.projections"}),
    "help": (("--help",), HEAVY | {"keledger.journal", "keledger.projections"}),
    "record": (("record",), HEAVY | {"pydantic.main", "keledger.projections"}),
    "verify": (("verify",), HEAVY | {"keledger.projections"}),
    "daily": (("daily",), HEAVY - {"duckdb", "_duckdb"}),
    "sql": (("sql", "SELECT 1 AS one"), HEAVY - {"duckdb", "_duckdb"}),
    "run": (("run", "--", "true"), HEAVY | {"keledger.projections"}),
}


@pytest.mark.parametrize(("arguments", "unwanted"), IMPORTS.values(), ids=IMPORTS)
def test_a_command_imports_only_what_it_needs(arguments: Sequence[str], unwanted: set[str]) -> None:
    listing = "; print(*sys.modules, file=sys.stderr, sep='\\n')"
    code = f"import sys; from keledger.cli.main import main; main({list(arguments)!r}){listing}"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert not unwanted & set(done.stderr.split("\n"))


def test_the_library_brings_no_estimating_along() -> None:
    code = "import keledger, sys; keledger.Ledger; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "keledger" in done.stdout.split("\n")
    assert not HEAVY & set(done.stdout.split("\n"))
