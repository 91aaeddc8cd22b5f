"""What changes from one book to another: which price holds when, whatever layer or cell it stands in."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keledger.journal._money import pico_to_usd

from ._book import BUCKETS, Book
from ._rates import Rate

_PLACES = {bucket: place for place, bucket in enumerate(BUCKETS)}

_Box = tuple[int, int, int, int, int, int]
"""From and to of time, week and size."""


class PriceChange(NamedTuple):
    """The price of one bucket, in USD per million units, where it differs: None where it has none.

    It holds for requests as a :class:`Rate` does: by time, by time of the week, by size.
    """

    provider: str
    model: str
    context: str
    bucket: str
    old: str | None
    new: str | None
    valid_from_us: int
    valid_to_us: int
    week_from_us: int
    week_to_us: int
    input_over: int
    input_to: int


def changed_prices(
    old: Book | None, new: Book, models: Iterable[tuple[str, str]] | None = None
) -> Iterator[PriceChange]:
    """Every price that differs, by provider, model, context, bucket and time; of all *models*, or of these.

    ``None`` for *old* is a book without prices.  Of two books that have no layer in common but the same prices, nothing
    changes: layers and cells are only how prices are told.
    """
    chosen = sorted(models) if models is not None else sorted({*(_differing(old, new)), *(_differing(new, old))})
    for provider, model in chosen:
        for context in sorted({*_contexts(old, provider, model), *_contexts(new, provider, model)}):
            before, after = _rates(old, provider, model, context), _rates(new, provider, model, context)
            if before != after:
                yield from _compare(provider, model, context, before, after)


def price_rows(book: Book, provider: str, model: str) -> Iterator[PriceChange]:
    """All prices of one name, as changes from nothing."""
    return changed_prices(None, book, [(provider, model)])


def _differing(book: Book | None, other: Book | None) -> Iterator[tuple[str, str]]:
    """The models in layers that the other book does not have at the same strength."""
    layers = book.layers if book is not None else ()
    theirs = [layer.content for layer in other.layers] if other is not None else []
    shared = {layer.content for layer in layers} & set(theirs)
    same_order = [layer.content for layer in layers if layer.content in shared] == [
        content for content in theirs if content in shared
    ]
    for layer in layers:
        if layer.content not in shared or not same_order:
            yield from layer.models()


def _contexts(book: Book | None, provider: str, model: str) -> Iterator[str]:
    if book is not None:
        yield from (cell.context for each in book.found(provider, model) for cell in each.offered())


def _rates(book: Book | None, provider: str, model: str, context: str) -> tuple[Rate, ...]:
    if book is None:
        return ()
    pairs = dict(pair.split("=", 1) for pair in context.split(",") if pair)
    return book.rates(provider, model, pairs)


def _compare(
    provider: str, model: str, context: str, before: Sequence[Rate], after: Sequence[Rate]
) -> Iterator[PriceChange]:
    times = _bounds((rate.valid_from_us, rate.valid_to_us) for rate in (*before, *after))
    weeks = _bounds((rate.week_from_us, rate.week_to_us) for rate in (*before, *after))
    sizes = _bounds((rate.input_over, rate.input_to) for rate in (*before, *after))
    old, new = (_grid(rates, times, weeks, sizes) for rates in (before, after))
    differing: dict[tuple[str, int | None, int | None], list[_Box]] = defaultdict(list)
    for place in sorted(old.keys() | new.keys()):
        time, week, size = place
        box = (times[time], times[time + 1], weeks[week], weeks[week + 1], sizes[size], sizes[size + 1])
        had, has = old.get(place, {}), new.get(place, {})
        for bucket in had.keys() | has.keys():
            if had.get(bucket) != has.get(bucket):
                differing[bucket, had.get(bucket), has.get(bucket)].append(box)
    rows = [
        PriceChange(provider, model, context, bucket, _told(was), _told(now), *box)
        for (bucket, was, now), boxes in differing.items()
        for box in _joined(boxes)
    ]
    yield from sorted(rows, key=lambda row: (_PLACES.get(row.bucket, len(_PLACES)), row.bucket, row[6:]))


def _bounds(spans: Iterable[tuple[int, int]]) -> list[int]:
    return sorted({bound for span in spans for bound in span})


def _grid(
    rates: Iterable[Rate], times: list[int], weeks: list[int], sizes: list[int]
) -> dict[tuple[int, int, int], Mapping[str, int]]:
    """The prices at each place between neighbouring bounds."""
    return {
        (time, week, size): rate.pico_per_unit
        for rate in rates
        for time in range(bisect_left(times, rate.valid_from_us), bisect_left(times, rate.valid_to_us))
        for week in range(bisect_left(weeks, rate.week_from_us), bisect_left(weeks, rate.week_to_us))
        for size in range(bisect_left(sizes, rate.input_over), bisect_left(sizes, rate.input_to))
    }


def _joined(boxes: Iterable[_Box]) -> list[_Box]:
    """Neighbours as one: in the week, then by size, then in time."""
    joined = list(boxes)
    for start in (2, 4, 0):
        others = [index for index in range(6) if index not in (start, start + 1)]
        joined.sort(key=lambda box: (*(box[index] for index in others), box[start]))
        merged: list[_Box] = []
        for box in joined:
            above = merged[-1] if merged else None
            if above and above[start + 1] == box[start] and all(above[index] == box[index] for index in others):
                merged[-1] = (*above[: start + 1], box[start + 1], *above[start + 2 :])  # type: ignore[assignment]
            else:
                merged.append(box)
        joined = merged
    return joined


def _told(pico_per_unit: int | None) -> str | None:
    """Picodollars a unit as USD per million units: the same digits, six places up."""
    return pico_to_usd(pico_per_unit * 1_000_000) if pico_per_unit is not None else None
