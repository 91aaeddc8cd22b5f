"""Adopting a price book: its files are synced in ``prices/`` before an event names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._adoption import adopted_book
from ._disk import Disk, sync_folder, write_new
from ._errors import HomeError
from ._home import Home, remedy
from ._identity import input_sha256, new_id
from ._line import NewEvent
from ._validate import check_data
from ._writer import Appender
from .prices import BookManifest, PriceStore, shipped_book, shipped_manifest


@dataclass(frozen=True, slots=True)
class Adoption:
    """A book that is to be adopted with the next event, and the files that the home needs for it."""

    manifest: BookManifest
    files: Mapping[str, bytes]


def plan_adoption(store: PriceStore, adopted: str | None) -> Adoption | None:
    """The shipped list, where the home has no book or one of an older date; None where it has what is newest.

    The user's own and imported layers stay above it.  Nothing is written: whoever only checks calls leaves no trace.
    """
    shipped = manifest = shipped_manifest()
    if adopted is not None:
        present = store.load_manifest(adopted)
        if shipped.list_date <= present.list_date:
            return None
        kept = tuple(layer for layer in present.layers if layer.kind != "list")
        manifest = BookManifest((*kept, *shipped.layers), shipped.names)
    _, files = shipped_book()
    return Adoption(manifest, {**files, manifest.sha256: manifest.content})


def adopt(home: Home, appender: Appender, adoption: Adoption, actor: str) -> None:
    """Write the book's files and the event that names it, unless another process has just done so."""
    with appender.locked(beside_syncs=True):
        appender.writer()  # makes the home's folders, and seals off what must not be believed
        if adopted_book(home, appender.disk) == adoption.manifest.sha256:
            return
        try:
            for sha256, content in adoption.files.items():
                keep_price_file(home, appender.disk, sha256, content)
            sync_prices(home, appender.disk)
        except OSError as error:
            raise HomeError(f"cannot write to {home.prices}: {error.strerror}; {remedy(error)}") from error
        appender.append_locked([_adopted_event(adoption.manifest, actor)])


def keep_price_file(home: Home, disk: Disk, sha256: str, content: bytes) -> None:
    """Write a price file under its hash, synced; one that is there already is never touched.  Called under the lock.

    It is written beside ``prices/`` and moved in whole, so that nothing in there is ever renamed or removed.
    """
    path = home.prices / sha256
    if disk.exists(str(path)):
        return
    draft = home.path / "price-draft"
    for left in home.path.glob(f".{draft.name}.*"):  # by a process that died here
        disk.remove(left)
    write_new(disk, draft, content)
    folder = disk.open_folder(home.prices)
    try:
        disk.replace(draft, path)
        disk.sync_folder(folder)
    finally:
        disk.close(folder)


def sync_prices(home: Home, disk: Disk) -> None:
    """Sync the names in ``prices/`` before an event names them: who made a file may have died before it was durable."""
    sync_folder(disk, home.prices)


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
