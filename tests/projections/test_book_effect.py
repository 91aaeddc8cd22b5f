"""What a change of prices does to calls: each call's cost by one book against its cost by another, whatever it was."""

from __future__ import annotations

from typing import Any

from keledger.journal import Home, Ledger, current_prices, replaced_layer, usd_to_pico
from keledger.journal.prices import Book, Cell, user_layer
from keledger.projections import BookEffect, effect_of_change, open_projection
from tests.journal.support import call, calls

MINI = {"input_uncached": 1_000_000}


def book_with(home: Home, *cells: Cell) -> Book:
    """The current book with these prices of the user; nothing is adopted."""
    current = current_prices(home)
    adoption = replaced_layer(current.manifest, "user", user_layer(cells, "2026-11-22"), "")
    current.store.hold(adoption.files)
    return current.store.load_book(adoption.manifest.sha256)


def current_book(home: Home) -> Book:
    current = current_prices(home)
    return current.store.load_book(current.manifest.sha256)


def effect(home: Home, old: Book, new: Book) -> BookEffect:
    with open_projection(home) as projection:
        return effect_of_change(projection, old, new)


def figures(found: BookEffect) -> dict[str, Any]:
    return {
        f"{row['provider']}/{row['model']}": (row["changed_calls"], row["before_usd"], row["after_usd"])
        for row in found.as_json()["models"]
    }


def record(home: Home, **fields: Any) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(usage_raw=None, **{"usage": MINI, **fields}))


def mini(price: str | None) -> Cell:
    return Cell("openai", "gpt-5-mini", "", {"input_uncached": price})


def test_only_models_whose_calls_change_are_told(home: Home) -> None:
    record(home)
    record(home, model="gpt-4o")
    found = effect(home, current_book(home), book_with(home, mini("1")))
    assert figures(found) == {"openai/gpt-5-mini": (1, "0.25", "1")}
    assert (found.counted_calls, found.total.calls, found.changes_most) == (2, 2, False)
    assert found.as_json()["totals"]["difference_usd"] == "0.75"


def test_a_change_that_was_adopted_before_is_not_told_again(home: Home) -> None:
    """What calls were recorded at does not count, but what the old prices would make of them."""
    record(home)
    record(home, model="house", provider="acme")
    with Ledger.open(home.path) as ledger:
        manifest = ledger.manifest()
        adoption = replaced_layer(manifest, "user", user_layer([mini("1")], "2026-11-22"), "")
        ledger.adopt_prices(adoption, "first", based_on=manifest.sha256)
    house = Cell("acme", "house", "", {"input_uncached": "3"})
    found = effect(home, current_book(home), book_with(home, mini("1"), house))
    assert figures(found) == {"acme/house": (1, None, "3")}
    assert (found.total.newly_priced, found.total.newly_unpriced) == (1, 0)
    back = effect(home, book_with(home, mini("1"), house), current_book(home))
    assert (back.total.newly_priced, back.total.newly_unpriced) == (0, 1)


def test_a_price_that_is_not_known_any_more_leaves_no_cost(home: Home) -> None:
    record(home)
    found = effect(home, current_book(home), book_with(home, mini(None)))
    assert figures(found) == {"openai/gpt-5-mini": (1, "0.25", None)}
    assert found.total.newly_unpriced == 1


def test_more_than_half_is_most(home: Home) -> None:
    record(home)
    record(home, model="gpt-4o")
    dearer = book_with(home, mini("1"))
    assert not effect(home, current_book(home), dearer).changes_most
    record(home)
    assert effect(home, current_book(home), dearer).changes_most


def test_unknown_and_reported_calls_are_counted_but_not_priced(home: Home) -> None:
    record(home, reported_cost_usd="7", model="unheard-of")
    with Ledger.open(home.path) as ledger:
        ledger.record(provider="openai", model="gpt-5-mini", status="unknown", error_type="TimeoutError")
    known = book_with(home, mini("1"), Cell("openai", "unheard-of", "", {"input_uncached": "1"}))
    found = effect(home, current_book(home), known)
    assert (found.models, found.counted_calls, found.reported_calls) == ((), 2, 1)


def test_the_figures_are_the_sums_of_what_calls_cost_by_each_book(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record_many([call(time=f"2026-11-{day:02}T12:00:00Z") for day in range(1, 21)])
    start = 1_794_787_200_000_000  # 2026-11-16T00:00Z
    old, new = current_book(home), book_with(home, mini("1")._replace(valid_from_us=start))
    expected = [
        sum(
            usd_to_pico(
                book.price(
                    provider="openai",
                    model="gpt-5-mini",
                    usage=event["data"]["usage"],
                    at_us=start + (number - 15) * 86_400_000_000 + 43_200_000_000,
                    context={},
                )["total_usd"]
            )
            for number, event in enumerate(calls(home))
        )
        for book in (old, new)
    ]
    found = effect(home, old, new)
    assert [found.total.before_pico, found.total.after_pico] == expected
    assert found.total.changed_calls == 5
