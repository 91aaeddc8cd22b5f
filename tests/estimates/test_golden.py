"""The golden journals that say what was told before calls: a release that reads one otherwise fails here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal import Home, verify
from keledger.projections import rebuild
from tests.golden.__main__ import make
from tests.golden.foretelling import said
from tests.journal.support import events

GOLDEN = Path(keledger.data.__path__[0]) / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if '"foretold"' in (path / "expected.json").read_text())


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A copy of one version's golden home."""
    home = Home.at(tmp_path / "golden")
    shutil.copytree(GOLDEN / request.param, home.path)
    home.path.chmod(0o700)
    return home


def expected(home: Home) -> Any:
    """What it must say."""
    return json.loads((home.path / "expected.json").read_text())["foretold"]


def test_what_was_told_and_what_came_of_it(golden: Home) -> None:
    """From the lines alone, and from a layer."""
    assert said(golden) == expected(golden)
    rebuild(golden)
    assert said(golden) == expected(golden)


def test_the_figures_are_those_of_a_plain_fold(golden: Home) -> None:
    """Which estimates met a call, and whether it ended within what was said, straight from the lines."""
    lines = list(events(golden))
    voided = {event["data"]["call_id"] for event in lines if event["type"] == "call.voided"}
    told = {event["id"]: event["data"] for event in lines if event["type"] == "estimate.made"}
    met = [
        (told[event["data"]["estimate_id"]], event["data"]["usage"])
        for event in lines
        if event["type"] == "call.completed" and event["id"] not in voided
    ]
    single = [(estimate, usage) for estimate, usage in met if estimate["calls"] == 1]
    totals = expected(golden)["totals"]
    assert totals["estimates"] == len(told)
    assert totals["met_estimates"] == len(single)
    inside = sum(
        estimate["input_tokens"]["p5"]
        <= usage.get("input_uncached", 0) + usage.get("cache_read", 0)
        <= estimate["input_tokens"]["p95"]
        for estimate, usage in single
    )
    assert totals["input_tokens"]["coverage"] == f"{round(inside / len(single), 4):g}"
    rows = {row["id"]: row for row in expected(golden)["estimates"]}
    assert rows.keys() == told.keys()
    for event_id, estimate in told.items():
        assert rows[event_id]["counted_tokens"] == estimate["counted_tokens"]
        assert rows[event_id]["answer"] == estimate.get("confirm", {}).get("answer")


@pytest.mark.exhaustive
def test_the_script_writes_all_that_there_is(tmp_path: Path) -> None:
    """It makes what this release writes; that what is kept stays as it is, other tests hold."""
    made = make(tmp_path / "made", VERSIONS[-1])
    assert not verify(made).damaged
    assert said(made) == expected(made)
    data = [event["data"] for event in events(made) if event["type"] == "estimate.made"]
    assert {each["origin"] for each in data} == {"hook", "command"}
    assert {each.get("confirm", {}).get("answer") for each in data} == {None, "yes", "no", "no_terminal"}
    assert {each["cost"]["state"] for each in data} == {"priced", "unpriced"}
    assert {each["input_tokens"]["basis"] for each in data} == {"prompt", "prior"}
    assert {each["method"].partition(":")[0] for each in data} == {"tiktoken", "proxy", "heuristic"}
    chosen = [event["data"] for event in events(made) if event["type"] == "model.chosen"]
    assert {each["requirements"]["basis"] for each in chosen} == {"prompt", "request"}
