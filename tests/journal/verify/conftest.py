"""A sound home, for each test to harm in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger
from keledger.journal import _limits as limits
from tests.journal.support import call
from tests.journal.tampering import copy_of
from tests.journal.unreadable import modes_bind


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A sound home of two writers, one merged, of several segments each."""
    folder = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 6_000)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with Ledger.open(folder / "other") as other:
            for number in range(12):
                other.record(**call(session="far", id=f"far {number}"))
        with Ledger.open(folder / "home") as ledger:
            for number in range(20):
                ledger.record(**call(session="near", id=f"near {number}"))
            ledger.merge(folder / "other")
    return Home.at(folder / "home")


@pytest.fixture(autouse=True)
def _modes_bind() -> Iterator[None]:
    """Whoever runs the tests may read no file that is shut."""
    with modes_bind():
        yield


@pytest.fixture
def home(model: Home, tmp_path: Path) -> Home:
    """A copy of :func:`model`."""
    return copy_of(model, tmp_path / "home")
