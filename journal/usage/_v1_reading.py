"""How version 1 of the normaliser reads counts, money and labels, and splits inclusive counts.

Part of version 1: what it answers never changes, see :mod:`keledger.journal.usage._v1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ._types import Normalized

# The largest count the line format holds: every JSON reader keeps integers up to here exactly.
MAX_COUNT = 2**53 - 1

# A reported cost is below 1e15 USD, the journal's bound on money, and has at most this many digits, so
# that no exponent can blow its text up.
MAX_COST_DIGITS = 40

# Stands for what can't be looked into.
_NOT_A_COUNT = object()

# A response with more iterations than this is not one: it keeps a hostile object from costing time.
MAX_ITEMS = 1_000


Path: TypeAlias = str | tuple[str, str]
"""A field of a usage object by its name, or of an object inside it by both names."""


class Tally:
    """Buckets and notes of one usage object while it is read."""

    def __init__(self) -> None:
        self.usage: dict[str, int] = {}
        self.notes: dict[str, None] = {}  # an ordered set
        self.readable = False

    def note(self, text: str) -> None:
        self.notes[text] = None

    def count(self, source: Mapping[str, object], *paths: Path) -> int | None:
        """Return the first of several fields that holds a count; None where none does.

        Null is the same as absent.  What is neither null nor a count is noted and passed over.
        """
        for path in paths:
            if isinstance(path, str):
                value = source.get(path)
            else:
                value = source.get(path[0])
                if value is not None:
                    value = value.get(path[1]) if isinstance(value, (dict, Mapping)) else _NOT_A_COUNT
            if value is None:
                continue
            if type(value) is int and 0 <= value <= MAX_COUNT:
                return value
            if (number := _as_count(value)) is not None:
                return number
            self.note(f"{path if isinstance(path, str) else '.'.join(path)}:unreadable")
        return None

    def whole(self, source: Mapping[str, object], *paths: Path) -> int | None:
        """As :meth:`count`, for the counts that make a usage object readable."""
        number = self.count(source, *paths)
        self.readable = self.readable or number is not None
        return number

    def cut(self, part: str, number: int | None, whole: str, limit: int) -> int:
        """Return a part, cut to its whole where it is larger."""
        if number is None:
            return 0
        if number > limit:
            self.note(f"{part}>{whole}")
            return limit
        return number

    def add(self, bucket: str, number: int | None) -> None:
        if number:
            self.usage[bucket] = self.usage.get(bucket, 0) + number

    def add_input(
        self,
        whole: int,
        *,
        cache_read: int | None = None,
        cache_write_5m: int | None = None,
        cache_write_1h: int | None = None,
        audio: int | None = None,
        image: int | None = None,
        video: int | None = None,
        cached: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Split an inclusive input count into buckets that do not overlap.

        ``audio``, ``image`` and ``video`` include what was cached of them, which ``cached`` tells by
        modality where the provider does.  Where it does not, as much of them as fits counts as uncached.
        """
        read = self.cut("cache_read", cache_read, "input", whole) if cache_read else 0
        write_1h = self.cut("cache_write", cache_write_1h, "input", whole - read) if cache_write_1h else 0
        write_5m = self.cut("cache_write", cache_write_5m, "input", whole - read - write_1h) if cache_write_5m else 0
        rest = whole - read - write_1h - write_5m
        if not (audio or image or video or cached.get("audio")):
            self.add("cache_read", read)
            self.add("cache_write_5m", write_5m)
            self.add("cache_write_1h", write_1h)
            self.add("input_uncached", rest)
            return
        audio = self.cut("input_audio", audio, "input", whole)
        image = self.cut("input_image", image, "input", whole)
        video = self.cut("input_video", video, "input", whole)
        if audio + image + video > whole:
            self.note("input_parts>input")
        read_audio = self.cut("cache_read_audio", cached.get("audio"), "cache_read", read)
        # Sound that does not fit into the uncached input must have come from the cache.
        read_audio = max(read_audio, min(audio - rest, read))
        self.add("cache_read", read - read_audio)
        self.add("cache_read_audio", read_audio)
        self.add("cache_write_5m", write_5m)
        self.add("cache_write_1h", write_1h)
        for bucket, number in (
            ("input_audio", audio - read_audio),
            ("input_image", image - cached.get("image", 0)),
            ("input_video", video - cached.get("video", 0)),
        ):
            fresh = min(max(number, 0), rest)
            self.add(bucket, fresh)
            rest -= fresh
        self.add("input_uncached", rest)

    def add_output(
        self,
        whole: int,
        *,
        reasoning: int | None = None,
        audio: int | None = None,
        image: int | None = None,
        video: int | None = None,
    ) -> None:
        """Split an inclusive output count into buckets that do not overlap."""
        rest = whole
        for bucket, number in (
            ("output_reasoning", reasoning),
            ("output_audio", audio),
            ("output_image", image),
            ("output_video", video),
        ):
            if number:
                part = self.cut(bucket, number, "output", rest)
                self.add(bucket, part)
                rest -= part
        self.add("output_text", rest)

    def output_whole(self, answer: int, reasoning: int | None, beside_input: int | None, *, apart: bool) -> int:
        """Return the output count with reasoning in it.

        ``apart`` says whether this provider's documents count reasoning beside the answer instead of in
        it.  Gateways and older models do otherwise, so the provider's own total less its input,
        ``beside_input``, is the referee wherever it fits one of the two readings.
        """
        reasoning = reasoning or 0
        if reasoning and beside_input is not None:
            if not apart and beside_input == answer + reasoning:
                self.note("reasoning_beside_output")
                apart = True
            elif apart and beside_input == answer >= reasoning:
                self.note("reasoning_in_output")
                apart = False
        return answer + reasoning if apart else answer

    def check_total(self, total: int | None, total_seen: int) -> None:
        """Note a total that the parts do not explain: a kind of token this version does not know."""
        if total is not None and total != total_seen:
            self.note("total!=input+output")

    def finish(self, raw: Mapping[str, object], usage_format: str) -> Normalized:
        for bucket, number in self.usage.items():
            if number > MAX_COUNT:
                self.note(f"{bucket}:too_large")
                self.usage[bucket] = MAX_COUNT
        if self.readable:
            self.usage["requests"] = 1
        else:
            self.usage.clear()
        cost = _reported_cost(self, raw, usage_format)
        return Normalized(self.usage, tuple(self.notes), cost, pricing_context(raw), self.readable)


