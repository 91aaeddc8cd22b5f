"""A price book with a handful of the shipped prices: 1.5 MB of them, written and hashed anew in each world, take longer
than all else that happens in it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from keledger.journal.prices import BookManifest, shipped_book

MODELS = (("openai", "gpt-5-mini"), ("anthropic", "claude-sonnet-4-5"), ("nobody", "without-a-price"))
"""Providers and models of simulated calls; the last one has no price."""


@functools.cache
def _small_book() -> dict[str, bytes]:
    """The files of the small book by their names in the folder of shipped prices."""
    content, files = shipped_book()
    shipped = BookManifest.parse(content, "the shipped book")
    short = {sha256: _shortened(file) for sha256, file in files.items()}
    renamed = {sha256: hashlib.sha256(file).hexdigest() for sha256, file in short.items()}
    layers = tuple(layer._replace(sha256=renamed[layer.sha256]) for layer in shipped.layers)
    book = BookManifest(layers, renamed[shipped.names])
    return {"book.json": book.content} | {f"{renamed[sha256]}.jsonl": file for sha256, file in short.items()}


def _shortened(content: bytes) -> bytes:
    """The header and the lines of the simulated models."""
    header, *lines = content.splitlines(keepends=True)
    wanted = [f'"{model}"'.encode() for _, model in MODELS]
    return header + b"".join(line for line in lines if any(model in line for model in wanted))


def write_small_book(folder: Path) -> None:
    """Put the small book into a folder, to stand in for the shipped one."""
    folder.mkdir()
    for name, content in _small_book().items():
        (folder / name).write_bytes(content)
