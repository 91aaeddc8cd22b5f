"""What the fields of events are made of, for the models of events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from . import _limits as limits
from ._identity import ID_PATTERN
from ._money import USD_PATTERN
from ._time import TIME_PATTERN

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
EventId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
WriterId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Time = Annotated[str, StringConstraints(pattern=TIME_PATTERN)]
Money = Annotated[str, StringConstraints(pattern=USD_PATTERN)]
Count = Annotated[int, Field(ge=0, le=limits.INTEGER_MAX)]
Ordinal = Annotated[int, Field(ge=0, le=limits.TICK_MAX)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=limits.ATTRIBUTE_BYTES_MAX)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_.:-]*$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=limits.REASON_BYTES_MAX)]
SegmentFile = Annotated[str, StringConstraints(pattern=r"^\d{8}\.jsonl$")]
TagKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")]
TagValue = Annotated[str, StringConstraints(max_length=limits.ATTRIBUTE_BYTES_MAX)]
BudgetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
BudgetColumn = Annotated[str, StringConstraints(pattern=r"^(tag:[a-z][a-z0-9_.-]{0,62}|[a-z][a-z_]{0,62})$")]
HoldPolicy = Literal["p50", "p90", "p99", "max"]
Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Model(BaseModel):
    """Base of everything in ``data``: strict types, and no field that the models do not name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CallFacts(Model):
    """What a call is, apart from how it went: the fields that say whose it is and what for."""

    run: Text | None = None
    session: Text | None = None
    prompt: Text | None = None
    prompt_version: Text | None = None
    statement: Text | None = None
    client: Text | None = None
    client_call_id: Text | None = None
    operation_id: Text | None = None
    attempt: Count | None = None
    parent_call_id: Text | None = None
    trace_id: Text | None = None
    span_id: Text | None = None
    provider: Text
    model: Text
    user: Text | None = None
    project: Text | None = None
    team: Text | None = None
    cost_center: Text | None = None
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=limits.TAGS_MAX)] | None = None
    os_user: Text | None = None


class RequestShape(Model):
    """What is told of a request before it leaves: counts, no text."""

    bytes: Count | None = None
    growth_bytes: Count | None = None
    messages: Count | None = None
    tools: Count | None = None
    choices: Count | None = None
    max_output_tokens: Count | None = None
    self_contained: bool | None = None
    thinking_off: bool | None = None
    cache_write: Text | None = None
    service_tier: Text | None = None
    speed: Text | None = None
    unbounded: Text | None = None
