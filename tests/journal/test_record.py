"""``ledger.record``: what is taken, what is refused, and what stands in the journal then."""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, InputRefused, Ledger, _cleaning, usd_to_pico, verify
from keledger.journal import _limits as limits
from keledger.journal._adopting import Adoption, adopt
from keledger.journal._cleaning import compact_usage
from keledger.journal._time import format_time, now_us
from keledger.journal._writer import Appender
from keledger.journal.prices import (
    BookManifest,
    Cell,
    LayerHeader,
    LayerReference,
    PriceStore,
    shipped_book,
    shipped_manifest,
    write_layer,
)

from .support import USAGE, call, calls, events, tree_bytes


def test_a_call_is_journaled_whole(ledger: Ledger, home: Home) -> None:
    event_id = ledger.record(
        **call(time="2026-11-21T19:00:00Z", session="s1", prompt="summarize", response_id="resp-1", duration_ms=812)
    )
    (event,) = calls(home)
    data = event["data"]
    assert event["id"] == event_id
    assert event["type"] == "call.completed"
    assert data["usage"] == {
        "input_uncached": 400, "cache_read": 600, "output_text": 80, "output_reasoning": 120, "requests": 1,
    }  # fmt: skip
    assert json.loads(data["usage_raw"]) == USAGE
    # gpt-5-mini at 0.25 / 0.025 / 2 USD per million: 100 + 15 + 160 + 240 micro-dollars
    assert data["cost"]["total_usd"] == "0.000515"
    assert data["cost"]["state"] == "priced"
    assert data["started_at"] == "2026-11-21T19:00:00.000000Z"
    assert data["call_keys"] == ["openai:resp-1"]
    assert data["origin"] == "record"
    assert data["run"] == ledger.run


def test_the_book_is_adopted_before_the_first_call(ledger: Ledger, home: Home) -> None:
    ledger.record(**call())
    assert [event["type"] for event in events(home)] == ["segment.opened", "prices.adopted", "call.completed"]
    adopted = events(home)[1]["data"]
    assert calls(home)[0]["data"]["cost"]["book"] == adopted["book"]
    for name in (adopted["book"], adopted["names"], *(layer["sha256"] for layer in adopted["layers"])):
        assert (home.prices / name).is_file()
    with Ledger.open(home.path) as again:
        again.record(**call())
    assert [event["type"] for event in events(home)].count("prices.adopted") == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"provider": "openai"}, "model is missing"),
    ({"model": "gpt-5"}, "provider is missing"),
    (call(usage_raw=None), "usage is missing"),
    (call(usage_raw=[1]), "usage_raw must be the provider's usage object, not a list"),
    (call(usage_raw=None, usage={"tokens": 1}), "unknown usage bucket 'tokens'"),
    (call(usage_raw=None, usage=[]), "usage must be an object of buckets"),
    (call(usage_raw=None, usage={"output_text": -1}), "not a negative number"),
    (call(usage_raw=None, usage={"output_text": 1.0}), "not a floating-point number"),
    (call(usage_raw=None, usage={"output_text": True}), "not a boolean"),
    (call(usage_raw=None, usage={"output_text": 2**53}), "must be a whole number from 0 to 9007199254740991"),
    (call(usage_raw={"what": "ever"}, provider="nobody"), "usage_raw is in no format that is known"),
    (call(usage_raw={"prompt_tokens": "many"}), "usage_raw has no count that can be read as openai."),
    (call(usage_format="openai.telepathy"), "usage_format must be one of"),
    (call(reported_cost_usd=0.1), "must be a decimal string"),
    (call(reported_cost_usd="1e-3"), "must be a decimal string"),
    (call(reported_cost_usd="0.10"), "must be a decimal string"),
    (call(reported_cost_usd="-0"), "must be a decimal string"),
    (call(reported_cost_usd="0.0000000000001"), "must be a decimal string"),
    (call(status="maybe"), "status must be one of ok, error, unknown"),
    (call(quality="good"), "quality must be one of"),
    (call(duration_ms=1.5), "duration_ms must be a whole number"),
    (call(duration_ms=-1), "duration_ms must be a whole number"),
    (call(session="x" * 257), "session is 257 bytes long, 256 are allowed"),
    (call(session="ü" * 129), "session is 258 bytes long, 256 are allowed"),
    (call(session="\ud800"), "session holds a lone surrogate"),
    (call(session=7), "session must be a string, not a number"),
    (call(model="x" * 300_000), "model is 300000 bytes long"),
    (call(tags={"Bad Key": "x"}), "tag key 'Bad Key' must match"),
    (call(tags=["a"]), "tags must be an object of strings"),
    (call(tags={f"t{n}": "" for n in range(33)}), "33 tags are given, 32 are allowed"),
    (call(call_keys="k"), "call_keys must be a list"),
    (call(call_keys=[f"k{n}" for n in range(9)]), "9 call_keys are given, 8 are allowed"),
    (call(time="yesterday"), "is no time"),
    (call(time=1763751600), "time must be a string"),
    (call(time="2026-11-21T19:00:60Z"), "is no time"),
    (call(time="2026-11-21T19:00:00"), "is no time"),
    (call(time=format_time(now_us() + 2 * limits.AHEAD_US_MAX)), "more than 24 h ahead"),
    (call(sesion="s"), "unknown field 'sesion'; did you mean 'session'?"),
    (call(http_status=50), "http_status must be a whole number from 100 to 599"),
    (call(status="ok", http_status=500), "contradict each other"),
    (call(reported_cost_usd=0), "must be a decimal string"),
    (call(reported_cost_usd=""), "must be a decimal string"),
    (call(reported_cost_usd="-5"), "must be a decimal string"),
    (call(project=0), "project must be a string, not a number"),
    (call(team=[]), "team must be a string, not a list"),
    (call(tags=False), "tags must be an object of strings, not a boolean"),
    (call(call_keys=0), "call_keys must be a list of strings, not a number"),
    (call(usage_raw={"prompt_tokens": -5, "completion_tokens": 5}), "usage_raw has a count that is no whole number"),
    (call(usage_raw={"prompt_tokens": 1.5, "completion_tokens": 5}), "usage_raw has a count that is no whole number"),
    (call(usage_raw=None, usage={}), "usage is empty"),
    (call(time="0001-01-01T00:00:00+01:00"), "is no time"),
    (call(session=b"bytes"), "session: a bytes is no JSON value"),
    (
        call(usage_raw={**USAGE, "deep": functools.reduce(lambda inner, _: [inner], range(32), 0)}),
        "nested deeper than 32",
    ),
    (call(id="\ud800"), "id holds a lone surrogate"),
    (call(id=7), "id must be a string"),
    (call(id=""), "id must be a string"),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED, ids=[sentence[:50] for _, sentence in REFUSED])
