"""What holds for any content of a usage object."""

from __future__ import annotations

import copy
import inspect
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal.usage import (
    BUCKETS,
    USAGE_FORMATS,
    _v1,
    _v1_reading,
    detect_format,
    extract_response,
    normalize,
    token_totals,
)

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

MAX_COUNT = 2**53 - 1

# Every word that version 1 reads by, so that arbitrary objects reach its code.
SOURCE = inspect.getsource(_v1) + inspect.getsource(_v1_reading)
FIELDS = sorted({word for text in re.findall(r'"([\w.]+)"', SOURCE) for word in text.split(".")})

scalars = (
    st.none()
    | st.booleans()
    | st.integers(0, 50)
    | st.integers()
    | st.floats()
    | st.sampled_from(["AUDIO", "IMAGE", "compaction", "advisor_message", "batch", "priority", "12"])
    | st.text(max_size=8)
)
keys = st.sampled_from(FIELDS) | st.text(max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=8),
    max_leaves=25,
)
usage_objects = st.dictionaries(keys, values, max_size=12)

# Notes speak of fields and parts in fixed words.
NOTE = re.compile(r"[A-Za-z0-9_.]+(:[a-z_]+|[>][a-z_]+|!=[a-z+]+)?")


@steady
@given(raw=usage_objects)
def test_any_content_gives_buckets_of_the_table(raw: dict[str, Any]) -> None:
    for usage_format in sorted(USAGE_FORMATS):
        check_answer(raw, usage_format)


def check_answer(raw: dict[str, Any], usage_format: str) -> None:
    before = copy.deepcopy(raw)
    found = normalize(raw, usage_format)
    assert repr(raw) == repr(before)
    assert found == normalize(copy.deepcopy(raw), usage_format)
    assert set(found.usage) <= set(BUCKETS)
    assert all(type(n) is int and 1 <= n <= MAX_COUNT for n in found.usage.values())
    assert found.usage.get("requests") == (1 if found.readable else None)
    assert all(NOTE.fullmatch(note) for note in found.notes)
    assert len(found.notes) == len(set(found.notes))
    if found.reported_cost_usd is not None:
        assert re.fullmatch(r"(0|[1-9]\d{0,14})(\.\d*[1-9])?", found.reported_cost_usd)
    assert set(found.pricing_context) <= {"service_tier", "processing", "speed", "region"}
    totals = token_totals(found.usage)
    tokens = {name: n for name, n in found.usage.items() if BUCKETS[name].unit == "tokens"}
    assert totals.input_tokens + totals.output_tokens == sum(tokens.values())
    assert totals.cache_read_input_tokens + totals.cache_creation_input_tokens <= totals.input_tokens
    assert totals.reasoning_output_tokens <= totals.output_tokens


@steady
@given(raw=values)
def test_any_json_is_no_reason_to_raise(raw: Any) -> None:
    assert detect_format("openai", raw) is None or isinstance(raw, dict)
    facts = extract_response(raw, "openai")
    json.dumps(facts.usage, allow_nan=False)
    for usage_format in USAGE_FORMATS:
        normalize(raw, usage_format)


parts = st.integers(0, 100)


@steady
@given(
    prompt=parts,
    completion=parts,
    inputs=st.dictionaries(
        st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "video_tokens"]),
        parts,
    ),
    outputs=st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens", "image_tokens"]), parts),
)
def test_whatever_the_parts_the_buckets_add_up_to_the_counts(
    prompt: int, completion: int, inputs: dict[str, int], outputs: dict[str, int]
) -> None:
    raw = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": inputs,
        "completion_tokens_details": outputs,
    }
    totals = token_totals(normalize(raw, "openai.chat").usage)
    assert totals.input_tokens == prompt
    assert totals.output_tokens == completion
    assert totals.cache_read_input_tokens == min(inputs.get("cached_tokens", 0), prompt)
    assert totals.reasoning_output_tokens == min(outputs.get("reasoning_tokens", 0), completion)
    apart = token_totals(normalize(raw, "xai.chat").usage)
    assert apart.output_tokens == completion + outputs.get("reasoning_tokens", 0)


@steady
@given(
    counts=st.fixed_dictionaries(
        {
            "promptTokenCount": parts,
            "toolUsePromptTokenCount": parts,
            "candidatesTokenCount": parts,
            "thoughtsTokenCount": parts,
        }
    ),
    cached=parts,
    details=st.dictionaries(
        st.sampled_from(["promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"]),
        st.lists(
            st.fixed_dictionaries(
                {
                    "modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO", "DOCUMENT"]),
                    "tokenCount": parts,
                }
            )
        ),
    ),
)
def test_whatever_the_modalities_geminis_buckets_add_up_to_its_total(
    counts: dict[str, int], cached: int, details: dict[str, Any]
) -> None:
    total = sum(counts.values())
    raw = {**counts, **details, "cachedContentTokenCount": cached, "totalTokenCount": total}
    totals = token_totals(normalize(raw, "gemini.generate_content").usage)
    assert totals.input_tokens + totals.output_tokens == total
    assert totals.reasoning_output_tokens == counts["thoughtsTokenCount"]


@steady
@given(
    counts=st.fixed_dictionaries({"input_tokens": parts, "output_tokens": parts, "cache_read_input_tokens": parts}),
    written=st.none() | parts,
    split=st.dictionaries(st.sampled_from(["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]), parts),
)
def test_whatever_the_split_anthropics_cache_writes_add_up_to_their_total(
    counts: dict[str, int], written: int | None, split: dict[str, int]
) -> None:
    raw = {**counts, "cache_creation_input_tokens": written, "cache_creation": split}
    totals = token_totals(normalize(raw, "anthropic.messages").usage)
    expected = sum(split.values()) if written is None else written
    assert totals.cache_creation_input_tokens == expected
    assert totals.input_tokens == counts["input_tokens"] + counts["cache_read_input_tokens"] + expected
    assert totals.output_tokens == counts["output_tokens"]
