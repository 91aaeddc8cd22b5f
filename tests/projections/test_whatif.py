"""What if: each call priced by hand under each hypothesis, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from keledger.journal import Home, UsageError, parse_time, pico_to_usd, usd_to_pico
from keledger.journal._tokenizers import RATIO_UNIT, Tokenizers, load_tokenizers
from keledger.journal.prices import Book, Cell, LayerHeader, shipped_book, shipped_manifest, write_layer
from keledger.journal.prices._layer import Layer
from keledger.journal.prices._names import Names
from keledger.projections import Hypothesis, ReportOptions, WhatIf, open_projection, report_whatif

from .repricing import ledger_of
from .support import rebuild

TEXT = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_text", "output_reasoning")
INPUT = TEXT[:4]
MODELS = (
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-5"),
    ("openai", "gpt-3.5-turbo"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v3.2"),
)
PLAIN = ReportOptions(timezone="Europe/Berlin")
MONTHS = {
    "2026-09-30T21:59:59Z": "2026-09",
    "2026-09-30T22:30:00Z": "2026-10",
    "2026-10-20T02:00:00Z": "2026-10",
    "2026-11-20T12:00:00Z": "2026-11",
}
"""Times of calls, and the months of Berlin that these are in."""


def shipped() -> Book:
    manifest, files = shipped_manifest(), shipped_book()[1]
    *layers, names = [(files[file], "here") for file in manifest.files]
    return Book(manifest.sha256, [Layer(*layer) for layer in layers], Names(*names))


BOOK = shipped()


def book_of(*cells: Cell) -> Book:
    """A book of a user's prices above the shipped ones."""
    own = write_layer(LayerHeader("user", "mine", "a test", "2026-11-21"), cells)
    names = shipped_book()[1][shipped_manifest().names]
    return Book("0" * 64, [Layer(own, "here"), *BOOK.layers], Names(names, "here"))


def drawn(number: int) -> list[dict[str, Any]]:
    """Calls of all kinds, some at the edges of tiers, months and days, as ``record`` takes them."""
    random = Random(number)
    calls = []
    for each in range(number):
        provider, model = random.choice(MODELS)
        usage = {bucket: random.choice((0, 1, 7, 333, 50_000, 66_666)) for bucket in random.sample(TEXT, 4)}
        if random.random() < 0.3:
            total = sum(usage.get(bucket, 0) for bucket in INPUT[1:])
            usage["input_uncached"] = max(0, random.choice((200_000, 200_001, 199_999, 100_000)) - total)
        usage["web_searches"] = random.choice((0, 0, 2))
        context = random.choice(({}, {}, {"service_tier": "default"}, {"processing": "batch"}))
        day = random.choice(tuple(MONTHS))
        calls.append(
            {
                "provider": provider,
                "model": model,
                "time": day,
                "id": str(each),
                "usage": usage,
                "pricing_context": context,
            }
        )
    return calls


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[dict[str, Any]]]:
    home = Home.at(tmp_path_factory.mktemp("whatif") / "home")
    calls = drawn(400)
    with ledger_of(home) as ledger:
        ledger.record_many(calls)
    return home, calls


def what_if(
    home: Home, hypothesis: Hypothesis, book: Book = BOOK, options: ReportOptions = PLAIN, **given: Any
) -> WhatIf:
    with open_projection(home) as projection:
        return report_whatif(projection, hypothesis, book, options, **given)


def cost(
    call: Mapping[str, Any], usage: Mapping[str, int], *, model: Sequence[str], context: Mapping[str, str], at: str
) -> int | None:
    """What a call costs, by the rules that price one when it is made."""
    priced = BOOK.price(
        provider=model[0], model=model[1], usage={"requests": 1, **usage}, at_us=parse_time(at), context=context
    )
    return usd_to_pico(priced["total_usd"]) if priced["state"] == "priced" else None


def week_before(day: date, at: str) -> str:
    """The same hour and weekday in the week that ends with *day*, in which no price here changes."""
    back = (day.weekday() - date.fromisoformat(at[:10]).weekday()) % 7
    return f"{day - timedelta(days=back)}{at[10:]}"