def test_what_is_not_acceptable_is_refused_and_changes_nothing(
    ledger: Ledger, home: Home, fields: dict[str, Any], sentence: str
) -> None:
    ledger.record(**call())
    before = tree_bytes(home.path)
    with pytest.raises(InputRefused) as refused:
        ledger.record_many([call(), fields])
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert tree_bytes(home.path) == before


def test_a_refused_call_leaves_no_trace_in_a_new_home(ledger: Ledger, home: Home) -> None:
    with pytest.raises(InputRefused):
        ledger.record_many([call(), call(duration_ms=-1)])
    assert not home.path.exists()
    ledger.event_of(call())
    assert not home.path.exists()


def test_an_older_list_gives_way_to_the_shipped_one(ledger: Ledger, home: Home) -> None:
    """The user's layer stays above it; the older list is not forgotten, for events name it."""
    older = LayerHeader("list", "an older list", "a test", "2020-01-01")
    mine = LayerHeader("user", "mine", "a test", "2020-01-01")
    layers = {
        "user": write_layer(mine, [Cell("openai", "my-model", "", {"input_uncached": "7"})]),
        "list": write_layer(older, [Cell("openai", "gpt-5-mini", "", {"input_uncached": "9"})]),
    }
    files = {hashlib.sha256(content).hexdigest(): content for content in layers.values()}
    manifest, shipped = shipped_book()
    references = [
        LayerReference(kind, header.name, hashlib.sha256(layers[kind]).hexdigest(), header.date)
        for kind, header in (("user", mine), ("list", older))
    ]
    names = shipped_manifest().names
    book = BookManifest(tuple(references), names)
    adoption = Adoption(book, {**files, names: shipped[names], book.sha256: book.content})
    adopt(home, Appender(home), PriceStore(home.prices), adoption, actor="test", based_on=None)
    ledger.record(**call(usage_raw=None, usage={"input_uncached": 1_000_000}))
    ledger.record(**call(model="my-model", usage_raw=None, usage={"input_uncached": 1_000_000}))
    assert [event["data"]["cost"]["total_usd"] for event in calls(home)] == ["0.25", "7"]
    kinds = [
        [layer["kind"] for layer in event["data"]["layers"]] for event in events(home) if "layers" in event["data"]
    ]
    assert kinds == [["user", "list"], ["user", "list", "list"]]
    assert not verify(home).damaged
    assert manifest


