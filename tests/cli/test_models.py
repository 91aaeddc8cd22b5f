"""``keledger models`` as people and programs use it, on homes with recorded calls."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import pytest

from keledger.journal import Home, Ledger

from .support import keledger, keledger_terminal, truth


def call(place: int, model: str = "gpt-5-mini", provider: str = "openai", **fields: Any) -> dict[str, Any]:
    """A call of the prompt summarize: 1,000 tokens of input a place, 50 of output, and 300 of reasoning."""
    usage = {"input_uncached": 1000 * place, "output_text": 50 * place, "output_reasoning": 300}
    call = {"provider": provider, "model": model, "prompt": "summarize", "prompt_version": "1", "usage": usage}
    return call | {"time": "2026-11-20T10:00:00Z"} | fields


@pytest.fixture(autouse=True)
def called(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that has called a prompt ten times on one model and once on another."""
    with Ledger.open(home.path) as ledger:
        ledger.record_many([call(place) for place in range(1, 11)])
        ledger.record_many([call(5, "claude-sonnet-4-6", "anthropic", prompt_version="2")])
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    return home


def configure(home: Home, text: str) -> None:
    home.config.write_text(text, encoding="utf-8")


SUGGEST = ("models", "suggest", "--prompt", "summarize")


# --- suggest


def test_suggestions_are_the_cheapest_that_meet_what_is_asked(called: Home) -> None:
    before = truth(called)
    outcome = keledger(*SUGGEST, "--quality", "high", "--max-cost", "0.10", "--needs", "tools,vision")
    assert (outcome.status, outcome.err) == (0, "")
    shown = outcome.json
    assert list(shown) == [
        "schema_version", "report", "currency", "at", "book", "prompt", "prompt_version", "profiles", "providers",
        "findings", "requirements", "rows", "left_out", "nearest",
    ]  # fmt: skip
    assert shown["requirements"] == {
        "quality": "high", "max_cost_usd": "0.1", "needs": ["tools", "vision"], "providers": None,
    }  # fmt: skip
    rows = shown["rows"]
    assert rows
    for row in rows:
        assert row["quality"] in ("high", "highest")
        assert row["tools"] is row["vision"] is True
        assert Decimal(row["p50_usd"]) <= Decimal(row["p90_usd"]) <= Decimal("0.10")
        assert row["input_tokens"] + row["output_tokens"] <= row["context_window"]
    costs = [Decimal(row["p50_usd"]) for row in rows]
    assert costs == sorted(costs)
    assert shown["nearest"] is None
    assert all(left["reason"] for left in shown["left_out"])
    names = {f"{row['provider']}/{row['model']}" for row in [*rows, *shown["left_out"]]}
    assert len(names) == len(rows) + len(shown["left_out"])
    assert {"openai/gpt-5-mini", "anthropic/claude-sonnet-4-6", "google/gemini-2.5-pro"} <= names
    assert truth(called) == before


def row_of(shown: Any, name: str) -> Any:
    """The row of a model, whether it was chosen or left out."""
    (found,) = (row for row in [*shown["rows"], *shown["left_out"]] if f"{row['provider']}/{row['model']}" == name)
    return found


def test_the_costs_are_those_that_such_calls_have() -> None:
    shown = keledger(*SUGGEST).json
    own = row_of(shown, "openai/gpt-5-mini")
    # the fifth of ten calls: 5,000 of input and 550 of output at 0.25 and 2 USD a million; the ninth: 9,000 and 750
    assert (own["p50_usd"], own["p90_usd"]) == ("0.00235", "0.00375")
    assert (own["input_tokens"], own["output_tokens"]) == (9000, 750)
    assert own["tokens"] == {
        "from": "openai/gpt-5-mini", "calls": 10, "own_calls": True, "least": "1", "most": "1",
    }  # fmt: skip
    once = row_of(shown, "anthropic/claude-sonnet-4-6")
    # its own only call has 5,000 of input and 550 of output, at 3 and 15 USD a million; beside four that ship, of 252:
    # exp((4 ln 252 + ln 550) / 5) = 295, and of a large one 1,917
    assert (once["p50_usd"], once["p90_usd"], once["tokens"]["calls"]) == ("0.019425", "0.043755", 1)
    same = row_of(shown, "openai/gpt-5-nano")
    # the same tokenizer, so the same tokens, at 0.05 and 0.4 USD a million
    assert (same["p50_usd"], same["p90_usd"]) == ("0.00047", "0.00075")
    assert (same["tokens"]["own_calls"], same["tokens"]["most"]) == (False, "1")
    other = row_of(shown, "anthropic/claude-sonnet-4-5")
    least, most = (Decimal(other["tokens"][end]) for end in ("least", "most"))
    assert least < 1 < most
    assert other["input_tokens"] == math.ceil(9000 * most)
    middle = (least + most) / 2
    tokens = [math.ceil(count * middle) for count in (5000, 550)]
    assert Decimal(other["p50_usd"]) == Decimal(3 * tokens[0] + 15 * tokens[1]) / 10**6


