"""The answer of OpenRouter's models endpoint (``GET /api/v1/models``), as a user has saved it.

Prices are text in USD a token, a request or a search.  ``overrides`` hold under conditions: an entry applies where all
of its conditions do, later entries win key by key, keys that it lacks are the base's (OpenRouter's own reference of
``PricingOverride``).  ``discount`` takes its share off every price.  A price of -1 depends on what each request is
routed to, so such a model has none.  Nothing in it is dated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from keledger.journal.prices._cells import Cell

from ._conditions import Boundaries, Point, Prices, Subject, Window, cells_of
from ._contested import Contradicting
from ._imported import PER_TOKEN, Notes, Reading, note, readable, times, usd_per_million
from ._inheriting import ALL, inherited

NAME = "openrouter"
SOURCE = "openrouter.ai/api/v1/models, as saved by the user"

BUCKETS = {
    "prompt": "input_uncached",
    "completion": "output_text",
    "request": "requests",
    "image_token": "input_image",
    "image_output": "output_image",
    "audio": "input_audio",
    "audio_output": "output_audio",
    "input_audio_cache": "cache_read_audio",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
    "internal_reasoning": "output_reasoning",
    "web_search": "web_searches",
}
_CONDITIONS = ("min_prompt_tokens", "utc_days", "utc_start", "utc_end")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class _Unreadable(Exception):
    """Something in a model's prices that cannot be told.  No price is better than a wrong one."""


class _Override(NamedTuple):
    """Prices by key that hold under conditions."""

    prices: Mapping[str, Decimal]
    over: int
    weekdays: frozenset[int]
    window: Window | None

    def applies(self, point: Point) -> bool:
        return (
            point.input_over >= self.over
            and point.weekday in self.weekdays
            and (self.window is None or point.minute in self.window)
        )


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether this is a models answer."""
    data = raw.get("data")
    return isinstance(data, list) and any(isinstance(model, dict) and "pricing" in model for model in data)


def known_on(_raw: Mapping[str, Any]) -> str | None:
    """The day on which the prices were known: the answer does not say."""
    return None


def read(raw: Mapping[str, Any], reading: Reading) -> Iterator[Cell]:
    """The cells of all models, from the reading's day on.

    The name by which a model may answer is told where just one has it, or all that do have the same prices.  Raises
    Contradicting where an id stands twice, at other prices.
    """
    notes = reading.notes
    models = [model for model in raw["data"] if isinstance(model, dict) and isinstance(model.get("id"), str)]
    for _ in range(len(raw["data"]) - len(models)):
        notes.skipped.append("openrouter: an entry without an id")
    pricing: dict[str, Any] = {}
    for model in models:
        name = _name(model["id"])
        if name in pricing and model.get("pricing") != pricing[name]:
            raise Contradicting(f"those of the two entries of openrouter {name}")
        pricing[name] = model.get("pricing")
    slugs = _slugs(models, pricing.keys(), notes)
    for name, raw_pricing in pricing.items():
        try:
            rules = _rules(raw_pricing)
            for each in (name, *slugs.get(name, ())):
                yield from _cells(each, rules, reading)
        except _Unreadable as error:
            notes.skipped.append(f"openrouter {name}: {error}")


def _slugs(models: Iterable[Mapping[str, Any]], ids: Collection[str], notes: Notes) -> dict[str, list[str]]:
    """By a model's name the one by which it may answer, unless that is another's id, or models differ that have it."""
    by_slug: dict[str, dict[str, Any]] = defaultdict(dict)
    for model in models:
        slug = model.get("canonical_slug")
        if isinstance(slug, str) and _name(slug) not in ids:
            by_slug[_name(slug)][_name(model["id"])] = model.get("pricing")
    told: dict[str, list[str]] = defaultdict(list)
    for slug, by_name in by_slug.items():
        first, *others = by_name
        if all(by_name[other] == by_name[first] for other in others):
            told[first].append(slug)
        else:
            notes.skipped.append(f"openrouter {slug}: {' and '.join(by_name)} answer by this name, at other prices")
    return told


def _cells(name: str, rules: tuple[_Override, ...], reading: Reading) -> Iterator[Cell]:
    heirs = ALL - frozenset(reading.priced_apart("openrouter", name, ""))

    def prices_at(point: Point) -> Prices:
        effective: dict[str, Decimal] = {}
        for rule in rules:
            if rule.applies(point):
                effective.update(rule.prices)
        return _by_bucket(name, effective, heirs, reading)

    boundaries = Boundaries(
        minutes=[minute for rule in rules if rule.window is not None for minute in rule.window],
        by_weekday=any(len(rule.weekdays) < len(_WEEKDAYS) for rule in rules),
        sizes=[rule.over for rule in rules],
    )
    yield from cells_of(Subject("openrouter", name), prices_at, boundaries, valid_from_us=reading.valid_from_us)


def _name(text: str) -> str:
    """A model as a book has it: ``openrouter/free`` is ``free``, what another maker's model is called stays whole."""
    return text.lower().removeprefix("openrouter/") or text.lower()


