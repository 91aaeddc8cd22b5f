"""What every test stands on: an environment of its own and a home in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start, also where the whole run was put into the background.

    A shell makes background commands ignore SIGINT, and so does every program they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's home, configuration or KELEDGER_* variables, nor leaves anything in them."""
    for name in list(os.environ):
        if name.startswith("KELEDGER_") and not name.startswith("KELEDGER_TEST_"):
            monkeypatch.delenv(name)
    for name, folder in (
        ("HOME", "user"),
        ("XDG_DATA_HOME", "user/data"),
        ("XDG_STATE_HOME", "user/state"),
        ("XDG_CONFIG_HOME", "user/config"),
        ("XDG_CACHE_HOME", "user/cache"),
    ):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "user").mkdir(mode=0o700)


@pytest.fixture
def quick_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs that wait for no disk, for tests that cut no power: a sync is still called, counted and made to fail."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that does not exist yet."""
    return Home.at(tmp_path / "home")


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    """A ledger on :func:`home`."""
    with Ledger.open(home.path) as opened:
        yield opened