def test_the_cost_of_the_same_tokens_is_that_of_a_recorded_call(called: Home) -> None:
    """What is expected is priced as what happens is."""
    shown = keledger("models", "suggest", "--input-tokens", "30000", "--output-tokens", "700").json
    with Ledger.open(called.path) as ledger:
        for name in ("openai/gpt-5", "anthropic/claude-haiku-4-5", "google/gemini-2.5-flash", "mistral/codestral-2508"):
            provider, model = name.split("/")
            usage = {"input_uncached": 30000, "output_text": 700, "requests": 1}
            event = ledger.record(provider=provider, model=model, usage=usage)
            recorded = keledger("call", str(event)).json["rows"][0]["cost_usd"]
            row = row_of(shown, name)
            assert (row["p50_usd"], row["p90_usd"]) == (recorded, recorded), name


def test_the_profile_can_be_that_of_one_version() -> None:
    shown = keledger(*SUGGEST, "--prompt-version", "2").json
    assert [(row["model"], row["calls"]) for row in shown["profiles"]] == [("claude-sonnet-4-6", 1)]
    assert not row_of(shown, "openai/gpt-5-mini")["tokens"]["own_calls"]


def test_the_table_tells_the_cheapest_and_what_it_rests_on(called: Home) -> None:
    configure(called, '[models."openai/gpt-5-mini"]\nquality = "highest"\n')
    arguments = ("--quality", "highest", "--provider", "openai", "--max-cost", "0.06", "--limit", "2", "--pretty")
    out = keledger(*SUGGEST, *arguments).out
    lines = out.splitlines()
    assert lines[0].endswith("models suit the prompt summarize, the 2 cheapest; cost of one call in USD")
    assert lines[1].split() == ["Model", "Quality", "Usual", "Large", "Input", "Output", "Can", "Tokens", "by"]
    assert lines[3].split() == [
        "openai/gpt-5-mini", "highest", "$0.002350", "$0.003750", "9,000", "750", "tools", "vision", "reasons",
        "10", "own", "calls",
    ]  # fmt: skip
    assert lines[5].startswith("Tokens are those of 10 calls on openai/gpt-5-mini")
    assert "Looked at: openai (those asked for); " in out
    left = [line for line in lines if line.startswith("  ")]
    assert len(left) == 5
    assert left[0].startswith("  openai/")
    assert "a large call (p90) costs $" in left[0]
    every = keledger(*SUGGEST, *arguments, "--left-out").out
    shown = keledger(*SUGGEST, *arguments, "--json").json
    assert sum(line.startswith("  ") for line in every.splitlines()) == len(shown["left_out"])
    assert "  openai/gpt-5-nano: its quality is low, not highest" in every.splitlines()


def test_on_a_narrow_terminal() -> None:
    shown = keledger_terminal(*SUGGEST, "--quality", "high", columns=80)
    assert shown.status == 0
    assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 80 for line in shown.out.splitlines()), shown.out
    assert "too narrow for" in shown.out


def test_where_nothing_fits_the_nearest_is_told_and_the_status_is_1() -> None:
    outcome = keledger(*SUGGEST, "--quality", "highest", "--max-cost", "0.0001")
    assert outcome.status == 1
    shown = outcome.json
    assert shown["rows"] == []
    assert shown["nearest"]["fails"] == ["cost"]
    only_dear = [row for row in shown["left_out"] if row["fails"] == ["cost"]]
    assert Decimal(shown["nearest"]["p90_usd"]) == min(Decimal(row["p90_usd"]) for row in only_dear)
    above = Decimal(shown["nearest"]["p90_usd"]) - Decimal("0.0001")
    name = f"{shown['nearest']['provider']}/{shown['nearest']['model']}"
    assert outcome.complaint.startswith(
        f"no model meets what is asked; {name} comes nearest: a large call (p90) costs $"
    )
    told = re.search(r"\$([\d.]+) above the limit$", outcome.complaint)
    assert told is not None
    assert 0 <= Decimal(told[1]) - above < Decimal("0.000001")
    pretty = keledger(*SUGGEST, "--quality", "highest", "--max-cost", "0.0001", "--pretty")
    assert (pretty.status, pretty.complaint) == (1, outcome.complaint)


