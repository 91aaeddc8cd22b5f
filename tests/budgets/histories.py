"""A home in which everything has happened that a budget's figure can be made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keledger.journal import Home, Ledger
from keledger.journal.budgets import budget_fields
from tests.projections.support import QuickDisk, call_id

DAY = "2026-11-02"
BUDGETS = {
    "crm": {"period": "day", "where": ["project=crm"]},
    "all": {"period": "month", "timezone": "Asia/Kolkata"},
    "each": {"period": "week", "where": ["user=*"], "timezone": "America/New_York", "on_lost": "release"},
    "both": {"period": "year", "where": ["project=crm,user=*"]},
    "ever": {"period": "total", "where": ["tag:env=prod"]},
    "rolls": {"period": "rolling:2d", "where": ["os_user=*"]},
    "sessions": {"period": "session"},
}
"""All of them large enough for everything."""


def open_ledger(home: Home) -> Ledger:
    """The real thing without its syncs."""
    return Ledger(home, program="keledger test", disk=QuickDisk())


def begin(name: str, hour: int, minute: int = 0, **fields: Any) -> dict[str, Any]:
    """A call of :data:`DAY` that is about to be made."""
    attributes = {name: fields.pop(name) for name in ("user", "project", "tags") if name in fields}
    return {
        "id": call_id(name),
        "provider": "openai",
        "model": "gpt-5-mini",
        "prompt": "hello",
        "session": "s1",
        "started_at": f"{DAY}T{hour:02}:{minute:02}:00.000000Z",
        "attributes": {"user": "ada", "project": "crm", **attributes},
        "environment": {},
        **fields,
    }


def answered(output: int = 1000, **fields: Any) -> dict[str, Any]:
    """How a call ended."""
    usage = {"input_uncached": 100, "output_text": output, "requests": 1}
    return {"status": "ok", "duration_ms": 900, "usage": usage, **fields}


UNANSWERED: dict[str, Any] = {"status": "unknown", "error_type": "TimeoutError"}

CALLS: tuple[tuple[str, int, dict[str, Any], dict[str, Any]], ...] = (
    ("settled", 10, {"tags": {"env": "prod"}}, answered()),
    ("bob's", 11, {"user": "bob"}, answered(3000)),
    ("unpriced", 12, {"model": "nobody-prices-this"}, answered()),
    ("unanswered", 13, {}, UNANSWERED),
    ("resolved", 14, {}, UNANSWERED),
    ("voided", 15, {}, answered()),
    ("voided and back", 16, {}, answered(10)),
    ("refused by the provider", 17, {}, {"status": "error", "http_status": 500, "usage": {}}),
)
"""Calls that had a hold: name, hour, what else is known of them, and how they ended."""


@contextmanager
def lived(folder: Path) -> Iterator[tuple[Home, Ledger, dict[str, str]]]:
    """The home, a ledger on it that keeps one hold open, and ids by what they are of."""
    home, ids = Home.at(folder / "home"), {}
    past = {"provider": "openai", "model": "gpt-5-mini", "usage": answered()["usage"], "project": "crm", "user": "ada"}
    with open_ledger(home) as ledger:
        ids["before"] = ledger.record(**past, time=f"{DAY}T01:00:00Z", tags={"env": "prod"})
        for name, fields in BUDGETS.items():
            ledger.budgets.set(budget_fields(name, limit="100", unpriced="allow", **fields))
        for name, hour, more, ended in CALLS:
            call = begin(name, hour, **more)
            assert ledger.reserve(call) is not None
            assert ledger.record_hook(call, ended).journaled
            ids[name] = call["id"]
        ids["without a hold"] = ledger.record(
            provider="openai", model="gpt-5-mini", project="crm", user="ada", status="unknown", time=f"{DAY}T18:00:00Z"
        )
        ledger.reserve(begin("released", 18))
        ledger.release(call_id("released"))
        adjusted = {
            "amount_usd": "-0.00031",
            "provider": "openai",
            "category": "Credit",
            "project": "crm",
            "user": "ada",
        }
        ids["adjustment"] = ledger.adjust({**adjusted, "effective_at": f"{DAY}T19:00:00.000000Z"}, "a credit")
        ledger.void(ids.pop("voided"), "a test")
        ledger.void(ids["voided and back"], "a test")
        ledger.revert_void(ids["voided and back"], "it was one")
        told = {"call_keys": ["openai:r1"], "time": f"{DAY}T22:30:00Z"}
        ids["imported"] = ledger.record(**past, **told)
        ledger.append_events([ledger.event_of({**past, **told, "id": "again"}, source="import:x")])
        with open_ledger(home) as dying:
            for name, hour in (("died", 20), ("died, resolved", 21), ("died, answered late", 22)):
                dying.reserve(begin(name, hour))
                ids[name] = call_id(name)
        ledger.budgets.holds()
        ledger.budgets.resolve(ids["resolved"], "0.0123", "the invoice has it")
        ledger.budgets.resolve(ids["died, resolved"], "0", "never got there")
        ledger._spool.keep(begin("died, answered late", 22), answered(77))
        assert ledger.bring_in_spooled() == 1
        assert ledger.reserve(begin("open", 23)) is not None
        ids["open"] = call_id("open")
        yield home, ledger, ids
