"""genai-prices as it is installed, flattened: its answer for every date, minute, size and context.

genai-prices is used as it was released: nothing is downloaded.  It is imported only when it is asked for.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused, NotFound
from keledger.journal.prices._cells import ALWAYS_US, Cell, LayerHeader, context_key

from ._conditions import Boundaries, Point, Prices, Subject, cells_of
from ._genai_names import names_table
from ._imported import GRID, Imported, Notes, plain, unique

NAME = "genai-prices"

RELEASED = {"0.2.3": "2026-11-10"}
"""The day on which a version of genai-prices was published: from then on its prices were known."""

BUCKET_DIMENSIONS: dict[str, dict[str, str]] = {
    "input_uncached": {"family": "tokens", "direction": "input", "modality": "text"},
    "cache_read": {"family": "tokens", "direction": "input", "modality": "text", "token_type": "cache_read"},
    "cache_write_5m": {
        "family": "tokens", "direction": "input", "modality": "text", "token_type": "cache_write", "cache_ttl": "5m",
    },
    "cache_write_1h": {
        "family": "tokens", "direction": "input", "modality": "text", "token_type": "cache_write", "cache_ttl": "1h",
    },
    "input_audio": {"family": "tokens", "direction": "input", "modality": "audio"},
    "cache_read_audio": {"family": "tokens", "direction": "input", "modality": "audio", "token_type": "cache_read"},
    "input_image": {"family": "tokens", "direction": "input", "modality": "image"},
    "input_video": {"family": "tokens", "direction": "input", "modality": "video"},
    "output_text": {"family": "tokens", "direction": "output", "modality": "text"},
    "output_reasoning": {
        "family": "tokens", "direction": "output", "modality": "text", "token_type": "reasoning",
    },
    "output_audio": {"family": "tokens", "direction": "output", "modality": "audio"},
    "output_image": {"family": "tokens", "direction": "output", "modality": "image"},
    "output_video": {"family": "tokens", "direction": "output", "modality": "video"},
    "input_audio_ms": {"family": "durations", "direction": "input", "modality": "audio"},
    "input_pages": {"family": "document_pages", "direction": "input"},
    "input_chars": {"family": "characters", "direction": "input"},
    "web_searches": {"family": "tool_calls", "tool_type": "web_search"},
    "file_searches": {"family": "tool_calls", "tool_type": "storage_search"},
    "requests": {"family": "requests"},
}  # fmt: skip
"""What a bucket counts, in genai-prices' own dimensions.  Its price is that of the most specific unit whose
dimensions it has: this is how genai-prices itself falls back from reasoning to output and from cache to input."""

TOKEN_BUCKETS = tuple(name for name, has in BUCKET_DIMENSIONS.items() if has["family"] == "tokens")
PRICED_DIMENSIONS = [frozenset(has.items()) for has in BUCKET_DIMENSIONS.values()]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Any day, for a model whose prices have no dates."""


@dataclass
class ListNotes(Notes):
    """What a reader of the list should know besides."""

    empty: list[str] = field(default_factory=list)
    """Models with an empty price set, for which genai-prices computes 0: unknown here."""
    free: list[str] = field(default_factory=list)
    """Those of them whose id says that they are free."""
    untold_rules: list[str] = field(default_factory=list)
    """Matching rules that cannot be told as names."""
    strict_rules: list[str] = field(default_factory=list)
    """Open matching rules: only a date or revision may follow."""


class PriceList(NamedTuple):
    """A release of genai-prices, read: the layer, and its names merged with the program's own rules."""

    layer: Imported
    names: bytes
    notes: ListNotes
    """Those of the layer, and more."""


def installed_version() -> str:
    """The version of genai-prices that is installed.  Raises NotFound where there is none."""
    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise NotFound(
            "genai-prices is not installed, from which the price list comes: get it with pip install 'keledger[prices]'"
        ) from None


def read_installed(rules: Mapping[str, Any], known: str) -> PriceList:
    """The installed genai-prices as a list layer whose prices were known on the day *known*, and the table of names.

    *rules* are those of ``data/prices/name_rules.json``.  The same release, rules and day give the same bytes.

    Raises NotFound where it is not installed, InputRefused where it has prices that cells cannot tell.
    """
    version = installed_version()
    try:
        from genai_prices.data import providers
    except ImportError as error:
        raise InputRefused(f"genai-prices {version} cannot be read: {error}; use one below 0.3") from None
    name, notes = f"{NAME} {version}", ListNotes()
    source = f"github.com/pydantic/genai-prices, release {version} (MIT), flattened"
    header = LayerHeader("list", name, source, known)
    cells = [cell for provider in providers for model in provider.models for cell in flatten(provider.id, model, notes)]
    names = names_table(providers, rules, name, known, notes.untold_rules, notes.strict_rules)
    for entries in vars(notes).values():
        entries[:] = unique(entries)
    return PriceList(Imported(header, tuple(cells), notes), names, notes)


