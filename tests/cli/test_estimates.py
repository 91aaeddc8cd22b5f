"""``keledger estimates`` as people and programs use it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from keledger.journal import Home
from tests.estimates.events import estimate, estimate_id
from tests.projections.support import append, call

from .support import keledger, keledger_terminal, truth

NIGHT = "2026-03-01T23:30:00.000000Z"
"""A Sunday in UTC, and Monday in Berlin."""


def usage(taken: int, answered: int) -> dict[str, Any]:
    return {"usage": {"input_uncached": taken, "output_text": answered, "requests": 1}}


@pytest.fixture
def estimated(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with an estimate that was right, five in the night after that were not, and four that stand apart."""
    events = [
        estimate(1, prompt="greet", confirm={"above_usd": "0.00001", "answer": "yes"}),
        call(1, estimate_id=estimate_id(1), usd="0.00002", **usage(14, 8)),
    ]
    for number in range(5):
        events.append(estimate(f"night {number}", prompt="greet", estimated_at=NIGHT))
        events.append(call(f"night {number}", estimate_id=estimate_id(f"night {number}"), **usage(28, 40)))
    events += [
        estimate("open"),
        estimate("declined", confirm={"above_usd": "0.00001", "answer": "no"}),
        estimate("failed"),
        call("failed", status="error", http_status=500, estimate_id=estimate_id("failed")),
        estimate("surplus"),
        *(call(f"surplus {number}", estimate_id=estimate_id("surplus")) for number in range(2)),
    ]
    append(home, *events)
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    return home


def test_the_json(estimated: Home) -> None:
    before = truth(estimated)
    outcome = keledger("estimates")
    assert (outcome.status, outcome.err) == (0, "")
    shown = outcome.json
    assert list(shown) == [
        "schema_version", "report", "timezone", "currency", "prices", "position", "findings", "rows", "totals",
        "lately",
    ]  # fmt: skip
    assert (shown["schema_version"], shown["report"], shown["timezone"]) == (1, "estimates", "UTC")
    assert shown["prices"]["basis"] == "current"
    assert [(row["model"], row["prompt"], row["estimates"]) for row in shown["rows"]] == [
        ("gpt-5-mini", "greet", 6),
        ("gpt-5-mini", None, 4),
    ]
    row = shown["rows"][0]
    # five of six were off by 14 of 28
    assert row["input_tokens"] == {
        "median_error": "0.5", "p95_error": "0.5", "coverage": "0.1667", "median_width": "0.3571"
    }  # fmt: skip
    assert row["output_tokens"] == {"at_most_p50": "0.1667", "at_most_p90": "0.1667", "above_max": "0"}
    assert Decimal(row["cost"]["estimated_p50_usd"]) == 6 * Decimal("0.0000195")
    assert Decimal(row["cost"]["actual_usd"]) == 5 * Decimal("0.002475") + Decimal("0.00002")
    assert shown["lately"] == [
        {
            "model": "gpt-5-mini",
            "prompt": "greet",
            "message": "5 of the last 6 calls were outside of the range estimated for them",
        }
    ]
    assert truth(estimated) == before


TABLE = """\
How good estimates were, days of UTC, prices: current
Prompt  Estimates  Met   Error    95 %  In range   Range  Out <= 50 %  Out <= 90 %  Cost error  Cost <= 90 %  Estimated     Actual
──────  ─────────  ───  ──────  ──────  ────────  ──────  ───────────  ───────────  ──────────  ────────────  ─────────  ─────────
greet           6    6  50.0 %  50.0 %    16.7 %  35.7 %       16.7 %       16.7 %      99.2 %        16.7 %  $0.000117  $0.012395
(none)          4    0       -       -         -       -            -            -           -             -          -          -
──────  ─────────  ───  ──────  ──────  ────────  ──────  ───────────  ───────────  ──────────  ────────────  ─────────  ─────────
Total          10    6  50.0 %  50.0 %    16.7 %  35.7 %       16.7 %       16.7 %      99.2 %        16.7 %  $0.000117  $0.012395
Input: error of the median in the middle and in 95 of 100 cases, calls within the stated 5-95 % (90 % are to be), \
width of that range; output and cost: calls at or below the stated 50 % and 90 %, and the cost's error.
Apart, in no figure: 1 without a call yet, 1 with a call that failed or of which no usage is known, 1 declined before \
the call, 1 named by more calls than estimated.
Asked before the call: 1 yes, 1 no.
prompt greet: 5 of the last 6 calls were outside of the range estimated for them.
"""  # noqa: E501


@pytest.mark.usefixtures("estimated")
def test_the_table() -> None:
    outcome = keledger("estimates", "--pretty", "--by", "prompt")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == TABLE


@pytest.mark.usefixtures("estimated")
def test_on_a_narrow_terminal() -> None:
    for more in ((), ("--list",), ("--over", "week", "--by", "model,prompt,method")):
        shown = keledger_terminal("estimates", *more, columns=80)
        assert shown.status == 0
        assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 80 for line in shown.out.splitlines()), shown.out


