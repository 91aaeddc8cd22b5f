"""Clocks that are wrong, for whole processes: no clock decides what counts, in which order, or whether it verifies."""

from __future__ import annotations

import os

import pytest

from keledger.journal import Home, verify
from tests.cli.support import Outcome, json_lines, keledger_process
from tests.journal.support import call, calls, events

from ._needs import need_tool

pytestmark = pytest.mark.machine

CLOCKS = {
    "today": "@2026-11-22 12:00:00",
    "back a day": "@2026-11-21 12:00:00",
    "30 days ahead": "@2026-12-22 12:00:00",
    "1970": "@1970-01-01 00:00:10",
    "2038": "@2038-01-19 03:14:08",
    "2100": "@2100-02-28 23:59:59",
    "each look 2 s earlier": "@2026-11-22 12:00:00 i-2",
    "frozen": "2026-11-22 12:00:00",
}


@pytest.fixture(autouse=True)
def faketime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip without the tool.  Only the wall clock is faked: the kernel's monotonic one never jumps."""
    need_tool("faketime")
    for name in ("DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"):
        monkeypatch.setenv(name, "1")


def _at(clock: str, home: Home, *arguments: str, given: str = "") -> Outcome:
    prefix = ("faketime", "-f", CLOCKS[clock])
    return keledger_process("--home", str(home.path), *arguments, given=given, prefix=prefix, env=dict(os.environ))


def test_whatever_the_clock_says_each_call_counts_once(home: Home) -> None:
    for _ in range(2):  # the second time under the same ids: nothing is counted twice
        for clock in CLOCKS:
            lines = json_lines(call(id=clock, time="1969-12-31T23:59:59Z"), call(id=f"{clock}, now"))
            outcome = _at(clock, home, "record", given=lines)
            assert outcome.status == 0, (clock, outcome)
    result = verify(home)
    assert not [finding for finding in result.findings if finding.damage], result.findings
    told = events(home)
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert sorted(event["tick"] for event in told) == [event["tick"] for event in told]
    assert len({event["id"] for event in calls(home)}) == 2 * len(CLOCKS)
    digests = set()
    for clock in CLOCKS:
        assert _at(clock, home, "verify").status == 0
        counted = _at(clock, home, "sql", "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM calls")
        assert counted.json["rows"] == [{"n": 2 * len(CLOCKS), "ids": 2 * len(CLOCKS)}], clock
        digests.add(_at(clock, home, "replay", "--digest").out)
    assert len(digests) == 1


def test_the_newest_is_told_by_ticks_not_by_times(home: Home) -> None:
    assert _at("2038", home, "record", given=json_lines(call(id="one"))).status == 0
    (recorded,) = calls(home)
    assert _at("2100", home, "void", recorded["id"], "--reason", "by mistake").status == 0
    assert _at("1970", home, "void", recorded["id"], "--undo", "--reason", "it was none").status == 0
    assert keledger_process("--home", str(home.path), "daily", "--json").json["totals"]["calls"] == 1
