"""The budgets of a home, for people: set, raised, removed and asked for, and their lost holds resolved."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from keledger.journal._cleaning import check_reason
from keledger.journal._days import DAY_US
from keledger.journal._errors import InputRefused, KeledgerError, NotFound
from keledger.journal._identity import id_of_key, input_sha256, new_id
from keledger.journal._line import NewEvent
from keledger.journal._money import pico_to_usd, usd_to_pico
from keledger.journal._time import format_time, now_us, parse_time
from keledger.journal._validate import check_data

from ._explanation import Asked, Explanation, explained, window_asked
from ._fold import Fold
from ._passing import Progress
from ._policy import Budget, Scope, raise_fields
from ._standing import Standing, present_standings
from ._status import all_standings, instant_asked, status_row

if TYPE_CHECKING:
    from keledger.journal._attributes import AttributeResolver

    from ._enforcement import Enforcement

_PSEUDONYM = re.compile(r"u-[0-9a-f]{24}")

Answer = TypeVar("Answer")


class Budgets:
    """What ``keledger budget`` does, as a library: :attr:`.Ledger.budgets`.

    Every method brings the guard up to the journal's last line first, which takes some seconds for each million events
    where its state must be built anew; *progress* is told how many bytes of how many were folded, then.
    """

    def __init__(
        self, enforcement: Enforcement, attributes: AttributeResolver, progress: Progress | None = None
    ) -> None:
        self._enforcement, self._attributes, self._progress = enforcement, attributes, progress
        self.alerts: tuple[str, ...] = ()
        """Sentences for the user: the thresholds that a budget had passed already when it was set or raised here."""

    def telling(self, progress: Progress) -> Budgets:
        """The same, with somebody who is told how far a long fold is."""
        return Budgets(self._enforcement, self._attributes, progress)

    def list(self) -> list[Budget]:
        """The budgets that stand, by name."""
        return self._ask(lambda fold: sorted(fold.budgets.values(), key=lambda budget: budget.name))

    def get(self, name: str) -> Budget:
        """A budget by its name.  Raises NotFound."""
        return self._ask(lambda fold: named(fold, name))

    def set(self, fields: Mapping[str, Any], *, replace: bool = False, reason: str | None = None) -> str:
        """Set a budget, of what :func:`.budget_fields` made; returns the event's id.

        What the journal holds already in its present window counts.  Raises InputRefused where a budget of that name
        stands and is not to be replaced, HomeError for one that blocks on a network filesystem.
        """
        fields = self.as_journaled(fields)
        scope = Scope.of_data(fields)
        if self._ask(lambda fold: fold.scopes.number(scope)) is None:
            self._enforcement.guard.rebuild([scope], self._progress)

        def decide(fold: Fold) -> NewEvent:
            standing = fold.budgets.get(fields["name"])
            if standing is not None and not replace:
                raise InputRefused(
                    f"a budget {standing.name} of {pico_to_usd(standing.limit_pico)} USD stands already: give another "
                    "name, raise it, or put this one in its place (--replace)"
                )
            if fields["action"] == "block":
                self._enforcement.refuse_network(fold)
            given = {**fields, **({"replaces": standing.id} if standing is not None else {})}
            return self._event("budget.set", given, reason)

        return self._changed(fields["name"], self._enforcement.append_one(decide))

    def raise_limit(self, name: str, limit: str, until: str | None, reason: str) -> str:
        """Raise a budget's limit, for good or for a time; returns the event's id.

        *limit* and *until* as :func:`.raise_fields` takes them.  Raises NotFound, InputRefused, UsageError.
        """
        event_id = self._enforcement.append_one(
            lambda fold: self._event("budget.raised", raise_fields(named(fold, name), limit, until, now_us()), reason)
        )
        return self._changed(name, event_id)

    def remove(self, name: str, reason: str | None = None) -> str:
        """Remove a budget; returns the event's id.  Raises NotFound."""
        return self._enforcement.append_one(
            lambda fold: self._event("budget.removed", {"name": name, "budget_id": named(fold, name).id}, reason)
        )

    def resolve(self, hold_id: str, cost_usd: str, reason: str) -> str:
        """Say what the call of a lost hold cost, 0 where it was not billed; returns the event's id.

        *hold_id* may be the id of the hold or of its call, or how one of them begins.  The open hold of another home's
        writer, of whom nobody here knows whether he lives, can be resolved, too.  Raises NotFound and InputRefused.
        """
        if usd_to_pico(cost_usd) < 0:
            raise InputRefused(f"a call does not cost {cost_usd} USD: give an amount from 0 on")
        self._enforcement.find_lost(self._progress)

        def decide(fold: Fold) -> NewEvent:
            found_id, hold = _hold(fold, hold_id)
            if hold["state"] == "open" and hold["writer"] in fold.own_writers:
                raise InputRefused(f"the call of hold {found_id} is under way: it will say itself what it cost")
            if hold["state"] not in ("open", "lost"):
                raise InputRefused(f"hold {found_id} is {hold['state']} already: nothing of it is left to resolve")
            given = {"hold_id": found_id, "cost_usd": cost_usd}
            return self._event("hold.resolved", given, reason, key=found_id)

        return self._enforcement.append_one(decide)

    def clock_behind(self) -> str | None:
        """A sentence where the clock stands a day or more before what is journaled: present windows are old ones."""

        def ask(fold: Fold) -> str | None:
            instant_us = now_us()
            if not fold.latest or parse_time(fold.latest) - instant_us < DAY_US:
                return None
            return (
                f"the clock stands at {format_time(instant_us)}, before events of {fold.latest} that are journaled "
                "already: these are the windows of its own time; set the clock right"
            )

        return self._ask(ask)

    def hold_id(self, wanted: str) -> str:
        """The id of a hold, by how it or its call's id begins.  Raises NotFound and InputRefused."""
        return self._ask(lambda fold: _hold(fold, wanted)[0])

    def standings(
        self, names: Sequence[str] = (), *, at_us: int | None = None, day: date | None = None
    ) -> Sequence[Standing]:
        """How the windows stand of all budgets, or of those that are named: the present ones.

        With *at_us* it is those in which that instant lies, with *day* those in which a day of the budget's zone does.

        Holds that nobody keeps any more are found first.  Raises NotFound.
        """
        self._enforcement.find_lost(self._progress)

        def ask(fold: Fold) -> list[Standing]:
            budgets = [named(fold, name) for name in names] or sorted(fold.budgets.values(), key=lambda each: each.name)
            instants = [(budget, instant_asked(budget, at_us, day)) for budget in budgets]
            if at_us is not None or day is not None:
                instants = [(budget.as_of(at), at) for budget, at in instants]
            return [each.kept() for budget, at in instants for each in present_standings(fold, budget, at)]

        return self._ask(ask)

    def windows(self) -> Sequence[dict[str, Any]]:
        """Every window of the budgets that stand in which anything was counted: rows of :func:`.status_row`.

        Of one that is over, the limit is the one that held at its end.  Rolling windows overlap without end: there is
        a row for each present one.  Nothing is journaled, so holds that nobody keeps any more stand open still.
        """
        instant_us = now_us()

        def ask(fold: Fold) -> list[dict[str, Any]]:
            budgets = sorted(fold.budgets.values(), key=lambda each: each.name)
            return [status_row(*found) for budget in budgets for found in all_standings(fold, budget, instant_us)]

        return self._ask(ask)

    def explain(
        self,
        name: str,
        *,
        group: Mapping[str, str | None] | None = None,
        at_us: int | None = None,
        day: date | None = None,
    ) -> Explanation:
        """What a window of a budget is made of: the present one, or as :meth:`standings` is told.

        *group* has the values of the columns by which the budget has many windows, None where there is none; it may be
        left out where only one is there.  The whole journal is folded for it.  Raises NotFound and UsageError.
        """
        self._enforcement.find_lost(self._progress)
        if group is not None:
            conditions = [self._as_journaled({"column": name, "value": value}) for name, value in group.items()]
            group = {each["column"]: each["value"] for each in conditions}

        def ask(fold: Fold) -> Asked:
            budget = named(fold, name)
            instant_us = instant_asked(budget, at_us, day)
            if at_us is not None or day is not None:
                budget = budget.as_of(instant_us)
            return window_asked(fold, budget, group, instant_us)

        return explained(self._enforcement.guard, self._ask(ask), self._progress)

    def holds(self, *, find_lost: bool = True) -> Sequence[dict[str, Any]]:
        """The holds that are open, lost or resolved, or stand for a call that nobody can price, the oldest first.

        Without *find_lost* nothing is journaled, and those that nobody keeps any more are open still.
        """
        if find_lost:
            self._enforcement.find_lost(self._progress)

        def ask(fold: Fold) -> list[dict[str, Any]]:
            found = [_hold_row(fold, hold_id, hold) for hold_id, hold in fold.store.holds.items()]
            return sorted(found, key=lambda hold: (hold["started_at"], hold["hold_id"]))

        return self._ask(ask)

    def as_journaled(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What :func:`.budget_fields` made, with users as this home's calls name them."""
        return {**fields, "where": [self._as_journaled(condition) for condition in fields["where"]]}

    def _changed(self, name: str, event_id: str) -> str:
        """A budget has a new limit, which may be below what is spent already."""
        with contextlib.suppress(KeledgerError):  # it stands; the next call raises the alerts
            self.alerts = self._enforcement.raise_present_alerts(name)
        return event_id

    def _as_journaled(self, condition: Mapping[str, Any]) -> Mapping[str, Any]:
        """A condition on users as calls name them: by their pseudonyms, where the home stores those."""
        name = condition.get("value")
        if condition["column"] not in ("user", "os_user") or name is None or _PSEUDONYM.fullmatch(name) is not None:
            return condition
        return {**condition, "value": self._attributes.pseudonym(name)}

    def _ask(self, ask: Callable[[Fold], Answer]) -> Answer:
        return self._enforcement.ask(ask, self._progress)

    def _event(self, kind: str, fields: Mapping[str, Any], reason: str | None, key: str | None = None) -> NewEvent:
        """An event of somebody's.  One with a *key* is known by it: who made it, and why, makes it no other event."""
        told = {"reason": check_reason(reason)} if reason is not None else {}
        given = {**fields, **told} if key is None else fields
        data = {"input_sha256": input_sha256(kind, given), **fields, "actor": self._attributes.os_user, **told}
        check_data(kind, data)
        return NewEvent.of(kind, id_of_key(f"keledger:{kind}", key) if key is not None else new_id(), data)


def named(fold: Fold, name: str) -> Budget:
    """A budget by its name.  Raises NotFound, with the nearest name that there is."""
    budget = fold.budgets.get(name)
    if budget is None:
        near = difflib.get_close_matches(name, fold.budgets, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "keledger budget list names those that stand"
        raise NotFound(f"no budget {name[:64]!r} stands here; {hint}")
    return budget


def _hold(fold: Fold, wanted: str) -> tuple[str, Mapping[str, Any]]:
    found = [
        (hold_id, hold)
        for hold_id, hold in fold.store.holds.items()
        if len(wanted) >= 4 and (hold_id.startswith(wanted) or hold["call_id"].startswith(wanted))
    ]
    if not found:
        raise NotFound(f"no hold {wanted[:64]!r} is open or lost here; keledger budget holds lists them")
    if len(found) > 1:
        raise InputRefused(f"{wanted[:64]!r} is how {len(found)} holds begin: give more of its id")
    return found[0]


def _hold_row(fold: Fold, hold_id: str, hold: Mapping[str, Any]) -> dict[str, Any]:
    budgets = sorted({budget.name for scope, _, _ in hold["keys"] for budget in fold.budgets_of(scope)})
    row = {
        "hold_id": hold_id,
        "call_id": hold["call_id"],
        "state": hold["state"],
        "started_at": hold["started_at"],
        "provider": hold["provider"],
        "model": hold["model"],
        "amount_usd": pico_to_usd(int(hold["amount"])),
        "writer": hold["writer"],
        "own": hold["writer"] in fold.own_writers,
        "budgets": budgets,
        "pid": hold["holder"]["pid"],
        "cause": hold.get("cause"),
        "resolved_usd": pico_to_usd(int(hold["resolved"])) if "resolved" in hold else None,
    }
    return {name: value for name, value in row.items() if value is not None}
