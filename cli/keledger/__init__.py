"""keledger: an event-sourced, append-only cost journal for LLM calls.

The library is :class:`Ledger`, and :class:`Estimator` for what is to be known before a call; the command is
``keledger``.  Names are imported when they are first
used, so that ``keledger run`` starts its child before anything heavy is loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from keledger.journal import BudgetExceeded as BudgetExceeded
    from keledger.journal import Ledger as Ledger
    from keledger.projections import Estimator as Estimator

__version__ = "0.1.0"
__all__ = ["BudgetExceeded", "Estimator", "Ledger", "__version__"]


def __getattr__(name: str) -> object:
    if name in ("BudgetExceeded", "Ledger"):
        import keledger.journal

        return getattr(keledger.journal, name)
    if name == "Estimator":
        import keledger.projections

        return keledger.projections.Estimator
    raise AttributeError(f"module 'keledger' has no attribute {name!r}")
