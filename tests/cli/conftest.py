"""The home that the commands find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from keledger.journal import Home, Ledger
from tests.journal.support import call

DAY = "2026-11-21"

CALLS: Sequence[dict[str, Any]] = (
    call(time="2026-11-19T23:30:00Z", session="s1", statement="01 .exec", prompt="hello", id="first"),
    call(time="2026-11-20T10:00:00Z", session="s1", statement="02 .exec", prompt="hello", id="second"),
    {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "usage_raw": {"input_tokens": 1000, "output_tokens": 300, "cache_creation_input_tokens": 400},
        "time": "2026-11-20T10:00:01Z",
        "session": "s1",
        "statement": "02 .exec",
        "id": "third",
        "tags": {"env": "prod"},
    },
    {
        "provider": "acme",
        "model": "unheard-of",
        "usage": {"input_uncached": 10},
        "time": "2026-11-21T08:00:00Z",
        "session": "s2",
        "project": "crm",
        "id": "unpriced",
    },
    {
        "provider": "openai",
        "model": "gpt-5-mini",
        "status": "unknown",
        "error_type": "TimeoutError",
        "time": "2026-11-21T09:00:00Z",
        "session": "s2",
        "id": "unanswered",
    },
)


@pytest.fixture(autouse=True)
def own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells of the terminal that the tests run in must not decide how a table looks."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def used(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with five calls on three days, which commands find: two sessions, one unpriced call, one unknown."""
    with Ledger.open(home.path) as ledger:
        ledger.record_many(CALLS)
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    return home
