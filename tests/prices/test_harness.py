"""Three ways to one figure: the SQL of the projections, ``Book.price``, and genai-prices, on more than 60,000 calls.

Every model in every context of the list is drawn again and again, at and beside the edges of its prices in time, in
the day, in the week and in size, with the buckets that have a price in the list.  The calls are journaled and priced
by the basis ``latest``, as a report prices them, by the book that is shipped.

SQL and Python must agree on every call.  genai-prices must agree to the last picodollar but for the models that
``differences.txt`` names, each under the reason for it; one that agrees after all must not be named there.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Home, Ledger, format_time, usd_to_pico
from keledger.journal.prices import BUCKETS, Book, Cell, context_key, parse_layer, shipped_book, shipped_manifest
from keledger.projections import open_projection
from keledger.projections._basis import parse_basis
from tests.projections.support import append, call

from .genai import CASES, EPOCH, MICROSECOND, OTHERS, TOKENS, edges, offered, rounded, theirs

DRAWS = 26
"""Of each model and context; 2,559 of them make 66,000 calls, of which more than 60,000 have a price."""

EXACT = Context(prec=60)
FIRST_DAY, DAYS = datetime(2025, 1, 1, tzinfo=EPOCH.tzinfo), 3 * 365
WHISPER_LEAST_MS = 10_000
DIFFERENCES = Path(__file__).with_name("differences.txt")

CORRECTED = "corrected"
ARTEFACT = "float artefact"
BY_THE_HOUR = "audio by the hour"
LEAST = "least duration"
EMPTY = "empty price set"
CONTEXT = "context without a price yet"


class Draw(NamedTuple):
    """One call: a model and context by their place among the cases, a usage, and when it began."""

    case: int
    usage: dict[str, int]
    at_us: int

    @property
    def name(self) -> str:
        """As the differences name it."""
        provider, model, context = CASES[self.case]
        return " ".join([provider.id, model.id, *([context_key(context)] if context else [])])


class Priced(NamedTuple):
    """What a call costs: picodollars only where the state is ``priced``."""

    state: str
    pico: int | None


@dataclass
class Compared:
    """What the calls said: how many of each state, and the names of those where genai-prices says otherwise."""

    states: Counter[str] = field(default_factory=Counter)
    differences: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


@cache
def listed() -> dict[str, set[str]]:
    """The file of differences: reasons, and the names under each."""
    found: dict[str, set[str]] = {}
    for line in DIFFERENCES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found[line.removeprefix("## ")] = set()
        elif line.startswith("- "):
            names = found[list(found)[-1]]
            assert line[2:] not in names, f"named twice: {line}"
            names.add(line[2:])
    return found


@cache
def cells() -> Mapping[tuple[str, str], Sequence[Cell]]:
    """All cells of the shipped layers by provider and model."""
    by_model = defaultdict(list)
    _, files = shipped_book()
    for layer in shipped_manifest().layers:
        for cell in parse_layer(files[layer.sha256])[1]:
            by_model[cell.provider, cell.model].append(cell)
    return by_model


@cache
def where_prices_change(place: int) -> tuple[list[int], list[int], list[int], list[str]]:
    """Instants, minutes of day and sizes at which prices of a case change, and the buckets that have any."""
    provider, model, context = CASES[place]
    days, times, sizes = edges(model)
    mine = cells().get((provider.id, model.id), ())
    instants = {(day - EPOCH) // MICROSECOND for day in days}
    instants |= {instant for cell in mine for instant in (cell.valid_from_us, cell.valid_to_us) if abs(instant) < 2**61}
    minutes = {time // timedelta(minutes=1) for time in times}
    minutes |= {minute for cell in mine for minute in (cell.minute_from, cell.minute_to)}
    buckets = {bucket for cell in mine if cell.context in ("", context_key(context)) for bucket in cell.usd_per_million}
    sizes |= {cell.input_over for cell in mine if cell.input_over > 0}
    return (
        sorted(instants),
        sorted(minutes),
        sorted(sizes),
        [name for name in BUCKETS if name in buckets - {"requests"}],
    )


def draw_call(draw: random.Random, place: int) -> Draw:
    """A call of one case, at an edge of its prices or anywhere."""
    instants, minutes, sizes, priced = where_prices_change(place)
    at_us = (FIRST_DAY - EPOCH) // MICROSECOND + draw.randrange(DAYS * 24 * 3600 * 10**6)
    kind = draw.random()
    if kind < 0.4 and instants:
        at_us = draw.choice(instants) + draw.choice((-1, 0, 1))
    elif kind < 0.7:
        day_us = 24 * 3600 * 10**6
        at_us += draw.choice(minutes or [0]) * 60 * 10**6 - at_us % day_us + draw.choice((-1, 0, 1))
    chosen = priced if priced and draw.random() < 0.95 else [*TOKENS, *OTHERS]
    buckets = draw.sample(chosen, draw.randint(1, min(4, len(chosen))))
    usage = {bucket: draw.choice((1, draw.randrange(1, 1000), draw.randrange(1, 10**6))) for bucket in buckets}
    inputs = [bucket for bucket in buckets if bucket in TOKENS[:8]]
    if sizes and inputs and draw.random() < 0.7:
        left = draw.choice(sizes) + draw.choice((-1, 0, 1))
        for bucket in inputs[1:]:
            usage[bucket] = draw.randrange(1, left // len(inputs))
            left -= usage[bucket]
        usage[inputs[0]] = left
    return Draw(place, usage, at_us)


def priced_by_sql(home: Home, draws: Sequence[Draw]) -> Iterator[Priced]:
    """Journal the calls, and ask a projection what they cost by the home's book."""
    with Ledger.open(home.path) as ledger:
        ledger.record(provider="openai", model="gpt-5-mini", usage={"requests": 1})  # adopts the shipped book
    append(home, *(event(number, each) for number, each in enumerate(draws)))
    with open_projection(home) as projection:
        projection.price_by(parse_basis("latest", "UTC"))
        assert projection.book == shipped_manifest().sha256
        rows = projection.query(
            "SELECT CAST(client_call_id AS BIGINT) AS number, cost_state, cost_pico FROM call_fact "
            "WHERE client_call_id IS NOT NULL ORDER BY number"
        )
    assert [number for number, _, _ in rows] == list(range(len(draws)))
    return (Priced(state, None if pico is None else int(pico)) for _, state, pico in rows)


