"""Workers of ``verify`` that fail, are killed, are none at all, or whose parent goes away: never a false "clean"."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keledger.journal import Home, Verified, verify
from keledger.journal import _limits as limits
from keledger.journal import _verify_workers as workers
from keledger.journal._writer import Appender

from .support import note
from .tampering import edit_line


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of eight segments, damaged in the second and in the last but one."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 2_600)
    home = Home.at(tmp_path / "home")
    appender = Appender(home)
    for number in range(30):
        appender.append([note(f"event {number:03d}" + "x" * 300)])
    appender.close()
    segments = home.segments(home.writers()[0])
    assert len(segments) > 7
    for path in (segments[1], segments[-2]):
        edit_line(path, 2, lambda line: line.replace(b"xx", b"xy", 1))
    return home


def run_as(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let *script* stand where Python would be; $PYTHON is the real one."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n{script}\n")
    path.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(path))


def both_found(home: Home, found: Verified) -> None:
    """The two damages, and what one process finds."""
    assert [finding.kind for finding in found.findings] == ["line_damaged", "line_damaged"]
    assert found == verify(home, workers=0)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exit 3", id="fails"),
        pytest.param("kill -9 $$", id="is killed"),
        pytest.param("cat /dev/zero", id="writes nonsense"),
        pytest.param(r"printf 'keledger\000\000\000\001\000\000\000\000{'; exec sleep 1000", id="writes no JSON"),
        pytest.param("echo a program that prints when it starts; exec $PYTHON \"$@\"", id="prints first"),
        pytest.param("exec $PYTHON -c 'import no_such_module'", id="lacks a module"),
        *(pytest.param(f'$PYTHON "$@" | (dd bs=1 count={count}; kill -9 $$)', id=f"is cut after {count} bytes")
          for count in (1, 8, 15, 30, 500, 2_500, 4_000)),
    ],
)  # fmt: skip
def test_what_workers_leave_undone_is_done_here(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    run_as(monkeypatch, tmp_path, script)
    monkeypatch.setattr(workers, "WORKER_START_S", 2.0)
    both_found(home, verify(home, workers=2))


def test_a_program_that_says_nothing_is_given_up(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_as(monkeypatch, tmp_path, f"echo $$ >> {tmp_path}/ids; exec sleep 1000")
    monkeypatch.setattr(workers, "WORKER_START_S", 0.5)
    both_found(home, verify(home, workers=2))
    assert not any(is_running(int(pid)) for pid in (tmp_path / "ids").read_text().split())


def test_there_is_no_such_program(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    both_found(home, verify(home, workers=2))


def test_workers_do_the_work(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each whole segment comes from a worker: this process reads none of them again."""
    from keledger.journal import _verify as verifying

    here: list[Path] = []
    real = verifying.check_segment

    def counted(path: Path, previous: bytes, **options: object) -> object:
        here.append(path)
        return real(path, previous, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(verifying, "check_segment", counted)
    found = verify(home, workers=2)
    assert here == []
    both_found(home, found)
    assert len(here) == len(home.segments(home.writers()[0]))


def test_an_error_of_the_callers_progress_is_the_callers(home: Home) -> None:
    def fail(done: int, total: int) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        verify(home, workers=2, on_progress=fail)


WITHOUT_A_GUARD = """
from keledger.journal import Home, verify
print("begun")
print(len(verify(Home.at({home!r}), workers=2).findings))
"""


def test_a_script_needs_no_main_guard_and_no_module_of_its_folder_is_taken(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_A_GUARD.format(home=str(home.path)))
    (tmp_path / "struct.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run([sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n2\n", "")


WAITING = """
import sys, time
from keledger.journal import Home, verify

def wait(done, total):
    print("going", flush=True)
    time.sleep(60)

verify(Home.at(sys.argv[1]), workers=2, on_progress=wait)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="the system does not list a process's children")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_workers_end_with_their_parent(home: Home, number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING, str(home.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"going\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        os.killpg(process.pid, number)
        process.wait(timeout=30)
        assert process.stderr.read().count(b"Traceback") == (number == signal.SIGINT)
    deadline = time.monotonic() + 30
    while any(is_running(int(pid)) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there and not dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("tasks", "size", "cores", "expected"),
    [
        (1, 10**12, 8, 0),
        (2, workers.WORKERS_PAY_BYTES - 1, 8, 0),
        (2, workers.WORKERS_PAY_BYTES, 8, 2),
        (30, 10**12, 2, 2),
        (30, 10**12, 1, 0),
        (1000, 10**12, 1000, workers.WORKERS_MAX),
    ],
)
def test_how_many_workers_pay(
    tasks: int, size: int, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert workers.worker_count(tasks, size) == expected
    monkeypatch.setattr(sys, "executable", "")
    assert workers.worker_count(tasks, size) == 0


def test_a_worker_imports_no_more_than_it_needs() -> None:
    unwanted = {"pydantic", "duckdb", "click", "rich", "multiprocessing", "asyncio", "keledger.journal._events"}
    code = "import sys, keledger.journal._verify_workers; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unwanted & set(done.stdout.split("\n"))
