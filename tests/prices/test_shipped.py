"""What ships: frozen, whole, in one spelling, and made again from the same genai-prices."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tomllib
from pathlib import Path

import pytest

import keledger.data
from keledger.data.build_prices import build
from keledger.journal.prices import (
    BUCKETS,
    TIER_BUCKETS,
    Cell,
    parse_layer,
    shipped_book,
    shipped_manifest,
    write_layer,
)

DATA = Path(keledger.data.__path__[0])
FOLDER = DATA / "prices"
LIST = "genai-prices-0.2.3"

FROZEN = {
    f"{LIST}.jsonl": "78e6b4042d9439ee0fe5f4601ed3f88fe2d2b25e99ce2a397a6dbd49b1f10cab",
    "corrections.jsonl": "a1e3b9f18117965d58710f05b11615ae9ab92f2577e043390454186b906831d3",
    "names.jsonl": "2605cc0118e2817e886e44d92c6ba6df3097f0b3a2d3b101d1215b7100de0652",
    "book.json": "03ffe48f7ac163c4ea3044f820e0181e68f02bb0e80554872921086db425e8e1",
}
"""Calls in people's journals name these books.  A new list, correction or rule is meant to change them here too."""


def shipped_cells(layer: str) -> tuple[Cell, ...]:
    return parse_layer((FOLDER / f"{layer}.jsonl").read_bytes())[1]


@pytest.mark.parametrize("name", FROZEN)
def test_no_shipped_file_changes_by_accident(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == FROZEN[name]


def test_the_list_and_its_report_come_again_from_the_same_release() -> None:
    installed = importlib.metadata.version("genai-prices")
    if f"genai-prices-{installed}" != LIST:
        pytest.skip(f"genai-prices {installed} is installed, the shipped list is of {LIST}")
    rules = json.loads((FOLDER / "name_rules.json").read_text(encoding="utf-8"))
    built = build(rules, (FOLDER / "corrections.jsonl").read_bytes())
    assert set(built) == {f"{LIST}.jsonl", f"{LIST}.report.txt", "book.json", "names.jsonl"}
    for name, content in built.items():
        assert content == (FOLDER / name).read_bytes(), name


@pytest.mark.parametrize("layer", [LIST, "corrections"])
def test_a_shipped_layer_is_valid_and_in_its_one_spelling(layer: str) -> None:
    content = (FOLDER / f"{layer}.jsonl").read_bytes()
    header, cells = parse_layer(content)
    assert header.kind == "list"
    assert write_layer(header, cells) == content


def test_the_shipped_book_is_the_corrections_above_the_list() -> None:
    names = [layer.name for layer in shipped_manifest().layers]
    assert names == ["corrections 2026-11-21", "genai-prices 0.2.3"]
    assert shipped_manifest().list_date == "2026-11-21"


def test_each_correction_says_its_source_and_day() -> None:
    for cell in shipped_cells("corrections"):
        assert cell.source
        assert cell.date


def test_a_free_model_has_a_zero_that_somebody_said() -> None:
    """The list's empty price sets are unknown: its only zeros are those of ids that end in ``:free``."""
    zeros = [cell for cell in shipped_cells(LIST) if "0" in cell.usd_per_million.values()]
    assert len(zeros) > 100
    assert all(cell.model.endswith(":free") for cell in zeros)


def test_every_name_leads_to_a_model_with_prices_or_one_that_is_listed_as_empty() -> None:
    priced = {(cell.provider, cell.model) for layer in (LIST, "corrections") for cell in shipped_cells(layer)}
    report = (FOLDER / f"{LIST}.report.txt").read_text(encoding="utf-8")
    _, _, after = report.partition("Empty price sets: unknown")
    empty = {tuple(line.strip().split(" ", 1)) for line in after.split("\n\n")[0].splitlines()[1:]}
    rules = [json.loads(line) for line in (FOLDER / "names.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    named = {(rule["provider"], rule["model"]) for rule in rules if "model" in rule}
    assert len(named) > 2300
    assert named - priced <= empty


def test_the_report_tells_what_was_rounded_and_left_out() -> None:
    report = (FOLDER / f"{LIST}.report.txt").read_text(encoding="utf-8")
    titles = [line for line in report.splitlines() if not line.startswith("  ") and line]
    assert titles == [
        "genai-prices 0.2.3: 3047 cells with 39266 prices of 2312 models",
        "Off the grid of 1e-6 USD per million units, rounded half-even (94)",
        "Empty price sets: unknown, so calls are unpriced (genai-prices computes 0) (18)",
        "Empty price sets of ids ending in :free: an explicit 0 for tokens (161)",
        "Prices without a bucket, left out (29)",
        "Matching rules that cannot be told as names, left out",
        "Open matching rules, told more strictly: only a date or revision may follow (468)",
    ]


def test_the_buckets_are_those_of_the_table_of_buckets() -> None:
    table = tomllib.loads((DATA / "buckets.toml").read_text(encoding="utf-8"))
    assert set(BUCKETS) == set(table)
    input_tokens = {name for name, about in table.items() if (about["unit"], about["side"]) == ("tokens", "input")}
    assert input_tokens == TIER_BUCKETS
    listed = {
        bucket for layer in (LIST, "corrections") for cell in shipped_cells(layer) for bucket in cell.usd_per_million
    }
    assert listed == set(table)


def test_the_shipped_files_are_what_the_program_hands_out() -> None:
    _, files = shipped_book()
    assert set(files) == {FROZEN[name] for name in FROZEN if name != "book.json"}
