"""Books on disk: found by their hash, checked, and told apart from what a later release may write."""

from __future__ import annotations

import hashlib

import pytest

import keledger.journal.prices as door
from keledger.journal._errors import JournalDamaged, NotFound
from keledger.journal.prices import BookManifest, Cell, PriceStore, shipped_book, shipped_manifest

from .conftest import PriceFolder

USER = Cell("acme", "one", "", {"output_text": "2"})


def test_the_door_is_sorted_and_whole() -> None:
    assert door.__all__ == sorted(door.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(door, name) for name in door.__all__)


def test_a_manifest_has_one_spelling_and_comes_back() -> None:
    manifest = shipped_manifest()
    assert BookManifest.parse(manifest.content, "here") == manifest
    assert manifest.sha256 == hashlib.sha256(manifest.content).hexdigest()


def test_the_list_date_is_that_of_the_latest_list_layer(prices: PriceFolder) -> None:
    user = prices.layer("user", USER)._replace(date="2030-01-01")
    shipped = shipped_manifest()
    assert shipped.list_date == max(layer.date for layer in shipped.layers)
    assert BookManifest((user, *shipped.layers), shipped.names).list_date == shipped.list_date
    assert BookManifest((user,), shipped.names).list_date == ""


def test_a_book_is_loaded_once(prices: PriceFolder) -> None:
    store = PriceStore(prices.folder)
    sha256 = prices.keep(shipped_manifest().content)
    assert store.load_book(sha256) is store.load_book(sha256)


@pytest.mark.parametrize("change", ["missing", "changed", "cut", "a folder"])
def test_a_damaged_or_missing_file_is_named(prices: PriceFolder, change: str) -> None:
    reference = prices.layer("user", USER)
    path = prices.folder / reference.sha256
    content = path.read_bytes()
    path.unlink()
    if change == "changed":
        path.write_bytes(content.replace(b'"2"', b'"1"'))
    elif change == "cut":
        path.write_bytes(content[:-1])
    elif change == "a folder":
        path.mkdir()
    with pytest.raises(NotFound if change == "missing" else JournalDamaged) as caught:
        prices.book([reference])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_an_id_that_is_no_hash_is_refused(prices: PriceFolder, sha256: str) -> None:
    with pytest.raises(NotFound, match="is no price file"):
        PriceStore(prices.folder).load_book(sha256)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"keledger_book":2,"layers":[],"names":""}\n',
        b'{"keledger_book":1,"layers":[]}\n',
        b'{"keledger_book":1,"layers":{},"names":""}\n',
        b'{"keledger_book":1,"layers":[],"names":"../names"}\n',
        b'{"keledger_book":1,"layers":[],"names":"' + b"0" * 64 + b'"}',
        b'{"keledger_book":1,"layers":[{"kind":"list"}],"names":"' + b"0" * 64 + b'"}\n',
        shipped_manifest().content.replace(b'"layers"', b'"rows":1,"layers"'),
    ],
)
def test_what_is_no_manifest_is_refused(prices: PriceFolder, content: bytes) -> None:
    with pytest.raises(JournalDamaged, match="is not a price book of a form that this release reads"):
        PriceStore(prices.folder).load_book(prices.keep(content))


@pytest.mark.parametrize("place", ["layer", "names"])
def test_a_form_of_a_later_release_is_refused(prices: PriceFolder, place: str) -> None:
    manifest = shipped_manifest()
    old = manifest.layers[0].sha256 if place == "layer" else manifest.names
    content = (prices.folder / old).read_bytes()
    later = prices.keep(content.replace(b":1,", b":2,", 1))
    changed = BookManifest.parse(manifest.content.replace(old.encode(), later.encode()), "here")
    with pytest.raises(JournalDamaged, match="use a newer keledger"):
        PriceStore(prices.folder).load_book(prices.keep(changed.content))


def test_the_shipped_book_has_all_that_it_names() -> None:
    content, files = shipped_book()
    manifest = BookManifest.parse(content, "here")
    assert manifest == shipped_manifest()
    assert list(files) == list(manifest.files)
    assert all(hashlib.sha256(file).hexdigest() == sha256 for sha256, file in files.items())
