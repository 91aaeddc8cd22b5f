"""What the commands of ``keledger prices`` are asked for: models, contexts, prices, spans of time."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

import click

from keledger.journal import PRICE_PATTERN, CurrentPrices, Home, NotFound, current_prices, report_zone
from keledger.journal.prices import ALWAYS_US, DAY_MINUTES, NAME_BYTES_MAX, Book, context_key
from keledger.journal.usage import BUCKETS

from ._instants import parse_instant

NEAR_SHOWN_MAX = 5

_PRICE = re.compile(PRICE_PATTERN)
_DECIMAL = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)
_PAIR = re.compile(r"([a-z][a-z0-9_]*)=([^,=\s]+)", re.ASCII)
_MINUTES = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Prices(NamedTuple):
    """The home's prices as a command finds them."""

    current: CurrentPrices
    book: Book
    zone: str


def open_prices(home: Home) -> Prices:
    """The current book, loaded, and the zone of times that are given without one.  Raises HomeError and others."""
    home.check()
    current = current_prices(home)
    return Prices(current, current.store.load_book(current.manifest.sha256), report_zone(home))


def split_name(text: str, book: Book) -> tuple[str, str]:
    """A provider's id and a model's name, lower-case, under which a layer has its prices: of ``PROVIDER/MODEL``.

    Raises click.BadParameter where no provider is named, or a name is too long.
    """
    provider, slash, model = text.partition("/")
    if not (slash and provider.strip() and model.strip()):
        named = sorted({found[0] for found in find_named(book, text)})
        hint = f", such as {named[0]}/{text}" if named else ", such as openai/gpt-5-mini"
        raise click.BadParameter(
            f"{text!r} names no provider and model: write PROVIDER/MODEL{hint}", param_hint="MODEL"
        )
    for name in (provider, model):
        if len(name.encode()) > NAME_BYTES_MAX:
            raise click.BadParameter(f"a name is at most {NAME_BYTES_MAX} bytes long", param_hint="MODEL")
    return book.own_name(provider, model)


def find_model(text: str, book: Book) -> tuple[str, str]:
    """A provider and model that the book knows: ``PROVIDER/MODEL``, or ``MODEL`` where only one provider has it.

    Raises NotFound that names what is near, or all who have it; click.BadParameter where there is no name.
    """
    if not text.strip():
        raise click.BadParameter(
            "the model's name is empty: give PROVIDER/MODEL, such as openai/gpt-5-mini", param_hint="MODEL"
        )
    provider, slash, model = text.partition("/")
    if slash and book.match(provider, model) is not None:
        return provider, model
    named = find_named(book, text)
    if len({(match_provider, match_model) for _, match_provider, match_model in named}) == 1:
        return named[0][0], text
    if named:
        told = ", ".join(sorted(f"{provider}/{text}" for provider, _, _ in named))
        raise NotFound(f"{text} has prices at several providers, say which one: {told}")
    near = near_names(text, book)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise NotFound(f"{text} has no price here, for no rule says which model it is{hint}")


def find_named(book: Book, model: str) -> list[tuple[str, str, str]]:
    """Who has a model of this name: the provider, and the provider and model that it is there."""
    named = []
    for provider in sorted({provider for provider, _ in book.models()}):
        match = book.match(provider, model)
        if match is not None and not match.by_fallback:
            named.append((provider, match.provider, match.model))
    return named


def near_names(text: str, book: Book) -> list[str]:
    """Models whose names are like this one, the most like first; only for showing: none is taken for another."""
    names = {f"{provider}/{model}": None for provider, model in book.models()}
    wanted = text.strip().lower()
    near = difflib.get_close_matches(wanted, names, n=NEAR_SHOWN_MAX, cutoff=0.7)
    if not near:
        by_model = {name.partition("/")[2]: name for name in names}
        bare = wanted.rpartition("/")[2]
        near = [by_model[name] for name in difflib.get_close_matches(bare, by_model, n=NEAR_SHOWN_MAX, cutoff=0.7)]
    return near


