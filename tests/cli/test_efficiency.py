"""``keledger efficiency`` as people and programs use it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from keledger.journal import Home, Ledger

from .support import keledger, keledger_terminal, truth

QUOTIENTS = ("cost_per_call_usd", "cost_per_1000_output_tokens_usd", "cost_per_success_usd")

CACHEABLE: list[dict[str, Any]] = [
    {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "prompt": "plan",
        "time": f"2026-11-20T11:0{minute}:00Z",
        "usage": {"input_uncached": 2000, "output_text": 100},
        "duration_ms": 1500,
        "id": f"plan {minute}",
    }
    for minute in (0, 1)
]


@pytest.fixture
def planned(used: Home) -> Home:
    """The home of the other tests, with two calls that could have shared a cache."""
    with Ledger.open(used.path) as ledger:
        ledger.record_many(CACHEABLE)
    return used


def test_the_json(planned: Home) -> None:
    before = truth(planned)
    outcome = keledger("efficiency", "--since", "2026-11-19")
    assert (outcome.status, outcome.err) == (0, "")
    shown = outcome.json
    assert list(shown) == [
        "schema_version", "report", "timezone", "currency", "prices", "savings_book", "hypothesis", "assumptions",
        "token_ratios", "position", "findings", "rows", "apart", "totals",
    ]  # fmt: skip
    assert (shown["schema_version"], shown["report"], shown["timezone"]) == (1, "efficiency", "UTC")
    assert shown["prices"] == {"basis": "current", "book": shown["savings_book"]}
    assert (shown["hypothesis"], shown["apart"], shown["token_ratios"]) == (None, [], [])
    assert [(row["model"], row["prompt"]) for row in shown["rows"]] == [
        ("claude-sonnet-4-5", "plan"),
        ("claude-sonnet-4-5", None),
        ("gpt-5-mini", "hello"),
        ("gpt-5-mini", None),
        ("unheard-of", None),
    ]
    plan, _, _, unknown, unpriced = shown["rows"]
    assert plan == {
        "model": "claude-sonnet-4-5", "prompt": "plan", "calls": 2, "successful_calls": 2, "failed_calls": 0,
        "unknown_calls": 0, "unpriced_calls": 0, "uncosted_calls": 0, "input_tokens": 4000, "output_tokens": 200,
        "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "reasoning_output_tokens": 0,
        "cost_usd": "0.015", "cost_per_call_usd": "0.0075", "cost_per_1000_output_tokens_usd": "0.075",
        "cost_per_success_usd": "0.0075", "cache_hit_share": "0", "duration_per_call_ms": 1500,
        "caching": {
            "promptless_calls": 0,
            "5m": {
                "repeating_calls": 1, "no_cache_price_calls": 0, "repeated_tokens_at_most": 2000,
                "saved_at_most_usd": "0.0039",
            },
            "1h": {
                "repeating_calls": 1, "no_cache_price_calls": 0, "repeated_tokens_at_most": 2000,
                "saved_at_most_usd": "0",
            },
        },
    }  # fmt: skip
    for row, name in ((unknown, "unknown_calls"), (unpriced, "unpriced_calls")):
        assert (row[name], row["uncosted_calls"], row["cost_usd"]) == (1, 1, None)
        assert {row[quotient] for quotient in QUOTIENTS} == {None}
    assert shown["totals"]["cost_usd"] == keledger("daily").json["totals"]["cost_usd"]
    assert shown["totals"]["uncosted_calls"] == 2
    assert truth(planned) == before


def test_another_model(planned: Home) -> None:
    asked = ("--model", "anthropic/claude-haiku-4-5", "--by", "provider")
    shown, meant = keledger("efficiency", *asked).json, keledger("whatif", *asked).json
    assert shown["hypothesis"] == meant["hypothesis"]
    for row, wanted in zip([*shown["rows"], shown["totals"]], [*meant["rows"], meant["totals"]], strict=True):
        assert row["other_model"].items() <= wanted.items()
    ranges = [row["other_model"] for row in shown["rows"] if row["provider"] == "openai"]
    assert all(Decimal(each["low_usd"]) < Decimal(each["high_usd"]) for each in ranges)
    assert ranges


def test_the_table(planned: Home) -> None:
    outcome = keledger("efficiency", "--pretty", "--since", "2026-11-20", "--until", "2026-11-21")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "Efficiency in USD, 2026-11-20 to 2026-11-21, days of UTC, prices: current"
    assert re.split(r"\s{2,}", lines[1]) == [
        "Model", "Prompt", "Calls", "OK", "Input", "Output", "Cost", "Per call", "Per 1k output", "Per success",
        "Cache hit", "Time", "Cache 5m max", "Cache 1h max",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", lines[3]) == [
        "claude-sonnet-4-5", "plan", "2", "2", "4,000", "200", "$0.015000", "$0.007500", "$0.075000", "$0.007500",
        "0.0 %", "1.500 s", "$0.003900", "$0.000000",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", lines[6])[:4] == ["gpt-5-mini", "(none)", "1", "0"]
    assert "unknown*" in lines[6]
    assert re.split(r"\s{2,}", lines[7])[6:11] == ["unpriced*", "-", "-", "-", "0.0 %"]
    assert lines[9].startswith("Total ")
    assert lines[10] == "* 1 call without a known price and 1 call without a known usage: not in this cost"
    assert lines[11].startswith("What caching would have saved of plain input is a bound, not an estimate:")
    assert lines[12] == "  3 calls without a prompt: of these nothing is said of caching."
    assert lines[13:] == ["--model MODEL shows what another model would have cost."]


def test_the_table_with_another_model(planned: Home) -> None:
    out = keledger("efficiency", "--pretty", "--model", "anthropic/claude-haiku-4-5").out
    lines = out.splitlines()
    assert re.split(r"\s{2,}", lines[1])[-2:] == ["Other model", "to"]
    # a third of the price of Sonnet
    assert re.split(r"\s{2,}", lines[3])[-2:] == ["-$0.010000", "-$0.010000"]
    assert re.split(r"\s{2,}", lines[7])[-2:] == ["apart", "apart"]
    assert "Apart, on neither side: 2 calls." in lines
    assert "--model" not in out


def test_a_model_without_a_cheaper_price_is_told(used: Home) -> None:
    own = {"provider": "openai", "model": "gpt-3.5-turbo", "prompt": "old", "usage": {"input_uncached": 100}}
    with Ledger.open(used.path) as ledger:
        ledger.record_many([{**own, "time": f"2026-11-20T11:0{minute}:00Z"} for minute in (0, 1)])
    out = keledger("efficiency", "--pretty", "--by", "prompt").out
    assert "  1 call that could share a cache, but have no price of one below that of plain input." in out
    (row,) = (line for line in out.splitlines() if line.startswith("old "))
    assert row.split()[-2:] == ["-", "-"]


def test_on_a_narrow_terminal(planned: Home) -> None:
    shown = keledger_terminal("efficiency", "--model", "anthropic/claude-haiku-4-5", columns=80)
    assert shown.status == 0
    assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 80 for line in shown.out.splitlines()), shown.out
    assert "too narrow for" in shown.out


def test_an_empty_journal(home: Home) -> None:
    outcome = keledger("efficiency", "--home", str(home.path))
    assert outcome.status == 0
    assert outcome.complaint == f"there is no journal at {home.path} yet"
    assert outcome.json["rows"] == []
    assert (outcome.json["totals"]["calls"], outcome.json["totals"]["cost_per_call_usd"]) == (0, None)
    assert "No calls:" in keledger("efficiency", "--pretty", "--home", str(home.path)).out
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("--by", "moth"), 2, "no column"),
        (("--by", "model,model"), 2, "twice"),
        (("--where", "model"), 2, "COLUMN=VALUE"),
        (("--since", "2026-11-21", "--until", "2026-11-20"), 2, "no such day"),
        (("--timezone", "Mars/Olympus"), 2, "Mars/Olympus"),
        (("--prices", "gold"), 2, "no basis"),
        (("--model", ""), 2, "it is empty"),
        (("--model", "openai/gpt-99-nothing"), 1, "gpt-99-nothing"),
        (("--book", "ffff"), 1, "ffff"),
    ],
)
@pytest.mark.usefixtures("used")
def test_what_is_refused(arguments: tuple[str, ...], status: int, complaint: str) -> None:
    outcome = keledger("efficiency", *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert complaint in outcome.err
