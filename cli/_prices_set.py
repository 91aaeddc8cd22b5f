"""``keledger prices set`` and ``unset``: prices of one's own, above all lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from keledger.journal import Adoption, Ledger, replaced_layer
from keledger.journal.prices import (
    DAY_MINUTES,
    EVERY_DAY,
    Cell,
    Selection,
    inherited_prices,
    set_price,
    unset_prices,
    user_cells,
    user_layer,
)

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._prices_adopting import adopt_shown, change_options
from ._prices_asked import (
    Prices,
    check_bucket,
    near_names,
    open_prices,
    parse_minutes,
    parse_price,
    parse_span,
    parse_terms,
    parse_weekdays,
    split_name,
)

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_BUCKETS: Mapping[str, str] = {
    "--input": "input_uncached",
    "--output": "output_text",
    "--cache-read": "cache_read",
    "--cache-write": "cache_write_5m",
    "--cache-write-1h": "cache_write_1h",
    "--reasoning": "output_reasoning",
    "--request": "requests",
}
"""The options that give the price of one bucket."""

_MEANINGS = {
    "--input": "Input tokens.  Cache reads and writes too, where no list has a price for these.",
    "--output": "Output tokens.  Reasoning too, unless --reasoning is given.",
    "--cache-read": "Input tokens that are read from a cache.",
    "--cache-write": "Input tokens that are written to a cache for five minutes.",
    "--cache-write-1h": "Input tokens that are written to a cache for an hour.",
    "--reasoning": "Reasoning tokens.",
    "--request": "Requests, in USD a million as well: 10000 is a cent each.",
}


def _price_options(function: _Decorated) -> _Decorated:
    """An option for each of the usual buckets."""
    for option, bucket in reversed(list(_BUCKETS.items())):
        function = click.option(option, bucket, metavar="USD", help=_MEANINGS[option])(function)
    return function


def _span_options(function: _Decorated) -> _Decorated:
    since = click.option(
        "--from",
        "since",
        metavar="DAY|TIME",
        help="From then on: a day (from 0:00 UTC), or a time with its offset; without one it is of the report's zone.",
    )
    until = click.option("--to", "until", metavar="DAY|TIME", help="Until before then.")
    return since(until(function))


@command(
    name="set",
    examples=(
        "keledger prices set openai/gpt-5-mini --input 0.2 --output 1.6 --from 2026-11-01 --reason 'our contract'",
        "keledger prices set openai/gpt-5-mini --input 0.1 --context processing=batch --reason 'our contract'",
        "keledger prices set acme/house-model --input 0 --output 0 --reason 'runs on our own machines'",
        "keledger prices set openai/gpt-5 --price web_searches=8000 --reason 'our contract' --dry-run",
    ),
)
@click.argument("model", metavar="PROVIDER/MODEL")
@_price_options
@click.option(
    "--price",
    "others",
    metavar="BUCKET=USD",
    multiple=True,
    help="Any bucket, per million of its units: input_audio_ms=…, web_searches=10000.  May be given again.",
)
@_span_options
@click.option("--context", "terms", metavar="KEY=VALUE,…", default="", help="For such calls: processing=batch.")
@click.option(
    "--over",
    type=click.IntRange(0, 2**53 - 1),
    metavar="TOKENS",
    help="For requests with strictly more input tokens; the whole request is at this price.",
)
@click.option("--minutes", metavar="HH:MM-HH:MM", help="At these minutes of the UTC day.")
@click.option("--weekdays", metavar="DAYS", help="On these weekdays of UTC: mon-fri, or sat,sun.")
@click.option("--replace", is_flag=True, help="Cut prices of yours that hold there already, instead of refusing.")
@change_options
@common_options
@pass_settings
def set_prices(
    settings: Settings,
    /,
    model: str,
    others: tuple[str, ...],
    since: str | None,
    until: str | None,
    terms: str,
    over: int | None,
    minutes: str | None,
    weekdays: str | None,
    replace: bool,
    reason: str,
    yes: int,
    dry_run: bool,
    **usual: str | None,
) -> None:
    """Set a price of your own.

    It is in USD per million units, one that was negotiated or that no list has.  It stands above all lists, bucket by
    bucket: what is not given keeps the price that it has.  0 is free of charge.  The new book prices new calls only;
    what is journaled follows with `keledger replay --reprice`.
    """
    prices = open_prices(settings.home)
    provider, name = split_name(model, prices.book)
    given = _given_prices(usual, others)
    valid_from_us, valid_to_us = parse_span(since, until, prices.zone)
    minute_from, minute_to = parse_minutes(minutes) if minutes is not None else (0, DAY_MINUTES)
    cell = Cell(
        provider,
        name,
        parse_terms(terms, provider, prices.book),
        given,
        valid_from_us,
        valid_to_us,
        minute_from,
        minute_to,
        parse_weekdays(weekdays) if weekdays is not None else EVERY_DAY,
        over if over is not None else -1,
        source=reason,
        date=_today(),
    )
    own = user_cells(*prices.current)
    weaker = _weaker_buckets(prices, cell)
    cell = cell._replace(usd_per_million=inherited_prices(given, own, weaker, cell))
    there_already = any(each._replace(date=cell.date) == cell for each in own)
    changed = own if there_already else set_price(own, cell, replace=replace)
    with Ledger.open(settings.home_folder) as ledger:
        adopt_shown(
            settings,
            ledger,
            prices.current,
            _adoption(prices, own, changed),
            report="prices_set",
            reason=reason,
            yes=yes,
            dry_run=dry_run,
            shown={"provider": provider, "model": name},
            lines=[*_told_inherited(cell, given), *_told_staying(weaker, cell), *_told_unknown(prices, cell)],
        )


@command(
    name="unset",
    examples=(
        "keledger prices unset openai/gpt-5-mini --reason 'the contract has ended'",
        "keledger prices unset openai/gpt-5-mini --price cache_read --from 2026-12-01 --reason 'the contract ends'",
    ),
)
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--price", "buckets", metavar="BUCKET", multiple=True, help="Only of this bucket.  May be given again.")
@_span_options
@click.option(
    "--context", "terms", metavar="KEY=VALUE,…", help="Only for such calls; empty, for those on standard terms."
)
@click.option("--over", type=click.IntRange(0, 2**53 - 1), metavar="TOKENS", help="Only of this tier.")
@change_options
@common_options
@pass_settings
def unset(
    settings: Settings,
    model: str,
    buckets: tuple[str, ...],
    since: str | None,
    until: str | None,
    terms: str | None,
    over: int | None,
    reason: str,
    yes: int,
    dry_run: bool,
) -> None:
    """Take back prices that you have set, so that the lists' hold again.

    What is not named is no condition: without options it is all that was set for the model.
    """
    prices = open_prices(settings.home)
    provider, name = split_name(model, prices.book)
    selection = Selection(
        provider,
        name,
        frozenset(check_bucket(bucket) for bucket in buckets),
        parse_terms(terms, provider, prices.book) if terms is not None else None,
        over,
        *parse_span(since, until, prices.zone),
    )
    own = user_cells(*prices.current)
    left, _ = unset_prices(own, selection)
    with Ledger.open(settings.home_folder) as ledger:
        adopt_shown(
            settings,
            ledger,
            prices.current,
            _adoption(prices, own, left),
            report="prices_unset",
            reason=reason,
            yes=yes,
            dry_run=dry_run,
            shown={"provider": provider, "model": name},
        )


def _adoption(prices: Prices, own: Collection[Cell], changed: Collection[Cell]) -> Adoption:
    """The book with the user's cells changed; the same one where they are not."""
    manifest = prices.current.manifest
    if tuple(changed) == tuple(own):
        return Adoption(manifest, {})
    return replaced_layer(manifest, "user", user_layer(tuple(changed), _today()), "")


