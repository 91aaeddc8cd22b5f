"""``doctor`` at the command line: its lines, its JSON, its exit status, and that it survives every home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from keledger.journal import Check, Home, Ledger
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from keledger.projections import _state as state_module
from keledger.projections import check_projections, projection_state, rebuild
from tests.journal.doctor.test_broken_homes import BROKEN
from tests.journal.support import USAGE, calls, tree_bytes
from tests.projections.support import append, call

from .support import forge, keledger, keledger_process, keledger_terminal, truth
from .test_bad_homes import bound_by_permissions


def states(checks: Sequence[dict[str, str]]) -> set[str]:
    return {check["state"] for check in checks}


def test_a_home_that_is_well(used: Home) -> None:
    before = truth(used)
    outcome = keledger("doctor")
    assert (outcome.status, outcome.err) == (0, "")
    report = outcome.json
    assert list(report) == ["schema_version", "report", "home", "problems", "notes", "checks"]
    assert (report["schema_version"], report["report"], report["home"]) == (1, "doctor", str(used.path))
    assert all(list(check) == ["name", "state", "message", "remedy"] for check in report["checks"])
    assert (report["problems"], report["notes"]) == (0, sum(check["state"] == "note" for check in report["checks"]))
    assert report["checks"][-1]["name"] == "projections"
    assert truth(used) == before


def test_a_home_that_is_not_there(home: Home) -> None:
    outcome = keledger("--home", str(home.path), "doctor")
    assert (outcome.status, outcome.err) == (0, "")
    assert "will be made with the first event" in outcome.out
    assert not home.path.exists()


def test_a_name_that_is_not_utf_8(used: Home) -> None:
    path = Path(os.fsdecode(os.fsencode(used.path) + b"/\xff"))
    try:
        path.touch(0o600)
    except OSError:
        pytest.skip("this filesystem takes only names in UTF-8")
    outcome = keledger("--json", "doctor")
    assert (outcome.status, outcome.err) == (0, "")
    message = f"{used.path}/\\udcff does not belong in a home"
    assert message in [check["message"] for check in outcome.json["checks"]]
    assert f"{message}: move it away\n" in keledger("--pretty", "doctor").out


def test_lines_for_people(used: Home) -> None:
    shutil.rmtree(used.prices)
    outcome = keledger("--pretty", "doctor")
    *lines, blank, end = outcome.out.splitlines()
    assert (outcome.status, blank) == (3, "")
    assert end.startswith("1 problem, ")
    (line,) = [line for line in lines if line.startswith("problem")]
    assert line.split()[1] == "prices"
    assert line.endswith(" is missing: restore it from a backup, or merge a home that has it")
    assert all(line.startswith(("ok       ", "note     ", "problem  ")) for line in lines)


def test_on_a_terminal(used: Home) -> None:
    shown = keledger_terminal("doctor", environment={"KELEDGER_HOME": str(used.path)})
    assert shown.status == 0
    assert "\x1b[32mok" in shown.out


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_home_ends_with_3(used: Home, case: str) -> None:
    destroy, name, words = BROKEN[case]
    keledger("replay")
    destroy(used)
    outcome = keledger("--json", "doctor")
    assert (outcome.status, outcome.err) == (3, "")
    told = [check for check in outcome.json["checks"] if check["state"] == "problem"]
    assert any(check["name"] == name and words in check["message"] for check in told)


@pytest.mark.parametrize("part", ["", "journal", "prices", "projections", "lock", "writer.json"])
def test_what_may_not_be_read(used: Home, part: str) -> None:
    prefix = bound_by_permissions()
    keledger("replay")
    path = used.path / part
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        outcome = keledger_process("doctor", prefix=prefix)
    finally:
        path.chmod(mode)
    assert (outcome.status, outcome.err) == (3, "")
    assert "problem" in states(outcome.json["checks"])


def test_a_home_that_may_only_be_read(used: Home) -> None:
    prefix = bound_by_permissions()
    used.path.chmod(0o500)
    try:
        outcome = keledger_process("doctor", prefix=prefix)
    finally:
        used.path.chmod(0o700)
    assert outcome.status == 3
    (sync,) = [check for check in outcome.json["checks"] if check["name"] == "sync"]
    assert (sync["state"], "Permission denied" in sync["message"]) == ("problem", True)


@pytest.mark.parametrize("kind", ["file", "link", "device"])
def test_what_is_no_home(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "place"
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(tmp_path)
    before = tree_bytes(tmp_path)
    outcome = keledger("--home", os.devnull if kind == "device" else str(path), "doctor")
    assert (outcome.status, outcome.err) == (3, "")
    assert tree_bytes(tmp_path) == before


def test_events_in_the_cache_that_this_release_does_not_read(used: Home) -> None:
    forge(used, "budget.set", {"name": "b", "action": "block"}, v=9)
    keledger("replay")
    (check,) = [check for check in keledger("doctor").json["checks"] if check["name"] == "events"]
    assert (check["state"], check["remedy"]) == ("note", "upgrade keledger")
    assert "budget.set v9 (1 or more)" in check["message"]


# The state of the caches


@pytest.fixture
def cached(home: Home) -> Home:
    """A home with a cache of all that it holds."""
    append(home, *(call(number) for number in range(5)))
    rebuild(home)
    return home


def told(home: Home) -> Check:
    return check_projections(projection_state(home))


def test_no_cache(home: Home) -> None:
    assert projection_state(home).state == "none"
    append(home, call(1))
    state = projection_state(home)
    assert (state.state, state.behind_bytes) == ("none", sum(p.stat().st_size for p in home.journal.rglob("*.jsonl")))
    assert told(home).message == "there is no cache; a journal of this size is read anew by each report"


def test_a_large_journal_without_a_cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    append(home, call(1))
    monkeypatch.setattr(state_module, "TAIL_BYTES_MAX", 10)
    assert told(home).message == "there is no cache; the next report builds it"


def test_a_cache_of_everything_and_one_that_is_behind(cached: Home) -> None:
    state = projection_state(cached)
    assert (state.state, state.behind_bytes, state.calls) == ("ready", 0, 5)
    size = sum(path.stat().st_size for path in cached.journal.rglob("*.jsonl"))
    append(cached, call("later"))
    state = projection_state(cached)
    assert state.behind_bytes == sum(path.stat().st_size for path in cached.journal.rglob("*.jsonl")) - size
    assert (
        told(cached).message == f"5 calls are cached; {state.behind_bytes:,} bytes of the journal are behind, at most"
    )


def _shorten(folder: Path) -> None:
    layer = next(folder.glob("layer-*"))
    os.truncate(layer, layer.stat().st_size - 1)


def _to_fifo(folder: Path) -> None:
    (folder / "manifest").unlink()
    os.mkfifo(folder / "manifest", 0o600)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "manifest").write_text("nonsense"),
        lambda folder: (folder / "manifest").write_bytes((folder / "manifest").read_bytes()[:-9]),
        lambda folder: next(folder.glob("layer-*")).unlink(),
        _shorten,
        _to_fifo,
    ],
    ids=["nonsense", "cut", "a layer missing", "a layer cut", "a fifo"],
)
def test_a_damaged_cache(cached: Home, harm: Callable[[Path], object]) -> None:
    harm(projection_state(cached).folder)
    assert projection_state(cached).state == "damaged"
    check = told(cached)
    assert (check.state, check.remedy) == ("note", "the next report builds it again; keledger replay does so at once")


def test_a_cache_of_another_duckdb(cached: Home) -> None:
    folder = projection_state(cached).folder
    folder.rename(folder.with_name("0.9-0123456789ab"))
    state = projection_state(cached)
    assert (state.state, state.others) == ("other", ("0.9-0123456789ab",))
    assert told(cached).state == "note"


def test_what_a_dead_builder_left(cached: Home) -> None:
    folder = projection_state(cached).folder
    for name in ("work-old", "work-new"):
        (folder / name).mkdir()
    os.utime(folder / "work-old", (0, 0))
    assert projection_state(cached).leftovers == ("work-old",)
    assert "unfinished build" in told(cached).message


@pytest.mark.parametrize("place", ["projections", "its folder"])
def test_something_else_in_the_place_of_the_caches(cached: Home, place: str) -> None:
    path = cached.projections if place == "projections" else projection_state(cached).folder
    shutil.rmtree(path)
    path.write_text("")
    assert projection_state(cached).state == "blocked"
    assert told(cached).state == "problem"


def test_no_lock_is_waited_for_to_bring_in_what_waits(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(calls(used))
    asked: list[float] = []
    take = Disk.lock

    def lock(self: Disk, descriptor: int, timeout_s: float) -> bool:
        asked.append(timeout_s)
        return take(self, descriptor, timeout_s)

    with Ledger.open(used.path) as ledger, Appender(used).locked(), monkeypatch.context() as patch:
        patch.setattr(limits, "LOCK_WAIT_S", 0.05)
        for _ in range(4):
            with ledger.call(provider="openai", model="gpt-5-mini") as waiting:
                waiting.complete(USAGE)
        patch.setattr(Disk, "lock", lock)
        checks = keledger("doctor", "--json").json["checks"]
        assert asked == []
    told = {check["name"]: check for check in checks}
    assert (told["lock"]["state"], told["spool"]["state"]) == ("note", "note")
    assert told["spool"]["message"] == f"4 calls wait in {used.spool} to be journaled"
    assert len(calls(used)) == before


def test_what_waits_in_the_spool_is_brought_in(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(calls(used))
    with Ledger.open(used.path) as ledger, Appender(used).locked(), monkeypatch.context() as patch:
        patch.setattr(limits, "LOCK_WAIT_S", 0.05)
        with ledger.call(provider="openai", model="gpt-5-mini") as waiting:
            waiting.complete(USAGE)
    assert len(calls(used)) == before
    told = "1 call that waited in the spool was journaled now"
    assert told in [check["message"] for check in keledger("doctor", "--json").json["checks"]]
    assert len(calls(used)) == before + 1
    assert told not in keledger("doctor", "--json").out
