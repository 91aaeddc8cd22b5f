"""One model of LiteLLM's map: its prices on all terms, for all sizes, at all hours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from keledger.journal.prices._cells import Cell, context_key

from ._conditions import Boundaries, Point, Prices, Subject, cells_of
from ._imported import PER_TOKEN, Reading, readable, times, usd_per_million
from ._inheriting import ALL, inherited
from ._litellm_hours import NoHours, off_peak_hours

TOKEN_KEYS = {
    "input_uncached": "input_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "input_audio": "input_cost_per_audio_token",
    "cache_read_audio": "cache_read_input_audio_token_cost",
    "input_image": "input_cost_per_image_token",
    "input_video": "input_cost_per_video_token",
    "output_text": "output_cost_per_token",
    "output_reasoning": "output_cost_per_reasoning_token",
    "output_audio": "output_cost_per_audio_token",
    "output_image": "output_cost_per_image_token",
    "output_video": "output_cost_per_video_token",
}
UNIT_KEYS = {
    "ocr_cost_per_page": ("input_pages", PER_TOKEN),
    "input_cost_per_character": ("input_chars", PER_TOKEN),
    "file_search_cost_per_1k_calls": ("file_searches", PER_TOKEN // 1000),
    "input_cost_per_request": ("requests", PER_TOKEN),
}
"""What is not billed by the token: its bucket, and the factor to USD per million units."""

_BATCH = "_batches"
_CONTEXTS = {
    "": {},
    _BATCH: {"processing": "batch"},
    "_flex": {"service_tier": "flex"},
    "_priority": {"service_tier": "priority"},
    "_balanced": {"service_tier": "balanced"},
    "_ultrafast": {"service_tier": "ultrafast"},
}
"""The endings of keys, and the terms for which they stand."""

_FAST = {"service_tier": "fast"}
"""Another name for OpenAI's priority terms, to LiteLLM and to OpenAI."""

_BY_PIECE = {
    "input_image": ("input_cost_per_image", "input_cost_per_pixel"),
    "input_video": ("input_cost_per_video",),
    "input_audio": ("input_cost_per_audio_per_second", "input_cost_per_second"),
    "output_image": ("output_cost_per_image", "output_cost_per_pixel"),
    "output_video": ("output_cost_per_second", "output_cost_per_video"),
    "output_audio": ("output_cost_per_second", "output_cost_per_character"),
}
"""How the keys begin by which something is billed by the piece, pixel or second.  Its tokens inherit nothing then."""

_TIER = re.compile(r"_above_(\d+)(k?)_tokens")
_TIERED = frozenset(("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_text"))
_INCLUSIVE = frozenset(("x-ai",))
"""Providers whose tiers begin at their size, not above it."""

_FIGURE = re.compile(r"cost|multiplier")
_PRICED = re.compile(r"cost|pricing$|multiplier|^search_free_requests$")
_IGNORED = re.compile(r"dbu_cost|^input_cost_per_token_cache_hit$|^supports_")
"""Databricks' own units, told in USD as well; and an older name of the price of cached input."""

_KEYS_SHOWN_MAX = 3


class Skipped(Exception):
    """Why a model was not taken."""


class _Terms(NamedTuple):
    """One set of terms: the ending of its keys, its context, and by what its prices are multiplied."""

    ending: str
    context: dict[str, str]
    factor: Decimal = Decimal(1)


