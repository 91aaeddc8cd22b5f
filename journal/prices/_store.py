"""Price files on disk: manifests, layers and names, each named by the SHA-256 of its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from keledger.journal._errors import JournalDamaged, NotFound
from keledger.journal._plain_file import read_plain_file

from ._book import Book
from ._layer import Layer
from ._names import Names

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BEGINNING = b'{"keledger_book":1,'


class LayerReference(NamedTuple):
    """One layer as a manifest names it; *date* is the day on which its prices were known."""

    kind: str
    name: str
    sha256: str
    date: str


class BookManifest(NamedTuple):
    """What a book consists of: its layers, strongest first, and its table of names."""

    layers: tuple[LayerReference, ...]
    names: str

    @property
    def content(self) -> bytes:
        """The manifest's bytes: compact JSON and a line feed."""
        layers = [
            {"kind": layer.kind, "name": layer.name, "sha256": layer.sha256, "date": layer.date}
            for layer in self.layers
        ]
        return orjson.dumps({"keledger_book": 1, "layers": layers, "names": self.names}) + b"\n"

    @property
    def sha256(self) -> str:
        """The book's id: the SHA-256 of its manifest."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def list_date(self) -> str:
        """The latest day on which a list layer of this book was known, like 2026-11-10; empty where it has none."""
        return max((layer.date for layer in self.layers if layer.kind == "list"), default="")

    @property
    def files(self) -> tuple[str, ...]:
        """The SHA-256 of every file that the book needs beside its manifest: layers, then names."""
        return (*(layer.sha256 for layer in self.layers), self.names)

    @classmethod
    def parse(cls, content: bytes, where: str) -> BookManifest:
        """Read a manifest.  Raises JournalDamaged where *content* is none that this release can read."""
        if content.startswith(_BEGINNING):
            try:
                raw = orjson.loads(content)
                layers = tuple(
                    LayerReference(layer["kind"], layer["name"], layer["sha256"], layer["date"])
                    for layer in raw["layers"]
                )
                manifest = cls(layers, raw["names"])
                if manifest.content == content and all(map(_SHA256.fullmatch, manifest.files)):
                    return manifest
            except (ValueError, KeyError, TypeError):
                pass
        raise JournalDamaged(
            f"{where} is not a price book of a form that this release reads: use a newer keledger, or restore it"
        )


class PriceStore:
    """Reads books from *folder*, a home's ``prices/``.  It writes nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._books: dict[str, Book] = {}
        self._held: Mapping[str, bytes] = {}
        self._files: dict[str, dict[str, bytes]] = {}

    def hold(self, files: Mapping[str, bytes]) -> None:
        """Take files by their SHA-256 that *folder* does not have yet, as long as this object lives."""
        self._held = {**self._held, **files}

    def load_book(self, sha256: str) -> Book:
        """A book with its layers and names, read and checked once."""
        book = self._books.get(sha256)
        if book is None:
            manifest = self.load_manifest(sha256)
            files = {file: self.read(file) for file in manifest.files}
            *layers, names = [(files[file], str(self._folder / file)) for file in manifest.files]
            book = Book(sha256, [Layer(*layer) for layer in layers], Names(*names))
            self._files[sha256] = {**files, sha256: manifest.content}
            self._books[sha256] = book
        return book

    def loaded_files(self, sha256: str) -> Mapping[str, bytes]:
        """Every file of a book that was loaded, as it was then; the folder may be gone since."""
        return self._files[sha256]

    def load_manifest(self, sha256: str) -> BookManifest:
        """What the book consists of."""
        return BookManifest.parse(self.read(sha256), str(self._folder / sha256))

    def read(self, sha256: str) -> bytes:
        """The content of one file, checked against its name: hashing 1 MB takes a millisecond.

        Raises NotFound where it is missing, JournalDamaged where it cannot be read or does not fit its name.
        """
        if _SHA256.fullmatch(sha256) is None:
            raise NotFound(f"{sha256!r} is no price file: its name is a SHA-256, 64 lower-case hex digits")
        if sha256 in self._held:
            return self._held[sha256]
        path = self._folder / sha256
        try:
            content = read_plain_file(path)
        except FileNotFoundError:
            raise NotFound(
                f"the price file {path} is missing: restore it from a backup, or merge a home that has it"
            ) from None
        except OSError as error:
            raise JournalDamaged(f"the price file {path} cannot be read: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise JournalDamaged(
                f"the price file {path} is damaged, its content does not fit its name: restore it from a backup"
            )
        return content
