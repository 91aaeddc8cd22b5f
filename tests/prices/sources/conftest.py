"""Price lists of others, read and loaded as a book of just that layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keledger.journal._time import parse_time
from keledger.journal.prices import Book, BookManifest, LayerReference, PriceStore, shipped_book, shipped_manifest
from keledger.journal.prices import write_layer as write
from keledger.journal.prices.sources import Imported, Terms, read_price_list

EXCERPTS = Path(__file__).parent / "excerpts"
NAMES = shipped_book()[1][shipped_manifest().names]
TODAY = "2026-11-22"
FIRST_US = parse_time(f"{TODAY}T00:00:00Z")


def read(raw: Mapping[str, Any] | bytes, **terms: Any) -> Imported:
    """A list as it would be taken in on that day."""
    content = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return read_price_list(content, NAMES, Terms(**terms), today=TODAY)


def excerpt(name: str) -> bytes:
    return (EXCERPTS / f"{name}.json").read_bytes()


def book_of(layer: Imported) -> Book:
    """A book of nothing but this layer.  Raises InputRefused where it is no valid layer."""
    store = PriceStore(Path("/nowhere"))
    content = write(layer.header, layer.cells)
    files = {"1" * 64: content, shipped_manifest().names: NAMES}
    manifest = BookManifest(
        (LayerReference(layer.header.kind, layer.header.name, "1" * 64, layer.header.date),), shipped_manifest().names
    )
    store.hold({**files, manifest.sha256: manifest.content})
    return store.load_book(manifest.sha256)


Prices = dict[str, str | None]


def prices_of(
    book: Book, name: str, usage: Mapping[str, int], at: str | int = "2026-11-25T12:00:00Z", context: str = ""
) -> Prices:
    """The price in USD per million units of each used bucket; None for one without."""
    provider, model = name.split("/", 1)
    cost = book.price(
        provider=provider,
        model=model,
        usage=usage,
        at_us=at if isinstance(at, int) else parse_time(at),
        context=dict(pair.split("=") for pair in context.split(",") if pair),
    )
    return {line["bucket"]: line.get("usd_per_million") for line in cost["lines"]}


def ones(text: str, size: int | None = None) -> dict[str, int]:
    """One of each bucket; of input so much that the whole request has *size* input tokens."""
    usage = dict.fromkeys(text.split(), 1)
    if size is not None:
        usage["input_uncached"] = size - sum(
            1 for name in usage if name.startswith(("cache", "input")) and name != "input_uncached"
        )
    return usage


@pytest.fixture(scope="session")
def litellm() -> Book:
    return book_of(read(excerpt("litellm")))


@pytest.fixture(scope="session")
def model_prices() -> Book:
    return book_of(read(excerpt("model_prices")))
