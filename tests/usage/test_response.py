"""What is taken of a response, as JSON and as the objects that SDKs make of it."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from keledger.journal.usage import ResponseFacts, extract_response, normalize

SENTENCE = "the quick brown fox knows the password"
NOTHING = ResponseFacts(None, None, None, None, None, {})

OPENAI_CHAT = {
    "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    "object": "chat.completion",
    "model": "gpt-5-mini-2025-08-07",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SENTENCE}}],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 0},
    },
    "service_tier": "flex",
}
OPENAI_RESPONSES = {
    "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
    "object": "response",
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "model": "gpt-5",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": SENTENCE}]}],
    "usage": {"input_tokens": 36, "output_tokens": 87, "total_tokens": 123},
    "service_tier": "default",
}
ANTHROPIC = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "model": "claude-sonnet-4-20250514",
    "content": [{"type": "text", "text": SENTENCE}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 2095, "output_tokens": 503, "cache_read_input_tokens": 0},
}
GEMINI = {
    "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
    "modelVersion": "gemini-2.5-pro",
    "candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": SENTENCE}]}}],
    "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 11, "totalTokenCount": 19},
}


@pytest.mark.parametrize(
    ("response", "provider", "facts"),
    [
        (
            OPENAI_CHAT,
            "openai",
            ("openai.chat", OPENAI_CHAT["id"], "gpt-5-mini-2025-08-07", "stop", {"service_tier": "flex"}),
        ),
        (
            OPENAI_RESPONSES,
            "openai",
            ("openai.responses", OPENAI_RESPONSES["id"], "gpt-5", "max_output_tokens", {}),
        ),
        (
            ANTHROPIC,
            "anthropic",
            ("anthropic.messages", ANTHROPIC["id"], "claude-sonnet-4-20250514", "end_turn", {}),
        ),
        (
            GEMINI,
            "gemini",
            ("gemini.generate_content", GEMINI["responseId"], "gemini-2.5-pro", "STOP", {}),
        ),
    ],
)
def test_the_facts_of_a_response(response: dict[str, Any], provider: str, facts: tuple[object, ...]) -> None:
    found = extract_response(response, provider)
    assert found.usage == (response.get("usage") or response["usageMetadata"])
    assert found[1:] == facts
    assert SENTENCE not in repr(found)


def test_a_complete_answer_of_the_responses_api_says_so() -> None:
    response = {**OPENAI_RESPONSES, "status": "completed", "incomplete_details": None}
    assert extract_response(response, "openai").finish_reason == "completed"


class Model(BaseModel):
    """A pydantic model that keeps unknown fields, as the SDKs of OpenAI, Anthropic and Mistral do."""

    model_config = ConfigDict(extra="allow")


class ToDict:
    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(name)
        return self._fields[name]

    def to_dict(self) -> dict[str, Any]:
        return self._fields


class Slotted:
    """Without vars, answering 0 for what was not sent, as protocol buffers do."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        if name.endswith("tokens") or name == "cost_in_usd_ticks":
            return self.fields.get(name, 0)
        raise AttributeError(name)


def as_namespaces(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_namespaces(item) for name, item in value.items()})
    return [as_namespaces(item) for item in value] if isinstance(value, list) else value


MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pydantic": lambda response: Model(**{**response, "usage": Model(**response["usage"])}),
    "to_dict": lambda response: ToDict({**response, "usage": ToDict(response["usage"])}),
    "attributes": as_namespaces,
    "mixed": lambda response: SimpleNamespace(**{**response, "usage": Model(**response["usage"])}),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    ("response", "provider"),
    [(OPENAI_CHAT, "openai"), (OPENAI_RESPONSES, "openai"), (ANTHROPIC, "anthropic")],
)
def test_an_sdks_object_says_the_same_as_its_json(
    make: Callable[[dict[str, Any]], Any], response: dict[str, Any], provider: str
) -> None:
    plain = extract_response(response, provider)
    assert extract_response(make(response), provider) == plain
    alone = extract_response(make(response).usage, provider)
    assert (alone.usage, alone.usage_format) == (plain.usage, plain.usage_format)


def test_an_object_that_lists_nothing_is_asked_for_the_counts_by_name() -> None:
    usage = Slotted({"prompt_tokens": 2341, "completion_tokens": 31, "reasoning_tokens": 736, "total_tokens": 3108})
    facts = extract_response(SimpleNamespace(id="x1", usage=usage), "xai")
    assert facts.usage_format == "xai.chat"
    found = normalize(facts.usage or {}, "xai.chat")
    assert found.usage == {"input_uncached": 2341, "output_reasoning": 736, "output_text": 31, "requests": 1}
    assert found.reported_cost_usd is None


def test_enums_are_their_values() -> None:
    class Reason(enum.Enum):
        STOP = "STOP"

    response = SimpleNamespace(
        candidates=[SimpleNamespace(finish_reason=Reason.STOP)],
        usage_metadata={"prompt_token_count": 1, "traffic_type": Reason.STOP},
    )
    facts = extract_response(response, "google")
    assert type(facts.finish_reason) is str
    assert json.dumps(facts.usage) == '{"prompt_token_count": 1, "traffic_type": "STOP"}'


@pytest.mark.parametrize(
    "response",
    [
        None,
        0,
        1.5,
        True,
        "",
        SENTENCE,
        b"x",
        [],
        [OPENAI_CHAT],
        {},
        {"error": {"message": SENTENCE}},
        object(),
        print,
        dict,
    ],
    ids=lambda response: type(response).__name__,
)
def test_what_is_no_response_has_no_facts(response: object) -> None:
    assert extract_response(response, "openai") == NOTHING


def test_an_error_keeps_its_id_and_nothing_else() -> None:
    response = {
        "id": "req_1",
        "type": "error",
        "error": {"type": "overloaded_error", "message": SENTENCE},
        "usage": None,
    }
    assert extract_response(response, "anthropic") == NOTHING._replace(response_id="req_1")


def test_an_object_whose_properties_raise_has_no_facts() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(SENTENCE)

        def model_dump(self) -> Any:
            raise RuntimeError(SENTENCE)

    assert extract_response(Broken(), "openai") == NOTHING
    assert extract_response({"usage": Broken()}, "openai") == NOTHING


def test_no_sentence_leaves_a_response() -> None:
    response = {
        "id": SENTENCE,
        "model": SENTENCE,
        "choices": [{"finish_reason": SENTENCE, "text": SENTENCE}],
        "service_tier": SENTENCE,
        "stop_reason": SENTENCE,
        "usage": {
            "prompt_tokens": 1,
            "note": SENTENCE,
            SENTENCE: 1,
            "long": "x" * 129,
            "nested": {"deep": [{"text": SENTENCE}, SENTENCE]},
            "service_tier": "batch",
        },
    }
    facts = extract_response(response, "openai")
    assert "fox" not in repr(facts)
    assert "xxx" not in repr(facts)
    assert facts.usage is not None
    assert (facts.usage["prompt_tokens"], facts.usage["service_tier"]) == (1, "batch")


def test_an_endless_object_is_cut() -> None:
    usage: dict[str, Any] = {"prompt_tokens": 1}
    usage["again"] = usage
    usage["list"] = [1] * 5_000
    facts = extract_response({"usage": usage}, "openai")
    assert facts.usage is not None
    assert len(json.dumps(facts.usage)) < 100_000
