"""Ids, fingerprints, times: what decides whether two lines are one event."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import InputRefused, format_time, parse_time
from keledger.journal._identity import id_of_key, input_sha256, new_id
from keledger.journal._time import read_time


def test_new_ids_are_version_7_and_distinct() -> None:
    ids = [uuid.UUID(new_id()) for _ in range(1000)]
    assert {found.version for found in ids} == {7}
    assert {found.variant for found in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == 1000
    assert str(ids[0]) == str(ids[0]).lower()


def test_the_id_of_a_key_is_the_same_everywhere() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://keledger/ns/v1")
    assert id_of_key("record", "order-7") == str(uuid.uuid5(namespace, "record\0order-7"))
    assert id_of_key("record", "order-7") == "e631027c-d123-53b8-98dc-194e6064db6d"
    assert id_of_key("import:a", "7") != id_of_key("record", "7")
    shaped_like_an_id = new_id()
    assert id_of_key("record", shaped_like_an_id) != shaped_like_an_id


def test_the_fingerprint_follows_the_page() -> None:
    text = '{"fields":{"a":"ü","b":[1,2]},"type":"call.completed"}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert input_sha256("call.completed", {"b": [1, 2], "a": "ü"}) == expected


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_fingerprint_does_not_depend_on_order(fields: dict[str, object]) -> None:
    backwards = dict(reversed(fields.items()))
    assert input_sha256("x", fields) == input_sha256("x", backwards)
    assert input_sha256("x", fields) != input_sha256("y", fields)
    assert json.dumps(fields)  # what JSON can hold can be fingerprinted, lone surrogates too


@pytest.mark.parametrize(
    ("given_text", "written"),
    [
        ("2026-11-21T19:00:00Z", "2026-11-21T19:00:00.000000Z"),
        ("2026-11-21 19:00:00.5+00:00", "2026-11-21T19:00:00.500000Z"),
        ("2026-11-21T20:00:00.123456789+01:00", "2026-11-21T19:00:00.123456Z"),
        ("2026-11-21T19:00:00.999999999Z", "2026-11-21T19:00:00.999999Z"),
        ("2026-01-01T00:30:00+0100", "2025-12-31T23:30:00.000000Z"),
        ("2026-11-21t19:00:00.123456z", "2026-11-21T19:00:00.123456Z"),
        ("2026-11-21T19:00:00.123456+00:00", "2026-11-21T19:00:00.123456Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times_have_one_spelling(given_text: str, written: str) -> None:
    assert read_time(given_text) == (parse_time(written), written)
    assert format_time(parse_time(given_text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-21",
        "2026-11-21T19:00:00",
        "2026-11-21T19:00:60Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T25:00:00Z",
        # Of the shape of the one spelling, up to a character or a date.
        "2026-02-30T00:00:00.000000Z",
        "2026-11-21T19:00:60.000000Z",
        "2026-11-21T19:00:00.00000_Z",
        "2026-11-21T+1:00:00.000000Z",
        "2026-11-21T19:00:00.00000\uff15Z",
        "2026-W47-6T19:00:00.000000Z",
        "0000-11-21T19:00:00.000000Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="is no time"):
        parse_time(text)


@given(st.integers(min_value=0, max_value=253402300799_999999))
def test_times_come_back_exactly(instant_us: int) -> None:
    text = format_time(instant_us)
    assert read_time(text) == (instant_us, text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=6))
def test_the_fingerprint_is_that_of_the_standard_library(fields: dict[str, Any]) -> None:
    text = json.dumps(
        {"fields": fields, "type": "call.completed"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    expected = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    assert input_sha256("call.completed", fields) == expected
