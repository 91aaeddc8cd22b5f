"""``keledger prices list``, ``show``, ``history`` and ``diff``: what is shown is what calls are priced by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keledger.journal import Home, Ledger, current_prices
from keledger.journal.prices import shipped_manifest
from tests.cli.support import keledger, keledger_terminal, truth
from tests.journal.support import call, calls, events

from .test_set import MODEL, set_prices, unset

SHIPPED = shipped_manifest().sha256


def shown(*arguments: str) -> str:
    """What a command that only looks shows as tables."""
    done = keledger("prices", *arguments, "--pretty")
    assert (done.status, done.err) == (0, ""), done.err
    return done.out


def told(*arguments: str) -> Any:
    """The same as JSON."""
    done = keledger("prices", *arguments)
    assert done.status == 0, done.err
    found = done.json
    assert (found["schema_version"], found["report"]) == (1, f"prices_{arguments[0]}")
    return found


def test_looking_makes_no_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    for arguments in (("list",), ("show", MODEL), ("history", MODEL), ("history",), ("diff", "shipped")):
        done = keledger("prices", *arguments)
        assert done.status == 0, done.err
        assert not home.path.exists()
    assert told("list")["book"] == SHIPPED


def test_a_list_has_every_model_and_where_its_prices_come_from(used: Home) -> None:
    assert set_prices("--input", "0.2").status == 0
    everything = told("list")
    rows = {(row["provider"], row["model"]): row["prices"] for row in everything["rows"]}
    assert len(rows) > 1000
    assert rows["openai", "gpt-5-mini"]["input_uncached"] == {"usd_per_million": "0.2", "layer": "user prices"}
    assert rows["openai", "gpt-5-mini"]["cache_read"] == {"usd_per_million": "0.025", "layer": "genai-prices 0.2.3"}
    assert ("deepseek", "deepseek-chat") not in rows  # retired: its prices are not known any more
    layers = everything["layers"]
    assert [layer["kind"] for layer in layers] == ["user", "list", "list"]
    text = shown("list", "--model", "gpt-5-mini", "--provider", "OpenAI")
    assert "openai/gpt-5-mini    0.2       2       0.025         0.25  user prices, genai-prices 0.2.3" in text
    assert "Layers, the strongest first: user prices (" in text


def test_a_list_can_be_cut_down(used: Home) -> None:
    assert set_prices("--input", "0.2").status == 0
    mine = told("list", "--layer", "user")["rows"]
    assert [row["model"] for row in mine] == ["gpt-5-mini"]
    assert told("list", "--layer", "imported")["rows"] == []
    assert keledger("prices", "list", "--layer", "imported", "--pretty").complaint.startswith("no model that fits")
    google = told("list", "--provider", "gemini")["rows"]
    assert {row["provider"] for row in google} == {"google"}


def test_a_list_of_another_day_has_the_prices_of_then(used: Home) -> None:
    assert set_prices("--input", "0.2", "--from", "2026-12-01").status == 0
    for day, price in (("2026-11-30T23:59Z", "0.25"), ("2026-12-01", "0.2")):
        (row,) = [
            row
            for row in told("list", "--at", day)["rows"]
            if row["model"] == "gpt-5-mini" and row["provider"] == "openai"
        ]
        assert row["prices"]["input_uncached"]["usd_per_million"] == price


def test_a_model_is_shown_with_its_rule_and_where_each_price_comes_from(used: Home) -> None:
    assert set_prices("--input", "0.2", "--to", "2030-01-01").status == 0
    text = shown("show", "openai/gpt-5-mini-2025-08-07")
    assert "Model        openai/gpt-5-mini\n" in text
    assert "openai/gpt-5-mini-2025-08-07" in text
    assert "Other terms  processing=batch, service_tier=fast, service_tier=flex, service_tier=priority" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "0.2  user prices" in lines["input_uncached"]
    assert "until 2030-01-01" in lines["input_uncached"]
    assert "our contract" in lines["input_uncached"]
    assert "0.025  genai-prices 0.2.3  always" in lines["cache_read"]
    document = told("show", MODEL, "--context", "service_tier=flex")
    matched = document["matched"]
    assert (matched["rule"], matched["context"]) == ("is gpt-5-mini", "service_tier=flex")
    prices = {row["bucket"]: row for row in document["prices"]}
    assert (prices["input_uncached"]["usd_per_million"], prices["input_uncached"]["layer"]) == (
        "0.125",
        "genai-prices 0.2.3",
    )


def test_a_price_that_is_shown_is_the_price_of_a_call(used: Home) -> None:
    """The tier by the size of the request, the terms and the day are those of a call."""
    usage = {"input_uncached": 250_000, "output_text": 1000}
    with Ledger.open(used.path) as ledger:
        ledger.record(provider="google", model="gemini-2.5-pro", usage=usage, time="2026-11-20T00:00:00Z")
    lines = calls(used)[-1]["data"]["cost"]["lines"]
    at = ("--at", "2026-11-20", "--input-tokens", "250000")
    prices = {row["bucket"]: row["usd_per_million"] for row in told("show", "gemini/gemini-2.5-pro", *at)["prices"]}
    assert {line["bucket"]: line["usd_per_million"] for line in lines} == {
        bucket: prices[bucket] for bucket in ("input_uncached", "output_text")
    }
    text = shown("show", "gemini/gemini-2.5-pro", *at)
    assert "above 200000 input tokens" in text
    assert "By the size of the request and the time of the week" in text
    assert "up to 200,000 input tokens" in text


def test_peak_hours_are_shown_as_hours_of_days(used: Home) -> None:
    assert set_prices("--input", "1", "--minutes", "08:00-09:30", "--weekdays", "mon-fri", model="acme/x").status == 0
    at = ("--at", "2026-11-20T08:30Z")
    text = shown("show", "acme/x", *at)
    assert "08:00-09:30 UTC, mon-fri" in text
    assert "mon-fri 08:00-09:30 UTC" in text
    (row, *_) = told("show", "acme/x", *at)["by_size_and_hours"]
    assert row["hours"] == [{"weekdays": "1111100", "minutes": [480, 570]}]


def test_a_model_without_its_provider_is_found_where_only_one_has_it(used: Home) -> None:
    assert "Because  deepseek/deepseek-chat is deepseek-chat" in shown("show", "deepseek-chat")
    several = keledger("prices", "show", "gpt-5-mini")
    assert several.status == 1
    assert several.complaint == (
        "gpt-5-mini has prices at several providers, say which one: github-copilot/gpt-5-mini, openai/gpt-5-mini"
    )


@pytest.mark.parametrize("name", ["openai/gpt-5-mimi", "gpt-5-mimi"])
def test_a_name_that_no_rule_knows_has_no_price_but_those_like_it_are_named(used: Home, name: str) -> None:
    done = keledger("prices", "show", name)
    assert (done.status, done.out) == (1, "")
    assert done.complaint.startswith(f"{name} has no price here, for no rule says which model it is; did you mean ")
    assert "openai/gpt-5-mini" in done.complaint
    assert keledger("prices", "show", "zzz/qqqqqqqq").complaint == (
        "zzz/qqqqqqqq has no price here, for no rule says which model it is"
    )


def test_terms_without_a_price_say_so(used: Home) -> None:
    text = shown("show", MODEL, "--context", "speed=warp")
    assert "Terms        no prices on these\n" in text
    assert "such a call is unpriced" in text
    assert keledger("prices", "show", MODEL, "--context", "warp").status == 2


def test_the_history_of_books_says_who_and_why(used: Home) -> None:
    assert set_prices("--input", "0.2", reason="one").status == 0
    assert unset().status == 0
    rows = told("history")["rows"]
    adopted = [event["data"] for event in events(used) if event["type"] == "prices.adopted"]
    assert [(row["book"], row["actor"], row["reason"]) for row in rows] == [
        (each["book"], each["actor"], each["reason"]) for each in adopted
    ]
    assert [row["reason"] for row in rows] == ["the list that comes with the program", "one", "it ended"]
    text = shown("history")
    assert "user prices, corrections 2026-11-21, genai-prices 0.2.3" in text
    assert SHIPPED[:12] in text


def test_the_history_of_a_model_has_both_times(used: Home) -> None:
    assert set_prices("--input", "0.2", "--from", "2026-12-01", reason="december").status == 0
    assert set_prices("--input", "9", model="acme/other", reason="another").status == 0
    document = told("history", MODEL)
    known = document["known"]
    assert [each["reason"] for each in known] == ["the list that comes with the program", "december"]
    (change,) = known[1]["changes"]
    assert (change["old_usd_per_million"], change["new_usd_per_million"], change["valid_from"]) == (
        "0.25",
        "0.2",
        "2026-12-01T00:00:00.000000Z",
    )
    prices = [
        (row["usd_per_million"], row["valid_from"], row["valid_to"])
        for row in document["prices"]
        if (row["bucket"], row["context"]) == ("input_uncached", "")
    ]
    december = "2026-12-01T00:00:00.000000Z"
    assert prices == [("0.25", None, december), ("0.2", december, None)]
    text = shown("history", MODEL)
    assert "until 2026-12-01" in text
    assert "processing=batch, from 2026-10-14" in text
    assert ": december\n" in text


def test_a_book_that_is_gone_is_told_and_the_others_are_shown(used: Home) -> None:
    assert set_prices("--input", "0.2", reason="one").status == 0
    gone = current_prices(used).manifest.sha256
    assert set_prices("--input", "0.3", "--replace", reason="two").status == 0
    (used.prices / gone).unlink()
    done = keledger("prices", "history", MODEL, "--json")
    assert done.status == 0
    assert f"the price file {used.prices / gone} is missing" in done.complaint
    assert [each["reason"] for each in done.json["known"]] == ["the list that comes with the program", "two"]


def test_a_diff_tells_prices_and_what_calls_would_cost(used: Home) -> None:
    assert set_prices("--input", "0.5", reason="one").status == 0
    before = truth(used)
    document = told("diff", "shipped")
    (change,) = document["changes"]
    assert (change["bucket"], change["old_usd_per_million"], change["new_usd_per_million"]) == (
        "input_uncached",
        "0.5",
        "0.25",
    )
    effect = document["effect"]
    # Two calls with 400 uncached input tokens each: 400 x 0.25 USD per million less.
    assert effect["models"] == [
        {
            "provider": "openai",
            "model": "gpt-5-mini",
            "calls": 2,
            "changed_calls": 2,
            "newly_priced": 0,
            "newly_unpriced": 0,
            "before_usd": "0.00123",
            "after_usd": "0.00103",
            "difference_usd": "-0.0002",
            "uncosted_calls_before": 0,
            "uncosted_calls": 0,
        }
    ]
    reverse = told("diff", "shipped", "current")["effect"]
    assert reverse["totals"]["difference_usd"] == "0.0002"
    assert "openai/gpt-5-mini  input_uncached  0.5  0.25  always" in shown("diff", "shipped")
    assert truth(used) == before


def test_books_are_told_by_their_ids_and_by_when_they_were_known(used: Home) -> None:
    assert set_prices("--input", "0.5", reason="one").status == 0
    current = current_prices(used).manifest.sha256
    for given in (("current",), (current,), (current[:8],), (SHIPPED[:8], current[:8].upper()), ("known:2099-01-01",)):
        document = told("diff", *given)
        assert document["new"] == current
    assert "No price differs." in shown("diff", "current")
    for given, status, sentence in (
        (("known:2020-01-01",), 1, "no price book was known here by the end of 2020-01-01"),
        (("known:soon",), 2, "is no basis of prices"),
        (("0" * 64,), 1, "no price book that was adopted begins with"),
        (("zzz",), 1, "no price book that was adopted begins with"),
        (("",), 1, "no price book that was adopted begins with"),
        (("a", "b", "c"), 2, "3 books are given"),
    ):
        done = keledger("prices", "diff", *given)
        assert (done.status, sentence in done.complaint) == (status, True), done.err


@pytest.mark.parametrize(
    "arguments", [("list", "--provider", "openai"), ("history", MODEL), ("history",), ("diff", "shipped")]
)
def test_a_narrow_terminal_has_room_for_prices(used: Home, arguments: tuple[str, ...]) -> None:
    assert set_prices("--input", "0.2").status == 0
    done = keledger_terminal("prices", *arguments, columns=60, environment={"NO_COLOR": "1"})
    assert done.status == 0, done.out
    assert [line for line in done.out.splitlines() if len(line) > 60 and "book" not in line] == []


@pytest.mark.usefixtures("used")
def test_every_document_is_one_json_object() -> None:
    for arguments in (("list",), ("show", MODEL), ("history",), ("history", MODEL), ("diff", "shipped")):
        done = keledger("prices", *arguments, "--json")
        assert len(done.out.splitlines()) == 1
        assert isinstance(json.loads(done.out), dict)


def test_calls_on_other_models_are_not_touched(used: Home) -> None:
    with Ledger.open(used.path) as ledger:
        ledger.record(**call(id="more"))
    document = told("diff", "shipped")
    effect = document["effect"]
    assert (effect["totals"]["changed_calls"], effect["models"], document["changes"]) == (0, [], [])
