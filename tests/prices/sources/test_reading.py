"""Which list a file is, when its prices were known, and what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from keledger.journal._errors import InputRefused, UsageError
from keledger.journal.prices import sources
from keledger.journal.prices.sources import CONTENT_BYTES_MAX, SOURCES, Terms, read_price_list

from .conftest import NAMES, TODAY, excerpt, read

ONE = {"data": [{"id": "a/b", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}]}
LLM = {"prices": [{"id": "a", "vendor": "acme", "input": 1, "output": 2, "input_cached": None}]}
FILES = {
    "litellm": excerpt("litellm"),
    "llm-prices": json.dumps(LLM).encode(),
    "model-prices": excerpt("model_prices"),
    "openrouter": json.dumps(ONE).encode(),
}


def test_the_door_is_sorted_and_whole() -> None:
    assert sources.__all__ == sorted(
        sources.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert all(hasattr(sources, name) for name in sources.__all__)


def test_every_source_is_recognised_by_its_form() -> None:
    assert tuple(sorted(FILES)) == SOURCES
    for name, content in FILES.items():
        assert read(content).header.name == name
        assert read(content, source=name).header.name == name


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("form", SOURCES)
def test_a_file_of_another_form_is_refused(source: str, form: str) -> None:
    if source != form:
        with pytest.raises(InputRefused, match=f"does not look like a price list of {source}, but like one of {form}"):
            read(FILES[form], source=source)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is not JSON at line 1"),
        (b"{", "is not JSON at line 1"),
        (b"\xff\xfe{}", "is not JSON"),
        (b'{"a":NaN}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds no JSON object"),
        (b"{}", "is no price list of a form that is known here: litellm, llm-prices, model-prices, openrouter"),
        (b'{"data":[]}', "is no price list"),
        (b'{"data":7,"prices":{"a":1},"models":[1]}', "is no price list"),
        (b'{"data":[{"pricing":7}]}', "has no price that can be taken in"),
        (b'{"a":{"litellm_provider":"x"}}', "has no price that can be taken in"),
        (b'{"models_dev":{},"prices":{},"schema":1}', "has no price that can be taken in"),
        (b" " * (CONTENT_BYTES_MAX + 1), "which no price list has"),
    ],
    ids=range(13),
)
def test_what_is_no_price_list_is_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(InputRefused, match=sentence) as caught:
        read(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("twice", "told"),
    [
        ('"input": 1, "input": 2', 'the key "input" twice in one object, as 1 and as 2'),
        ('"input": 1e-6, "input": 0.1', 'the key "input" twice in one object, as 0.000001 and as 0.1'),
        ('"input": 1, "output": 2, "input": null', 'the key "input" twice in one object, as 1 and as null'),
        ('"x": {"a": [1]}, "x": {"a": [2]}', 'the key "x" twice in one object, as {"a": [1]} and as {"a": [2]}'),
        (f'"{"k" * 3000}": 1, "{"k" * 3000}": 2', f'the key "{"k" * 59}... twice in one object, as 1 and as 2'),
    ],
    ids=range(5),
)
def test_a_key_that_says_two_things_refuses_the_file(twice: str, told: str) -> None:
    content = b'{"prices":[{"vendor":"acme","id":"a","input":1,"output":2,"note":{%s}}]}' % twice.encode()
    with pytest.raises(InputRefused) as caught:
        read(content)
    assert str(caught.value) == f"the file has {told}: leave one of them out of the file"


def test_a_key_that_says_the_same_thing_twice_is_one() -> None:
    content = (
        b'{"prices":[{"vendor":"acme","id":"a","input":1,"output":2,"input":1.0,"note":{"a":[1]},"note":{"a":[1]}}]}'
    )
    assert [cell.usd_per_million["input_uncached"] for cell in read(content).cells] == ["1"]


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, [7], {"x": 7}, [[]], True])
@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("openrouter", ("data", 0)), ("openrouter", ("data", 0, "id")), ("openrouter", ("data", 0, "pricing")),
        ("openrouter", ("data", 0, "pricing", "overrides")), ("openrouter", ("data", 0, "canonical_slug")),
        ("llm-prices", ("prices", 0)), ("llm-prices", ("prices", 0, "vendor")), ("llm-prices", ("prices", 0, "input")),
        ("llm-prices", ("prices", 0, "from_date")), ("llm-prices", ("updated_at",)),
        ("litellm", ("gpt-5",)), ("litellm", ("gpt-5", "litellm_provider")),
        ("litellm", ("gpt-5", "search_context_cost_per_query")), ("litellm", ("deepseek-v4-pro", "off_peak_pricing")),
        ("litellm", ("dashscope/qwen-flash", "tiered_pricing")),
        ("litellm", ("claude-opus-5-5", "provider_specific_entry")),
        ("model-prices", ("prices", "openai")), ("model-prices", ("prices", "openai", "gpt-5")),
        ("model-prices", ("prices", "openai", "gpt-5", "standard")), ("model-prices", ("estimates",)),
        ("model-prices", ("prices", "openai", "gpt-5", "standard", 0, "rates")), ("model-prices", ("schedules",)),
        ("model-prices", ("schedules", "schedule")), ("model-prices", ("schedules", "holidays", "cn")),
        ("model-prices", ("updated_at",)), ("model-prices", ("schedules", "schedule", 0, "provider")),
    ],
)  # fmt: skip
def test_junk_anywhere_is_skipped_or_refused_never_a_crash(form: str, path: tuple[Any, ...], junk: Any) -> None:
    raw = json.loads(FILES[form])
    at = raw
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = junk
    with contextlib.suppress(InputRefused):
        layer = read(raw)
        assert layer.cells


def test_the_day_on_which_prices_were_known() -> None:
    assert read(FILES["openrouter"]).header.date == TODAY
    assert read(FILES["model-prices"]).header.date == "2026-10-26"
    assert read(FILES["model-prices"], known="2026-10-30").header.date == "2026-10-30"
    later = json.dumps({**LLM, "updated_at": "2027-01-01"}).encode()
    assert read(later).header.date == TODAY
    wrong = json.dumps({**LLM, "updated_at": "lately"}).encode()
    assert read(wrong).header.date == TODAY


@pytest.mark.parametrize(
    ("known", "sentence"), [("2026-11-23", "yet to come"), ("22.11.2026", "is no day"), ("", "is no day")]
)
def test_a_day_that_cannot_be(known: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(FILES["openrouter"], known=known)


def test_only_some_providers_by_any_of_their_names() -> None:
    layer = read(FILES["litellm"], providers=("xai", "Gemini"))
    assert {cell.provider for cell in layer.cells} == {"google", "x-ai"}
    assert layer.notes.skipped
    assert all(entry.startswith(("google ", "x-ai ")) for entry in layer.notes.skipped)
    with pytest.raises(InputRefused, match="has no price of acme that can be taken in"):
        read(FILES["litellm"], providers=("acme",))


def test_a_name_that_no_layer_can_have_is_skipped() -> None:
    models = [*ONE["data"], {**ONE["data"][0], "id": "x" * 300}, {**ONE["data"][0], "id": "half \ud800"}]
    layer = read_price_list(json.dumps({"data": models}).encode(), NAMES, Terms(), today=TODAY)
    assert {cell.model for cell in layer.cells} == {"a/b"}
    assert [entry.rpartition(": ")[2] for entry in layer.notes.skipped] == ["its name cannot be told"] * 2


def test_progress_ends_where_it_said_it_would() -> None:
    told: list[tuple[int, int]] = []
    read_price_list(
        FILES["litellm"], NAMES, Terms(), today=TODAY, on_progress=lambda done, total: told.append((done, total))
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(0 < done <= total for done, total in told)
