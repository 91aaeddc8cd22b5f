"""Budgets: what they say, the windows they count in, and the guard that holds calls to them.

``docs/budgets.md`` tells how they are set and what they promise.  Nothing here imports DuckDB, opens a network
connection or writes to a terminal.  Names are imported when they are first used: a journal without a budget must not
pay for one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from ._desk import Budgets
    from ._explanation import Entry, Explanation
    from ._policy import (
        ACTIONS,
        HOLDS,
        NAME_LENGTH_MAX,
        ON_LOST,
        Budget,
        Condition,
        Raise,
        Scope,
        budget_fields,
        raise_fields,
        read_budget,
        with_raise,
    )
    from ._standing import Standing
    from ._status import budget_row, instant_asked, status_row
    from ._trial import STAND_IN, Trial, Verdict
    from ._windows import PERIODS, Period, Window, Windows

__all__ = [
    "ACTIONS",
    "HOLDS",
    "NAME_LENGTH_MAX",
    "ON_LOST",
    "PERIODS",
    "STAND_IN",
    "Budget",
    "Budgets",
    "Condition",
    "Entry",
    "Explanation",
    "Period",
    "Raise",
    "Scope",
    "Standing",
    "Trial",
    "Verdict",
    "Window",
    "Windows",
    "budget_fields",
    "budget_row",
    "instant_asked",
    "raise_fields",
    "read_budget",
    "status_row",
    "with_raise",
]

_MODULES = {
    "_desk": ("Budgets",),
    "_explanation": ("Entry", "Explanation"),
    "_policy": (
        "ACTIONS", "HOLDS", "NAME_LENGTH_MAX", "ON_LOST", "Budget", "Condition", "Raise", "Scope", "budget_fields",
        "raise_fields", "read_budget", "with_raise",
    ),
    "_standing": ("Standing",),
    "_status": ("budget_row", "instant_asked", "status_row"),
    "_trial": ("STAND_IN", "Trial", "Verdict"),
    "_windows": ("PERIODS", "Period", "Window", "Windows"),
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
