"""The rows against peers: both sides do the same work, and a row that finds otherwise fails."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench._processes import keledger
from bench._transcripts import make_both
from bench._workshop import Workshop
from bench.rows import calc_price, ccusage, sqlite
from keledger.journal import Home, verify

from .conftest import TINY

CALLS = 150


def lines_of(transcripts: Path) -> list[dict[str, Any]]:
    return [
        orjson.loads(line)
        for path in sorted(transcripts.glob("projects/*/*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def report_of(transcripts: Path) -> dict[str, Any]:
    """What ccusage prints of transcripts, as far as the row reads it."""
    days: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ccusage.TOKENS, 0))
    for line in lines_of(transcripts):
        usage, day = line["message"]["usage"], days[line["timestamp"][:10]]
        day["inputTokens"] += usage["input_tokens"]
        day["outputTokens"] += usage["output_tokens"]
        day["cacheReadTokens"] += usage["cache_read_input_tokens"]
        day["cacheCreationTokens"] += usage["cache_creation_input_tokens"]
    return {"daily": [{"period": day, **days[day]} for day in sorted(days)], "totals": {"totalCost": 1.5}}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A journal and transcripts of the same calls, which no test changes."""
    folder = tmp_path_factory.mktemp("both")
    return make_both(folder / "home", folder / "claude", CALLS), folder / "claude"


@pytest.fixture(scope="module")
def ours(both: tuple[Home, Path]) -> bytes:
    """keledger's own daily report."""
    return subprocess.run(
        [*keledger("daily", "--json", "--home"), both[0].path], capture_output=True, check=True
    ).stdout


def test_journal_and_transcripts_tell_the_same_calls(both: tuple[Home, Path], ours: bytes) -> None:
    home, transcripts = both
    found = verify(home)
    assert (found.findings, found.types["call.completed"]) == ([], CALLS)
    costs = ccusage.compare(orjson.dumps(report_of(transcripts)), ours, CALLS)
    assert costs.theirs_usd == 1.5
    assert Decimal(costs.ours_usd) > 0


def test_a_transcript_is_what_claude_code_leaves(both: tuple[Home, Path]) -> None:
    lines = lines_of(both[1])
    for name in ("message.id", "requestId", "uuid"):  # an answer that is told twice would count once
        head, _, field = name.partition(".")
        assert len({line[head][field] if field else line[head] for line in lines}) == CALLS
    assert {line["type"] for line in lines} == {"assistant"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"]) for line in lines)
    assert {line["message"]["model"].rsplit("-", 1)[0] for line in lines} == {"claude-sonnet-4-5", "claude-haiku-4-5"}


@pytest.mark.parametrize("name", ccusage.TOKENS)
def test_one_token_more_fails_the_row(both: tuple[Home, Path], ours: bytes, name: str) -> None:
    report = report_of(both[1])
    report["daily"][3][name] += 1
    with pytest.raises(AssertionError, match=report["daily"][3]["period"]):
        ccusage.compare(orjson.dumps(report), ours, CALLS)


def test_a_day_or_a_call_less_fails_the_row(both: tuple[Home, Path], ours: bytes) -> None:
    report = report_of(both[1])
    with pytest.raises(AssertionError, match=f"{CALLS} of {CALLS + 1} calls"):
        ccusage.compare(orjson.dumps(report), ours, CALLS + 1)
    gone = report["daily"].pop()["period"]
    with pytest.raises(AssertionError, match=gone):
        ccusage.compare(orjson.dumps(report), ours, CALLS)


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[Workshop]:
    """A workshop that says on stderr what is being done."""
    with Workshop(tmp_path / "work", TINY) as opened:
        yield opened


def test_without_node_the_row_says_so(
    telling: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(telling.new_folder("empty")))
    assert list(ccusage.measure(telling)) == []
    assert capsys.readouterr().err == "ccusage: skipped: node is not there\n"


@pytest.mark.skipif(ccusage.why_not() is not None, reason=str(ccusage.why_not()))
def test_where_nothing_can_be_installed_the_row_says_so(telling: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    telling.environment["npm_config_registry"] = "http://127.0.0.1:9/"  # the port of discard: nobody listens
    assert list(ccusage.measure(telling)) == []
    told = capsys.readouterr().err
    assert re.fullmatch(r"ccusage: skipped: npm install .*: npm error .*ECONNREFUSED\n", told)


def test_every_insert_of_sqlite_is_durable_when_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    sqlite.create(path)
    with closing(sqlite.connect(path)) as database:
        settings = {
            name: database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "busy_timeout")
        }
        database.execute(sqlite.INSERT, ("an id", b"a line"))
        assert not database.in_transaction
        assert (
            "USING INDEX" in database.execute("EXPLAIN QUERY PLAN SELECT line FROM event WHERE id = ''").fetchone()[3]
        )
    assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 1000, "busy_timeout": 60_000}
    sqlite.check_count(path, 1)
    with pytest.raises(AssertionError, match="2 lines were inserted, SQLite has 1"):
        sqlite.check_count(path, 2)


def test_a_cost_that_differs_fails_the_row_unless_the_book_corrects_the_list() -> None:
    plain = calc_price.Call({"provider": "openai", "model": "gpt-5"}, {})
    corrected = calc_price.Call({"provider": "mistral", "model": "mistral-large-latest"}, {})
    costs = [Decimal("0.10"), Decimal("0.3")]
    assert calc_price.check_equal([plain, corrected], ["0.1", "0.2"], costs) == 1
    with pytest.raises(AssertionError, match=r"costs 0\.100000000001 by the book and 0\.10 by calc_price"):
        calc_price.check_equal([plain, corrected], ["0.100000000001", "0.3"], costs)


@pytest.mark.skipif(calc_price.why_not() is not None, reason=str(calc_price.why_not()))
def test_a_sample_is_spread_over_the_journal_and_hands_every_token_over(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calc_price, "SAMPLE_CALLS", 100)
    home = workshop.home()
    calls = calc_price.sample(home, calc_price.book_of(home), workshop.size.calls)
    assert 80 <= len(calls) <= 101
    instants = [call.ours["at_us"] for call in calls]
    assert instants[-1] - instants[0] > 300 * 24 * 3600 * 1_000_000
    for call in calls:
        told, usage = call.theirs["usage"], call.ours["usage"]
        assert told.input_tokens + told.output_tokens == sum(usage.values()) - usage["requests"]
