"""Promise 10: whatever befalls the journal, a program that calls models goes on, and its finished calls are kept.

A real program, through the library and then a real KePrompt: its output and exit status are those that it has without
keledger; each call is journaled, or waits in the spool, or stands whole on stderr, and counts once when it comes in.
More of KePrompt's mishaps: ``tests/keprompt/test_failures.py``; of the spool: ``tests/journal/test_spool.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from keledger.journal import Home, Ledger, tail_totals, verify
from keledger.journal.capture import enable, find
from keledger.projections import open_projection, report_daily
from tests.cli.support import forge, keledger
from tests.cli.test_bad_homes import bound_by_permissions
from tests.journal.support import call, calls, newest_segment
from tests.keprompt.conftest import keprompt_of, provider, stage_of  # noqa: F401 - fixtures
from tests.keprompt.support import NEWEST, Stage, end, own_venv, wait_for

from .support import started_child

PROGRAM = """
import contextlib, os, resource, shutil, sys
home, count, during = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ledger = None
if home:
    from keledger import Ledger
    ledger = Ledger.open(home)
for number in range(count):
    if number == 1 and home:
        exec(during)
    watched = contextlib.nullcontext()
    if ledger is not None:
        watched = ledger.call(provider="openai", model="gpt-5-mini", session="the program's")
    with watched as call:
        answer = {"id": f"r-{number}", "usage": {"prompt_tokens": 1000 + number, "completion_tokens": 200}}
        if call is not None:
            call.complete(answer)
    print("answered", number, flush=True)
sys.exit(7)
"""
"""Makes calls, prints the answers and ends with 7; *during* happens between the first call and the second."""

STATUS = 7


def answers(count: int) -> str:
    """What the program prints without keledger."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "", str(count), ""], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (STATUS, "")
    return done.stdout


def told_whole(errors: str) -> Iterator[dict[str, Any]]:
    """The calls that stand on stderr."""
    for line in errors.splitlines():
        if '{"keledger_spool":1' in line:
            yield json.loads(line[line.index("{") :])


def bring_in(home: Home, errors: str) -> None:
    """Do as stderr says: save what is told there in the spool; and append once."""
    for told in told_whole(errors):
        home.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home.spool / f"{told['begin']['id']}.json").write_text(json.dumps(told))
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(session="afterwards"))


def the_programs(home: Home) -> list[str]:
    """The program's calls in the journal, by their answers, as often as they stand there."""
    return [event["data"]["response_id"] for event in calls(home) if event["data"].get("session") == "the program's"]


def check_counted_once(home: Home, count: int) -> None:
    """All of them are journaled, nothing waits any more, nothing is damaged, and reports count each once."""
    assert sorted(set(the_programs(home))) == [f"r-{number}" for number in range(count)]
    assert not list(home.spool.glob("*.json"))
    assert not verify(home).damaged
    with open_projection(home) as projection:
        rows = projection.query(
            "SELECT COUNT(*), SUM(input_tokens) FROM call_fact WHERE session = ?", ["the program's"]
        )
        assert not [finding for finding in report_daily(projection).findings if finding.damage]
    assert [(int(count), int(tokens)) for count, tokens in rows] == [(count, sum(1000 + at for at in range(count)))]


