"""Efficiency: figures by hand, sums that agree with other reports, and a bound that no cache passes."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, UsageError, usd_to_pico
from keledger.journal.prices import Book, Cell
from keledger.projections import (
    Efficiency,
    Hypothesis,
    ReportOptions,
    open_projection,
    report_daily,
    report_efficiency,
    report_whatif,
)
from keledger.projections._cache_minimums import cache_minimum_tokens, load_cache_minimums

from .repricing import ledger_of
from .support import append, call, call_data, rebuild, uncosted, void
from .test_whatif import BOOK, book_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLAIN, READ, OUTPUT = 10_000_000, 1_000_000, 30_000_000
WRITE = {"5m": 12_500_000, "1h": 20_000_000}
LIFETIME_S = {"5m": 300, "1h": 3600}
OWN = book_of(
    Cell(
        "nobody",
        "in-house",
        "",
        {
            "input_uncached": "10", "cache_read": "1", "cache_write_5m": "12.5", "cache_write_1h": "20",
            "output_text": "30",
        },
    ),
    Cell("nobody", "cacheless", "", {"input_uncached": "10", "cache_read": "10", "output_text": "30"}),
    Cell("nobody", "readless", "", {"input_uncached": "10", "output_text": "30"}),
)  # fmt: skip
"""No minimum is known of these models, so that small counts do."""


def at(seconds: int) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def used(
    seconds: int = 0, plain: int = 0, *, read: int = 0, write: int = 0, output: int = 0, **fields: Any
) -> dict[str, Any]:
    """A call of a prompt, so many seconds after noon, as ``record`` takes it."""
    usage = {"input_uncached": plain, "cache_read": read, "cache_write_5m": write, "output_text": output}
    own = {"provider": "nobody", "model": "in-house", "prompt": "ask", "time": at(seconds), "usage": usage}
    return {name: value for name, value in (own | fields).items() if value is not None}


def efficiency(home: Home, *calls: dict[str, Any], book: Book = OWN, **given: Any) -> Efficiency:
    apart = {name: given.pop(name, None) for name in ("model", "on_progress")}
    if calls:
        with ledger_of(home) as ledger:
            ledger.record_many(calls)
    with open_projection(home) as projection:
        return report_efficiency(projection, book, ReportOptions(**given), **apart)


def saved(report: Efficiency, lifetime: str = "5m") -> int:
    """In picodollars."""
    return report.total.caching[lifetime].saved_pico


# What calls cost by what came of them.


@pytest.mark.parametrize("model", [None, ("nobody", "cacheless")])
def test_progress_is_told(home: Home, model: tuple[str, str] | None) -> None:
    told: list[tuple[int, int]] = []
    efficiency(home, used(), used(1), model=model, on_progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1]) == ((0, 100), (100, 100))
    assert len(set(told)) > 4
    assert told == sorted(told)


def test_figures_by_hand(home: Home) -> None:
    usage = {"input_uncached": 60, "cache_read": 30, "cache_write_1h": 10, "output_text": 7, "output_reasoning": 3}
    append(
        home,
        call(1, prompt="ask", usd="0.5", usage=usage, duration_ms=1000),
        call(2, prompt="ask", usd="0.25", usage={"input_uncached": 20, "output_text": 20}, duration_ms=2001),
        call(3, prompt="ask", usd="0.1", usage={"input_uncached": 5}, status="error"),
        call(4, prompt="ask", status="unknown", usage={}, **uncosted("unknown")),
        call(5, prompt="ask", usage={"input_uncached": 75, "output_text": 900}, **uncosted("unpriced")),
        call(6, model="other", usd="0.000000000003", usage={"input_uncached": 1}),
        call(7, model="other", usd="0.000000000002", usage={"input_uncached": 1}),
        call(8, model="other", usd="0.7", usage={"input_uncached": 1, "output_text": 10}),
        void(8),
        call(
            9, model="idle", status="error", usd="0", usage={}, cost={"state": "priced", "total_usd": "0", "lines": []}
        ),
    )
    for built in (False, True):
        if built:
            rebuild(home)
        report = efficiency(home, book=BOOK)
        shown = [
            {name: value for name, value in row.items() if name not in ("caching", "reasoning_output_tokens")}
            for row in report.as_json()["rows"]
        ]
        assert shown == [
            {
                "model": "gpt-5-mini", "prompt": "ask", "calls": 5, "successful_calls": 3, "failed_calls": 1,
                "unknown_calls": 1, "unpriced_calls": 1, "uncosted_calls": 2, "input_tokens": 200,
                "output_tokens": 930, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 10,
                "cost_usd": "0.85",
                # of three calls that have a cost, two of them successes, with 30 tokens of output
                "cost_per_call_usd": "0.283333333333", "cost_per_1000_output_tokens_usd": "28.333333333333",
                "cost_per_success_usd": "0.425", "cache_hit_share": "0.15", "duration_per_call_ms": 1500,
            },
            {
                "model": "idle", "prompt": None, "calls": 1, "successful_calls": 0, "failed_calls": 1,
                "unknown_calls": 0, "unpriced_calls": 0, "uncosted_calls": 0, "input_tokens": 0, "output_tokens": 0,
                "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "cost_usd": "0",
                "cost_per_call_usd": "0", "cost_per_1000_output_tokens_usd": None, "cost_per_success_usd": None,
                "cache_hit_share": None, "duration_per_call_ms": None,
            },
            {
                "model": "other", "prompt": None, "calls": 2, "successful_calls": 2, "failed_calls": 0,
                "unknown_calls": 0, "unpriced_calls": 0, "uncosted_calls": 0, "input_tokens": 2, "output_tokens": 0,
                "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "cost_usd": "0.000000000005",
                # 2.5 picodollars, half-even
                "cost_per_call_usd": "0.000000000002", "cost_per_1000_output_tokens_usd": None,
                "cost_per_success_usd": "0.000000000002", "cache_hit_share": "0", "duration_per_call_ms": None,
            },
        ]  # fmt: skip
        total = report.as_json()["totals"]
        assert (total["calls"], total["cost_usd"], total["cost_per_call_usd"]) == (
            8,
            "0.850000000005",
            "0.141666666668",
        )


@pytest.mark.parametrize(
    ("pico", "quotient"), [((1, 0), 0), ((1, 2), 2), ((2, 3), 2), ((3, 4), 4), ((10**22, 1), 5 * 10**21), ((0, 0), 0)]
)
def test_quotients_are_rounded_half_even(home: Home, pico: tuple[int, int], quotient: int) -> None:
    for number, each in enumerate(pico):
        usd = f"{each // 10**12}.{each % 10**12:012}".rstrip("0").rstrip(".")
        append(home, call(number, usd=usd))
    (row,) = efficiency(home).as_json()["rows"]
    assert usd_to_pico(row["cost_per_call_usd"]) == usd_to_pico(row["cost_per_success_usd"]) == quotient


def test_nothing_is_divided_where_there_is_nothing(home: Home) -> None:
    report = efficiency(home)
    assert report.rows == ()
    total = report.as_json()["totals"]
    assert (total["calls"], total["cost_usd"], total["caching"]["5m"]["saved_at_most_usd"]) == (0, "0", "0")
    quotients = [name for name in total if "_per_" in name or name.endswith("_share")]
    assert len(quotients) == 5
    assert {total[name] for name in quotients} == {None}


def test_what_is_asked_for_must_be_a_column(home: Home) -> None:
    for by, complaint in ((("moth",), "no column"), (("model", "model"), "twice")):
        with pytest.raises(UsageError, match=complaint):
            efficiency(home, by=by)


def test_days_values_and_bases(home: Home) -> None:
    calls = [used(0, 100, id="a"), used(60, 100, id="b", user="ada"), used(86400, 100, id="c", user="ada")]
    adopted = efficiency(home, *calls, book=BOOK).total
    assert (adopted.sums.values[0], adopted.sums.values[4]) == (3, 0)
    day = efficiency(home, since=date(2026, 11, 20), until=date(2026, 11, 20))
    assert (day.total.sums.values[0], saved(day)) == (2, 100 * (PLAIN - READ - (WRITE["5m"] - PLAIN)))
    ada = efficiency(home, where=(("user", "ada"),), by=("user",))
    assert [(keys, row.sums.values[0]) for keys, row in ada.rows] == [(("ada",), 2)]
    assert saved(ada) == 0
    shown = efficiency(home, basis="latest").as_json()
    assert shown["prices"]["basis"] == "latest"
    assert shown["savings_book"] == OWN.sha256 != shown["prices"]["book"]


@pytest.mark.parametrize("by", [("model", "prompt"), ("provider",), ("tag:env", "status"), ("user", "session")])
def test_another_model_is_what_whatif_says(home: Home, by: tuple[str, ...]) -> None:
    models = ("gpt-5-mini", "gpt-4o", "in-house")
    calls = [
        used(
            60 * number, 1000, output=100 * number, provider="openai", model=models[number % 3],
            user=f"u{number % 2}", tags={"env": f"e{number % 2}"} if number % 4 else None,
        )
        for number in range(12)
    ]  # fmt: skip
    model = ("anthropic", "claude-haiku-4-5")
    report = efficiency(home, *calls, book=BOOK, by=by, model=model)
    with open_projection(home) as projection:
        wanted = report_whatif(projection, Hypothesis(model=model), BOOK, ReportOptions(), columns=by)
    assert [(keys, row.other) for keys, row in report.rows] == list(wanted.rows)
    assert report.total.other == wanted.total
    assert wanted.total.low_pico < wanted.total.high_pico
    shown, meant = report.as_json(), wanted.as_json()
    assert shown["totals"]["other_model"] == meant["totals"]
    for name in ("hypothesis", "token_ratios", "apart"):
        assert shown[name] == meant[name]
        assert shown[name]
    assert shown["assumptions"][1:] == meant["assumptions"]


costs = st.one_of(st.integers(0, 10**16).map(lambda pico: pico), st.sampled_from(["unpriced", "unknown"]))
drawn_calls = st.lists(
    st.tuples(
        costs,
        st.sampled_from(["ok", "ok", "error", "unknown"]),
        st.sampled_from(["gpt-5-mini", "other"]),
        st.sampled_from([None, "ask", "tell"]),
        st.integers(0, 3000),
        st.integers(0, 3000),
        st.integers(0, 500),
        st.integers(0, 7200),
    ),
    max_size=12,
)


@settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(drawn_calls, st.sampled_from([("model", "prompt"), ("prompt",), ("status", "model"), ("session",)]))
def test_rows_part_the_calls_and_sum_to_the_totals_and_to_those_of_daily(
    drawn: list[tuple[Any, ...]], by: tuple[str, ...]
) -> None:
    events = []
    for number, (cost, status, model, prompt, plain, read, output, seconds) in enumerate(drawn):
        fields: dict[str, Any] = {"prompt": prompt} if prompt else {}
        usage = {"input_uncached": plain, "cache_read": read, "output_text": output}
        if isinstance(cost, str):
            fields |= uncosted(cost)
        else:
            usd = f"{cost // 10**12}.{cost % 10**12:012}".rstrip("0").rstrip(".")
            fields |= {"cost": call_data(usd=usd)["cost"]}
        started = (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        events.append(call(number, status=status, model=model, usage=usage, started_at=started, **fields))
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(Path(folder) / "home")
        if events:
            append(home, *events)
        with open_projection(home) as projection:
            report = report_efficiency(projection, BOOK, ReportOptions(by=by))
            daily = report_daily(projection).totals
    keys = [keys for keys, _ in report.rows]
    assert len(set(keys)) == len(keys)
    parts = [row.as_json() for _, row in report.rows]
    total = report.as_json()["totals"]
    for name in daily.keys() & total.keys() - {"cost_usd"}:
        assert total[name] == daily[name] == sum(part[name] for part in parts), name
    assert total["cost_usd"] == daily["cost_usd"]
    assert usd_to_pico(total["cost_usd"] or "0") == sum(usd_to_pico(part["cost_usd"] or "0") for part in parts)
    assert total["successful_calls"] == sum(status == "ok" for _, status, *_ in drawn)
    for lifetime in LIFETIME_S:
        told = [part["caching"][lifetime] for part in parts]
        for name in ("repeating_calls", "no_cache_price_calls", "repeated_tokens_at_most"):
            assert total["caching"][lifetime][name] == sum(each[name] for each in told)
        amount = total["caching"][lifetime]["saved_at_most_usd"]
        assert Decimal(amount or 0) == sum(Decimal(each["saved_at_most_usd"] or 0) for each in told)


# What caching would have saved.


@pytest.mark.parametrize(
    ("calls", "tokens", "five_minutes", "one_hour"),
    [
        pytest.param([used(0, 100)], (0, 0), 0, 0, id="alone"),
        # 100 tokens at 9 saved, less 2.5 for writing each; to be kept an hour, writing costs 10
        pytest.param([used(0, 100), used(300, 100)], (100, 100), 650, 0, id="within five minutes"),
        pytest.param([used(0, 100), used(301, 100)], (0, 100), 0, 0, id="too late for five"),
        pytest.param([used(0, 100), used(3600, 100), used(7200, 100)], (0, 200), 0, 800, id="an hour each"),
        pytest.param([used(0, 100, duration_ms=1000), used(301, 100)], (100, 100), 650, 0, id="from the end"),
        pytest.param([used(0, 100), used(1, 40)], (40, 40), 260, 0, id="a smaller one"),
        pytest.param([used(0, 40), used(1, 100)], (40, 40), 260, 0, id="a larger one"),
        # a short call in between takes nothing from the others: 100 and 100 for the third
        pytest.param([used(0, 100), used(1, 10), used(2, 100)], (110, 110), 740, 80, id="the least does not bound"),
        # it read 60 itself; 40 more, which nobody had in a cache
        pytest.param([used(0, 100), used(1, 40, read=60)], (40, 40), 260, 0, id="some was read"),
        pytest.param([used(0, 100), used(1, 40, write=60)], (40, 40), 260, 0, id="some was written"),
        # the first one wrote all of it already
        pytest.param([used(0, 0, write=100), used(1, 100)], (100, 100), 900, 900, id="the first wrote"),
        pytest.param([used(0, 0, write=100), used(1, 0, read=100)], (0, 0), 0, 0, id="all was cached"),
        pytest.param([used(0, 30), used(1, 40, read=60)], (0, 0), 0, 0, id="it read from elsewhere"),
        pytest.param([used(0, 100), used(1, 100, prompt="tell")], (0, 0), 0, 0, id="another prompt"),
        pytest.param([used(0, 100), used(1, 100, prompt_version="2")], (0, 0), 0, 0, id="another version"),
        pytest.param([used(0, 100, prompt=None), used(1, 100, prompt=None)], (0, 0), 0, 0, id="no prompt"),
        pytest.param([used(0, 100), used(1, 100, status="unknown", usage=None)], (0, 0), 0, 0, id="no usage"),
        pytest.param(
            [used(0, 100), used(200, 100), used(400, 100), used(600, 100)], (300, 300), 2450, 1700, id="kept by use"
        ),
    ],
)
def test_the_bound_by_hand(
    home: Home, calls: Sequence[dict[str, Any]], tokens: tuple[int, int], five_minutes: int, one_hour: int
) -> None:
    """Amounts are in micro-dollars."""
    report = efficiency(home, *calls)
    caching = report.total.caching
    assert (caching["5m"].repeated_tokens, caching["1h"].repeated_tokens) == tokens
    assert (saved(report, "5m"), saved(report, "1h")) == (five_minutes * 10**6, one_hour * 10**6)
    promptless = report.as_json()["totals"]["caching"]["promptless_calls"]
    assert promptless == sum("prompt" not in each for each in calls)


def test_a_call_has_the_prices_of_its_time_and_terms(home: Home) -> None:
    book = book_of(
        Cell("nobody", "in-house", "", {"input_uncached": "10", "cache_read": "1", "output_text": "1"}, input_over=-1),
        Cell("nobody", "in-house", "", {"input_uncached": "20", "cache_read": "2", "output_text": "1"}, input_over=150),
        Cell("nobody", "in-house", "processing=batch", {"input_uncached": "5", "cache_read": "4", "output_text": "1"}),
    )
    report = efficiency(
        home,
        used(0, 100),
        used(1, 100),
        used(2, 200),
        used(3, 200, pricing_context={"processing": "batch"}),
        book=book,
    )
    # writing has no price of its own; 100 at 9, 100 at 18, 200 at 1
    assert saved(report, "5m") == saved(report, "1h") == (900 + 1800 + 200) * 10**6


@pytest.mark.parametrize("model", ["cacheless", "readless", "unheard-of"])
def test_without_a_cheaper_price_there_is_no_figure(home: Home, model: str) -> None:
    report = efficiency(home, used(0, 100, model=model), used(1, 100, model=model), used(0, 9), used(1, 9))
    rows = {row["model"]: row["caching"]["5m"] for row in report.as_json()["rows"]}
    assert rows[model] == {
        "repeating_calls": 1,
        "no_cache_price_calls": 1,
        "repeated_tokens_at_most": 100,
        "saved_at_most_usd": None,
    }
    assert rows["in-house"]["saved_at_most_usd"] == "0.0000585"
    total = report.as_json()["totals"]["caching"]["5m"]
    assert (total["repeating_calls"], total["no_cache_price_calls"]) == (2, 1)
    assert total["saved_at_most_usd"] == "0.0000585"


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-5-mini", 1024),
        ("openai/gpt-4o-2024-08-06", 1024),
        ("gpt-3.5-turbo", 0),
        ("claude-opus-4-5", 4096),
        ("claude-opus-4-20250514", 1024),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
        ("anthropic/claude-3.5-haiku", 2048),
        ("claude-3-5-haiku-latest", 2048),
        ("claude-3-5-sonnet", 1024),
        ("claude-sonnet-4-5", 1024),
        ("claude-opus-5", 512),
        ("gemini-2.5-pro", 2048),
        ("gemini-2.5-flash-lite", 1024),
        ("gemini-3-pro-preview", 4096),
        ("in-house", 0),
    ],
)
def test_the_fewest_tokens_that_are_cached(model: str, tokens: int) -> None:
    assert cache_minimum_tokens(model) == tokens
    assert all(family.tokens > 0 for family in load_cache_minimums())


@pytest.mark.parametrize(("common", "told"), [(1023, 0), (1024, 1024)])
def test_what_is_too_small_for_the_cache_is_not_counted(home: Home, common: int, told: int) -> None:
    """Of the model that answered, where the book has it."""
    of = {"provider": "openai", "model": "gpt-5-mini", "response_model": "gpt-5-mini-2025-08-07"}
    report = efficiency(home, used(0, common, **of), used(1, 5000, **of), book=BOOK)
    assert report.total.caching["5m"].repeated_tokens == told


texts = st.lists(st.integers(0, 1), min_size=0, max_size=6)
schedules = st.lists(
    st.tuples(texts, st.sampled_from([0, 10, 200, 299, 301, 2000, 4000]), st.integers(0, 100_000)),
    min_size=2,
    max_size=8,
)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(schedules, schedules)
def test_no_cache_saves_more_than_the_bound(ask: Any, tell: Any) -> None:
    """Calls with real texts, of which the report sees the sizes alone, and caches of all reaches, simulated."""
    told = {"ask": timeline(ask), "tell": timeline(tell)}
    calls = [
        used(start, len(text), prompt=prompt, duration_ms=duration_ms)
        for prompt, timed in told.items()
        for text, start, duration_ms in timed
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = efficiency(Home.at(Path(folder) / "home"), *calls)
    by_prompt = {keys[1]: row.caching for keys, row in report.rows}
    for prompt, timed in told.items():
        for lifetime in LIFETIME_S:
            bound = by_prompt[prompt][lifetime].saved_pico if lifetime in by_prompt[prompt] else 0
            for reach in range(1, 7):
                assert simulated(timed, lifetime, reach) <= bound


def timeline(drawn: Sequence[tuple[list[int], int, int]]) -> list[tuple[list[int], int, int]]:
    """Each call with when it began, after waiting since the one before did."""
    now, timed = 0, []
    for text, wait_s, duration_ms in drawn:
        now += wait_s
        timed.append((text, now, duration_ms))
    return timed


def simulated(timed: Sequence[tuple[list[int], int, int]], lifetime: str, reach: int) -> int:
    """What is saved where every call has its first *reach* tokens cached, in picodollars."""
    saving = 0
    for place, (text, start, _) in enumerate(timed):
        read = 0
        for other, other_start, other_duration_ms in timed[:place]:
            if start <= other_start + other_duration_ms / 1000 + LIFETIME_S[lifetime]:
                read = max(read, common(text[:reach], other[:reach]))
        written = len(text[:reach]) - read
        saving += read * (PLAIN - READ) - written * (WRITE[lifetime] - PLAIN)
    return saving


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 10, 299, 301, 3600, 4000]),
            st.integers(0, 30),
            st.integers(0, 10),
            st.integers(0, 10),
            st.sampled_from(["ask", "tell"]),
            st.sampled_from(["ada", "bob"]),
        ),
        max_size=10,
    ),
    st.sampled_from([("model",), ("user",)]),
)
def test_the_bound_is_that_of_the_rule_place_by_place(drawn: list[tuple[Any, ...]], by: tuple[str, ...]) -> None:
    now, calls = 0, []
    for wait_s, plain, read, write, prompt, user in drawn:
        now += wait_s
        calls.append(used(now, plain, read=read, write=write, prompt=prompt, user=user))
    with tempfile.TemporaryDirectory() as folder:
        report = efficiency(Home.at(Path(folder) / "home"), *calls, by=by)
    for lifetime in LIFETIME_S:
        chains = defaultdict(list)
        for each in calls:
            if sum(each["usage"].values()):
                chains[each["prompt"], each["user"] if by == ("user",) else None].append(each)
        assert saved(report, lifetime) == sum(by_rule(chain, lifetime) for chain in chains.values())


def by_rule(chain: Sequence[Mapping[str, Any]], lifetime: str) -> int:
    """The rule of docs/projections.md, one place of one run after the other."""
    runs: list[list[Mapping[str, Any]]] = []
    before: datetime | None = None
    for each in chain:
        began = datetime.fromisoformat(each["time"])
        if before is None or began > before + timedelta(seconds=LIFETIME_S[lifetime]):
            runs.append([])
        runs[-1].append(each["usage"])
        before = began
    saving = 0
    for run in runs:
        had = max(usage["cache_read"] + usage["cache_write_5m"] for usage in run)
        readers: list[range] = []
        for place, usage in enumerate(run):
            shared = max((min(sum(usage.values()), sum(other.values())) for other in run[:place]), default=0)
            base = usage["cache_read"] + usage["cache_write_5m"]
            readers.append(range(base, min(shared, base + usage["input_uncached"])))
        for token in range(60):
            gain = sum(token in reader for reader in readers) * (PLAIN - READ)
            cost = WRITE[lifetime] - PLAIN if token >= had else 0
            saving += max(0, gain - cost)
    return saving
