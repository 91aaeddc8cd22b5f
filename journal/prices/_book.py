"""What a call costs by one price book: the layers in their order of strength, and the table of names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused
from keledger.journal._money import micro_per_million, pico_to_usd, usd_to_pico

from ._cells import DAY_MINUTES, Cell
from ._layer import Layer
from ._names import Match, Names
from ._rates import Rate, Source, flatten

BUCKETS = (
    "input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "cache_read_audio",
    "input_image", "input_video", "output_text", "output_reasoning", "output_audio", "output_image", "output_video",
    "input_audio_ms", "input_pages", "input_chars", "web_searches", "file_searches", "requests",
)  # fmt: skip
"""The order in which a cost tells its buckets; any other bucket comes after these, by name."""

PRICER_VERSION = 1
"""Of the rules by which a book's cells become a cost.  A reprice names it: another version may say something else."""

TIER_BUCKETS = frozenset(BUCKETS[:8])
"""The input tokens.  Their sum is the size of a request, by which a price tier is chosen."""

FREE_WITHOUT_PRICE = frozenset(["requests"])
"""Every call is one request, and hardly any model has a fee for it: where there is no price, there is none to pay."""

MATCHES_KEPT_MAX = 4096
"""How many names and contexts a book keeps resolved.  A user has some dozen; an import may bring any number."""

ORDERS_KEPT_MAX = 256
"""How many sets of buckets are kept in order: those that a user's models fill, in the order in which they do."""

_PLACE = {bucket: place for place, bucket in enumerate(BUCKETS)}
_MINUTE_US = 60 * 1_000_000
_price_pico = lru_cache(4096)(micro_per_million)


_NO_CONTEXT: Mapping[str, str] = {}


class _Prices(NamedTuple):
    """Where a provider, model and context find their prices, strongest first, and how a cost says so."""

    match: Match | None
    matched: dict[str, str] | None
    sources: list[Source]


class Found(NamedTuple):
    """What one layer has under one name: the layer's place in the book, 0 being the strongest, and its cells."""

    place: int
    match: Match
    cells: tuple[Cell, ...]

    def offered(self) -> tuple[Cell, ...]:
        """The cells that may be used.

        A maker's terms for batches and tiers are not those of who resells its models: only standard prices are.
        """
        return tuple(cell for cell in self.cells if not (self.match.by_fallback and cell.context))

    def of_context(self, context: str) -> list[Cell]:
        """Those of one context."""
        return [cell for cell in self.offered() if cell.context == context]


