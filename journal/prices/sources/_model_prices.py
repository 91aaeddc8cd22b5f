"""model-prices (wakamex/model-prices): its ``snapshot.json``, schema 1, with the history that it keeps.

Prices are USD per million tokens of text, by model and mode, each valid from its ``start`` on (null: always, as the
source prices what is older than its first record) until the next; ``rates`` of null say that the mode was not sold
then.  A tier holds above its size for the whole request.  Cached input without a price is input, a write for an hour
is ``cache_write_1h_multiple`` of input.  A model that draws or films has one output price, that of its pictures: where
weaker layers tell these from text, theirs stand.  A provider's ``schedule`` multiplies its rates at peak hours, or
lowers them off peak: on UTC weekdays, but not on the holidays of a calendar that is kept in its own offset.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused
from keledger.journal._time import parse_time
from keledger.journal.prices._cells import ALWAYS_US, Cell, context_key

from ._conditions import Boundaries, Point, Prices, Subject, Window, cells_of
from ._contested import Contradicting, told_span, undisputed
from ._imported import Reading, readable, times, usd_per_million
from ._inheriting import TEXT, inherited

NAME = "model-prices"
SOURCE = "github.com/wakamex/model-prices, snapshot.json (MIT), as saved by the user"
SCHEMA = 1

_BUCKETS = {
    "input": "input_uncached",
    "output": "output_text",
    "cache_read": "cache_read",
    "cache_write": "cache_write_5m",
}
_SATURDAY = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


class _Unreadable(Exception):
    """Something that cannot be told: no price is better than a wrong one."""


_WRONG = (_Unreadable, InputRefused, ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What comes of looking for something in a file that has something else there."""


class _Interval(NamedTuple):
    """Rates from an instant on; None where there are none."""

    from_us: int
    rates: Mapping[str, Any] | None


class _Schedule(NamedTuple):
    """Hours at which a provider's rates are multiplied."""

    from_us: int
    to_us: int
    windows: tuple[Window, ...]
    factors: Mapping[str, Decimal] | Decimal
    """By model, or one for all."""
    weekdays_only: bool
    holidays: tuple[tuple[int, int], ...]
    """Half-open spans in which no hour is a peak."""

    def factor(self, point: Point, model: str) -> Decimal:
        """By what the rates are multiplied."""
        if not any(point.minute in window for window in self.windows):
            return Decimal(1)
        if self.weekdays_only and point.weekday >= _SATURDAY:
            return Decimal(1)
        if any(begin <= point.from_us < end for begin, end in self.holidays):
            return Decimal(1)
        return self.factors if isinstance(self.factors, Decimal) else self.factors.get(model, Decimal(1))


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether this is a snapshot."""
    return "models_dev" in raw and isinstance(raw.get("prices"), dict)


def known_on(raw: Mapping[str, Any]) -> str | None:
    """The day on which the snapshot's content last changed."""
    updated = raw.get("updated_at")
    return updated[:10] if isinstance(updated, str) else None


def read(raw: Mapping[str, Any], reading: Reading) -> Iterator[Cell]:
    """The cells of all models and modes, by their own dates.

    Raises InputRefused for another schema, Contradicting where a row begins no later than the one before it.
    """
    if raw.get("schema") != SCHEMA:
        raise InputRefused(f"a snapshot of model-prices of schema {raw.get('schema')!r}: only {SCHEMA} can be read")
    estimates = raw.get("estimates")
    for entry in estimates if isinstance(estimates, list) else ():
        if isinstance(entry, dict):
            reading.notes.skipped.append(f"{entry.get('provider')} {entry.get('model')}: an estimate, no price")
    for provider, models in raw["prices"].items():
        try:
            schedules = _schedules(raw, provider)
            yield from _of_provider(provider, dict(models), schedules, reading)
        except _WRONG:
            reading.notes.skipped.append(f"{provider}: it cannot be read, so none of its prices were taken")


