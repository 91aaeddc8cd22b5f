"""The price book that comes with the program."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from keledger.journal._errors import JournalDamaged

from ._store import BookManifest

_FOLDER = Path(__file__).parents[2] / "data" / "prices"
"""Beside the journal package, in the checkout as in an installed wheel.  importlib.resources would double the time
of a first price."""

_MANIFEST = "book.json"
_NAME_RULES = "name_rules.json"


def shipped_manifest() -> BookManifest:
    """What the shipped book consists of.  Reads one small file."""
    return BookManifest.parse(_read(_MANIFEST), str(_FOLDER / _MANIFEST))


def shipped_book() -> tuple[bytes, dict[str, bytes]]:
    """The shipped book: its manifest's bytes, and the files it needs by their SHA-256.

    Raises JournalDamaged where the installed files do not fit the manifest.
    """
    manifest = shipped_manifest()
    contents = [_read(path.name) for path in sorted(_FOLDER.glob("*.jsonl"))]
    by_sha256 = {hashlib.sha256(content).hexdigest(): content for content in contents}
    missing = [sha256 for sha256 in manifest.files if sha256 not in by_sha256]
    if missing:
        raise JournalDamaged(
            f"the price files of this installation in {_FOLDER} do not fit their manifest: install keledger again"
        )
    return manifest.content, {sha256: by_sha256[sha256] for sha256 in manifest.files}


def shipped_name_rules() -> dict[str, Any]:
    """The program's own rules of names, which are merged with those of a list: ``docs/prices.md``."""
    rules: dict[str, Any] = json.loads(_read(_NAME_RULES))
    return rules


def _read(name: str) -> bytes:
    try:
        return (_FOLDER / name).read_bytes()
    except OSError as error:
        raise JournalDamaged(
            f"{_FOLDER / name} of this installation cannot be read ({error.strerror}): install keledger again"
        ) from None