def test_who_is_looked_at(called: Home) -> None:
    makers = keledger(*SUGGEST).json["providers"]
    assert {"openai", "anthropic", "mistral"} <= set(makers["considered"])
    assert "openrouter" not in makers["considered"]
    assert makers["models_of_others"] > 0
    with Ledger.open(called.path) as ledger:
        ledger.record_many([call(1, "openai/gpt-5-mini", "openrouter")])
    assert "openrouter" in keledger(*SUGGEST).json["providers"]["considered"]
    everyone = keledger(*SUGGEST, "--all").json["providers"]
    assert {"openrouter", "aws", "groq"} <= set(everyone["considered"])
    assert everyone["models_of_others"] == 0
    two = keledger(*SUGGEST, "--provider", "gemini", "--provider", "xai").json
    assert two["providers"]["considered"] == ["google", "x-ai"]
    assert {row["provider"] for row in [*two["rows"], *two["left_out"]]} == {"google", "x-ai"}


def test_the_users_facts_decide(called: Home) -> None:
    cheapest = keledger(*SUGGEST, "--quality", "high").json["rows"][0]
    name = f"{cheapest['provider']}/{cheapest['model']}"
    configure(called, f'[models."{name}"]\nuse = false\n[models."openai/gpt-5-nano"]\nquality = "high"\n')
    shown = keledger(*SUGGEST, "--quality", "high").json
    assert shown["rows"][0]["model"] == "gpt-5-nano"
    assert row_of(shown, name)["reason"] == "your config.toml says not to use it"
    configure(called, '[models."openai/gpt-5-nano"]\nquality = "best"\n')
    refused = keledger(*SUGGEST)
    assert refused.status == 1
    assert refused.complaint.startswith(f'{called.config}: models."openai/gpt-5-nano": quality is "best"')


def test_a_model_of_the_users_own_is_suggested_at_the_users_own_price(called: Home) -> None:
    facts = "quality = 'high'\ncontext_window = 32000\noutput_limit = 4096\ntools = true\n"
    configure(called, f'[models."acme/own-1"]\n{facts}')
    arguments = (*SUGGEST, "--provider", "acme", "--quality", "high", "--needs", "tools")
    refused = keledger(*arguments)
    assert (refused.status, refused.json["nearest"]["reason"]) == (1, "it has no price for such a call")
    priced = keledger("prices", "set", "acme/own-1", "--input", "1", "--output", "2", "--reason", "a test", "-yy")
    assert priced.status == 0, priced.err
    (row,) = keledger(*arguments).json["rows"]
    assert (row["provider"], row["model"]) == ("acme", "own-1")
    assert Decimal(row["p50_usd"]) > 0


