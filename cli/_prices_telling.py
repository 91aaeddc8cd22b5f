"""Prices in words and rows: when one holds, and what changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from keledger.journal import CurrentPrices, format_time
from keledger.journal.prices import (
    ALWAYS_US,
    DAY_MINUTES,
    EVERY_DAY,
    INPUT_MAX,
    PriceChange,
    parse_header,
    told_instant,
    told_minute,
    told_weekdays,
)

from ._table import Column, Table, count

_MINUTE_US = 60 * 1_000_000
_WEEK = (0, 7 * DAY_MINUTES * _MINUTE_US)


class Hours(NamedTuple):
    """Minutes of the UTC day on some of its weekdays (seven of 0 and 1 from Monday on)."""

    weekdays: str
    minute_from: int
    minute_to: int


class PriceRow(NamedTuple):
    """One price that changes, or has one from nothing: a :class:`PriceChange` with all hours at which it holds."""

    change: PriceChange
    hours: tuple[Hours, ...]
    """Empty: at all."""

    def conditions(self) -> str:
        """When it holds, in words."""
        change = self.change
        told = [change.context] if change.context else []
        if change.valid_from_us > -ALWAYS_US:
            told.append(f"from {told_instant(change.valid_from_us)}")
        if change.valid_to_us < ALWAYS_US:
            told.append(f"until {told_instant(change.valid_to_us)}")
        told.extend(_told_hours(self.hours))
        if change.input_over >= 0:
            told.append(f"above {count(change.input_over)} input tokens")
        if change.input_to < INPUT_MAX:
            told.append(f"up to {count(change.input_to)} input tokens")
        return ", ".join(told)

    def as_json(self) -> dict[str, Any]:
        """All of it; what holds always, for any size, is null."""
        change = self.change
        return {
            "provider": change.provider,
            "model": change.model,
            "context": change.context,
            "bucket": change.bucket,
            "old_usd_per_million": change.old,
            "new_usd_per_million": change.new,
            **validity(change.valid_from_us, change.valid_to_us),
            "hours": [{"weekdays": each.weekdays, "minutes": [*each[1:]]} for each in self.hours] or None,
            "input_over": change.input_over if change.input_over >= 0 else None,
            "input_to": change.input_to if change.input_to < INPUT_MAX else None,
        }


def validity(from_us: int, to_us: int) -> dict[str, str | None]:
    """A half-open span of time as JSON has it; null for no beginning or no end."""
    return {
        "valid_from": format_time(from_us) if from_us > -ALWAYS_US else None,
        "valid_to": format_time(to_us) if to_us < ALWAYS_US else None,
    }


def price_table_rows(changes: Iterable[PriceChange]) -> list[PriceRow]:
    """The changes with what differs in the time of the week alone as one row."""
    spans: dict[PriceChange, list[tuple[int, int]]] = defaultdict(list)
    for change in changes:
        spans[change._replace(week_from_us=0, week_to_us=0)].append((change.week_from_us, change.week_to_us))
    return [PriceRow(change, hours_of_week(parts)) for change, parts in spans.items()]


def hours_of_week(spans: Sequence[tuple[int, int]]) -> tuple[Hours, ...]:
    """Spans of the week from Monday on, in microseconds, as hours of days; none where they are the whole week."""
    if list(spans) == [_WEEK]:
        return ()
    days: dict[tuple[int, int], set[int]] = defaultdict(set)
    for start_us, end_us in spans:
        start, end = start_us // _MINUTE_US, end_us // _MINUTE_US
        for day in range(start // DAY_MINUTES, -(-end // DAY_MINUTES)):
            begins = day * DAY_MINUTES
            days[max(start, begins) - begins, min(end, begins + DAY_MINUTES) - begins].add(day)
    return tuple(
        Hours("".join("1" if day in held else "0" for day in range(7)), *minutes)
        for minutes, held in sorted(days.items(), key=lambda item: (min(item[1]), item[0]))
    )


def changes_table(rows: Sequence[PriceRow]) -> Table:
    """What changes: one row for all buckets of a model that change alike."""
    table = Table(
        [
            Column("Model", least=16),
            Column("Price of", least=16),
            Column("Old", number=True),
            Column("New", number=True),
            Column("When", least=20),
        ]
    )
    for buckets, row in alike(rows):
        change = row.change
        name = f"{change.provider}/{change.model}"
        table.add(name, buckets, told_price(change.old), told_price(change.new), row.conditions() or "always")
    return table


def prices_table(rows: Sequence[PriceRow]) -> Table:
    """The prices of one model: one row for all buckets that have the same at the same time."""
    table = Table([Column("Price of", least=16), Column("USD", number=True), Column("When", least=20)])
    for buckets, row in alike(rows):
        table.add(buckets, told_price(row.change.new), row.conditions() or "always")
    return table


def alike(rows: Iterable[PriceRow]) -> Iterator[tuple[str, PriceRow]]:
    """Rows that differ in the bucket alone as one, with the names of all these buckets."""
    together: dict[PriceRow, list[str]] = defaultdict(list)
    for row in rows:
        together[row._replace(change=row.change._replace(bucket=""))].append(row.change.bucket)
    for row, buckets in together.items():
        yield ", ".join(buckets), row


def told_price(usd_per_million: str | None) -> str:
    """A price as a table has it."""
    return usd_per_million if usd_per_million is not None else "none"


def counted(changes: Iterable[PriceRow]) -> Mapping[str, int]:
    """How many prices are new, gone and other than before."""
    kinds = {"added": 0, "removed": 0, "changed": 0}
    for row in changes:
        kinds["added" if row.change.old is None else "removed" if row.change.new is None else "changed"] += 1
    return kinds


def _told_hours(hours: Iterable[Hours]) -> Iterator[str]:
    for each in hours:
        told = [told_weekdays(each.weekdays)] if each.weekdays != EVERY_DAY else []
        if (each.minute_from, each.minute_to) != (0, DAY_MINUTES):
            told.append(f"{told_minute(each.minute_from)}-{told_minute(each.minute_to)} UTC")
        if told:
            yield " ".join(told)


class Layers(NamedTuple):
    """The layers of a book by their places, the strongest first."""

    kinds: tuple[str, ...]
    names: tuple[str, ...]
    dates: tuple[str, ...]
    sources: tuple[str, ...]

    def told(self) -> str:
        """All of them on one line, with the day on which their prices were known, and where these come from."""
        return "; ".join(
            f"{name} ({date}): {source}"
            for name, date, source in zip(self.names, self.dates, self.sources, strict=True)
        )

    def as_json(self) -> list[dict[str, str]]:
        """One object a layer."""
        return [
            {"kind": kind, "name": name, "date": date, "source": source}
            for kind, name, date, source in zip(*self, strict=True)
        ]


def layers_of(current: CurrentPrices) -> Layers:
    """The layers of the current book."""
    headers = [parse_header(current.store.read(layer.sha256)) for layer in current.manifest.layers]
    return Layers(*zip(*((each.kind, each.name, each.date, each.source) for each in headers), strict=True))
