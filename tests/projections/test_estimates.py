"""The table of estimates: what was told before a call, beside what the call came to."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest

from keledger.journal import Home, NewEvent
from keledger.projections import digest, open_projection, rebuild, run_sql
from tests.estimates.events import estimate, estimate_data, estimate_id

from .support import append, call, copy_home, take_over, uncosted, void


def rows(home: Home, columns: str = "*") -> list[dict[str, Any]]:
    with open_projection(home) as projection:
        return list(run_sql(projection, f"SELECT {columns} FROM estimates ORDER BY estimated_at, id").rows)


def test_an_estimate_stands_beside_its_call(home: Home) -> None:
    append(
        home,
        estimate(1, prompt="greet", prompt_version="2", user="ada", confirm={"above_usd": "0.25", "answer": "yes"}),
        call(1, estimate_id=estimate_id(1)),
        estimate(2, prompt="greet"),
    )
    for _ in range(2):
        first, second = sorted(rows(home), key=lambda row: row["actual_calls"], reverse=True)
        assert first["id"] == estimate_id(1)
        assert first["estimated_at"] == "2026-03-01T11:59:59.000000Z"
        assert (first["prompt"], first["prompt_version"], first["user"], first["answer"]) == (
            "greet",
            "2",
            "ada",
            "yes",
        )
        assert (first["input_p5_tokens"], first["input_p50_tokens"], first["input_p95_tokens"]) == (12, 14, 17)
        assert (first["output_p50_tokens"], first["output_p90_tokens"], first["output_max_tokens"]) == (8, 30, 128_000)
        assert first["cost_p90_usd"] == "0.000064250000"
        assert (first["actual_calls"], first["actual_input_tokens"], first["actual_output_tokens"]) == (1, 15, 10)
        assert first["actual_cost_usd"] == "0.002475000000"
        assert (second["actual_calls"], second["actual_cost_usd"]) == (0, None)
        rebuild(home)


def test_calls_that_say_nothing_of_an_estimate(home: Home) -> None:
    """Failed ones, those of which little is known, and voided ones."""
    append(
        home,
        estimate(1),
        call("failed", status="error", http_status=500, estimate_id=estimate_id(1)),
        call("unknown", status="unknown", usage={}, **uncosted("unknown"), estimate_id=estimate_id(1)),
        call("imported", quality="under_count", origin="import:x", estimate_id=estimate_id(1)),
        call("voided", estimate_id=estimate_id(1)),
        void("voided"),
        call("unpriced", **uncosted("unpriced"), estimate_id=estimate_id(1)),
        call("of another", estimate_id=estimate_id(2)),
    )
    (row,) = rows(home)
    assert (row["actual_calls"], row["actual_input_tokens"], row["actual_cost_usd"]) == (1, 15, None)


def test_the_first_copy_counts(home: Home) -> None:
    append(home, estimate(1), estimate(1, counted_tokens=99))
    assert [row["counted_tokens"] for row in rows(home)] == [14]


@pytest.mark.parametrize(
    "fields",
    [
        {"counted_tokens": "many"},
        {"counted_tokens": -1},
        {"calls": 0},
        {"estimated_at": "yesterday"},
        {"method": None},
        {"input_tokens": 5},
        {"input_tokens": {"p5": 9, "p50": 5, "p95": 7}},
        {"output_tokens": []},
    ],
)
def test_a_hand_made_line_without_its_figures_is_left_out(home: Home, fields: dict[str, Any]) -> None:
    append(home, NewEvent.of("estimate.made", estimate_id(1), estimate_data(**fields)), estimate(2))
    assert [row["id"] for row in rows(home)] == [estimate_id(2)]
    assert digest_of(home)


@pytest.mark.parametrize("usd", ["1e3", "0,5", "-1", "9" * 40, 5, None, {}])
def test_what_is_no_money_is_none(home: Home, usd: object) -> None:
    append(home, NewEvent.of("estimate.made", estimate_id(1), estimate_data(cost={"state": "priced", "p50_usd": usd})))
    (row,) = rows(home)
    assert row["cost_p50_usd"] in (None, "5.000000000000")


def digest_of(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def test_the_digest_in_plain_python(home: Home) -> None:
    append(home, estimate(1, session="s", prompt="p", confirm={"above_usd": "1", "answer": "no"}))
    row = [
        estimate_id(1), "1772366399000000", "openai", "gpt-5-mini", "s", "p", None, "1", "tiktoken:o200k_base", "14",
        "12", "14", "17", "8", "30", "128000", "priced", "0.0000195", "0.00006425", "0.25600425", "no",
    ]  # fmt: skip
    text = b"calls\ncharges\nestimates\n" + orjson.dumps(row) + b"\nbudgets\nholds\n"
    assert digest_of(home) == hashlib.sha256(text).hexdigest()


def test_the_digest_of_a_merge_in_either_order(home: Home) -> None:
    homes = [Home.at(home.path.with_name(name)) for name in ("left", "right")]
    append(homes[0], estimate(1), call(1, estimate_id=estimate_id(1)))
    append(homes[1], estimate(2, counted_tokens=15), estimate(1))
    take_over(homes[1], homes[0])
    take_over(homes[0], homes[1])
    assert digest_of(homes[0]) == digest_of(homes[1])
    copied = copy_home(homes[0], home.path.with_name("copied"))
    rebuild(copied)
    assert digest_of(copied) == digest_of(homes[0])
