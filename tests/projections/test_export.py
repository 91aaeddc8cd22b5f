"""Exports: counted calls, and the journal's own lines."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from keledger.journal import Home, usd_to_pico
from keledger.projections import export_jsonl, open_projection, rebuild, run_sql

from .support import append, call, call_id, expected, take_over, uncosted, void


@pytest.fixture
def merged(home: Home) -> Home:
    """Two writers' lines, some of which do not count."""
    other = Home.at(home.path.with_name("other"))
    append(home, call(1, usd="1.5", tags={"env": "dev"}), call(2, **uncosted("unpriced")), call(1))
    append(other, call(3, started_at="2026-01-01T00:00:00.000000Z", reported_cost_usd="3"), call(4))
    take_over(other, home)
    append(home, void(4), call(5, started_at="2026-02-01T00:00:00.000000Z"))
    return home


def exported(home: Home, *, events: bool = False) -> bytes:
    out = io.BytesIO()
    count = export_jsonl(home, out, events=events)
    assert out.getvalue().count(b"\n") == count
    return out.getvalue()


def test_calls(merged: Home) -> None:
    lines = [orjson.loads(line) for line in exported(merged).splitlines()]
    assert [line["id"] for line in lines] == [call_id(3), call_id(5), *sorted([call_id(1), call_id(2)])]
    with open_projection(merged) as projection:
        columns = run_sql(projection, "SELECT * FROM calls").columns
        (same,) = run_sql(projection, f"SELECT * FROM calls WHERE id = '{call_id(1)}'").rows
    one = next(line for line in lines if line["id"] == call_id(1))
    assert list(one) == [*columns, "charges"]
    for name, value in same.items():
        if name.endswith("_usd") and value is not None:
            assert Decimal(one[name]) == Decimal(value)
        else:
            assert one[name] == value
    assert one["charges"] == [
        {"bucket": "input_uncached", "quantity": 1, "usd_per_million": "1.25", "usd": "1"},
        {"bucket": "output_text", "quantity": 1, "usd_per_million": "1.25", "usd": "0.5"},
    ]
    unpriced = next(line for line in lines if line["id"] == call_id(2))
    assert (unpriced["cost_usd"], unpriced["charges"][0]["usd"]) == (None, None)
    total = sum(usd_to_pico(line["cost_usd"] or "0") for line in lines)
    charged = sum(usd_to_pico(charge["usd"] or "0") for line in lines for charge in line["charges"])
    assert total == charged == expected(merged).pico


def test_the_same_bytes_from_memory_and_from_a_layer(merged: Home) -> None:
    before = exported(merged)
    rebuild(merged)
    assert exported(merged) == before


def test_events_are_the_journal_byte_for_byte(merged: Home) -> None:
    lines = exported(merged, events=True).splitlines(keepends=True)
    files = [path.read_bytes() for writer in merged.writers() for path in merged.segments(writer)]
    assert sorted(lines) == sorted(line for content in files for line in content.splitlines(keepends=True))
    places = [(event["tick"], event["source"], event["seq"]) for event in map(orjson.loads, lines)]
    assert places == sorted(places)


def test_an_empty_home(home: Home) -> None:
    assert exported(home) == b""
    assert exported(home, events=True) == b""


def test_an_export_to_a_full_disk_raises(merged: Home) -> None:
    with open("/dev/full", "wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        export_jsonl(merged, out)
    assert Path("/dev/full").exists()
