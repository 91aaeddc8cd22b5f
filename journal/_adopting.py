"""Adopting a price book: its files are synced in ``prices/`` before an event names it."""

from __future__ import annotations

from ._disk import Disk, write_new
from ._home import Home
from ._identity import input_sha256, new_id
from ._line import NewEvent
from ._validate import check_data
from ._writer import Appender
from .prices import BookManifest, PriceStore, shipped_book, shipped_manifest


def adopt_shipped(home: Home, appender: Appender, store: PriceStore, adopted: str | None, actor: str) -> str:
    """Adopt the shipped list where the home has no book, or one of an older date; returns the book to price by.

    The user's own and imported layers stay above it.
    """
    shipped = shipped_manifest()
    manifest = shipped
    if adopted is not None:
        present = store.load_manifest(adopted)
        if shipped.list_date <= present.list_date:
            return adopted
        kept = tuple(layer for layer in present.layers if layer.kind != "list")
        manifest = BookManifest((*kept, *shipped.layers), shipped.names)
    _, files = shipped_book()
    with appender.locked():
        for sha256, content in {**files, manifest.sha256: manifest.content}.items():
            keep_price_file(home, appender.disk, sha256, content)
        appender.append_locked([_adopted_event(manifest, actor)])
    return manifest.sha256


def keep_price_file(home: Home, disk: Disk, sha256: str, content: bytes) -> None:
    """Write a price file under its hash, synced; one that is there already is never touched."""
    path = home.prices / sha256
    if not disk.exists(str(path)):
        write_new(disk, path, content)


def _adopted_event(manifest: BookManifest, actor: str) -> NewEvent:
    fields = {
        "book": manifest.sha256,
        "layers": [
            {"kind": layer.kind, "name": layer.name, "sha256": layer.sha256, "date": layer.date}
            for layer in manifest.layers
        ],
        "names": manifest.names,
        "reason": "the list that comes with the program",
    }
    data = {"input_sha256": input_sha256("prices.adopted", fields), **fields, "actor": actor}
    check_data("prices.adopted", data)
    return NewEvent.of("prices.adopted", new_id(), data)
