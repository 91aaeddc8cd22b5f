"""What is told of a request before it leaves: the shapes of real requests, and of what nobody would send."""

from __future__ import annotations

import ast
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal.capture import shape as module
from keledger.journal.capture.shape import shape_of

TEXT = {"role": "user", "content": "How many days has a leap year?"}
SCHEMA = {"type": "object", "properties": {}}
FUNCTION: dict[str, Any] = {"name": "days", "description": "Days of a year", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}
GEMINI_TEXT = {"role": "user", "parts": [{"text": "How many days has a leap year?"}]}


def told(request: object, *names: str) -> Any:
    """Some of what is told of a request."""
    shape = shape_of(request)
    values = tuple(shape.get(name) for name in names)
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize(
    ("request_", "messages", "tools", "choices", "limit"),
    [
        pytest.param({"model": "gpt-4o", "messages": [TEXT, TEXT]}, 2, 0, 1, None, id="OpenAI, as KePrompt sends it"),
        pytest.param(
            {
                "messages": [
                    TEXT,
                    {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {
                        "name": "days", "arguments": '{"year":2024}'}}]},
                    {"role": "tool", "tool_call_id": "1", "content": "366"},
                ],
                "tools": [{"type": "function", "function": FUNCTION}] * 2,
                "n": 3, "max_completion_tokens": 500, "temperature": 0.2,
            },
            3, 2, 3, 500, id="OpenAI, tools",
        ),
        pytest.param(
            {"messages": [TEXT, {"role": "assistant", "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "days", "arguments": {"year": 2024}}}]}]},
            2, 0, 1, None, id="Mistral, as KePrompt sends it: arguments are an object",
        ),
        pytest.param({"messages": [TEXT], "max_tokens": 10, "max_completion_tokens": 90}, 1, 0, 1, 90, id="two limits"),
        pytest.param({"input": "How many?", "max_output_tokens": 50}, 1, 0, 1, 50, id="responses, a text"),
        pytest.param(
            {
                "instructions": "Be brief.",
                "input": [
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How many?"}]},
                    {"type": "function_call", "call_id": "1", "name": "days", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "366"},
                ],
                "tools": [{"type": "function", **FUNCTION}, {"type": "custom", "name": "sql"}],
                "reasoning": {"effort": "low"},
            },
            4, 2, 1, None, id="responses, tools",
        ),
        pytest.param({"input": ["one", "two"], "dimensions": 256}, 2, 0, 1, None, id="embeddings"),
        pytest.param(
            {
                "system": [{"type": "text", "text": "Be brief."}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "How many?"}]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "days",
                                                       "input": {"year": 2024, "deep": [{"type": "image"}]}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "366"}]},
                ],
                "tools": [{"name": "days", "description": "", "input_schema": {"type": "object"}}],
                "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048},
            },
            4, 1, 1, 4096, id="Anthropic, as KePrompt sends it, thinking",
        ),
        pytest.param(
            {
                "contents": [
                    GEMINI_TEXT,
                    {"role": "model", "parts": [{"functionCall": {"name": "days", "args": {"year": 2024}}}]},
                    {"role": "function", "parts": [{"functionResponse": {"name": "days", "response": {"days": 366}}}]},
                ],
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "tools": [{"functionDeclarations": [FUNCTION, FUNCTION]}],
                "generationConfig": {"maxOutputTokens": 200, "candidateCount": 2, "topP": 0.9},
            },
            4, 2, 2, 200, id="Gemini, tools",
        ),
        pytest.param(
            {"contents": "How many?", "config": {"max_output_tokens": 200, "system_instruction": "Be brief."}},
            2, 0, 1, 200, id="Gemini, its Python library",
        ),
        pytest.param({"messages": [TEXT], "extra_body": {"max_tokens": 7}, "timeout": 3}, 1, 0, 1, 7, id="extra_body"),
        pytest.param({"prompt": "Once upon a time", "max_tokens": 9}, 1, 0, 1, 9, id="completions"),
    ],
)  # fmt: skip
def test_it_counts_a_request_of_text(
    request_: dict[str, Any], messages: int, tools: int, choices: int, limit: int | None
) -> None:
    shape = shape_of(request_)
    sent = {name: value for name, value in request_.items() if name != "timeout"}
    assert shape["bytes"] == len(json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode())
    assert (shape["messages"], shape["tools"], shape["choices"]) == (messages, tools, choices)
    assert shape.get("max_output_tokens") == limit
    assert shape["self_contained"] is True
    assert "unbounded" not in shape


@pytest.mark.parametrize("limit", [0, -1, 2**53, True, "100", 1.5, [100], float("inf")])
def test_a_limit_that_is_none_is_not_relied_on(limit: object) -> None:
    assert told({"messages": [TEXT], "max_tokens": limit}, "max_output_tokens") is None
    assert told({"messages": [TEXT], "max_tokens": limit, "max_completion_tokens": 5}, "max_output_tokens") is None


