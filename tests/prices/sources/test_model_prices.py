"""model-prices' snapshot: its history, tiers, modes and hours, held to its own rules at random instants."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from keledger.journal._errors import InputRefused
from keledger.journal.prices import Book
from keledger.journal.prices.sources import Terms, read_price_list

from .conftest import NAMES, TODAY, book_of, excerpt, ones, prices_of, read

SNAPSHOT: dict[str, Any] = json.loads(excerpt("model_prices"), parse_float=Decimal)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PROVIDERS = {"xai": "x-ai"}
CONTEXTS = {
    "standard": "", "batch": "processing=batch", "flex": "service_tier=flex", "thinking": "thinking=on",
    "ultrafast": "service_tier=ultrafast",
}  # fmt: skip
USAGE = "input_uncached cache_read cache_write_5m cache_write_1h output_text output_reasoning"


def factor_at(provider: str, model: str, at: datetime) -> Decimal:
    """By what the rates are multiplied at an instant."""
    for schedule in SNAPSHOT["schedules"]["schedule"]:
        begin = datetime.fromisoformat(schedule["valid_from"])
        end = datetime.fromisoformat(schedule.get("valid_until", "9999-01-01T00:00:00Z"))
        if schedule["provider"] != provider or not begin <= at < end:
            continue
        clock = f"{at:%H:%M}"
        windows = schedule.get("off_peak_hours_utc") or schedule["peak_hours_utc"]
        inside = any(a <= clock < b if a <= b else clock >= a or clock < b for a, b in windows)
        if "off_peak_hours_utc" in schedule:
            return Decimal(schedule["off_peak_multiplier"].get(model, 1)) if inside else Decimal(1)
        calendar = SNAPSHOT["schedules"]["holidays"][schedule["holidays"]]
        local = (at + timedelta(hours=calendar["utc_offset_hours"])).date().isoformat()
        peak = inside and at.weekday() < 5 and local not in calendar["dates"]
        return Decimal(schedule["peak_multiplier"]) if peak else Decimal(1)
    return Decimal(1)


def naive(provider: str, model: str, mode: str, at: datetime, size: int) -> dict[str, Decimal]:
    """USD per million tokens by bucket, as the package documents its lookup; nothing where the mode was not sold."""
    items = SNAPSHOT["prices"][provider][model][mode]
    rates = next(
        item["rates"]
        for n, item in reversed(list(enumerate(items)))
        if n == 0 or datetime.fromisoformat(item["start"]) <= at
    )
    if rates is None:
        return {}
    held = {key: rates.get(key) for key in ("input", "output", "cache_read", "cache_write")}
    for tier in rates.get("tiers", ()):
        if size > tier["above"]:
            held.update({key: value for key, value in tier.items() if key != "above"})
    read_price = held["cache_read"] if held["cache_read"] is not None else held["input"]
    write = held["cache_write"] if held["cache_write"] is not None else held["input"]
    multiple = rates.get("cache_write_1h_multiple")
    by_bucket = {
        "input_uncached": held["input"],
        "cache_read": read_price,
        "cache_write_5m": write,
        "cache_write_1h": held["input"] * multiple if multiple is not None else write,
        "output_text": held["output"],
        "output_reasoning": held["output"],
    }
    factor = factor_at(provider, model, at)
    return {bucket: Decimal(price) * factor for bucket, price in by_bucket.items()}


def edges() -> list[datetime]:
    """Instants at which some price changes."""
    found = {
        datetime.fromisoformat(item["start"])
        for models in SNAPSHOT["prices"].values()
        for modes in models.values()
        for items in modes.values()
        for item in items[1:]
    }
    calendar = SNAPSHOT["schedules"]["holidays"]["cn"]
    for text in calendar["dates"]:
        day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        found |= {
            day - timedelta(hours=8),
            day + timedelta(hours=16),
            day + timedelta(hours=1),
            day + timedelta(hours=10),
        }
    for schedule in SNAPSHOT["schedules"]["schedule"]:
        found |= {datetime.fromisoformat(schedule[key]) for key in ("valid_from", "valid_until") if key in schedule}
    return sorted(found)


INKLINGS = ("inkling", "thinkingmachines/Inkling")
"""Two names of one model, at other prices."""

SERIES = [
    (provider, model, mode)
    for provider, models in SNAPSHOT["prices"].items()
    for model, modes in models.items()
    for mode in modes
    if (provider, model) not in {("google", "gemma-3-4b-it"), *(("thinkingmachines", name) for name in INKLINGS)}
]


@pytest.mark.parametrize("provider", sorted({series[0] for series in SERIES}))
def test_every_price_at_every_kind_of_instant_is_the_sources_own(model_prices: Book, provider: str) -> None:
    draw = random.Random(provider)
    beginnings = edges()
    week = datetime(2026, 9, 21, tzinfo=UTC)
    for of, model, mode in SERIES:
        if of != provider:
            continue
        context = "speed=fast" if (of, mode) == ("anthropic", "fast") else CONTEXTS.get(mode, f"service_tier={mode}")
        instants = draw.choices(beginnings, k=12) + [
            week + timedelta(minutes=draw.randrange(21 * 1440)) for _ in range(12)
        ]
        sizes = [
            tier["above"]
            for item in SNAPSHOT["prices"][of][model][mode]
            for tier in (item["rates"] or {}).get("tiers", ())
        ] or [1000]
        for instant in instants:
            at = instant - draw.choice((0, 1)) * MICROSECOND
            size = draw.choice(sizes) + draw.choice((0, 1))
            name = f"{PROVIDERS.get(of, of)}/{model.lower()}"
            told = prices_of(model_prices, name, ones(USAGE, size), (at - EPOCH) // MICROSECOND, context)
            expected = naive(of, model, mode, at, size)
            # What the source has as floats may lie a last digit off the grid; the notes name it.
            assert {bucket: price is not None for bucket, price in told.items()} == dict.fromkeys(told, bool(expected))
            for bucket, price in expected.items():
                assert abs(Decimal(told[bucket] or "-1") - price) <= Decimal("0.0000005"), (name, mode, at, size)


def test_the_deepseek_hours_spare_weekends_and_holidays(model_prices: Book) -> None:
    def price(at: str) -> str | None:
        return prices_of(model_prices, "deepseek/deepseek-v4-pro", ones("input_uncached"), at)["input_uncached"]

    assert price("2026-09-24T02:00:00Z") == "1.32"
    assert price("2026-09-24T04:00:00Z") == "0.66"
    assert price("2026-09-25T02:00:00Z") == "0.66"  # a holiday
    assert price("2026-09-26T02:00:00Z") == "0.66"  # a Saturday
    assert price("2026-10-08T02:00:00Z") == "1.32"


def test_a_holiday_begins_at_the_midnight_of_its_calendar() -> None:
    """At 16:00 UTC it is the next day already where the calendar is kept."""
    raw = snapshot({})
    raw["schedules"] = {
        "holidays": {"cn": {"dates": ["2026-10-01", "2026-10-02"], "utc_offset_hours": 8}},
        "schedule": [
            {
                "provider": "good", "valid_from": "2026-01-01T00:00:00Z", "holidays": "cn",
                "peak_hours_utc": [["14:00", "18:00"]], "peak_multiplier": 2.5,
            }
        ],
    }  # fmt: skip
    book = book_of(read(raw))
    for at, usd in (
        ("2026-09-30T13:59:59.999999Z", "1"),
        ("2026-09-30T14:00:00Z", "2.5"),
        ("2026-09-30T16:00:00Z", "1"),
        ("2026-10-02T15:59:59.999999Z", "1"),
        ("2026-10-02T16:00:00Z", "2.5"),
        ("2026-10-03T15:00:00Z", "2.5"),  # a Saturday, on which this schedule has its peaks as well
    ):
        assert prices_of(book, "good/one", ones("input_uncached"), at) == {"input_uncached": usd}, at


def test_the_price_of_pictures_is_not_taken_for_that_of_text() -> None:
    """Where a weaker layer tells pictures from text; there is one output price in the snapshot."""
    layer = read_price_list(
        json.dumps(snapshot({})).encode(),
        NAMES,
        Terms(),
        today=TODAY,
        priced_apart=lambda _provider, model, _context: {"output_image"} if model == "one" else set(),
    )
    told = [prices_of(book_of(layer), name, ones("input_uncached output_text")) for name in ("good/one", "acme/bad")]
    assert told == [{"input_uncached": "1", "output_text": None}, {"input_uncached": "1", "output_text": "2"}]
    assert layer.notes.skipped == ["good one: its output price is that of what it draws or films"]


def test_what_the_snapshot_cannot_tell_is_listed() -> None:
    layer = read(excerpt("model_prices"))
    assert layer.header.date == "2026-10-26"
    assert layer.notes.skipped == [
        "meta muse-wonder-full-1.0: an estimate, no price",
        "google gemma-3-4b-it standard: every price is 0, which may be free or not known",
    ]
    assert layer.notes.contested == [
        "thinkingmachines inkling: inkling and thinkingmachines/Inkling are one model here, at other prices (always)"
    ]
    assert "inkling" not in {cell.model for cell in layer.cells}
    assert "x-ai grok-4.5 processing=batch output_text 4.800000000000001 -> 4.8" in layer.notes.rounded


def test_only_text_is_priced(model_prices: Book) -> None:
    told = prices_of(model_prices, "google/gemini-2.5-flash", ones("input_audio input_image output_image web_searches"))
    assert set(told.values()) == {None}


def snapshot(change: Mapping[str, Any]) -> dict[str, Any]:
    rates = {"input": 1, "output": 2}
    return {
        "schema": 1, "updated_at": "2026-11-01T00:00:00Z", "models_dev": {},
        "prices": {
            "acme": {"bad": {"standard": [{"start": None, "rates": {**rates, **change}}]}},
            "good": {"one": {"standard": [{"start": None, "rates": rates}]}},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"input": "dear"},
        {"tiers": [{"input": 2}]},
        {"tiers": 7},
        {"cache_write_1h_multiple": "twice"},
        {"input": None},
    ],
)
def test_a_model_that_cannot_be_read_does_not_take_the_others_along(change: dict[str, Any]) -> None:
    layer = read(snapshot(change))
    taken = {(cell.provider, cell.model) for cell in layer.cells}
    if change == {"input": None}:
        assert ("good", "one") in taken
    else:
        assert taken == {("good", "one")}
        assert len(layer.notes.skipped) == 1


def rows(*told: tuple[str | None, int | None]) -> list[dict[str, Any]]:
    """The beginnings of rows, and their prices for input; None: not sold."""
    return [{"start": start, "rates": {"input": usd, "output": 2} if usd else None} for start, usd in told]


FEBRUARY, MARCH, APRIL = (f"2026-0{month}-01T00:00:00Z" for month in (2, 3, 4))


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (rows((None, 1), (MARCH, 2), (MARCH, 3)), "from 2026-03-01 and, after them in the file, from 2026-03-01"),
        (rows((None, 1), (MARCH, 2), (FEBRUARY, 2)), "from 2026-03-01 and, after them in the file, from 2026-02-01"),
        (rows((MARCH, 1), (FEBRUARY, 2)), "from 2026-03-01 and, after them in the file, from 2026-02-01"),
        (rows((None, 1), (None, 2)), "always and, after them in the file, always"),
        (rows((None, 1), (MARCH, 2), (MARCH, None)), "from 2026-03-01 and, after them in the file, from 2026-03-01"),
    ],
    ids=range(5),
)
def test_rows_that_hold_at_once_refuse_the_file(items: list[dict[str, Any]], told: str) -> None:
    raw = snapshot({})
    raw["prices"]["acme"]["bad"]["batch"] = items
    with pytest.raises(InputRefused) as caught:
        read(raw)
    assert str(caught.value) == (
        f"the file has two prices for the same time, those of acme/bad processing=batch {told}: leave one of them out"
    )


def test_a_row_twice_is_one() -> None:
    raw = snapshot({})
    raw["prices"]["acme"]["bad"]["standard"] = rows((None, 1), (MARCH, 2), (MARCH, 2))
    assert {cell.usd_per_million["input_uncached"] for cell in read(raw).cells if cell.model == "bad"} == {"1", "2"}


def test_of_two_names_of_one_model_neither_is_taken_while_they_differ() -> None:
    raw = snapshot({})
    raw["prices"]["acme"] = {
        "new": {"standard": rows((None, 1), (FEBRUARY, 2), (MARCH, 3), (APRIL, None)), "batch": rows((None, 5))},
        "acme/New": {"standard": rows((None, 1), (FEBRUARY, 4), (MARCH, 3), ("2026-05-01T00:00:00Z", 6))},
    }
    layer = read(raw)
    book = book_of(layer)
    for at, usd in (
        ("2026-01-31T23:59:59.999999Z", "1"),
        ("2026-02-01T00:00:00Z", None),
        ("2026-02-28T23:59:59.999999Z", None),
        ("2026-03-01T00:00:00Z", "3"),
        ("2026-04-15T00:00:00Z", "3"),
        ("2026-05-01T00:00:00Z", "6"),
    ):
        assert prices_of(book, "acme/new", ones("input_uncached"), at) == {"input_uncached": usd}, at
    assert prices_of(book, "acme/new", ones("input_uncached"), context="processing=batch") == {"input_uncached": "5"}
    assert layer.notes.contested == [
        "acme new: new and acme/New are one model here, at other prices (from 2026-02-01, until 2026-03-01)"
    ]


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputRefused, match="of schema 2: only 1 can be read"):
        read({**snapshot({}), "schema": 2})
