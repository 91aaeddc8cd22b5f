"""What a new list dropped: every price that the old one knew and the new one does not is still told, and marked."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.prices import Cell, LayerHeader, write_layer
from keledger.journal.prices.sources import carry_names, carry_over

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

DAYS = 8
ALWAYS_US = 2**62
HEADER = LayerHeader("imported", "acme", "a test", "2026-11-22")


def cell(price: str, since: int = -ALWAYS_US, until: int = ALWAYS_US, **fields: object) -> Cell:
    return Cell("acme", "one", "", {"input_uncached": price}, since, until)._replace(**fields)


@st.composite
def layers(draw: st.DrawFn) -> list[Cell]:
    """Cells of a few models in disjoint spans; some are told by tier, some only at an hour."""
    cells = []
    for model in ("one", "two"):
        for context in ("", "processing=batch"):
            bounds = sorted(draw(st.sets(st.integers(0, DAYS), max_size=4)))
            for since, until in pairwise(bounds):
                if draw(st.booleans()):
                    for over in draw(st.sampled_from([[-1], [-1, 1000]])):
                        price = draw(st.sampled_from(["1", "2"]))
                        cells.append(cell(price, since, until, model=model, context=context, input_over=over))
    return cells


def at(cells: list[Cell], model: str, context: str, day: int) -> dict[int, str | None]:
    """The prices of one instant by tier."""
    return {
        each.input_over: each.usd_per_million["input_uncached"]
        for each in cells
        if (each.model, each.context) == (model, context) and each.valid_from_us <= day < each.valid_to_us
    }


@steady
@given(new=layers(), old=layers())
def test_the_new_list_holds_where_it_says_something_and_the_old_one_elsewhere(new: list[Cell], old: list[Cell]) -> None:
    merged = carry_over(new, old, "old 1")
    told = [*merged.new, *merged.carried]
    write_layer(HEADER, told)  # no overlap
    for model in ("one", "two"):
        for context in ("", "processing=batch"):
            for day in range(DAYS):
                expected = at(new, model, context, day) or at(old, model, context, day)
                assert at(told, model, context, day) == expected
                carried = at(list(merged.carried), model, context, day)
                assert not (carried and at(new, model, context, day))
    assert all(each.carried_from == "old 1" for each in merged.carried)
    assert all(each.carried_from is None for each in merged.new)


@steady
@given(new=layers(), old=layers())
def test_carrying_twice_changes_nothing(new: list[Cell], old: list[Cell]) -> None:
    once = carry_over(new, old, "old 1")
    first = [*once.new, *once.carried]
    twice = carry_over(new, first, "new 2")
    content = [write_layer(HEADER, cells) for cells in (first, [*twice.new, *twice.carried])]
    assert content[0] == content[1]


def test_an_unchanged_price_goes_on_and_a_changed_one_keeps_its_past() -> None:
    old = [cell("1", 1), cell("5", 1, model="two"), cell("9", 1, model="gone")]
    new = [cell("1", 4), cell("6", 4, model="two")]
    merged = carry_over(new, old, "list 1")
    assert merged.new == (cell("1", 1), cell("6", 4, model="two"))
    assert merged.carried == (
        cell("5", 1, 4, model="two", carried_from="list 1"),
        cell("9", 1, model="gone", carried_from="list 1"),
    )


def test_what_was_carried_once_keeps_saying_from_where() -> None:
    merged = carry_over([], [cell("1", carried_from="list 1")], "list 2")
    assert [each.carried_from for each in merged.carried] == ["list 1"]


def names(*rules: dict[str, object]) -> bytes:
    header = {"keledger_names": 1, "provider_aliases": {"acme": "acme"}}
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (header, *rules)).encode()


def test_the_names_of_carried_models_are_carried_behind_the_new_rules() -> None:
    new = names({"provider": "acme"}, {"provider": "acme", "model": "one", "exact": ["one"]})
    old = names(
        {"provider": "acme"},
        {"provider": "acme", "model": "one", "exact": ["1"]},
        {"provider": "acme", "model": "two", "exact": ["two"], "starts_with": ["two-"]},
        {"provider": "acme", "model": "three", "exact": ["three"]},
        {"provider": "gone", "fallbacks": ["acme"]},
        {"provider": "gone", "model": "four", "exact": ["four"]},
    )
    carried = carry_names(new, old, {("acme", "one"), ("acme", "two"), ("gone", "four")}, "list 1")
    header, *lines = [json.loads(line) for line in carried.splitlines()]
    assert lines == [
        {"provider": "acme"},
        {"provider": "acme", "model": "one", "exact": ["one"]},
        {"provider": "acme", "model": "two", "exact": ["two"], "starts_with": ["two-"], "carried_from": "list 1"},
        {"provider": "gone", "fallbacks": ["acme"]},
        {"provider": "gone", "model": "four", "exact": ["four"], "carried_from": "list 1"},
    ]
    assert header["provider_aliases"] == {"acme": "acme", "gone": "gone"}
    assert carry_names(new, carried, {("acme", "two"), ("gone", "four")}, "list 2") == carried


def test_nothing_carried_leaves_the_names_as_they_are() -> None:
    from keledger.journal.prices import shipped_book, shipped_manifest

    shipped = shipped_book()[1][shipped_manifest().names]
    assert carry_names(shipped, shipped, set(), "list 1") == shipped