def event(number: int, each: Draw) -> Any:
    """The journaled call of a draw, without a cost."""
    provider, model, context = CASES[each.case]
    return call(
        number,
        client_call_id=str(number),
        provider=provider.id,
        model=model.id,
        started_at=format_time(each.at_us),
        usage={**each.usage, "requests": 1},
        cost={"state": "unknown", "lines": []},
        **({"pricing_context": dict(context)} if context else {}),
    )


def by_book(book: Book, each: Draw) -> dict[str, Any]:
    """What a draw costs by ``Book.price``."""
    provider, model, context = CASES[each.case]
    usage = {**each.usage, "requests": 1}
    return book.price(provider=provider.id, model=model.id, usage=usage, at_us=each.at_us, context=context)


def compare(home: Home, draws: Sequence[Draw], shipped: Book, list_only: Book) -> Compared:
    """Price all draws in the three ways.  Raises AssertionError for a difference that has no reason."""
    compared = Compared()
    for each, by_sql in zip(draws, priced_by_sql(home, draws), strict=True):
        cost = by_book(shipped, each)
        total = cost.get("total_usd")
        assert by_sql == Priced(cost["state"], None if total is None else usd_to_pico(total)), each
        compared.states[cost["state"]] += 1
        reason = why_different(each, cost, list_only)
        if reason is not None:
            compared.differences[reason].add(each.name)
    return compared


