"""A small provider on 127.0.0.1 that answers as OpenAI (and those who speak its way), Anthropic and Gemini do.

Its figures are given by whoever starts it, and it remembers what it sent, so that a test can hold the journal
against it.  The shapes follow the providers' references of the chat completions, messages and generateContent
calls, as of 2026-11.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.  ``shape`` is ``openai``, ``anthropic`` or ``gemini``."""

    shape: str
    host: str
    model: str
    text: str
    """The user's last message."""
    tool_results: int
    """How many results of tools have come since then."""
    tools: tuple[str, ...]
    """The tools that are offered."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants to have called."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, in shape-free words; tokens are those of the whole, of which the next ones are a part."""

    text: str = "Hello from a provider that lives on this machine."
    tool: ToolCall | None = None
    input_tokens: int = 1_240
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Only Anthropic's shape tells of these."""
    output_tokens: int = 86
    reasoning_tokens: int = 0
    service_tier: str | None = None
    status: int = 200
    body: bytes | None = None
    """Sent as it is, in place of everything above."""
    delay_s: float = 0.0
    hang_up: bool = False
    """Take the request and close the connection without a word."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one request got: its usage object as sent, or None where there was none."""

    request: Request
    status: int
    usage: Mapping[str, Any] | None
    response_id: str | None


class LocalProvider:
    """Serves until it is left.  *choose* decides on each answer; it is called from several threads."""

    def __init__(self, choose: Callable[[Request], Answer]) -> None:
        self.sent: list[Sent] = []
        """What was answered so far, in the order of the answers."""
        self.asked: list[Request] = []
        """What was asked so far, also where no answer has followed yet."""
        self._choose = choose
        self._hurried = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as ``KELEDGER_LOCAL_PROVIDER`` wants it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def hurry(self) -> None:
        """Let all answers go out that wait for their time."""
        self._hurried.set()

    def __enter__(self) -> LocalProvider:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hurry()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes] | None:
        """The status and body for one request; None to hang up."""
        request = _request_of(path, body)
        self.asked.append(request)
        answer = self._choose(request)
        self._hurried.wait(answer.delay_s)
        if answer.hang_up:
            return None
        if answer.body is not None:
            usage, response_id, encoded = None, None, answer.body
        else:
            content = _refusal(answer.status) if answer.status != 200 else _SHAPES[request.shape](request, answer)
            usage = content.get("usage") or content.get("usageMetadata")
            response_id = content.get("id") or content.get("responseId")
            encoded = json.dumps(content).encode()
        self.sent.append(Sent(request, answer.status, usage, response_id))
        return answer.status, encoded


def _handler_of(provider: LocalProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = provider.answer(self.path, body)
            self.close_connection = True
            if answer is None:
                return
            status, encoded = answer
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(encoded)
            except ConnectionError:
                pass  # the client did not wait for it

        def log_message(self, *_: Any) -> None:
            """Keep quiet: stderr is somebody else's."""

    return Handler


def _request_of(path: str, body: dict[str, Any]) -> Request:
    host, _, rest = path.lstrip("/").partition("/")
    if rest.partition("?")[0].endswith(":generateContent"):
        shape, model = "gemini", rest.partition("?")[0].rpartition(":")[0].rpartition("/")[2]
        declared = [tool for group in body.get("tools", ()) for tool in group["functionDeclarations"]]
        messages = [(message["role"], message["parts"]) for message in body["contents"]]
    else:
        shape = "anthropic" if rest.endswith("/messages") else "openai"
        model = body["model"]
        declared = [tool.get("function", tool) for tool in body.get("tools", ())]
        messages = [(message["role"], message.get("content")) for message in body["messages"]]
    text, tool_results = "", 0
    for role, content in messages:
        parts = content if isinstance(content, list) else [{"type": role, "text": content}]
        for part in parts:
            if role == "tool" or part.get("type") == "tool_result" or "functionResponse" in part:
                tool_results += 1
            elif role == "user" and part.get("text"):
                text, tool_results = part["text"], 0
    return Request(shape, host, model, text, tool_results, tuple(tool["name"] for tool in declared))


def _openai(request: Request, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool is not None:
        function = {"name": answer.tool.name, "arguments": json.dumps(dict(answer.tool.arguments))}
        call = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    content = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": 1_795_000_000,
        "model": request.model,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tool else "stop"},
        ],
        "usage": {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cache_read_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": answer.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }
    if answer.service_tier is not None:
        content["service_tier"] = answer.service_tier
    return content


def _anthropic(request: Request, answer: Answer) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "text", "text": answer.text}
    if answer.tool is not None:
        part = {
            "type": "tool_use",
            "id": f"toolu_{uuid.uuid4().hex[:24]}",
            "name": answer.tool.name,
            "input": dict(answer.tool.arguments),
        }
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [part],
        "stop_reason": "tool_use" if answer.tool else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens - answer.cache_read_tokens - answer.cache_write_tokens,
            "cache_creation_input_tokens": answer.cache_write_tokens,
            "cache_read_input_tokens": answer.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": answer.cache_write_tokens,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": answer.output_tokens,
            "service_tier": answer.service_tier or "standard",
        },
    }


def _gemini(request: Request, answer: Answer) -> dict[str, Any]:
    part: dict[str, Any] = {"text": answer.text}
    if answer.tool is not None:
        part = {"functionCall": {"name": answer.tool.name, "args": dict(answer.tool.arguments)}}
    usage = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.output_tokens - answer.reasoning_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input_tokens}],
    }
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    if answer.cache_read_tokens:
        usage["cachedContentTokenCount"] = answer.cache_read_tokens
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0},
        ],
        "usageMetadata": usage,
        "modelVersion": request.model,
        "responseId": uuid.uuid4().hex[:22],
    }


_SHAPES: Mapping[str, Callable[[Request, Answer], dict[str, Any]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def _refusal(status: int) -> dict[str, Any]:
    kind = {429: "rate_limit_exceeded", 500: "server_error"}.get(status, "invalid_request_error")
    return {"error": {"type": kind, "code": kind, "message": f"The local provider was told to answer {status}."}}
