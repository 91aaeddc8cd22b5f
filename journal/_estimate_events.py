"""The events of estimates and of models chosen by them, as pydantic models; see :mod:`._events`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from . import _limits as limits
from ._event_types import (
    Bucket,
    CallFacts,
    Count,
    EventId,
    Model,
    Money,
    Name,
    Ordinal,
    RequestShape,
    Sha256,
    Text,
    Time,
)

Basis = Literal["prompt", "model", "prior"]
"""What a figure was learned from: calls of the same prompt, version and model; calls of the model; or none."""

Ratio = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")]
"""A quotient of two counts, as a decimal string: no event has floats."""


class ExpectedInput(Model):
    """Tokens of input that an estimate expects: between ``p5`` and ``p95`` in nine of ten cases.

    ``ratio`` is ``p50`` over what was counted, learned from so many past ``calls``; ``cache_read`` of ``p50`` are
    expected from a cache.
    """

    p5: Count
    p50: Count
    p95: Count
    cache_read: Count | None = None
    ratio: Ratio
    basis: Basis
    calls: Count


class ExpectedOutput(Model):
    """Tokens of output that an estimate expects, of so many past ``calls``; ``max`` where a limit is known."""

    p50: Count
    p90: Count
    max: Count | None = None
    basis: Basis
    calls: Count


class ExpectedCost(Model):
    """What a call is expected to cost, by ``book``; nothing where that has no price for what is ``missing``."""

    state: Literal["priced", "unpriced"]
    p50_usd: Money | None = None
    p90_usd: Money | None = None
    max_usd: Money | None = None
    missing: list[Bucket] | None = None
    book: Sha256 | None = None


class Confirmation(Model):
    """What was answered to the question whether a call may be made that is expected to cost more than ``above_usd``."""

    above_usd: Money
    answer: Literal["yes", "no", "no_terminal"]


class EstimateMade(CallFacts):
    """What was told of a call before it was made, so that it can be held against what the call came to.

    ``calls`` is how many calls it is for, all figures being those of all of them together; ``call_id`` the one that it
    was made for, where it was made just before.  ``estimator`` is the version of the rules by which the rest was come
    to from what was counted.
    """

    input_sha256: Sha256
    estimated_at: Time
    origin: Literal["hook", "library", "command"]
    call_id: EventId | None = None
    calls: Annotated[int, Field(ge=1, le=limits.INTEGER_MAX)]
    method: Annotated[str, StringConstraints(pattern=r"^(tiktoken|proxy|heuristic):[A-Za-z0-9_./-]{1,64}$")]
    counted_tokens: Count
    estimator: Ordinal
    input_tokens: ExpectedInput
    output_tokens: ExpectedOutput
    cost: ExpectedCost
    request: RequestShape | None = None
    pricing_context: dict[Bucket, Text] | None = None
    confirm: Confirmation | None = None
    repaired: list[Text] | None = None


class Requirements(Model):
    """What a model had to be, to be chosen: as it was asked for, and for how many tokens of a call."""

    quality: Name | None = None
    max_cost_usd: Money | None = None
    needs: list[Name] | None = None
    input_tokens: Count
    output_tokens: Count
    basis: Literal["prompt", "request", "prior"]
    calls: Count


class SuitableModel(Model):
    """A model that was good enough, and what the call was expected to cost with it."""

    provider: Text
    model: Text
    quality: Name | None = None
    cost_p50_usd: Money
    cost_p90_usd: Money


class UnsuitableModel(Model):
    """A model that was left out, and why: a clause for people, which nothing reads."""

    provider: Text
    model: Text
    reason: Text


class ModelChosen(CallFacts):
    """The model that was taken where ``auto`` was asked for: the cheapest of those that are good enough.

    ``suitable`` begins with the one that was taken; ``left_out`` names those that came nearest, of so many
    ``left_out_models``.
    """

    input_sha256: Sha256
    chosen_at: Time
    origin: Literal["hook", "library"]
    requirements: Requirements
    suitable: list[SuitableModel]
    left_out: list[UnsuitableModel]
    left_out_models: Count
    book: Sha256 | None = None
    repaired: list[Text] | None = None
