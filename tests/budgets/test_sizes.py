"""The size of a hold from what past calls took, from priors where too few are known, and at a flat price."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import parse_time
from keledger.journal.budgets._sizes import (
    HISTORY_CALLS_MAX,
    History,
    Sized,
    Unbounded,
    Unpriced,
    history_key,
    size_at_rate,
    size_hold,
)
from keledger.journal.capture.shape import shape_of
from keledger.journal.prices import Book, Cell
from tests.budgets.books import book_of, shipped

NOW_US = parse_time("2026-11-20T12:00:00.000000Z")
PICO = 10**6
"""A dollar per million is so many picodollars a token."""

BOOK = book_of([Cell("house", "m", "", {"input_uncached": "1", "output_text": "10"})])
DEARER = book_of([Cell("house", "m", "", {"input_uncached": "2", "output_text": "30"})])
SHAPE = {"bytes": 1000, "messages": 1, "tools": 0, "choices": 1, "self_contained": True}


def call(input_tokens: int, output_tokens: int, book: Book = BOOK, **more: Any) -> dict[str, Any]:
    """The data of a call's event, as far as a history reads it."""
    usage = {"input_uncached": input_tokens, "output_text": output_tokens, "requests": 1}
    model, answered = more.pop("model", "m"), more.pop("answered", None)
    cost = book.price(provider="house", model=answered or model, usage=usage, at_us=NOW_US, context={})
    return {"usage": usage, "cost": cost, "model": model, "response_model": answered or model, **more}


def history_of(*calls: dict[str, Any], request_bytes: int | None = None) -> History:
    """What is learned of calls, in their order, each with a request of so many bytes."""
    history = History()
    for data in calls:
        history = history.add(data, request_bytes=request_bytes)
    return history


def size(
    policy: str, history: History | None, shape: dict[str, Any] | None = None, book: Book = BOOK, model: str = "m"
) -> Sized | Unbounded | Unpriced:
    """The size of a hold for a call of the house's model."""
    return size_hold(
        policy, book=book, provider="house", model=model, at_us=NOW_US, context={}, shape=shape, history=history
    )


@pytest.mark.parametrize(
    ("policy", "calls", "looked_at", "rank"),
    [
        ("p50", 1, 1, 1), ("p50", 2, 2, 2), ("p50", 3, 3, 2), ("p50", 49, 49, 25), ("p50", 100, 50, 26),
        ("p90", 9, 9, 9), ("p90", 10, 10, 10), ("p90", 19, 19, 18), ("p90", 100, 50, 46),
        ("p99", 99, 99, 99), ("p99", 100, 100, 100),
    ],
)  # fmt: skip
def test_it_is_the_call_of_its_rank(policy: str, calls: int, looked_at: int, rank: int) -> None:
    """The rank is ceil((n + 1) p) of the last n: so many are covered in the long run, however they are distributed."""
    outputs = list(range(1, calls + 1))
    random.Random(calls).shuffle(outputs)
    found = size(policy, history_of(*(call(100, output) for output in outputs)))
    output = sorted(outputs[-looked_at:])[rank - 1]
    assert found == Sized((100 * 1 + output * 10) * PICO, "history", looked_at, 100, output)


@pytest.mark.parametrize(("policy", "calls"), [("p90", 8), ("p99", 98)])
def test_below_that_it_is_the_dearer_of_the_prior_and_the_dearest_call(policy: str, calls: int) -> None:
    cheap, dear = ([call(100, output) for output in range(1, calls)] for _ in range(2))
    cold = size(policy, None)
    assert isinstance(cold, Sized)
    assert size(policy, history_of(*cheap)) == cold._replace(calls=calls - 1)
    found = size(policy, history_of(*dear, call(10**6, 10**6)))
    assert found == Sized((10**6 + 10**7) * PICO, "prior", calls, 10**6, 10**6)


def test_it_remembers_the_last_hundred_calls() -> None:
    history = history_of(*(call(10**6, 10**6) for _ in range(50)), *(call(1, 1) for _ in range(HISTORY_CALLS_MAX)))
    assert len(history) == HISTORY_CALLS_MAX
    assert size("p99", history) == Sized(11 * PICO, "history", HISTORY_CALLS_MAX, 1, 1)


