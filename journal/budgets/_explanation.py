"""Every charge and hold of one window, so that what a budget says can be added up by hand.

The sums of the guard do not remember what they are made of.  So the journal is folded once more, by the same rules, and
whatever moves the one window is written down.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keledger.journal._errors import NotFound, UsageError
from keledger.journal._money import pico_to_usd

from ._fold import Fold
from ._guard import Guard
from ._passing import Progress, ReadEvent
from ._policy import Budget
from ._scopes import Scopes
from ._standing import Standing, present_standings, standing
from ._status import PARTS
from ._store import LOST_COUNT, OPEN_COUNT, UNKNOWN_COUNT, UNPRICED_COUNT, Place, Store, Sums, SumsKey

_NUMBER = 2
"""Of the scope in a fold that sums no other: the two below are built in."""

_TOLD = (
    "started_at", "effective_at", "provider", "model", "session", "prompt", "user", "project", "team", "cost_center",
    "tags", "status", "category", "reason", "hold_id",
)  # fmt: skip
"""What is told of a charge, of what its event says."""

_NOTHING = [0] * (1 + max(LOST_COUNT, OPEN_COUNT, UNKNOWN_COUNT, UNPRICED_COUNT))


class Entry(NamedTuple):
    """One call, adjustment or hold of a window.

    ``kind`` is ``call``, ``unpriced`` (a call that counts at its hold), ``unknown`` (one that had none, and counts
    nothing), ``adjustment``, ``open``, ``lost`` or ``resolved`` (holds, and calls of which nobody knew what they cost).
    ``part`` is to which part of the window's figure it belongs, as ``lost_usd``.
    """

    id: str
    kind: str
    part: str
    amount_pico: int
    told: Mapping[str, Any]

    def as_row(self) -> dict[str, Any]:
        """For people and programs."""
        amount_usd = pico_to_usd(self.amount_pico)
        return {"id": self.id, "kind": self.kind, "part": self.part, "amount_usd": amount_usd, **self.told}


class Explanation(NamedTuple):
    """One window of a budget, and all that it is made of, the oldest first.

    The amounts of the entries of each part add up to that part of the window's sums, to the picodollar.
    """

    standing: Standing
    entries: Sequence[Entry]


class Asked(NamedTuple):
    """One window of a budget at an instant: the group of its key, and a range that holds the slots it is made of."""

    budget: Budget
    group: str
    slots: range
    instant_us: int
    own_writers: tuple[str, ...]


def explained(guard: Guard, asked: Asked, progress: Progress | None) -> Explanation:
    """The window, by a fold of the whole journal.  Called without the lock."""
    with tempfile.TemporaryDirectory(prefix="keledger-") as folder:

        def make(keyed: bool) -> TracedFold:
            return TracedFold(Path(folder) / "state", asked, read_event=guard.read_event, keyed=keyed)

        fold = guard.fold_anew(make, progress)
        try:
            return fold.explanation()
        finally:
            fold.store.close()


def window_asked(fold: Fold, budget: Budget, group: Mapping[str, str | None] | None, instant_us: int) -> Asked:
    """The window of a budget in which an instant lies, that of *group* where each of something has its own.

    Raises UsageError where the budget has no such columns, or none of several windows was chosen, and NotFound where
    there is nothing to choose from.
    """
    number = fold.scopes.number(budget.scope)
    assert number is not None, "the scope of a budget that stands is summed"
    summed = fold.scopes[number]
    needed = ",".join(f"{column}=VALUE" for column in summed.columns)
    if group is not None and set(group) != set(summed.columns):
        hint = f"choose one of its windows with {needed}" if needed else "it has one window for all its calls"
        raise UsageError(f"budget {budget.name} has no windows by {', '.join(group)}: {hint}")
    if group is not None:
        pairs = group.items()
        text = summed.group_text(
            {"column": column} if value is None else {"column": column, "value": value} for column, value in pairs
        )
    else:
        groups = [each.key[1] for each in present_standings(fold, budget, instant_us)]
        if not groups:
            raise NotFound(f"budget {budget.name} has counted nothing in that window")
        if len(groups) > 1:
            raise UsageError(f"budget {budget.name} has {len(groups)} windows: choose one of them with {needed}")
        (text,) = groups
    window = summed.window(instant_us)
    slots = range(window.start_us, window.end_us) if summed.resets else range(1)
    return Asked(budget, text, slots, instant_us, fold.own_writers)


class TracedFold(Fold):
    """A fold of one scope that writes down what moves one window of it, and by how much."""

    def __init__(self, path: Path, asked: Asked, *, read_event: ReadEvent, keyed: bool) -> None:
        """Its state stands at *path*, which it makes.  *keyed* where calls were imported."""
        store, scopes = Store(path, new=True), Scopes({_NUMBER: asked.budget.scope})
        super().__init__(store, scopes, own_writers=asked.own_writers, read_event=read_event, keyed=keyed)
        self._asked = asked
        self._amounts: dict[str, Sums] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._subject = ""
        self._of_subject: Mapping[str, Any] = {}

    def explanation(self) -> Explanation:
        """What the window is made of."""
        asked = self._asked
        found = standing(self, asked.budget, (_NUMBER, asked.group, asked.slots.start), asked.instant_us).kept()
        entries = sorted(self._entries(), key=lambda entry: (_instant(entry), entry.id))
        return Explanation(found, entries)

    def _entries(self) -> Iterator[Entry]:
        by_call = {hold["call_id"]: (hold_id, hold) for hold_id, hold in self.store.holds.items()}
        for subject, amounts in self._amounts.items():
            hold_id, hold = by_call.get(subject, (None, None))
            is_resolved = hold is not None and hold["state"] == "resolved"
            if not any(amounts) and not (is_resolved and "ended_by" not in (hold or {})):
                continue  # voided since, told again by a better source, or a hold that was given back
            told = dict(self._told[subject])
            if hold is not None:
                told |= {"hold_id": hold_id, "held_usd": pico_to_usd(int(hold["amount"]))}
                told |= {"cause": hold["cause"]} if "cause" in hold else {}
            for kind in _kinds(amounts, is_resolved=is_resolved):
                part = _PART_OF[kind]
                yield Entry(subject, kind, part, amounts[PARTS[part]], told)

    def _add(self, keys: Sequence[SumsKey], amounts: Sequence[tuple[int, int]]) -> None:
        super()._add(keys, amounts)
        asked = self._asked
        if any(key[0] == _NUMBER and key[1] == asked.group and key[2] in asked.slots for key in keys):
            if self._subject not in self._amounts:
                self._amounts[self._subject] = list(_NOTHING)
            for index, amount in amounts:
                self._amounts[self._subject][index] += amount
            told = self._told.setdefault(self._subject, {})
            told |= {name: self._of_subject[name] for name in _TOLD if name in self._of_subject}

    def _about(self, subject: str, told: Mapping[str, Any]) -> None:
        self._subject, self._of_subject = subject, told

    def _contribute(self, data: Mapping[str, Any], event_id: str, sign: int) -> None:
        self._about(event_id, data)
        super()._contribute(data, event_id, sign)

    def _reserved(self, event: Mapping[str, Any], place: Place) -> None:
        self._about(event["data"]["call_id"], event["data"])
        super()._reserved(event, place)

    def _resolved(self, event: Mapping[str, Any], place: Place) -> None:
        super()._resolved(event, place)
        hold = self.store.holds.get(event["data"]["hold_id"])
        if hold is not None and hold["call_id"] in self._told:
            self._told[hold["call_id"]]["reason"] = event["data"]["reason"]

    def _take_out(self, hold: Mapping[str, Any]) -> None:
        self._about(hold["call_id"], {})
        super()._take_out(hold)

    def _adjusted(self, event: Mapping[str, Any], place: Place) -> None:
        self._about(event["id"], event["data"])
        super()._adjusted(event, place)

    def _learn(self, data: Mapping[str, Any], place: Place, hold: Mapping[str, Any] | None) -> None:
        """Nothing is to be reserved here."""

    def _set(self, event: Mapping[str, Any], place: Place) -> None:
        """What was counted hangs on no budget."""


_PART_OF = {
    "call": "calls_usd",
    "unpriced": "unpriced_usd",
    "adjustment": "adjustments_usd",
    "open": "open_usd",
    "lost": "lost_usd",
    "resolved": "resolved_usd",
    "unknown": "calls_usd",
}


def _kinds(amounts: Sums, *, is_resolved: bool) -> list[str]:
    """What a subject is, by the parts that it moved: nearly always one thing.  Every part that it moved is told."""
    moved = [kind for kind, part in _PART_OF.items() if amounts[PARTS[part]] and kind != "unknown"]
    if moved:
        return moved
    if is_resolved:
        return ["resolved"]
    counts = {"open": OPEN_COUNT, "lost": LOST_COUNT, "unpriced": UNPRICED_COUNT, "unknown": UNKNOWN_COUNT}
    return [next((kind for kind, count in counts.items() if amounts[count]), "call")]


def _instant(entry: Entry) -> str:
    instant: str = entry.told.get("started_at") or entry.told.get("effective_at") or ""
    return instant
