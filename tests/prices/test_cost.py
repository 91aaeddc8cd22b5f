"""What a call costs by a book: states, tiers, contexts, precedence, validity; and that sums are exact."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal._errors import InputRefused
from keledger.journal._events import Cost
from keledger.journal._money import usd_to_pico
from keledger.journal._time import parse_time
from keledger.journal.prices import BUCKETS, TIER_BUCKETS, Book, Cell

from .conftest import PriceFolder

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

NOON = parse_time("2026-11-18T12:00:00Z")  # a Wednesday
CALL = {"input_uncached": 1000, "cache_read": 1024, "output_text": 100, "requests": 1}


def at(text: str) -> int:
    return parse_time(text)


def price(book: Book, model: str = "one", **given: Any) -> dict[str, Any]:
    """The cost of a call to acme's model, valid as an event would have it."""
    call = {"provider": "acme", "usage": {"output_text": 1_000_000}, "at_us": NOON, "context": {}, **given}
    cost = book.price(model=model, **call)
    Cost.model_validate_json(json.dumps(cost))
    return cost


def total(book: Book, **given: Any) -> str | None:
    return price(book, **given).get("total_usd")


def cell(price: dict[str, str | None] | str, **conditions: Any) -> Cell:
    each = {"output_text": price} if isinstance(price, str) else price
    return Cell("acme", "one", "", each)._replace(**conditions)


def test_a_priced_call_has_a_line_for_each_bucket(shipped: Book) -> None:
    cost = price(shipped, "gpt-4o", provider="openai", usage=CALL)
    assert cost == {
        "total_usd": "0.00478",
        "state": "priced",
        "lines": [
            {"bucket": "input_uncached", "quantity": 1000, "usd_per_million": "2.5", "usd": "0.0025"},
            {"bucket": "cache_read", "quantity": 1024, "usd_per_million": "1.25", "usd": "0.00128"},
            {"bucket": "output_text", "quantity": 100, "usd_per_million": "10", "usd": "0.001"},
        ],
        "book": shipped.sha256,
        "matched": {"provider": "openai", "model": "gpt-4o", "rule": "is gpt-4o"},
    }


STATES = [
    # known model, usage, usage known, reported -> state, total, missing
    (True, {"output_text": 1_000_000}, True, None, "priced", "2", None),
    (True, {"output_text": 1_000_000}, True, "7", "priced", "2", None),
    (True, {"output_text": 1, "input_audio": 1}, True, None, "unpriced", None, ["input_audio"]),
    (True, {"output_text": 1, "input_audio": 1}, True, "7", "reported", "7", None),
    (True, {"output_text": 0, "input_audio": 0}, True, "7", "priced", "0", None),
    (True, {"requests": 1}, True, None, "priced", "0", None),
    (True, {}, True, "7", "priced", "0", None),
    (True, {}, False, None, "unknown", None, None),
    (True, {}, False, "7", "reported", "7", None),
    (True, {"requests": 1}, False, None, "unknown", None, None),
    (False, {"output_text": 1, "requests": 1}, True, None, "unpriced", None, ["output_text"]),
    (False, {"output_text": 1}, True, "0.5", "reported", "0.5", None),
    (False, {}, True, None, "priced", "0", None),
    (False, {}, False, None, "unknown", None, None),
]


@pytest.mark.parametrize(("known", "usage", "usage_known", "reported", "state", "usd", "missing"), STATES)
def test_the_state_is_the_first_that_holds(
    prices: PriceFolder,
    known: bool,
    usage: dict[str, int],
    usage_known: bool,
    reported: str | None,
    state: str,
    usd: str | None,
    missing: list[str] | None,
) -> None:
    book = prices.book([prices.layer("user", cell("2"))])
    model = "one" if known else "another"
    cost = price(book, model, usage=usage, usage_known=usage_known, reported_cost_usd=reported)
    assert (cost["state"], cost.get("total_usd"), cost.get("missing")) == (state, usd, missing)
    if state == "reported":
        assert cost["lines"] == [{"bucket": "reported", "quantity": 1, "usd": reported}]
    elif usd is None:
        assert all("usd" not in line for line in cost["lines"])


