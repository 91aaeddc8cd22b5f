"""What can go wrong, and the exit status that says so.

::

    KeledgerError                  1  a failure
    ├── UsageError                 2  the command or the call of a function was not well-formed
    ├── InputRefused               1  one or more given calls are not acceptable; nothing was written
    ├── HomeError                  1  the home cannot be used (owner, mode, kind, space)
    ├── AppendRefused              1  nothing of the event can ever appear
    ├── AppendUnknown              1  the event may appear; sending it again under its id is safe
    ├── NotFound                   1  no such call, session, writer
    ├── JournalDamaged             3  what was asked needs bytes that are damaged
    └── BudgetExceeded             4  a budget says no

Messages are one line: what happened, to what, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class KeledgerError(Exception):
    """Base of all errors that keledger raises on purpose."""

    exit_status = 1


class UsageError(KeledgerError):
    """An argument is not well-formed."""

    exit_status = 2


class InputRefused(KeledgerError):
    """One or more given calls are not acceptable.  ``refusals`` has one sentence each; nothing was written."""

    def __init__(self, message: str, refusals: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.refusals = tuple(refusals) or (message,)


class HomeError(KeledgerError):
    """The home folder, or a file in it, cannot be used."""


class AppendRefused(KeledgerError):
    """The journal did not take the event, and nothing of it can ever appear."""


class LockHeld(AppendRefused):
    """Nothing was written, for the home's lock was not to be had in time: any other append would wait as long."""


class AppendUnknown(KeledgerError):
    """The event may or may not appear.  Sending it again under its id is always safe."""


class NotFound(KeledgerError):
    """There is no such call, session or writer in the journal."""


class JournalDamaged(KeledgerError):
    """What was asked for needs bytes of the journal that are damaged."""

    exit_status = 3


class BudgetExceeded(KeledgerError):
    """A budget does not allow the call.

    ``refusals`` has the numbers of each budget that says no; empty where none could be asked, though one stands.
    """

    exit_status = 4

    def __init__(self, message: str, refusals: Sequence[BudgetRefusal] = ()) -> None:
        super().__init__(message)
        self.refusals = tuple(refusals)


@dataclass(frozen=True, slots=True)
class BudgetRefusal:
    """One budget that says no.  Money is decimal text in USD."""

    cause: str
    """``limit``: what is left is less than the call may cost.  ``unpriced``: nobody knows what the model costs.
    ``unbounded``: nobody knows what the call may cost at most.  ``unreadable``: a newer keledger has set it."""
    budget: str | None
    """The budget's name; None where the call itself declared it."""
    declared: str | None
    """``run`` or ``session``, for a budget that the call itself declared."""
    limit_usd: str
    spent_usd: str
    held_usd: str
    asked_usd: str | None
    """What the call may cost; None where nobody can tell."""
    resets_at: str | None
    """The instant at which the window ends, in UTC; None where it never does."""
    sentence: str
    """All this for people, and how the budget is raised."""
