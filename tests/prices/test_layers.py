"""The bytes of layers: one spelling, checked in full, unreadable where they say what is not known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal._errors import InputRefused, JournalDamaged
from keledger.journal._time import parse_time
from keledger.journal.prices import Cell, LayerHeader, context_key, parse_layer, write_layer

from .conftest import PriceFolder

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

HEADER = LayerHeader("user", "mine", "the contract of 2026-11-01", "2026-11-21")
BASE = {"provider": "acme", "model": "one", "context": "", "usd_per_million": {"output_text": "2"}}


def layer_of(*cells: dict[str, object]) -> bytes:
    header = {"keledger_layer": 1, **HEADER._asdict()}
    lines = [json.dumps(each, separators=(",", ":")) for each in (header, *cells)]
    return ("\n".join(lines) + "\n").encode()


SPANS = st.tuples(st.integers(0, 2**50), st.integers(1, 2**50)).map(lambda pair: (pair[0], sum(pair)))
MINUTES = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda pair: pair[0] < pair[1])
PRICES = st.dictionaries(
    st.sampled_from(["input_uncached", "output_text"]), st.sampled_from(["0", "2.5", None]), min_size=1
)
CELLS = st.builds(
    lambda model, span, minutes, weekdays, over, prices: Cell(
        "acme", model, "", prices, *span, *minutes, weekdays, over, source="Preisliste für 2026"
    ),
    st.sampled_from(["one", "two", 'with "quotes"', "日本"]),
    SPANS,
    MINUTES,
    st.text("01", min_size=7, max_size=7).filter(lambda mask: "1" in mask),
    st.sampled_from([-1, 0, 200_000]),
    PRICES,
)


@steady
@given(st.lists(CELLS, max_size=4, unique_by=lambda cell: cell.model))
def test_a_layer_comes_back_and_has_one_spelling(cells: list[Cell]) -> None:
    content = write_layer(HEADER, cells)
    header, read = parse_layer(content)
    assert header == HEADER
    assert sorted(read) == sorted(cells)
    assert write_layer(HEADER, reversed(read)) == content


def test_a_cell_leaves_out_what_is_as_always() -> None:
    content = write_layer(HEADER, [Cell("acme", "one", "", {"output_text": "2", "cache_read": None})])
    assert content.splitlines()[1] == (
        b'{"provider":"acme","model":"one","context":"","usd_per_million":{"cache_read":null,"output_text":"2"}}'
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"usd_per_million": {"output_text": "2.0"}}, "is no price"),
        ({"usd_per_million": {"output_text": "-2"}}, "is no price"),
        ({"usd_per_million": {"output_text": "0.0000001"}}, "is no price"),
        ({"usd_per_million": {"output_text": 2}}, "is not text: 2"),
        ({"usd_per_million": {"Output": "2"}}, "is no name of a bucket"),
        ({"usd_per_million": {}}, "has no price"),
        ({"usd_per_million": {"output_text": "2", "cache_read": "1"}}, "not in its one spelling"),
        ({"provider": ""}, "provider is text of 1 to 256 bytes"),
        ({"model": "m" * 257}, "model is text of 1 to 256 bytes"),
        ({"context": "batch"}, "is not like key=value"),
        ({"context": "b=1,a=2"}, "are not in order"),
        ({"context": "a=1,a=2"}, "are not in order"),
        ({"valid_from": "2026-01-01"}, "is no UTC time"),
        ({"valid_from": "2026-02-30T00:00:00.000000Z"}, "is no time"),
        ({"minutes": [60, 60]}, "are not [from, to)"),
        ({"minutes": [990, 30]}, "split what passes midnight"),
        ({"minutes": [0, 1441]}, "are not [from, to)"),
        ({"minutes": [0.0, 60]}, "are not [from, to)"),
        ({"minutes": [0, 1440]}, "not in its one spelling"),
        ({"weekdays": "0000000"}, "is not seven of 0 and 1"),
        ({"weekdays": "11111"}, "is not seven of 0 and 1"),
        ({"input_over": -1}, "is no count"),
        ({"input_over": True}, "is no count"),
        ({"source": ""}, "source is text"),
        ({"date": "yesterday"}, "date is a day"),
        ({"region": "eu"}, "has region, which this release cannot read"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_refused_by_its_line(change: dict[str, object], sentence: str) -> None:
    cell = {key: {**BASE, **change}[key] for key in sorted({**BASE, **change}, key=_place)}
    with pytest.raises(InputRefused) as caught:
        parse_layer(layer_of(BASE, cell))
    assert [refusal.startswith("line 3: ") for refusal in caught.value.refusals] == [True]
    assert sentence in caught.value.refusals[0]


def _place(key: str) -> int:
    order = (
        "provider", "model", "context", "valid_from", "valid_to", "minutes", "weekdays", "input_over",
        "usd_per_million", "source", "date", "carried_from", "region",
    )  # fmt: skip
    return order.index(key)


def test_an_empty_validity_is_refused() -> None:
    instant = parse_time("2026-01-01T00:00:00Z")
    cell = Cell("acme", "one", "", {"output_text": "2"}, valid_from_us=instant, valid_to_us=instant)
    with pytest.raises(InputRefused, match="valid_from is not before valid_to"):
        write_layer(HEADER, [cell])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not end with a line feed"),
        (layer_of(BASE)[:-1], "does not end with a line feed"),
        (b"\xff\n", "not UTF-8"),
        (b"{}\n", "begins with a line"),
        (b'{"keledger_layer":2}\n', "begins with a line"),
        (b"[1]\n", "not a JSON object"),
        (layer_of(BASE).replace(b'"user"', b'"rumour"'), "is none of user, imported, list"),
        (layer_of(BASE).replace(b'"2026-11-21"', b'"today"'), "is no day"),
        (layer_of(BASE).replace(b'"kind":', b'"hint":1,"kind":'), "has just keledger_layer, kind"),
        (layer_of(BASE).replace(b'{"keledger', b'{ "keledger'), "not in its one spelling"),
        (layer_of(BASE, BASE), "out of order or twice there"),
        (layer_of({**BASE, "model": "two"}, BASE), "out of order"),
        (layer_of(BASE).replace(b'"context":""', b'"context":"","context":""'), "not in its one spelling"),
    ],
)
def test_a_wrong_file_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(InputRefused, match=sentence):
        parse_layer(content)


OVERLAPPING = [
    ({}, {"valid_from_us": 10}, True),
    ({"valid_to_us": 10}, {"valid_from_us": 10}, False),
    ({"valid_to_us": 11}, {"valid_from_us": 10}, True),
    ({"minute_to": 60}, {"minute_from": 60}, False),
    ({"minute_to": 61}, {"minute_from": 60}, True),
    ({"minute_from": 60}, {"minute_to": 60, "valid_from_us": 10}, False),
    ({"minute_from": 60}, {"minute_to": 61, "valid_from_us": 10}, True),
    ({"weekdays": "1111100"}, {"weekdays": "0000011"}, False),
    ({"weekdays": "1111100"}, {"weekdays": "0000111"}, True),
    ({}, {"input_over": 200_000}, False),
    ({}, {"context": "processing=batch"}, False),
    ({}, {"valid_from_us": 10, "usd_per_million": {"input_uncached": "1"}}, False),
]


@pytest.mark.parametrize(("first", "second", "overlap"), OVERLAPPING)
def test_two_prices_for_one_bucket_never_overlap(
    first: dict[str, object], second: dict[str, object], overlap: bool
) -> None:
    cells = [Cell("acme", "one", "", {"output_text": "2"})._replace(**change) for change in (first, second)]
    if overlap:
        with pytest.raises(InputRefused, match="two prices of acme/one overlap for output_text"):
            write_layer(HEADER, cells)
    else:
        assert len(parse_layer(write_layer(HEADER, cells))[1]) == 2


def test_a_context_has_one_spelling() -> None:
    assert context_key({"speed": "fast", "processing": "batch"}) == "processing=batch,speed=fast"
    assert context_key({}) == ""


def test_a_condition_of_a_later_release_is_not_ignored(prices: PriceFolder) -> None:
    later = layer_of({**BASE, "region": "eu"})
    reference = prices.layer("user", Cell("acme", "one", "", {"output_text": "2"}))
    book = prices.book([reference._replace(sha256=prices.keep(later))])
    with pytest.raises(JournalDamaged, match="has region, which this release cannot read"):
        book.price(provider="acme", model="one", usage={"output_text": 1}, at_us=0, context={})
