"""The events, as pydantic models: the reference of what may stand in ``data``.

``keledger schema`` prints them as JSON Schema.  The hot path does not import this module: it validates with
the core schema that ``_schema`` derives from these models and keeps in ``data/event_schema.json``.
Values that are absent are left out of a line; ``None`` here means just that.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from . import _limits as limits
from ._budget_events import (
    AlertRaised,
    BudgetRaised,
    BudgetRemoved,
    BudgetSet,
    CallBlocked,
    CallReserved,
    HoldLost,
    HoldReleased,
    HoldResolved,
)
from ._estimate_events import EstimateMade, ModelChosen
from ._event_types import (
    Bucket,
    CallFacts,
    Count,
    EventId,
    Model,
    Money,
    Name,
    Ordinal,
    Reason,
    SegmentFile,
    Sha256,
    TagKey,
    TagValue,
    Text,
    Time,
    WriterId,
)

TYPES_RESERVED = (
    "segment.opened", "merge.completed", "import.completed",
    "estimate.made", "call.reserved", "call.completed", "call.failed", "call.blocked", "call.voided",
    "void.reverted", "model.chosen",
    "hold.released", "hold.lost", "hold.resolved",
    "budget.set", "budget.removed", "budget.raised", "alert.raised", "alert.delivered",
    "prices.adopted", "reprice.applied", "reprice.reverted",
    "charge.adjusted", "invoice.recorded", "period.closed", "period.reopened", "fx.set",
    "attribution.set", "attribution.removed", "split.set", "split.removed",
    "experiment.started", "experiment.ended", "outcome.recorded",
)  # fmt: skip
"""All names of design section 3.  A name that has no model yet is known and not yet written by this release."""


class Predecessor(Model):
    """The segment before: its last synced line, by which the chain goes on."""

    file: SegmentFile
    length_bytes: Count
    seq: Ordinal
    hash: Sha256


class Seal(Model):
    """One lower file that this segment seals: bytes beyond its length are never events."""

    file: SegmentFile
    length_bytes: Count
    residue_bytes: Count
    residue_sha256: Sha256 | None = None


class SegmentOpened(Model):
    """The first line of every segment.  The host name stands here and nowhere else."""

    prev_hash: Sha256
    predecessor: Predecessor | None = None
    seals: list[Seal]
    reason: Literal["first", "full", "unclean_tail", "write_failed", "sync_failed", "sync_pending"]
    continues: list[WriterId] | None = None
    program: Text
    reader_min: Text
    host: Text


class WriterPosition(Model):
    """How far another writer's journal was taken in."""

    writer: WriterId
    seq: Ordinal
    hash: Sha256


class MergeCompleted(Model):
    """Other writers' events were taken into this home, up to these positions."""

    writers: list[WriterPosition]
    books: list[Sha256]
    actor: Text
    reason: Reason | None = None


class CostLine(Model):
    """One bucket's part of a cost.  Where its price is missing, the line stands without money."""

    bucket: Bucket
    quantity: Count
    usd_per_million: Money | None = None
    usd: Money | None = None


class MatchedPrice(Model):
    """By which rule the asked model was found in the price book, and as what."""

    provider: Text
    model: Text
    rule: Text
    context: Text | None = None


class Cost(Model):
    """What a call cost, exactly.  ``unpriced`` and ``unknown`` carry no total: unknown is not zero."""

    state: Literal["priced", "reported", "unpriced", "unknown"]
    total_usd: Money | None = None
    lines: list[CostLine]
    missing: list[Bucket] | None = None
    book: Sha256 | None = None
    matched: MatchedPrice | None = None


