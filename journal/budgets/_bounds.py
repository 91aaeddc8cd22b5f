"""What a call can cost at most, where anything bounds it: the hold policy ``max``.

A bound holds for every usage that a request of this shape can come back with, priced by the book and at the instant
named in the hold.  It takes each token at the dearest rate that it can meet, and where a premise is missing it gives a
reason instead.  ``docs/budgets.md`` lists the premises; ``tests/budgets/test_bounds.py`` tries to break them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from keledger.journal._limits import INTEGER_MAX
from keledger.journal._model_limits import ModelLimits, limits_of, models_beginning_with, names_beginning_with
from keledger.journal.prices import BUCKETS, TIER_BUCKETS, Book, Rate, shipped_name_rules

REQUEST_TOKENS = 2048
"""Tokens that a provider adds to a request of its own: 683 is the most that was measured (Grok 4), Claude's prompt for
the use of tools has up to 586."""

MESSAGE_TOKENS = 16
"""Tokens around a message, of which 2 to 5 were measured."""

TOOL_TOKENS = 256
"""Tokens around a tool's definition, of which up to 53 were measured."""

AMOUNT_PICO_MAX = 10**15 * 10**12 - 1
"""Below 10^15 USD, as all money in the journal."""

REASONS = {
    "choices": "the number of answers it asks for cannot be read",
    "code_execution": "it lets the provider run code, which calls the model again as often as it likes",
    "context_management": "it lets the provider summarise what was said, which is billed on top",
    "file_search": "it lets the provider search files, and bills each search and what is found",
    "image_generation": "it lets the provider make images with another model",
    "mcp": "it lets the provider use other servers' tools, as often as it likes",
    "other_models": "it names other models that may answer in place of this one",
    "stored_prompt": "what it asks for is stored with the provider",
    "tool_search": "it lets the provider load further tools",
    "unknown_field": "it has a field that this release does not know",
    "unreadable": "it holds objects that cannot be read as JSON",
    "web_fetch": "it lets the provider fetch pages, as many and as long as they are",
    "web_search": "it lets the provider search the web, and bills each search and what is found",
}
"""What ``unbounded`` of a request's shape means (``capture/shape.py``)."""

_BY_ITSELF = re.compile(r"-search(-|$)|sonar|deep-research|compound|:online|multi-agent|router|(^|/)auto$")
"""Models that search, call others or themselves, whatever is asked of them."""

_MOVING = re.compile(r"^~|[-/:]latest$")
"""Names that mean another model some day, and say so."""

_REASONS_APART = re.compile(r"gemini|grok")
"""Models whose providers' documents count reasoning beside the limit of the answer."""

_THINKS_AT_WILL = re.compile(r"gemini-2\.5-flash")
"""Models that do not think where a request turns it off; of others it is a wish (Gemini 2.5 Pro and 3 go on)."""

_PLAIN_TIERS = frozenset(("default", "standard", "standard_only"))

_BY_OTHER_UNITS = ("input_audio_ms", "input_pages")
_MEDIA_INPUT = frozenset(("input_audio", "cache_read_audio", "input_image", "input_video"))
_MEDIA_OUTPUT = ("output_audio", "output_image", "output_video")
_OUTPUT = tuple(bucket for bucket in BUCKETS if bucket.startswith("output_"))
RATES_KEPT_MAX = 256


class Unbounded(NamedTuple):
    """Nothing bounds what a call may cost; the *reason* is a clause for people."""

    reason: str


class Unpriced(NamedTuple):
    """The book has no price for a call; the *reason* is a clause for people."""

    reason: str


class MostTokens(NamedTuple):
    """The most tokens that a call can be billed for."""

    input_tokens: int
    output_tokens: int


class Bound(NamedTuple):
    """The most that a call can cost, and the most tokens."""

    amount_pico: int
    input_tokens: int
    output_tokens: int


