"""Counting requests of all forms."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import InputRefused
from keledger.journal.estimates import Counted, count_prompt, count_request
from keledger.journal.estimates._request import read_request

from .support import reference
from .test_images import png

PICTURE = base64.b64encode(png(1024, 1024)).decode()
TOOL = {"name": "look_up", "description": "Looks it up.", "parameters": {"type": "object", "properties": {}}}
COMPACT_TOOL = json.dumps(TOOL, separators=(",", ":"))

FORMS: list[tuple[str, Any, tuple[str, ...], int, int]] = [
    ("a text", "Hello", ("Hello",), 1, 0),
    (
        "chat",
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "found"},
            ],
            "tools": [{"type": "function", "function": TOOL}],
            "temperature": 0.5,
        },
        ("Be brief.", "Hi", "there", "look_up", '{"a":1}', "found"),
        4,
        1,
    ),
    (
        "responses",
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "found"},
            ],
            "tools": [{"type": "function", **TOOL}, {"type": "web_search"}],
        },
        ("Be brief.", "Hi", "look_up", "{}", "found"),
        4,
        2,
    ),
    ("responses with a text", {"input": "Hi", "instructions": None}, ("Hi",), 1, 0),
    ("embeddings", {"input": ["one", "two"]}, ("one", "two"), 1, 0),
    ("completions", {"prompt": "Once"}, ("Once",), 1, 0),
    (
        "Anthropic",
        {
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "look_up", "input": {"ä": 1}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "found"}]},
                        {"type": "document", "title": "T", "source": {"type": "text", "data": "a text"}},
                    ],
                },
            ],
            "tools": [TOOL],
            "max_tokens": 10,
        },
        ("Be brief.", "Hi", "look_up", '{"ä":1}', "found", "a text", "T"),
        4,
        1,
    ),
    (
        "Gemini",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "look_up", "args": {"a": 1}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "look_up", "response": {"r": "found"}}}]},
            ],
            "tools": [{"functionDeclarations": [TOOL, TOOL]}],
            "generationConfig": {"maxOutputTokens": 5},
        },
        ("Be brief.", "Hi", "look_up", '{"a":1}', "look_up", '{"r":"found"}'),
        4,
        2,
    ),
    (
        "Gemini's Python library",
        {
            "contents": ["Hi", "there"],
            "config": {"system_instruction": "Be brief.", "tools": [{"function_declarations": [TOOL]}]},
        },
        ("Hi", "there", "Be brief."),
        2,
        1,
    ),
]


@pytest.mark.parametrize(
    ("request_", "texts", "messages", "tools"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS]
)
def test_each_form_is_read(request_: Any, texts: tuple[str, ...], messages: int, tools: int) -> None:
    read = read_request(request_)
    assert sorted(read.texts) == sorted(texts)
    assert (read.messages, len(read.definitions)) == (messages, tools)
    assert (read.images, read.others, read.schemas, read.token_ids) == ((), (), (), 0)
    for model in ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "llama-3"):
        found = count_request(request_, provider="x", model=model)
        assert found.tokens > 0
        assert found.least <= 1 <= found.most
        assert found.notes == ()


def count(text: str) -> int:
    return len(reference("o200k_base").encode_ordinary(text))


def test_an_exact_count_is_a_sum() -> None:
    request = FORMS[1][1]
    text = sum(count(each) for each in FORMS[1][2]) + count(json.dumps(request["tools"][0], separators=(",", ":")))
    found = count_request(request, provider="openai", model="gpt-4o")
    assert (found.method, found.ratio) == ("tiktoken:o200k_base", 1.0)
    assert found.tokens == text + 6 + 4 * 3 + 16 + 6
    found = count_request(request, provider="openai", model="o3")
    assert found.tokens == text + 5 + 4 * 4 + 22 + 6


def test_what_a_provider_adds_is_whole_again_in_the_median() -> None:
    request = FORMS[6][1]
    text = sum(count(each) for each in FORMS[6][2]) + count(COMPACT_TOOL)
    found = count_request(request, provider="anthropic", model="claude-sonnet-4-5")
    assert (found.method, found.ratio) == ("proxy:o200k_base", 1.19)
    assert found.tokens * found.ratio == pytest.approx(text * 1.19 + 6 + 4 * 2 + 450 + 53, abs=1)


def test_an_embedding_of_ids_is_as_many_tokens() -> None:
    assert count_request({"input": [1, 2, 3]}, provider="openai", model="text-embedding-3-small").tokens == 3
    two = count_request({"input": [[1, 2, 3], [4]]}, provider="openai", model="text-embedding-3-small")
    assert two == Counted(4, "tiktoken:cl100k_base", 1.0, 1.0, 1.0, ())


DATA_URL = f"data:image/png;base64,{PICTURE}"
SOURCE = {"type": "base64", "media_type": "image/png", "data": PICTURE}
IMAGES: list[tuple[str, Any]] = [
    ("gpt-4o", {"type": "image_url", "image_url": {"url": DATA_URL}}),
    ("gpt-4o", {"type": "input_image", "image_url": DATA_URL.replace("data", "DATA"), "detail": "high"}),
    ("claude-sonnet-4-5", {"type": "image", "source": SOURCE}),
    ("claude-sonnet-4-5", {"type": "tool_result", "content": [{"type": "image", "source": SOURCE}]}),
    ("gemini-2.5-pro", {"inlineData": {"mimeType": "image/png", "data": PICTURE}}),
    ("gemini-2.5-pro", {"inline_data": {"mime_type": "image/png", "data": png(1024, 1024)}}),
]


@pytest.mark.parametrize(("model", "part"), IMAGES)
def test_an_image_is_counted_by_its_size(model: str, part: Any) -> None:
    request_ = {"contents" if "gemini" in model else "messages": [{"role": "user", "content": [part]}]}
    expected = {"gpt-4o": 765 + 9, "claude-sonnet-4-5": 37 * 37 + 8, "gemini-2.5-pro": 4 * 258}[model]
    found = count_request(request_, provider="x", model=model)
    assert found.tokens * found.ratio == pytest.approx(expected, abs=1)
    assert found.notes == ()
    assert 0.99 < found.least <= found.most < 1.01


def test_a_resolution_is_asked_for_in_two_places() -> None:
    blob = {"inlineData": {"mimeType": "image/png", "data": PICTURE}}
    request: dict[str, Any] = {
        "contents": [{"parts": [blob, {**blob, "mediaResolution": {"level": "MEDIA_RESOLUTION_MEDIUM"}}]}],
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
    }
    found = count_request(request, provider="x", model="gemini-3-pro-preview")
    assert found.tokens * found.ratio == pytest.approx(280 + 560, abs=1)


def test_an_image_of_unknown_size_makes_a_note_and_a_wide_band() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "file_id": "file-1", "detail": "low"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}},
    ]
    found = count_request({"messages": [{"role": "user", "content": parts}]}, provider="openai", model="gpt-4o")
    assert found.notes == (
        "image 2 is a link, so its size is unknown: counted as 85 to 1,105 tokens",
        "image 4 is unreadable, so its size is unknown: counted as 85 to 1,105 tokens",
    )
    assert found.tokens == 9 + 765 + 765 + 85 + 765
    assert found.least * found.tokens == pytest.approx(9 * 0.7 + 765 + 85 + 85 + 85)
    assert found.most * found.tokens == pytest.approx(9 * 1.3 + 765 + 1105 + 85 + 1105)


def test_of_a_model_that_nobody_knows_images_are_guessed() -> None:
    request = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}] * 2}]
    }
    found = count_request(request, provider="x", model="llama-4")
    assert found.notes == ("how this model counts images is not known: each counted as 85 to 4,800 tokens",)


@pytest.mark.parametrize(
    ("part", "note"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "not counted: audio"),
        ({"type": "document", "source": {"type": "base64", "data": "AAAA"}}, "not counted: document"),
        ({"type": "file", "file": {"file_id": "f"}}, "not counted: document"),
        ({"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}, "not counted: document"),
        ({"file_data": {"mime_type": "video/mp4", "file_uri": "gs://x"}}, "not counted: video"),
        ({"type": "thinking", "thinking": "hm"}, "not counted: thinking of an earlier answer"),
    ],
)
def test_other_media_are_not_counted_and_that_is_said(part: dict[str, Any], note: str) -> None:
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}]}
    found = count_request(request, provider="openai", model="gpt-4o")
    assert found.tokens == count("Hi") + 9
    assert found.notes == (note,)
    twice = {"messages": [{"role": "user", "content": [part, part]}]}
    assert count_request(twice, provider="openai", model="gpt-4o").notes == (f"{note} (2 times)",)


def test_what_the_provider_keeps_is_said_to_be_missing() -> None:
    found = count_request({"input": "Hi", "previous_response_id": "r"}, provider="openai", model="gpt-5")
    assert found.notes == ("not counted: what the provider keeps of earlier calls",)
    found = count_request({"prompt": {"id": "p"}, "input": "Hi"}, provider="openai", model="gpt-5")
    assert found.notes == ("not counted: a prompt that the provider keeps",)


@pytest.mark.parametrize(
    "asked",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}},
        {"text": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"generationConfig": {"responseSchema": {"type": "object"}}},
    ],
)
def test_a_schema_of_the_answer_is_read_too(asked: dict[str, Any]) -> None:
    plain = count_request({"input": "Hi"}, provider="openai", model="gpt-5").tokens
    with_schema = count_request({"input": "Hi", **asked}, provider="openai", model="gpt-5").tokens
    assert with_schema >= plain + count('{"type":"object"}')
    without = count_request({"input": "Hi", "response_format": {"type": "json_object"}}, provider="x", model="gpt-5")
    assert without.tokens == plain


class Dumped:
    """As the objects of providers' Python libraries are."""

    def model_dump(self, **_: object) -> dict[str, Any]:
        return {"role": "user", "content": "Hi"}


