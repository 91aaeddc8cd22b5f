"""Digest 1: golden, independent of everything but the events, and made again in plain Python from its definition."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from keledger.journal import Home, parse_time
from keledger.journal.usage import token_totals
from keledger.projections import _digest, digest, open_projection, rebuild, report_daily

from .support import append, call, copy_home, expected, hold_to, take_over, void

GOLDEN = Path(__file__).with_name("golden")

GOLDEN_DIGEST = "473626475f05b7c5e5c6f191b9947e203dad86f224156a0ef44703aedfaa2b6c"

EMPTY_DIGEST = hashlib.sha256(b"calls\ncharges\nestimates\nbudgets\nholds\n").hexdigest()


@pytest.fixture
def golden(tmp_path: Path) -> Home:
    """A journal of two writers with everything in it that a digest tells apart; written once, kept for ever."""
    (tmp_path / "golden").mkdir()
    return copy_home(Home.at(GOLDEN), tmp_path / "golden" / "home")


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def test_golden(golden: Home) -> None:
    assert digest_of(golden) == GOLDEN_DIGEST
    rebuild(golden)
    assert digest_of(golden) == GOLDEN_DIGEST
    hold_to(golden, expected(golden))


def test_the_golden_journal_as_a_report(golden: Home) -> None:
    with open_projection(golden) as projection:
        report = report_daily(projection)
    assert [(row["date"], row["calls"], row["cost_usd"]) for row in report.rows] == [
        ("1969-12-31", 1, "1.5"),
        ("2026-02-28", 1, "0.000000000001"),
        ("2026-03-01", 8, "123456801.514820678901"),
    ]
    assert report.totals["cost_usd"] == "123456803.014820678902"
    assert [finding.kind for finding in report.findings] == ["conflict"]


def test_in_plain_python(golden: Home) -> None:
    """Made from the events by the definition in the documentation, without DuckDB."""
    text = [b"calls\n"]
    calls = sorted(expected(golden).counted.items())
    text += [line(call_row(call_id, data)) for call_id, data in calls]
    text.append(b"charges\n")
    for call_id, data in calls:
        for place, charge in enumerate(data["cost"]["lines"], 1):
            usd = charge.get("usd") if "total_usd" in data["cost"] else None
            quantity = str(charge["quantity"])
            text.append(line([call_id, str(place), charge["bucket"], quantity, charge.get("usd_per_million"), usd]))
    text += [b"estimates\n", b"budgets\n", b"holds\n"]
    assert hashlib.sha256(b"".join(text)).hexdigest() == GOLDEN_DIGEST


def line(values: list[str | None]) -> bytes:
    return orjson.dumps(values) + b"\n"


def call_row(call_id: str, data: dict[str, Any]) -> list[str | None]:
    """The columns of ``calls`` as the documentation lists them."""
    tokens = token_totals(data["usage"])
    named = {
        "id": call_id,
        "started_us": parse_time(data["started_at"]),
        "input_tokens": tokens.input_tokens,
        "output_tokens": tokens.output_tokens,
        "cache_read_input_tokens": tokens.cache_read_input_tokens,
        "cache_creation_input_tokens": tokens.cache_creation_input_tokens,
        "reasoning_output_tokens": tokens.reasoning_output_tokens,
        "tags": orjson.dumps(data["tags"], option=orjson.OPT_SORT_KEYS).decode() if "tags" in data else None,
        "recorded_usr": data.get("user"),
        "recorded_project": data.get("project"),
        "recorded_team": data.get("team"),
        "recorded_cost_center": data.get("cost_center"),
        "cost_state": data["cost"]["state"],
        "cost_pico": data["cost"].get("total_usd"),
        "recorded_pico": data["cost"].get("total_usd"),
        "reported_pico": data.get("reported_cost_usd"),
    }
    values = [named.get(name, data.get(name)) for name in _digest.CALL_COLUMNS]
    return [None if value is None else str(value) for value in values]


def test_the_documentation_lists_the_columns() -> None:
    page = (Path(__file__).parents[2] / "docs" / "projections.md").read_text(encoding="utf-8")
    tables = (
        ("calls", _digest.CALL_COLUMNS), ("charges", _digest.CHARGE_COLUMNS), ("estimates", _digest.ESTIMATE_COLUMNS),
    )  # fmt: skip
    for name, columns in tables:
        (listed,) = re.findall(rf"^{name}: ([a-z0-9_ \n]+)$", page, re.M)
        assert listed.split() == list(columns)


def test_an_empty_home(home: Home) -> None:
    assert digest_of(home) == EMPTY_DIGEST
    append(home, void(1))
    assert digest_of(home) == EMPTY_DIGEST


@pytest.mark.parametrize(
    "changed",
    [
        {"usd": "0.002475000001"},
        {"user": "ada"},
        {"tags": {"a": "b"}},
        {"started_at": "2026-03-01T12:00:00.000001Z"},
        {"session": ""},
        {"reported_cost_usd": "0"},
        {"http_status": 200},
        {"usage": {"output_text": 10}},
    ],
)
def test_what_changes_a_digest(home: Home, changed: dict[str, Any]) -> None:
    other = Home.at(home.path.with_name("other"))
    append(home, call(1))
    append(other, call(1, **changed))
    assert digest_of(home) != digest_of(other)


def test_what_does_not_change_a_digest(home: Home) -> None:
    """Writers, order, ticks, copies, voided calls' absence from a cache, and the keys' order in tags."""
    other = Home.at(home.path.with_name("other"))
    append(home, call(1, tags={"a": "1", "b": "2"}), call(2), call(3))
    append(other, call(3))
    append(other, call(2), call(2))
    append(other, call(1, tags={"b": "2", "a": "1"}))
    assert digest_of(home) == digest_of(other)


def test_merged_in_either_order(home: Home) -> None:
    homes = [Home.at(home.path.with_name(name)) for name in ("left", "right")]
    append(homes[0], call(1), call("x", given=1, usd="1"), void(2))
    append(homes[1], call(2), call("x", given=2, usd="2"))
    take_over(homes[1], homes[0])
    take_over(homes[0], homes[1])
    assert digest_of(homes[0]) == digest_of(homes[1])


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_the_environment_does_not_enter(golden: Home, zone: str) -> None:
    script = (
        "import sys; from keledger.journal import Home; from keledger.projections import digest, open_projection\n"
        "with open_projection(Home.at(sys.argv[1])) as projection: print(digest(projection))"
    )
    environment = {**os.environ, "TZ": zone, "LC_ALL": "C", "PYTHONHASHSEED": "7", "KELEDGER_TZ": zone}
    done = subprocess.run(
        [sys.executable, "-c", script, str(golden.path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == GOLDEN_DIGEST
