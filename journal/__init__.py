"""The write side of keledger: the journal, the only truth.

Events are immutable JSON lines (``docs/format.md``).  :class:`Ledger` records calls; :func:`scan_journal` reads
what was recorded, every hash checked; :func:`verify` says what is wrong.  Nothing here imports DuckDB, opens a
network connection or writes to a terminal.

Names are imported when they are first used: the launcher of a command comes through this door too, and must
start its child before anything heavy is loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from ._adopting import Adoption, CurrentPrices, current_prices, replaced_layer
    from ._anchor import Anchor, AnchoredLine, anchor
    from ._boot import boot_id
    from ._check import Check
    from ._cleaning import check_reason
    from ._days import DAY_US, WEEKDAYS, Zone, first_of_week
    from ._doctor import diagnose, lock_is_free
    from ._errors import (
        AppendRefused,
        AppendUnknown,
        BudgetExceeded,
        HomeError,
        InputRefused,
        JournalDamaged,
        KeledgerError,
        NotFound,
        UsageError,
    )
    from ._filesystem import Filesystem, filesystem_kind
    from ._home import Home, own_writers
    from ._invoice import Invoice, InvoicedLine, amount_pico, read_invoice
    from ._ledger import Ledger
    from ._library import LibraryCall
    from ._line import NewEvent
    from ._merge import Merged, MergeRefused
    from ._money import PRICE_PATTERN, pico_to_usd, usd_to_pico
    from ._reader import Chunk, Position, Scan, scan_journal
    from ._restart import chain_leads_to
    from ._schema import json_schema
    from ._segment import Finding
    from ._tail import Totals, tail_totals
    from ._time import format_time, now_us, parse_time
    from ._unchanged import journaled_since
    from ._verify import Verified, verify
    from ._verify_segment import Depth
    from ._watching import Recorded
    from ._zone import check_zone, report_zone

__all__ = [
    "DAY_US",
    "PRICE_PATTERN",
    "WEEKDAYS",
    "Adoption",
    "Anchor",
    "AnchoredLine",
    "AppendRefused",
    "AppendUnknown",
    "BudgetExceeded",
    "Check",
    "Chunk",
    "CurrentPrices",
    "Depth",
    "Filesystem",
    "Finding",
    "Home",
    "HomeError",
    "InputRefused",
    "Invoice",
    "InvoicedLine",
    "JournalDamaged",
    "KeledgerError",
    "Ledger",
    "LibraryCall",
    "MergeRefused",
    "Merged",
    "NewEvent",
    "NotFound",
    "Position",
    "Recorded",
    "Scan",
    "Totals",
    "UsageError",
    "Verified",
    "Zone",
    "amount_pico",
    "anchor",
    "boot_id",
    "chain_leads_to",
    "check_reason",
    "check_zone",
    "current_prices",
    "diagnose",
    "filesystem_kind",
    "first_of_week",
    "format_time",
    "journaled_since",
    "json_schema",
    "lock_is_free",
    "now_us",
    "own_writers",
    "parse_time",
    "pico_to_usd",
    "read_invoice",
    "replaced_layer",
    "report_zone",
    "scan_journal",
    "tail_totals",
    "usd_to_pico",
    "verify",
]

_MODULES = {
    "_adopting": ("Adoption", "CurrentPrices", "current_prices", "replaced_layer"),
    "_anchor": ("Anchor", "AnchoredLine", "anchor"),
    "_boot": ("boot_id",),
    "_check": ("Check",),
    "_cleaning": ("check_reason",),
    "_days": ("DAY_US", "WEEKDAYS", "Zone", "first_of_week"),
    "_doctor": ("diagnose", "lock_is_free"),
    "_errors": (
        "AppendRefused", "AppendUnknown", "BudgetExceeded", "HomeError", "InputRefused", "JournalDamaged",
        "KeledgerError", "NotFound", "UsageError",
    ),
    "_filesystem": ("Filesystem", "filesystem_kind"),
    "_home": ("Home", "own_writers"),
    "_invoice": ("Invoice", "InvoicedLine", "amount_pico", "read_invoice"),
    "_ledger": ("Ledger",),
    "_library": ("LibraryCall",),
    "_line": ("NewEvent",),
    "_merge": ("MergeRefused", "Merged"),
    "_money": ("PRICE_PATTERN", "pico_to_usd", "usd_to_pico"),
    "_reader": ("Chunk", "Position", "Scan", "scan_journal"),
    "_restart": ("chain_leads_to",),
    "_schema": ("json_schema",),
    "_segment": ("Finding",),
    "_tail": ("Totals", "tail_totals"),
    "_time": ("format_time", "now_us", "parse_time"),
    "_unchanged": ("journaled_since",),
    "_verify": ("Verified", "verify"),
    "_verify_segment": ("Depth",),
    "_watching": ("Recorded",),
    "_zone": ("check_zone", "report_zone"),
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
