"""The generated journal: valid, realistic, exactly priced, and the same for the same seed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import generate as generator
from bench.generate import Plan, generate
from keledger.journal import Home, Ledger, parse_time, scan_journal, verify
from keledger.journal.prices import PriceStore

from .conftest import REPOSITORY

CALLS = 600


def calls_of(home: Home) -> list[dict[str, Any]]:
    """The ``data`` of every call, in the journal's order."""
    events = [orjson.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]
    return [event["data"] for event in events if event["type"].startswith("call.")]


def truth_of(home: Home) -> dict[str, bytes]:
    """Every file that is truth, with its content."""
    paths = [path for folder in (home.journal, home.prices) for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(home.path)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A small journal that no test changes."""
    return generate(tmp_path_factory.mktemp("made") / "home", Plan(CALLS))


def test_it_is_valid(made: Home) -> None:
    found = verify(made)
    assert found.findings == []
    assert found.types["call.completed"] + found.types["call.failed"] == CALLS
    assert found.types["prices.adopted"] == 1
    assert found.books == 1


def test_the_same_seed_gives_the_same_bytes(made: Home, tmp_path: Path) -> None:
    assert truth_of(generate(tmp_path / "again", Plan(CALLS))) == truth_of(made)


def test_another_seed_gives_other_calls(made: Home, tmp_path: Path) -> None:
    other = calls_of(generate(tmp_path / "other", Plan(CALLS, seed=2)))
    assert {call["input_sha256"] for call in other}.isdisjoint(call["input_sha256"] for call in calls_of(made))


def test_more_processes_give_the_same_bytes(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "INLINE_CALLS_MAX", 0)
    assert truth_of(generate(tmp_path / "pooled", Plan(CALLS))) == truth_of(made)


def test_each_call_has_the_price_of_its_own_instant(made: Home) -> None:
    calls = calls_of(made)
    (adopted,) = {call["cost"]["book"] for call in calls}
    book = PriceStore(made.prices).load_book(adopted)
    for call in calls:
        answered = call.get("response_model", call["model"])
        cost = book.price(
            provider=call["provider"],
            model=answered if book.match(call["provider"], answered) else call["model"],
            usage=call["usage"],
            at_us=parse_time(call["started_at"]),
            context=call.get("pricing_context", {}),
            reported_cost_usd=call.get("reported_cost_usd"),
            usage_known=call["cost"]["state"] != "unknown",
        )
        assert cost == call["cost"]


def test_it_is_like_a_year_of_real_use(tmp_path: Path) -> None:
    calls = calls_of(generate(tmp_path / "home", Plan(3_000)))
    states = Counter((call["status"], call["cost"]["state"]) for call in calls)
    kinds = {("ok", "priced"), ("ok", "unpriced"), ("ok", "reported"), ("error", "priced"), ("unknown", "unknown")}
    assert set(states) == kinds
    assert states["ok", "priced"] > 0.9 * len(calls)
    days = {call["started_at"][:10] for call in calls}
    assert len(days) > 350
    assert {"2025-11-01", "2026-10-30"} <= days
    for name, fewest in (
        ("provider", 6),
        ("model", 10),
        ("project", 20),
        ("user", 30),
        ("prompt", 25),
        ("session", 400),
    ):
        assert len({call[name] for call in calls}) >= fewest
    lines = sum(len(call["cost"]["lines"]) for call in calls) / len(calls)
    assert 2.5 < lines < 3.0
    buckets = {bucket for call in calls for bucket in call["usage"]}
    assert {"cache_read", "cache_write_5m", "output_reasoning", "input_uncached", "output_text"} <= buckets


def test_lean_calls_are_shorter(made: Home, tmp_path: Path) -> None:
    lean = generate(tmp_path / "lean", Plan(CALLS, lean=True))
    assert verify(lean).findings == []
    sizes = [sum(len(content) for content in truth_of(home).values()) for home in (lean, made)]
    assert sizes[0] < sizes[1]
    assert all("usage_raw" not in call for call in calls_of(lean))


def test_segments_rotate_and_seal_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 256 * 1024
    monkeypatch.setattr(generator, "SEGMENT_BYTES_MAX", most)
    home = generate(tmp_path / "home", Plan(CALLS))
    (writer,) = home.writers()
    sizes = [path.stat().st_size for path in home.segments(writer)]
    assert len(sizes) > 3
    assert max(sizes) <= most
    found = verify(home)
    assert found.findings == []
    assert found.types["segment.opened"] == len(sizes)


def test_an_appender_and_a_second_part_go_on_from_it(tmp_path: Path) -> None:
    home = generate(tmp_path / "home", Plan(50))
    with Ledger.open(home.path) as ledger:
        ledger.record(provider="openai", model="gpt-5-mini", usage={"output_text": 1})
    generate(home.path, Plan(50, seed=2))
    found = verify(home)
    assert found.findings == []
    assert len(found.writers) == 1
    assert found.types["call.completed"] + found.types["call.failed"] == 101
    assert found.types["prices.adopted"] == 1


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.generate", str(tmp_path / "home"), "--calls", "20", "--seed", "7", "--lean"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "20 calls" in ended.stdout
    assert len(calls_of(Home.at(tmp_path / "home"))) == 20