def test_an_unpriced_call_keeps_its_lines_without_money(prices: PriceFolder) -> None:
    book = prices.book([prices.layer("user", cell("2"))])
    cost = price(book, usage={"input_audio": 7, "output_text": 5})
    assert cost["lines"] == [
        {"bucket": "input_audio", "quantity": 7},
        {"bucket": "output_text", "quantity": 5, "usd_per_million": "2"},
    ]


def test_an_explicit_zero_is_free_and_a_fee_for_the_request_counts(prices: PriceFolder) -> None:
    book = prices.book([prices.layer("user", cell({"output_text": "0", "requests": "5000"}))])
    cost = price(book, usage={"output_text": 9, "requests": 1})
    assert cost["total_usd"] == "0.005"
    assert [(line["bucket"], line["usd"]) for line in cost["lines"]] == [
        ("output_text", "0"),
        ("requests", "0.005"),
    ]


@pytest.mark.parametrize(
    ("size", "usd"), [(199_999, "1"), (200_000, "1"), (200_001, "2"), (500_000, "2"), (500_001, "3")]
)
@pytest.mark.parametrize("bucket", sorted(TIER_BUCKETS))
def test_a_tier_begins_strictly_above_its_size_and_takes_the_whole_request(
    prices: PriceFolder, bucket: str, size: int, usd: str
) -> None:
    free = dict.fromkeys(TIER_BUCKETS, "0")
    tiers = [cell("1"), cell("2", input_over=200_000), cell("3", input_over=500_000)]
    book = prices.book([prices.layer("user", *tiers), prices.layer("list", cell(free))])
    assert total(book, usage={bucket: size, "output_text": 1_000_000}) == usd


@pytest.mark.parametrize("bucket", ["output_text", "input_chars", "input_audio_ms", "input_pages", "web_searches"])
def test_only_input_tokens_make_a_request_large(prices: PriceFolder, bucket: str) -> None:
    low, high = dict.fromkeys(["output_text", bucket], "1"), dict.fromkeys(["output_text", bucket], "9")
    book = prices.book([prices.layer("user", cell(low), cell(high, input_over=10))])
    assert price(book, usage={bucket: 100})["lines"][0]["usd_per_million"] == "1"


def test_a_tier_without_the_bucket_leaves_it_to_the_tier_below(prices: PriceFolder) -> None:
    tier = cell({"input_uncached": "4"}, input_over=10)
    book = prices.book([prices.layer("user", cell({"input_uncached": "2", "output_text": "3"}), tier)])
    cost = price(book, usage={"input_uncached": 11, "output_text": 1})
    assert [line["usd_per_million"] for line in cost["lines"]] == ["4", "3"]


def test_stronger_layers_win_bucket_by_bucket(prices: PriceFolder) -> None:
    everything = ("input_uncached", "cache_read", "output_text")
    user = prices.layer("user", cell({"output_text": "1"}))
    imported = prices.layer("imported", cell({"output_text": "2", "cache_read": "2"}))
    listed = prices.layer("list", cell(dict.fromkeys(everything, "3")))
    usage = dict.fromkeys(everything, 1)
    lines = price(prices.book([user, imported, listed]), usage=usage)["lines"]
    assert {line["bucket"]: line["usd_per_million"] for line in lines} == {
        "input_uncached": "3",
        "cache_read": "2",
        "output_text": "1",
    }


def test_a_price_that_is_said_to_be_unknown_hides_a_weaker_one(prices: PriceFolder) -> None:
    book = prices.book([prices.layer("user", cell({"output_text": None})), prices.layer("list", cell("3"))])
    assert price(book)["missing"] == ["output_text"]


def test_validity_is_half_open_and_falls_back_to_weaker_layers(prices: PriceFolder) -> None:
    start, end = at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z")
    user = prices.layer("user", cell("1", valid_from_us=start, valid_to_us=end), cell("2", valid_from_us=end))
    book = prices.book([user, prices.layer("list", cell("9"))])
    instants = [start - 1, start, end - 1, end, end + 10**18]
    assert [total(book, at_us=instant) for instant in instants] == ["9", "1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("instant", "usd"),
    [
        ("2026-11-18T00:59:59.999999Z", "1"),
        ("2026-11-18T01:00:00Z", "2"),
        ("2026-11-18T03:59:59.999999Z", "2"),
        ("2026-11-18T04:00:00Z", "1"),
        ("2026-11-20T01:30:00Z", "2"),  # Friday
        ("2026-11-21T01:30:00Z", "1"),  # Saturday
        ("2026-11-22T01:30:00Z", "1"),  # Sunday
        ("2026-11-23T01:30:00Z", "2"),  # Monday
        ("1969-12-31T01:30:00Z", "2"),  # a Wednesday before the epoch
    ],
)
def test_minutes_and_weekdays_are_those_of_utc(prices: PriceFolder, instant: str, usd: str) -> None:
    peak = {"minute_from": 60, "minute_to": 240}
    cells = [
        cell("1", minute_to=60),
        cell("2", **peak, weekdays="1111100"),
        cell("1", **peak, weekdays="0000011"),
        cell("1", minute_from=240),
    ]
    assert total(prices.book([prices.layer("user", *cells)]), at_us=at(instant)) == usd