@pytest.mark.usefixtures("estimated")
@pytest.mark.parametrize(
    ("zone", "weeks"),
    [("UTC", {"2026-02-23": 10}), ("Europe/Berlin", {"2026-02-23": 5, "2026-03-02": 5})],
)
def test_over_weeks_of_a_zone(zone: str, weeks: dict[str, int]) -> None:
    shown = keledger("estimates", "--over", "week", "--by", "model", "-z", zone).json
    assert {row["week"]: row["estimates"] for row in shown["rows"]} == weeks
    table = keledger("estimates", "--over", "week", "--by", "model", "-z", zone, "--pretty").out
    assert re.search(rf"^Week +Model .*\n.*\n{min(weeks)}  gpt-5-mini +{weeks[min(weeks)]} ", table, re.MULTILINE)
    assert "gpt-5-mini: 5 of the last 6 calls" in table
    night = keledger("estimates", "--since", "2026-03-02", "-z", zone).json
    assert night["totals"]["estimates"] == weeks.get("2026-03-02", 0)


def test_the_list(estimated: Home) -> None:
    shown = keledger("estimates", "--list", "--limit", "6", "--where", "model=gpt-5-mini").json
    assert (shown["report"], shown["estimates"], len(shown["rows"])) == ("estimate_list", 10, 6)
    newest = shown["rows"][0]
    assert newest["id"] in {estimate_id(f"night {number}") for number in range(5)}
    assert (newest["estimated_at"], newest["outcome"]) == (NIGHT, "met")
    assert newest["input_tokens"] == {"p5": 12, "p50": 14, "p95": 17, "actual": 28}
    assert newest["cost_usd"] == {
        "p50": "0.0000195", "p90": "0.00006425", "max": "0.25600425", "actual": "0.002475"
    }  # fmt: skip
    lines = keledger("estimates", "--list", "--pretty", "--limit", "1", "-z", "Europe/Berlin").out.splitlines()
    assert lines[3].split()[:3] == ["2026-03-02", "00:30:00", "openai/gpt-5-mini"]
    assert lines[4] == "and 9 estimates before: --limit 10 lists all."
    by_outcome = keledger("estimates", "--list", "--where", "outcome=declined").json
    assert [row["id"] for row in by_outcome["rows"]] == [estimate_id("declined")]


def test_unpriced_calls_are_marked(home: Home) -> None:
    unpriced = estimate(1, cost={"state": "unpriced", "missing": ["output_text"]})
    append(home, unpriced, call(1, estimate_id=estimate_id(1)), estimate(2), call(2, estimate_id=estimate_id(2)))
    out = keledger("--home", str(home.path), "estimates", "--pretty").out
    assert "$0.000020*  $0.002475*" in out
    assert "* 1 estimate without a price, or of calls without a cost: not in these sums." in out


def test_the_calls_of_recorded_estimates(home: Home) -> None:
    """From the command that estimates to the call that names it."""
    at = ("--home", str(home.path))
    recorded = keledger(*at, "estimate", "--model", "gpt-5-mini", "--text", "Good morning.", "--record")
    (event_id,) = recorded.json["recorded"]
    called = f'{{"provider":"openai","model":"gpt-5-mini","estimate_id":"{event_id}","usage":{{"input_uncached":9}}}}\n'
    assert keledger(*at, "record", given=called).status == 0
    (row,) = keledger(*at, "estimates", "--by", "origin").json["rows"]
    assert (row["origin"], row["met_estimates"], row["calls"]) == ("command", 1, 1)


def test_nothing_was_estimated() -> None:
    for more in ((), ("--list",)):
        outcome = keledger("estimates", "--pretty", *more)
        assert outcome.status == 0
        for way in ("keledger estimate --record", "--confirm-above", "auto", "estimate_id"):
            assert way in outcome.out
    assert keledger("estimates").json["totals"]["estimates"] == 0


@pytest.mark.usefixtures("estimated")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--by", "moth"), "no column of estimates"),
        (("--by", "model,model"), "twice"),
        (("--where", "moth=1"), "no column of estimates"),
        (("--where", "model"), "COLUMN=VALUE"),
        (("--over", "year"), "'year'"),
        (("--list", "--by", "model"), "leave out --by and --over"),
        (("--list", "--over", "week"), "leave out --by and --over"),
        (("--limit", "5"), "of --list"),
        (("--list", "--limit", "0"), "--limit"),
        (("--since", "2026-11-21", "--until", "2026-11-20"), "there is no such day"),
        (("--since", "tomorrow"), "is no day"),
        (("-z", "Nowhere"), "no time zone"),
        (("--prices", "cheap"), "no basis"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], complaint: str) -> None:
    outcome = keledger("estimates", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.complaint
