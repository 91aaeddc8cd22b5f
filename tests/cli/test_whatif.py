"""``keledger whatif`` as people and programs use it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger

from .support import keledger, keledger_terminal, truth

pytestmark = pytest.mark.usefixtures("used")


def test_the_json(used: Home) -> None:
    before = truth(used)
    outcome = keledger("whatif", "--model", "anthropic/claude-sonnet-4-5", "--discount", "10")
    assert (outcome.status, outcome.err) == (0, "")
    shown = outcome.json
    assert list(shown) == [
        "schema_version", "report", "timezone", "currency", "prices", "hypothesis", "assumptions", "token_ratios",
        "position", "findings", "rows", "apart", "totals",
    ]  # fmt: skip
    assert (shown["schema_version"], shown["report"], shown["timezone"]) == (1, "whatif", "UTC")
    assert shown["prices"]["basis"] == "current"
    assert shown["hypothesis"] == {
        "provider": "anthropic", "model": "claude-sonnet-4-5", "context": {}, "no_cache": False,
        "discount_percent": "10", "prices_at": None, "book": shown["prices"]["book"],
    }  # fmt: skip
    assert [(row["month"], row["model"], row["calls"], row["apart_calls"]) for row in shown["rows"]] == [
        ("2026-11", "claude-sonnet-4-5", 1, 0),
        ("2026-11", "gpt-5-mini", 2, 1),
        ("2026-11", "unheard-of", 0, 1),
    ]
    assert [(apart["reason"], apart["calls"]) for apart in shown["apart"]] == [("unknown_usage", 1), ("unpriced", 1)]
    same = shown["rows"][0]
    assert (same["actual_usd"], same["low_usd"], same["high_usd"]) == ("0.009", "0.0081", "0.0081")
    assert Decimal(shown["totals"]["low_usd"]) < Decimal(shown["totals"]["high_usd"])
    for name in ("actual", "low", "high", "difference_low", "difference_high"):
        amounts = [Decimal(row[f"{name}_usd"]) for row in shown["rows"] if row["calls"]]
        assert sum(amounts) == Decimal(shown["totals"][f"{name}_usd"])
    assert shown["token_ratios"] == [
        {
            "model": "gpt-5-mini", "from_tokenizer": "o200k", "to_tokenizer": "claude-3", "least": "0.95",
            "most": "2.1392", "basis": "published",
        }
    ]  # fmt: skip
    assert truth(used) == before


TABLE = """\
Cost in USD as it is, and as it would be, days of UTC, prices: current
Month    Model              Calls  Apart     Actual   At least    At most  Difference         to
───────  ─────────────────  ─────  ─────  ─────────  ─────────  ─────────  ──────────  ─────────
2026-11  claude-sonnet-4-5      1      0  $0.009000  $0.009000  $0.009000   $0.000000  $0.000000
2026-11  gpt-5-mini             2      1  $0.001030  $0.008322  $0.018776   $0.007292  $0.017746
2026-11  unheard-of             0      1      apart      apart      apart       apart      apart
───────  ─────────────────  ─────  ─────  ─────────  ─────────  ─────────  ──────────  ─────────
Total                           3      2  $0.010030  $0.017322  $0.027776   $0.007292  $0.017746
The same texts, answers and reasoning as in these calls, by anthropic/claude-sonnet-4-5.
Another tokenizer than that of gpt-5-mini: 0.95 to 2.1392 times as many tokens (told by published \
figures, as data/tokenizers.toml has them).
The prices are those of book BOOK that were valid at the time of each call.
Apart, on neither side: 2 calls.
  1 call: openai/gpt-5-mini, whose usage is not known
  1 call: acme/unheard-of, which has no actual cost