def _as_count(value: object) -> int | None:
    """Return a count within what the journal holds, None for anything else; 12.0 is 12, true is not 1."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else None


def objects(raw: Mapping[str, object], *names: str) -> Iterator[Mapping[str, object]]:
    """Yield the objects of the first of several fields that is a list."""
    for name in names:
        items = raw.get(name)
        if isinstance(items, (list, tuple)):
            yield from (item for item in items[:MAX_ITEMS] if isinstance(item, Mapping))
            return


def _reported_cost(tally: Tally, raw: Mapping[str, object], usage_format: str) -> str | None:
    """Return what the provider says the call cost in USD, as plain decimals.

    xAI counts ticks of 1e-10 USD.  OpenRouter's ``cost`` is what it takes itself: on a call through the
    user's own key the price of the inference comes on top, and without that the cost is not known.
    Elsewhere a field named cost says nothing of its currency and is left alone.
    """
    if "cost" not in raw and "cost_in_usd_ticks" not in raw:
        return None
    ticks = tally.count(raw, "cost_in_usd_ticks")
    if ticks is not None:
        return _decimal_text(ticks, scale=-10)
    is_openrouter = usage_format == "openrouter.chat" or "cost_details" in raw or "is_byok" in raw
    if not is_openrouter or raw.get("cost") is None:
        return None
    amounts = [raw["cost"]]
    if raw.get("is_byok") is True:
        details = raw.get("cost_details")
        amounts.append(details.get("upstream_inference_cost") if isinstance(details, Mapping) else None)
    text = _decimal_text(*amounts)
    if text is None:
        tally.note("cost:unreadable")
    return text


def _decimal_text(*amounts: object, scale: int = 0) -> str | None:
    """Return the exact sum of amounts without an exponent; None where one is not an amount of money.

    A float stands for the shortest decimal that reads back as it, which is what its sender wrote.
    """
    from decimal import Context, Decimal, InvalidOperation

    exact = Context(prec=4 * MAX_COST_DIGITS)
    total = Decimal(0)
    for amount in amounts:
        if isinstance(amount, bool) or not isinstance(amount, (int, float, str, Decimal)):
            return None
        try:
            number = Decimal(repr(amount) if isinstance(amount, float) else amount)
        except (InvalidOperation, ValueError):
            return None
        if not number.is_finite() or number < 0 or len(number.as_tuple().digits) > MAX_COST_DIGITS:
            return None
        if number and not -MAX_COST_DIGITS <= number.adjusted() < 15:
            return None
        total = exact.add(total, number)
    text = format(exact.scaleb(total, scale), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# Values that mean the standard price of OpenAI, Anthropic, Google, Mistral, Groq, Cerebras.
_STANDARD = frozenset({"auto", "default", "on_demand", "standard", "unspecified"})

# Vertex AI's names of its tiers; on demand is the standard price.
_TRAFFIC_TIERS = {
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
    "on_demand_offpeak": "offpeak",
    "provisioned_throughput": "provisioned_throughput",
}

MAX_LABEL_LENGTH = 64


CONTEXT_FIELDS = frozenset(("service_tier", "serviceTier", "traffic_type", "trafficType", "speed", "inference_geo"))
"""The fields that :func:`pricing_context` reads."""


def pricing_context(raw: Mapping[str, object]) -> dict[str, str]:
    """Return what changes the price of a call, from its usage object or the response around it.

    ``service_tier`` is OpenAI's, Google's or Mistral's tier, Anthropic's too; a batch is
    ``processing`` = batch, as price lists call it.  ``speed`` is Anthropic's fast mode, ``region`` where
    Anthropic was bound to run (``inference_geo``).  Standard values are left out.
    """
    context: dict[str, str] = {}
    if CONTEXT_FIELDS.isdisjoint(raw):
        return context
    tier = _label(raw, "service_tier", "serviceTier")
    if tier is None:
        tier = _TRAFFIC_TIERS.get(_label(raw, "traffic_type", "trafficType") or "")
    if tier == "batch":
        context["processing"] = tier
    elif tier is not None and tier not in _STANDARD:
        context["service_tier"] = tier
    speed = _label(raw, "speed")
    if speed is not None and speed not in _STANDARD:
        context["speed"] = speed
    region = _label(raw, "inference_geo")
    if region is not None and region not in ("global", "not_available"):
        context["region"] = region
    return context


def _label(raw: Mapping[str, object], *names: str) -> str | None:
    """Return the first of several fields that is a short word, in lower case."""
    for name in names:
        value = raw.get(name)
        if isinstance(value, str) and len(value) <= MAX_LABEL_LENGTH and value.isascii():
            word = value.lower()
            if word.replace("_", "").replace("-", "").isalnum():
                return word
    return None
