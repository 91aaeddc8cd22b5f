"""``ledger.call``: a call made in this process, answered or not."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keledger.journal import Home, InputRefused, Ledger, UsageError, verify

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


class _Broken:
    @property
    def status_code(self) -> int:
        raise RuntimeError("not now")

    @property
    def service_tier(self) -> str:
        raise RuntimeError("not now")


ODD: list[dict[str, Any]] = [
    {"time": datetime.now(UTC)},
    {"session": uuid.uuid4()},
    {"reported_cost_usd": Decimal("0.1")},
    {"tags": {"a": b"bytes", 7: "x"}},
    {"started_at": "0001-01-01T00:00:00+01:00"},
    {"started_at": "9999-12-31T23:59:59-01:00"},
    {"estimate_id": "abc"},
    {"original": {"currency": "EUR", "amount": 1.5}},
    {"provider": " "},
    {"tags": {f"Bad {number}": "" for number in range(5000)}},
    {"usage": {"output_text": 12.5, "input_uncached": -3}},
    {"session": object()},
]


@pytest.mark.parametrize("fields", ODD, ids=[next(iter(fields)) + str(at) for at, fields in enumerate(ODD)])
def test_whatever_is_given_a_finished_call_is_journaled(ledger: Ledger, home: Home, fields: dict[str, Any]) -> None:
    with ledger.call(**{"provider": "openai", "model": "gpt-5-mini", **fields}) as call:
        call.complete(USAGE)
    assert call.recorded is not None
    assert call.recorded.journaled, call.recorded.problem
    assert len(_only(home).get("repaired", ())) <= 33
    assert not verify(home).damaged


def test_a_usage_object_nested_without_end_costs_no_call(ledger: Ledger, home: Home) -> None:
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"deeper": deep}
    with ledger.call(provider="openai", model="gpt-5-mini") as call:
        call.complete({**USAGE, "more": deep})
    assert _only(home)["cost"]["total_usd"] == "0.000515"


def test_objects_whose_properties_raise_cost_no_call(ledger: Ledger, home: Home) -> None:
    error = RuntimeError("canary")
    error.response = _Broken()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="canary"), ledger.call(provider="openai", model="gpt-5-mini"):
        raise error
    with ledger.call(provider="openai", model="gpt-5-mini") as call:
        call.complete(_Broken())
    assert [event["data"]["status"] for event in calls(home)] == ["unknown", "unknown"]


def test_a_misspelt_field_of_the_answer_is_told_and_the_call_kept(ledger: Ledger, home: Home) -> None:
    with pytest.raises(InputRefused, match="finish_raeson"), ledger.call(provider="openai", model="gpt-5-mini") as call:
        call.complete(USAGE, finish_raeson="stop")
    assert _only(home)["cost"]["state"] == "priced"


def test_a_fork_inside_a_call_leaves_it_to_the_parent(ledger: Ledger, home: Home) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini") as call:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(SystemExit):
                call.__exit__(SystemExit, SystemExit(0), None)
            os._exit(0)
        os.waitpid(child, 0)
        call.complete(USAGE)
    assert _only(home)["status"] == "ok"


def test_one_call_is_entered_once(ledger: Ledger, home: Home) -> None:
    call = ledger.call(provider="openai", model="gpt-5-mini")
    with call:
        call.complete(USAGE)
    with pytest.raises(UsageError, match="entered before"), call:
        pass
    assert len(calls(home)) == 1


def test_a_working_folder_that_is_gone_costs_no_call(
    ledger: Ledger, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with ledger.call(provider="openai", model="gpt-5-mini") as call:
        call.complete(USAGE)
    assert _only(home)["project"] == "unknown"


def test_an_interrupt_while_a_finished_call_is_recorded_keeps_it(
    ledger: Ledger, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ledger.record(provider="openai", model="gpt-5-mini", usage_raw=USAGE)
    with monkeypatch.context() as patched:
        patched.setattr(ledger._appender, "append", interrupt)
        with pytest.raises(KeyboardInterrupt), ledger.call(provider="openai", model="gpt-5-mini") as call:
            call.complete(USAGE)
    ledger.record(provider="openai", model="gpt-5-mini", usage_raw=USAGE)
    assert len(calls(home)) == 3


@pytest.mark.parametrize(("status", "expected"), [(200, "unknown"), (1006, "unknown"), (404, "error")])
def test_only_a_refusal_costs_nothing(ledger: Ledger, home: Home, status: int, expected: str) -> None:
    with pytest.raises(_HTTPError), ledger.call(provider="openai", model="gpt-5-mini"):
        raise _HTTPError(status)
    assert _only(home)["status"] == expected