"""
"""Of gpt-5-mini 400 tokens of input, 600 from a cache, 80 of text and 120 of reasoning, each 0.95 to 2.1392 times and
rounded outwards, twice, at 3, 0.3 and 15 USD a million: 380, 570, 76, 114 at least, and 856, 1284, 172, 257 at most."""


def test_the_table(used: Home) -> None:
    with Ledger.open(used.path) as ledger:
        book = ledger.manifest().sha256[:12]
    outcome = keledger("whatif", "--pretty", "--model", "anthropic/claude-sonnet-4-5")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == TABLE.replace("BOOK", book)


def test_one_figure_where_it_is_exact() -> None:
    lines = keledger("whatif", "--pretty", "--no-cache", "--by", "provider").out.splitlines()
    assert lines[1].split() == ["Provider", "Calls", "Apart", "Actual", "What", "if", "Difference"]
    assert lines[3].split() == ["acme", "0", "1", "apart", "apart", "apart"]
    # 1,400 tokens of input at 3 USD, 300 of output at 15 USD a million
    assert lines[4].split() == ["anthropic", "1", "0", "$0.009000", "$0.008700", "-$0.000300"]


def test_on_a_narrow_terminal() -> None:
    shown = keledger_terminal("whatif", "--model", "anthropic/claude-sonnet-4-5", columns=80)
    assert shown.status == 0
    assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 80 for line in shown.out.splitlines()), shown.out


def test_terms_that_are_not_offered_are_said() -> None:
    out = keledger("whatif", "--pretty", "--context", "processing=batsh").out
    assert "2 calls ($0.00103): openai/gpt-5-mini is not offered with processing=batsh" in out
    assert 0 < out.index("  2 calls (") < out.index("  1 call (")


def test_a_month_without_a_price_points_to_another_day() -> None:
    early = (
        '{"provider":"openai","model":"gpt-5-mini","time":"2026-03-01T00:00:00Z","usage":{"input_uncached":1000000}}\n'
    )
    assert keledger("record", given=early).status == 0
    arguments = ("whatif", "--context", "processing=batch", "--until", "2026-03-31")
    out = keledger(*arguments, "--pretty").out
    assert "1 call ($0.25): openai/gpt-5-mini had no price with processing=batch at the time" in out
    assert "--prices-at DAY" in out
    told = keledger(*arguments, "--prices-at", "2026-11-20").json
    assert (told["totals"]["low_usd"], told["apart"]) == ("0.125", [])
    gone = keledger(*arguments, "--prices-at", "2026-01-01", "--pretty").out
    assert "openai/gpt-5-mini has no price on 2026-01-01 with processing=batch" in gone


def test_a_bare_name_is_that_of_the_provider_that_was_called(tmp_path: Path) -> None:
    """Several have gpt-5-mini.  Where none of them was called it is that of who makes it."""
    for options in ((), ("--home", "/nonexistent/home")):
        found = keledger("whatif", "--model", "gpt-5-mini", *options).json["hypothesis"]
        assert found["provider"] == "openai"
    elsewhere = str(tmp_path / "elsewhere")
    called = {"provider": "github-copilot", "model": "gpt-5-mini", "usage": {"input_uncached": 1}}
    assert keledger("record", "--home", elsewhere, given=json.dumps(called)).status == 0
    found = keledger("whatif", "--model", "gpt-5-mini", "--home", elsewhere).json["hypothesis"]
    assert found["provider"] == "github-copilot"


def test_the_book_is_the_one_that_is_asked_for(used: Home) -> None:
    adopted = keledger("prices", "set", "openai/gpt-5-mini", "--input", "100", "--reason", "a test", "-yy")
    assert adopted.status == 0, adopted.err
    newest = keledger("whatif", "--no-cache", "--where", "model=gpt-5-mini").json
    with Ledger.open(used.path) as ledger:
        assert newest["hypothesis"]["book"] == ledger.manifest().sha256
    older = keledger("sql", "SELECT id FROM events WHERE type = 'prices.adopted'").json["rows"]
    assert len(older) == 2
    refused = keledger("whatif", "--no-cache", "--book", "zz")
    assert refused.status == 1
    assert "no price book" in refused.complaint


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        ((), 2, "nothing is supposed"),
        (("--by", "model"), 2, "nothing is supposed"),
        (("--model", ""), 2, "it is empty"),
        (("--model", "gpt-5-mimi"), 1, "did you mean"),
        (("--model", "openai/gpt-5-mimi"), 1, "openai/gpt-5-mini"),
        (("--model", "nobody/nothing-like-it-xyzzy"), 1, "no rule says"),
        (("--discount", "-5"), 2, "no discount"),
        (("--discount", "101"), 2, "no discount"),
        (("--discount", "ten"), 2, "no discount"),
        (("--discount", "1e1"), 2, "no discount"),
        (("--discount", "NaN"), 2, "no discount"),
        (("--discount", ""), 2, "no discount"),
        (("--discount", "0.1234567"), 2, "no discount"),
        (("--context", "processing"), 2, "no context"),
        (("--context", ""), 2, "no context"),
        (("--context", "a=b,a=c"), 2, "no context"),
        (("--context", "a=b", "--context", "a="), 2, "no context"),
        (("--prices-at", "tomorrow"), 2, "is no day"),
        (("--prices-at", "2026-02-30"), 2, "is no day"),
        (("--no-cache", "--by", "moth"), 2, "or month"),
        (("--no-cache", "--by", "model,model"), 2, "twice"),
        (("--no-cache", "--where", "model"), 2, "COLUMN=VALUE"),
        (("--no-cache", "--since", "2026-11-21", "--until", "2026-11-20"), 2, "there is no such day"),
        (("--no-cache", "--prices", "cheap"), 2, "no basis"),
        (("--no-cache", "--prices", "known:2020-01-01"), 1, "no price book was known"),
        (("--no-cache", "-z", "Nowhere"), 2, "no time zone"),
        (("--no-cache", "--book", "known:2020-01-01"), 1, "no price book was known"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], status: int, complaint: str) -> None:
    outcome = keledger("whatif", *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert complaint in outcome.complaint


def test_a_home_without_a_journal(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = str(tmp_path_factory.mktemp("none") / "home")
    outcome = keledger("--home", home, "whatif", "--model", "openai/gpt-5")
    assert outcome.status == 0
    assert outcome.json["totals"]["calls"] == 0