def test_a_predicted_answer_leaves_no_limit() -> None:
    request = {"messages": [TEXT], "max_completion_tokens": 5, "prediction": {"type": "content", "content": "366"}}
    assert told(request, "max_output_tokens") is None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "source": {}}]},
        {"type": "thinking", "thinking": "Let me see", "signature": "AAAA"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": "gs://bucket/a.mp4"}},
        {"functionCall": {"name": "days", "args": {}}, "thoughtSignature": "AAAA"},
        {"functionResponse": {"name": "days", "response": {}, "parts": [{"inlineData": {"data": "AAAA"}}]}},
        {"text": "a", "image": "AAAA"},
        {"type": ["text"], "text": "a"},
        3.5,
    ],
)
def test_what_is_no_text_is_not_self_contained(part: Any) -> None:
    for request in (
        {"messages": [TEXT, {"role": "user", "content": [{"type": "text", "text": "See:"}, part]}]},
        {"contents": [{"role": "user", "parts": [part]}]},
        {"system": [part], "messages": [TEXT]},
        {"input": [part]},
    ):
        assert told(request, "self_contained", "unbounded") == (False, None)


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"cachedContent": "cachedContents/1"},
        {"config": {"cached_content": "cachedContents/1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "reasoning", "encrypted_content": "AAAA", "summary": []}]},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"tools": [{"type": "computer_use_preview", "display_width": 800}]},
    ],
)
def test_what_stands_elsewhere_is_not_self_contained(more: dict[str, Any]) -> None:
    assert told({"messages": [TEXT], **more}, "self_contained", "unbounded") == (False, None)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}, "web_search"),
        ({"tools": [{"type": "function", "function": FUNCTION}, {"type": "web_search_preview"}]}, "web_search"),
        ({"tools": [{"functionDeclarations": [FUNCTION], "googleSearch": {}}]}, "web_search"),
        ({"tools": [{"google_search_retrieval": {"dynamic_retrieval_config": {}}}]}, "web_search"),
        ({"config": {"tools": [{"url_context": {}}]}}, "web_fetch"),
        ({"tools": [{"codeExecution": {}}]}, "code_execution"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "code_execution"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "file_search"),
        ({"tools": [{"type": "image_generation"}]}, "image_generation"),
        ({"tools": [{"type": "mcp", "server_url": "https://example.org"}]}, "mcp"),
        ({"tools": [{"type": "tool_search_tool_regex_20251119", "name": "t"}]}, "tool_search"),
        ({"tools": [{"type": "something_new"}]}, "server_tool"),
        ({"tools": [{"somethingNew": {}}]}, "server_tool"),
        ({"tools": [{"type": {}}]}, "server_tool"),
        ({"tools": {"type": "function"}}, "server_tool"),
        ({"web_search_options": {}}, "web_search"),
        ({"search_parameters": {"mode": "auto"}}, "web_search"),
        ({"extra_body": {"plugins": [{"id": "web"}]}}, "server_tool"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp"),
        ({"container": {"skills": []}}, "code_execution"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"models": ["a", "b"]}, "other_models"),
        ({"prompt": {"id": "pmpt_1"}}, "stored_prompt"),
        ({"prompt": ["one", "two"]}, "choices"),
        ({"n": "many"}, "choices"),
        ({"n": 0}, "choices"),
        ({"something_new": True}, "unknown_field"),
        ({"config": {"automatic_function_calling": {}}}, "unknown_field"),
        ({"tool_config": object()}, "unreadable"),
        ({"user": b"bytes"}, "unreadable"),
    ],
)
def test_what_has_no_bound_says_so(more: dict[str, Any], word: str) -> None:
    assert told({"messages": [TEXT], **more}, "unbounded") == word


@pytest.mark.parametrize("request_", [None, "text", 7, [TEXT], object(), {1: object()}, {"messages": iter([TEXT])}])
def test_what_is_no_request_is_told_at_its_worst(request_: object) -> None:
    assert told(request_, "unbounded", "self_contained" if not isinstance(request_, dict) else "bytes") in (
        ("unreadable", False),
        ("unreadable", None),
    )


def test_a_request_that_contains_itself_is_unreadable() -> None:
    request: dict[str, Any] = {"messages": [TEXT]}
    request["metadata"] = request
    assert told(request, "unbounded", "bytes") == ("unreadable", None)


def test_objects_of_a_library_are_read_where_they_can_dump_themselves() -> None:
    class Message:
        def model_dump(self, **_: object) -> dict[str, Any]:
            return TEXT

    assert shape_of({"messages": [Message()]}) == shape_of({"messages": [TEXT]})


def test_a_library_object_that_fails_is_unreadable() -> None:
    class Message:
        def model_dump(self, **_: object) -> dict[str, Any]:
            raise RuntimeError

    assert told({"messages": [Message()]}, "unbounded") == "unreadable"


