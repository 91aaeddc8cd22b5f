"""The events of budgets and holds, as pydantic models; see :mod:`._events`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ._event_types import (
    Bucket,
    BudgetColumn,
    BudgetName,
    CallFacts,
    Count,
    EventId,
    HoldPolicy,
    Model,
    Money,
    Name,
    Reason,
    RequestShape,
    Sha256,
    TagValue,
    Text,
    Time,
)


class GroupValue(Model):
    """What a ``*`` of a budget's scope stands for in one window; without a value: calls that have none."""

    column: BudgetColumn
    value: TagValue | None = None


class BudgetCondition(Model):
    """One condition of a budget's scope: a column's exact recorded value, none where it is absent.

    With ``each`` there is one window for every value, and one for the calls that have none.
    """

    column: BudgetColumn
    value: TagValue | None = None
    each: Literal[True] | None = None


class BudgetSet(Model):
    """A limit on what calls of a scope may cost in a period.

    ``name`` and ``action`` stand at the top in every version: who cannot read the rest knows by them what to refuse.
    ``replaces`` names the version of the same budget that this one takes the place of.
    """

    input_sha256: Sha256
    name: BudgetName
    action: Literal["block", "warn"]
    limit_usd: Money
    period: Annotated[str, StringConstraints(pattern=r"^(day|week|month|quarter|year|session|total|rolling:\d{1,3}d)$")]
    timezone: Text
    week_start: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | None = None
    where: list[BudgetCondition]
    warn_percent: list[Annotated[int, Field(ge=1, le=100)]]
    hold: HoldPolicy
    on_lost: Literal["count", "release"]
    unpriced: Literal["block", "allow", "rate"]
    unpriced_usd_per_million: Money | None = None
    replaces: EventId | None = None
    actor: Text
    reason: Reason | None = None


class BudgetRaised(Model):
    """A higher limit for a budget, for good or for calls that begin before ``until``."""

    input_sha256: Sha256
    name: BudgetName
    budget_id: EventId
    limit_usd: Money
    until: Time | None = None
    actor: Text
    reason: Reason


class BudgetRemoved(Model):
    """A budget that holds no more."""

    input_sha256: Sha256
    name: BudgetName
    budget_id: EventId
    actor: Text
    reason: Reason | None = None


class HoldSize(Model):
    """How the amount of a hold was come to."""

    policy: HoldPolicy
    method: Literal["history", "prior", "bound", "rate", "free"]
    calls: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None


class BudgetWindow(Model):
    """One window of a budget that covers a call.

    A budget has a ``budget_id`` and a ``name``; one that was declared for a run or a session, with the call itself,
    has ``declared``.  ``window_to`` is when the window resets, absent where it never does.
    """

    name: BudgetName | None = None
    budget_id: EventId | None = None
    declared: Literal["run", "session"] | None = None
    group: list[GroupValue] | None = None
    window_from: Time | None = None
    window_to: Time | None = None


class BudgetState(BudgetWindow):
    """How one window of a budget stood, under the lock, when a call was decided on."""

    limit_usd: Money
    spent_usd: Money
    held_usd: Money


class Refusal(BudgetWindow):
    """A budget that says no, and why: what it leaves is below ``asked_usd``, or nobody can tell what to ask for.

    Of one that this release cannot read, nobody knows how it stood.
    """

    cause: Literal["limit", "unpriced", "unbounded", "unreadable"]
    limit_usd: Money | None = None
    spent_usd: Money | None = None
    held_usd: Money | None = None
    asked_usd: Money | None = None
    detail: Reason | None = None


class AskedCall(CallFacts):
    """A call about to be made, as far as it is known before it is sent."""

    input_sha256: Sha256
    call_id: EventId
    started_at: Time
    origin: Annotated[str, StringConstraints(pattern=r"^(hook|library)$")]
    pricing_context: dict[Bucket, Text] | None = None
    book: Sha256 | None = None
    request: RequestShape | None = None
    size: HoldSize | None = None
    repaired: list[Text] | None = None


class Holder(Model):
    """The process that keeps a hold: its holder file is gone with the machine's boot, and its lock with the process."""

    boot_id: Text
    pid: Count
    started_ticks: Count | None = None


class CallReserved(AskedCall):
    """A hold: money that a call under way may cost, kept back from every budget that covers it until it has ended."""

    amount_usd: Money
    budgets: list[BudgetState]
    holder: Holder


class CallBlocked(AskedCall):
    """A call that a budget did not allow: it was never sent."""

    refusals: list[Refusal]


class HoldReleased(Model):
    """A hold whose call was never sent."""

    input_sha256: Sha256
    hold_id: EventId
    cause: Name


class HoldLost(Model):
    """A hold whose process has ended without a word: the call may have been sent, and billed."""

    input_sha256: Sha256
    hold_id: EventId
    cause: Name


class HoldResolved(Model):
    """What a lost hold's call came to, as somebody found out; 0 where it was not billed."""

    input_sha256: Sha256
    hold_id: EventId
    cost_usd: Money
    actor: Text
    reason: Reason


class AlertRaised(Model):
    """A threshold of a budget that was crossed, once for each window and limit."""

    input_sha256: Sha256
    budget_id: EventId
    name: BudgetName
    threshold_percent: Annotated[int, Field(ge=1, le=100)]
    limit_usd: Money
    spent_usd: Money
    group: list[GroupValue] | None = None
    window_from: Time | None = None
    window_to: Time | None = None
    call_id: EventId | None = None
