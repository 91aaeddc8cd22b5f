"""What a server needs of a ledger, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Recorded(Protocol):
    """What became of a call: in the journal, or, with the reason why, in the spool."""

    @property
    def journaled(self) -> bool: ...

    @property
    def problem(self) -> str | None: ...

    @property
    def alerts(self) -> Sequence[str]: ...


class Reserved(Protocol):
    """A hold on budgets; ``alerts`` are sentences for the user."""

    @property
    def alerts(self) -> Sequence[str]: ...


class Recorder(Protocol):
    """What a server needs of a Ledger."""

    def reserve(self, begin: Mapping[str, Any]) -> Reserved | None: ...

    def release(self, call_id: str) -> None: ...

    def covers(self, begin: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]: ...

    def confirm_above(self, begin: Mapping[str, Any]) -> str | None: ...

    def record_estimate(
        self, told: Mapping[str, Any], begin: Mapping[str, Any], *, confirm: Mapping[str, str] | None = None
    ) -> str: ...

    def record_choice(self, chosen: Mapping[str, Any], begin: Mapping[str, Any]) -> str: ...

    def record_hook(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Recorded: ...

    def close(self) -> None: ...
