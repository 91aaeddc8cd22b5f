"""Price books for tests that set them against each other: the shipped one, and ones of a few cells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from keledger.journal.prices import (
    Book,
    BookManifest,
    Cell,
    LayerHeader,
    LayerReference,
    PriceStore,
    shipped_book,
    shipped_manifest,
    write_layer,
)

NOWHERE = Path("no-such-folder")
"""All files of these books are held in memory."""


@cache
def shipped() -> Book:
    """The book that comes with the program."""
    manifest, files = shipped_book()
    return _load(manifest, files)


def book_of(cells: Iterable[Cell]) -> Book:
    """A book of these prices alone, with the shipped table of names."""
    layer = write_layer(LayerHeader("user", "a layer", "a test", "2026-11-21"), cells)
    reference = LayerReference("user", "a layer", hashlib.sha256(layer).hexdigest(), "2026-11-21")
    names = shipped_manifest().names
    manifest = BookManifest((reference,), names)
    return _load(manifest.content, {reference.sha256: layer, names: shipped_book()[1][names]})


def _load(manifest: bytes, files: dict[str, bytes]) -> Book:
    store, sha256 = PriceStore(NOWHERE), hashlib.sha256(manifest).hexdigest()
    store.hold({**files, sha256: manifest})
    return store.load_book(sha256)
