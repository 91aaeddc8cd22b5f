"""The home that the commands find: calls of three months that are over."""

from __future__ import annotations

import pytest

from keledger.journal import Home
from tests.cli.conftest import own_terminal as own_terminal
from tests.journal.support import call
from tests.projections.repricing import ledger_of

CALLS = (
    call(id="september", time="2026-09-20T10:00:00Z"),
    call(id="october", time="2026-10-20T10:00:00Z", project="crm"),
    call(id="late", time="2026-10-31T23:30:00Z", usage_raw={"prompt_tokens": 10, "completion_tokens": 1}),
    call(id="other", time="2026-10-21T10:00:00Z", provider="anthropic", model="claude-sonnet-4-5", usage_raw=None,
         usage={"input_uncached": 1000}),
    call(id="unpriced", time="2026-10-22T10:00:00Z", provider="acme", model="unheard-of", usage_raw=None,
         usage={"input_uncached": 7}),
    {"id": "unknown", "time": "2026-10-23T10:00:00Z", "provider": "openai", "model": "gpt-5-mini", "status": "unknown"},
)  # fmt: skip


@pytest.fixture
def used(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with six calls, found by commands; reports are in UTC."""
    with ledger_of(home) as ledger:
        ledger.record_many(CALLS)
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    monkeypatch.setenv("KELEDGER_TZ", "UTC")
    return home
