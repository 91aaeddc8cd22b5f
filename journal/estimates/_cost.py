"""What expected tokens would cost: at the median, in nine of ten cases, and with the longest answer allowed.

Corners are priced whole, by the same rules as a call, so that a tier that only a large request reaches is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keledger.journal.prices import Book, Rate

from ._calibration import InputEstimate
from ._output import OutputEstimate


class CostEstimate(NamedTuple):
    """What one call is expected to cost, as decimal strings of USD; None where nobody knows.

    ``p50_usd`` is the p50 of input with that of output, of the input as much from a cache as past calls had.
    ``p90_usd`` is the p95 of input, none of it cached, with the p90 of output; ``max_usd`` the same with as long an
    answer as is allowed.  ``state`` is ``priced``, or ``unpriced`` where the book has no price of what is ``missing``.
    """

    state: str
    p50_usd: str | None
    p90_usd: str | None
    max_usd: str | None
    missing: tuple[str, ...]
    book: str


class Terms(NamedTuple):
    """What a call is priced by: the book, the instant, and what else a price may hang on.

    ``cache_write`` is for how long the request asks its input to be kept: ``none``, ``5m`` or ``1h``.
    """

    book: Book
    provider: str
    model: str
    at_us: int
    context: Mapping[str, str]
    cache_write: str = "none"

    def rates(self) -> list[Rate]:
        """The prices that hold at the instant, by the size of a request from the smallest on."""
        rates = self.book.rates(self.provider, self.model, self.context)
        return sorted((rate for rate in rates if rate.holds(self.at_us)), key=lambda rate: rate.input_over)

    def answers(self) -> bool:
        """Whether the model writes anything: one whose input alone has a price, as one for embeddings, does not."""
        rates = self.rates() or self.book.rates(self.provider, self.model, {})
        priced = {bucket for rate in rates for bucket in rate.pico_per_unit}
        return not priced or any(bucket.startswith("output_") for bucket in priced)

    def fresh_bucket(self) -> str:
        """What input is billed as that is not in a cache: Anthropic has a price of its own for writing it to one."""
        writes = self.cache_write != "none" and "claude" in self.model.lower()
        return f"cache_write_{self.cache_write}" if writes else "input_uncached"


def estimate_cost(terms: Terms, taken: InputEstimate, answer: OutputEstimate, *, cached_tokens: int) -> CostEstimate:
    """What a call costs that takes so many tokens; *cached_tokens* of the p50 of input are expected from a cache."""
    fresh = terms.fresh_bucket()
    usual = {"input_uncached": taken.p50 - cached_tokens, "cache_read": cached_tokens}
    if not cached_tokens:
        usual = {fresh: taken.p50}
    corners: list[tuple[dict[str, int], int | None]] = [
        (usual, answer.p50), ({fresh: taken.p95}, answer.p90), ({fresh: taken.p95}, answer.max),
    ]  # fmt: skip
    found: list[str | None] = []
    for tokens, output_tokens in corners:
        if output_tokens is None:
            found.append(None)
            continue
        cost = price_of(terms, tokens, output_tokens)
        if cost["state"] != "priced":
            return CostEstimate("unpriced", None, None, None, tuple(cost.get("missing", ())), terms.book.sha256)
        found.append(cost["total_usd"])
    return CostEstimate("priced", found[0], found[1], found[2], (), terms.book.sha256)


def price_of(terms: Terms, input_tokens: Mapping[str, int], output_tokens: int) -> dict[str, Any]:
    """The cost, as :meth:`Book.price` tells it, of these buckets of input and so many tokens of answer.

    Embeddings have no answer, and their models no price for one.
    """
    usage = {name: count for name, count in {**input_tokens, "output_text": output_tokens}.items() if count}
    cost = _price(terms, usage)
    if cost["state"] == "unpriced" and cost["missing"] == ["output_text"]:
        usage.pop("output_text")
        return _price(terms, usage)
    return cost


def _price(terms: Terms, usage: Mapping[str, int]) -> dict[str, Any]:
    return terms.book.price(
        provider=terms.provider,
        model=terms.model,
        usage={**usage, "requests": 1},
        at_us=terms.at_us,
        context=terms.context,
    )
