"""What a line holds: every cost, spelling and later key that may stand in a journal is nothing wrong."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Home, verify
from keledger.journal._line import TAIL_BYTES
from keledger.journal._verify_call import cost_flaw
from keledger.journal._verify_segment import _Lines
from keledger.journal._verify_spelling import repeated_keys, spelling_flaw
from keledger.journal.prices import BUCKETS, Book, Cell
from tests.journal.tampering import chained, lines_of
from tests.prices.conftest import PriceFolder

from .support import own
from .wrong_calls import VOID, add_wrong, data_of, misspelt, unpriced


def test_keys_that_a_later_release_added_are_kept_and_nothing_wrong(home: Home) -> None:
    add_wrong(home, data=data_of(home, moon="full"))
    add_wrong(home, type="call.voided", data={**VOID, "moon": "full"})
    add_wrong(home, data=data_of(home, moon={"text": 'a key": 1.5}, twice, "a key": .5]'}))
    unpriced()(home)
    assert verify(home).findings == []


def test_other_spellings_of_the_same_are_nothing_wrong(home: Home) -> None:
    """Another writer of the format may put white space and escapes where it likes; keys of one name may stand apart."""
    misspelt(b'"provider":"openai"', b'"provider" : "\\u006fpenai"')(home)
    misspelt(b'"data":{', b'"data": {\t')(home)
    misspelt(b'"usage":', b'"moon":[{"usage":1},{"usage":{"usage":"\\",\\"usage\\":"}}],"usage" :')(home)
    misspelt(b'"a":1', b'"a":' + b"[" * 900 + b"]" * 900, type="moon.phased", data={"a": 1})(home)
    assert verify(home).findings == []


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Book]:
    """The shipped book, and one in which a request has its fee."""
    prices = PriceFolder(tmp_path_factory.mktemp("books") / "prices")
    fee = prices.layer("user", Cell("openai", "gpt-5-mini", "", {"requests": "10000", "web_searches": "0"}))
    return prices.book(prices.shipped_layers()), prices.book([fee, *prices.shipped_layers()])


@given(
    usage=st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 2**40), max_size=6),
    asked=st.sampled_from([("openai", "gpt-5-mini"), ("google", "gemini-2.5-flash"), ("openai", "no-such-model")]),
    reported=st.none() | st.sampled_from(["0", "0.25", "-3"]),
    usage_known=st.booleans(),
    has_fee=st.booleans(),
)
def test_every_cost_that_a_book_makes_is_nothing_wrong(
    books: tuple[Book, Book],
    usage: dict[str, int],
    asked: tuple[str, str],
    reported: str | None,
    usage_known: bool,
    has_fee: bool,
) -> None:
    cost = books[has_fee].price(
        provider=asked[0],
        model=asked[1],
        usage=usage,
        at_us=1_790_000_000_000_000,
        context={},
        reported_cost_usd=reported,
        usage_known=usage_known,
    )
    assert cost_flaw({"usage": usage, "cost": cost}) is None
    for state in {"priced", "reported", "unpriced", "unknown"} - {cost["state"]}:
        if cost["lines"]:
            assert cost_flaw({"usage": usage, "cost": {**cost, "state": state}}) is not None


@given(st.recursive(
    st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
))  # fmt: skip
def test_what_is_written_once_is_not_found_twice_however_it_is_spelled(value: object) -> None:
    data = {"value": value}
    for spelled in (orjson.dumps(data), json.dumps(data).encode(), json.dumps(data, indent=1).encode()):
        assert spelling_flaw(data, spelled) is None
        assert list(repeated_keys(b'{"a":1,"a":' + spelled + b"}")) == [1]
        assert list(repeated_keys(b'{"a":[' + spelled.replace(b"{", b'{"value":0,', 1) + b"]}")) == [2]


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: b"." in orjson.dumps(number)))
def test_a_fraction_is_found_where_no_model_looks(number: float) -> None:
    for data in ({"a": number}, {"a": [1, number, 2]}, {"a": {"b": number, "c": ""}}):
        assert spelling_flaw(data, orjson.dumps(data)) is not None


@given(
    place=st.integers(0, 330) | st.integers(0, 1000),
    text=st.sampled_from(['"', "\\", " ", "0", "1", "-", "}", ",", "\xff", "e", '"v":1,', ""]),
)
@settings(max_examples=300, deadline=None)
def test_a_line_is_judged_alike_however_it_is_read(model: Home, place: int, text: str) -> None:
    """The quick look at how a line begins and the parse of the whole line agree on what is an event."""
    path = own(model)[0]
    body = lines_of(path)[3][:-TAIL_BYTES]
    line = chained(bytes(32), body[:place] + text.encode("latin-1") + body[place + len(text) :])
    quick, whole = _Lines(path, "content", None), _Lines(path, "content", None)
    whole._starts = lambda _: None  # type: ignore[assignment]
    for lines in (quick, whole):
        lines.each(1, 0, line)
    names = ("findings", "first", "seq", "highest_seq", "tick", "types", "unknown", "books", "merged", "ids", "digests")
    assert {name: getattr(quick, name) for name in names} == {name: getattr(whole, name) for name in names}