def _of_provider(
    provider: str, models: Mapping[str, Any], schedules: list[_Schedule], reading: Reading
) -> Iterator[Cell]:
    by_model: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in models:
        our_provider, spellings = reading.names.spellings(provider, name)
        by_model[our_provider, spellings[-1]].append(name)
    for (our_provider, model), names in by_model.items():
        series: dict[Subject, dict[str, list[Cell]]] = defaultdict(dict)
        for name in names:
            modes = models[name]
            for mode, items in modes.items() if isinstance(modes, dict) else [("standard", modes)]:
                subject = Subject(our_provider, model, _context(our_provider, mode))
                try:
                    series[subject][name] = _cells(subject, name, items, schedules, reading)
                except _WRONG as error:
                    why = str(error) if isinstance(error, _Unreadable) else "it cannot be read"
                    reading.notes.skipped.append(f"{our_provider} {name} {mode}: {why}")
        for by_name in series.values():
            yield from undisputed(by_name, reading.notes)


def _context(provider: str, mode: str) -> str:
    """The pricing context of a mode.  Anthropic calls its fast mode a speed, others a service tier."""
    if mode == "standard":
        return ""
    if mode == "batch":
        return context_key({"processing": "batch"})
    if mode == "thinking":
        return context_key({"thinking": "on"})
    return context_key({"speed" if (provider, mode) == ("anthropic", "fast") else "service_tier": mode})


def _cells(
    subject: Subject, name: str, items: list[dict[str, Any]], schedules: list[_Schedule], reading: Reading
) -> list[Cell]:
    intervals = [_Interval(_begin(item), item["rates"]) for item in items]
    _check_order(f"{subject.provider}/{name} {subject.context}".rstrip(), intervals)
    intervals[0] = intervals[0]._replace(from_us=-ALWAYS_US)  # the first holds for all time before
    starts = [interval.from_us for interval in intervals]
    where = f"{subject.provider} {subject.model}"
    where += f" {subject.context}" if subject.context else ""
    apart = frozenset(reading.priced_apart(*subject))
    media = bool(apart & {"output_image", "output_video"})
    if media:
        reading.notes.skipped.append(f"{where}: its output price is that of what it draws or films")

    @cache
    def prices_of(index: int, over: int, factor: Decimal) -> Prices:
        rates = intervals[index].rates
        if rates is None:
            return {}
        prices = {}
        for bucket, usd in inherited(_by_bucket(rates, over), TEXT - apart).items():
            if media and bucket.startswith("output"):
                continue
            price = usd_per_million(times(usd, factor), f"{where} {bucket}", reading.notes)
            if price is not None:
                prices[bucket] = price
        return prices

    def prices_at(point: Point) -> Prices:
        holding = (each for each in schedules if each.from_us <= point.from_us < each.to_us)
        schedule = next(holding, None)  # of several that hold the first counts, as there
        factor = Decimal(1) if schedule is None else schedule.factor(point, name)
        return prices_of(bisect_right(starts, point.from_us) - 1, point.input_over, factor)

    applying = [each for each in schedules if isinstance(each.factors, Decimal) or name in each.factors]
    tiers = [tier for interval in intervals for tier in (interval.rates or {}).get("tiers") or ()]
    boundaries = Boundaries(
        instants_us=[
            *starts,
            *(us for each in applying for us in (each.from_us, each.to_us)),
            *(us for each in applying for span in each.holidays for us in span),
        ],
        minutes=[minute for each in applying for window in each.windows for minute in window],
        by_weekday=any(each.weekdays_only for each in applying),
        sizes=[tier["above"] for tier in tiers],
    )
    if all(not any(_figures(interval.rates, -1).values()) for interval in intervals if interval.rates is not None):
        raise _Unreadable("every price is 0, which may be free or not known")
    return list(cells_of(subject, prices_at, boundaries))


