"""The benchmarks are no part of the installed program: they are imported from the checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

if str(REPOSITORY) not in sys.path:
    sys.path.append(str(REPOSITORY))

from bench._workshop import Size, Workshop  # noqa: E402 - only now can it be found

TINY = Size(calls=300, large=True, appends=100, pairs=1, repeats=1, rebuilds=1, judged=False)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A workshop in a folder that is empty again afterwards."""
    before = dict(os.environ)
    with Workshop(tmp_path / "work", TINY, quiet=True) as opened:
        yield opened
    assert list((tmp_path / "work").iterdir()) == []
    assert dict(os.environ) == before