def _given_prices(usual: Mapping[str, str | None], others: Collection[str]) -> dict[str, str]:
    """The prices by bucket.  Raises click.UsageError for none, click.BadParameter for one that is wrong or twice."""
    given: dict[str, str] = {}
    for option, bucket in _BUCKETS.items():
        text = usual[bucket]
        if text is not None:
            given[bucket] = parse_price(text, option)
    for pair in others:
        bucket, equals, text = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not like web_searches=10000", param_hint="--price")
        if check_bucket(bucket) in given:
            raise click.BadParameter(f"the price of {bucket} is given twice", param_hint="--price")
        given[bucket] = parse_price(text, "--price")
    if not given:
        raise click.UsageError("no price is given: give --input, --output or another one", click.get_current_context())
    return given


def _weaker_buckets(prices: Prices, cell: Cell) -> dict[str, str]:
    """The buckets that have a price on these terms in a weaker layer, and the name of the strongest of those."""
    layers = prices.current.manifest.layers
    found = prices.book.found(cell.provider, cell.model)
    held = {
        bucket: layers[each.place].name
        for each in reversed(found)
        if layers[each.place].kind != "user"
        for other in each.of_context(cell.context)
        for bucket, price in other.usd_per_million.items()
        if price is not None
    }
    return dict(sorted(held.items()))


def _told_inherited(cell: Cell, given: Mapping[str, str]) -> Iterator[str]:
    inherited = [f"{bucket} {price}" for bucket, price in cell.usd_per_million.items() if bucket not in given]
    if inherited:
        yield f"Follow from what is given: {', '.join(inherited)}."


def _told_staying(weaker: Mapping[str, str], cell: Cell) -> Iterator[str]:
    staying: dict[str, list[str]] = {}
    for bucket, layer in weaker.items():
        if bucket not in cell.usd_per_million:
            staying.setdefault(layer, []).append(bucket)
    for layer, buckets in staying.items():
        yield f"Stay as {layer} has them: {', '.join(buckets)}."


def _told_unknown(prices: Prices, cell: Cell) -> Iterator[str]:
    """Where no rule says which model is meant, it may be misspelled; else, that other names of it are not meant."""
    match = prices.book.match(cell.provider, cell.model)
    name = f"{cell.provider}/{cell.model}"
    if match is None:
        near = near_names(name, prices.book)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        yield f"No list knows {name}: only calls that name it just so have this price{hint}"
    elif (match.provider, match.model) != (cell.provider, cell.model):
        yield f"Only calls that name {name} have this price; {match.provider}/{match.model} keeps its own."


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