def _begin(item: Mapping[str, Any]) -> int:
    return -ALWAYS_US if item["start"] is None else parse_time(item["start"])


def _check_order(name: str, intervals: list[_Interval]) -> None:
    """Raise Contradicting where a row does not begin after the one before it.

    Each is valid until the next, so both would hold at once.  The same row twice says nothing else.
    """
    for row, other in pairwise(intervals):
        if other.from_us > row.from_us or (other.from_us == row.from_us and _terms(other) == _terms(row)):
            continue
        told, other_told = (told_span(each.from_us, ALWAYS_US) for each in (row, other))
        raise Contradicting(f"those of {name} {told} and, after them in the file, {other_told}")


def _terms(interval: _Interval) -> list[Any] | None:
    """What an interval says of prices."""
    rates = interval.rates
    return None if rates is None else [rates.get(key) for key in (*_BUCKETS, "cache_write_1h_multiple", "tiers")]


def _figures(rates: Mapping[str, Any], over: int) -> dict[str, Decimal]:
    """The given figures above a size, by the source's keys: tiers ascend, later ones win key by key."""
    figures = {key: rates.get(key) for key in _BUCKETS}
    for tier in rates.get("tiers") or ():
        if over >= tier["above"]:
            figures.update({key: tier[key] for key in _BUCKETS if tier.get(key) is not None})
    told = {key: readable(value) for key, value in figures.items() if value is not None}
    if None in told.values():
        raise _Unreadable("a price is no number")
    return {key: value for key, value in told.items() if value is not None}


def _by_bucket(rates: Mapping[str, Any], over: int) -> dict[str, Decimal]:
    """The given prices above a size, by bucket."""
    given = {_BUCKETS[key]: value for key, value in _figures(rates, over).items()}
    if rates.get("cache_write_1h_multiple") is not None:
        given["cache_write_1h"] = times(given["input_uncached"], _factor(rates["cache_write_1h_multiple"]))
    return given


def _schedules(raw: Mapping[str, Any], provider: str) -> list[_Schedule]:
    found = raw.get("schedules", {})
    return [
        _schedule(each, found.get("holidays") or {})
        for each in found.get("schedule") or ()
        if each["provider"] == provider
    ]


def _schedule(raw: Mapping[str, Any], calendars: Mapping[str, Any]) -> _Schedule:
    begin = parse_time(raw["valid_from"])
    end = parse_time(raw["valid_until"]) if "valid_until" in raw else ALWAYS_US
    if "off_peak_hours_utc" in raw:
        factors = {model: _factor(value) for model, value in raw["off_peak_multiplier"].items()}
        return _Schedule(begin, end, _windows(raw["off_peak_hours_utc"]), factors, False, ())
    holidays = _holidays(calendars[raw["holidays"]]) if raw.get("holidays") else ()
    windows = _windows(raw["peak_hours_utc"])
    return _Schedule(begin, end, windows, _factor(raw["peak_multiplier"]), bool(raw.get("weekdays_only")), holidays)


def _factor(value: Any) -> Decimal:
    factor = readable(value)
    if factor is None:
        raise _Unreadable("a multiplier is no number")
    return factor


def _windows(raw: list[list[str]]) -> tuple[Window, ...]:
    windows = (Window(_minute(start), _minute(end)) for start, end in raw)
    return tuple(window for window in windows if window.start != window.end)  # an empty one, there


def _minute(text: str) -> int:
    moment = datetime.strptime(text, "%H:%M")
    return moment.hour * 60 + moment.minute


def _holidays(calendar: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """The holidays as instants, each run of days in one span."""
    offset = timedelta(minutes=int(Decimal(calendar["utc_offset_hours"]) * 60))
    spans: list[tuple[int, int]] = []
    for text in sorted(calendar["dates"]):
        midnight = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) - offset
        begin, end = ((moment - _EPOCH) // _MICROSECOND for moment in (midnight, midnight + _DAY))
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return tuple(spans)
