"""``keledger run`` as a wrapper of any command: options, exit statuses, signals, and what the command sees of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keledger.cli.run import closing_line
from keledger.journal import Totals
from keledger.journal.capture import Outcome

from .support import KELEDGER, Stage, end, wait_for

RUN = [*KELEDGER, "run"]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_status_is_the_commands(command: str, status: int) -> None:
    ended = run("--", "sh", "-c", command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


def test_a_command_that_cannot_start(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert run("--", "no-such-command-anywhere").returncode == 127
    ended = run("--", str(plain))
    assert ended.returncode == 126
    assert ended.stderr == f"keledger: {plain}: cannot be executed: Permission denied\n"
    assert list(Path(os.environ["HOME"]).iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no command given"),
        (["--"], "no command given"),
        (["--fast", "true"], "unknown option --fast"),
        (["--project"], "--project needs a value"),
        (["--tag", "noequals", "true"], "--tag noequals"),
        (["--tag", "Key=v", "true"], "--tag Key=v"),
        (["--budget"], "--budget needs a value"),
        (["--budget", "0", "true"], "--budget: '0' is no limit"),
        (["--budget=-1", "true"], "--budget: '-1' is no limit"),
        (["--budget=NaN", "true"], "--budget: 'NaN' is no limit"),
        (["--budget=1e400", "true"], "--budget: '1e400' is no limit"),
    ],
)
def test_wrong_options_are_one_sentence(arguments: list[str], complaint: str) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"keledger: {complaint}")
    assert ended.stderr.count("\n") == 1


def test_help_is_on_stdout() -> None:
    ended = run("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "keledger run -- keprompt chat new --prompt hello" in ended.stdout


def test_options_end_at_the_command() -> None:
    assert run("echo", "--project", "-q").stdout == "--project -q\n"
    assert run("-q", "--", "echo", "--", "x").stdout == "-- x\n"


def test_the_command_finds_stdin_arguments_and_folder_as_they_were(tmp_path: Path) -> None:
    ended = run("--", "sh", "-c", 'pwd; cat; echo "$1"', "sh", "a b", input="from stdin\n", cwd=tmp_path)
    assert ended.stdout == f"{tmp_path}\nfrom stdin\na b\n"


def test_python_in_the_command_sees_the_path_it_would_have_had(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.chained = True\n")
    program = "import sys; print(getattr(sys, 'chained', False), [entry for entry in sys.path if 'keledger' in entry])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    alone = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert run("--", *command, env=environment).stdout == alone.stdout
    assert alone.stdout.startswith("True")


def test_the_socket_is_for_this_user_alone_and_goes_with_the_run(tmp_path: Path) -> None:
    script = 'stat -c %a "$KELEDGER_SOCKET" "${KELEDGER_SOCKET%/*}"; echo "$KELEDGER_SOCKET"'
    for temporary in (str(tmp_path), str(tmp_path / ("long" * 30))):
        Path(temporary).mkdir(exist_ok=True)
        socket_mode, folder_mode, address = run(
            "--", "sh", "-c", script, env={**os.environ, "TMPDIR": temporary}
        ).stdout.split()
        assert (socket_mode, folder_mode) == ("600", "700")
        assert len(address) <= 100
        assert not Path(address).parent.exists()


def test_a_term_signal_is_the_commands_to_handle() -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.02; done"
    running = subprocess.Popen(
        [*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.communicate()[0] == "caught\n"
    assert running.returncode == 9


def test_what_was_ignored_stays_ignored() -> None:
    script = "trap '' INT; exec \"$@\""
    command = [*RUN, "--", sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT).name)"]
    ended = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=True)
    assert ended.stdout == "SIG_IGN\n"


def test_broken_pipes_end_the_command_as_without() -> None:
    program = f"{sys.executable} -m keledger run -- sh -c 'while echo y; do :; done; echo went on >&2'"
    ended = subprocess.run(f"{program} | head -1", shell=True, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("y\n", "")


def test_job_control_stops_both_and_continues_both() -> None:
    running = subprocess.Popen(
        [*RUN, "--", "sh", "-c", "kill -TSTP $$; echo on"], stdout=subprocess.PIPE, text=True, process_group=0
    )
    _, status = os.waitpid(running.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    running.send_signal(signal.SIGCONT)
    assert running.communicate()[0] == "on\n"


def test_quiet_hides_the_closing_line_and_a_run_without_calls_has_none(stage: Stage) -> None:
    assert stage.run(stage.watched(stage.chat("hello"), "--quiet")).stderr == ""
    assert len(stage.calls()) == 1
    models = stage.run(stage.watched([str(stage.keprompt), "models", "get", "--json"]))
    assert (models.returncode, models.stderr) == (0, "")


def test_a_home_may_be_named_before_the_command(stage: Stage) -> None:
    elsewhere = stage.folder / "elsewhere"
    ended = stage.run([*KELEDGER, "--home", str(elsewhere), "run", "--", *stage.chat("hello")])
    assert ended.returncode == 0
    assert (elsewhere / "journal").is_dir()
    assert not stage.home.path.exists()


def test_a_call_is_waited_for_that_the_command_leaves_behind(stage: Stage) -> None:
    script = 'echo $$ > pid; "$@" >/dev/null 2>&1 & until test -e go; do sleep 0.02; done'
    running = stage.start(stage.watched(["sh", "-c", script, "sh", *stage.chat("slow")]))
    wait_for(lambda: stage.provider.asked)
    command = int((stage.workspace / "pid").read_text())
    (stage.workspace / "go").touch()
    wait_for(lambda: not _runs(command))
    stage.provider.hurry()
    status, _, errors = end(running)
    assert (status, errors[:18]) == (0, "keledger: 1 call, ")
    assert [call["status"] for call in stage.calls()] == ["ok"]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_folders_of_a_home_are_private(stage: Stage) -> None:
    stage.run(stage.watched(stage.chat("hello")))
    for path in stage.home.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def outcome(**facts: Any) -> Outcome:
    made = Outcome(0, "a-run", None, facts.pop("budget", None))
    vars(made).update(facts)
    return made


def test_the_closing_line() -> None:
    of_run = Totals(calls=3, input_tokens=4_120, output_tokens=512, cost_pico=4_505_000_000)
    of_today = Totals(calls=9, cost_pico=12_310_000_000)
    took = "3 calls, 4,120 input + 512 output tokens, $0.004505; today $0.012310"
    assert closing_line(of_run, of_today, outcome()) == took
    left = {"left_usd": "0.495495", "limit_usd": "0.5"}
    assert closing_line(of_run, of_today, outcome(budget=left)) == f"{took}; $0.495495 left of $0.500000"
    overspent = {"left_usd": "-0.1", "limit_usd": "0.5"}
    assert closing_line(None, None, outcome(refused=1, budget=overspent)) == (
        "0 calls (1 refused by a budget); -$0.100000 left of $0.500000"
    )
    of_run = Totals(calls=2, failed_calls=1, unpriced_calls=1, unknown_calls=0, input_tokens=5)
    assert closing_line(of_run, of_today, outcome(unsent=1, spooled=2)) == (
        "2 calls (1 failed, 1 without a price, 2 not journaled yet, 1 never sent), 5 input + 0 output tokens, "
        "$0.000000; today $0.012310"
    )
    of_run = Totals(calls=1, unpriced_calls=1)
    assert closing_line(of_run, of_run, outcome()) == (
        "1 call (1 without a price), 0 input + 0 output tokens, cost unknown; today cost unknown"
    )