def upper_bound(
    book: Book,
    provider: str,
    model: str,
    *,
    at_us: int,
    context: Mapping[str, str],
    shape: Mapping[str, Any] | None,
) -> Bound | Unbounded | Unpriced:
    """The most that a call of *model* can cost by *book*, if it begins at *at_us*.

    *context* is the pricing context asked for, *shape* what is told of the request; without one there is no bound.
    """
    if book.match(provider, model) is None:
        return Unpriced(f"the price book has no model {model} of {provider}")
    shape = shape or {}
    rates = [rate for rate in _reachable_rates(book, provider, model, context, shape) if rate.holds(at_us)]
    for bucket in ("input_uncached", "output_text"):
        if not any(bucket in rate.pico_per_unit for rate in rates):
            return Unpriced(f"the price book has no price of {model} of {provider} for {bucket}")
    most = most_tokens(book, provider, model, shape, rates)
    if isinstance(most, Unbounded):
        return most
    buckets = _input_buckets(model, shape)
    amount = max(_most_pico(rate, most, buckets, shape) for rate in rates)
    if amount > AMOUNT_PICO_MAX:
        return Unbounded("its bound is more than an amount of money may be")
    return Bound(amount, *most)


def most_tokens(
    book: Book, provider: str, model: str, shape: Mapping[str, Any] | None, rates: Sequence[Rate] = ()
) -> MostTokens | Unbounded:
    """The most tokens that a request of this shape can be billed for; *rates* are those that it can meet."""
    if not shape:
        return Unbounded("nothing is known of its request")
    own_provider, own_model = book.own_name(provider, model)
    if shape.get("unbounded") is not None:
        return Unbounded(REASONS.get(shape["unbounded"], "it lets the provider run tools of its own"))
    if own_provider == "perplexity" or _BY_ITSELF.search(own_model):
        return Unbounded(f"{model} searches, or calls other models, by itself")
    if _MOVING.search(own_model):
        return Unbounded(f"{model} is a name that comes to mean other models: ask for one by a name of its own")
    limits = limits_of(book, provider, model)
    input_tokens = _most_input(model, shape, limits, rates)
    if isinstance(input_tokens, Unbounded):
        return input_tokens
    output_tokens = _most_output(model, shape, limits, rates)
    if isinstance(output_tokens, Unbounded):
        return output_tokens
    if input_tokens + output_tokens > INTEGER_MAX:
        return Unbounded("it asks for more tokens than a count may be")
    return MostTokens(input_tokens, output_tokens)


def _most_input(model: str, shape: Mapping[str, Any], limits: ModelLimits, rates: Sequence[Rate]) -> int | Unbounded:
    """The most tokens of input: no tokeniser makes more than one of a byte; what is no text fits into the window."""
    if shape.get("self_contained") is True and shape.keys() >= {"bytes", "growth_bytes", "messages", "tools"}:
        text = int(shape["bytes"]) + int(shape["growth_bytes"])
        return text + REQUEST_TOKENS + MESSAGE_TOKENS * int(shape["messages"]) + TOOL_TOKENS * int(shape["tools"])
    window = limits.context_window
    if window is None:
        return Unbounded(f"not all of its input is text in the request, and nobody knows the context window of {model}")
    if any(rate.input_over >= window for rate in rates):
        return Unbounded(f"the context window of {model} is larger than is known: it has a price for more than that")
    if any(bucket in rate.pico_per_unit for rate in rates for bucket in _BY_OTHER_UNITS):
        return Unbounded(f"{model} bills sound by its length, or documents by the page")
    return window


def _most_output(model: str, shape: Mapping[str, Any], limits: ModelLimits, rates: Sequence[Rate]) -> int | Unbounded:
    """The most tokens of output: the request's own limit, else the model's, for each of the answers asked for."""
    choices, asked, known = shape.get("choices"), shape.get("max_output_tokens"), limits.output_limit
    if choices is None:
        return Unbounded(REASONS["choices"])
    limit = asked or known
    if limit is None:
        return Unbounded(f"it sets no limit for the answer, and nobody knows that of {model}")
    is_off = shape.get("thinking_off") is True and _THINKS_AT_WILL.search(model.lower()) is not None
    apart = _REASONS_APART.search(model.lower()) is not None and not is_off
    media = any(_makes_media(rate) for rate in rates)
    if not apart and not media:
        return int(limit * choices)
    if known is None:
        what = "its provider counts reasoning beside the limit" if apart else "pictures and sound pass over the limit"
        return Unbounded(f"{what} of the answer, and nobody knows that of {model}")
    return int((limit + known if apart else max(limit, known)) * choices)


