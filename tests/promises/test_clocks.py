"""Clocks that jump back, freeze, leap or run mad decide nothing: order, identity and figures are as with a good one.

The wall clock is what ``time.time_ns`` says, for every part of keledger; here it is made to lie.  (A real ``faketime``
around whole programs: ``tests/machine``.)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, InputRefused, Ledger, format_time, tail_totals, verify
from keledger.projections import digest, open_projection, rebuild
from tests.cli.support import keledger
from tests.journal.support import call, calls, events

NOW_NS = time.time_ns()
DAY_NS = 24 * 3600 * 10**9
YEAR_NS = 365 * DAY_NS
STARTED = "2026-11-20T10:00:00.000000Z"


def backwards() -> Iterator[int]:
    """Each look is a day before the last one."""
    return itertools.count(NOW_NS, -DAY_NS)


def frozen() -> Iterator[int]:
    """It stands still."""
    return itertools.repeat(NOW_NS)


def leaping() -> Iterator[int]:
    """It leaps ten years ahead and back again."""
    return itertools.cycle([NOW_NS, NOW_NS + 10 * YEAR_NS])


def dead() -> Iterator[int]:
    """A machine without a battery: it begins with 1970."""
    return itertools.count(0, 10**6)


def at_the_end() -> Iterator[int]:
    """Beyond 2038, where 32 bits end, and beyond 2106, where they end without a sign."""
    return itertools.cycle([2**31 * 10**9, 2**32 * 10**9 + 1])


CLOCKS = (backwards, frozen, leaping, dead, at_the_end)


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Iterator[int]) -> None:
    """Let every look at the wall clock be the next of these."""
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))


def live(ledger: Ledger, number: int) -> str:
    """A call through the library, which takes its times from the clock."""
    with ledger.call(provider="openai", model="gpt-5-mini", session=f"s{number}") as made:
        made.complete({"id": f"r-{number}", "usage": {"prompt_tokens": 1000, "completion_tokens": 200}})
    assert made.recorded is not None
    assert made.recorded.journaled
    return made.id


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def record_history(home: Home) -> None:
    """Calls whose times are given, a copy of one, a void and one taken back, by three ledgers in turn."""
    for number in range(6):
        with Ledger.open(home.path) as ledger:
            made = ledger.record(**call(id=f"call {number}", time=STARTED, session=f"s{number % 2}", run="r"))
            ledger.record(**call(id="always the same", time=STARTED, run="r"))
            if number % 2:
                ledger.void(made, "a test")
            if number == 3:
                ledger.revert_void(made, "a mistake")


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_mad_clock_changes_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], Iterator[int]]
) -> None:
    """Order, ticks, ids, copies, voids, catching up: as with a good clock, to the digest."""
    good, mad = Home.at(tmp_path / "good"), Home.at(tmp_path / "mad")
    record_history(good)
    if clock in (dead, backwards):  # then what is given is far ahead of it
        monkeypatch.setattr("keledger.journal._limits.AHEAD_US_MAX", 2**62)
    set_clock(monkeypatch, clock())
    record_history(mad)
    ids = {live(ledger, number) for number in range(20) for ledger in [Ledger.open(tmp_path / "live")]}
    assert len(ids) == 20
    written = events(mad)
    assert (
        [event["seq"] for event in written] == [event["tick"] for event in written] == list(range(1, len(written) + 1))
    )
    assert len({event["id"] for event in written if event["type"] != "call.completed"}) == len(written) - 12
    rebuild(mad)
    assert digest_of(mad) == digest_of(good)
    record_history(mad)  # the same again, behind a cache
    record_history(good)
    assert digest_of(mad) == digest_of(good)
    for home, counted in ((mad, 5), (Home.at(tmp_path / "live"), 20)):
        assert not verify(home).damaged
        assert keledger("--home", str(home.path), "sessions").status == 0
        with open_projection(home) as projection:
            assert projection.query("SELECT COUNT(*) FROM call_fact") == [(counted,)]
        tail_totals(home, run="r")


@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=12))
def test_whatever_a_clock_says_appending_and_reading_go_on(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    home = Home.at(tmp_path_factory.mktemp("clock") / "home")
    looks = itertools.cycle(itertools.accumulate(steps, lambda at, hours: at + hours * 3600 * 10**9, initial=NOW_NS))
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_clock(monkeypatch, (max(0, look) for look in looks))
        for number in range(4):
            with Ledger.open(home.path) as ledger:
                live(ledger, number)
    assert [event["data"]["response_id"] for event in calls(home)] == [f"r-{number}" for number in range(4)]
    assert not verify(home).damaged
    with open_projection(home) as projection:
        assert projection.query("SELECT COUNT(*) FROM call_fact") == [(4,)]


def test_a_live_call_of_the_future_is_kept_and_marked_a_recorded_one_is_refused(home: Home, ledger: Ledger) -> None:
    def ahead(hours: float) -> str:
        return format_time((NOW_NS + int(hours * 3600 * 10**9)) // 1000)

    begin = {"id": "01a1ff7c-0000-7000-8000-000000000001", "provider": "openai", "model": "gpt-5-mini"}
    end = {"status": "ok", "usage_raw": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert ledger.record_hook(begin | {"started_at": ahead(30)}, end).journaled
    assert ledger.record_hook(begin | {"id": begin["id"][:-1] + "2", "started_at": ahead(20)}, end).journaled
    far, near = (event["data"] for event in calls(home))
    assert (far["started_at"], far["clock_suspect"]) == (ahead(30), True)
    assert "clock_suspect" not in near
    with pytest.raises(InputRefused, match="24 h ahead"):
        ledger.record(**call(time=ahead(30)))
    ledger.record(**call(time=ahead(20)))
    assert len(calls(home)) == 3
    assert not verify(home).damaged  # readers judge by no clock
    with open_projection(home) as projection:
        assert projection.query("SELECT COUNT(*) FROM call_fact") == [(3,)]
