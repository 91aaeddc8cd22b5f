"""Usage objects of every provider against buckets worked out by hand (cases.toml)."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from keledger.journal.usage import USAGE_FORMATS, detect_format, extract_response, normalize

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))["case"]

each_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


@each_case
def test_a_usage_object_becomes_its_buckets(case: dict[str, Any]) -> None:
    found = normalize(json.loads(case["raw"]), case["format"])
    assert found.usage == {**case["buckets"], "requests": 1}
    assert found.notes == tuple(case.get("notes", ()))
    assert found.reported_cost_usd == case.get("cost")
    assert found.pricing_context == case.get("context", {})
    assert found.readable


@each_case
def test_its_format_is_told_by_provider_and_fields(case: dict[str, Any]) -> None:
    assert detect_format(case["provider"], json.loads(case["raw"])) == case["format"]


@each_case
def test_a_response_around_it_changes_nothing(case: dict[str, Any]) -> None:
    raw = json.loads(case["raw"])
    name = {"gemini.generate_content": "usageMetadata", "mistral.ocr": "usage_info"}.get(case["format"], "usage")
    for response in (raw, {name: raw, "id": "r1"}):
        facts = extract_response(response, case["provider"])
        assert facts.usage is not None
        assert facts.usage_format == case["format"]
        assert normalize(facts.usage, case["format"]) == normalize(raw, case["format"])


def test_every_format_has_a_case() -> None:
    assert {case["format"] for case in CASES} == USAGE_FORMATS


@pytest.mark.parametrize("usage_format", sorted(USAGE_FORMATS))
@pytest.mark.parametrize("raw", [{}, {"prompt_tokens": None}, {"usage": {"prompt_tokens": 5}}, {"cost": 1.5}])
def test_no_count_at_all_is_unreadable_and_never_zero_tokens(usage_format: str, raw: dict[str, Any]) -> None:
    found = normalize(raw, usage_format)
    assert not found.readable
    assert found.usage == {}


def test_zero_tokens_that_were_told_are_readable() -> None:
    found = normalize({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "openai.chat")
    assert found.readable
    assert found.usage == {"requests": 1}


@pytest.mark.parametrize(
    ("count", "bucket"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**53, None),
        (-1, None),
        (True, None),
        ("7", None),
        (7.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ([7], None),
        ({}, None),
    ],
)
def test_what_a_count_is(count: object, bucket: int | None) -> None:
    found = normalize({"input_tokens": 1, "output_tokens": count}, "anthropic.messages")
    assert found.usage.get("output_text") == bucket
    assert ("output_tokens:unreadable" in found.notes) == (bucket is None)


def test_a_sum_beyond_the_line_format_is_cut_and_noted() -> None:
    most = 2**53 - 1
    compaction = {"type": "compaction", "input_tokens": most, "output_tokens": 0}
    raw = {"input_tokens": most, "output_tokens": 1, "iterations": [compaction]}
    found = normalize(raw, "anthropic.messages")
    assert found.usage["input_uncached"] == most
    assert "input_uncached:too_large" in found.notes


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (0, "0"),
        (0.1, "0.1"),
        (1e-07, "0.0000001"),
        (0.30000000000000004, "0.30000000000000004"),
        (1234.0, "1234"),
        (100, "100"),
        ("0.00012300", "0.000123"),
        (-0.5, None),
        (float("nan"), None),
        (1e300, None),
        (5e-324, None),
        ("1e999999999", None),
        (True, None),
        ("free", None),
        ([], None),
    ],
)
def test_a_reported_cost_keeps_its_decimals(cost: object, text: str | None) -> None:
    found = normalize({"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}, "openrouter.chat")
    assert found.reported_cost_usd == text
    assert ("cost:unreadable" in found.notes) == (text is None)


def test_the_cost_through_a_key_of_ones_own_is_unknown_without_the_upstream_part() -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.01, "is_byok": True, "cost_details": {}}
    assert normalize(raw, "openrouter.chat").reported_cost_usd is None


def test_a_cost_of_unknown_currency_is_left_alone() -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.01}
    assert normalize(raw, "openai.chat").reported_cost_usd is None
    raw_of_openrouter = {"input_tokens": 1, "output_tokens": 1, "cost": 0.01, "is_byok": False}
    assert normalize(raw_of_openrouter, "openai.responses").reported_cost_usd == "0.01"


def test_an_unknown_format_is_not_readable() -> None:
    found = normalize({"prompt_tokens": 5}, "acme.chat")
    assert (found.readable, found.usage, found.notes) == (False, {}, ("usage_format:unknown",))


def test_an_unknown_version_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="version 9, this release has 1: upgrade keledger"):
        normalize({}, "openai.chat", version=9)
