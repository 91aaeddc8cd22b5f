"""Adopting a price book: its files are synced in ``prices/`` before an event names it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ._adoption import adopted_book
from ._disk import Disk, sync_folder, write_new
from ._errors import HomeError, KeledgerError, UsageError
from ._home import Home, remedy
from ._identity import input_sha256, new_id
from ._line import NewEvent
from ._validate import check_data
from ._writer import Appender
from .prices import KINDS, BookManifest, LayerReference, PriceStore, parse_layer, shipped_book, shipped_manifest

_SHIPPED_REASON = "the list that comes with the program"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A book that is to be adopted, the files that the home may lack for it by their SHA-256, and why."""

    manifest: BookManifest
    files: Mapping[str, bytes]
    reason: str = _SHIPPED_REASON


class CurrentPrices(NamedTuple):
    """The book by which a home's next call will be priced, and what reads it."""

    manifest: BookManifest
    store: PriceStore
    """Has the book's files, those as well that the program ships and the home does not have yet."""


def current_prices(home: Home, disk: Disk | None = None) -> CurrentPrices:
    """The book that the home has adopted last; the shipped one where that will be adopted with its next event.

    Writes nothing.  Raises HomeError, NotFound and JournalDamaged where the journal or the price files cannot be read.
    """
    store = PriceStore(home.prices)
    return CurrentPrices(_current_manifest(store, adopted_book(home, disk or Disk())), store)


def replaced_layer(
    manifest: BookManifest, kind: str, content: bytes | None, name: str, *, names: bytes | None = None
) -> Adoption:
    """The book *manifest* with one layer in the place of that of the same kind and *name*; without it for None.

    A book has one user layer, whatever its name.  An imported layer comes above those that were imported before.  A
    list layer takes the place of the one whose name has the same first word (``genai-prices 0.2.4`` that of
    ``genai-prices 0.2.3``); where there is none it comes last.  *names* replaces the table of names as well.  The
    adoption has every file that is new.

    Raises InputRefused where *content* is no layer, UsageError where it is one of another kind.
    """
    layers = [layer for layer in manifest.layers if not _is_replaced(layer, kind, name)]
    files: dict[str, bytes] = {}
    if content is not None:
        header, _ = parse_layer(content)
        if header.kind != kind:
            raise UsageError(f"the price layer {header.name} is of the kind {header.kind}, not {kind}")
        layer = LayerReference(kind, header.name, _keep(files, content), header.date)
        layers.insert(_place(manifest, kind, name), layer)
    changed = BookManifest(tuple(layers), _keep(files, names) if names is not None else manifest.names)
    _keep(files, changed.content)
    return Adoption(changed, files)


def plan_adoption(store: PriceStore, adopted: str | None) -> Adoption | None:
    """The shipped lists, where the home has no book or one with an older list; None where it has what is newest.

    Each list is compared with the home's own of the same first word: a shipped correction of yesterday does not bring
    an old list back over one that the home has updated.  The user's own and imported layers stay above, what the new
    list dropped is carried over, and a list that the program has no more goes.  Nothing is written: whoever only checks
    calls leaves no trace.
    """
    shipped = shipped_manifest()
    if adopted is None:
        _, files = shipped_book()
        return Adoption(shipped, {**files, shipped.sha256: shipped.content})
    present = store.load_manifest(adopted)
    newer = {layer for layer in shipped.layers if layer.date > _list_date(present, layer.name)}
    if not newer:
        return None
    from .prices.sources import succeeding_list  # only after an upgrade of the program

    _, shipped_files = shipped_book()
    names, files = present.names, dict[str, bytes]()
    layers = [layer for layer in present.layers if layer.kind != "list"]
    for layer in shipped.layers:
        if layer not in newer:
            layers += [kept for kept in present.layers if _is_replaced(kept, "list", layer.name)]
            continue
        content, table = succeeding_list(present, store, shipped_files[layer.sha256], shipped_files[shipped.names])
        layers.append(layer._replace(sha256=_keep(files, content)))
        names = _keep(files, table) if table is not None else names
    layers += [layer for layer in present.layers if _is_of_later_release(layer, shipped)]
    manifest = BookManifest(tuple(layers), names)
    _keep(files, manifest.content)
    return Adoption(manifest, files)


def _is_of_later_release(layer: LayerReference, shipped: BookManifest) -> bool:
    """Whether a list is none that this program knows, and newer than all that it has."""
    known = any(_is_replaced(layer, "list", own.name) for own in shipped.layers)
    return layer.kind == "list" and not known and layer.date > shipped.list_date


def _list_date(manifest: BookManifest, name: str) -> str:
    """The day of a book's list layer of the same first word; of its newest list where it has none such."""
    own = [layer.date for layer in manifest.layers if _is_replaced(layer, "list", name)]
    return max(own, default=manifest.list_date)


def adoption_of_loaded(store: PriceStore, book: str) -> Adoption:
    """A book that *store* has loaded, with all its files: for a home that was removed while calls are priced by it."""
    files = store.loaded_files(book)
    manifest = BookManifest.parse(files[book], book)
    return Adoption(manifest, files, "the prices that were in use when the home was removed")