def by_hand(call: Mapping[str, Any], hypothesis: Hypothesis) -> tuple[int, int, int] | None:
    """Actual cost, and the supposed one at least and at most; None where one of them is not known."""
    own = (call["provider"], call["model"])
    usage, at = dict(call["usage"]), call["time"]
    actual = cost(call, usage, model=own, context=call["pricing_context"], at=at)
    if hypothesis.no_cache:
        usage["input_uncached"] = sum(usage.pop(bucket, 0) for bucket in INPUT)
    context = {**call["pricing_context"], **hypothesis.context}
    context = {key: value for key, value in context.items() if value}
    model = hypothesis.model or own
    if hypothesis.prices_at is not None:
        at = week_before(hypothesis.prices_at, at)
    ends = []
    for least in (True, False):
        counted = dict(usage)
        if hypothesis.model is not None:
            ratio = load_tokenizers().ratio(own[1], model[1])
            for bucket in counted.keys() & set(TEXT):
                exact = Fraction(counted[bucket] * (ratio.least if least else ratio.most), RATIO_UNIT)
                counted[bucket] = exact.__floor__() if least else exact.__ceil__()
        ends.append(cost(call, counted, model=model, context=context, at=at))
    low, high = ends
    return None if actual is None or low is None or high is None else (actual, low, high)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    "hypothesis",
    [
        Hypothesis(model=("openai", "gpt-5-nano")),
        Hypothesis(model=("anthropic", "claude-sonnet-4-5")),
        Hypothesis(model=("google", "gemini-2.5-pro"), no_cache=True),
        Hypothesis(no_cache=True),
        Hypothesis(context={"processing": ""}),
        Hypothesis(context={"processing": "batch"}, prices_at=date(2026, 11, 20)),
        Hypothesis(prices_at=date(2026, 11, 20)),
        Hypothesis(model=("openai", "gpt-5"), context={"processing": ""}, no_cache=True, prices_at=date(2026, 11, 20)),
        Hypothesis(model=("deepseek", "deepseek-v4-pro"), prices_at=date(2026, 11, 20), context={"processing": ""}),
    ],
    ids=lambda value: str(value.as_json(None)) if isinstance(value, Hypothesis) else None,
)
def test_every_sum_is_that_of_calls_priced_one_by_one(
    history: tuple[Home, list[dict[str, Any]]], hypothesis: Hypothesis, built: bool
) -> None:
    home, calls = history
    if built:
        rebuild(home)
    wanted: dict[tuple[str, str, str], list[int]] = {}
    for call in calls:
        row = wanted.setdefault((MONTHS[call["time"]], call["provider"], call["model"]), [0] * 5)
        found = by_hand(call, hypothesis)
        for place, figure in enumerate((1, 0, *found) if found else (0, 1, 0, 0, 0)):
            row[place] += figure
    report = what_if(home, hypothesis, columns=("month", "provider", "model"))
    assert {keys: list(sums) for keys, sums in report.rows} == wanted
    assert list(report.total) == [sum(row[place] for row in wanted.values()) for place in range(5)]
    assert report.total.calls > 20
    assert sum(apart.calls for apart in report.apart) == report.total.apart_calls
    assert [keys for keys, _ in report.rows] == sorted(wanted)


def test_a_model_of_the_same_tokenizer_has_one_figure_and_another_a_range(
    history: tuple[Home, list[dict[str, Any]]],
) -> None:
    home, _ = history
    report = what_if(home, Hypothesis(model=("openai", "gpt-5-nano")), columns=("model",))
    exact = {keys[0]: sums.low_pico == sums.high_pico for keys, sums in report.rows}
    assert exact == {model: model in ("gpt-5-mini", "gpt-5") for _, model in MODELS}
    shown = report.as_json()
    assert [ratio["model"] for ratio in shown["token_ratios"]] == sorted(
        model for model, same in exact.items() if not same
    )
    assert {ratio["model"]: ratio["basis"] for ratio in shown["token_ratios"]} == {
        "claude-sonnet-4-5": "published",
        "deepseek-v3.2": "measured",
        "gemini-2.5-pro": "published",
        "gpt-3.5-turbo": "measured",
    }
    assert any("Another tokenizer than that of" in sentence for sentence in shown["assumptions"])
    only = what_if(home, Hypothesis(model=("openai", "gpt-5-nano")), options=ReportOptions(where=(("model", "gpt-5"),)))
    assert only.conversions == ()
    assert any("the same tokenizer" in sentence for sentence in only.assumptions())


