"""A home to look at, on a machine without KePrompt."""

from __future__ import annotations

import pytest

from keledger.journal import Home, Ledger
from tests.journal.support import call


@pytest.fixture(autouse=True)
def no_keprompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which KePrompts a machine has is the machine's affair."""
    monkeypatch.setattr("keledger.journal.capture._enable.find_all", lambda: iter(()))


@pytest.fixture
def used(home: Home) -> Home:
    """A home with a call in it."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    return home