def why_different(each: Draw, cost: Mapping[str, Any], list_only: Book) -> str | None:
    """The reason for which genai-prices says otherwise; None where it says the same, or where neither has a price."""
    provider, model, context = CASES[each.case]
    instant = EPOCH + each.at_us * MICROSECOND
    at_genai = theirs(provider, model, each.usage, instant, context)
    if cost["state"] == "priced" and Decimal(cost["total_usd"]) == at_genai:
        return None
    by_list = by_book(list_only, each)
    if by_list.get("total_usd") != cost.get("total_usd"):
        why_different(each, by_list, list_only)  # the list alone has nothing but the other reasons
        return CORRECTED
    if cost["state"] == "unpriced":
        return why_unpriced(each, by_list, instant)
    off_grid = {bucket for bucket in each.usage if (provider.id, model.id, bucket) in rounded()}
    if provider.id == "groq" and each.usage.get("input_audio_ms", WHISPER_LEAST_MS) < WHISPER_LEAST_MS:
        return LEAST
    slack = sum(each.usage[bucket] for bucket in off_grid) * Decimal("0.5e-12")
    assert 0 < abs(EXACT.subtract(Decimal(cost["total_usd"]), at_genai)) <= slack, (each, cost, at_genai)
    return BY_THE_HOUR if off_grid == {"input_audio_ms"} else ARTEFACT


def why_unpriced(each: Draw, cost: Mapping[str, Any], instant: datetime) -> str | None:
    """The reason for which a call is unpriced here; None where genai-prices leaves its missing buckets out, too."""
    provider, model, context = CASES[each.case]
    if context and not offered(model, context, instant):
        assert cost["missing"] == [bucket for bucket in BUCKETS if bucket in each.usage], each
        return CONTEXT
    if (provider.id, model.id) not in cells():
        assert theirs(provider, model, each.usage, instant, context) == 0, each
        return EMPTY
    fee = theirs(provider, model, {}, instant, context)
    for line in (line for line in cost["lines"] if line["bucket"] != "requests"):
        counts_nothing = theirs(provider, model, {line["bucket"]: 10**9}, instant, context) == fee
        assert counts_nothing == (line.get("usd_per_million", "0") == "0"), (each, line)
    return None


def every_case(seed: object) -> Iterable[Draw]:
    """The same number of calls of each case, but more of those that corrections bear on, which have many edges."""
    for place, (provider, model, context) in enumerate(CASES):
        draw = random.Random(f"{seed} {provider.id} {model.id} {context_key(context)}")
        is_corrected = any(cell.source is not None for cell in cells().get((provider.id, model.id), ()))
        for _ in range(DRAWS * (20 if is_corrected else 1)):
            yield draw_call(draw, place)


@pytest.mark.exhaustive
def test_sixty_thousand_calls(home: Home, shipped: Book, list_only: Book) -> None:
    compared = compare(home, list(every_case(1)), shipped, list_only)
    assert compared.states["priced"] >= 60_000
    assert dict(compared.differences) == listed()


@pytest.mark.exhaustive
@settings(deadline=None, database=None, max_examples=4)
@given(seed=st.integers(0, 2**64))
def test_other_calls(tmp_path_factory: pytest.TempPathFactory, shipped: Book, list_only: Book, seed: int) -> None:
    """By other seeds each time: no difference that is not named."""
    draw = random.Random(seed)
    draws = [draw_call(draw, draw.randrange(len(CASES))) for _ in range(1_500)]
    home = Home.at(tmp_path_factory.mktemp("harness") / "home")
    for reason, names in compare(home, draws, shipped, list_only).differences.items():
        assert names <= listed()[reason], reason


def test_few_differences_are_float_artefacts() -> None:
    assert list(listed()) == [CORRECTED, EMPTY, CONTEXT, ARTEFACT, BY_THE_HOUR, LEAST]
    assert len(listed()[ARTEFACT]) <= 28
