"""A segment that cannot be read for a while: reports go on and say so, and no cache keeps that as final."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keledger.journal import Home
from keledger.journal import _limits as limits
from keledger.projections import _projection, open_projection, rebuild, report_call, report_daily
from tests.journal.unreadable import modes_bind, shut

from .support import append, call, call_id, expected, hold_to


@pytest.fixture(autouse=True)
def _modes_bind() -> Iterator[None]:
    with modes_bind():
        yield


@pytest.fixture
def written(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of several segments."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 6_000)
    for number in range(40):
        append(home, call(number))
    return home


def segments(home: Home) -> list[Path]:
    return home.segments(home.writers()[0])


def looked_at(home: Home) -> tuple[int, set[str]]:
    """How many calls a report counts, and what it tells."""
    with open_projection(home) as projection:
        report = report_daily(projection).as_json()
    return report["totals"]["calls"], {finding["kind"] for finding in report["findings"]}


@pytest.mark.parametrize("number", [0, 1, -1])
@pytest.mark.parametrize("cached", ["nothing", "all before", "all but it", "all but it, by a reader"])
def test_it_counts_again_when_it_can_be_read_again(
    written: Home, monkeypatch: pytest.MonkeyPatch, cached: str, number: int
) -> None:
    whole, path = expected(written), segments(written)[number]
    mode, lost = path.stat().st_mode, path.read_bytes().count(b'"type":"call.completed"')
    if cached == "all before":
        rebuild(written)
    shut(path)
    if cached == "all but it":
        rebuild(written)
    if cached == "all but it, by a reader":
        monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0)
    for _ in range(3):
        calls, told = looked_at(written)
        if "segment_unreadable" in told:
            assert calls == 40 - lost
        else:  # the cache held it before, and it does not change any more
            assert (cached, number == -1, calls) == ("all before", False, 40)
    path.chmod(mode)
    assert looked_at(written) == (40, set())
    hold_to(written, whole)


def test_a_call_that_can_be_read_is_shown_whole(written: Home) -> None:
    shut(segments(written)[1])
    with open_projection(written) as projection:
        report = report_call(projection, call_id(0)).as_json()
        assert report["rows"][0]["event"]["id"] == call_id(0)