def test_a_discount_alone_is_taken_off_what_calls_cost(history: tuple[Home, list[dict[str, Any]]]) -> None:
    home, _ = history
    report = what_if(home, Hypothesis(discount_percent=Decimal("12.5")))
    before = what_if(home, Hypothesis(discount_percent=Decimal(0))).total
    assert before.actual_pico == before.low_pico == before.high_pico > 0
    assert report.total.low_pico == report.total.high_pico == round(Fraction(before.actual_pico * 7, 8))
    assert report.as_json()["hypothesis"]["book"] is None


def test_a_discount_goes_with_the_others(history: tuple[Home, list[dict[str, Any]]]) -> None:
    home, _ = history
    dear = what_if(home, Hypothesis(no_cache=True)).total
    assert what_if(home, Hypothesis(no_cache=True, discount_percent=Decimal(50))).total.low_pico == round(
        Fraction(dear.low_pico, 2)
    )


@pytest.mark.parametrize(
    ("percent", "pico", "left"),
    [("50", 1, 0), ("50", 3, 2), ("50", 5, 2), ("0", 7, 7), ("100", 7, 0), ("33.333333", 10**15, 666666670000000)],
)
def test_a_discount_is_rounded_half_even(percent: str, pico: int, left: int) -> None:
    assert Hypothesis(discount_percent=Decimal(percent)).discounted(pico) == left


@pytest.mark.parametrize("percent", ["-1", "100.000001", "NaN", "Infinity"])
def test_no_discount(percent: str) -> None:
    with pytest.raises(UsageError, match="not from 0 to 100"):
        Hypothesis(discount_percent=Decimal(percent))


def test_nothing_supposed_is_an_error(history: tuple[Home, list[dict[str, Any]]]) -> None:
    with pytest.raises(UsageError, match="nothing is supposed"):
        Hypothesis()
    for columns, complaint in ((("moth",), "or month"), (("model", "model"), "twice")):
        with pytest.raises(UsageError, match=complaint):
            what_if(history[0], Hypothesis(no_cache=True), columns=columns)


def record(home: Home, *calls: dict[str, Any]) -> None:
    defaults = {"provider": "openai", "model": "gpt-5-mini", "time": "2026-11-20T12:00:00Z"}
    with ledger_of(home) as ledger:
        ledger.record_many([{**defaults, **call} for call in calls])


def test_what_cannot_be_compared_stands_on_neither_side(home: Home) -> None:
    used = {"input_uncached": 1_000_000}
    record(
        home,
        {"usage": used},
        {"status": "error", "http_status": 429},
        {"status": "unknown"},
        {"model": "in-house", "usage": used},
        {"model": "in-house", "usage": used, "reported_cost_usd": "5"},
        {"usage": {"input_image": 9, "input_uncached": 1}},
        {"model": "gpt-4o", "usage": {"input_pages": 3}, "reported_cost_usd": "1"},
        {"usage": used, "pricing_context": {"service_tier": "flex"}},
    )
    report = what_if(home, Hypothesis(model=("anthropic", "claude-sonnet-4-5")))
    assert [tuple(apart) for apart in report.apart] == [
        ("no_ratio", "openai", "gpt-5-mini", "", 1, 2_500_000),
        ("not_offered", "anthropic", "claude-sonnet-4-5", '{"service_tier":"flex"}', 1, 125_000_000_000),
        ("reported", "openai", "gpt-4o", "", 1, 10**12),
        ("reported", "openai", "in-house", "", 1, 5 * 10**12),
        ("unknown_usage", "openai", "gpt-5-mini", "", 1, None),
        ("unpriced", "openai", "in-house", "", 1, None),
    ]
    assert (report.total.calls, report.total.apart_calls) == (2, 6)
    assert report.total.actual_pico == 250_000_000_000
    rows = {keys: sums.as_json() for keys, sums in report.rows}
    assert rows["2026-11", "in-house"]["actual_usd"] is None
    assert rows["2026-11", "in-house"]["low_usd"] is None