def test_objects_of_a_library_are_read() -> None:
    assert read_request({"messages": (Dumped(),)}).texts == ("Hi",)


def deep(levels: int) -> Any:
    return {"messages": [deep(levels - 1)]} if levels else "x"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ("", "there is nothing to count: the prompt is empty"),
        ({"messages": []}, "there is nothing to count: the prompt is empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "there is nothing to count: the prompt is empty"),
        ({"contents": [{"parts": []}]}, "there is nothing to count: the prompt is empty"),
        ({}, "none of messages, contents, input and prompt"),
        ({"system": "Be brief."}, "none of messages, contents, input and prompt"),
        ({"model": "gpt-5", "text": "Hi"}, "none of messages, contents, input and prompt"),
        (None, "and this is nothing"),
        ([{"role": "user", "content": "Hi"}], "and this is of the type list"),
        (7, "and this is of the type int"),
        ({"messages": [object()]}, "of the type object, which is no JSON"),
        (deep(40), "nested deeper than 64 levels"),
    ],
)
def test_what_is_no_request_is_refused(request_: Any, sentence: str) -> None:
    with pytest.raises(InputRefused, match=sentence):
        count_request(request_, provider="openai", model="gpt-5")


NAMES = (
    "type", "text", "content", "parts", "source", "data", "url", "image_url", "image", "input_image", "document",
    "inlineData", "fileData", "mimeType", "tools", "function", "format", "schema", "messages", "contents", "input",
    "prompt", "detail", "mediaResolution", "functionDeclarations", "response_format", "base64", "input_audio",
)  # fmt: skip
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner | st.sampled_from(["image", "image_url", "document", "text", "base64", "image/png", "data:,x"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.sampled_from(["messages", "contents", "input", "tools", "response_format", "text"]), json_like)
)
def test_no_request_makes_it_stumble(request_: dict[str, Any]) -> None:
    try:
        found = count_request(request_, provider="openai", model="gpt-4o")
    except InputRefused:
        return
    assert found.tokens >= 1
    assert 0 < found.least <= 1 <= found.most


def test_a_prompt_is_one_message() -> None:
    asked = {"messages": [{"role": "user", "content": "Say <|endoftext|>"}]}
    assert count_prompt("Say <|endoftext|>", provider="openai", model="gpt-4o") == count_request(
        asked, provider="openai", model="gpt-4o"
    )