def parse_context(text: str, option: str = "--context") -> dict[str, str]:
    """``key=value,key=value`` as a map.  Raises click.BadParameter."""
    context: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        found = _PAIR.fullmatch(pair)
        if found is None or found[1] in context:
            raise click.BadParameter(
                f"{text!r} is no context: write key=value,key=value such as processing=batch, each key once",
                param_hint=option,
            )
        context[found[1]] = found[2]
    return context


def parse_terms(text: str, provider: str, book: Book) -> str:
    """A context in the spelling of a layer; empty for the standard terms."""
    return context_key(book.terms(provider, parse_context(text)))


def parse_price(text: str, option: str) -> str:
    """A price in USD per million units, in its one spelling.  Raises click.BadParameter that names *option*."""
    found = _DECIMAL.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        what = "is negative" if re.fullmatch(r"-[0-9.]+", text) else "is no plain number"
        raise click.BadParameter(
            f"{text!r} {what}: give USD per million units like 0.075, without sign, exponent or unit", param_hint=option
        )
    whole, fraction = found[1].lstrip("0") or "0", (found[2] or "").rstrip("0")
    price = f"{whole}.{fraction}" if fraction else whole
    if _PRICE.fullmatch(price) is None:
        what = "more than 6 decimals" if len(fraction) > 6 else "10^12 or more"
        raise click.BadParameter(f"{text!r} has {what}, which no price in USD per million units has", param_hint=option)
    return price


def check_bucket(bucket: str, option: str = "--price") -> str:
    """The bucket, if it is one.  Raises click.BadParameter that names those like it."""
    if bucket not in BUCKETS:
        near = difflib.get_close_matches(bucket, BUCKETS, n=2) or list(BUCKETS)
        raise click.BadParameter(f"{bucket!r} is no bucket of usage: there is {', '.join(near)}", param_hint=option)
    return bucket


def parse_span(since: str | None, until: str | None, zone: str) -> tuple[int, int]:
    """``--from`` and ``--to`` as half-open instants; a day begins at 0:00 UTC.  Raises click.BadParameter."""
    from_us = parse_instant(since, zone, "--from") if since is not None else -ALWAYS_US
    to_us = parse_instant(until, zone, "--to") if until is not None else ALWAYS_US
    if from_us >= to_us:
        raise click.BadParameter(f"{since or 'the beginning'} is not before {until}", param_hint="--from")
    return from_us, to_us


def parse_minutes(text: str) -> tuple[int, int]:
    """``00:30-08:30`` as minutes of the UTC day.  Raises click.BadParameter."""
    found = _MINUTES.fullmatch(text.strip())
    if found is not None and int(found[2]) < 60 and int(found[4]) < 60:
        start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        if start < end <= DAY_MINUTES:
            return start, end
        if max(start, end) <= DAY_MINUTES:
            raise click.BadParameter(
                f"{text!r} does not end later on the same UTC day: give what passes midnight as two prices, "
                "one until 24:00 and one from 00:00",
                param_hint="--minutes",
            )
    raise click.BadParameter(f"{text!r} are no minutes of the day: write them like 00:30-08:30", param_hint="--minutes")


def parse_weekdays(text: str) -> str:
    """``mon-fri`` or ``sat,sun`` as seven of 0 and 1 from Monday on.  Raises click.BadParameter."""
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = (name.strip()[:3] for name in part.partition("-"))
        if first not in _WEEKDAYS or (dash and last not in _WEEKDAYS):
            raise click.BadParameter(
                f"{text!r} are no weekdays: write them like mon-fri or sat,sun", param_hint="--weekdays"
            )
        start, end = _WEEKDAYS.index(first), _WEEKDAYS.index(last if dash else first)
        days.update(day % 7 for day in range(start, end + 1 if end >= start else end + 8))
    return "".join("1" if day in days else "0" for day in range(7))