def _makes_media(rate: Rate) -> bool:
    """Whether a model has prices of its own for sound, pictures or video that it makes."""
    text = rate.pico_per_unit.get("output_text")
    return any(rate.pico_per_unit.get(bucket, text) != text for bucket in _MEDIA_OUTPUT)


def _input_buckets(model: str, shape: Mapping[str, Any]) -> tuple[str, ...]:
    """The buckets of input that a request can fill.

    Claude's cache is written where a request says so, and nowhere else; of other models it may be, for minutes.
    """
    write = shape.get("cache_write", "1h")
    excluded = set()
    if write != "1h":
        excluded.add("cache_write_1h")
        if write == "none" and "claude" in model.lower():
            excluded.add("cache_write_5m")
    if shape.get("self_contained") is True:
        excluded |= _MEDIA_INPUT
    return tuple(bucket for bucket in TIER_BUCKETS if bucket not in excluded)


def _most_pico(rate: Rate, most: MostTokens, input_buckets: Sequence[str], shape: Mapping[str, Any]) -> int:
    """The most that a call can cost at one rate: every token at its dearest; 0 where no request gets to it."""
    if rate.input_over >= most.input_tokens:
        return 0
    prices = rate.pico_per_unit
    dearest_input = max(prices.get(bucket, 0) for bucket in input_buckets)
    dearest_output = max(prices.get(bucket, 0) for bucket in _OUTPUT)
    characters = prices.get("input_chars", 0) * int(shape.get("bytes", 0))
    return (
        min(most.input_tokens, rate.input_to) * dearest_input
        + most.output_tokens * dearest_output
        + characters
        + prices.get("requests", 0)
    )


_rates_kept: dict[tuple[Any, ...], list[Rate]] = {}


def _reachable_rates(
    book: Book, provider: str, model: str, context: Mapping[str, str], shape: Mapping[str, Any]
) -> list[Rate]:
    """The prices at any time of all models that may answer, in all contexts that an answer may turn out to have."""
    asked = {**{name: shape[name] for name in ("service_tier", "speed") if name in shape}, **context}
    key = (book.sha256, provider, model, tuple(sorted(asked.items())))
    rates = _rates_kept.get(key)
    if rates is None:
        rates = [
            rate
            for name in (model, *_revisions(book, provider, model))
            for reachable in _contexts(book, provider, name, asked)
            for rate in book.rates(provider, name, reachable)
        ]
        if len(_rates_kept) >= RATES_KEPT_MAX:
            _rates_kept.clear()
        _rates_kept[key] = rates
    return rates


def _contexts(book: Book, provider: str, model: str, asked: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The contexts for which the book has prices of a model, and that a call may turn out to have been billed in."""
    offered = {cell.context for found in book.found(provider, model) for cell in found.offered()}
    for context in sorted({"", *offered}):
        pairs = dict(pair.split("=", 1) for pair in context.split(",") if pair)
        if all(_may_turn_out(key, value, asked) for key, value in pairs.items()):
            yield pairs


def _may_turn_out(key: str, value: str, asked: Mapping[str, str]) -> bool:
    """Whether one condition of a price may hold for a call.

    A project or workspace may set a service tier or a region for requests that do not.  All else has to be asked for.
    """
    given = asked.get(key)
    if key == "service_tier":
        return given not in _PLAIN_TIERS and (given != "flex" or value == "flex")
    return key in ("region", "processing") or given == value


def _revisions(book: Book, provider: str, model: str) -> list[str]:
    """The dated revisions of a model that the book knows: who asks for the one may be answered by another."""
    own_provider, own_model = book.own_name(provider, model)
    match = book.match(provider, model)
    beginnings = {(own_provider, own_model)} | ({(match.provider, match.model)} if match is not None else set())
    found = set()
    for named_provider, beginning in beginnings:
        names = set(models_beginning_with(named_provider, beginning))
        for layer in book.layers:
            names.update(names_beginning_with(layer.content, named_provider, beginning))
        found |= {name for name in names if _revision().fullmatch(name[len(beginning) :])}
    return sorted(name for name in found - {own_model} if book.match(provider, name) is not None)


@cache
def _revision() -> re.Pattern[str]:
    """What may follow a model's name without making it another one."""
    return re.compile(shipped_name_rules()["revision"])
