"""llm-prices in its three forms: a history by days, a current list without dates, a vendor's file."""

from __future__ import annotations

import re
from typing import Any

import pytest

from keledger.journal._errors import InputRefused

from .conftest import book_of, ones, prices_of, read

TEXT = "input_uncached cache_read output_text"


def price(name: str, vendor: str = "openai", **fields: Any) -> dict[str, Any]:
    return {"id": name, "vendor": vendor, "name": name, "input": 2, "output": 8.5, "input_cached": 0.25, **fields}


def dated(name: str, since: str | None, until: str | None, **fields: Any) -> dict[str, Any]:
    return price(name, from_date=since, to_date=until, **fields)


def vendor_file(*prices: dict[str, Any]) -> dict[str, Any]:
    models: dict[str, list[dict[str, Any]]] = {}
    for entry in prices:
        kept = {key: value for key, value in entry.items() if key not in ("id", "vendor", "name")}
        models.setdefault(entry["id"], []).append(kept)
    return {
        "vendor": prices[0]["vendor"],
        "models": [{"id": name, "name": name, "price_history": history} for name, history in models.items()],
    }


HISTORY = (dated("acme-1", "2026-08-01", None, input=1), dated("acme-1", None, "2026-08-01"))


@pytest.mark.parametrize("raw", [{"prices": list(HISTORY)}, vendor_file(*HISTORY)])
def test_a_history_keeps_its_days(raw: dict[str, Any]) -> None:
    book = book_of(read(raw))
    for at, usd in (("2024-01-01T00:00:00Z", "2"), ("2026-07-31T23:59:59.999999Z", "2"), ("2026-08-01T00:00:00Z", "1")):
        assert prices_of(book, "openai/acme-1", ones(TEXT), at) == {
            "input_uncached": usd,
            "cache_read": "0.25",
            "output_text": "8.5",
        }


def test_a_list_without_dates_holds_from_the_day_it_was_brought_up_to_date() -> None:
    layer = read({"updated_at": "2026-10-10", "prices": [price("acme-1")]})
    assert layer.header.date == "2026-10-10"
    book = book_of(layer)
    usage = ones("input_uncached")
    assert prices_of(book, "openai/acme-1", usage, "2026-10-09T23:59:59Z") == {"input_uncached": None}
    assert prices_of(book, "openai/acme-1", usage, "2026-10-10T00:00:00Z") == {"input_uncached": "2"}


def test_a_size_in_an_id_is_a_tier_of_the_model_beside_it() -> None:
    book = book_of(
        read({"prices": [price("acme-1"), price("acme-1-200k", input=4, input_cached=None), price("b-128k")]})
    )
    assert prices_of(book, "openai/acme-1", ones(TEXT, 200_000))["input_uncached"] == "2"
    assert prices_of(book, "openai/acme-1", ones(TEXT, 200_001)) == {
        "input_uncached": "4", "cache_read": "0.25", "output_text": "8.5",
    }  # fmt: skip
    assert prices_of(book, "openai/b-128k", ones("input_uncached")) == {"input_uncached": "2"}


def test_an_id_is_told_as_the_model_that_the_table_of_names_takes_it_for() -> None:
    """What people read as Claude 3.7 Sonnet is asked for by its dated id."""
    book = book_of(read({"prices": [price("claude-3.7-sonnet", "anthropic", input=3)]}))
    told = prices_of(book, "anthropic/claude-3-7-sonnet-20250219", ones("input_uncached"))
    assert told == {"input_uncached": "3"}


def test_of_two_ids_for_one_model_each_keeps_its_price() -> None:
    book = book_of(read({"prices": [price("gpt-5-2025-08-07", input=1), price("gpt-5", input=2)]}))
    assert prices_of(book, "openai/gpt-5", ones("input_uncached")) == {"input_uncached": "2"}
    assert prices_of(book, "openai/gpt-5-2025-08-07", ones("input_uncached")) == {"input_uncached": "1"}


def test_nothing_is_inferred_but_reasoning() -> None:
    book = book_of(read({"prices": [price("acme-1", input_cached=None)]}))
    usage = ones("cache_read cache_write_5m input_audio output_reasoning output_image")
    assert prices_of(book, "openai/acme-1", usage) == {
        "cache_read": None, "cache_write_5m": None, "input_audio": None,
        "output_reasoning": "8.5", "output_image": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (dated("bad", "yesterday", None), "is no day"),
        (dated("bad", "2026-08-01", "2026-08-01"), "is not before"),
        (price("bad", input="two"), "a price is no number"),
        (price("bad", input=0, output=0, input_cached=None), "every price is 0"),
        ({**price("bad"), "id": None}, "without vendor and id"),
    ],
)
def test_an_entry_that_cannot_be_told_is_skipped_and_the_rest_taken(entry: dict[str, Any], why: str) -> None:
    layer = read({"prices": [price("acme-1"), entry]})
    (skipped,) = layer.notes.skipped
    assert why in skipped
    assert prices_of(book_of(layer), "openai/acme-1", ones("input_uncached")) == {"input_uncached": "2"}


@pytest.mark.parametrize("form", ["list", "vendor"])
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            (dated("acme-1", "2026-08-01", None, input=1), dated("acme-1", None, "2026-08-02")),
            "for input of openai/acme-1 1 (from 2026-08-01) and 2 (until 2026-08-02)",
        ),
        ((price("acme-1"), price("ACME-1", input=9)), "for input of openai/acme-1 2 (from 2026-11-22) and 9 (from"),
        (
            (
                dated("acme-1", None, None),
                dated("acme-1-200k", None, "2026-08-01", output=7),
                dated("acme-1-200k", None, None, output=0.5),
            ),
            "for output of openai/acme-1 7 (until 2026-08-01, above 200000 input tokens) and 0.5 (above 200000 input",
        ),
        (
            (dated("acme-1", "2026-01-01", None), dated("acme-1", "2026-02-01", "2026-02-02", input_cached=0)),
            "for input_cached of openai/acme-1 0.25 (from 2026-01-01) and 0 (from 2026-02-01, until 2026-02-02)",
        ),
    ],
    ids=range(4),
)
def test_rows_that_contradict_each_other_refuse_the_file(
    rows: tuple[dict[str, Any], ...], told: str, form: str
) -> None:
    sentence = re.escape(f"the file has two prices for the same time, {told}")
    with pytest.raises(InputRefused, match=sentence) as caught:
        read({"prices": list(rows)} if form == "list" else vendor_file(*rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        (price("acme-1"), price("acme-1")),
        (dated("acme-1", None, "2026-08-02"), dated("acme-1", "2026-08-01", None)),
        (price("acme-1", input_cached=None), price("acme-1")),
    ],
    ids=range(3),
)
def test_rows_that_agree_are_one_price(rows: tuple[dict[str, Any], ...]) -> None:
    layer = read({"prices": list(rows)})
    assert layer.notes.skipped == []
    assert prices_of(book_of(layer), "openai/acme-1", ones(TEXT)) == {
        "input_uncached": "2", "cache_read": "0.25", "output_text": "8.5",
    }  # fmt: skip
    assert len(layer.cells) == 1
