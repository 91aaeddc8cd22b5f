"""Make the shipped list layer and the table of names from the installed genai-prices.

``python data/build_prices.py`` (with the extra ``[prices]``) writes into ``data/prices/``:

- ``genai-prices-<version>.jsonl``, the list flattened to cells, and beside it a report of what a reader of the list
  should know: values rounded to the grid, empty price sets, prices and rules that have no place here;
- ``names.jsonl``, the list's matching rules, told more strictly, merged with ``name_rules.json``;
- ``book.json``, the manifest of the shipped book: ``corrections.jsonl`` above the list, and the names.

The same genai-prices and rules give the same bytes.  ``docs/prices.md`` tells the formats and the reasons.
genai-prices is used as it was released: nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "prices"

RELEASED = {"0.2.3": "2026-11-10"}
"""The day on which a version of genai-prices was published: until then its prices were known."""

Prices = dict[str, str]
"""USD per million units by bucket, each in its one spelling."""

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

_GRID = Decimal("0.000001")
_OPTIONAL_GROUP = re.compile(r"\(([^()?|]*)\)\?")
_DATED = re.compile(r"\^((?:[\w/:@=-]|\\[.\[\]])+?)(\$|-\\d|[-\[\]@]+\\d\{8\}\$|-\\d\{4\}-\\d\{2\}-\\d\{2\}\$)")


@dataclass
class Notes:
    """What the report says."""

    rounded: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    without_bucket: list[str] = field(default_factory=list)
    untold_rules: list[str] = field(default_factory=list)
    strict_rules: list[str] = field(default_factory=list)


def build(rules: Mapping[str, Any], corrections: bytes) -> dict[str, bytes]:
    """The files by their names, from the installed genai-prices, *rules* and the *corrections* layer."""
    from genai_prices.data import providers

    version = importlib.metadata.version("genai-prices")
    if version not in RELEASED:
        raise SystemExit(f"genai-prices {version} is new here: add the day of its release to RELEASED in {__file__}")
    known, notes = RELEASED[version], Notes()
    name = f"genai-prices {version}"
    header = {
        "keledger_layer": 1,
        "kind": "list",
        "name": name,
        "source": f"github.com/pydantic/genai-prices, release {version} (MIT), flattened",
        "date": known,
    }
    cells = [cell for provider in providers for model in provider.models for cell in flatten(provider.id, model, notes)]
    layer = _lines([header, *sorted(cells, key=_cell_order)])
    names = _lines(names_lines(providers, rules, name, notes))
    book = {
        "keledger_book": 1,
        "layers": [_reference(corrections), _reference(layer)],
        "names": hashlib.sha256(names).hexdigest(),
    }
    stem = name.replace(" ", "-")
    return {
        f"{stem}.jsonl": layer,
        f"{stem}.report.txt": report(name, cells, notes),
        "names.jsonl": names,
        "book.json": _lines([book]),
    }


def flatten(provider: str, model: Any, notes: Notes) -> Iterator[dict[str, Any]]:
    """All cells of one model: for its standard terms and each context with prices of its own."""
    variants = model.price_variants or []
    contexts = [{}, *(variant.when for variant in variants if _own_prices(variant.prices))]
    for context in {json.dumps(each, sort_keys=True): each for each in contexts}.values():
        spans: list[tuple[datetime | None, datetime | None, list[dict[str, Any]]]] = []
        days = _start_days(model)
        for start, end in pairwise([None, *days, None]):
            day = start or (days[0] if days else datetime(2026, 1, 1, tzinfo=UTC)) - timedelta(days=1)
            cells = _cells_of_day(provider, model, context, day, notes)
            if spans and spans[-1][2] == cells:
                spans[-1] = (spans[-1][0], end, cells)
            else:
                spans.append((start, end, cells))
        for start, end, cells in spans:
            for cell in cells:
                span = {"valid_from": _time(start), "valid_to": _time(end)}
                head = {"provider": provider, "model": model.id, "context": _context(context)}
                yield {key: value for key, value in {**head, **span, **cell}.items() if value is not None}


def _cells_of_day(
    provider: str, model: Any, context: Mapping[str, str], day: datetime, notes: Notes
) -> list[dict[str, Any]]:
    """One day's cells: by minutes where the price depends on them, and by the size of the input."""
    minutes = [0, *_boundary_minutes(model), 24 * 60]
    spans: list[tuple[int, int, dict[int, Prices]]] = []
    for start, end in pairwise(minutes):
        instant = day + timedelta(minutes=start)
        if context and not any(_applies(variant, context, instant) for variant in model.price_variants):
            tiers = {}  # genai-prices would answer with the standard price
        else:
            tiers = _tiers(provider, model.id, model.get_prices(instant, context), notes)
        if spans and spans[-1][2] == tiers:
            spans[-1] = (spans[-1][0], end, tiers)
        else:
            spans.append((start, end, tiers))
    return [
        {
            "minutes": [start, end] if (start, end) != (0, 24 * 60) else None,
            "input_over": over if over >= 0 else None,
            "usd_per_million": prices,
        }
        for start, end, tiers in spans
        for over, prices in tiers.items()
        if prices
    ]