def test_the_input_grows_with_the_request_and_the_output_does_not() -> None:
    history = history_of(*(call(100, 10) for _ in range(20)), request_bytes=400)
    assert size("p90", history, SHAPE) == Sized((250 * 1 + 10 * 10) * PICO, "history", 20, 100, 10)
    for shape in (None, {}, {**SHAPE, "bytes": 0}):
        assert size("p90", history, shape) == Sized((100 + 100) * PICO, "history", 20, 100, 10)
    unknown = history_of(*(call(100, 10) for _ in range(20)))
    assert size("p90", unknown, SHAPE) == Sized((100 + 100) * PICO, "history", 20, 100, 10)


def test_a_part_of_a_picodollar_is_rounded_up() -> None:
    history = history_of(*(call(1, 1) for _ in range(20)), request_bytes=3000)
    found = size("p90", history, SHAPE)
    assert isinstance(found, Sized)
    assert found.amount_pico == 334 * 1000 + 10 * PICO  # of each byte


def test_fees_and_searches_do_not_grow_with_the_request() -> None:
    book = book_of([Cell("house", "m", "", {"input_uncached": "1", "output_text": "10", "requests": "500"})])
    history = history_of(*(call(100, 10, book) for _ in range(20)), request_bytes=100)
    found = size("p90", history, SHAPE, book)
    assert isinstance(found, Sized)
    assert found.amount_pico == (1000 + 100 + 500) * PICO


def test_another_book_prices_the_past_calls_again() -> None:
    history = history_of(*(call(100, 10) for _ in range(5)), *(call(100, 10, DEARER) for _ in range(15)))
    assert size("p90", history) == Sized(200 * PICO, "history", 20, 100, 10)
    assert size("p90", history, book=DEARER) == Sized(500 * PICO, "history", 20, 100, 10)
    repriced = history.repriced(DEARER, "house", "m", NOW_US)
    assert repriced.repriced(DEARER, "house", "m", NOW_US) is repriced
    assert size("p90", repriced, book=DEARER) == size("p90", history, book=DEARER)


def test_a_past_call_is_priced_again_as_the_model_that_answered() -> None:
    cells = [
        Cell("house", "m", "", {"input_uncached": "1", "output_text": "10"}),
        Cell("house", "m-2", "", {"input_uncached": "7", "output_text": "70"}),
    ]
    book = book_of(cells)
    history = history_of(*(call(100, 10, answered="m-2") for _ in range(20)))
    assert size("p90", history, book=book) == Sized(1400 * PICO, "history", 20, 100, 10)


def test_the_context_of_a_past_call_is_its_own() -> None:
    cells = [
        Cell("house", "m", "", {"input_uncached": "1", "output_text": "10"}),
        Cell("house", "m", "service_tier=flex", {"input_uncached": "0.5", "output_text": "5"}),
    ]
    history = history_of(*(call(100, 10, DEARER, pricing_context={"service_tier": "flex"}) for _ in range(20)))
    assert size("p90", history, book=book_of(cells)) == Sized(100 * PICO, "history", 20, 100, 10)


def test_books_by_which_no_call_is_priced_any_more_are_forgotten() -> None:
    history = history_of(*(call(1, 1) for _ in range(10)), *(call(1, 1, DEARER) for _ in range(HISTORY_CALLS_MAX)))
    assert history.rows["books"] == [DEARER.sha256]
    mixed = history_of(*(call(1, 1) for _ in range(10)), *(call(1, 1, DEARER) for _ in range(HISTORY_CALLS_MAX - 1)))
    assert mixed.rows["books"] == [BOOK.sha256, DEARER.sha256]
    assert size("p99", mixed, book=DEARER) == size("p99", history, book=DEARER)


def test_a_call_stays_with_its_book_where_an_older_one_is_forgotten() -> None:
    third = book_of([Cell("house", "m", "", {"input_uncached": "5", "output_text": "50"})])
    old, later, last = (call(100, 10, book) for book in (BOOK, DEARER, third))
    history = history_of(*[old] * 10, *[later] * 50, *[last] * 50)
    assert history.rows["books"] == [DEARER.sha256, third.sha256]
    assert [row[0] for row in history.rows["calls"]] == [0] * 50 + [1] * 50
    assert sorted({row[3] + row[5] for row in history.rows["calls"]}) == [500 * PICO, 1000 * PICO]
    assert size("p99", history, book=BOOK) == Sized(200 * PICO, "history", 100, 100, 10)