class Book:
    """A loaded book, known by its id *sha256*.  What it keeps is only what it could find again, so it may be shared."""

    def __init__(self, sha256: str, layers: Sequence[Layer], names: Names) -> None:
        self.sha256 = sha256
        self._layers = tuple(layers)
        self._names = names
        self._kept: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Prices] = {}

    def match(self, provider: str, model: str) -> Match | None:
        """Which model of the book *model* of *provider* is, and by which rule; None where no rule says it."""
        return self._prices(provider, model, _NO_CONTEXT).match

    def priced_model(self, provider: str, asked: str, answered: str | None) -> str:
        """The model that is billed: the one that answered, unless only the asked one is in the book."""
        if answered and answered != asked and self.match(provider, answered) is not None:
            return answered
        return asked

    def rates(self, provider: str, model: str, context: Mapping[str, str]) -> tuple[Rate, ...]:
        """The prices of *model* in *context* as disjoint rows: what :meth:`price` looks up, all of it."""
        return flatten(self._prices(provider, model, context).sources)

    def price(
        self,
        *,
        provider: str,
        model: str,
        usage: Mapping[str, int],
        at_us: int,
        context: Mapping[str, str],
        reported_cost_usd: str | None = None,
        usage_known: bool = True,
    ) -> dict[str, Any]:
        """What a call costs: the ``cost`` object of its event (``docs/prices.md``).

        *usage* maps buckets to quantities, *at_us* is the call's ``started_at`` in UTC microseconds, *context* its
        ``pricing_context``.  ``usage_known=False`` says that an answer may have been billed of which no usage is
        known.  A refusal by the provider has a usage that is known and empty: it costs 0, without lines.

        The ``state`` is the first that holds.  Usage not known: ``unknown``, or ``reported`` where
        *reported_cost_usd* is given.  Every used bucket has a price: ``priced``.  A reported cost is given:
        ``reported``.  Else ``unpriced``.

        Raises InputRefused for a negative quantity, a reported cost in another spelling than money has, and a total
        of 10^15 USD or more.
        """
        if reported_cost_usd is not None:
            usd_to_pico(reported_cost_usd)
        if not usage_known:
            return self._without_total(reported_cost_usd, "unknown", [], [], None)
        if not usage:
            return {"total_usd": "0", "state": "priced", "lines": [], "book": self.sha256}
        _, matched, sources = self._prices(provider, model, context)
        buckets, tier_buckets = _in_order(tuple(usage))
        input_total = 0
        for bucket in tier_buckets:
            input_total += usage[bucket]
        prices = _holding(sources, at_us, input_total)
        total_pico = 0
        lines: list[dict[str, Any]] = []
        missing = []
        for bucket in buckets:
            quantity = usage[bucket]
            if quantity < 0:
                raise InputRefused(f"the usage has {quantity} {bucket}: a quantity is not negative")
            price = prices.get(bucket)
            if quantity and price is not None:
                cost_pico = quantity * _price_pico(price)
                total_pico += cost_pico
                usd = pico_to_usd(cost_pico)
                lines.append({"bucket": bucket, "quantity": quantity, "usd_per_million": price, "usd": usd})
            elif quantity and bucket not in FREE_WITHOUT_PRICE:
                missing.append(bucket)
                lines.append({"bucket": bucket, "quantity": quantity})
        if missing:
            return self._without_total(reported_cost_usd, "unpriced", lines, missing, matched)
        cost = {"total_usd": pico_to_usd(total_pico), "state": "priced", "lines": lines, "book": self.sha256}
        return _with_matched(cost, matched)

    def _without_total(
        self,
        reported_cost_usd: str | None,
        state: str,
        lines: list[dict[str, Any]],
        missing: list[str],
        matched: dict[str, str] | None,
    ) -> dict[str, Any]:
        """A cost that the book cannot tell: the reported figure where there is one, else no total."""
        if reported_cost_usd is not None:
            line = {"bucket": "reported", "quantity": 1, "usd": reported_cost_usd}
            cost = {"total_usd": reported_cost_usd, "state": "reported", "lines": [line], "book": self.sha256}
            return _with_matched(cost, matched)
        for line in lines:
            line.pop("usd", None)
        cost = _with_matched({"state": state, "lines": lines, "book": self.sha256}, matched)
        if missing:
            cost["missing"] = missing
        return cost

    def _prices(self, provider: str, model: str, context: Mapping[str, str]) -> _Prices:
        key = (provider, model, tuple(context.items()))
        prices = self._kept.get(key)
        if prices is None:
            prices = self._find_prices(provider, model, context)
            if len(self._kept) >= MATCHES_KEPT_MAX:
                self._kept.clear()
            self._kept[key] = prices
        return prices

    def _find_prices(self, provider: str, model: str, context: Mapping[str, str]) -> _Prices:
        found = self.found(provider, model)
        if not found:
            return _Prices(None, None, [])
        match = found[0].match
        matched = match.told()
        chosen = self.chosen_context(found, provider, model, context)
        if chosen is None:
            return _Prices(match, matched, [])
        if chosen:
            matched["context"] = chosen
        return _Prices(match, matched, [_by_time(each.of_context(chosen)) for each in found])

    def found(self, provider: str, model: str) -> list[Found]:
        """All cells of a name, strongest first; none where no rule says what it means."""
        matches = self._matches(provider, model)
        return [
            Found(place, match, layer.cells(match.provider, match.model))
            for place, layer in enumerate(self._layers)
            for match in matches
        ]

    def chosen_context(
        self, found: Iterable[Found], provider: str, model: str, context: Mapping[str, str]
    ) -> str | None:
        """The context by whose cells, of those *found* under a name, a call is priced; None where none fits."""
        asked, _ = self._names.spellings(provider, model)
        offered = {"", *(cell.context for each in found for cell in each.offered())}
        return _choose_context(offered, *self._names.split_context(asked, context))

    def own_name(self, provider: str, model: str) -> tuple[str, str]:
        """A provider's id and a model's shortest name in lower case: under which a layer's own entry is found."""
        asked, spellings = self._names.spellings(provider, model)
        return asked, spellings[-1]

    def terms(self, provider: str, context: Mapping[str, str]) -> dict[str, str]:
        """A pricing context as layers have it: aliases resolved, values that change no price left out."""
        return self._names.terms(self.own_name(provider, "")[0], context)

    def models(self) -> list[tuple[str, str]]:
        """The provider and model of everything that has prices, in order."""
        return sorted({named for layer in self._layers for named in layer.models()})

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, strongest first."""
        return self._layers

    def _matches(self, provider: str, model: str) -> list[Match]:
        """What a name means: its own entry in a layer first, then what the table of names says."""
        asked, spellings = self._names.spellings(provider, model)
        named = self._names.find(provider, model)
        matches = [named] if named is not None else []
        for spelling in spellings:
            if named is not None and (named.provider, named.model) == (asked, spelling):
                break
            if any(layer.cells(asked, spelling) for layer in self._layers):
                rule = f"has prices as {spelling}" + (f", else {named.rule}" if named is not None else "")
                return [Match(asked, spelling, rule), *matches]
        return matches


def _choose_context(offered: Iterable[str], must: Mapping[str, str], may: Mapping[str, str]) -> str | None:
    """Of the contexts offered, all of the call's that it must have and nothing else, the one with most keys."""
    allowed = {**may, **must}
    fitting = []
    for context in offered:
        pairs = dict(pair.split("=", 1) for pair in context.split(",") if pair)
        if must.items() <= pairs.items() <= allowed.items():
            fitting.append((-len(pairs), context))
    return min(fitting)[1] if fitting else None


