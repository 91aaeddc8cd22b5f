"""Reading a layer for one model at a time.

A list layer has some 4,000 cells in about 1 MB.  Its lines are sorted, so the cells of one model are one block,
which is found by its first bytes; nothing else of the layer is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from keledger.journal._errors import InputRefused, JournalDamaged

from ._cells import Cell, read_cell

_BEGINNING = b'{"keledger_layer":1,'
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_MODEL = re.compile(rb'^\{"provider":(%b),"model":(%b),' % (_TEXT, _TEXT), re.MULTILINE)

INDEXED_AFTER = 16
"""Lookups after which all lines of a layer are looked at once: pricing calls needs a few, comparing books thousands."""


class Layer:
    """One layer's content.  Raises JournalDamaged where *content* is not a layer that this release can read."""

    def __init__(self, content: bytes, where: str) -> None:
        if not content.startswith(_BEGINNING):
            raise JournalDamaged(
                f"{where} is not a price layer of a form that this release reads: use a newer keledger, or restore it"
            )
        self._content = content
        self._where = where
        self._lookups = 0
        self._blocks: dict[bytes, tuple[int, int]] = {}

    @property
    def content(self) -> bytes:
        """The layer's bytes."""
        return self._content

    def models(self) -> Iterator[tuple[str, str]]:
        """The provider and model of each cell, in the layer's order."""
        for found in _MODEL.finditer(self._content):
            yield orjson.loads(found[1]), orjson.loads(found[2])

    def cells(self, provider: str, model: str) -> tuple[Cell, ...]:
        """All cells of one model, in the layer's order; none where the layer does not know it."""
        begin = b'{"provider":' + orjson.dumps(provider) + b',"model":' + orjson.dumps(model) + b","
        try:
            return tuple(map(read_cell, self._block(begin)))
        except (InputRefused, KeyError, ValueError) as error:
            raise JournalDamaged(f"{self._where} has a cell that cannot be read: {error}") from None

    def _block(self, begin: bytes) -> list[Any]:
        """The lines of one model, found by a search, or in the index once that is worth its while."""
        self._lookups += 1
        if self._lookups <= INDEXED_AFTER:
            return read_block(self._content, begin)
        if not self._blocks:
            self._blocks = self._index()
        start, end = self._blocks.get(begin, (0, 0))
        return _objects(self._content[start:end])

    def _index(self) -> dict[bytes, tuple[int, int]]:
        """Where the lines of each model stand, by their first bytes."""
        blocks: dict[bytes, tuple[int, int]] = {}
        for found in _MODEL.finditer(self._content):
            start, _ = blocks.get(found[0], (found.start(), 0))
            blocks[found[0]] = start, self._content.find(b"\n", found.end())
        return blocks


def read_block(content: bytes, begin: bytes) -> list[Any]:
    """The JSON objects of the lines that begin with *begin*: they stand together, behind the first line."""
    start = content.find(b"\n" + begin) + 1
    if not start:
        return []
    return _objects(content[start : content.find(b"\n", content.rfind(b"\n" + begin) + 1)])


def _objects(lines: bytes) -> list[Any]:
    found: list[Any] = orjson.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    return found
