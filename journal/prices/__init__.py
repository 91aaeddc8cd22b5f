"""Prices: layers, books and exact cost.  ``docs/prices.md`` tells their files and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._book import BUCKETS, FREE_WITHOUT_PRICE, PRICER_VERSION, TIER_BUCKETS, Book
from ._cells import (
    ALWAYS_US,
    DAY_MINUTES,
    EVERY_DAY,
    KINDS,
    NAME_BYTES_MAX,
    Cell,
    LayerHeader,
    context_key,
    parse_header,
    parse_layer,
    write_layer,
)
from ._names import Match
from ._rates import INPUT_MAX, Rate
from ._shipped import shipped_book, shipped_manifest, shipped_name_rules
from ._store import BookManifest, LayerReference, PriceStore

if TYPE_CHECKING:
    from ._comparing import PriceChange, changed_prices, price_rows
    from ._editing import (
        Selection,
        inherited_prices,
        set_price,
        told_conditions,
        told_instant,
        told_minute,
        told_weekdays,
        unset_prices,
        user_cells,
        user_layer,
    )
    from ._explaining import Explained, Held, explain

__all__ = [
    "ALWAYS_US",
    "BUCKETS",
    "DAY_MINUTES",
    "EVERY_DAY",
    "FREE_WITHOUT_PRICE",
    "INPUT_MAX",
    "KINDS",
    "NAME_BYTES_MAX",
    "PRICER_VERSION",
    "TIER_BUCKETS",
    "Book",
    "BookManifest",
    "Cell",
    "Explained",
    "Held",
    "LayerHeader",
    "LayerReference",
    "Match",
    "PriceChange",
    "PriceStore",
    "Rate",
    "Selection",
    "changed_prices",
    "context_key",
    "explain",
    "inherited_prices",
    "parse_header",
    "parse_layer",
    "price_rows",
    "set_price",
    "shipped_book",
    "shipped_manifest",
    "shipped_name_rules",
    "told_conditions",
    "told_instant",
    "told_minute",
    "told_weekdays",
    "unset_prices",
    "user_cells",
    "user_layer",
    "write_layer",
]

# Imported when they are first used: no call needs them.
_MODULES = {
    "_comparing": ("PriceChange", "changed_prices", "price_rows"),
    "_editing": (
        "Selection", "inherited_prices", "set_price", "told_conditions", "told_instant", "told_minute",
        "told_weekdays", "unset_prices", "user_cells", "user_layer",
    ),
    "_explaining": ("Explained", "Held", "explain"),
}  # fmt: skip
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = found
    return found
