"""Whatever happens to some journals, catching up and rebuilding say the same, and what a plain fold says."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, NewEvent, pico_to_usd
from keledger.projections import (
    ReportOptions,
    _build,
    _projection,
    digest,
    open_projection,
    rebuild,
    report_daily,
    report_sessions,
)

from .support import append, call, drop_cache, expected, hold_to, take_over, uncosted, void

MACHINES = 2

EXAMPLES = int(os.environ.get("KELEDGER_TEST_EXAMPLES", "8"))
"""Each takes about a second; more are worth their time after a change of what counts or of the cache."""

names = st.integers(1, 8)
money = st.integers(0, 10**18).map(pico_to_usd)
days = st.sampled_from(
    [
        "1969-12-31T23:59:59.999999Z",
        "2026-03-01T00:00:00.000000Z",
        "2026-03-01T23:59:59.999999Z",
        "2026-03-29T01:30:00.0Z",
    ]
).map(lambda text: text.replace("00.0Z", "00.000000Z"))


@st.composite
def calls(draw: st.DrawFn) -> NewEvent:
    """A call out of few, with few keys, so that they meet."""
    fields = {
        "usd": draw(money),
        "given": draw(st.integers(1, 2)),
        "started_at": draw(days),
        "origin": draw(st.sampled_from(["hook", "record", "import:x", "import:y"])),
        "quality": draw(st.sampled_from(["measured", "totals_only", "under_count"])),
        "status": draw(st.sampled_from(["ok", "ok", "error", "unknown"])),
    }
    optional = {
        "call_keys": draw(st.lists(st.sampled_from("abc"), max_size=2)),
        "session": draw(st.sampled_from(["", "s1", "s2"])),
        "tags": draw(st.dictionaries(st.sampled_from(["env", "a.b"]), st.text("xyé", max_size=2), max_size=2)),
    }
    state = draw(st.sampled_from([None, None, None, "unpriced", "unknown"]))
    return call(
        draw(names),
        **fields,
        **{name: value for name, value in optional.items() if value},
        **(uncosted(state) if state else {}),
    )


voids = st.builds(lambda name, key, revert: void(name, key=key, revert=revert), names, st.integers(1, 3), st.booleans())
machines = st.integers(0, MACHINES - 1)
steps = st.one_of(
    st.tuples(st.just("append"), machines, st.lists(st.one_of(calls(), calls(), voids), min_size=1, max_size=4)),
    st.tuples(st.just("merge"), machines, machines),
    st.tuples(st.just("read"), machines, st.booleans()),
    st.tuples(st.just("tear"), machines, st.integers(1, 200)),
)


@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=3, max_size=14))
def test_catching_up_equals_rebuilding(history: list[tuple[str, int, object]]) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        homes = [Home.at(folder / f"home-{number}") for number in range(MACHINES)]
        for kind, machine, argument in history:
            take_step(patch, homes, kind, machine, argument)
        for home in homes:
            hold_together(home)
        # All of it merged, in either order, is one thing.
        left, right = Home.at(folder / "left"), Home.at(folder / "right")
        for target, order in ((left, homes), (right, homes[::-1])):
            for source in order:
                target.journal.mkdir(parents=True, exist_ok=True)
                target.path.chmod(0o700)
                take_over(source, target)
                with open_projection(target):
                    pass
        assert digest_of(left) == digest_of(right)
        hold_together(left)


def take_step(patch: pytest.MonkeyPatch, homes: list[Home], kind: str, machine: int, argument: object) -> None:
    """One thing that happens to one home."""
    home = homes[machine]
    if kind == "append" and isinstance(argument, list):
        append(home, *argument)
    elif kind == "merge" and isinstance(argument, int):
        if home.path.exists() and homes[argument].path.exists():
            take_over(homes[argument], home)
    elif kind == "read":
        # Half of the readers make a layer of what is new, however little it is.
        patch.setattr(_projection, "TAIL_BYTES_MAX", 0 if argument else 10**9)
        with open_projection(home) as projection:
            digest(projection)
    elif kind == "tear" and home.path.exists() and isinstance(argument, int):
        newest = home.segments(home.writers()[0])[-1]
        with open(newest, "ab") as file:
            file.write(b'{"specversion":"1.0","id":"' + b"x" * argument)


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def hold_together(home: Home) -> None:
    """One home, caught up, without a cache, and rebuilt."""
    wanted = expected(home)
    hold_to(home, wanted)
    caught_up = digest_of(home)
    with open_projection(home) as projection:
        zones = ("UTC", "Pacific/Apia")
        daily = [report_daily(projection, ReportOptions(timezone=zone, by=("tag:env",))) for zone in zones]
        reports = [*daily, report_sessions(projection, ReportOptions(breakdown=True))]
        for report in reports:
            assert report.totals == reports[0].totals
            assert report.totals["calls"] == len(wanted.counted)
            if report.totals["cost_usd"] is not None:
                assert report.totals["cost_usd"] == pico_to_usd(wanted.pico)
    drop_cache(home)
    assert digest_of(home) == caught_up
    if home.path.exists():
        rebuild(home)
        assert digest_of(home) == caught_up
        hold_to(home, wanted)


@pytest.mark.parametrize(
    ("sizes", "new", "wanted"),
    [
        ([], 10, 0),
        ([10], 10, 1),
        ([39, 10], 10, 2),
        ([80, 10], 10, 1),
        ([1_000_000], 249_000, 0),
        ([200_000], 60_000, 0),
        ([150_000, 40_000], 40_000, 2),
        ([8_000_000, 300_000], 100_000, 1),
    ],
)
def test_layers_taken_up(sizes: list[int], new: int, wanted: int) -> None:
    layers = [_build.Layer("", 0, "", calls=size, others=0, imported=0, voids=0) for size in sizes]
    assert _build._taken_up(layers, new) == wanted


def test_layers_stay_few(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0)
    for number in range(24):
        append(home, call(number))
        with open_projection(home):
            pass
    assert len(list(home.projections.glob("*/layer-*"))) <= 4
    hold_together(home)