CONTEXTS = [
    ({}, "1", None),
    ({"service_tier": "default"}, "1", None),
    ({"service_tier": "auto", "speed": "standard"}, "1", None),
    ({"processing": "batch"}, "2", "processing=batch"),
    ({"processing": "batch", "service_tier": "default"}, "2", "processing=batch"),
    ({"service_tier": "batch"}, "2", "processing=batch"),
    ({"service_tier": "flex"}, None, None),
    ({"processing": "batch", "service_tier": "flex"}, None, None),
    ({"speed": "fast"}, None, None),
    ({"route": "somewhere"}, None, None),
    ({"region": "eu"}, "3", "region=eu"),
    ({"region": "us"}, "1", None),
    ({"region": "eu", "processing": "batch"}, "2", "processing=batch"),
    ({"colour": "blue"}, "1", None),
]


@pytest.mark.parametrize(("context", "usd", "matched"), CONTEXTS)
def test_a_context_that_changes_prices_is_never_priced_as_the_standard_one(
    prices: PriceFolder, context: dict[str, str], usd: str | None, matched: str | None
) -> None:
    cells = [cell("1"), cell("2", context="processing=batch"), cell("3", context="region=eu")]
    cost = price(prices.book([prices.layer("user", *cells)]), context=context)
    assert (cost.get("total_usd"), cost["matched"].get("context")) == (usd, matched)
    assert cost["state"] == ("unpriced" if usd is None else "priced")


def test_a_context_before_the_list_knows_it_is_unpriced(shipped: Book) -> None:
    batch = {"provider": "openai", "model": "gpt-5", "context": {"processing": "batch"}}
    assert price(shipped, **batch, at_us=at("2026-10-13T23:59:59.999999Z"))["state"] == "unpriced"
    assert price(shipped, **batch, at_us=at("2026-10-14T00:00:00Z"))["total_usd"] == "5"


def test_a_region_changes_the_price_where_the_rules_say_so(shipped: Book) -> None:
    call = {"provider": "anthropic", "model": "claude-opus-5"}
    assert price(shipped, **call, context={"region": "global"})["total_usd"] == "25"
    assert price(shipped, **call, context={"region": "us"})["state"] == "unpriced"
    assert price(shipped, "gpt-5", provider="openai", context={"region": "us"})["state"] == "priced"


def test_a_maker_s_terms_are_not_those_of_who_resells_its_model(shipped: Book) -> None:
    call = {"provider": "azure", "model": "gpt-5"}
    assert price(shipped, **call)["total_usd"] == "10"
    cost = price(shipped, **call, context={"processing": "batch"})
    assert (cost["state"], "context" in cost["matched"]) == ("unpriced", False)


def test_a_reseller_s_own_terms_are_not_filled_up_with_the_maker_s(prices: PriceFolder) -> None:
    own = Cell("azure", "gpt-5", "processing=batch", {"output_text": "7"})
    book = prices.book([prices.layer("user", own), *prices.shipped_layers()])
    batch = price(
        book,
        "gpt-5",
        provider="azure",
        context={"processing": "batch"},
        usage={"output_text": 1, "cache_read": 1},
    )
    assert (batch["missing"], batch["matched"]["context"]) == (["cache_read"], "processing=batch")
    standard = price(book, "gpt-5", provider="azure", usage={"output_text": 1, "cache_read": 1})
    assert [line["usd_per_million"] for line in standard["lines"]] == ["0.125", "10"]


