"""The write side of keledger: the journal, the only truth.

Events are immutable JSON lines (``docs/format.md``).  :class:`Ledger` records calls; :func:`scan_journal` reads what
was recorded, every hash checked; :func:`verify` says what is wrong.  Nothing here imports DuckDB, opens a network
connection or writes to a terminal.
"""

from __future__ import annotations

from typing import Any

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
from ._home import Home
from ._ledger import Ledger, Recorded
from ._library import LibraryCall
from ._line import NewEvent
from ._merge import Merged, MergeRefused
from ._money import pico_to_usd, usd_to_pico
from ._reader import Chunk, Position, Scan, scan_journal
from ._segment import Finding
from ._tail import Totals, tail_totals
from ._time import format_time, parse_time
from ._verify import Verified, verify
from ._zone import check_zone, report_zone

__all__ = [
    "AppendRefused",
    "AppendUnknown",
    "BudgetExceeded",
    "Chunk",
    "Finding",
    "Home",
    "HomeError",
    "InputRefused",
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
    "check_zone",
    "format_time",
    "json_schema",
    "parse_time",
    "pico_to_usd",
    "report_zone",
    "scan_journal",
    "tail_totals",
    "usd_to_pico",
    "verify",
]


def json_schema(event_type: str | None = None) -> dict[str, Any]:
    """JSON Schema of one event type's line, or of all that this release writes.

    Imports the pydantic models, which nothing else here needs.  Raises UsageError for a type that has no model.
    """
    from ._schema import json_schema as schema

    return schema(event_type)