def _by_bucket(name: str, effective: Mapping[str, Decimal], heirs: frozenset[str], reading: Reading) -> Prices:
    given = {bucket: effective[key] for key, bucket in BUCKETS.items() if key in effective}
    image = effective.get("image")
    if image:
        note(reading.notes.without_bucket, f"openrouter {name} image {image} USD an image")
        heirs -= {"input_image"}
    prices = {}
    for bucket, usd in sorted(inherited(given, heirs).items()):
        price = usd_per_million(times(usd, Decimal(PER_TOKEN)), f"openrouter {name} {bucket}", reading.notes)
        if price is not None:
            prices[bucket] = price
    return prices


def _rules(pricing: Any) -> tuple[_Override, ...]:
    """The base and then the overrides, in the order in which later ones win."""
    if not isinstance(pricing, dict):
        raise _Unreadable("it has no pricing")
    discount = readable(pricing.get("discount", 0))
    if discount is None or not 0 <= discount <= 1:
        raise _Unreadable(f"discount {pricing['discount']!r} is no share")
    left = 1 - discount
    every_day = frozenset(range(len(_WEEKDAYS)))
    base = _Override(_prices(pricing, left, ("discount", "overrides")), -1, every_day, None)
    overrides = pricing.get("overrides") or []
    if not isinstance(overrides, list) or not all(isinstance(each, dict) for each in overrides):
        raise _Unreadable("overrides is no list of objects")
    return (base, *(_override(each, left) for each in overrides))


def _override(raw: Mapping[str, Any], left: Decimal) -> _Override:
    over = raw.get("min_prompt_tokens")
    if over is not None and (type(over) is not int or not 0 <= over < 2**53):
        raise _Unreadable(f"min_prompt_tokens {over!r} is no count")
    days = raw.get("utc_days")
    names = [str(day).lower() for day in days] if isinstance(days, list) else []
    if days is not None and (not names or not set(names) <= set(_WEEKDAYS)):
        raise _Unreadable(f"utc_days {days!r} are no days of the week")
    weekdays = frozenset(map(_WEEKDAYS.index, names)) if names else frozenset(range(len(_WEEKDAYS)))
    start, end = raw.get("utc_start"), raw.get("utc_end")
    window = None
    if (start, end) != (None, None):
        window = Window(_minute(start), _minute(end))
        if window.start == window.end and (start, end) != ("0000", "2400"):
            raise _Unreadable(f"from {start} to {end} is all of a day or nothing of it")
    return _Override(_prices(raw, left, _CONDITIONS), -1 if over is None else over, weekdays, window)


def _minute(text: Any) -> int:
    """The minute of the day that ``HHMM`` names; 2400 is the end of the day."""
    digits = text.replace(":", "") if isinstance(text, str) else f"{text:04d}" if type(text) is int else ""
    if len(digits) == 4 and digits.isascii() and digits.isdigit():
        hour, minute = int(digits[:2]), int(digits[2:])
        if minute < 60 and (hour < 24 or (hour, minute) == (24, 0)):
            return (hour * 60 + minute) % (24 * 60)
    raise _Unreadable(f"{text!r} is no time of day like 0130")


def _prices(raw: Mapping[str, Any], left: Decimal, others: tuple[str, ...]) -> dict[str, Decimal]:
    """The prices of one entry in USD a unit, less the discount."""
    prices = {}
    for key, value in raw.items():
        if key in others or value is None:
            continue
        if key not in BUCKETS and key != "image":
            raise _Unreadable(f"{key!r} is no price or condition that is known here")
        price = readable(value)
        if price is None:
            raise _Unreadable(f"{key} {value!r} is no price")
        if price < 0:
            raise _Unreadable("its price depends on the model that a request is routed to")
        prices[key] = times(price, left)
    return prices
