"""From what was read to a book: the new layer in its place, with what it dropped carried over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from keledger.journal._errors import KeledgerError, UsageError
from keledger.journal.prices._book import Book
from keledger.journal.prices._cells import Cell, LayerHeader, parse_layer, write_layer
from keledger.journal.prices._editing import USER_LAYER
from keledger.journal.prices._shipped import shipped_manifest, shipped_name_rules
from keledger.journal.prices._store import BookManifest, LayerReference, PriceStore

from ._carried import carry_over
from ._genai_names import carry_names
from ._genai_prices import NAME, RELEASED, installed_version, read_installed
from ._imported import Imported, Notes
from ._inheriting import priced_apart
from ._reading import Terms, module_name, read_price_list

_NUMBERS = re.compile(r"\d+")
_NOT_READ = re.compile(r"[^a-z0-9]+")


class NewLayer(NamedTuple):
    """A layer that is to take its place in a book."""

    content: bytes
    header: LayerHeader
    names: bytes | None
    """The book's new table of names; None where it stays."""
    taken: tuple[Cell, ...]
    """The cells that were read."""
    carried: tuple[Cell, ...]
    """Those that the layer before had besides."""
    notes: Notes


def updated_list(manifest: BookManifest, store: PriceStore, *, today: str, allow_older: bool = False) -> NewLayer:
    """The installed genai-prices as the list of a home whose book is *manifest*.

    Its date is that of the release; where that is not known here the day on which it was taken first.  The same
    release gives the same bytes on any day.

    Raises NotFound where genai-prices is not installed, InputRefused where it cannot be read, KeledgerError where the
    book's list is of a later release, unless *allow_older*.
    """
    version = installed_version()
    before = _list_before(manifest)
    if before is not None and not allow_older and _release(version) < _release(before.name):
        raise KeledgerError(
            f"genai-prices {version} is installed, but the home's list is {before.name}: upgrade it with "
            "pip install --upgrade genai-prices, or take the older one with --allow-older"
        )
    same = before is not None and before.name == f"{NAME} {version}"
    known = RELEASED.get(version) or (before.date if before is not None and same else today)
    read = read_installed(shipped_name_rules(), known)
    if before is None:
        return _layer(read.layer, (), read.names)
    carried = carry_over(read.layer.cells, parse_layer(store.read(before.sha256))[1], before.name)
    models = {(cell.provider, cell.model) for cell in carried.carried}
    names = carry_names(read.names, store.read(manifest.names), models, before.name)
    return _layer(read.layer._replace(cells=carried.new), carried.carried, names)


def succeeding_list(
    manifest: BookManifest, store: PriceStore, content: bytes, names: bytes
) -> tuple[bytes, bytes | None]:
    """A list layer that comes with the program, for a home whose book is *manifest*, and the table of names with it.

    What the home's genai-prices had besides is carried over, and the table changes with it.  Corrections say what holds
    beside the list of their day: they carry nothing over, and leave the table as it is.
    """
    header, cells = parse_layer(content)
    before = _list_before(manifest)
    if header.name.split(" ")[0] != NAME:
        return content, None
    if before is None:
        return content, names
    carried = carry_over(cells, parse_layer(store.read(before.sha256))[1], before.name)
    models = {(cell.provider, cell.model) for cell in carried.carried}
    table = carry_names(names, store.read(manifest.names), models, before.name)
    return write_layer(header, (*carried.new, *carried.carried)), table


def imported_list(
    content: bytes,
    manifest: BookManifest,
    store: PriceStore,
    terms: Terms,
    *,
    today: str,
    where: str = "the file",
    allow_older: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> NewLayer:
    """A price list in a file as an imported layer for a home whose book is *manifest*.

    Raises as :func:`read_price_list` does, UsageError for a name that is taken for a layer of another kind, and
    KeledgerError where the layer of this name was known on a later day, unless *allow_older*.
    """
    _check_name(terms.name, manifest)
    weaker = _weaker(manifest, store, terms.name or module_name(content, terms.source, where))
    read = read_price_list(
        content,
        store.read(manifest.names),
        terms,
        today=today,
        where=where,
        priced_apart=priced_apart(weaker),
        on_progress=on_progress,
    )
    before = _of_name(manifest, read.header.name)
    if before is None:
        return _layer(read, (), None)
    if read.header.date < before.date and not allow_older:
        raise KeledgerError(
            f"{where} was known on {read.header.date}, but the home's {before.name} on {before.date}: give it a --name "
            "of its own, or take it in the place of the later one with --allow-older"
        )
    carried = carry_over(read.cells, parse_layer(store.read(before.sha256))[1], f"{before.name} {before.date}")
    return _layer(read._replace(cells=carried.new), carried.carried, None)


def _layer(read: Imported, carried: tuple[Cell, ...], names: bytes | None) -> NewLayer:
    content = write_layer(read.header, (*read.cells, *carried))
    return NewLayer(content, read.header, names, read.cells, carried, read.notes)


def _check_name(name: str | None, manifest: BookManifest) -> None:
    """Refuse a name that reads like that of the user's layer, or of a list: it says where a price is from."""
    lists = (each.name for each in (*manifest.layers, *shipped_manifest().layers) if each.kind == "list")
    for reserved in dict.fromkeys((USER_LAYER, *(each.split(" ")[0] for each in lists))):
        if _as_read(name or "").startswith(_as_read(reserved)):
            raise UsageError(f"{name!r} reads like {reserved}, which is no import: give this one another --name")


def _as_read(name: str) -> str:
    """A name's letters and digits: it must not take a second look to tell two apart."""
    return _NOT_READ.sub("", name.lower())


def _list_before(manifest: BookManifest) -> LayerReference | None:
    return next((each for each in manifest.layers if each.kind == "list" and each.name.split(" ")[0] == NAME), None)


def _of_name(manifest: BookManifest, name: str) -> LayerReference | None:
    return next((each for each in manifest.layers if (each.kind, each.name) == ("imported", name)), None)


def _weaker(manifest: BookManifest, store: PriceStore, name: str) -> Book:
    """The book without the user's prices and without the layer that will be replaced."""
    layers = [each for each in manifest.layers if each.kind != "user" and each != _of_name(manifest, name)]
    weaker = BookManifest(tuple(layers), manifest.names)
    store.hold({weaker.sha256: weaker.content})
    return store.load_book(weaker.sha256)


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, or of a layer's name that ends with one: later ones are greater."""
    return tuple(map(int, _NUMBERS.findall(text)))
