"""What differs between two books: just those prices that calls would notice."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.prices import (
    ALWAYS_US,
    DAY_MINUTES,
    INPUT_MAX,
    Book,
    Cell,
    PriceChange,
    changed_prices,
    price_rows,
    set_price,
    shipped_manifest,
)

from .conftest import PriceFolder
from .test_editing import BUCKETS, CONTEXTS, INSTANTS, MINUTE_US, MONDAY, SETS, WEEK_US, Step, book_of, priced, steady


def cells_of(steps: list[Step]) -> tuple[Cell, ...]:
    cells: tuple[Cell, ...] = ()
    for step in steps:
        assert step.cell is not None
        cells = set_price(cells, step.cell, replace=True)
    return cells


def holds(change: PriceChange, at_us: int, context: str, size: int) -> bool:
    week_us = (at_us - MONDAY) % WEEK_US
    return (
        change.context == context
        and change.valid_from_us <= at_us < change.valid_to_us
        and change.week_from_us <= week_us < change.week_to_us
        and change.input_over < size <= change.input_to
    )


@settings(steady, max_examples=60)
@given(st.lists(SETS, max_size=4), st.lists(SETS, max_size=4))
def test_the_changes_are_what_calls_would_notice(before: list[Step], after: list[Step]) -> None:
    old, new = book_of(cells_of(before)), book_of(cells_of(after))
    changes = list(changed_prices(old, new))
    assert all(change.old != change.new for change in changes)
    for at_us, context, size in product(INSTANTS, CONTEXTS, (50, 150)):
        was, now = priced(old, at_us, context, size), priced(new, at_us, context, size)
        told = {change.bucket: (change.old, change.new) for change in changes if holds(change, at_us, context, size)}
        assert told == {bucket: (was[bucket], now[bucket]) for bucket in BUCKETS if was[bucket] != now[bucket]}


def test_neighbours_that_change_alike_are_one_change() -> None:
    parts = [
        Cell("acme", "one", "", {"output_text": "1"}, MONDAY, MONDAY + WEEK_US),
        Cell("acme", "one", "", {"output_text": "1"}, MONDAY + WEEK_US, ALWAYS_US, minute_to=480),
        Cell("acme", "one", "", {"output_text": "1"}, MONDAY + WEEK_US, ALWAYS_US, minute_from=480),
        Cell("acme", "one", "", {"output_text": "1"}, MONDAY, ALWAYS_US, input_over=100),
    ]
    whole = PriceChange("acme", "one", "", "output_text", "300", "1", MONDAY, ALWAYS_US, 0, WEEK_US, -1, INPUT_MAX)
    assert list(changed_prices(book_of(()), book_of(parts))) == [whole]
    assert list(changed_prices(book_of(parts[:1]), book_of(parts[:1]))) == []


def test_peak_hours_stay_apart() -> None:
    peak = Cell("acme", "one", "", {"output_text": "1"}, minute_from=60, minute_to=120, weekdays="1000000")
    (change,) = changed_prices(book_of(()), book_of([peak]))
    assert (change.week_from_us, change.week_to_us) == (60 * MINUTE_US, 120 * MINUTE_US)
    assert DAY_MINUTES * MINUTE_US * 7 == WEEK_US


def test_prices_that_come_and_go_are_told(prices: PriceFolder) -> None:
    with_text, with_cache = (
        prices.book([prices.layer("user", Cell("acme", "one", "", {bucket: "1"}))])
        for bucket in ("output_text", "cache_read")
    )
    told = [(change.bucket, change.old, change.new) for change in changed_prices(with_text, with_cache)]
    assert told == [("cache_read", None, "1"), ("output_text", "1", None)]
    (gone,) = changed_prices(with_text, prices.book([]))
    assert (gone.bucket, gone.old, gone.new) == ("output_text", "1", None)


def test_the_same_prices_in_other_layers_are_no_change(prices: PriceFolder) -> None:
    cell = Cell("acme", "one", "", {"output_text": "1"})
    books = [prices.book([prices.layer(kind, cell)]) for kind in ("user", "list")]
    assert list(changed_prices(*books)) == []


def test_the_order_of_layers_alone_may_change_prices(prices: PriceFolder) -> None:
    one, two = (prices.layer("imported", Cell("acme", "one", "", {"output_text": price})) for price in ("1", "2"))
    (change,) = changed_prices(prices.book([one, two]), prices.book([two, one]))
    assert (change.old, change.new) == ("1", "2")


def test_all_prices_of_a_name_by_rule(shipped: Book) -> None:
    """A dated name has the prices of what it means, on every term."""
    rows = list(price_rows(shipped, "openai", "gpt-5-mini-2025-08-07"))
    assert {row.context for row in rows} >= {"", "processing=batch", "service_tier=flex"}
    assert {row.new for row in rows if (row.context, row.bucket) == ("", "input_uncached")} == {"0.25"}
    assert all(row.old is None for row in rows)


def test_a_price_for_one_name_changes_that_name_alone(prices: PriceFolder) -> None:
    shipped = shipped_manifest().layers
    own = prices.layer("user", Cell("openai", "gpt-5-mini-2025-08-07", "", {"input_uncached": "9"}))
    (change,) = changed_prices(prices.book(shipped), prices.book([own, *shipped]))
    assert (change.model, change.old, change.new) == ("gpt-5-mini-2025-08-07", "0.25", "9")
