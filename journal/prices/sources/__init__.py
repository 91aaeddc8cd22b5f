"""Where price lists come from: each known form read into cells, and what a new list dropped carried over.

``docs/prices.md`` says for each source what becomes rows and what does not.
"""

from __future__ import annotations

from ._adopting import NewLayer, imported_list, succeeding_list, updated_list
from ._carried import Carried, carry_over
from ._genai_names import carry_names
from ._genai_prices import RELEASED, ListNotes, PriceList, installed_version, read_installed
from ._imported import Imported, Notes, PricedApart
from ._inheriting import priced_apart
from ._json import CONTENT_BYTES_MAX
from ._reading import SOURCES, Terms, read_price_list

__all__ = [
    "CONTENT_BYTES_MAX",
    "RELEASED",
    "SOURCES",
    "Carried",
    "Imported",
    "ListNotes",
    "NewLayer",
    "Notes",
    "PriceList",
    "PricedApart",
    "Terms",
    "carry_names",
    "carry_over",
    "imported_list",
    "installed_version",
    "priced_apart",
    "read_installed",
    "read_price_list",
    "succeeding_list",
    "updated_list",
]
