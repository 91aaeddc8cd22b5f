"""Reading a layer for one model at a time.

A list layer has some 4,000 cells in about 1 MB.  Its lines are sorted, so the cells of one model are one block,
which is found by its first bytes; nothing else of the layer is parsed.
"""

from __future__ import annotations

from typing import Any

import orjson

from keledger.journal._errors import InputRefused, JournalDamaged

from ._cells import Cell, read_cell

_BEGINNING = b'{"keledger_layer":1,'


class Layer:
    """One layer's content.  Raises JournalDamaged where *content* is not a layer that this release can read."""

    def __init__(self, content: bytes, where: str) -> None:
        if not content.startswith(_BEGINNING):
            raise JournalDamaged(
                f"{where} is not a price layer of a form that this release reads: use a newer keledger, or restore it"
            )
        self._content = content
        self._where = where

    def cells(self, provider: str, model: str) -> tuple[Cell, ...]:
        """All cells of one model, in the layer's order; none where the layer does not know it."""
        begin = b'{"provider":' + orjson.dumps(provider) + b',"model":' + orjson.dumps(model) + b","
        try:
            return tuple(map(read_cell, read_block(self._content, begin)))
        except (InputRefused, KeyError, ValueError) as error:
            raise JournalDamaged(f"{self._where} has a cell that cannot be read: {error}") from None


def read_block(content: bytes, begin: bytes) -> list[Any]:
    """The JSON objects of the lines that begin with *begin*: they stand together, behind the first line."""
    start = content.find(b"\n" + begin) + 1
    if not start:
        return []
    end = content.find(b"\n", content.rfind(b"\n" + begin) + 1)
    found: list[Any] = orjson.loads(b"[" + content[start:end].replace(b"\n", b",") + b"]")
    return found
