"""The golden journals that say how budgets stand: a release that folds one otherwise fails here."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal import Home, Ledger, own_writers, parse_time, verify
from keledger.journal.budgets import status_row
from tests.golden.__main__ import make
from tests.golden.budgets import INSTANTS, budgets
from tests.journal.support import events

from .model import Model
from .support import compare

GOLDEN = Path(keledger.data.__path__[0]) / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if '"budgets"' in (path / "expected.json").read_text())


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A copy of one version's golden home."""
    home = Home.at(tmp_path / "golden")
    shutil.copytree(GOLDEN / request.param, home.path)
    home.path.chmod(0o700)
    return home


def expected(home: Home) -> Any:
    """What it must say."""
    return json.loads((home.path / "expected.json").read_text())["budgets"]


def test_the_fold_and_the_standings_are_what_they_were(golden: Home) -> None:
    assert budgets(golden) == expected(golden)


def test_a_guard_that_is_left_and_found_again_says_the_same(golden: Home) -> None:
    for _ in range(2):
        with Ledger.open(golden.path) as ledger:
            for text, rows in expected(golden)["standings"].items():
                found = ledger.budgets.standings(at_us=parse_time(text))
                assert [status_row(each, parse_time(text)) for each in found] == rows
        assert not verify(golden).damaged


def test_reports_at_recorded_prices_say_the_same(golden: Home) -> None:
    said = expected(golden)
    for text, reported in said["reported"].items():
        stood = [row for row in said["standings"][text] if not row["period"].startswith("rolling")]
        assert [[row["name"], row["group"], row["calls"], row["calls_usd"]] for row in stood] == reported
        assert any(row["calls"] for row in stood)


@pytest.mark.parametrize("text", INSTANTS)
def test_the_model_says_the_same(golden: Home, text: str) -> None:
    model = Model(own_writers(golden), [event for event in events(golden) if event["v"] == 1])
    with Ledger.open(golden.path) as ledger:
        found = [each.kept() for each in ledger.budgets.standings(at_us=parse_time(text))]
    compare(model, found, datetime.fromisoformat(text), looking_back=True)
    states = {hold_id: hold["state"] for hold_id, hold in expected(golden)["holds"].items()}
    assert {hold_id: _state(model, hold_id) for hold_id in model.holds} == states


def _state(model: Model, hold_id: str) -> str:
    """How the guard calls what the model knows of a hold."""
    hold = model.holds[hold_id]
    cost = model.calls[hold.call_id]["cost"] if hold.call_id is not None else {}
    if "total_usd" in cost:
        return "settled"
    return "unpriced" if cost.get("state") == "unpriced" else hold.state


@pytest.mark.exhaustive
def test_everything_that_budgets_write_is_there(tmp_path: Path) -> None:
    """The script makes what this release writes; that what is kept stays as it is, other tests hold."""
    made = make(tmp_path / "made", VERSIONS[-1])
    assert not verify(made).damaged
    assert budgets(made) == expected(made)
    data: dict[str, list[Mapping[str, Any]]] = {}
    for event in events(made):
        if event["v"] == 1:
            data.setdefault(event["type"], []).append(event["data"])
    budgets_set = data["budget.set"]
    assert {each["period"].partition(":")[0] for each in budgets_set} == {
        "day", "week", "month", "quarter", "year", "session", "total", "rolling",
    }  # fmt: skip
    for name, values in {
        "action": {"block", "warn"},
        "hold": {"p50", "p90", "p99", "max"},
        "unpriced": {"block", "allow", "rate"},
        "on_lost": {"count", "release"},
    }.items():
        assert {each[name] for each in budgets_set} == values
    assert any("replaces" in each for each in budgets_set)
    assert {"until" in each for each in data["budget.raised"]} == {True, False}
    assert {each["size"]["method"] for each in data["call.reserved"]} == {"history", "prior", "bound", "rate", "free"}
    assert {refusal["cause"] for each in data["call.blocked"] for refusal in each["refusals"]} == {
        "limit", "unpriced", "unbounded", "unreadable",
    }  # fmt: skip
    declared = {window.get("declared") for each in data["call.reserved"] for window in each["budgets"]}
    assert declared == {None, "run", "session"}
    assert {each["cause"] for each in data["hold.lost"]} == {"process_ended", "process_gone"}
    assert {each["cost_usd"] == "0" for each in data["hold.resolved"]} == {True, False}
    assert {"call_id" in each for each in data["alert.raised"]} == {True, False}
    ends = Counter(hold["state"] for hold in expected(made)["holds"].values())
    assert ends.keys() == {"open", "settled", "released", "lost", "resolved", "unpriced"}
