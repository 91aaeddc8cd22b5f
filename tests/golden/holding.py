"""Four weeks of two machines that hold calls to budgets, with every kind of event that this writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from keledger.journal import BudgetExceeded, Home, Ledger, NewEvent, _library, format_time, scan_journal
from keledger.journal._home import read_writer
from keledger.journal._line import TAIL_BYTES, chained_hash, encode_line
from keledger.journal.budgets import budget_fields

from .history import openai
from .still import Machine

PROGRAM = "keledger 0.1.0"

SHAPE = {
    "bytes": 4_210, "messages": 3, "tools": 1, "choices": 1, "max_output_tokens": 900, "growth_bytes": 620,
    "self_contained": True, "cache_write": "none",
}  # fmt: skip
"""What is told of a request that has a bound."""

ENDLESS = {name: count for name, count in SHAPE.items() if name != "max_output_tokens"}
"""What is told of one that sets no limit for its answer."""

BUDGETS: Sequence[Mapping[str, Any]] = (
    {"name": "crm", "limit": "0.05", "period": "day", "where": ["project=crm"], "timezone": "Europe/Berlin",
     "warn": "50,80"},
    {"name": "people", "limit": "0.02", "period": "month", "where": ["user=*,tag:env=*"], "timezone": "Asia/Kolkata",
     "action": "warn", "hold": "p50"},
    {"name": "strict", "limit": "0.03", "period": "week", "where": ["team=sales,provider=openai"],
     "timezone": "America/New_York", "week_start": "sun", "hold": "max", "warn": "100"},
    {"name": "lately", "limit": "0.03", "period": "rolling:7d", "where": ["prompt=draft"], "hold": "p99",
     "on_lost": "release", "warn": "40"},
    {"name": "chats", "limit": "0.04", "period": "session", "where": ["prompt=chat"], "unpriced": "15", "warn": "none"},
    {"name": "quarter", "limit": "25", "period": "quarter", "where": ["team="], "timezone": "Australia/Lord_Howe"},
    {"name": "year", "limit": "100", "period": "year", "action": "warn", "timezone": "Pacific/Kiritimati"},
    {"name": "all", "limit": "2", "period": "total", "action": "warn", "unpriced": "allow", "warn": "1"},
)  # fmt: skip


class Counter:
    """One program of a machine, that makes calls and sets budgets."""

    def __init__(self, machine: Machine, home: Home) -> None:
        self.machine, self.home = machine, home
        self.ledger = Ledger(home, program=PROGRAM)
        self.ledger.run = machine.new_id()

    def set(self, *, replace: bool = False, reason: str | None = None, **given: Any) -> str:
        """Set a budget."""
        return self.ledger.budgets.set(budget_fields(**given), replace=replace, reason=reason)

    def begin(
        self,
        *,
        model: str = "gpt-golden",
        prompt: str = "summarize",
        session: str = "s1",
        request: Mapping[str, Any] | None = SHAPE,
        declared: Mapping[str, str] | None = None,
        started_at: str | None = None,
        **attributes: Any,
    ) -> dict[str, Any]:
        """What is known of a call before it is sent; *declared* are limits of its own run or session."""
        begin = {
            "id": self.machine.new_id(),
            "origin": "hook",
            "started_at": started_at or format_time(self.machine.now_us()),
            "provider": "openai",
            "model": model,
            "prompt": prompt,
            "session": session,
            "run": self.ledger.run,
            "client": "keprompt 3.1.0",
            "attributes": {"project": "web", **attributes},
        }
        if request is not None:
            begin["request"] = dict(request)
        if declared is not None:
            begin["declared"] = [{"scope": scope, "limit_usd": limit} for scope, limit in declared.items()]
        return begin

    def reserve(self, **given: Any) -> dict[str, Any]:
        """Hold what a call may cost; returns what is known of it."""
        begin = self.begin(**given)
        assert self.ledger.reserve(begin) is not None, "no budget covers it"
        return begin

    def settle(self, begin: Mapping[str, Any], output: int = 500, **end: Any) -> None:
        """The call was answered."""
        usage = {"usage_raw": openai(1_200, output), "usage_format": "openai.chat"}
        told = {"status": "ok", "http_status": 200, "finish_reason": "stop", "duration_ms": 1_250, **usage, **end}
        recorded = self.ledger.record_hook(begin, told)
        assert recorded.journaled, recorded.problem

    def fail(self, begin: Mapping[str, Any]) -> None:
        """The provider refused the call: it costs nothing."""
        end = {"status": "error", "http_status": 429, "error_type": "RateLimitError", "duration_ms": 80}
        assert self.ledger.record_hook(begin, end).journaled

    def call(self, output: int = 500, **given: Any) -> str:
        """A call from its hold to its end; returns its id."""
        begin = self.reserve(**given)
        self.settle(begin, output)
        return str(begin["id"])

    def refused(self, *causes: str, **given: Any) -> None:
        """A call that budgets do not allow, for these causes."""
        with pytest.raises(BudgetExceeded) as raised:
            self.ledger.reserve(self.begin(**given))
        assert tuple(refusal.cause for refusal in raised.value.refusals) == causes

    def leave(self) -> None:
        """The program ends in the middle of whatever it does."""
        self.ledger.close()

    def find_lost(self) -> list[str]:
        """Look for the holds of programs that have ended; returns the ids of those that nobody has resolved."""
        return [str(hold["hold_id"]) for hold in self.ledger.budgets.holds() if hold["state"] == "lost"]


def write(machine: Machine, desktop: Home, laptop: Home) -> Iterator[str]:
    """All of it, in its order; yields what is being done."""
    with patch.object(_library, "_working_folder", lambda: None):
        yield from _write(machine, desktop, laptop)


def _write(machine: Machine, desktop: Home, laptop: Home) -> Iterator[str]:
    yield "calls, and then budgets that count them"
    machine.set("2026-10-24T20:00:00Z")
    one = Counter(machine, desktop)
    for number, user in enumerate(("ada", "Zoë", None)):
        given = {"project": "crm", "team": "sales", "usage": {"input_uncached": 4_000, "output_text": 1_500}}
        named = {"user": user} if user is not None else {}
        one.ledger.record(provider="openai", model="gpt-golden", id=f"before-{number}", session="s0", **given, **named)
    for budget in BUDGETS:
        one.set(**budget, reason="the year's plan" if budget["name"] == "year" else None)

    yield "a night of 25 hours in Berlin: holds, and every way in which one ends"
    machine.set("2026-10-24T21:30:00Z")
    voided = one.call(project="crm", user="ada", tags={"env": "prod"})
    machine.set("2026-10-24T22:30:00Z")
    one.call(2_000, project="crm", user="ada", tags={"env": ""})
    one.fail(one.reserve(project="crm", user="Zoë", tags={"env": "prod"}))
    machine.set("2026-10-25T22:30:00Z")
    one.call(18_000, project="crm", user="ada", tags={"env": "prod"})
    one.refused("limit", project="crm", user="Zoë")
    one.ledger.budgets.raise_limit("crm", "0.2", "2026-10-26", "the migration")
    unknown = one.reserve(project="crm", user="Zoë")
    one.ledger.record_hook(unknown, None)
    never = one.reserve(project="crm", user="Zoë")
    one.ledger.release(never["id"])
    _library_calls(one)

    yield "programs that end without a word"
    machine.set("2026-10-26T09:00:00Z")
    for resolved_usd in ("0.0031", "0", None):
        two = Counter(machine, desktop)
        two.reserve(user="grace", tags={"env": "test"})
        two.leave()
        lost = {*one.find_lost()}
        if resolved_usd is not None:
            newest = max(lost, key=lambda hold_id: _reserved_at(desktop, hold_id))
            one.ledger.budgets.resolve(newest, resolved_usd, "as the provider's page says")
    two = Counter(machine, desktop)
    begin = two.reserve(session="late")
    two.leave()
    (desktop.path / "holds" / _hold_of(desktop, begin["id"])).unlink()
    one.find_lost()
    two.settle(begin)
    two.leave()
    two = Counter(machine, desktop)
    begin = two.reserve(session="later")
    two.leave()
    one.find_lost()
    one.ledger.budgets.resolve(begin["id"], "0.001", "a guess")
    two.settle(begin)
    two.leave()

    yield "bounds, prices that nobody knows, and what a lost hold gives back"
    machine.set("2026-10-27T14:00:00Z")
    one.call(team="sales", prompt="plan")
    one.refused("unbounded", team="sales", prompt="plan", request=ENDLESS)
    one.refused("unpriced", project="crm", team="it", model="unheard-of")
    one.settle(one.reserve(prompt="chat", model="unheard-of", session="chat-1", team="it"))
    one.settle(one.reserve(team="it", model="unheard-of"))
    one.refused("limit", prompt="chat", session="chat-1", team="it", request=dict(SHAPE, max_output_tokens=90_000))
    one.call(5_000, prompt="draft", team="it")
    two = Counter(machine, desktop)
    two.reserve(prompt="draft", team="it", request=dict(SHAPE, bytes=9_000))
    two.leave()
    one.call(3_000, prompt="draft", team="it")  # there is room for it once the other one is found lost
    one.ledger.budgets.raise_limit("lately", "0.06", None, "drafts are longer now")
    one.call(6_000, prompt="draft", team="it")

    yield "limits that a run and a session bring along"
    one.call(declared={"run": "0.5"}, prompt="plan", session="s2")
    one.call(declared={"run": "0.5", "session": "0.02"}, prompt="plan", session="s2")
    one.refused("limit", "limit", declared={"run": "0.000001", "session": "0.000002"}, prompt="plan", session="s2")

    yield "another machine, whose budgets are its own"
    machine.set("2026-10-29T10:00:00Z")
    three = Counter(machine, laptop)
    three.set(name="crm", limit="0.05", period="month", where=["project=crm"], hold="max", warn="60")
    three.call(700, project="crm", user="grace")
    going_on = three.reserve(project="crm", user="grace", prompt="draft")
    forgotten = three.reserve(project="crm", user="grace", tags={"env": "prod"})
    for counter in (one, three):
        counter.ledger.record(
            provider="openai", model="gpt-golden", id="both", time="2026-10-29T09:00:00Z", project="crm",
            session="both", usage={"input_uncached": 900, "output_text": 12_000}, user="grace",
        )  # fmt: skip
    one.ledger.merge(laptop.path, "the laptop's calls")
    one.ledger.budgets.resolve(forgotten["id"], "0.0008", "the laptop was switched off")
    machine.set("2026-10-30T10:00:00Z")
    three.settle(going_on)
    three.reserve(project="crm", user="grace", session="never-told")
    one.ledger.merge(laptop.path, "what the laptop did since")

    yield "voids, adjustments, and calls that are told twice"
    machine.set("2026-11-02T10:00:00Z")
    one.ledger.void(voided, "a test")
    one.ledger.void(unknown["id"], "it was never sent")
    one.ledger.revert_void(unknown["id"], "nobody knows")
    adjusted = one.ledger.adjust(dict(ADJUSTMENT, amount_usd="0.004"), "a fee")
    one.ledger.adjust(dict(ADJUSTMENT, amount_usd="-0.004", reverses=adjusted), "that of another account")
    one.ledger.adjust(dict(ADJUSTMENT, amount_usd="-0.001"), "a credit")
    begin = one.reserve(project="crm", session="told")
    one.settle(begin, response_id="resp-1")
    for key, quality, call_key, tokens in (
        ("row-1", "under_count", "legacy:2", 900),
        ("row-2", "totals_only", "legacy:2", 1_100),
        ("row-3", "measured", "openai:resp-1", 500),
    ):
        one.ledger.record(
            source="import:legacy", id=key, provider="openai", model="gpt-golden", project="crm", session="told",
            time="2026-11-02T10:00:00Z", quality=quality, call_keys=[call_key], usage={"output_text": tokens},
        )  # fmt: skip

    yield "what a later release sets, and what takes its place"
    machine.set("2026-11-03T10:00:00Z")
    one.leave()
    _append_later_version(desktop, machine, {"name": "later", "action": "block", "limit": {"usd": "5"}})
    one.refused("unreadable", project="crm")
    one.set(name="later", limit="5", period="month", where=["project=later"], reason="as this release knows it")
    one.set(name="all", limit="3", period="total", action="warn", unpriced="allow", replace=True, reason="more calls")
    one.ledger.budgets.remove("year", "it only ever warned")
    one.call(project="crm", session="s3", started_at="2026-10-20T12:00:00.000000Z")
    one.call(project="crm", session="s3", tags={"env": "prod"}, user="ada")
    one.call(project="crm", session="s3", tags={"env": "prod"}, user="ada")
    one.leave()
    three.leave()


def _library_calls(one: Counter) -> None:
    """Calls of the library: one answered, one that was never sent."""
    given = {"provider": "openai", "model": "gpt-golden", "prompt": "summarize", "session": "live", "project": "web"}
    request = {"model": "gpt-golden", "messages": [{"role": "user", "content": "Sum it up."}], "max_tokens": 300}
    with one.ledger.call(**given, request=request) as call:
        answer = {"id": "chatcmpl-1", "model": "gpt-golden-2026-08-01", "usage": openai(40, 120)}
        call.complete(answer, duration_ms=900)
    with one.ledger.call(**given, request=request) as call:
        call.not_sent()


def _hold_of(home: Home, call_id: str) -> str:
    return next(event["id"] for event in _reservations(home) if event["data"]["call_id"] == call_id)


def _reserved_at(home: Home, hold_id: str) -> int:
    return next(int(event["seq"]) for event in _reservations(home) if event["id"] == hold_id)


def _reservations(home: Home) -> Iterator[Mapping[str, Any]]:
    for chunk in scan_journal(home).chunks:
        for line in chunk.lines():
            event = orjson.loads(line)
            if event["type"] == "call.reserved":
                yield event


def _append_later_version(home: Home, machine: Machine, data: Mapping[str, Any]) -> None:
    """Append a ``budget.set`` of version 2, as a later release might."""
    positions = scan_journal(home).positions
    writer = read_writer(home)
    assert writer is not None
    last = positions[writer.writer]
    previous, tick = bytes.fromhex(last.hash), max(position.tick for position in positions.values()) + 1
    line, _ = encode_line(
        NewEvent.of("budget.set", machine.new_id(), data),
        writer=writer.writer,
        time=format_time(machine.now_us()),
        seq=last.seq + 1,
        tick=tick,
        previous=previous,
    )
    line = line.replace(b'"v":1,', b'"v":2,', 1)
    path = home.journal / writer.writer / f"{last.segment:08d}.jsonl"
    with open(path, "ab") as file:
        file.write(line[:-TAIL_BYTES] + b',"hash":"%b"}\n' % chained_hash(previous, line).hex().encode())


ADJUSTMENT = {
    "provider": "openai",
    "model": "gpt-golden",
    "project": "crm",
    "effective_at": "2026-11-01T12:00:00.000000Z",
    "category": "Adjustment",
}
