"""The user's own prices: whatever is set and taken back, at any instant the last word on a bucket holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal._errors import InputRefused
from keledger.journal._time import parse_time
from keledger.journal.prices import (
    ALWAYS_US,
    DAY_MINUTES,
    EVERY_DAY,
    Book,
    Cell,
    LayerHeader,
    PriceStore,
    Selection,
    inherited_prices,
    parse_layer,
    set_price,
    shipped_book,
    shipped_manifest,
    told_conditions,
    told_weekdays,
    unset_prices,
    user_cells,
    user_layer,
    write_layer,
)
from keledger.journal.prices._layer import Layer
from keledger.journal.prices._names import Names

from .conftest import PriceFolder

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

MONDAY = parse_time("2026-11-02T00:00:00Z")
MINUTE_US = 60 * 1_000_000
WEEK_US = 7 * DAY_MINUTES * MINUTE_US
TIMES = (-ALWAYS_US, MONDAY, MONDAY + 2 * WEEK_US, MONDAY + 4 * WEEK_US, ALWAYS_US)
"""Spans between these have every weekday in them, so that boxes that meet hold together at one of the places below."""
MINUTES = (0, 480, 1020, DAY_MINUTES)
BUCKETS = ("cache_read", "input_uncached", "output_text")
CONTEXTS = ("", "processing=batch")
TIERS = (-1, 100)
LISTED = {bucket: f"{number}00" for number, bucket in enumerate(BUCKETS, start=1)}


class Place(NamedTuple):
    """Where one price is in effect: everything that tells two of them apart."""

    at_us: int
    context: str
    input_over: int
    bucket: str


INSTANTS = [
    start + (day * DAY_MINUTES + minute) * MINUTE_US
    for start in (MONDAY - 2 * WEEK_US, *TIMES[1:-1])
    for day in range(7)
    for minute in MINUTES[:-1]
]
PLACES = [
    Place(at_us, context, tier, bucket)
    for at_us in INSTANTS
    for context in CONTEXTS
    for tier in TIERS
    for bucket in BUCKETS
]


class Step(NamedTuple):
    """One thing that a user does: sets the cell, cutting others or not, or takes back what is selected."""

    cell: Cell | None = None
    replace: bool = False
    selection: Selection | None = None

    def means(self, place: Place) -> bool:
        """Whether it says something of the price at a place."""
        if self.cell is not None:
            same = (self.cell.context, self.cell.input_over) == (place.context, place.input_over)
            holds = self.cell._replace(input_over=-1).holds(place.at_us, 0)
            return same and holds and place.bucket in self.cell.usd_per_million
        assert self.selection is not None
        chosen = self.selection
        return (
            chosen.context in (None, place.context)
            and chosen.input_over in (None, place.input_over)
            and chosen.valid_from_us <= place.at_us < chosen.valid_to_us
            and (not chosen.buckets or place.bucket in chosen.buckets)
        )


def spans(bounds: Sequence[int]) -> st.SearchStrategy[tuple[int, int]]:
    pairs = [(start, end) for start in bounds for end in bounds if start < end]
    return st.sampled_from(pairs)


SETS = st.builds(
    lambda context, prices, span, minutes, weekdays, over, replace: Step(
        Cell("acme", "one", context, prices, *span, *minutes, weekdays, over, source="mine"), replace
    ),
    st.sampled_from(["", "", *CONTEXTS]),  # most of them meet
    st.dictionaries(st.sampled_from(BUCKETS), st.sampled_from(["0", "1", "2.5", "7"]), min_size=1),
    spans(TIMES),
    spans(MINUTES),
    st.sampled_from([EVERY_DAY, "1111100", "0000011", "0000001"]),
    st.sampled_from([-1, -1, *TIERS]),
    st.sampled_from([True, True, False]),
)
UNSETS = st.builds(
    lambda buckets, context, over, span: Step(
        selection=Selection("acme", "one", frozenset(buckets), context, over, *span)
    ),
    st.sets(st.sampled_from(BUCKETS), max_size=2),
    st.sampled_from([None, *CONTEXTS]),
    st.sampled_from([None, *TIERS]),
    spans(TIMES),
)


def book_of(cells: Sequence[Cell]) -> Book:
    """A book of one's own prices above a list that has a price for every bucket."""
    listed = [Cell("acme", "one", context, LISTED) for context in CONTEXTS]
    layers = [write_layer(LayerHeader("list", "list", "a test", "2026-11-21"), listed)]
    own = user_layer(cells, "2026-11-22")
    if own is not None:
        layers.insert(0, own)
    names = shipped_book()[1][shipped_manifest().names]
    return Book("0" * 64, [Layer(content, "here") for content in layers], Names(names, "here"))