@pytest.fixture
def used(home: Home) -> Home:
    """A home with a call in it."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(session="before"))
    return home


UNGROWING = "resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize('{segment}') + 700,) * 2)"
"""Half a line more can be written to the segment: the next one is opened, and takes the call."""

LITTLE_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))"
"""No line fits into any segment, and a small file in the spool does, as where the spool is on another disk."""

NO_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
NO_DESCRIPTORS = "ledger.close(); resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
REMOVED = "shutil.rmtree('{home}')"


@pytest.mark.parametrize(
    ("during", "where"),
    [
        (UNGROWING, "journal"),
        (LITTLE_ROOM, "spool"),
        (NO_ROOM, "stderr"),
        (NO_DESCRIPTORS, "stderr"),
        (REMOVED, "journal"),
    ],
    ids=["file cannot grow", "disk full", "disks full", "no descriptors", "home removed"],
)
def test_what_happens_to_the_journal_while_a_program_runs(used: Home, during: str, where: str) -> None:
    text = during.format(home=used.path, segment=newest_segment(used))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, used.path, "3", text], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (STATUS, answers(3))
    told = [each["end"]["response_id"] for each in told_whole(done.stderr)]
    spooled = sorted(json.loads(path.read_text())["end"]["response_id"] for path in used.spool.glob("*.json"))
    journaled = the_programs(used)
    if where == "journal":  # but for what was in the home that somebody removed
        assert (journaled, spooled, done.stderr) == (["r-0", "r-1", "r-2"][during == REMOVED :], [], "")
        return
    wanted = {"spool": ([], ["r-1", "r-2"]), "stderr": (["r-1", "r-2"], [])}
    assert journaled == ["r-0"]
    assert (told, spooled) == wanted[where], done.stderr
    bring_in(used, done.stderr)
    check_counted_once(used, 3)


@contextlib.contextmanager
def writer_damaged(home: Home) -> Iterator[None]:
    """The file that says who writes here is cut in half."""
    path = home.path / "writer.json"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    yield
    path.write_bytes(content)


@contextlib.contextmanager
def writer_is_a_fifo(home: Home) -> Iterator[None]:
    """Whoever opens it waits for ever."""
    path = home.path / "writer.json"
    path.rename(home.path / "kept")
    os.mkfifo(path)
    yield
    path.unlink()
    (home.path / "kept").rename(path)


@contextlib.contextmanager
def book_missing(home: Home) -> Iterator[None]:
    """The adopted price list is gone."""
    kept = home.path.with_name("kept")
    home.prices.rename(kept)
    home.prices.mkdir(0o700)
    yield
    home.prices.rmdir()
    kept.rename(home.prices)


@contextlib.contextmanager
def book_is_a_fifo(home: Home) -> Iterator[None]:
    """As above, and whoever opens it waits for ever."""
    with book_missing(home):
        names = [path.name for path in home.path.with_name("kept").iterdir()]
        for name in names:
            os.mkfifo(home.prices / name)
        yield
        for name in names:
            (home.prices / name).unlink()


@contextlib.contextmanager
def journal_is_a_file(home: Home) -> Iterator[None]:
    """Somebody moved the journal away and left a note."""
    home.journal.rename(home.path / "kept")
    home.journal.write_text("moved")
    yield
    home.journal.unlink()
    (home.path / "kept").rename(home.journal)


@contextlib.contextmanager
def cache_is_a_fifo(home: Home) -> Iterator[None]:
    """What remembers the adopted book is only a cache: calls are journaled at once."""
    (home.path / "guard").mkdir()
    os.mkfifo(home.path / "guard" / "adopted.json")
    yield


@contextlib.contextmanager
def fifo_in_the_spool(home: Home) -> Iterator[None]:
    """Every append looks into the spool."""
    home.spool.mkdir(mode=0o700, parents=True)
    os.mkfifo(home.spool / "a.json")
    yield
    (home.spool / "a.json").unlink()


@contextlib.contextmanager
def later_release(home: Home) -> Iterator[None]:
    """A later release has adopted prices in a way that this one cannot read."""
    forge(home, "prices.adopted", {"book": {"of": "another shape"}}, v=2)
    yield


@contextlib.contextmanager
def damaged_line(home: Home) -> Iterator[None]:
    """The last line has a byte changed; nothing is lost but what stood there."""
    path = newest_segment(home)
    content = bytearray(path.read_bytes())
    content[-500] ^= 1
    path.write_bytes(content)
    yield


AT_ONCE = (cache_is_a_fifo, fifo_in_the_spool, later_release, damaged_line)
"""What keeps no call out of the journal."""


@pytest.mark.parametrize(
    "state", [writer_damaged, writer_is_a_fifo, book_missing, book_is_a_fifo, journal_is_a_file, *AT_ONCE]
)
def test_what_the_journal_may_be_like_when_a_program_starts(used: Home, state: Any) -> None:
    with state(used):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, used.path, "2", ""], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (STATUS, answers(2)), done.stderr
        waiting = [path for path in used.spool.glob("*.json") if path.is_file()]
        assert len(waiting) == (0 if state in AT_ONCE else 2), done.stderr
    bring_in(used, done.stderr)
    if state is damaged_line:
        assert sorted(the_programs(used)) == ["r-0", "r-1"]
    else:
        check_counted_once(used, 2)


def test_a_home_that_may_not_be_written(used: Home) -> None:
    prefix = bound_by_permissions()
    places = [used.path, *used.path.rglob("*")]
    for path in places:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", PROGRAM, used.path, "2", ""], capture_output=True, text=True, check=False
        )
    finally:
        for path in places:
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert (done.returncode, done.stdout) == (STATUS, answers(2)), done.stderr
    assert len(list(used.spool.glob("*.json"))) == 2
    bring_in(used, done.stderr)
    check_counted_once(used, 2)


def test_a_lock_that_a_stopped_process_holds(used: Home) -> None:
    """It is waited for, for five seconds and not for ever."""

    def hold(tell: Callable[[str], object]) -> None:
        with open(used.lock, "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tell("held")
            os.kill(os.getpid(), signal.SIGSTOP)

    with started_child(hold) as holder:
        assert holder.wait_for_line() == "held"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, used.path, "1", ""], capture_output=True, text=True, check=False, timeout=60
        )
    assert (done.returncode, done.stdout) == (STATUS, answers(1)), done.stderr
    assert len(list(used.spool.glob("*.json"))) == 1
    bring_in(used, done.stderr)
    check_counted_once(used, 1)


def test_an_exception_of_the_program_stays_its_own(used: Home) -> None:
    """Also where the journal cannot take the call that it ended."""
    (used.path / "writer.json").write_text("{")
    failure = ValueError("the program's")
    with Ledger.open(used.path) as ledger:
        with pytest.raises(ValueError, match="the program's") as raised, ledger.call(provider="openai", model="m"):
            raise failure
        assert raised.value is failure
    assert len(list(used.spool.glob("*.json"))) == 1


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:  # noqa: F811 - the fixture
    """A stage for the newest KePrompt."""
    return stage_of(NEWEST)


VARYING = ("chat_id", "elapsed_time", "api_time", "tool_time", "timestamp", "created")


def without_times(stdout: str) -> Any:
    """What KePrompt printed, but for what differs from run to run."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items() if key not in VARYING}
        if isinstance(value, str):
            return re.sub(r"\b[0-9a-f]{8}\b", "ID", re.sub(r"\d+\.\d+ ?s", "T s", value))
        return [plain(part) for part in value] if isinstance(value, list) else value

    return plain(json.loads(stdout))