class Original(Model):
    """Money that came in another currency."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    amount: Money
    rate: Money
    source: Text


class Call(CallFacts):
    """One round trip to a provider, answered or not.  The fields are explained in ``docs/format.md``."""

    input_sha256: Sha256
    status: Literal["ok", "error", "unknown"]
    started_at: Time
    duration_ms: Count | None = None
    response_model: Text | None = None
    response_id: Text | None = None
    finish_reason: Text | None = None
    http_status: Annotated[int, Field(ge=100, le=999)] | None = None
    error_type: Text | None = None
    origin: Annotated[str, StringConstraints(pattern=r"^(hook|library|record|import:[A-Za-z0-9_.:-]{1,120})$")]
    call_keys: Annotated[list[Text], Field(max_length=limits.CALL_KEYS_MAX)] | None = None
    hold_id: EventId | None = None
    estimate_id: EventId | None = None
    usage: dict[Bucket, Count]
    usage_raw: Annotated[str, StringConstraints(max_length=limits.RAW_USAGE_BYTES_MAX)] | None = None
    usage_format: Name | None = None
    usage_notes: list[Text] | None = None
    normalizer: Ordinal
    pricing_context: dict[Bucket, Text] | None = None
    cost: Cost
    reported_cost_usd: Money | None = None
    quality: Literal["measured", "totals_only", "under_count"]
    original: Original | None = None
    repaired: list[Text] | None = None
    clock_suspect: bool | None = None


class CallCompleted(Call):
    """A call that was answered well."""

    status: Literal["ok"]


class CallFailed(Call):
    """A call that was answered with a failure (``error``), or sent and never answered (``unknown``)."""

    status: Literal["error", "unknown"]


class CallVoided(Model):
    """A call that is not to count, for a stated reason."""

    input_sha256: Sha256
    call_id: EventId
    actor: Text
    reason: Reason


class VoidReverted(Model):
    """A void that is taken back: the call counts again."""

    input_sha256: Sha256
    call_id: EventId
    actor: Text
    reason: Reason


class AdoptedLayer(Model):
    """One layer of an adopted book, strongest first."""

    kind: Literal["user", "imported", "list"]
    name: Text
    sha256: Sha256
    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class PricesAdopted(Model):
    """From here on, new calls of this home are priced by this book."""

    input_sha256: Sha256
    book: Sha256
    layers: list[AdoptedLayer]
    names: Sha256
    actor: Text
    reason: Reason


class SelectedValue(Model):
    """A column of reports and the exact value that a call must have there; without a value, it must have none."""

    column: Annotated[str, StringConstraints(pattern=r"^(tag:[a-z][a-z0-9_.-]{0,62}|[a-z][a-z_]{0,62})$")]
    value: Text | None = None


class RepriceSelector(Model):
    """Which calls a reprice covers, by what was recorded of them alone: so it means the same for ever.

    They began in ``[started_from, started_to)``, have every value under ``where``, and, with ``only``, were recorded
    without a price.
    """

    started_from: Time | None = None
    started_to: Time | None = None
    where: list[SelectedValue] | None = None
    only: Literal["unpriced"] | None = None


class RepricedMonth(Model):
    """What a reprice changed in one month of UTC, told for whoever reads the journal; nothing is computed from it."""

    month: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}$")]
    calls: Count
    changed_calls: Count
    newly_priced: Count
    newly_unpriced: Count
    before_usd: Money
    after_usd: Money


class RepriceApplied(Model):
    """Calls cost from here on what a book says, by this normaliser and pricer; ``docs/format.md`` has the rule.

    ``calls`` and ``result_sha256`` tell what the book made of every line that is covered.
    """

    input_sha256: Sha256
    selector: RepriceSelector
    through: list[WriterPosition]
    book: Sha256
    normalizer: Ordinal
    pricer: Ordinal
    allow_unpriced: bool
    reported: bool
    calls: Count
    changed_calls: Count
    months: list[RepricedMonth]
    result_sha256: Sha256
    actor: Text
    reason: Reason


class RepriceReverted(Model):
    """A reprice that is taken back: its calls cost what they would without it."""

    input_sha256: Sha256
    reprice_id: EventId
    actor: Text
    reason: Reason


class PeriodModel(Model):
    """What the calls of one provider and model came to in a closed period."""

    provider: Text
    model: Text
    calls: Count
    input_tokens: Count
    output_tokens: Count
    uncosted_calls: Count
    cost_usd: Money


class PeriodTotals(Model):
    """What a period came to when it was closed; ``models`` has the dearest, as many as a line has room for."""

    calls: Count
    input_tokens: Count
    output_tokens: Count
    uncosted_calls: Count
    cost_usd: Money
    adjustments_usd: Money
    corrections_usd: Money
    models: list[PeriodModel]


class PeriodOpen(Model):
    """What nobody knew yet when a period was closed.

    ``unpriced_estimate_usd`` is what the unpriced calls would cost by the newest book, where that has prices for any:
    for ``unpriced_estimated_calls`` of them.
    """

    unknown_calls: Count
    unpriced_calls: Count
    unpriced_estimated_calls: Count
    unpriced_estimate_usd: Money | None = None
    lost_holds: Count


class PeriodClosed(Model):
    """A month whose report shows the same digits for ever: those of what lies within ``through``.

    ``digest`` is over the calls and charges of ``[started_from, started_to)``, so that it can be told whether the
    journal still says the same; ``docs/format.md`` has the rules for what comes later.
    """

    input_sha256: Sha256
    period: Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    timezone: Text
    started_from: Time
    started_to: Time
    basis: Literal["current"]
    through: list[WriterPosition]
    book: Sha256 | None = None
    totals: PeriodTotals
    digest: Sha256
    open: PeriodOpen
    actor: Text
    reason: Reason


class PeriodReopened(Model):
    """A closing that is taken back: the period shows what the journal says now, and may be closed anew."""

    input_sha256: Sha256
    close_id: EventId
    actor: Text
    reason: Reason


class InvoiceLine(Model):
    """What was invoiced for one day and model; without a model, ``item`` says for what."""

    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    model: Text | None = None
    item: Text | None = None
    quantity: Count | None = None
    amount_usd: Money


class InvoiceRecorded(Model):
    """What a provider invoiced for a month, as it was read from a file.  It changes no figure by itself."""

    input_sha256: Sha256
    provider: Text
    period: Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    timezone: Text
    currency: Literal["USD"]
    source_name: Text
    source_format: Name
    source_sha256: Sha256
    lines: list[InvoiceLine]
    total_usd: Money
    actor: Text
    reason: Reason


class ChargeAdjusted(Model):
    """Money that no call cost: a credit, a tax, a fee, a difference.  It counts at ``effective_at``, beside the calls.

    ``category`` is a ChargeCategory of FOCUS 1.0.  ``reverses`` names the adjustment that this one takes back.
    """

    input_sha256: Sha256
    amount_usd: Money
    provider: Text
    model: Text | None = None
    user: Text | None = None
    project: Text | None = None
    team: Text | None = None
    cost_center: Text | None = None
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=limits.TAGS_MAX)] | None = None
    effective_at: Time
    category: Literal["Adjustment", "Credit", "Purchase", "Tax", "Usage"]
    invoice_id: EventId | None = None
    reverses: EventId | None = None
    actor: Text
    reason: Reason


MODELS: dict[str, type[Model]] = {
    "segment.opened": SegmentOpened,
    "merge.completed": MergeCompleted,
    "call.completed": CallCompleted,
    "call.failed": CallFailed,
    "call.voided": CallVoided,
    "void.reverted": VoidReverted,
    "prices.adopted": PricesAdopted,
    "reprice.applied": RepriceApplied,
    "reprice.reverted": RepriceReverted,
    "period.closed": PeriodClosed,
    "period.reopened": PeriodReopened,
    "invoice.recorded": InvoiceRecorded,
    "charge.adjusted": ChargeAdjusted,
    "budget.set": BudgetSet,
    "budget.raised": BudgetRaised,
    "budget.removed": BudgetRemoved,
    "call.reserved": CallReserved,
    "call.blocked": CallBlocked,
    "hold.released": HoldReleased,
    "hold.lost": HoldLost,
    "hold.resolved": HoldResolved,
    "alert.raised": AlertRaised,
    "estimate.made": EstimateMade,
    "model.chosen": ModelChosen,
}
"""The types that this release writes and reads, at version 1."""