def test_an_own_entry_counts_before_the_named_model_bucket_by_bucket(prices: PriceFolder) -> None:
    own = Cell("openai", "gpt-5-2025-08-07", "", {"output_text": "1"})
    layers = [prices.layer("user", own), *prices.shipped_layers()]
    cost = price(
        prices.book(layers),
        "gpt-5-2025-08-07",
        provider="openai",
        usage={"output_text": 1, "input_uncached": 1},
    )
    assert [line["usd_per_million"] for line in cost["lines"]] == ["1.25", "1"]
    assert cost["matched"]["rule"] == "has prices as gpt-5-2025-08-07, else is gpt-5-2025-08-07"


def test_a_price_under_the_named_model_holds_for_all_its_names(prices: PriceFolder) -> None:
    layers = [
        prices.layer("user", Cell("openai", "gpt-5", "", {"output_text": "1"})),
        *prices.shipped_layers(),
    ]
    for name in ("gpt-5", "openai/gpt-5", "gpt-5-2025-08-07"):
        assert total(prices.book(layers), provider="openai", model=name) == "1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"usage": {"output_text": -1}}, "a quantity is not negative"),
        ({"reported_cost_usd": "1e-3"}, "is no amount in USD"),
        ({"reported_cost_usd": "0.10", "usage_known": False}, "is no amount in USD"),
        ({"usage": {"output_text": 10**21}}, "more than an amount may be"),
    ],
)
def test_what_is_no_quantity_or_money_is_refused(prices: PriceFolder, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputRefused, match=sentence):
        price(prices.book([prices.layer("user", cell("2"))]), **given)


USAGES = st.dictionaries(st.sampled_from([*BUCKETS, "a_later_bucket"]), st.integers(0, 2**40))
MODELS = [
    ("openai", "gpt-5"),
    ("google", "gemini-2.5-pro"),
    ("perplexity", "sonar-pro"),
    ("deepseek", "deepseek-v4-pro"),
]


@steady
@given(
    usage=USAGES,
    call=st.sampled_from(MODELS),
    instant=st.integers(at("2025-01-01T00:00:00Z"), at("2027-12-31T00:00:00Z")),
)
def test_the_total_is_the_sum_of_the_lines(
    shipped: Book, usage: dict[str, int], call: tuple[str, str], instant: int
) -> None:
    provider, model = call
    cost = price(shipped, model, provider=provider, usage=usage, at_us=instant)
    used = [bucket for bucket, quantity in usage.items() if quantity]
    assert {line["bucket"] for line in cost["lines"]} <= set(used)
    if cost["state"] == "priced":
        assert usd_to_pico(cost["total_usd"]) == sum(usd_to_pico(line["usd"]) for line in cost["lines"])
        assert {line["bucket"] for line in cost["lines"]} | {"requests"} >= set(used)
    else:
        assert cost["state"] == "unpriced"
        assert set(cost["missing"]) <= set(used) - {"requests"}
    order = [BUCKETS.index(line["bucket"]) if line["bucket"] in BUCKETS else len(BUCKETS) for line in cost["lines"]]
    assert order == sorted(order)


def test_the_order_of_a_usage_does_not_matter(prices: PriceFolder) -> None:
    """Two kinds of input make it a large one, whichever comes first."""
    small: dict[str, str | None] = dict.fromkeys(("input_uncached", "cache_read", "a_later_bucket"), "1")
    layer = prices.layer(
        "user",
        cell({**small, "output_text": "2", "output_reasoning": "3"}),
        cell({"output_text": "4"}, input_over=1000),
    )
    book = prices.book([layer])
    usage = {"input_uncached": 600, "cache_read": 500, "output_text": 7, "output_reasoning": 8, "a_later_bucket": 9}
    for buckets in permutations(usage):
        cost = price(book, usage={bucket: usage[bucket] for bucket in buckets})
        assert cost["total_usd"] == "0.001161"
        assert [line["bucket"] for line in cost["lines"]] == list(usage)


def test_what_is_kept_between_calls_changes_nothing(prices: PriceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keledger.journal.prices._book.MATCHES_KEPT_MAX", 2)
    book = prices.book([prices.layer("user", cell("2"), cell("3", context="processing=batch"))])
    calls = [
        ("one", {}),
        ("one", {"processing": "batch"}),
        ("two", {}),
        ("one", {}),
        ("one", {"processing": "batch"}),
    ]
    assert [total(book, model=model, context=context) for model, context in calls] == [
        "2",
        "3",
        None,
        "2",
        "3",
    ]
