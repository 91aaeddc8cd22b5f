"""Prices: layers, books and exact cost.  ``docs/prices.md`` tells their files and rules."""

from __future__ import annotations

from ._book import BUCKETS, TIER_BUCKETS, Book
from ._cells import Cell, LayerHeader, context_key, parse_layer, write_layer
from ._names import Match
from ._shipped import shipped_book, shipped_manifest
from ._store import BookManifest, LayerReference, PriceStore

__all__ = [
    "BUCKETS",
    "TIER_BUCKETS",
    "Book",
    "BookManifest",
    "Cell",
    "LayerHeader",
    "LayerReference",
    "Match",
    "PriceStore",
    "context_key",
    "parse_layer",
    "shipped_book",
    "shipped_manifest",
    "write_layer",
]
