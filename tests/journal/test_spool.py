"""The spool: a finished call that the journal cannot take is kept, and brought in later, once."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, Ledger, verify
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender

from .support import USAGE, call, calls

BEGIN: dict[str, Any] = {
    "id": "01a1ff7c-0000-7000-8000-000000000001",
    "started_at": "2026-11-21T19:00:00.000000Z",
    "provider": "openai",
    "model": "gpt-5-mini",
    "session": "s1",
    "cwd": "/",
    "environment": {"KELEDGER_TEAM": "sales"},
    "run_flags": {"project": "crm"},
}
END: dict[str, Any] = {"status": "ok", "usage_raw": USAGE, "duration_ms": 5, "http_status": 200}


def test_a_locked_journal_spools_and_the_next_append_brings_in(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(**call())
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    blocker = Appender(home)
    with blocker.locked():
        recorded = ledger.record_hook(BEGIN, END)
        assert not recorded.journaled
        assert "has held" in str(recorded.problem)
    (file,) = home.spool.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.spool.stat().st_mode) == 0o700
    assert [finding.kind for finding in verify(home).findings] == ["spool_waiting"]
    ledger.record(**call())
    assert list(home.spool.glob("*.json")) == []
    spooled = next(event for event in calls(home) if event["id"] == BEGIN["id"])
    assert spooled["data"]["cost"]["total_usd"] == "0.000515"
    assert spooled["data"]["project"] == "crm"
    assert spooled["data"]["team"] == "sales"
    assert len(calls(home)) == 3


def test_a_held_lock_is_waited_for_once_however_many_wait(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them would be waited for as long, with a user's call on the way."""
    ledger.record(**call())
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    blocker, asked = Appender(home), list[float]()
    real = Disk.lock

    def lock(disk: Disk, descriptor: int, wait_s: float) -> bool:
        asked.append(wait_s)
        return real(disk, descriptor, wait_s)

    with blocker.locked():
        for number in range(4):
            begin = {**BEGIN, "id": f"01a1ff7c-0000-7000-8000-00000000001{number}"}
            assert not ledger.record_hook(begin, END).journaled
        monkeypatch.setattr(Disk, "lock", lock)
        assert ledger.bring_in_spooled() == 0
        assert len([wait_s for wait_s in asked if wait_s > 0]) == 1
    assert ledger.bring_in_spooled() == 4
    assert not list(home.spool.glob("*.json"))


def test_a_call_that_came_through_after_all_counts_once(home: Home, ledger: Ledger) -> None:
    ledger.record_hook(BEGIN, END)
    home.spool.mkdir(parents=True, mode=0o700)
    home.spool.chmod(0o700)
    content = {"keledger_spool": 1, "kind": "hook", "home": str(home.path), "begin": BEGIN, "end": END}
    (home.spool / "x.json").write_text(json.dumps(content))
    ledger.record(**call())
    same = [event["data"] for event in calls(home) if event["id"] == BEGIN["id"]]
    assert len(same) == 2
    assert same[0] == same[1]
    assert not verify(home).damaged


def test_a_home_that_is_a_file_spools_and_comes_in_when_it_is_mended(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    ledger = Ledger.open(home.path)
    home.path.write_text("in the way")
    assert not ledger.record_hook(BEGIN, None).journaled
    home.path.unlink()
    with Ledger.open(home.path) as mended:
        mended.record(**call())
    assert {event["data"]["status"] for event in calls(home)} == {"ok", "unknown"}


def test_without_any_place_the_call_is_told_whole(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home.path.write_text("in the way")
    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").write_text("in the way")
    ledger.record_hook(BEGIN, END)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    told = json.loads(line[line.index("{") :])
    assert told["begin"] == BEGIN
    assert told["end"] == END


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keledger_spool":9}', '{"keledger_spool":1,"kind":"hook"}'])
def test_what_cannot_be_read_stays_where_it_is(home: Home, ledger: Ledger, content: str) -> None:
    home.spool.mkdir(parents=True, mode=0o700)
    home.spool.chmod(0o700)
    file = home.spool / "strange.json"
    file.write_text(content)
    ledger.record(**call())
    assert file.read_text() == content
    assert len(calls(home)) == 1


def test_a_spool_that_others_can_write_is_not_believed(home: Home, ledger: Ledger) -> None:
    home.spool.mkdir(parents=True)
    home.spool.chmod(0o777)
    content = {"keledger_spool": 1, "kind": "hook", "home": str(home.path), "begin": BEGIN, "end": END}
    (home.spool / "planted.json").write_text(json.dumps(content))
    ledger.record(**call())
    assert len(calls(home)) == 1


@pytest.mark.parametrize(
    "begin",
    ["text", {}, {**BEGIN, "id": 'zz","x":"y'}, {**BEGIN, "cwd": 7}, {**BEGIN, "attributes": "crm"}],
    ids=["no object", "no id", "an id that is none", "a folder that is none", "attributes that are none"],
)
def test_one_file_that_cannot_be_taken_keeps_no_other_waiting(home: Home, ledger: Ledger, begin: Any) -> None:
    home.spool.mkdir(parents=True, mode=0o700)
    home.spool.chmod(0o700)
    for name, told in (("a", begin), ("b", BEGIN)):
        content = {"keledger_spool": 1, "kind": "hook", "home": str(home.path), "begin": told, "end": END}
        (home.spool / f"{name}.json").write_text(json.dumps(content))
    ledger.record(**call())
    ids = [event["id"] for event in calls(home)]
    assert BEGIN["id"] in ids
    assert all(len(event_id) == 36 for event_id in ids)
    assert not verify(home).damaged