class ModelPrices:
    """One model's prices."""

    def __init__(self, entry: Mapping[str, Any], provider: str, model: str, reading: Reading) -> None:
        self._provider = provider
        self._model = model
        self._reading = reading
        self._notes = reading.notes
        self._raw = entry
        self._figures = self._read_figures(entry)
        self._by_piece = {bucket for bucket, heads in _BY_PIECE.items() if self._is_nonzero(heads)}
        self._tiered = self._read_tiered()
        try:
            self._hours = off_peak_hours(entry.get("off_peak_pricing"))
        except NoHours as error:
            raise Skipped(str(error)) from None
        self._off_peak = self._read_figures(entry.get("off_peak_pricing") or {})

    def cells(self) -> Iterator[Cell]:
        """The cells of all terms.  Raises Skipped."""
        found = [cell for terms in self._terms() for cell in self._cells(terms)]
        prices = [price for cell in found for price in cell.usd_per_million.values()]
        if not prices:
            keys = [key for key, value in self._raw.items() if _PRICED.search(key) and value]
            raise Skipped(f"no bucket has a price of it ({', '.join(keys[:_KEYS_SHOWN_MAX]) or 'none is given'})")
        if not any(price != "0" for price in prices):
            raise Skipped("every price is 0, which may be free or not known")
        self._note_what_has_no_bucket()
        return iter(found)

    def _cells(self, terms: _Terms) -> Iterator[Cell]:
        subject = Subject(self._provider, self._model, context_key(terms.context))
        heirs = self._heirs(terms.ending) - frozenset(self._reading.priced_apart(*subject))

        def prices_at(point: Point) -> Prices:
            off_peak = hours is not None and hours.hold(point.weekday, point.minute)
            return self._prices(terms, point.input_over, off_peak, heirs)

        hours = self._hours if terms.ending != _BATCH else None
        boundaries = Boundaries(
            minutes=hours.boundaries if hours is not None else (),
            by_weekday=hours is not None and hours.by_weekday,
            sizes=[over for over, _ in self._sizes()],
        )
        yield from cells_of(subject, prices_at, boundaries, valid_from_us=self._reading.valid_from_us)

    def _terms(self) -> Iterator[_Terms]:
        """The standard terms, those with keys of their own, and each again where a region or speed costs more."""
        for ending, context in _CONTEXTS.items():
            heads = ("input_cost_per_token", "output_cost_per_token", "ocr_cost_per_page")
            if not ending or any(head + ending in self._figures for head in heads):
                yield from self._by_region(_Terms(ending, context))
                if ending == "_priority":
                    yield from self._by_region(_Terms(ending, _FAST))
        fast = self._multiplier("provider_specific_entry", "fast")
        if fast is not None:
            yield from self._by_region(_Terms("", {"speed": "fast"}, fast))

    def _by_region(self, terms: _Terms) -> Iterator[_Terms]:
        yield terms
        for region in ("eu", "us"):
            factor = self._multiplier("provider_specific_entry", region)
            if factor is None:
                factor = self._figures.get(f"regional_processing_uplift_multiplier_{region}")
            if factor is not None:
                yield _Terms(terms.ending, {**terms.context, "region": region}, times(terms.factor, factor))

    def _multiplier(self, key: str, name: str) -> Decimal | None:
        found = self._raw.get(key)
        return readable(found.get(name)) if isinstance(found, dict) else None

    def _prices(self, terms: _Terms, over: int, off_peak: bool, heirs: frozenset[str]) -> Prices:
        """The prices in USD per million units by bucket, at one place."""
        given = self._tokens(terms.ending, over, off_peak, heirs)
        missing = self._tokens(terms.ending, -1, off_peak, heirs).keys() - given.keys() if over >= 0 else set()
        per_million = {bucket: times(times(usd, Decimal(PER_TOKEN)), terms.factor) for bucket, usd in given.items()}
        per_million.update(self._units(terms.ending))
        where = " ".join(filter(None, (self._provider, self._model, context_key(terms.context))))
        prices: dict[str, str | None] = dict.fromkeys(missing)
        if missing:
            self._notes.skipped.append(f"{where}: above {over:,} input tokens some prices are not given")
        for bucket, usd in per_million.items():
            price = usd_per_million(usd, f"{where} {bucket}", self._notes)
            if price is not None:
                prices[bucket] = price
        return prices

    def _tokens(self, ending: str, over: int, off_peak: bool, heirs: frozenset[str]) -> dict[str, Decimal]:
        """USD a token by bucket."""
        given = {
            bucket: usd
            for bucket, key in TOKEN_KEYS.items()
            if (usd := self._figure(bucket, key, ending, over)) is not None
        }
        if self._reasons_as_it_writes(ending):
            given.pop("output_reasoning", None)
        if off_peak:
            given.update({bucket: self._off_peak[key] for bucket, key in TOKEN_KEYS.items() if key in self._off_peak})
        prices = inherited(given, heirs)
        if self._by_piece & {"output_image", "output_video", "output_audio"}:
            prices = {bucket: usd for bucket, usd in prices.items() if usd or not bucket.startswith("output")}
        return prices

    def _heirs(self, ending: str) -> frozenset[str]:
        """The buckets for which a price may be inferred.

        Not what is billed by the piece; nor, on other terms, what has a price of its own on standard terms: that of
        something else would be too low for what is dearer, and too high for what is cheaper.
        """
        heirs = ALL - self._by_piece
        if not ending:
            return heirs
        own = {bucket for bucket, key in TOKEN_KEYS.items() if key in self._figures}
        return heirs - (own - {"output_reasoning"} if self._reasons_as_it_writes("") else own)

    def _figure(self, bucket: str, key: str, ending: str, over: int) -> Decimal | None:
        """The price of one key above a size: of the highest tier below it, else the base; None where that is not told.

        Other terms than the standard ones may have no price for a tier that the standard ones have.
        """
        if self._tiered:
            held = [tier for begin, tier in self._tiered if begin <= over][-1]
            stands_in = bucket in ("output_text", "output_reasoning") and TOKEN_KEYS["output_text"] not in held
            return held.get(key) if not stands_in else self._figures.get(key)
        usd = self._figures.get(key + ending)
        for begin, tier in self._sizes() if bucket in _TIERED else ():
            if begin <= over and (key + tier in self._figures or key + tier + ending in self._figures):
                usd = self._figures.get(key + tier + ending)
        return usd

    def _reasons_as_it_writes(self, ending: str) -> bool:
        """Whether reasoning has the price of the answer: it says so, or these terms have only a price for the answer.

        A price of reasoning that equals that of the answer is the same price, and changes with it above a size.
        """
        if self._tiered:
            return False
        reasoning, answer = TOKEN_KEYS["output_reasoning"], TOKEN_KEYS["output_text"]
        if ending and reasoning + ending not in self._figures:
            return answer + ending in self._figures
        return self._figures.get(reasoning + ending) == self._figures.get(answer + ending)

    def _units(self, ending: str) -> dict[str, Decimal]:
        """USD per million of what is not counted in tokens."""
        units = {}
        for key, (bucket, scale) in UNIT_KEYS.items():
            usd = self._figures.get(key + ending)
            if usd is not None:
                units[bucket] = times(usd, Decimal(scale))
        searches = self._searches()
        if searches is not None:
            units["web_searches"] = times(searches, Decimal(PER_TOKEN))
        seconds = self._figures.get("input_cost_per_audio_per_second")
        if seconds is None and self._raw.get("mode") == "audio_transcription":
            seconds = self._figures.get("input_cost_per_second")
        if seconds is not None and not ending:
            units["input_audio_ms"] = times(seconds, Decimal(PER_TOKEN // 1000))
        return units

    def _searches(self) -> Decimal | None:
        """USD a search of the web, where it is the same for every amount of context that is asked for."""
        found = self._raw.get("search_context_cost_per_query")
        figures = {readable(value) for value in found.values()} if isinstance(found, dict) else set()
        return figures.pop() if len(figures) == 1 else None

    def _sizes(self) -> list[tuple[int, str]]:
        """The sizes above which prices change, ascending, with how a key says so."""
        if self._tiered:
            return [(begin, "") for begin, _ in self._tiered if begin >= 0]
        found = {tier[0]: int(tier[1]) * (1000 if tier[2] else 1) for tier in map(_TIER.search, self._figures) if tier}
        return sorted((size - (self._provider in _INCLUSIVE), key) for key, size in found.items())

    def _read_tiered(self) -> list[tuple[int, dict[str, Decimal]]]:
        """The table of tiers, ascending: the size above which each holds, and its figures by key.  The first holds from
        the beginning."""
        table = self._raw.get("tiered_pricing")
        if not table:
            return []
        tiers = []
        for row in table if isinstance(table, list) else [None]:
            begin = readable(row["range"][0]) if isinstance(row, dict) and isinstance(row.get("range"), list) else None
            if begin is None or begin != begin.to_integral_value() or not 0 <= begin < 2**53:
                raise Skipped("its tiers cannot be read")
            tiers.append((int(begin), self._read_figures(row)))
        tiers.sort(key=lambda tier: tier[0])
        return [(-1 if n == 0 else begin, figures) for n, (begin, figures) in enumerate(tiers)]

    def _read_figures(self, raw: Any) -> dict[str, Decimal]:
        if not isinstance(raw, dict):
            raise Skipped("its prices cannot be read")
        figures = {}
        for key, value in raw.items():
            if _FIGURE.search(key) and isinstance(value, (int, str, Decimal)) and not isinstance(value, bool):
                figure = readable(value)
                if figure is None:
                    raise Skipped(f"{key} {value!r} is no price")
                figures[key] = figure
        return figures

    def _is_nonzero(self, heads: tuple[str, ...]) -> bool:
        return any(usd and key.startswith(heads) and "_token" not in key for key, usd in self._figures.items())

    def _note_what_has_no_bucket(self) -> None:
        """Note every price that no bucket has and no context tells."""
        for key, value in self._raw.items():
            if not _PRICED.search(key) or _IGNORED.search(key) or self._is_told(key) or not value:
                continue
            self._notes.without_bucket.append(f"{self._provider} {self._model} {key} {_shown(value)}")

    def _is_told(self, key: str) -> bool:
        base = _TIER.sub("", key)
        for ending in _CONTEXTS:
            own = base.removesuffix(ending) if ending else base
            if own in TOKEN_KEYS.values() or own in UNIT_KEYS:
                return True
        if key == "search_context_cost_per_query":
            return self._searches() is not None
        if key in ("input_cost_per_second", "input_cost_per_audio_per_second"):
            return "input_audio_ms" in self._units("")
        return key in (
            "off_peak_pricing",
            "tiered_pricing",
            "regional_processing_uplift_multiplier_eu",
            "regional_processing_uplift_multiplier_us",
        )


def _shown(value: Any) -> str:
    """A value as the source wrote it, short."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())[:200]
    return str(value)[:200]
