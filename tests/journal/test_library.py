"""``ledger.call``: a call made in this process, answered or not."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from keledger.journal import Home, InputRefused, Ledger, UsageError

from .support import USAGE, calls

ANTHROPIC_USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 3}
GEMINI_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 6}


class _HTTPError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("the provider's words, which are private: canary")
        self.response = SimpleNamespace(status_code=status)


def _only(home: Home) -> dict[str, Any]:
    (event,) = calls(home)
    data: dict[str, Any] = event["data"]
    return data


@pytest.mark.parametrize(
    ("provider", "model", "response", "tokens"),
    [
        ("openai", "gpt-5-mini", {"id": "chatcmpl-1", "model": "gpt-5-mini-2025-08-07", "usage": USAGE}, (1000, 200)),
        ("openai", "gpt-5-mini", USAGE, (1000, 200)),
        ("anthropic", "claude-haiku-4-5", {"id": "msg", "usage": ANTHROPIC_USAGE}, (15, 3)),
        ("gemini", "gemini-2.5-flash", {"usageMetadata": GEMINI_USAGE}, (9, 10)),
    ],
)
def test_a_response_or_its_usage_completes_a_call(
    ledger: Ledger, home: Home, provider: str, model: str, response: Any, tokens: tuple[int, int]
) -> None:
    with ledger.call(provider=provider, model=model, session="s1", tags={"a": "b"}) as call:
        call.complete(response)
    data = _only(home)
    assert data["status"] == "ok"
    assert data["cost"]["state"] == "priced"
    assert data["origin"] == "library"
    assert data["run"] == ledger.run
    assert data["tags"] == {"a": "b"}
    assert data["duration_ms"] >= 0
    assert call.recorded is not None
    assert (call.recorded.input_tokens, call.recorded.output_tokens) == tokens
    assert calls(home)[0]["id"] == call.id


@pytest.mark.parametrize(
    ("error", "status", "http_status", "state"),
    [
        (_HTTPError(429), "error", 429, "priced"),
        (_HTTPError(500), "error", 500, "priced"),
        (TimeoutError("canary"), "unknown", None, "unknown"),
        (KeyboardInterrupt(), "unknown", None, "unknown"),
    ],
)
def test_an_exception_is_a_failed_call_and_goes_on(
    ledger: Ledger, home: Home, error: BaseException, status: str, http_status: int | None, state: str
) -> None:
    with pytest.raises(type(error)), ledger.call(provider="openai", model="gpt-5-mini"):
        raise error
    data = _only(home)
    assert (data["status"], data.get("http_status"), data["cost"]["state"]) == (status, http_status, state)
    assert data["error_type"] == type(error).__name__
    assert b"canary" not in b"".join(path.read_bytes() for path in home.journal.rglob("*.jsonl"))


def test_a_call_without_an_answer_is_unknown(ledger: Ledger, home: Home) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini"):
        pass
    assert _only(home)["status"] == "unknown"


def test_a_call_that_was_not_sent_is_no_call(ledger: Ledger, home: Home) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini") as call:
        call.not_sent()
    assert calls(home) == []


def test_a_live_call_is_repaired_and_never_refused(ledger: Ledger, home: Home) -> None:
    with ledger.call(
        provider="openai",
        model="m" * 300,
        session="\ud800s",
        tags={"Bad Key": "x", "good": "y"},
        reported_cost_usd="0.1234567890123456",
        duration_ms=-5,
        time="never",
    ) as call:
        call.complete(USAGE)
    data = _only(home)
    assert len(data["model"]) == 256
    assert data["session"] == "\ufffds"
    assert data["tags"] == {"good": "y"}
    assert data["reported_cost_usd"] == "0.123456789012"
    assert {"cut:model", "surrogate:session", "dropped:tags.Bad Key", "rounded:reported_cost_usd"} <= set(
        data["repaired"]
    )


def test_a_misspelt_field_is_told_before_the_call_is_made(ledger: Ledger) -> None:
    with pytest.raises(InputRefused, match="did you mean 'session'"):
        ledger.call(provider="openai", model="gpt-5-mini", sesion="s1")
    with pytest.raises(UsageError, match="makes its own id"):
        ledger.call(provider="openai", model="gpt-5-mini", id="mine")


def test_the_service_tier_of_the_answer_stands_above_the_asked_one(ledger: Ledger, home: Home) -> None:
    request = {"model": "gpt-5-mini", "service_tier": "auto"}
    with ledger.call(provider="openai", model="gpt-5-mini", request=request) as call:
        call.complete({"service_tier": "flex", "usage": USAGE})
    data = _only(home)
    assert data["pricing_context"] == {"service_tier": "flex"}
    assert data["cost"]["total_usd"] == "0.0002575"  # half of the standard price


def test_an_answer_at_the_standard_tier_takes_back_the_asked_one(ledger: Ledger, home: Home) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", request={"service_tier": "flex"}) as call:
        call.complete({"service_tier": "default", "usage": USAGE})
    data = _only(home)
    assert "pricing_context" not in data
    assert data["cost"]["total_usd"] == "0.000515"


def test_threads_record_at_once(ledger: Ledger, home: Home) -> None:
    def make() -> None:
        for _ in range(20):
            with ledger.call(provider="openai", model="gpt-5-mini") as call:
                call.complete(USAGE)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls(home)) == 80
    assert len({event["id"] for event in calls(home)}) == 80
