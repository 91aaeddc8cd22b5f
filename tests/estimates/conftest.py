"""The simulated histories are among the benchmarks, which are imported from the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keledger.journal import Home, current_prices
from keledger.journal.prices import Book

REPOSITORY = Path(__file__).resolve().parents[2]

if str(REPOSITORY) not in sys.path:
    sys.path.append(str(REPOSITORY))


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The shipped prices."""
    prices = current_prices(Home.at(tmp_path_factory.mktemp("estimates") / "home"))
    return prices.store.load_book(prices.manifest.sha256)