def adopt_planned(home: Home, appender: Appender, store: PriceStore, adoption: Adoption, actor: str) -> bool:
    """Adopt what was planned for a home without other prices; says whether these are the home's prices now.

    Another process may have adopted others meanwhile.  Those stand, and the shipped list is planned anew below them;
    the files of *adoption* are kept all the same, for calls that are about to be journaled name its book.
    """
    with appender.locked(beside_syncs=True):
        appender.writer()  # makes the home's folders, and seals off what must not be believed
        adopted = adopted_book(home, appender.disk)
        if adopted == adoption.manifest.sha256:
            return True
        planned = adoption if adopted is None else plan_adoption(store, adopted)
        _keep_files(home, appender.disk, [adoption])
        if planned is not None:
            _adopt_locked(home, appender, [planned], actor)
        return planned is not None and planned.manifest == adoption.manifest


def adopt(
    home: Home, appender: Appender, store: PriceStore, adoption: Adoption, *, actor: str, based_on: str | None
) -> str | None:
    """Adopt prices that somebody has changed; returns the event's id, None where the home has this very book already.

    *based_on* is the book that was changed: the current one, as :func:`current_prices` says, or None for a home that
    has adopted none.  Where the shipped list was not adopted yet that the change is based on, it is adopted first.

    Raises KeledgerError where the home's prices are no longer *based_on*: nothing is adopted then.
    """
    _current_manifest(store, adopted_book(home, appender.disk))  # so that the store has what the change leaves as it is
    _check(adoption, store)
    with appender.locked(beside_syncs=True):
        appender.writer()
        adopted = adopted_book(home, appender.disk)
        if adopted == adoption.manifest.sha256:
            return None
        adoptions = [adoption]
        if based_on != adopted:
            planned = plan_adoption(store, adopted)
            if planned is None or planned.manifest.sha256 != based_on:
                raise KeledgerError(
                    f"the prices of {home.path} were changed by another process meanwhile: nothing was adopted; "
                    "look at them and try again"
                )
            if planned.manifest != adoption.manifest:
                adoptions.insert(0, planned)
        return _adopt_locked(home, appender, adoptions, actor)[-1]


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


def _adopt_locked(home: Home, appender: Appender, adoptions: Sequence[Adoption], actor: str) -> list[str]:
    """Write the files of each book, then for each an event that names it; returns the events' ids."""
    _keep_files(home, appender.disk, adoptions)
    events = [_adopted_event(adoption, actor) for adoption in adoptions]
    return [appended.id for appended in appender.append_locked(events)]


def _keep_files(home: Home, disk: Disk, adoptions: Sequence[Adoption]) -> None:
    try:
        for adoption in adoptions:
            for sha256, content in adoption.files.items():
                keep_price_file(home, disk, sha256, content)
        sync_prices(home, disk)
    except OSError as error:
        raise HomeError(f"cannot write to {home.prices}: {error.strerror}; {remedy(error)}") from error


def _adopted_event(adoption: Adoption, actor: str) -> NewEvent:
    manifest = adoption.manifest
    fields = {
        "book": manifest.sha256,
        "layers": [
            {"kind": layer.kind, "name": layer.name, "sha256": layer.sha256, "date": layer.date}
            for layer in manifest.layers
        ],
        "names": manifest.names,
        "reason": adoption.reason,
    }
    data = {"input_sha256": input_sha256("prices.adopted", fields), **fields, "actor": actor}
    check_data("prices.adopted", data)
    return NewEvent.of("prices.adopted", new_id(), data)


def _current_manifest(store: PriceStore, adopted: str | None) -> BookManifest:
    """What a home will price by that has adopted this book last; the store has its files then."""
    planned = plan_adoption(store, adopted)
    if planned is not None:
        store.hold(planned.files)
        return planned.manifest
    assert adopted is not None, "a home without a book is planned to have the shipped one"
    return store.load_manifest(adopted)


def _is_replaced(layer: LayerReference, kind: str, name: str) -> bool:
    if layer.kind != kind or kind == "user":
        return layer.kind == kind
    return layer.name == name if kind == "imported" else _family(layer.name) == _family(name)


def _family(name: str) -> str:
    """What the name of a list keeps from release to release."""
    return name.partition(" ")[0]


def _place(manifest: BookManifest, kind: str, name: str) -> int:
    """Where the new layer stands: below the stronger kinds; a list where that stood which it replaces, else last."""
    replaced = [index for index, layer in enumerate(manifest.layers) if _is_replaced(layer, kind, name)]
    if kind == "list":
        return replaced[0] if replaced else len(manifest.layers)
    return sum(layer.kind in KINDS[: KINDS.index(kind)] for layer in manifest.layers)


def _keep(files: dict[str, bytes], content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    files[sha256] = content
    return sha256


def _check(adoption: Adoption, store: PriceStore) -> None:
    """Hold a book to its rules before anything is priced by it: whole files, layers in order, one user layer at most.

    Raises UsageError, InputRefused, NotFound or JournalDamaged.
    """
    wrong = [sha256 for sha256, content in adoption.files.items() if hashlib.sha256(content).hexdigest() != sha256]
    if wrong:
        raise UsageError(f"the content of the price file {wrong[0]} does not fit its name")
    kinds = [layer.kind for layer in adoption.manifest.layers]
    if kinds != sorted(kinds, key=KINDS.index) or kinds.count("user") > 1:
        raise UsageError(f"the layers of a book are {', '.join(kinds)}: at most one of the user, stronger ones first")
    for layer in adoption.manifest.layers:
        content = adoption.files.get(layer.sha256)
        if content is not None:
            header, _ = parse_layer(content)
            if (header.kind, header.name, header.date) != (layer.kind, layer.name, layer.date):
                raise UsageError(f"the book names a layer {layer.kind} {layer.name} that says otherwise of itself")
    store.hold(adoption.files)
    store.load_book(adoption.manifest.sha256)