def bring_in_to(stage: Stage) -> None:
    """What the next command of anybody's does."""
    with Ledger.open(stage.home.path) as ledger:
        ledger.bring_in_spooled()


def test_keprompts_keledger_is_killed_before_the_first_call(stage: Stage) -> None:
    alone = stage.run(stage.chat("tool"))
    with TemporaryDirectory(prefix="kl-") as runtime:  # for the socket, which nobody removes this time
        stage.environment["XDG_RUNTIME_DIR"] = runtime
        killing = ["sh", "-c", 'kill -9 "$PPID"; "$@"; echo "status $?" >&2', "sh"]
        running = stage.start(stage.watched([*killing, *stage.chat("tool")]))
        status, output, errors = end(running)
    assert status == -signal.SIGKILL
    assert "status 0\n" in errors
    assert without_times(output) == without_times(alone.stdout)
    assert len(list(stage.home.spool.glob("*.json"))) == 2
    bring_in_to(stage)
    bring_in_to(stage)
    assert [call["status"] for call in stage.calls()] == ["ok", "ok"]
    assert not verify(stage.home).damaged


def test_keprompts_helper_is_killed_during_a_call_and_the_spool_is_shut(stage: Stage, tmp_path: Path) -> None:
    stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    alone = stage.run(stage.chat("tool"))
    enable(find(str(stage.keprompt)))
    (tmp_path / "state").write_text("a file, where the spool belongs")
    stage.environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    before = len(stage.provider.asked)
    running = stage.start(stage.chat("tool slow"))
    wait_for(lambda: len(stage.provider.asked) == before + 2)
    helper = next(pid for pid in _processes() if _parent(pid) == running.pid)
    os.kill(helper, signal.SIGKILL)
    stage.provider.hurry()
    status, output, errors = end(running)
    assert status == alone.returncode == 0
    assert without_times(output).keys() == without_times(alone.stdout).keys()
    (told,) = told_whole(errors)
    assert told["end"]["usage_raw"] == stage.provider.sent[-1].usage
    (first,) = stage.calls()
    assert first["status"] == "ok"
    spool = Home.at(stage.home.path).spool
    spool.mkdir(parents=True, mode=0o700)
    (spool / "saved.json").write_text(json.dumps(told))
    bring_in_to(stage)
    assert [call["status"] for call in stage.calls()] == ["ok", "ok"]


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_a_damaged_journal_does_not_change_keprompts_status(stage: Stage) -> None:
    """The closing line reads the journal's end: damage there, and what a later release wrote, stops nobody."""
    with Ledger.open(stage.home.path) as ledger:
        ledger.record_many([call(), call()])
    run = ledger.run
    path = newest_segment(stage.home)
    content = path.read_bytes()
    path.write_bytes(content[:-600] + b"\0" * 10 + content[-590:])
    with Ledger.open(stage.home.path) as ledger:  # seals it off
        ledger.record(**call())
    forge(stage.home, "call.completed", {"usage": "of another shape"}, v=2)
    damaged = newest_segment(stage.home)
    lines = damaged.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    damaged.write_bytes(lines[0] + lines[1].replace(b'{"', b'["', 1) + lines[2])
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["success"] is True
    assert "keledger: 1 call, 2,402 input + 118 output tokens, " in ended.stderr
    assert keledger("--home", str(stage.home.path), "verify").status == 3
    assert tail_totals(stage.home, run=run)[0].calls == 1
