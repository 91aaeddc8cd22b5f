"""The kept core schema equals the models, and the door is what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import keledger.data
import keledger.journal
from keledger.journal import InputRefused, Ledger, UsageError, json_schema
from keledger.journal._events import MODELS, TYPES_RESERVED
from keledger.journal._schema import core_schemas
from keledger.journal._validate import check_data

from .support import call


def test_the_kept_schema_is_that_of_the_models() -> None:
    """Where this fails, run ``python -m keledger.journal._schema``: the models have changed."""
    kept = Path(keledger.data.__path__[0]) / "event_schema.json"
    assert json.loads(kept.read_text()) == json.loads(json.dumps(core_schemas()))


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, True),
        ({"surprise": 1}, False),
        ({"duration_ms": 1.0}, False),
        ({"duration_ms": True}, False),
        ({"duration_ms": -1}, False),
        ({"duration_ms": 2**53}, False),
        ({"provider": ""}, False),
        ({"started_at": "2026-11-21T19:00:00Z"}, False),
        ({"usage": {"Bad": 1}}, False),
        ({"tags": {"Bad": "x"}}, False),
        ({"status": "error"}, False),
    ],
)
def test_models_and_hot_path_agree(ledger: Ledger, change: dict[str, object], ok: bool) -> None:
    data = {**json.loads(ledger.event_of(call(tags={"a": "b"}, session="s")).data), **change}
    model = MODELS["call.completed"]
    if ok:
        model.model_validate(data)
        check_data("call.completed", data)
        return
    with pytest.raises(ValidationError):
        model.model_validate(data)
    with pytest.raises(InputRefused):
        check_data("call.completed", data)


def test_json_schema_names_every_type() -> None:
    schema = json_schema()
    assert [part["title"] for part in schema["oneOf"]] == list(MODELS)
    assert set(schema["x-reserved-types"]) | set(MODELS) == set(TYPES_RESERVED)
    assert json_schema("call.completed")["properties"]["type"] == {"const": "call.completed"}
    with pytest.raises(UsageError, match="reserved for a later release"):
        json_schema("split.set")
    with pytest.raises(UsageError, match="not an event type"):
        json_schema("weather.changed")


def test_the_format_page_names_every_field_and_type() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    named = set(re.findall(r"`([a-z][a-z0-9_.]+)`", page))
    assert set(TYPES_RESERVED) <= named
    schemas = [model.model_json_schema() for model in MODELS.values()]
    schemas += [inner for schema in schemas for inner in schema.get("$defs", {}).values()]
    fields = {name for schema in schemas for name in schema.get("properties", {})}
    assert "growth_bytes" in fields, "what fields are made of is looked at, too"
    assert fields <= named, fields - named


def test_the_door_is_sorted_and_complete() -> None:
    names = keledger.journal.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in names:
        assert getattr(keledger.journal, name) is not None
    assert keledger.__all__ == sorted(keledger.__all__)
    assert keledger.Ledger is Ledger


@pytest.mark.parametrize("statement", ["import keledger.journal", "from keledger import Ledger; Ledger.open()"])
def test_importing_the_journal_stays_light(statement: str) -> None:
    """An import budget: what recording needs, and none of the read side's, the terminal's or the models' weight."""
    code = f"{statement}; import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"duckdb", "_duckdb", "tiktoken", "genai_prices", "rich", "click", "pydantic", "requests", "asyncio",
             "multiprocessing", "importlib.metadata", "importlib.resources", "http.client"}  # fmt: skip
    assert heavy.isdisjoint(loaded), heavy & set(loaded)
