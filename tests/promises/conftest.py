"""What the tests of several promises stand on."""

from __future__ import annotations

import pytest

from keledger.journal import Home
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import note

from .support import SMALL_SEGMENT_BYTES


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that rotate within :func:`tests.promises.support.append_script`."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", SMALL_SEGMENT_BYTES)


@pytest.fixture(params=["alone", "in company"])
def company(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once alone; once as if another process had the lock whenever it is asked for, so that syncs go on without it."""
    if request.param == "in company":
        real = Disk.lock
        monkeypatch.setattr(Disk, "lock", lambda disk, lock, wait_s: wait_s > 0 and real(disk, lock, wait_s))


@pytest.fixture
def begun(home: Home) -> Home:
    """A home with one event."""
    Appender(home).append([note("first")])
    return home
