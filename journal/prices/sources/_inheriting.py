"""Prices that a source leaves to be inferred, written out: a cell has every price that the source's own rules give."""

from __future__ import annotations

from decimal import Decimal

from keledger.journal.prices._book import Book

from ._imported import PricedApart

_FROM = {
    "cache_read": ("input_uncached",),
    "cache_write_5m": ("input_uncached",),
    "cache_write_1h": ("cache_write_5m", "input_uncached"),
    "input_audio": ("input_uncached",),
    "cache_read_audio": ("cache_read", "input_audio", "input_uncached"),
    "input_image": ("input_uncached",),
    "input_video": ("input_uncached",),
    "output_reasoning": ("output_text",),
    "output_audio": ("output_text",),
    "output_image": ("output_text",),
    "output_video": ("output_text",),
}
"""Whose price a bucket has where the source gives it none of its own, nearest first."""

ALL = frozenset(_FROM)
TEXT = frozenset(("cache_read", "cache_write_5m", "cache_write_1h", "output_reasoning"))
"""The buckets of text that may inherit: for sources whose prices are those of text."""


def inherited(given: dict[str, Decimal], buckets: frozenset[str] = ALL) -> dict[str, Decimal]:
    """The prices of *given*, and for each of *buckets* that has none there the one that it inherits.

    A bucket that may not inherit hands nothing on either: what cached sound costs does not follow from the price of
    text where cached text has a price that is not given here.
    """
    prices = dict(given)
    for bucket in buckets - given.keys():
        for source in _FROM[bucket]:
            if source in given:
                prices[bucket] = given[source]
            if source in given or source not in buckets:
                break
    return prices


def priced_apart(book: Book) -> PricedApart:
    """For which buckets *book* knows a price other than the one that would be inferred.

    A file that says nothing of cached input does not say that it costs as much as any other, and a list that knows
    what it costs stays in force below it.
    """

    def buckets_of(provider: str, model: str, context: str) -> frozenset[str]:
        told = dict(pair.split("=", 1) for pair in context.split(",") if pair)
        rates = [*book.rates(provider, model, told), *(book.rates(provider, model, {}) if told else ())]
        return frozenset(
            bucket
            for rate in rates
            for bucket, sources in _FROM.items()
            if (price := rate.pico_per_unit.get(bucket)) is not None
            and price != next((rate.pico_per_unit[each] for each in sources if each in rate.pico_per_unit), None)
        )

    return buckets_of


def nothing_apart(_provider: str, _model: str, _context: str) -> frozenset[str]:
    """Where there are no weaker layers."""
    return frozenset()
