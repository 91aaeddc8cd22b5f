"""A hold and its settling, against one bare write and fdatasync; and the guard opened by a new process's first call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench._bare import bare_append, line_of
from bench._figures import Figure, percentile, ratio
from bench._workshop import Workshop
from keledger.journal import Home, Ledger, NewEvent, format_time, now_us
from keledger.journal._asked_call import AskedCall
from keledger.journal._identity import new_id
from keledger.journal.budgets import budget_fields
from keledger.journal.budgets._enforcement import Enforcement

from .append import timed_us

BLOCK = 50
"""Pairs that are made ready, and measured, together."""

OPENINGS = 15

BUDGETS = (
    ("all-day", "day", ()),
    ("all", "total", ()),
    ("bench", "month", ("project=bench",)),
    ("each-user", "total", ("user=*",)),
)
"""Four windows cover each call; the last budget has one for every user."""

USAGE = {
    "prompt_tokens": 2_400,
    "completion_tokens": 300,
    "total_tokens": 2_700,
    "prompt_tokens_details": {"cached_tokens": 1_024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128},
}

REQUEST = {
    "bytes": 9_600,
    "messages": 4,
    "tools": 0,
    "choices": 1,
    "max_output_tokens": 4_096,
    "self_contained": True,
    "cache_write": "none",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A call before it is made, and its event: what comes to the guard when all else is done."""

    asked: AskedCall
    event: NewEvent
    data: dict[str, Any]


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Behind the whole journal, with a thousand windows, then with a hundred thousand."""
    for windows, at_most in ((1_000, 5.0), (100_000, 6.0)):
        if windows > 1_000 and not workshop.size.judged:
            windows = 5_000
        home = workshop.copy(workshop.home(), f"held-{windows}", caches=False)
        _set_up(workshop, home, windows)
        yield from _measure(workshop, home, windows, at_most)
        workshop.remove(home)


def _set_up(workshop: Workshop, home: Home, windows: int) -> None:
    """A call of each user, and the budgets."""
    workshop.say(f"holds: {windows:,} windows behind {workshop.size.calls:,} calls")
    with Ledger.open(home.path) as ledger:
        call = {"provider": "openai", "model": "gpt-5-mini", "project": "bench", "usage_raw": USAGE}
        ledger.record_many({**call, "user": f"user-{number}"} for number in range(windows - len(BUDGETS) + 1))
        for name, period, where in BUDGETS:
            ledger.budgets.set(budget_fields(name, limit="1000000", period=period, where=where))


def _measure(workshop: Workshop, home: Home, windows: int, at_most: float) -> Iterator[Figure]:
    pairs = workshop.size.appends // 2
    bare_us: list[float] = []
    pair_us: list[float] = []
    whole_us: list[float] = []
    with Ledger.open(home.path) as ledger, bare_append(home.path / "bare") as bare:
        ledger.prepare()
        enforcement, book = ledger._enforcing(), ledger._current_book()

        def hold(pair: Pair) -> None:
            enforcement.reserve(pair.asked, declared=(), book=book)
            enforcement.settle(pair.event, pair.data)

        for start in range(-BLOCK, pairs, BLOCK):
            ready = [_pair(ledger, (start + number) * 7_919 % windows) for number in range(BLOCK)]
            # In turn, so that both find the disk alike: how long it takes to sync depends on what it did just before.
            both = [(timed_us(bare, line_of(pair.event)), timed_us(hold, pair)) for pair in ready]
            bare_block, pair_block = [list(times) for times in zip(*both, strict=True)]
            whole_block = [timed_us(_whole, ledger, number * 7_919 % windows) for number in range(BLOCK // 5)]
            if start >= 0:
                bare_us += bare_block
                pair_us += pair_block
                whole_us += whole_block
    medians = [
        [statistics.median(times[start : start + BLOCK]) for start in range(0, len(times), BLOCK)]
        for times in (pair_us, bare_us)
    ]
    value, spread = ratio(*medians)
    bare_p50, whole_p50 = statistics.median(bare_us), statistics.median(whole_us)
    yield Figure(
        "holds",
        f"reserve and settle, {windows:,} windows of which {len(BUDGETS)} cover the call",
        value,
        "x",
        f"write + fdatasync {bare_p50:.0f} us; p99 {percentile(pair_us, 99):,.0f} us; with ledger.call around it, "
        f"which reads the request and the answer, prices and attributes: {whole_p50 / bare_p50:.1f} x",
        spread,
        at_most=at_most,
        measured={
            "pair_p50_us": statistics.median(pair_us),
            "pair_p99_us": percentile(pair_us, 99),
            "call_p50_us": whole_p50,
            "bare_p50_us": bare_p50,
        },
    )
    opened_ms = [_open_ms(home) for _ in range(OPENINGS)]
    yield Figure(
        "holds",
        f"the guard opened, {windows:,} windows",
        statistics.median(opened_ms),
        "ms",
        f"with what was journaled since it was last written; slowest {max(opened_ms):.1f} ms",
        at_most=5.0,
        measured={"open_p50_ms": statistics.median(opened_ms)},
    )


def _pair(ledger: Ledger, user: int) -> Pair:
    begin = {
        "id": new_id(),
        "origin": "library",
        "started_at": format_time(now_us()),
        "run": ledger.run,
        "session": f"session-{user % 50}",
        "prompt": f"prompt-{user % 7}",
        "provider": "openai",
        "model": "gpt-5-mini",
        "attributes": {"project": "bench", "user": f"user-{user}"},
        "request": REQUEST,
    }
    end = {"status": "ok", "duration_ms": 812, "usage_raw": USAGE, "response_model": "gpt-5-mini-2025-08-07"}
    asked = ledger._asked(begin)
    held = Enforcement.as_held(asked, ledger._current_book())
    event, data = ledger._watched_event(begin, end, held)
    return Pair(asked, event, data)


def _whole(ledger: Ledger, user: int) -> None:
    call = ledger.call(
        provider="openai",
        model="gpt-5-mini",
        project="bench",
        user=f"user-{user}",
        prompt="prompt",
        request={"model": "gpt-5-mini", "messages": [{"role": "user", "content": "a" * 9_000}], "max_tokens": 4_096},
    )
    with call:
        call.complete({"model": "gpt-5-mini-2025-08-07", "usage": USAGE})


def _open_ms(home: Home) -> float:
    """What a new process waits for before its first decision, its modules being loaded."""
    with Ledger.open(home.path) as ledger:
        enforcement = ledger._enforcing()
        begun = time.perf_counter_ns()
        with enforcement.guard.locked():
            pass
        return (time.perf_counter_ns() - begun) / 1_000_000
