"""What the simulator knows of every event, whatever the journal says: the other side of all comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keledger.journal import NewEvent

from .processes import Violation

CALL_TYPES = ("call.completed", "call.failed")


@dataclass(slots=True)
class Known:
    """One event, by its id: what was tried to be appended under it, and whether it may stand in a journal."""

    forms: set[tuple[str, bytes]] = field(default_factory=set)
    """Type and data of every try.  A retry may be priced by another book."""
    possible: int = 0
    """Tries that are done, under way, or of unknown outcome.  An event without any was refused: it must not appear."""


class Model:
    """All events of a world."""

    def __init__(self) -> None:
        self.events: dict[str, Known] = {}
        self.conflicting: set[str] = set()
        """Ids that were given with two different inputs, on purpose."""

    def known(self, event_id: str) -> Known:
        """What is known of an id."""
        return self.events.setdefault(event_id, Known())

    def is_call(self, event_id: str) -> bool:
        """Whether an id is a call's."""
        return any(event_type in CALL_TYPES for event_type, _ in self.known(event_id).forms)

    def try_(self, events: Sequence[NewEvent]) -> None:
        """An append is about to be tried."""
        for event in events:
            known = self.known(event.id)
            known.forms.add((event.type, event.data))
            known.possible += 1

    def refuse(self, events: Sequence[NewEvent]) -> None:
        """That try was refused: nothing of it can appear."""
        for event in events:
            self.known(event.id).possible -= 1

    def hold(self, event_id: str, event_type: str, data: bytes, where: str) -> None:
        """An event that was read is one that somebody tried to append, and that was not refused."""
        known = self.events.get(event_id)
        if known is None or (event_type, data) not in known.forms:
            raise Violation(f"{where} holds {event_type} {event_id}, which nobody tried to append as it stands there")
        if not known.possible:
            raise Violation(f"{where} holds {event_type} {event_id}, which was refused")


@dataclass(slots=True)
class Acknowledged:
    """The events that one home must have, whatever happens to it."""

    ids: set[str] = field(default_factory=set)
    calls_kept: set[str] = field(default_factory=set)
    """Calls of the library that were spooled: they must come into the journal in the end."""

    def copy(self) -> Acknowledged:
        """What a backup of the home must have."""
        return Acknowledged(set(self.ids), set(self.calls_kept))

    def hold(self, found: Iterable[str], where: str) -> None:
        """Everything acknowledged is there."""
        missing = self.ids.difference(found)
        if missing:
            raise Violation(f"{where} has lost {len(missing)} acknowledged events, like {min(missing)}")
