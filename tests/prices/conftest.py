"""The shipped book, on disk as in a home, for all tests of prices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

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


class PriceFolder:
    """A folder of price files to which a test adds layers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        _, files = shipped_book()
        for content in files.values():
            self.keep(content)

    def keep(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / sha256).write_bytes(content)
        return sha256

    def layer(self, kind: str, *cells: Cell) -> LayerReference:
        header = LayerHeader(kind, f"{kind} layer", "a test", "2026-11-21")
        return LayerReference(kind, header.name, self.keep(write_layer(header, cells)), header.date)

    def shipped_layers(self) -> tuple[LayerReference, ...]:
        return shipped_manifest().layers

    def book(self, layers: Iterable[LayerReference]) -> Book:
        manifest = BookManifest(tuple(layers), shipped_manifest().names)
        return PriceStore(self.folder).load_book(self.keep(manifest.content))


@pytest.fixture
def prices(tmp_path: Path) -> PriceFolder:
    return PriceFolder(tmp_path / "prices")


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Book:
    return PriceFolder(tmp_path_factory.mktemp("home") / "prices").book(shipped_manifest().layers)


@pytest.fixture(scope="session")
def list_only(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The list without the corrections, as genai-prices would answer."""
    return PriceFolder(tmp_path_factory.mktemp("home") / "prices").book(shipped_manifest().layers[-1:])
