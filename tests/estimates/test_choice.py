"""The choice of a model: every candidate is chosen or left out, for what it fails, and the nearest miss is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import UsageError
from keledger.journal.estimates import (
    NEEDS,
    QUALITIES,
    Candidate,
    Choice,
    Fact,
    ModelFacts,
    Requirements,
    choose,
    parse_max_cost,
)
from keledger.journal.estimates._choice import KINDS

USD = 10**12
PROVIDERS = ("acme", "bell")


def model(name: str = "acme/one", *, use: bool = True, **facts: str | int | bool | None) -> ModelFacts:
    """A model that is good enough for anything, but for what is said."""
    known: dict[str, Any] = {
        "quality": "highest", "context_window": 100_000, "output_limit": 10_000, "vision": True, "tools": True,
    }  # fmt: skip
    known.update(facts)
    told = {key: Fact(value, "listed", "a test", "2026-11-22") for key, value in known.items() if value is not None}
    provider, _, own = name.partition("/")
    return ModelFacts(provider, own, told, use)


def candidate(
    facts: ModelFacts | None = None, p50: int | None = 1, p90: int | None = 2, tokens: tuple[int, int] = (1000, 100)
) -> Candidate:
    return Candidate(facts or model(), *tokens, p50, p90)


def reason(one: Candidate, **requirements: Any) -> str:
    """Why the only candidate is left out."""
    (left,) = choose([one], Requirements(**requirements)).left_out
    return left.reason


# --- each requirement


def test_who_meets_everything_is_chosen() -> None:
    everything = Requirements("highest", 2, frozenset(NEEDS), frozenset(["acme"]))
    choice = choose([candidate()], everything)
    assert [each.facts.name for each in choice.chosen] == ["acme/one"]
    assert (choice.left_out, choice.nearest) == ((), None)


@pytest.mark.parametrize(
    ("one", "requirements", "told"),
    [
        (candidate(p50=USD // 20, p90=USD // 8), {"max_cost_pico": USD // 10},
         "a large call (p90) costs $0.125, $0.025 above the limit"),
        (candidate(p50=1, p90=USD + 1), {"max_cost_pico": USD},
         "a large call (p90) costs $1.000001, $0.000001 above the limit"),
        (candidate(model(quality="medium")), {"quality": "high"}, "its quality is medium, not high"),
        (candidate(model(quality=None)), {"quality": "low"}, "its quality is not known"),
        (candidate(model(tools=False)), {"needs": frozenset(["tools"])}, "it calls no functions"),
        (candidate(model(tools=None)), {"needs": frozenset(["tools"])},
         "it is not known whether it calls functions"),
        (candidate(model(vision=False)), {"needs": frozenset(["vision"])}, "it sees no images"),
        (candidate(model(vision=None)), {"needs": frozenset(["vision"])}, "it is not known whether it sees images"),
        (candidate(tokens=(99_901, 100)), {},
         "100,001 tokens of input and output do not fit into its window of 100,000"),
        (candidate(tokens=(1, 10_001)), {}, "10,001 tokens of output are more than its limit of 10,000"),
        (candidate(model(context_window=None)), {}, "its context window is not known"),
        (candidate(model(quality=None, output_limit=None)), {},
         "it is not known to answer in text, for it has no known output limit"),
        (candidate(p50=None, p90=None), {}, "it has no price for such a call"),
        (candidate(), {"providers": frozenset(["bell"])}, "acme is not among the providers that may be asked"),
        (candidate(model(use=False)), {}, "your config.toml says not to use it"),
    ],
)  # fmt: skip
def test_each_requirement_has_its_sentence(one: Candidate, requirements: Mapping[str, Any], told: str) -> None:
    assert reason(one, **requirements) == told


@pytest.mark.parametrize(
    ("one", "requirements"),
    [
        (candidate(p90=USD), {"max_cost_pico": USD}),
        (candidate(model(quality="high")), {"quality": "high"}),
        (candidate(model(quality="highest")), {"quality": "high"}),
        (candidate(model(quality=None)), {}),
        (candidate(model(tools=None, vision=False)), {}),
        (candidate(tokens=(99_900, 100)), {}),
        (candidate(tokens=(1, 10_000)), {}),
        (candidate(model(output_limit=None)), {}),
    ],
)
def test_what_is_just_enough_is_enough(one: Candidate, requirements: Mapping[str, Any]) -> None:
    assert choose([one], Requirements(**requirements)).chosen == (one,)


def test_all_that_fails_is_told_the_main_reason_first() -> None:
    one = candidate(model(use=False, quality="low", tools=False), p50=USD, p90=USD)
    told = reason(one, quality="high", max_cost_pico=0, needs=frozenset(["tools", "vision"]))
    assert told == (
        "your config.toml says not to use it; it calls no functions; its quality is low, not high; "
        "a large call (p90) costs $1, $1 above the limit"
    )


# --- the nearest miss


def nearest(*candidates: Candidate, **requirements: Any) -> str:
    found = choose(candidates, Requirements(**requirements)).nearest
    assert found is not None
    return found.candidate.facts.name


def test_the_nearest_is_the_cheapest_of_those_that_only_cost_too_much() -> None:
    dear, dearer = candidate(model("a/dear"), 5, 50), candidate(model("a/dearer"), 4, 60)
    lesser = candidate(model("a/lesser", quality="high"), 1, 1)
    assert nearest(dearer, lesser, dear, quality="highest", max_cost_pico=10) == "a/dear"


def test_else_it_is_the_one_that_lacks_a_single_thing() -> None:
    without_tools = candidate(model("a/without-tools", tools=False), 9, 9)
    dear_and_lesser = candidate(model("a/two", quality="medium"), 11, 11)
    wanted = {"quality": "high", "needs": frozenset(["tools"]), "max_cost_pico": 10}
    assert nearest(dear_and_lesser, without_tools, **wanted) == "a/without-tools"


def test_a_tier_below_is_nearer_than_two_below() -> None:
    two, one = candidate(model("a/a", quality="low"), 1, 1), candidate(model("a/b", quality="medium"), 2, 2)
    assert nearest(two, one, quality="high") == "a/b"


def test_what_the_user_excluded_is_nearest_only_where_there_is_no_other() -> None:
    excluded = candidate(model("a/excluded", use=False))
    poor = candidate(model("a/poor", quality="low", tools=False), 100, 100)
    wanted = {"quality": "high", "needs": frozenset(["tools"]), "max_cost_pico": 10}
    assert nearest(excluded, poor, **wanted) == "a/poor"
    assert nearest(excluded) == "a/excluded"


def test_without_candidates_there_is_neither_a_choice_nor_a_miss() -> None:
    assert choose([], Requirements()) == Choice(Requirements(), (), ())


# --- what holds of every choice

costs = st.one_of(st.none(), st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted))
truths = st.sampled_from([True, False, None])


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    found = []
    for number in range(draw(st.integers(0, 8))):
        facts = model(
            f"{draw(st.sampled_from(PROVIDERS))}/{number}",
            use=draw(st.booleans()),
            quality=draw(st.sampled_from([*QUALITIES, None])),
            context_window=draw(st.sampled_from([None, 10, 100])),
            output_limit=draw(st.sampled_from([None, 5, 50])),
            vision=draw(truths),
            tools=draw(truths),
        )
        cost = draw(costs)
        p50, p90 = cost if cost is not None else (None, None)
        found.append(candidate(facts, p50, p90, (draw(st.integers(0, 60)), draw(st.integers(0, 60)))))
    return found


requirements = st.builds(
    Requirements,
    st.sampled_from([*QUALITIES, None]),
    st.one_of(st.none(), st.integers(0, 50)),
    st.frozensets(st.sampled_from(NEEDS)),
    st.one_of(st.none(), st.frozensets(st.sampled_from(PROVIDERS))),
)


@given(candidates(), requirements)
def test_everyone_is_chosen_or_left_out_and_who_is_chosen_meets_all(
    among: list[Candidate], required: Requirements
) -> None:
    choice = choose(among, required)
    names = [each.facts.name for each in choice.chosen] + [left.candidate.facts.name for left in choice.left_out]
    assert sorted(names) == sorted(each.facts.name for each in among)
    for each in choice.chosen:
        facts = each.facts
        assert facts.use
        assert each.p50_pico is not None
        assert each.p90_pico is not None
        if required.max_cost_pico is not None:
            assert each.p50_pico <= each.p90_pico <= required.max_cost_pico
        if required.quality is not None:
            assert facts.quality is not None
            assert QUALITIES.index(facts.quality) >= QUALITIES.index(required.quality)
        assert all(facts.can(need) is True for need in required.needs)
        assert facts.context_window is not None
        assert each.input_tokens + each.output_tokens <= facts.context_window
        assert each.output_tokens <= (facts.output_limit or each.output_tokens)
        assert required.providers is None or facts.provider in required.providers
    ranks = [(each.p50_pico, each.p90_pico, each.facts.name) for each in choice.chosen]
    assert ranks == sorted(ranks)  # type: ignore[type-var]  # none of the costs is None


@given(candidates(), requirements)
def test_who_is_left_out_fails_something_and_meets_it_without(among: list[Candidate], required: Requirements) -> None:
    choice = choose(among, required)
    for left in choice.left_out:
        assert left.failings
        assert all(failing.by > 0 and failing.kind in KINDS for failing in left.failings)
        assert left.reason.count("; ") == len(left.failings) - 1
        assert "\n" not in left.reason
        if {failing.kind for failing in left.failings} <= {"cost", "quality", "unknown_quality", "need", "provider"}:
            assert choose([left.candidate], Requirements()).chosen == (left.candidate,)
    assert (choice.nearest is None) == (bool(choice.chosen) or not among)
    if choice.nearest is not None:
        assert choice.nearest in choice.left_out
        counted = [len(left.failings) for left in choice.left_out if left.candidate.facts.use]
        assert not counted or len(choice.nearest.failings) == min(counted)


@given(candidates(), requirements)
def test_a_choice_is_json_and_hangs_on_no_order(among: list[Candidate], required: Requirements) -> None:
    choice = choose(among, required)
    assert choose(reversed(among), required) == choice
    told = json.loads(json.dumps(choice.as_json()))
    assert len(told["rows"]) + len(told["left_out"]) == len(among)
    assert all(row["reason"] for row in told["left_out"])
    assert told["nearest"] is None or told["nearest"] in told["left_out"]


# --- the requirements


def test_requirements_as_json_has_them() -> None:
    found = Requirements.from_mapping({"max_cost": 0.10, "quality": "high"})
    assert found == Requirements("high", USD // 10)
    found = Requirements.from_mapping({"max_cost": "0.002475", "needs": ["tools"], "providers": ["openai"]})
    assert found == Requirements(None, 2_475_000_000, frozenset(["tools"]), frozenset(["openai"]))
    assert found.as_json() == {
        "quality": None, "max_cost_usd": "0.002475", "needs": ["tools"], "providers": ["openai"],
    }  # fmt: skip
    assert Requirements.from_mapping({}) == Requirements()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"qualty": "high"}, "'qualty' is no requirement"),
        ({"quality": "best"}, "'best' is no quality"),
        ({"quality": 3}, "'3' is no quality"),
        ({"max_cost": "ten"}, "'ten' is no cost limit"),
        ({"max_cost": True}, "True is no cost limit"),
        ({"max_cost": -1}, "-1 is no cost limit"),
        ({"max_cost": float("nan")}, "nan is no cost limit"),
        ({"max_cost": 1e-13}, "is no cost limit"),
        ({"needs": "tools"}, "needs is 'tools': write a list"),
        ({"needs": ["sound"]}, "'sound' is no capability"),
        ({"providers": [1]}, "providers is"),
    ],
)
def test_what_is_no_requirement_is_refused(wrong: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Requirements.from_mapping(wrong)


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0", 0),
        ("0.10", USD // 10),
        ("1", USD),
        ("10", 10 * USD),
        ("1e2", 100 * USD),
        (" 0.5 ", USD // 2),
        (100, 100 * USD),
    ],
)
def test_a_most_cost_is_an_amount(text: object, pico: int) -> None:
    assert parse_max_cost(text) == pico