def _by_time(cells: Sequence[Cell]) -> Source:
    """Cells by the spans between all their boundaries; within a span the higher tiers first."""
    starts_us = sorted({instant for cell in cells for instant in (cell.valid_from_us, cell.valid_to_us)})
    by_tier = sorted(cells, key=lambda cell: -cell.input_over)
    spans = [tuple(cell for cell in by_tier if cell.valid_from_us <= start < cell.valid_to_us) for start in starts_us]
    return Source(starts_us, spans)


def _holding(sources: Iterable[Source], at_us: int, input_total: int) -> Mapping[str, str | None]:
    """The prices by bucket that hold for a request of this size at this instant."""
    days, minute = divmod(at_us // _MINUTE_US, DAY_MINUTES)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday, which is 3 from Monday
    cells = [
        cell.usd_per_million
        for starts_us, spans in sources
        if (place := bisect_right(starts_us, at_us)) > 0
        for cell in spans[place - 1]
        if cell.input_over < input_total
        and cell.minute_from <= minute < cell.minute_to
        and cell.weekdays[weekday] == "1"
    ]
    holding: dict[str, str | None] = {}
    for prices in reversed(cells):  # the strongest last, over all others
        holding.update(prices)
    return holding


@lru_cache(ORDERS_KEPT_MAX)
def _in_order(buckets: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Buckets as a cost tells them, and those of them by which a tier is chosen."""
    ordered = tuple(sorted(buckets, key=_place))
    return ordered, tuple(bucket for bucket in ordered if bucket in TIER_BUCKETS)


def _place(bucket: str) -> tuple[int, str]:
    return _PLACE.get(bucket, len(_PLACE)), bucket


def _with_matched(cost: dict[str, Any], matched: dict[str, str] | None) -> dict[str, Any]:
    if matched is not None:
        cost["matched"] = dict(matched)
    return cost