def test_media_stay_as_many_where_the_tokenizer_is_the_same(home: Home) -> None:
    record(home, {"usage": {"input_image": 1000, "output_text": 10}})
    report = what_if(home, Hypothesis(model=("openai", "gpt-5")))
    assert (report.total.low_pico, report.total.high_pico) == (1000 * 1_250_000 + 10 * 10_000_000,) * 2


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize(
    ("hypothesis", "reason"),
    [
        (Hypothesis(context={"processing": "batchh"}), "not_offered"),
        (Hypothesis(context={"procesing": "batch"}), "not_offered"),
        (Hypothesis(context={"processing": "batch"}), "no_price"),
        (Hypothesis(model=("acme", "unheard-of")), "unknown_model"),
    ],
)
def test_a_hypothesis_without_a_price_is_said_and_not_counted_as_zero(
    home: Home, hypothesis: Hypothesis, reason: str, reported: bool
) -> None:
    """Nor as what was reported for the call as it was."""
    early = {"usage": {"input_uncached": 10}, "time": "2026-03-01T12:00:00Z"}
    record(home, {**early, "reported_cost_usd": "3"} if reported else early)
    report = what_if(home, hypothesis)
    assert [apart.reason for apart in report.apart] == [reason]
    assert report.as_json()["totals"] == {
        "calls": 0, "actual_usd": None, "low_usd": None, "high_usd": None, "difference_low_usd": None,
        "difference_high_usd": None, "apart_calls": 1,
    }  # fmt: skip


def test_a_neutral_term_changes_nothing(home: Home) -> None:
    record(home, {"usage": {"input_uncached": 10}})
    report = what_if(home, Hypothesis(context={"service_tier": "default"}))
    assert (report.total.calls, report.total.low_pico) == (1, report.total.actual_pico)


def test_an_override_meets_the_other_name_of_its_key(home: Home) -> None:
    """Anthropic says service_tier=batch and means processing=batch."""
    batch = {"provider": "anthropic", "model": "claude-sonnet-4-5", "pricing_context": {"service_tier": "batch"}}
    record(home, {**batch, "usage": {"input_uncached": 1_000_000}})
    report = what_if(home, Hypothesis(context={"processing": ""}), options=ReportOptions(timezone="UTC"))
    assert (report.total.calls, report.total.low_pico) == (1, 6 * 10**12)  # above 200,000 tokens
    assert report.total.actual_pico < report.total.low_pico


def test_neutral_terms_do_no_harm_elsewhere(home: Home) -> None:
    record(home, {"usage": {"input_uncached": 1000}, "pricing_context": {"service_tier": "auto"}})
    report = what_if(home, Hypothesis(model=("anthropic", "claude-sonnet-4-5")))
    assert (report.total.calls, report.apart) == (1, ())


def test_a_model_that_no_table_of_tokenizers_has_is_still_itself(home: Home) -> None:
    record(home, {"provider": "x-ai", "model": "grok-4-0709", "usage": {"input_uncached": 1000, "input_image": 5}})
    report = what_if(home, Hypothesis(model=("x-ai", "grok-4"), no_cache=True))
    assert (report.total.calls, report.conversions) == (1, ())
    assert report.total.actual_pico == report.total.low_pico == report.total.high_pico > 0


def test_what_is_taken_from_the_terms_is_not_told(home: Home) -> None:
    record(home, {"usage": {"input_uncached": 10}, "pricing_context": {"processing": "batch", "trait": "x"}})
    report = what_if(home, Hypothesis(model=("acme", "unheard-of"), context={"processing": "", "speed": "fast"}))
    assert [apart["context"] for apart in report.as_json()["apart"]] == [{"trait": "x", "speed": "fast"}]


