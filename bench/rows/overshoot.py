"""Budgets: how far calls overshoot a limit, by how large a hold is, and how much of it is left unspent.

Not a matter of time but of sizes, so a seed says the same on every machine.  A home learns from past calls; then a
blocking budget is set, and calls are made, eight at a time, each reserved before it is answered, until none has fitted
for a while.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from bench._figures import Figure, middle_half
from bench._inputs import LAST_DAY_US
from bench._workshop import Workshop
from bench._world import MODELS, new_uuid
from keledger.journal import BudgetExceeded, Ledger, format_time, usd_to_pico
from keledger.journal.budgets import HOLDS, budget_fields
from keledger.journal.usage import detect_format, normalize, token_totals

LIMIT_USD = "1"
PAST_CALLS = 600
IN_FLIGHT = 8
"""Calls under way at once: what each of them takes above its hold, they take together."""

REFUSED_IN_A_ROW = 25
"""So many refusals after each other end a round: hardly anything fits any more."""

MODELS_ASKED = MODELS[:5]
"""Those that are priced under names of their own: ``max`` refuses the rest, or holds a dollar for a call."""

PROMPTS = 4
BYTES_PER_TOKEN = (3.2, 4.4)
ANSWER_TOKENS_MAX = 8_192
"""What every request sets as its limit; no answer is longer."""


class Call(NamedTuple):
    """A call before it is made, how it will end, and what it will have cost."""

    begin: dict[str, Any]
    end: dict[str, Any]
    cost_pico: int


class Round(NamedTuple):
    """What came of one limit."""

    above_percent: float
    left_percent: float
    """What was left when a call was first refused and all others had ended."""
    unspent_percent: float
    """What was left when hardly anything fitted any more."""
    calls: int
    covered: int
    """Calls whose hold was enough."""
    refused_early: int
    """Calls that were refused although they would have fitted in beside what the others came to."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Every policy on the same calls, one session after the other, each with a limit of its own."""
    for policy in HOLDS:
        rounds = _rounds(workshop, policy)
        above = [each.above_percent for each in rounds]
        calls = sum(each.calls for each in rounds)
        covered = sum(each.covered for each in rounds) * 100 / calls
        left = statistics.median(each.left_percent for each in rounds)
        unspent = statistics.median(each.unspent_percent for each in rounds)
        early = sum(each.refused_early for each in rounds) * 100 / calls
        yield Figure(
            "overshoot",
            f"--hold {policy}, {'bounded' if policy == 'max' else 'learned'}: spent above {LIMIT_USD} USD, at worst",
            max(above),
            "%",
            f"{covered:.1f} % of {calls:,} holds were enough; {left:.1f} % left at the first refusal, "
            f"{unspent:.1f} % at the end; {early:.0f} calls refused too early for 100 made",
            middle_half(above),
            at_most=0.0 if policy == "max" else None,
            measured={
                "covered_percent": covered,
                "left_percent": left,
                "unspent_percent": unspent,
                "refused_early_percent": early,
            },
        )


def _rounds(workshop: Workshop, policy: str) -> list[Round]:
    """Spend a limit again and again, in a home that has learned from calls before."""
    draw = random.Random("keledger bench overshoot")
    folder = workshop.new_folder(f"overshoot-{policy}")
    with Ledger.open(folder / "home") as ledger:
        ledger.budgets.set(budget_fields("past", limit="1000000", period="total", action="warn"))
        for _ in range(PAST_CALLS):
            call = _call(ledger, draw, "learning")
            ledger.reserve(call.begin)
            ledger.record_hook(call.begin, call.end)
        ledger.budgets.remove("past")
        ledger.budgets.set(budget_fields("limit", limit=LIMIT_USD, period="session", hold=policy))
        return [
            _spend(ledger, random.Random(f"keledger bench overshoot {number}"), f"spending-{number}")
            for number in range(workshop.size.repeats)
        ]


def _spend(ledger: Ledger, draw: random.Random, session: str) -> Round:
    """Make calls of a session, several at once, until its limit leaves no room for any."""
    limit = usd_to_pico(LIMIT_USD)
    under_way: list[Call] = []
    spent = calls = covered = refused_in_a_row = refused_early = 0
    left_percent: float | None = None
    while refused_in_a_row < REFUSED_IN_A_ROW:
        call = _call(ledger, draw, session)
        ends = 1 if len(under_way) == IN_FLIGHT else 0
        try:
            held = ledger.reserve(call.begin)
        except BudgetExceeded:
            held, ends = None, len(under_way)
            refused_in_a_row += 1
        else:
            assert held is not None
            under_way.append(call)
            covered += usd_to_pico(held.amount_usd) >= call.cost_pico
            calls, refused_in_a_row = calls + 1, 0
        for _ in range(ends):
            ended = under_way.pop(draw.randrange(len(under_way)))
            ledger.record_hook(ended.begin, ended.end)
            spent += ended.cost_pico
        if held is None:
            refused_early += spent + call.cost_pico <= limit
            if left_percent is None:
                left_percent = max(0, limit - spent) * 100 / limit
    assert left_percent is not None
    above_percent, unspent_percent = (max(0, difference) * 100 / limit for difference in (spent - limit, limit - spent))
    return Round(above_percent, left_percent, unspent_percent, calls, covered, refused_early)


def _call(ledger: Ledger, draw: random.Random, session: str) -> Call:
    """A call of one of the prompts, whose requests are about as long as its input has tokens."""
    model = draw.choices(MODELS_ASKED, [each.share for each in MODELS_ASKED])[0]
    usage = model.usage(draw)
    usage_format = detect_format(model.provider, usage)
    assert usage_format is not None
    totals = token_totals(normalize(usage, usage_format).usage)
    if totals.output_tokens > ANSWER_TOKENS_MAX:
        return _call(ledger, draw, session)
    begin = {
        "id": new_uuid(draw, LAST_DAY_US),
        "started_at": format_time(LAST_DAY_US + draw.randrange(10**9)),
        "provider": model.provider,
        "model": model.model,
        "prompt": f"prompt-{draw.randrange(PROMPTS):02d}",
        "session": session,
        "request": {
            "bytes": int(totals.input_tokens * draw.uniform(*BYTES_PER_TOKEN)),
            "growth_bytes": 0,
            "messages": 2,
            "tools": 0,
            "choices": 1,
            "max_output_tokens": ANSWER_TOKENS_MAX,
            "self_contained": True,
            "cache_write": "5m" if model.provider == "anthropic" else "none",
        },
    }
    end = {"status": "ok", "http_status": 200, "usage_raw": usage, "response_model": model.response_model}
    told = {name: begin[name] for name in ("provider", "model", "started_at")}
    event = ledger.event_of({**told, "usage_raw": usage, "response_model": model.response_model})
    return Call(begin, end, usd_to_pico(orjson.loads(event.data)["cost"]["total_usd"]))
