"""What an estimator reads of a journal, and what it makes of a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Home, InputRefused, NewEvent, current_prices
from keledger.journal.capture.shape import shape_of
from keledger.journal.estimates import ANSWERS, MODEL_PAIRS, NEAREST_OF, OWN_PAIRS, Pair, Past, PastOutput
from keledger.projections import Estimator, Subject, open_projection, rebuild
from keledger.projections._estimator import outline
from tests.estimates.events import estimate, estimate_id

from .support import append, call, take_over, uncosted, void

METHOD = "tiktoken:o200k_base"
MODEL = Subject("openai", "gpt-5-mini")
GREET = Subject("openai", "gpt-5-mini", "greet", "1")
OF_GREET = {"prompt": "greet", "prompt_version": "1"}


def past(home: Home, subject: Subject = GREET, method: str = METHOD) -> Past:
    """What is read of these calls."""
    with open_projection(home) as projection:
        return estimator(home, projection).past(subject, method)


def estimator(home: Home, projection: Any) -> Estimator:
    """One with the shipped prices."""
    prices = current_prices(home)
    return Estimator(projection, prices.store.load_book(prices.manifest.sha256))


def told(
    name: object,
    counted: int = 14,
    taken: int = 15,
    answered: int = 10,
    *,
    of: dict[str, Any] = OF_GREET,
    **fields: Any,
) -> list[NewEvent]:
    """An estimate and the call that came of it."""
    usage = {"input_uncached": taken, "output_text": answered, "requests": 1}
    return [
        estimate(name, counted_tokens=counted),
        call(name, **{"estimate_id": estimate_id(name), "usage": usage, **of, **fields}),
    ]


def test_what_is_read_of_a_call(home: Home) -> None:
    append(home, *told(1), call("alone", **OF_GREET))
    found = past(home)
    assert found.pairs == found.model_pairs == [Pair(14, 15, "greet\n1")]
    # The other call's input is 10, and 5 from a cache, its output 7 and 3 of reasoning.
    assert sorted(found.outputs) == [PastOutput(15, 10), PastOutput(15, 10)] == sorted(found.model_outputs)
    assert sorted(found.cached) == [(15, 0), (15, 5)]


def test_prompts_and_their_versions_are_kept_apart(home: Home) -> None:
    append(
        home,
        *told(1),
        *told(2, of=OF_GREET | {"prompt_version": "2"}),
        *told(3, of={"prompt": "greet"}),
        *told(4, of={}),
        *told(5, of=OF_GREET | {"prompt": "other"}),
    )
    for version, name in (("1", "greet\n1"), ("2", "greet\n2"), (None, "greet\n")):
        found = past(home, Subject("openai", "gpt-5-mini", "greet", version))
        assert found.pairs == [Pair(14, 15, name)]
        assert len(found.outputs) == 1
        assert len(found.model_pairs) == len(found.model_outputs) == 5
    unnamed = past(home, MODEL)
    assert (unnamed.pairs, unnamed.outputs, unnamed.cached) == ([], [], [])
    assert {pair.prompt for pair in unnamed.model_pairs} == {"greet\n1", "greet\n2", "greet\n", "other\n1", None}


def test_what_says_nothing_is_left_out(home: Home) -> None:
    other = estimate("other", method="proxy:o200k_base")
    batch = estimate("batch", calls=2)
    append(
        home,
        *told("failed", status="error", http_status=500),
        *told("unknown", status="unknown", **uncosted("unknown")),
        *told("imported", origin="import:x", quality="totals_only"),
        *told("voided"),
        void("voided"),
        *told("model", model="gpt-5"),
        *told("provider", provider="azure"),
        *told("live", call_keys=["openai:r1"]),
        *told("shadowed", origin="import:x", call_keys=["openai:r1"], answered=77),
        other,
        call("other", estimate_id=other.id),
        batch,
        call("batch", estimate_id=batch.id),
        call("of an estimate that is not here", estimate_id=estimate_id("nowhere")),
    )
    found = past(home)
    assert found.pairs == found.model_pairs == [Pair(14, 15, "greet\n1")]
    assert found.outputs == [PastOutput(15, 10)]
    assert len(found.model_outputs) == 4  # those whose estimates say nothing were calls all the same
    assert past(home, method="proxy:o200k_base").model_pairs == [Pair(14, 15, None)]


def test_a_call_without_input_has_no_ratio(home: Home) -> None:
    append(home, *told(1, taken=0), *told(2, counted=0))
    found = past(home)
    assert found.pairs == [Pair(0, 15, "greet\n1")]  # whoever fits leaves it out
    assert len(found.outputs) == 2


def test_the_first_copy_of_an_estimate_counts(home: Home) -> None:
    append(home, *told(1), estimate(1, counted_tokens=99))
    assert [pair.counted for pair in past(home).pairs] == [14]


def test_an_estimate_and_its_call_may_meet_in_a_merge(home: Home) -> None:
    other = Home.at(home.path.with_name("other"))
    first, answered = told(1)
    append(home, first)
    append(other, answered)
    assert past(home).pairs == past(other).pairs == []
    take_over(other, home)
    assert past(home).pairs == [Pair(14, 15, "greet\n1")]
    rebuild(home)
    assert past(home).pairs == [Pair(14, 15, "greet\n1")]


def test_the_newest_calls_oldest_first(home: Home) -> None:
    most = NEAREST_OF + 5
    events: list[NewEvent] = []
    for place in range(most):
        started_at = f"2026-03-{1 + place // 1440:02}T{place // 60 % 24:02}:{place % 60:02}:00.000000Z"
        events += told(place, counted=place + 1, taken=place + 1, answered=place, started_at=started_at)
    append(home, *reversed(events))
    found = past(home)
    assert [pair.actual for pair in found.pairs] == list(range(most - OWN_PAIRS + 1, most + 1))
    assert [pair.actual for pair in found.model_pairs] == list(range(most - MODEL_PAIRS + 1, most + 1))
    assert [each.output_tokens for each in found.outputs] == list(range(5, most))
    assert [each.output_tokens for each in found.model_outputs] == list(range(most - ANSWERS, most))
    assert found.cached[-1] == (most, 0)


def test_the_newest_version(home: Home) -> None:
    append(
        home,
        call(1, started_at="2026-03-02T00:00:00.000000Z", **OF_GREET),
        call(2, started_at="2026-03-01T00:00:00.000000Z", prompt="greet", prompt_version="0"),
        call(3, prompt="plain"),
    )
    with open_projection(home) as projection:
        found = estimator(home, projection)
        assert [found.newest_version(name) for name in ("greet", "plain", "unheard of")] == ["1", None, None]


def test_what_was_learned_is_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    append(home, *told(1))
    with open_projection(home) as projection:
        found = estimator(home, projection)
        first = found.estimate("a whale", GREET)
        monkeypatch.setattr(projection, "run", None)
        again = found.estimate("another whale", GREET)
    assert first.learned.past is again.learned.past
    assert (first.input.basis, first.input.calls) == ("prompt", 1)


def test_the_terms_of_the_request_and_of_the_call(home: Home) -> None:
    request = {"messages": [{"role": "user", "content": "a whale"}], "service_tier": "flex"}
    cached = [{"type": "text", "text": "a whale", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    with open_projection(home) as projection:
        found = estimator(home, projection)
        assert found.estimate(request, MODEL).terms.context == {"service_tier": "flex"}
        batch = found.estimate(request, MODEL, context={"processing": "batch", "service_tier": "standard"})
        assert batch.terms.context == {"processing": "batch"}
        assert found.estimate("a whale", MODEL, context={"service_tier": "batch"}).terms.context == batch.terms.context
        assert found.estimate({"system": cached, "messages": "a whale"}, MODEL).terms.cache_write == "1h"
        assert found.estimate("a whale", MODEL, at_us=7).terms.at_us == 7
        with pytest.raises(InputRefused, match="nothing to count"):
            found.estimate("", MODEL)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {"messages": JSON_VALUES},
    optional={
        "max_tokens": st.integers(-1, 10**6),
        "n": st.integers(0, 5),
        "service_tier": st.sampled_from(["auto", "flex", "nothing"]),
        "tools": JSON_VALUES,
        "system": JSON_VALUES,
        "web_search_options": JSON_VALUES,
        "thinking_config": st.fixed_dictionaries({"thinking_budget": st.integers(0, 2)}),
    },
)


@given(REQUESTS)
def test_an_outline_has_the_shape_of_its_request(request: dict[str, Any]) -> None:
    sizes = ("bytes", "growth_bytes")
    whole, short = ({k: v for k, v in shape_of(each).items() if k not in sizes} for each in (request, outline(request)))
    assert whole == short


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estimator]:
    """An estimator with a few calls behind it."""
    home = Home.at(tmp_path_factory.mktemp("known") / "home")
    events = [event for place in range(12) for event in told(place, 14 + place, 20 + place, 10 * place)]
    append(home, *events)
    with open_projection(home) as projection:
        yield estimator(home, projection)


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(codec=None), min_size=1, max_size=400),
    st.sampled_from([GREET, MODEL, Subject("anthropic", "claude-haiku-4-5"), Subject("google", "gemini-2.5-pro")]),
    st.one_of(st.none(), st.integers(1, 1_000)),
)
def test_places_are_in_order(known: Estimator, text: str, subject: Subject, limit: int | None) -> None:
    request: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if limit is not None:
        request["max_tokens"] = limit
    found = known.estimate(request, subject)
    assert 0 < found.input.p5 <= found.input.p50 <= found.input.p95
    assert found.output.max is not None
    assert 0 <= found.output.p50 <= found.output.p90 <= found.output.max
    assert limit is None or found.output.max == limit
    costs = [Decimal(each) for each in (found.cost.p50_usd, found.cost.p90_usd, found.cost.max_usd) if each is not None]
    assert len(costs) == 3
    assert costs == sorted(costs)
    assert json.loads(json.dumps(found.as_json()))["cost_usd"]["p50"] == found.cost.p50_usd