def test_the_range_is_safe_where_larger_requests_are_cheaper(home: Home) -> None:
    """With a tier that costs less, the least cost is behind it, not at the fewest tokens."""
    book = book_of(
        Cell("anthropic", "claude-sonnet-4-5", "", {"input_uncached": "10"}),
        Cell("anthropic", "claude-sonnet-4-5", "", {"input_uncached": "1"}, input_over=1500),
        Cell("anthropic", "claude-sonnet-4-5", "", {"input_uncached": "20"}, input_over=1800),
    )
    record(home, {"usage": {"input_uncached": 1000}})
    ratio = load_tokenizers().ratio("gpt-5-mini", "claude-sonnet-4-5")
    least, most = (1000 * parts // RATIO_UNIT for parts in (ratio.least, ratio.most))
    price = {range(1501): 10, range(1501, 1801): 1, range(1801, 9999): 20}
    costs = [
        tokens * next(value for sizes, value in price.items() if tokens in sizes) * 10**6
        for tokens in range(least, most + 2)
    ]
    total = what_if(home, Hypothesis(model=("anthropic", "claude-sonnet-4-5")), book).total
    assert total.low_pico <= min(costs) < least * 10 * 10**6
    assert total.high_pico >= max(costs)


def test_prices_at_is_the_end_of_the_day_in_the_zone(home: Home) -> None:
    turn = parse_time("2026-10-14T00:00:00Z")
    book = book_of(
        Cell("openai", "gpt-5-mini", "", {"input_uncached": "1"}, valid_to_us=turn),
        Cell("openai", "gpt-5-mini", "", {"input_uncached": "2"}, valid_from_us=turn),
    )
    record(home, {"usage": {"input_uncached": 1_000_000}})
    found = {
        (zone, day): what_if(home, Hypothesis(prices_at=date(2026, 10, day)), book, ReportOptions(timezone=zone)).total
        for zone in ("UTC", "Europe/Berlin", "America/New_York")
        for day in (12, 13, 14)
    }
    assert {key: pico_to_usd(sums.low_pico) for key, sums in found.items()} == {
        ("UTC", 12): "1", ("UTC", 13): "1", ("UTC", 14): "2",
        ("Europe/Berlin", 12): "1", ("Europe/Berlin", 13): "1", ("Europe/Berlin", 14): "2",
        ("America/New_York", 12): "1", ("America/New_York", 13): "2", ("America/New_York", 14): "2",
    }  # fmt: skip


def test_days_and_columns_choose_calls(history: tuple[Home, list[dict[str, Any]]]) -> None:
    home, calls = history
    options = ReportOptions(since=date(2026, 10, 1), until=date(2026, 10, 31), timezone="Europe/Berlin")
    report = what_if(home, Hypothesis(no_cache=True), options=options, columns=())
    ((keys, sums),) = report.rows
    wanted = sum(call["time"] in ("2026-09-30T22:30:00Z", "2026-10-20T02:00:00Z") for call in calls)
    assert (keys, sums.calls + sums.apart_calls) == ((), wanted)


def test_an_empty_journal(home: Home) -> None:
    for hypothesis in (Hypothesis(no_cache=True), Hypothesis(discount_percent=Decimal(1))):
        report = what_if(home, hypothesis)
        assert (report.rows, report.apart, report.total.calls) == ((), (), 0)
        assert report.as_json()["totals"]["low_usd"] == "0"


def test_progress_is_told(history: tuple[Home, list[dict[str, Any]]]) -> None:
    told: list[tuple[int, int]] = []
    what_if(
        history[0],
        Hypothesis(model=("openai", "gpt-5")),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1][0] == told[-1][1]
    assert all(before[0] < after[0] for before, after in pairwise(told))


def test_a_damaged_or_repriced_journal_is_read_as_reports_read_it(home: Home) -> None:
    """The actual side is that of the basis."""
    record(home, {"usage": {"input_uncached": 1_000_000}})
    for basis in ("recorded", "current", "latest"):
        report = what_if(home, Hypothesis(discount_percent=Decimal(10)), options=ReportOptions(basis=basis))
        assert (report.total.actual_pico, report.total.low_pico) == (250_000_000_000, 225_000_000_000)
        assert report.as_json()["prices"] == {"basis": basis, "book": BOOK.sha256}


# The table of tokenizers.


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-5-mini-2025-08-07", "o200k"),
        ("openai/gpt-4o", "o200k"),
        ("ft:gpt-4o-mini:acme", "o200k"),
        ("GPT-4.1", "o200k"),
        ("o1-preview", "o200k"),
        ("gpt-4", "cl100k"),
        ("gpt-4-turbo", "cl100k"),
        ("gpt-3.5-turbo", "cl100k"),
        ("gpt-6-sol", None),
        ("claude-2.1", "claude-2"),
        ("claude-3-5-sonnet-20241022", "claude-3"),
        ("anthropic/claude-3.7-sonnet", "claude-3"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-3"),
        ("claude-opus-4-1", "claude-3"),
        ("claude-haiku-4-5@20251001", "claude-3"),
        ("claude-opus-4-7", "claude-4.7"),
        ("claude-sonnet-5", "claude-4.7"),
        ("gemini-1.5-pro", "gemini-1"),
        ("gemini-2.5-flash-lite", "gemini-2"),
        ("models/gemini-3.8-flash", "gemini"),
        ("deepseek-v3.2", "deepseek-v3"),
        ("deepseek-r1-distill-llama-70b", None),
        ("deepseek-v4-pro", None),
        ("open-mixtral-8x22b", "mistral-sentencepiece"),
        ("mistral-large-latest", None),
        ("qwen3-max", "qwen"),
        ("qwen3.5-plus", None),
        ("llama-3.1-70b", None),
        ("", None),
    ],
)
def test_the_family_of_a_model(model: str, family: str | None) -> None:
    found = load_tokenizers().family(model)
    assert (found.name if found else None) == family