@settings(steady, max_examples=100)
@given(st.lists(st.one_of(SETS, SETS, SETS, UNSETS), max_size=8))
def test_the_last_word_on_a_bucket_holds_at_each_instant(steps: list[Step]) -> None:
    cells: tuple[Cell, ...] = ()
    prices: dict[Place, str] = {}
    for step in steps:
        meant = [place for place in PLACES if step.means(place)]
        taken = [place for place in meant if place in prices]
        try:
            if step.cell is not None:
                cells = set_price(cells, step.cell, replace=step.replace)
            elif step.selection is not None:
                cells, _ = unset_prices(cells, step.selection)
        except InputRefused:
            assert bool(taken) is (step.cell is not None)
            assert not step.replace
            continue
        assert bool(taken) or step.selection is None
        assert not taken or step.replace or step.cell is None
        for place in meant:
            if step.cell is None:
                prices.pop(place, None)
            else:
                price = step.cell.usd_per_million[place.bucket]
                assert price is not None
                prices[place] = price
    content = user_layer(cells, "2026-11-22")
    assert (content is None) is (prices == {})
    if content is not None:
        assert parse_layer(content)[1] == cells
    book = book_of(cells)
    for at_us in INSTANTS:
        for context in CONTEXTS:
            for size in (50, 150):
                tiers = [tier for tier in reversed(TIERS) if tier < size]
                expected = {
                    bucket: next(
                        (prices[place] for tier in tiers if (place := Place(at_us, context, tier, bucket)) in prices),
                        LISTED[bucket],
                    )
                    for bucket in BUCKETS
                }
                assert priced(book, at_us, context, size) == expected


def priced(book: Book, at_us: int, context: str, size: int) -> dict[str, str]:
    """The price of each bucket of a request of this size."""
    pairs = dict(pair.split("=") for pair in context.split(",") if pair)
    usage = {"input_uncached": size - 1, "cache_read": 1, "output_text": 1}
    cost = book.price(provider="acme", model="one", usage=usage, at_us=at_us, context=pairs)
    return {line["bucket"]: line["usd_per_million"] for line in cost["lines"]}


def cell(prices: dict[str, str | None] | str = "1", **terms: Any) -> Cell:
    each = {"output_text": prices} if isinstance(prices, str) else prices
    return Cell("acme", "one", "", each)._replace(**terms)


def test_a_box_within_a_box_leaves_what_is_around_it() -> None:
    old = cell({"output_text": "1", "cache_read": "3"}, weekdays="1111100", minute_from=60, minute_to=1200)
    new = cell(
        "2", valid_from_us=MONDAY, valid_to_us=MONDAY + WEEK_US, weekdays="0011110", minute_from=480, minute_to=720
    )
    span = {"valid_from_us": MONDAY, "valid_to_us": MONDAY + WEEK_US}
    text = old._replace(usd_per_million={"output_text": "1"})
    assert set(map(repr, set_price([old], new, replace=True))) == {
        repr(each)
        for each in (
            new,
            old._replace(usd_per_million={"cache_read": "3"}),
            text._replace(valid_to_us=MONDAY),
            text._replace(valid_from_us=MONDAY + WEEK_US),
            text._replace(**span, weekdays="1100000"),
            text._replace(**span, weekdays="0011100", minute_to=480),
            text._replace(**span, weekdays="0011100", minute_from=720),
        )
    }


def test_a_price_that_is_in_the_way_is_named() -> None:
    old = cell({"output_text": "1", "cache_read": "3"}, valid_from_us=MONDAY, weekdays="1111100", minute_to=480)
    with pytest.raises(InputRefused) as refused:
        set_price([old], cell("2"))
    assert str(refused.value) == (
        "acme/one has a price of yours already, output_text 1 (from 2026-11-02, 00:00-08:00 UTC, mon-fri): "
        "replace it (--replace), or choose terms for which it does not hold"
    )


def test_what_is_not_set_cannot_be_taken_back() -> None:
    with pytest.raises(InputRefused, match="no price of acme/one was set by you: nothing to take back"):
        unset_prices([cell(model="two")], Selection("acme", "one"))
    with pytest.raises(InputRefused, match=r"fits that; there is: output_text 1 \(above 100 input tokens\)"):
        unset_prices([cell(input_over=100)], Selection("acme", "one", input_over=200))