def _tiers(provider: str, model: str, price_set: Any, notes: Notes) -> dict[int, Prices]:
    """The prices of one price set above each size of the input; empty where the set says nothing."""
    own = _own_prices(price_set)
    if not own:
        _note(notes.free if model.endswith(":free") else notes.empty, f"{provider} {model}")
        return {-1: dict.fromkeys(sorted(TOKEN_BUCKETS), "0")} if model.endswith(":free") else {}
    starts = {tier.start for price in own.values() for tier in getattr(price, "tiers", ())}
    return {over: _prices(provider, model, own, over, notes) for over in [-1, *sorted(starts)]}


def _prices(provider: str, model: str, own: Mapping[str, Any], over: int, notes: Notes) -> Prices:
    units = {key: _registry().unit_for_price_key(key) for key in own}
    for key, unit in units.items():
        if not any(unit.dimensions.items() <= dimensions for dimensions in PRICED_DIMENSIONS):
            _note(notes.without_bucket, f"{provider} {model} {key} {_at(own[key], -1)}")
    prices = {}
    for bucket, dimensions in sorted(BUCKET_DIMENSIONS.items()):
        fitting = [key for key, unit in units.items() if unit.dimensions.items() <= dimensions.items()]
        if not fitting:
            continue
        key = max(fitting, key=lambda key: len(units[key].dimensions))
        # A duration is priced per hour there and per million milliseconds here.
        scale = Decimal(1000) if dimensions["family"] == "durations" else Decimal(1_000_000)
        exact = _at(own[key], over) * scale / units[key].per
        on_grid = exact.quantize(_GRID, ROUND_HALF_EVEN)
        if on_grid != exact:
            _note(notes.rounded, f"{provider} {model} {bucket} {exact:f} -> {_plain(on_grid)}")
        prices[bucket] = _plain(on_grid)
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


def _constraints(model: Any) -> Iterator[Any]:
    conditional = model.prices if isinstance(model.prices, list) else []
    for one in [*conditional, *(model.price_variants or [])]:
        if one.constraint is not None:
            yield one.constraint


def _applies(variant: Any, context: Mapping[str, str], instant: datetime) -> bool:
    active = variant.constraint is None or variant.constraint.active(instant)
    return active and variant.when == context and bool(_own_prices(variant.prices))


def _start_days(model: Any) -> list[datetime]:
    starts = {each.start_date for each in _constraints(model) if hasattr(each, "start_date")}
    return [datetime.combine(day, time(), UTC) for day in sorted(starts)]


def _boundary_minutes(model: Any) -> list[int]:
    times = [
        moment
        for each in _constraints(model)
        if hasattr(each, "start_time")
        for moment in (each.start_time, each.end_time)
    ]
    for moment in times:
        if moment.second or moment.microsecond or moment.utcoffset():
            raise SystemExit(f"{model.id} has a price from {moment}, which is no whole minute in UTC")
    return sorted({moment.hour * 60 + moment.minute for moment in times} - {0})


def names_lines(
    providers: Iterable[Any], rules: Mapping[str, Any], list_name: str, notes: Notes
) -> Iterator[dict[str, Any]]:
    """The table of names: a header, then for each provider its line and its models' lines in their order."""
    own_ids = {provider.id: provider.id for provider in providers}
    yield {
        "keledger_names": 1,
        "name": f"{list_name} with rules of {rules['date']}",
        "date": max(rules["date"], RELEASED[list_name.split()[1]]),
        "revision": rules["revision"],
        "gateways": rules["gateways"],
        "provider_aliases": dict(sorted({**rules["provider_aliases"], **own_ids}.items())),
        "prefixes": rules["prefixes"],
        "contexts": rules["contexts"],
        "context_aliases": rules["context_aliases"],
    }
    for provider in sorted(providers, key=lambda provider: provider.id):
        fallbacks = provider.fallback_model_providers
        yield {"provider": provider.id, **({"fallbacks": fallbacks} if fallbacks else {})}
        yield from (rule for rule in rules["models"] if rule["provider"] == provider.id)
        for model in provider.models:
            found = {"exact": [model.id.lower()]}
            for kind, text in _told(model.match, f"{provider.id} {model.id}", notes):
                if text not in found.setdefault(kind, []):
                    found[kind].append(text)
            yield {"provider": provider.id, "model": model.id, **dict(sorted(found.items()))}