@pytest.mark.parametrize(
    ("request_", "cache_write"),
    [
        ({"messages": [TEXT]}, "none"),
        ({"messages": [{"role": "user", "content": '"cache_control":{"ttl":"1h"}'}]}, "none"),
        ({"messages": [TEXT], "cache_control": {"type": "ephemeral"}}, "5m"),
        ({"messages": [TEXT], "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}, "5m"),
        ({"messages": [TEXT], "tools": [{**FUNCTION, "cache_control": {"ttl": "5m"}}]}, "5m"),
        ({"messages": [TEXT], "tools": [{**FUNCTION, "cache_control": {"ttl": "1h"}}]}, "1h"),
        ({"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"content": [{"type": "text", "cache_control": {"ttl": "1h"}}]}}]}]}, "1h"),
    ],
)  # fmt: skip
def test_it_tells_for_how_long_a_cache_is_written(request_: dict[str, Any], cache_write: str) -> None:
    assert told(request_, "cache_write") == cache_write


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (None, None, None)),
        ({"service_tier": "auto"}, ("auto", None, None)),
        ({"service_tier": "Priority"}, ("priority", None, None)),
        ({"service_tier": "my own words"}, (None, None, None)),
        ({"speed": "fast"}, (None, "fast", None)),
        ({"speed": "standard"}, (None, None, None)),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, (None, None, True)),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, (None, None, None)),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": False}}}, (None, None, None)),
    ],
)
def test_it_tells_on_what_terms(more: dict[str, Any], expected: tuple[object, ...]) -> None:
    assert told({"messages": [TEXT], **more}, "service_tier", "speed", "thinking_off") == expected


@pytest.mark.parametrize("text", ["é" * 10, "\ufdfa", "\u1100\u1161 \ufdfa"])
def test_bytes_are_those_of_the_longer_spelling(text: str) -> None:
    spellings = (text, unicodedata.normalize("NFKC", text))
    assert told({"input": text}, "bytes") == len('{"input":""}') + max(len(spelling.encode()) for spelling in spellings)


def test_half_a_surrogate_pair_is_counted() -> None:
    assert told({"input": "\ud800"}, "bytes", "self_contained") == (len('{"input":""}') + 3, True)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
                    max_leaves=9))  # fmt: skip
def test_data_written_out_again_is_no_longer_than_told(data: Any) -> None:
    """A provider may indent the data of a tool, escape its letters, and write its numbers out."""
    compact = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    request = {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"data": data}}}]}]}
    escaped = json.dumps({"data": data})
    growth = told(request, "growth_bytes")
    assert len(escaped) <= len(compact.encode("utf-8", "surrogatepass")) + len('{"data":}') + growth
    marks = sum(compact.count(mark) for mark in ",:[{")
    assert growth >= module.SPREAD_BYTES * marks


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"functions": [FUNCTION]},
        {"tools": [{"functionDeclarations": [FUNCTION]}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"generationConfig": {"responseSchema": SCHEMA}},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"numbers":[1,2,3]}'}}]}]},
    ],
)
def test_tools_data_and_forms_may_grow(more: dict[str, Any]) -> None:
    assert told({"messages": [TEXT]}, "growth_bytes") == 0
    written = json.dumps(more, indent=4)
    compact = json.dumps(more, separators=(",", ":"))
    growth = told({"messages": [TEXT], **more}, "growth_bytes")
    assert growth >= len(written.split()) - compact.count(" ")
    assert growth > 0


@pytest.mark.parametrize("number", [1e300, -1e22, 5e-324, 2.5e-7])
def test_a_number_with_an_exponent_may_be_written_out(number: float) -> None:
    request = {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"n": number}}}]}]}
    assert told(request, "growth_bytes") >= len(f"{number:.340f}".rstrip("0")) - len(repr(number))


WORDS = {
    "none", "5m", "1h", "fast", *module.SERVICE_TIERS, *module.BEYOND.values(), "server_tool", "choices",
    "unknown_field", "unreadable", *(word for _, word in module.SERVER_TOOLS),
}  # fmt: skip
NAMES = [*sorted(module.KNOWN), *sorted(module.BEYOND), *sorted(module.ELSEWHERE), "generationConfig", "new"]
PARTS = ["type", "role", "content", "parts", "text", "functionCall", "args", "tool_calls", "input", "cache_control"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["text", "function", "1h"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(PARTS) | st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES, max_size=6))
def test_nothing_raises_and_no_text_is_told(request_: dict[str, Any]) -> None:
    shape = shape_of(request_)
    assert all(isinstance(value, int) or value in WORDS for value in shape.values())
    assert {name for name in shape if shape[name] is None} == set()
    json.dumps(shape)


def test_it_is_python_3_10_and_needs_only_the_standard_library() -> None:
    source = Path(module.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 10))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names
