"""Changing the cells of a user layer: a price is set, or taken back, for just what is named.

A cell is a box: a span of time, minutes of the day, weekdays.  Cutting one box out of another leaves at most six, and
what is cut is no longer there: so a layer never has two prices for one bucket at one instant, whatever was set before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keledger.journal._errors import InputRefused
from keledger.journal._time import format_time

from ._cells import ALWAYS_US, DAY_MINUTES, EVERY_DAY, Cell, LayerHeader, parse_layer, write_layer
from ._store import BookManifest, PriceStore

USER_LAYER = "user prices"
"""The name of the one user layer of a book."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


_FOLLOWING = (
    ("output_reasoning", "output_text"),
    ("cache_read", "input_uncached"),
    ("cache_write_5m", "input_uncached"),
    ("cache_write_1h", "cache_write_5m"),
)
"""A bucket, and the one whose price it has where nobody says otherwise."""

_FOLLOWING_ANYWAY = frozenset(["output_reasoning"])
"""Whoever agrees on a price of output means all of it, though lists have a row for reasoning as well."""


class Selection(NamedTuple):
    """Which prices are meant: those of a model that fit everything that is given; None and no buckets: any."""

    provider: str
    model: str
    buckets: Collection[str] = ()
    context: str | None = None
    input_over: int | None = None
    valid_from_us: int = -ALWAYS_US
    valid_to_us: int = ALWAYS_US


def user_cells(manifest: BookManifest, store: PriceStore) -> tuple[Cell, ...]:
    """The prices that the user has set, in a book; none where it has no user layer."""
    layers = [layer for layer in manifest.layers if layer.kind == "user"]
    return parse_layer(store.read(layers[0].sha256))[1] if layers else ()


def user_layer(cells: Sequence[Cell], today: str) -> bytes | None:
    """The user layer's bytes; None where nothing is set.  Raises InputRefused where a cell breaks the rules."""
    return write_layer(LayerHeader("user", USER_LAYER, "set by the user", today), cells) if cells else None


def inherited_prices(
    given: Mapping[str, str], own: Iterable[Cell], weaker: Collection[str], terms: Cell
) -> dict[str, str | None]:
    """The prices that are *given* to be set on *terms*, with those that follow from them (``docs/prices.md``).

    Reasoning follows output, what is read from and written to a cache follows input where no weaker layer has a price
    for it (*weaker* are the buckets that have one), unless one of the user's *own* cells holds another price there.
    """
    prices: dict[str, str | None] = dict(given)
    others = [cell for cell in own if _same_tier(cell, terms) and cell.meets(terms)]
    for bucket, followed in _FOLLOWING:
        of_its_own = any(
            bucket in cell.usd_per_million and cell.usd_per_million[bucket] != cell.usd_per_million.get(followed)
            for cell in others
        )
        if followed in prices and not of_its_own and (bucket not in weaker or bucket in _FOLLOWING_ANYWAY):
            prices.setdefault(bucket, prices[followed])
    return prices


def set_price(cells: Iterable[Cell], new: Cell, *, replace: bool = False) -> tuple[Cell, ...]:
    """The cells with *new* among them.

    Raises InputRefused that names a price which holds for the same bucket, model, context and tier at some instant of
    *new*; with *replace* that is cut instead, and goes on before, after and beside it.
    """
    changed: list[Cell] = []
    for cell in cells:
        shared = _same_tier(cell, new) and cell.meets(new) and cell.usd_per_million.keys() & new.usd_per_million.keys()
        if not shared:
            changed.append(cell)
        elif replace:
            changed.extend(_without(cell, new, shared))
        else:
            raise InputRefused(
                f"{new.provider}/{new.model} has a price of yours already, {_told(cell, shared)}: "
                "replace it (--replace), or choose terms for which it does not hold"
            )
    return tuple(sorted([*changed, new], key=Cell.sort_key))


def unset_prices(cells: Iterable[Cell], selection: Selection) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """The cells without what is selected, and what that was.

    Raises InputRefused where nothing is, which names what is set for the model instead.
    """
    left: list[Cell] = []
    removed: list[Cell] = []
    cells = tuple(cells)
    for cell in cells:
        buckets = _selected(cell, selection)
        if not buckets:
            left.append(cell)
            continue
        span = cell._replace(
            usd_per_million=_only(cell, buckets),
            valid_from_us=max(cell.valid_from_us, selection.valid_from_us),
            valid_to_us=min(cell.valid_to_us, selection.valid_to_us),
        )
        removed.append(span)
        left.extend(_without(cell, span, buckets))
    if not removed:
        own = [cell for cell in cells if (cell.provider, cell.model) == (selection.provider, selection.model)]
        name = f"{selection.provider}/{selection.model}"
        if not own:
            raise InputRefused(f"no price of {name} was set by you: nothing to take back")
        told = "; ".join(_told(cell, cell.usd_per_million) for cell in own)
        raise InputRefused(f"no price that you have set for {name} fits that; there is: {told}")
    return tuple(sorted(left, key=Cell.sort_key)), tuple(removed)