def _told(clause: Any, where: str, notes: Notes) -> Iterator[tuple[str, str]]:
    """A matching clause as (kind, text) rules.

    What an `and` leaves out and what a regular expression leaves open is a date or revision, which the table of
    names allows behind a fragment anyway, and nothing else: so both are told by their fragment.
    """
    for kind in ("equals", "starts_with", "contains", "ends_with"):
        if hasattr(clause, kind):
            if kind != "equals":
                _note(notes.strict_rules, f"{where} {kind} {getattr(clause, kind)}")
            yield "exact" if kind == "equals" else kind, getattr(clause, kind).lower()
    for part in getattr(clause, "or_", ()):
        yield from _told(part, where, notes)
    for part in getattr(clause, "and_", ()):
        if not getattr(part, "regex", "").startswith("^(?!"):
            yield from _told(part, where, notes)
    for expression in _without_options(getattr(clause, "regex", "")):
        matched = _DATED.fullmatch(expression)
        if matched is not None:
            text = re.sub(r"\\(.)", r"\1", matched[1]).lower()
            yield "exact" if matched[2] == "$" else "starts_with", text
        elif expression:
            _note(notes.untold_rules, f"{where} regex {expression}")


def _without_options(expression: str) -> Iterator[str]:
    """A regular expression once without and once with each optional group."""
    group = _OPTIONAL_GROUP.search(expression)
    if group is None:
        yield expression
        return
    for part in ("", group[1]):
        yield from _without_options(expression[: group.start()] + part + expression[group.end() :])


def report(name: str, cells: list[dict[str, Any]], notes: Notes) -> bytes:
    """What a reader of the list should know, as text."""
    prices = sum(len(cell["usd_per_million"]) for cell in cells)
    models = {(cell["provider"], cell["model"]) for cell in cells}
    sections = {
        f"{name}: {len(cells)} cells with {prices} prices of {len(models)} models": [],
        "Off the grid of 1e-6 USD per million units, rounded half-even": notes.rounded,
        "Empty price sets: unknown, so calls are unpriced (genai-prices computes 0)": notes.empty,
        "Empty price sets of ids ending in :free: an explicit 0 for tokens": notes.free,
        "Prices without a bucket, left out": notes.without_bucket,
        "Matching rules that cannot be told as names, left out": notes.untold_rules,
        "Open matching rules, told more strictly: only a date or revision may follow": notes.strict_rules,
    }
    text = "\n".join(
        "\n".join([f"{title} ({len(entries)})" if entries else title, *(f"  {entry}" for entry in entries), ""])
        for title, entries in sections.items()
    )
    return text.encode()


def _note(entries: list[str], entry: str) -> None:
    if entry not in entries:
        entries.append(entry)


def _plain(value: Decimal) -> str:
    """A decimal in its one spelling: without exponent and superfluous zeros."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _context(context: Mapping[str, str]) -> str:
    return ",".join(f"{key}={context[key]}" for key in sorted(context))


def _time(instant: datetime | date | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cell_order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        cell["provider"],
        cell["model"],
        cell["context"],
        cell.get("valid_from", ""),
        cell.get("minutes", [0])[0],
        cell.get("input_over", -1),
    )


def _reference(layer: bytes) -> dict[str, str]:
    header = json.loads(layer.partition(b"\n")[0])
    return {
        "kind": header["kind"],
        "name": header["name"],
        "sha256": hashlib.sha256(layer).hexdigest(),
        "date": header["date"],
    }


def _lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n" for each in objects).encode()


def main() -> None:
    """Write the files and say which of them changed."""
    rules = json.loads((FOLDER / "name_rules.json").read_text(encoding="utf-8"))
    for name, content in build(rules, (FOLDER / "corrections.jsonl").read_bytes()).items():
        path = FOLDER / name
        changed = not path.exists() or path.read_bytes() != content
        path.write_bytes(content)
        sys.stdout.write(f"{name}: {len(content)} bytes, {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main()