def test_another_process_that_adopts_is_followed(ledger: Ledger, home: Home) -> None:
    ledger.record(**call())
    mine = write_layer(LayerHeader("user", "mine", "a test", "2026-01-01"), [
        Cell("openai", "gpt-5-mini", "", {"input_uncached": "1"}),
    ])  # fmt: skip
    shipped = shipped_manifest()
    reference = LayerReference("user", "mine", hashlib.sha256(mine).hexdigest(), "2026-01-01")
    book = BookManifest((reference, *shipped.layers), shipped.names)
    adoption = Adoption(book, {reference.sha256: mine, book.sha256: book.content})
    adopt(home, Appender(home), PriceStore(home.prices), adoption, actor="test", based_on=shipped.sha256)
    usage = {"input_uncached": 1_000_000}
    ledger.record(**call(usage_raw=None, usage=usage))  # priced before its append sees the other's line
    ledger.record(**call(usage_raw=None, usage=usage))
    assert calls(home)[-1]["data"]["cost"]["total_usd"] == "1"


def test_a_key_makes_recording_again_the_same_event(ledger: Ledger, home: Home) -> None:
    first = ledger.record(**call(id="order-7", time="2026-11-21T19:00:00Z"))
    assert ledger.record(**call(id="order-7", time="2026-11-21T19:00:00Z")) == first
    one, two = calls(home)
    assert one["data"]["input_sha256"] == two["data"]["input_sha256"]
    assert not verify(home).damaged
    ledger.record(**call(id="order-7", time="2026-11-21T20:00:00Z"))
    assert [finding.kind for finding in verify(home).findings] == ["conflict"]


STATES: list[tuple[dict[str, Any], tuple[str, str, str | None]]] = [
    (call(), ("ok", "priced", "0.000515")),
    (call(model="no-such-model"), ("ok", "unpriced", None)),
    (call(model="no-such-model", reported_cost_usd="0.25"), ("ok", "reported", "0.25")),
    (call(reported_cost_usd="0.25"), ("ok", "priced", "0.000515")),
    (call(usage_raw=None, reported_cost_usd="0.25"), ("ok", "reported", "0.25")),
    (call(usage_raw=None, status="unknown"), ("unknown", "unknown", None)),
    (call(usage_raw=None, status="error", http_status=429), ("error", "priced", "0")),
    (call(usage_raw=None, status="error", http_status=200), ("unknown", "unknown", None)),
    (call(usage_raw=None, reported_cost_usd="0"), ("ok", "reported", "0")),
    (call(usage_raw=None, usage={"input_uncached": 0}), ("ok", "priced", "0")),
    (call(status="error", http_status=500), ("error", "priced", "0.000515")),
    (call(usage_raw={"prompt_tokens": "?"}, usage_format="openai.chat", status="error"), ("error", "unknown", None)),
]


@pytest.mark.parametrize(("fields", "expected"), STATES)
def test_status_and_cost_state(
    ledger: Ledger, home: Home, fields: dict[str, Any], expected: tuple[str, str, str | None]
) -> None:
    ledger.record(**fields)
    data = calls(home)[0]["data"]
    assert (data["status"], data["cost"]["state"], data["cost"].get("total_usd")) == expected
    assert calls(home)[0]["type"] == ("call.completed" if expected[0] == "ok" else "call.failed")


def test_unicode_is_kept_in_one_form(ledger: Ledger, home: Home) -> None:
    ledger.record(**call(user="Zoe\u0308", project="日本語 🚀\u2028"))
    data = calls(home)[0]["data"]
    assert data["user"] == "Zo\u00eb"
    assert data["project"] == "日本語 🚀\u2028"


SECRET = "canary " * 40


@pytest.mark.parametrize(
    ("given_part", "kept"),
    [
        ({"note": SECRET}, {}),
        ({"list": [SECRET, 1]}, {"list": [1]}),
        ({"inside": {"list": [{"note": SECRET, "count": 1}]}}, {"inside": {"list": [{"count": 1}]}}),
        ({SECRET: 1}, {}),
        ({"canary in a name": 1}, {}),
    ],
    ids=["field", "list", "deep", "name", "short name"],
)
def test_text_in_a_usage_object_is_not_journaled(
    ledger: Ledger, home: Home, given_part: dict[str, Any], kept: dict[str, Any]
) -> None:
    ledger.record(**call(usage_raw={**USAGE, **given_part}))
    assert "canary" not in json.dumps(calls(home)[0])
    assert json.loads(calls(home)[0]["data"]["usage_raw"]) == {**USAGE, **kept}


def test_a_huge_usage_object_is_replaced_by_its_size(ledger: Ledger, home: Home) -> None:
    ledger.record(**call(usage_raw={**USAGE, "more": {f"key{n}": n for n in range(3000)}}))
    data = calls(home)[0]["data"]
    assert set(json.loads(data["usage_raw"])) == {"size_bytes", "sha256"}
    assert data["usage"]["cache_read"] == 600