def flatten(provider: str, model: Any, notes: ListNotes) -> Iterator[Cell]:
    """All cells of one model: for its standard terms and each context with prices of its own."""
    variants = model.price_variants or []
    contexts = [{}, *(variant.when for variant in variants if _own_prices(variant.prices))]
    for context in {json.dumps(each, sort_keys=True): each for each in contexts}.values():
        yield from _cells(provider, model, context, notes)


def _cells(provider: str, model: Any, context: Mapping[str, str], notes: ListNotes) -> Iterator[Cell]:
    days = _start_days(model)
    before = (days[0] if days else _SOME_DAY) - timedelta(days=1)

    @cache
    def tiers_at(from_us: int, minute: int) -> Mapping[int, Prices]:
        day = before if from_us == -ALWAYS_US else _EPOCH + timedelta(microseconds=from_us)
        instant = day + timedelta(minutes=minute)
        if context and not any(_applies(variant, context, instant) for variant in model.price_variants):
            return {}  # genai-prices would answer with the standard price
        return _tiers(provider, model.id, model.get_prices(instant, context), notes)

    def prices_at(point: Point) -> Prices:
        tiers = tiers_at(point.from_us, point.minute)
        reached = [over for over in tiers if over <= point.input_over]
        return tiers[max(reached)] if reached else {}

    boundaries = Boundaries(
        instants_us=[(day - _EPOCH) // _MICROSECOND for day in days],
        minutes=_boundary_minutes(model),
        sizes=_sizes(model),
    )
    yield from cells_of(Subject(provider, model.id, context_key(context)), prices_at, boundaries)


def _tiers(provider: str, model: str, price_set: Any, notes: ListNotes) -> dict[int, Prices]:
    """The prices of one price set above each size of the input; empty where the set says nothing."""
    own = _own_prices(price_set)
    if not own:
        (notes.free if model.endswith(":free") else notes.empty).append(f"{provider} {model}")
        return {-1: dict.fromkeys(sorted(TOKEN_BUCKETS), "0")} if model.endswith(":free") else {}
    return {over: _prices(provider, model, own, over, notes) for over in [-1, *sorted(_starts(own))]}


def _prices(provider: str, model: str, own: Mapping[str, Any], over: int, notes: ListNotes) -> Prices:
    units = {key: _registry().unit_for_price_key(key) for key in own}
    for key, unit in units.items():
        if not any(unit.dimensions.items() <= dimensions for dimensions in PRICED_DIMENSIONS):
            notes.without_bucket.append(f"{provider} {model} {key} {_at(own[key], -1)}")
    prices = {}
    for bucket, dimensions in sorted(BUCKET_DIMENSIONS.items()):
        fitting = [key for key, unit in units.items() if unit.dimensions.items() <= dimensions.items()]
        if not fitting:
            continue
        key = max(fitting, key=lambda key: len(units[key].dimensions))
        # A duration is priced per hour there and per million milliseconds here.
        scale = Decimal(1000) if dimensions["family"] == "durations" else Decimal(1_000_000)
        exact = _at(own[key], over) * scale / units[key].per
        on_grid = exact.quantize(GRID, ROUND_HALF_EVEN)
        if on_grid != exact:
            notes.rounded.append(f"{provider} {model} {bucket} {exact:f} -> {plain(on_grid)}")
        prices[bucket] = plain(on_grid)
    return prices


@cache
def _registry() -> Any:
    from genai_prices.data_units import unit_data
    from genai_prices.units import UnitRegistry

    return UnitRegistry(unit_data)


def _at(price: Any, over: int) -> Decimal:
    """A price above *over* input tokens: of the highest tier that begins there or below, else the base."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= over]
    return Decimal(reached[-1] if reached else price.base)


def _own_prices(price_set: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(price_set).items() if value is not None}


def _starts(own: Mapping[str, Any]) -> set[int]:
    return {tier.start for price in own.values() for tier in getattr(price, "tiers", ())}


def _sizes(model: Any) -> set[int]:
    sets = [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]
    sets += [variant.prices for variant in model.price_variants or []]
    return {start for each in sets for start in _starts(_own_prices(each))}


def _constraints(model: Any) -> Iterator[Any]:
    conditional = model.prices if isinstance(model.prices, list) else []
    for one in [*conditional, *(model.price_variants or [])]:
        if one.constraint is not None:
            yield one.constraint


def _applies(variant: Any, context: Mapping[str, str], instant: datetime) -> bool:
    active = variant.constraint is None or variant.constraint.active(instant)
    return active and variant.when == context and bool(_own_prices(variant.prices))


def _start_days(model: Any) -> list[datetime]:
    starts: set[date] = {each.start_date for each in _constraints(model) if hasattr(each, "start_date")}
    return [datetime.combine(day, time(), UTC) for day in sorted(starts)]


def _boundary_minutes(model: Any) -> Iterable[int]:
    times = [
        moment
        for each in _constraints(model)
        if hasattr(each, "start_time")
        for moment in (each.start_time, each.end_time)
    ]
    for moment in times:
        if moment.second or moment.microsecond or moment.utcoffset():
            raise InputRefused(f"{model.id} has a price from {moment}, which is no whole minute in UTC")
    return sorted({moment.hour * 60 + moment.minute for moment in times} - {0})