def test_what_is_taken_back_is_told_and_other_models_stay() -> None:
    other = cell(model="two")
    left, removed = unset_prices([cell(), other], Selection("acme", "one", valid_from_us=MONDAY))
    assert removed == (cell(valid_from_us=MONDAY),)
    assert left == (cell(valid_to_us=MONDAY), other)


def test_each_price_keeps_where_it_comes_from() -> None:
    """Prices of two buckets that begin alike and end apart are two cells, each with its own reason."""
    first = cell({"input_uncached": "1"}, valid_from_us=MONDAY, source="one")
    second = cell({"output_text": "2"}, valid_from_us=MONDAY, valid_to_us=MONDAY + WEEK_US, source="two")
    cells = set_price([first], second)
    content = user_layer(cells, "2026-11-22")
    assert content is not None
    assert {each.source: set(each.usd_per_million) for each in parse_layer(content)[1]} == {
        "one": {"input_uncached"},
        "two": {"output_text"},
    }


def test_the_user_layer_is_found_in_its_book(prices: PriceFolder) -> None:
    reference = prices.layer("user", cell())
    manifest = shipped_manifest()
    book = prices.book([reference, *manifest.layers])
    store = PriceStore(prices.folder)
    assert user_cells(store.load_manifest(book.sha256), store) == (cell(),)
    assert user_cells(manifest, store) == ()
    assert user_layer((), "2026-11-22") is None


INPUT = {"input_uncached": "2"}
ALL_INPUT = {**INPUT, "cache_read": "2", "cache_write_5m": "2", "cache_write_1h": "2"}
INHERITING: list[tuple[str, dict[str, str], list[Cell], list[str], dict[str, str]]] = [
    ("nobody has a price", INPUT, [], [], ALL_INPUT),
    ("a list has one", INPUT, [], ["cache_read", "cache_write_5m", "cache_write_1h"], INPUT),
    ("a list has some", INPUT, [], ["cache_write_5m", "cache_write_1h"], {**INPUT, "cache_read": "2"}),
    ("it is given", {**INPUT, "cache_read": "0"}, [], [], {**ALL_INPUT, "cache_read": "0"}),
    (
        "an hour follows five minutes",
        {"cache_write_5m": "3"},
        [],
        [],
        {"cache_write_5m": "3", "cache_write_1h": "3"},
    ),
    ("output", {"output_text": "5"}, [], ["output_reasoning"], {"output_text": "5", "output_reasoning": "5"}),
    (
        "reasoning is given",
        {"output_text": "5", "output_reasoning": "6"},
        [],
        [],
        {"output_text": "5", "output_reasoning": "6"},
    ),
    ("what followed before follows again", INPUT, [cell({**dict.fromkeys(ALL_INPUT, "1")})], [], ALL_INPUT),
    (
        "what has a price of its own keeps it",
        INPUT,
        [cell({"input_uncached": "1", "cache_read": "0.1"})],
        [],
        {bucket: price for bucket, price in ALL_INPUT.items() if bucket != "cache_read"},
    ),
    (
        "its own price on other terms does not count",
        INPUT,
        [cell({"cache_read": "0.1"}, input_over=100)],
        [],
        ALL_INPUT,
    ),
]


@pytest.mark.parametrize(
    ("asked", "own", "weaker", "expected"), [case[1:] for case in INHERITING], ids=[case[0] for case in INHERITING]
)
def test_what_follows_from_a_price_is_written_out(
    asked: dict[str, str], own: list[Cell], weaker: list[str], expected: dict[str, str]
) -> None:
    assert inherited_prices(asked, own, weaker, cell(dict(asked))) == expected


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({}, "always"),
        (
            {"valid_from_us": MONDAY + 1, "valid_to_us": MONDAY + MINUTE_US},
            "from 2026-11-02T00:00:00.000001Z, until 2026-11-02T00:01Z",
        ),
        (
            {"context": "processing=batch", "minute_from": 60, "input_over": 5},
            "processing=batch, 01:00-24:00 UTC, above 5 input tokens",
        ),
    ],
)
def test_terms_are_told_in_words(terms: dict[str, Any], told: str) -> None:
    assert told_conditions(cell(**terms)) == told


@pytest.mark.parametrize(
    ("mask", "told"),
    [("1111100", "mon-fri"), ("0000011", "sat,sun"), ("1010101", "mon,wed,fri,sun"), ("1110011", "mon-wed,sat,sun")],
)
def test_weekdays_are_told_by_their_names(mask: str, told: str) -> None:
    assert told_weekdays(mask) == told