plain_names = st.text("abcXYZ019_.-", min_size=1, max_size=8)
usage_objects = st.dictionaries(
    plain_names,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_names, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)  # fmt: skip


@settings(deadline=None)
@given(usage_objects)
def test_a_usage_object_is_journaled_as_the_standard_library_writes_it(raw: dict[str, Any]) -> None:
    assert compact_usage(raw) == json.dumps(raw, separators=(",", ":"), ensure_ascii=False)


def test_what_is_kept_of_names_changes_nothing_and_stays_small(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cleaning, "NAMES_KEPT_MAX", 3)
    _cleaning._TAG_KEYS.clear()
    _cleaning._PLAIN_NAMES.clear()
    for _ in range(2):
        for number in range(8):
            raw = {**USAGE, f"name{number}": number, "a sentence": 1}
            event = ledger.event_of(call(tags={f"tag{number}": "x", "kept": "y"}, usage_raw=raw))
            data = json.loads(event.data)
            assert data["tags"] == {"kept": "y", f"tag{number}": "x"}
            assert json.loads(data["usage_raw"]) == {**USAGE, f"name{number}": number}
            assert max(len(_cleaning._TAG_KEYS), len(_cleaning._PLAIN_NAMES)) <= 3
        for bad in ("Tag1", "tag 1", "t" * 64, ""):
            with pytest.raises(InputRefused, match="must match"):
                ledger.event_of(call(tags={bad: "x"}))
            assert bad not in _cleaning._TAG_KEYS


GIVEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # what is given -> what of it is fingerprinted otherwise
    (call(session="s1", tags={"b": "1", "a": "ü"}, call_keys=["k"]), {}),
    (call(id="order-7"), {"id": None}),
    (call(usage_raw={**USAGE, "cost": 1e-07, "large": 1e16}), {}),
    (call(usage_raw={**USAGE, "large": 2**70}), {}),
    (call(usage_raw={**USAGE, "by": {7: 1, "a": 2}}), {"usage_raw": {**USAGE, "by": {"7": 1, "a": 2}}}),
    (call(reported_cost_usd=Decimal("0.5"), call_keys=("k",)), {"reported_cost_usd": "0.5", "call_keys": ["k"]}),
    (call(time=datetime(2026, 11, 21, 19, tzinfo=UTC)), {"time": "2026-11-21T19:00:00+00:00"}),
]


@pytest.mark.parametrize(
    ("fields", "otherwise"), GIVEN, ids=["plain", "key", "floats", "large", "names", "money", "time"]
)
def test_the_fingerprint_is_over_what_was_given(
    ledger: Ledger, fields: dict[str, Any], otherwise: dict[str, Any]
) -> None:
    given_fields = {name: value for name, value in {**fields, **otherwise}.items() if value is not None}
    text = json.dumps(
        {"type": "call.completed", "fields": given_fields}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    data = json.loads(ledger.event_of(fields).data)
    assert data["input_sha256"] == hashlib.sha256(text.encode()).hexdigest()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(["provider", "model", "usage", "usage_raw", "time", "status", "tags", "session", "id",
                               "reported_cost_usd", "duration_ms", "pricing_context", "call_keys", "http_status",
                               "original", "attempt", "estimate_id"])  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(fields=st.dictionaries(field_names, json_values, max_size=6))
def test_any_json_is_recorded_or_refused(ledger: Ledger, home: Home, fields: dict[str, Any]) -> None:
    """Whatever is handed in, there is an event that verifies, or a refusal; never another error."""
    try:
        ledger.record(**{"provider": "openai", "model": "gpt-5-mini", "usage": {"input_uncached": 1}, **fields})
    except InputRefused:
        pass
    else:
        assert not verify(home).damaged


counts = st.integers(min_value=0, max_value=10**9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(cached=counts, uncached=counts, reasoning=counts, text=counts)
def test_a_cost_is_the_exact_sum_of_its_lines(
    ledger: Ledger, cached: int, uncached: int, reasoning: int, text: int
) -> None:
    usage = {"cache_read": cached, "input_uncached": uncached, "output_reasoning": reasoning, "output_text": text}
    cost = json.loads(ledger.event_of(call(usage_raw=None, usage=usage)).data)["cost"]
    parts = {line["bucket"]: usd_to_pico(line["usd"]) for line in cost["lines"]}
    assert usd_to_pico(cost["total_usd"]) == sum(parts.values())
    assert sum(parts.values()) == cached * 25_000 + uncached * 250_000 + (reasoning + text) * 2_000_000
