"""Price files that the journal names: each is there, and has the SHA-256 of its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ._errors import JournalDamaged
from ._home import Home
from ._plain_file import read_plain_file
from ._segment import Finding
from .prices import BookManifest


def check_prices(home: Home, books: Mapping[str, str]) -> tuple[int, list[Finding]]:
    """How many books are whole, and what is wrong with the others.  *books* tells of each where it is named first."""
    whole = 0
    findings: list[Finding] = []
    parts: dict[str, str] = {}
    for name, place in books.items():
        content = _content(home, name, place, findings)
        if content is None:
            continue
        path = home.prices / name
        try:
            manifest = BookManifest.parse(content, str(path))
        except JournalDamaged as error:
            findings.append(Finding("price_book_wrong", str(path), f"{error}; named by {place}"))
            continue
        whole += 1
        for part in manifest.files:
            parts.setdefault(part, str(path))
    for name, place in parts.items():
        if name not in books:
            _content(home, name, place, findings)
    return whole, findings


def _content(home: Home, name: str, place: str, findings: list[Finding]) -> bytes | None:
    path = home.prices / name
    try:
        content = read_plain_file(path)
    except OSError as error:
        findings.append(Finding("price_file_missing", str(path), f"{path}: {error.strerror}; named by {place}"))
        return None
    if hashlib.sha256(content).hexdigest() != name:
        message = f"{path} does not have the SHA-256 of its name; named by {place}"
        findings.append(Finding("price_file_damaged", str(path), message))
        return None
    return content