def test_supposed_tokens_need_no_journal(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("none")
    arguments = ("--home", str(folder / "home"), "models", "suggest", "--quality", "highest")
    outcome = keledger(*arguments, "--input-tokens", "20000", "--output-tokens", "800")
    assert outcome.status == 0
    assert outcome.json["rows"][0]["tokens"]["from"] is None
    assert list(folder.iterdir()) == []
    missing = keledger(*arguments, "--prompt", "summarize")
    assert missing.status == 1
    assert "there is no call of a prompt summarize yet" in missing.err


def test_a_call_that_fits_nowhere() -> None:
    outcome = keledger("models", "suggest", "--input-tokens", "900000000", "--output-tokens", "1", "--quality", "low")
    assert outcome.status == 1
    assert "do not fit into its window of" in outcome.complaint


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        ((), 2, "say what the call is like"),
        (("--input-tokens", "5"), 2, "say what the call is like"),
        (("--prompt-version", "1", "--input-tokens", "5", "--output-tokens", "5"), 2, "needs --prompt"),
        (("--prompt", "summarize", "--input-tokens", "5"), 2, "exclude each other"),
        (("--prompt", "summarise"), 1, "did you mean summarize?"),
        (("--prompt", "summarize", "--prompt-version", "9"), 1, "in version 9: there is 1, 2"),
        (("--prompt", "summarize", "--quality", "best"), 2, "'best' is not one of"),
        (("--prompt", "summarize", "--max-cost", "cheap"), 2, "'cheap' is no cost limit"),
        (("--prompt", "summarize", "--max-cost", "-1"), 2, "'-1' is no cost limit"),
        (("--prompt", "summarize", "--needs", "tool"), 2, "did you mean tools?"),
        (("--prompt", "summarize", "--needs", "sound"), 2, "there is tools, vision"),
        (("--prompt", "summarize", "--provider", "opnai"), 2, "did you mean openai"),
        (("--prompt", "summarize", "--limit", "0"), 2, "--limit"),
        (("--input-tokens", "-1", "--output-tokens", "1"), 2, "--input-tokens"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], status: int, complaint: str) -> None:
    outcome = keledger("models", "suggest", *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert complaint in outcome.complaint


# --- list and show


def test_the_list_has_prices_limits_and_where_quality_comes_from() -> None:
    shown = keledger("models", "list", "--provider", "openai", "--quality", "high").json
    assert list(shown) == ["schema_version", "report", "currency", "at", "book", "rows"]
    assert {row["provider"] for row in shown["rows"]} == {"openai"}
    assert {row["quality"] for row in shown["rows"]} == {"high", "highest"}
    out = keledger("models", "list", "--provider", "anthropic", "--pretty").out
    (line,) = (line for line in out.splitlines() if line.startswith("anthropic/claude-haiku-4-5 "))
    assert line.split() == [
        "anthropic/claude-haiku-4-5", "medium", "1", "5", "200,000", "64,000", "tools", "vision", "reasons",
        "61.32", "as", "claude-haiku-4-5-20251001-thinking-64k",
    ]  # fmt: skip
    (told,) = (line for line in out.splitlines() if line.startswith("anthropic/claude-opus-5-5 "))
    assert told.endswith("maker")


def test_the_list_is_of_makers_unless_it_is_told_otherwise() -> None:
    makers, everyone = (keledger("models", "list", *more).json["rows"] for more in ((), ("--all",)))
    assert len(makers) < len(everyone)
    assert {"openrouter", "aws"}.isdisjoint(row["provider"] for row in makers)
    assert {"openrouter", "aws"} <= {row["provider"] for row in everyone}


def test_the_list_leaves_out_what_is_not_known_to_have_what_is_needed() -> None:
    rows = keledger("models", "list", "--all", "--needs", "vision", "--needs", "tools").json["rows"]
    assert rows
    assert all(row["vision"] is True and row["tools"] is True for row in rows)


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("--provider", "opnai"), 2, "did you mean openai"),
        (("--needs", "images"), 2, "no capability"),
        (("--quality", "best"), 2, "is not one of"),
        (("--provider", "voyageai", "--quality", "low", "--pretty"), 1, "no model fits"),
    ],
)
def test_what_the_list_refuses(arguments: tuple[str, ...], status: int, complaint: str) -> None:
    outcome = keledger("models", "list", *arguments)
    assert outcome.status == status
    assert complaint in outcome.complaint


def test_one_model_with_every_fact_its_source_and_date(called: Home) -> None:
    shown = keledger("models", "show", "openai/gpt-5-mini-2025-08-07").json
    assert (shown["provider"], shown["model"], shown["quality"]) == ("openai", "gpt-5-mini", "medium")
    assert (shown["input_usd_per_million"], shown["output_usd_per_million"]) == ("0.25", "2")
    for name in ("quality", "context_window", "output_limit", "vision", "tools", "reasons"):
        assert shown["facts"][name]["source"]
        assert shown["facts"][name]["date"]
    configure(called, '[models."openai/gpt-5-mini"]\nvision = false\nuse = false\n')
    out = keledger("models", "show", "openai/gpt-5-mini", "--pretty").out
    assert re.search(r"^Suggested +never, as your config.toml says$", out, re.M)
    assert re.search(rf"^Sees images +no +user +{re.escape(str(called.config))}$", out, re.M)
    assert re.search(r"^Quality +medium +measured +2026-08-22 +65.91 as gpt-5-mini-high +LiveBench", out, re.M)


@pytest.mark.parametrize(
    ("name", "status", "complaint"),
    [
        ("gpt-5-mimi", 1, "openai/gpt-5-mini"),
        ("openai/gpt-5-mimi", 1, "did you mean"),
        ("gpt-5-mini", 1, "say which one: github-copilot/gpt-5-mini, openai/gpt-5-mini"),
        ("", 2, "the model's name is empty"),
    ],
)
def test_a_model_that_there_is_not(name: str, status: int, complaint: str) -> None:
    outcome = keledger("models", "show", name)
    assert (outcome.status, outcome.out) == (status, "")
    assert complaint in outcome.complaint


def test_a_model_that_only_the_user_knows_is_shown(called: Home) -> None:
    configure(called, '[models."acme/own-1"]\nquality = "high"\n')
    shown = keledger("models", "show", "acme/own-1").json
    assert (shown["quality"], shown["tools"], shown["input_usd_per_million"]) == ("high", None, None)
