"""Estimates as events, for the tests."""

from __future__ import annotations

from typing import Any

from keledger.journal import NewEvent
from keledger.journal._identity import id_of_key
from keledger.journal._validate import check_data


def estimate_id(name: object) -> str:
    """A stable id for an estimate of a test."""
    return id_of_key("test estimate", str(name))


def estimate_data(**fields: Any) -> dict[str, Any]:
    """The ``data`` of an estimate of one call of gpt-5-mini."""
    data: dict[str, Any] = {
        "input_sha256": "0" * 64,
        "estimated_at": "2026-03-01T11:59:59.000000Z",
        "provider": "openai",
        "model": "gpt-5-mini",
        "origin": "hook",
        "calls": 1,
        "method": "tiktoken:o200k_base",
        "counted_tokens": 14,
        "estimator": 1,
        "input_tokens": {"p5": 12, "p50": 14, "p95": 17, "ratio": "1", "basis": "prior", "calls": 0},
        "output_tokens": {"p50": 8, "p90": 30, "max": 128_000, "basis": "prior", "calls": 0},
        "cost": {"state": "priced", "p50_usd": "0.0000195", "p90_usd": "0.00006425", "max_usd": "0.25600425"},
    }
    return data | fields


def estimate(name: object, **fields: Any) -> NewEvent:
    """An ``estimate.made`` whose id is made from *name*."""
    data = estimate_data(**fields)
    check_data("estimate.made", data)
    return NewEvent.of("estimate.made", estimate_id(name), data)
