"""Three weeks of two machines that look ahead: estimates of every kind, what became of them, and chosen models."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from keledger.journal import Home, Ledger, format_time

from .history import openai
from .still import Machine

PROGRAM = "keledger 0.1.0"
DAY_US = 24 * 3600 * 10**6

SHAPE = {"bytes": 2_410, "messages": 2, "tools": 1, "choices": 1, "max_output_tokens": 800, "self_contained": True}

LEFT_OUT = {"provider": "anthropic", "model": "claude-golden", "reason": "a large call (p90) costs $0.02 too much"}


class Forecaster:
    """One program of a machine, that estimates its calls before it makes them."""

    def __init__(self, machine: Machine, home: Home, seed: str) -> None:
        self.machine, self.home = machine, home
        self.draw = random.Random(seed)
        self.ledger = Ledger(home, program=PROGRAM)
        self.ledger.run = machine.new_id()

    def begin(self, **fields: Any) -> dict[str, Any]:
        """What is known of a call before it is sent."""
        attributes = {name: fields.pop(name) for name in ("user", "project", "team", "tags") if name in fields}
        return {
            "id": self.machine.new_id(),
            "origin": "hook",
            "started_at": format_time(self.machine.now_us()),
            "provider": "openai",
            "model": "gpt-golden",
            "prompt": "summarize",
            "prompt_version": "1.2",
            "session": "s1",
            "statement": "03 .exec",
            "run": self.ledger.run,
            "client": "keprompt 3.1.0",
            "request": dict(SHAPE),
            "attributes": {"project": "crm", **attributes},
            **fields,
        }

    def told(self, counted: int, **fields: Any) -> dict[str, Any]:
        """What an estimate says, as it might be."""
        p50 = counted + self.draw.randrange(40)
        return {
            "estimated_at": format_time(self.machine.now_us()),
            "provider": "openai",
            "model": "gpt-golden",
            "calls": 1,
            "method": "tiktoken:o200k_base",
            "counted_tokens": counted,
            "estimator": 1,
            "input_tokens": {
                "p5": p50 - 30, "p50": p50, "p95": p50 + 45, "ratio": "1.017", "basis": "prior", "calls": 0,
            },
            "output_tokens": {"p50": 120, "p90": 700, "max": 800, "basis": "prior", "calls": 0},
            "cost": {"state": "priced", "p50_usd": "0.00055", "p90_usd": "0.0021", "max_usd": "0.0024"},
        } | fields  # fmt: skip

    def call(
        self, counted: int, actual: int, output: int = 150, *, told: Mapping[str, Any] | None = None, **given: Any
    ) -> str:
        """An estimated call that was answered; returns the estimate's id."""
        begin = self.begin(**given)
        estimate_id = self.ledger.record_estimate({**self.told(counted), **(told or {})}, begin)
        usage = {"usage_raw": openai(actual, output, actual // 4), "usage_format": "openai.chat"}
        end = {"status": "ok", "http_status": 200, "finish_reason": "stop", "duration_ms": 900, **usage}
        assert self.ledger.record_hook({**begin, "estimate_id": estimate_id}, end).journaled
        return estimate_id


def write(machine: Machine, desktop: Home, laptop: Home) -> Iterator[str]:
    """All of it, in its order; yields what is being done."""
    yield "calls that are estimated one after the other, the later ones by the earlier"
    machine.set("2026-10-05T08:00:00Z")
    one, two = Forecaster(machine, desktop, "golden desktop"), Forecaster(machine, laptop, "golden laptop")
    for number in range(15):
        counted = one.draw.randrange(900, 2_400)
        learned = {"basis": "prompt", "calls": number} if number else {"basis": "prior", "calls": 0}
        expected = {"p5": counted * 21 // 20, "p50": counted * 11 // 10, "p95": counted * 23 // 20, "ratio": "1.1"}
        cached = {"cache_read": counted // 4} if number > 9 else {}
        one.call(
            counted, counted * 11 // 10 + one.draw.randrange(-20, 20), 100 + 40 * number,
            told={"input_tokens": {**expected, **cached, **learned}},
            user=("ada", "Zoë")[number % 2], tags={"env": "prod"},
        )  # fmt: skip
        machine.clock_us += DAY_US // 3

    yield "what was asked for and answered, in every way"
    machine.set("2026-10-12T09:00:00Z")
    begin = one.begin(prompt="plan")
    yes = one.ledger.record_estimate(one.told(5_000), begin, confirm={"above_usd": "0.002", "answer": "yes"})
    end = {"status": "ok", "usage_raw": openai(5_100, 900), "usage_format": "openai.chat"}
    assert one.ledger.record_hook({**begin, "estimate_id": yes}, end).journaled
    for answer in ("no", "no_terminal"):
        one.ledger.record_estimate(
            one.told(5_000), one.begin(prompt="plan"), confirm={"above_usd": "0.002", "answer": answer}
        )

    yield "estimates without a call, of many calls, and of models that nobody can price"
    machine.set("2026-10-13T09:00:00Z")
    command = one.begin(origin="command", prompt=None, statement=None, client=None, session=None)
    many = one.ledger.record_estimate(one.told(600_000, calls=500), command, for_call=False)
    for usage in ({"input_uncached": 1_190, "output_text": 310}, {"input_uncached": 1_230, "output_text": 20}):
        one.ledger.record(provider="openai", model="gpt-golden", usage=usage, estimate_id=many, session="batch")
    unpriced = {"state": "unpriced", "missing": ["input_uncached", "output_text"]}
    endless = {"p50": 250, "p90": 2_000, "basis": "model", "calls": 9}
    told = {"cost": unpriced, "output_tokens": endless, "method": "proxy:o200k_base", "model": "unheard-of"}
    one.call(700, 950, told=told, model="unheard-of")
    one.ledger.record_estimate(
        one.told(40, method="heuristic:bytes/4", pricing_context={"processing": "batch"}), command, for_call=False
    )

    yield "calls that say nothing of their estimates"
    machine.set("2026-10-14T09:00:00Z")
    for end in (
        {"status": "error", "http_status": 429, "error_type": "RateLimitError"},
        {"status": "unknown", "error_type": "KeyboardInterrupt"},
    ):
        begin = one.begin()
        estimate_id = one.ledger.record_estimate(one.told(1_000), begin)
        assert one.ledger.record_hook({**begin, "estimate_id": estimate_id}, end).journaled
    begin = one.begin(session="voided")
    estimate_id = one.ledger.record_estimate(one.told(1_000), begin)
    end = {"status": "ok", "usage_raw": openai(9_999, 1), "usage_format": "openai.chat"}
    assert one.ledger.record_hook({**begin, "estimate_id": estimate_id}, end).journaled
    one.ledger.void(begin["id"], "a test")

    yield "models that were chosen"
    machine.set("2026-10-15T09:00:00Z")
    first = {"provider": "openai", "model": "gpt-golden", "quality": "high"}
    second = {"provider": "google", "model": "gemini-golden"}
    suitable = [
        {**first, "cost_p50_usd": "0.0004", "cost_p90_usd": "0.002"},
        {**second, "cost_p50_usd": "0.0011", "cost_p90_usd": "0.0062"},
    ]
    for basis, calls in (("prompt", 16), ("request", 0)):
        asked = {"quality": "high", "max_cost_usd": "0.1", "needs": ["tools"]} if calls else {}
        one.ledger.record_choice(
            {
                "provider": "openai",
                "model": "gpt-golden",
                "requirements": {**asked, "input_tokens": 1_400, "output_tokens": 900, "basis": basis, "calls": calls},
                "suitable": suitable if calls else suitable[:1],
                "left_out": [LEFT_OUT] if calls else [],
                "left_out_models": 1 if calls else 0,
                "book": one.ledger.manifest().sha256,
            },
            one.begin(),
        )

    yield "another machine, and both together"
    machine.set("2026-10-19T09:00:00Z")
    for number in range(6):
        two.call(1_000 + number, 1_400 + number, prompt_version="1.3", user="grace")
    one.ledger.merge(laptop.path, "the laptop's calls")
    one.call(1_000, 1_405, prompt_version="1.3")
    for forecaster in (one, two):
        forecaster.ledger.close()


def said(home: Home) -> dict[str, Any]:
    """What the golden journal says of estimates: the digest, every row of the table, and how good they were."""
    from keledger.projections import digest, open_projection, report_estimates, run_sql

    with open_projection(home) as projection:
        report = report_estimates(projection).as_json()
        found = {"digest": digest(projection), "rows": report["rows"], "totals": report["totals"]}
    with open_projection(home) as projection:
        table = run_sql(projection, "SELECT * EXCLUDE (writer) FROM estimates ORDER BY estimated_at, id")
        return {**found, "estimates": table.as_json()["rows"]}