def told_conditions(cell: Cell) -> str:
    """When a cell holds, in words: ``from 2026-01-01, 00:30-08:30 UTC on mon-fri, above 200000 input tokens``."""
    told = []
    if cell.context:
        told.append(cell.context)
    if cell.valid_from_us != -ALWAYS_US:
        told.append(f"from {told_instant(cell.valid_from_us)}")
    if cell.valid_to_us != ALWAYS_US:
        told.append(f"until {told_instant(cell.valid_to_us)}")
    if (cell.minute_from, cell.minute_to) != (0, DAY_MINUTES):
        told.append(f"{told_minute(cell.minute_from)}-{told_minute(cell.minute_to)} UTC")
    if cell.weekdays != EVERY_DAY:
        told.append(told_weekdays(cell.weekdays))
    if cell.input_over != -1:
        told.append(f"above {cell.input_over} input tokens")
    return ", ".join(told) or "always"


def told_instant(instant_us: int) -> str:
    """An instant in UTC, as short as it is exact: ``2026-01-01``, ``2026-01-01T16:00Z``."""
    text = format_time(instant_us)
    if text.endswith("T00:00:00.000000Z"):
        return text[:10]
    return text[:16] + "Z" if text.endswith(":00.000000Z") else text


def told_minute(minute: int) -> str:
    """A minute of the day: ``08:30``; the end of the day is ``24:00``."""
    return f"{minute // 60:02}:{minute % 60:02}"


def told_weekdays(mask: str) -> str:
    """Seven digits from Monday on as names: ``mon-fri``, ``sat,sun``."""
    spans: list[list[int]] = []
    for day, digit in enumerate(mask):
        if digit == "1" and spans and spans[-1][1] == day - 1:
            spans[-1][1] = day
        elif digit == "1":
            spans.append([day, day])
    return ",".join(
        WEEKDAYS[first] if first == last else f"{WEEKDAYS[first]}{'-' if last > first + 1 else ','}{WEEKDAYS[last]}"
        for first, last in spans
    )


def _told(cell: Cell, buckets: Collection[str]) -> str:
    prices = ", ".join(f"{bucket} {cell.usd_per_million[bucket] or 'not known'}" for bucket in sorted(buckets))
    return f"{prices} ({told_conditions(cell)})"


def _same_tier(cell: Cell, other: Cell) -> bool:
    return (cell.provider, cell.model, cell.context, cell.input_over) == (
        other.provider,
        other.model,
        other.context,
        other.input_over,
    )


def _selected(cell: Cell, selection: Selection) -> Collection[str]:
    """The buckets of a cell that are meant."""
    fits = (
        (cell.provider, cell.model) == (selection.provider, selection.model)
        and selection.context in (None, cell.context)
        and selection.input_over in (None, cell.input_over)
        and cell.valid_from_us < selection.valid_to_us
        and selection.valid_from_us < cell.valid_to_us
    )
    return (
        {bucket for bucket in cell.usd_per_million if not selection.buckets or bucket in selection.buckets}
        if fits
        else ()
    )


def _without(cell: Cell, cut: Cell, buckets: Collection[str]) -> Iterator[Cell]:
    """What is left of a cell where *buckets* are cut out of the box that it shares with *cut*."""
    others = cell.usd_per_million.keys() - set(buckets)
    if others:
        yield cell._replace(usd_per_million=_only(cell, others))
    rest = cell._replace(usd_per_million=_only(cell, buckets))
    if rest.valid_from_us < cut.valid_from_us:
        yield rest._replace(valid_to_us=cut.valid_from_us)
        rest = rest._replace(valid_from_us=cut.valid_from_us)
    if cut.valid_to_us < rest.valid_to_us:
        yield rest._replace(valid_from_us=cut.valid_to_us)
        rest = rest._replace(valid_to_us=cut.valid_to_us)
    other_days = _mask(rest.weekdays, cut.weekdays, "0")
    if "1" in other_days:
        yield rest._replace(weekdays=other_days)
        rest = rest._replace(weekdays=_mask(rest.weekdays, cut.weekdays, "1"))
    if rest.minute_from < cut.minute_from:
        yield rest._replace(minute_to=cut.minute_from)
    if cut.minute_to < rest.minute_to:
        yield rest._replace(minute_from=cut.minute_to)


def _mask(weekdays: str, other: str, digit: str) -> str:
    """The days that have 1 in the first and *digit* in the other."""
    return "".join("1" if (a, b) == ("1", digit) else "0" for a, b in zip(weekdays, other, strict=True))


def _only(cell: Cell, buckets: Iterable[str]) -> dict[str, str | None]:
    return {bucket: cell.usd_per_million[bucket] for bucket in sorted(buckets)}