def test_the_table_is_whole() -> None:
    table = load_tokenizers()
    names = [family.name for family in table.families]
    assert len(set(names)) == len(names)
    texts = {frozenset(family.tokens) for family in table.families if family.tokens}
    assert [len(keys) for keys in texts] == [table.texts]
    for family in table.families:
        assert bool(family.tokens) != (family.of is not None), family.name
        assert 0 < family.times[0] <= family.times[1]
        assert family.of is None or family.of in names[: names.index(family.name)]


@pytest.mark.parametrize(
    ("source", "target", "least", "most", "basis"),
    [
        ("gpt-5", "gpt-4o", 10_000, 10_000, "same"),
        ("gpt-4o", "gpt-4", 9_900, 15_800, "measured"),
        ("gpt-4", "gpt-4o", 6_329, 10_102, "measured"),
        ("claude-2", "claude-3-opus", 10_000, 11_200, "published"),
        ("claude-3-opus", "claude-sonnet-4-5", 10_000, 10_000, "same"),
        ("claude-sonnet-4-5", "claude-opus-4-7", 10_000, 13_500, "published"),
        ("claude-opus-4-7", "claude-sonnet-5", 7_407, 13_500, "published"),
        ("gpt-4o", "claude-sonnet-4-5", 9_500, 21_392, "published"),
        ("gpt-4o", "grok-4", 5_000, 20_000, "assumed"),
        ("grok-4", "llama-4", 5_000, 20_000, "assumed"),
    ],
)
def test_ratios(source: str, target: str, least: int, most: int, basis: str) -> None:
    assert load_tokenizers().ratio(source, target)[2:] == (least, most, basis)


def test_there_and_back_holds_what_it_was() -> None:
    table: Tokenizers = load_tokenizers()
    models = ["gpt-5", "gpt-4", "claude-2", "claude-3-opus", "claude-sonnet-5", "gemini-2.5-pro", "qwen3-max", "grok-4"]
    for one in models:
        for other in models:
            there, back = table.ratio(one, other), table.ratio(other, one)
            assert 0 < there.least <= there.most
            if "assumed" not in (there.basis, back.basis):
                assert there.least * back.least <= RATIO_UNIT**2 <= there.most * back.most