def test_calls_that_were_unpriced_count_once_a_book_prices_them() -> None:
    nothing = book_of([Cell("house", "other", "", {"input_uncached": "1"})])
    history = history_of(*(call(100, 10, nothing) for _ in range(20)))
    assert isinstance(size("p90", history, book=nothing), Unpriced)
    assert size("p90", history) == Sized(200 * PICO, "history", 20, 100, 10)


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9) | st.none()), max_size=25)
)
def test_a_history_is_the_same_from_its_rows(calls: list[tuple[int, int, int | None]]) -> None:
    history = History()
    for input_tokens, output_tokens, request_bytes in calls:
        history = history.add(call(input_tokens, output_tokens), request_bytes=request_bytes)
    again = History(orjson.loads(orjson.dumps(history.rows)))
    assert again.rows == history.rows
    for policy in ("p50", "p90", "p99"):
        assert size(policy, again, SHAPE) == size(policy, history, SHAPE)


def test_adding_a_call_changes_no_history() -> None:
    history = history_of(call(1, 1), call(2, 2, DEARER))
    before = orjson.dumps(history.rows)
    history.add(call(3, 3), request_bytes=7)
    history.repriced(DEARER, "house", "m", NOW_US)
    assert orjson.dumps(history.rows) == before


@pytest.mark.parametrize("rows", [None, [], {}, {"form": 2, "books": [], "calls": [[1]]}, "rows"])
def test_rows_of_another_form_are_no_calls(rows: object) -> None:
    assert len(History(rows)) == 0


