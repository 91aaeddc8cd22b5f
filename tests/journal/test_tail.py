"""The closing line's totals: what a run and today cost, without DuckDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keledger.journal import Home, Ledger, format_time, tail_totals
from keledger.journal import _limits as limits
from keledger.journal._time import now_us

from .support import call, newest_segment
from .tampering import seal_off


def _at(moment: datetime) -> str:
    return format_time(int(moment.timestamp()) * 1_000_000)


def test_the_run_and_today_are_told_apart(home: Home, ledger: Ledger) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ledger.record(**call(time=_at(midnight), run="another"))
    ledger.record(**call(time=_at(midnight - timedelta(seconds=1)), run="another"))
    ledger.record(**call())
    ledger.record(**call(model="no-such-model"))
    ledger.record(**call(usage_raw=None, status="unknown"))
    run, today = tail_totals(home, run=ledger.run)
    assert (run.calls, run.cost_usd, run.unpriced_calls, run.unknown_calls) == (3, "0.000515", 1, 1)
    assert (run.input_tokens, run.output_tokens) == (2000, 400)
    assert (today.calls, today.cost_usd) == (4, "0.00103")


def test_what_does_not_count_is_left_out(home: Home, ledger: Ledger) -> None:
    first = ledger.record(**call(id="a", time=format_time(now_us()), response_id="resp-1"))
    ledger.record_many([call(id="a", response_id="resp-1")])  # a conflict: the first counts
    ledger.record(source="import:old", **call(call_keys=["openai:resp-1"], quality="totals_only"))
    ledger.record(source="import:old", **call(call_keys=["k"], quality="under_count", run=ledger.run))
    ledger.record(source="import:old", **call(call_keys=["k"], quality="totals_only", run=ledger.run))
    gone = ledger.record(**call())
    ledger.void(gone, "a test")
    back = ledger.record(**call())
    ledger.void(back, "a mistake")
    ledger.revert_void(back, "no mistake")
    run, today = tail_totals(home, run=ledger.run)
    assert today.calls == 3
    assert run.calls == 3
    ledger.void(first, "with it the imported one stays shadowed")
    assert tail_totals(home, run=ledger.run)[1].calls == 2


def test_it_reads_through_segments_and_past_a_torn_tail(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 5000)
    monkeypatch.setattr(limits, "READ_BYTES", 700)
    for _ in range(12):
        ledger.record(**call())
    (writer,) = home.writers()
    assert len(home.segments(writer)) > 2
    with home.segments(writer)[-1].open("ab") as file:
        file.write(b'{"torn')
    assert tail_totals(home, run=ledger.run)[0].calls == 12


def test_a_call_that_was_sealed_off_is_left_out(home: Home, ledger: Ledger) -> None:
    ledger.record(**call())
    length = newest_segment(home).stat().st_size
    ledger.record(**call())
    ledger.close()
    seal_off(newest_segment(home), length)
    ledger.record(**call())
    assert tail_totals(home, run=ledger.run)[0].calls == 2


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_today_is_that_of_the_zone(home: Home, ledger: Ledger, zone: str) -> None:
    ledger.record(**call())
    assert tail_totals(home, run="x", timezone=zone)[1].calls == 1
    assert tail_totals(home, run="x", timezone=zone)[0].calls == 0
