"""Where the lines of a home stand."""

from __future__ import annotations

from pathlib import Path

import orjson

from keledger.journal import Home


def own(home: Home) -> list[Path]:
    """The segments of the home's own writer."""
    return home.segments(str(orjson.loads((home.path / "writer.json").read_bytes())["writer"]))


def far(home: Home) -> list[Path]:
    """The segments of the merged writer."""
    (writer,) = set(home.writers()) - {own(home)[0].parent.name}
    return home.segments(writer)