def test_prompts_and_models_are_remembered_apart() -> None:
    keys = {
        history_key("p", "m", None),
        history_key("p", "m", "a"),
        history_key("p", "n", "a"),
        history_key("q", "m", "a"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("policy", "shape", "input_tokens", "output_tokens"),
    [
        ("p50", SHAPE, 278, 252),
        ("p90", SHAPE, 417, 1616),
        ("p99", SHAPE, 770, 7352),
        ("p90", {**SHAPE, "max_output_tokens": 300}, 417, 300),
        ("p90", {**SHAPE, "max_output_tokens": 300, "choices": 2}, 417, 600),
        ("p90", {**SHAPE, "max_output_tokens": 50_000}, 417, 1616),
        ("p50", None, 1020, 252),
        ("p90", {}, 3675, 1616),
    ],
)
def test_at_cold_start_the_priors_hold(
    policy: str, shape: dict[str, Any] | None, input_tokens: int, output_tokens: int
) -> None:
    expected = Sized((input_tokens + 10 * output_tokens) * PICO, "prior", 0, input_tokens, output_tokens)
    assert size(policy, None, shape) == expected
    assert size(policy, History(), shape) == expected


def test_a_model_that_does_not_reason_is_expected_to_say_less() -> None:
    plain, reasoning = (
        size_hold(
            "p50", book=shipped(), provider="openai", model=model, at_us=NOW_US, context={}, shape=None, history=None
        )
        for model in ("gpt-4o", "gpt-5")
    )
    assert isinstance(plain, Sized)
    assert isinstance(reasoning, Sized)
    assert (plain.output_tokens, reasoning.output_tokens) == (129, 252)


def test_a_picture_is_not_expected_to_be_more_than_a_context_window() -> None:
    shape = {**SHAPE, "bytes": 10**7, "self_contained": False}
    found = size_hold("p90", book=shipped(), provider="openai", model="gpt-4o", at_us=NOW_US, context={}, shape=shape,
                      history=None)  # fmt: skip
    assert isinstance(found, Sized)
    assert found.input_tokens == 128_000


def test_a_model_without_a_price_for_output_has_none() -> None:
    book = book_of([Cell("house", "m", "", {"input_uncached": "1"})])
    assert size("p90", None, SHAPE, book) == Sized(417 * PICO, "prior", 0, 417, 0)


@pytest.mark.parametrize("policy", ["p50", "p90", "p99", "max"])
def test_a_model_that_is_not_in_the_book_has_no_size(policy: str) -> None:
    found = size(policy, history_of(*(call(1, 1) for _ in range(100))), SHAPE, model="other")
    assert isinstance(found, Unpriced)
    assert "other" in found.reason
    assert "house" in found.reason


@pytest.mark.parametrize("calls", [0, 20])
def test_a_model_that_was_withdrawn_has_no_size(calls: int) -> None:
    prices: dict[str, str | None] = {"input_uncached": "1", "output_text": "10"}
    book = book_of([
        Cell("house", "m", "", prices, valid_to_us=NOW_US),
        Cell("house", "m", "", dict.fromkeys(prices), valid_from_us=NOW_US),
    ])  # fmt: skip
    found = size("p90", history_of(*(call(100, 10) for _ in range(calls))), SHAPE, book)
    assert isinstance(found, Unpriced)
    assert "input_uncached" in found.reason


def test_what_costs_nothing_is_free() -> None:
    book = book_of([Cell("house", "m", "", {"input_uncached": "0", "output_text": "0"})])
    limited = shape_of({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9})
    learned = history_of(*(call(100, 10, book) for _ in range(20)))
    for policy, history in (("p90", None), ("p90", learned), ("max", None)):
        found = size(policy, history, limited, book)
        assert isinstance(found, Sized)
        assert (found.amount_pico, found.method) == (0, "free")


def test_max_is_the_bound_whatever_was_learned() -> None:
    limited = shape_of({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9})
    cheap = history_of(*(call(1, 1) for _ in range(100)))
    found = size("max", cheap, limited)
    assert isinstance(found, Sized)
    assert found == size("max", None, limited)
    assert found.method == "bound"
    assert found.amount_pico == ((found.input_tokens or 0) + 10 * 9) * PICO
    assert isinstance(size("max", cheap, {**limited, "unbounded": "web_search"}), Unbounded)
    assert isinstance(size("max", cheap, None), Unbounded)


def at_rate(policy: str, shape: dict[str, Any] | None, history: History | None = None) -> Sized | Unbounded:
    """The size of a hold at two dollars per million of any token."""
    return size_at_rate(policy, 2 * PICO, book=BOOK, provider="house", model="x", shape=shape, history=history)


def test_at_a_rate_every_token_costs_the_same() -> None:
    assert at_rate("p90", SHAPE) == Sized((417 + 1616) * 2 * PICO, "rate", 0, 417, 1616)
    learned = history_of(*(call(100, output) for output in range(1, 21)))
    assert at_rate("p90", SHAPE, learned) == Sized((100 + 19) * 2 * PICO, "rate", 20, 100, 19)
    few = history_of(call(1, 1), call(10**6, 5))
    assert at_rate("p90", SHAPE, few) == Sized((10**6 + 5) * 2 * PICO, "rate", 2, 10**6, 5)
    limited = shape_of({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9})
    bound = at_rate("max", limited)
    assert isinstance(bound, Sized)
    assert bound.amount_pico == ((bound.input_tokens or 0) + 9) * 2 * PICO
    assert isinstance(at_rate("max", {**limited, "unbounded": "mcp"}), Unbounded)
    assert isinstance(at_rate("max", None), Unbounded)


@pytest.mark.parametrize(("policy", "percent"), [("p50", 50), ("p90", 90), ("p99", 99)])
def test_it_covers_its_share_of_calls(policy: str, percent: int) -> None:
    """Whatever calls cost, as long as the next one is like the last ones: a share within three standard errors."""
    draw, history, covered, drawn = random.Random(percent), History(), 0, 2000
    for place in range(HISTORY_CALLS_MAX + drawn):
        data = call(max(1, int(draw.lognormvariate(6, 1))), max(1, int(draw.lognormvariate(5, 1.3))))
        if place >= HISTORY_CALLS_MAX:
            found = size(policy, history)
            assert isinstance(found, Sized)
            used = data["usage"]
            covered += found.amount_pico >= (used["input_uncached"] + 10 * used["output_text"]) * PICO
        history = history.add(data, request_bytes=None)
    share = percent / 100
    assert abs(covered / drawn - share) <= 3 * (share * (1 - share) / drawn) ** 0.5 + 0.01
