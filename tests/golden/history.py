"""Three months of two machines, with every kind of event that is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

from keledger.journal import Home, Ledger, NewEvent, anchor, format_time, replaced_layer
from keledger.journal.prices import PriceStore
from keledger.projections import (
    RepriceRequest,
    Selector,
    find_book,
    find_closing,
    open_projection,
    preview_reprice,
    reprice_data,
)
from keledger.projections._closing import closing_data

from .prices import LAYERS, OCTOBER_US
from .still import Machine

PROGRAM = "keledger 0.1.0"
DAY_US = 24 * 3600 * 10**6


def openai(prompt: int, answer: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A usage object of OpenAI's chat completions."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def kinds(draw: random.Random) -> list[dict[str, Any]]:
    """One call of each kind, with figures of its own."""
    prompt, answer = draw.randrange(700, 9_000), draw.randrange(20, 900)
    plain = {"provider": "openai", "model": "gpt-golden", "usage_raw": openai(prompt, answer, prompt // 3, answer // 2)}
    claude = {"input_tokens": prompt, "cache_read_input_tokens": 1024, "output_tokens": answer}
    written = {"cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": answer}}
    gemini = {"promptTokenCount": prompt, "candidatesTokenCount": answer, "thoughtsTokenCount": 64}
    return [
        plain | {"response_model": "gpt-golden-2026-08-01", "finish_reason": "stop", "http_status": 200},
        plain | {"pricing_context": {"processing": "batch"}},
        plain | {"pricing_context": {"service_tier": "priority"}, "reported_cost_usd": "0.5"},
        plain | {"pricing_context": {"service_tier": "priority"}},
        plain | {"usage_raw": openai(prompt, answer) | {"service_tier": "default"}},
        {"provider": "openai", "model": "gpt-golden", "usage": {"input_uncached": prompt, "web_searches": 3}},
        {"provider": "openai", "model": "gpt-golden", "usage": {"input_uncached": prompt, "file_searches": 1}},
        {"provider": "openai", "model": "voice-golden", "usage": {"input_audio": prompt, "output_audio": answer}},
        {"provider": "openai", "model": "voice-golden", "usage": {"cache_read_audio": prompt, "output_text": answer}},
        {"provider": "openai", "model": "whisper-golden", "usage": {"input_audio_ms": prompt}},
        {"provider": "anthropic", "model": "claude-golden", "usage_raw": claude | written},
        {"provider": "anthropic", "model": "claude-golden", "usage_raw": claude | {"service_tier": "batch"}},
        {"provider": "bedrock", "model": "claude-golden", "usage_raw": claude, "usage_format": "anthropic.messages"},
        {"provider": "gemini", "model": "models/gemini-golden", "usage_raw": gemini},
        {"provider": "google", "model": "gemini-golden", "usage": {"input_uncached": 200_000, "output_text": answer}},
        {"provider": "google", "model": "gemini-golden", "usage": {"cache_read": 200_001, "output_reasoning": answer}},
        {"provider": "google", "model": "gemini-golden", "usage": {"input_audio": 9, "input_image": prompt}},
        {"provider": "mistral", "model": "ocr-golden", "usage": {"input_pages": 3, "requests": 1}},
        {"provider": "mistral", "model": "in-house-golden", "usage_raw": openai(prompt, answer)},
        {"provider": "openrouter", "model": "golden:free", "usage": {"input_uncached": prompt, "output_text": answer}},
        {"provider": "openrouter", "model": "not/priced", "usage_raw": openai(prompt, answer) | {"cost": 0.000123}},
        {"provider": "elsewhere", "model": "unheard-of", "usage": {"input_chars": prompt, "output_image": 7}},
        {"provider": "openai", "model": "gpt-golden", "status": "error", "http_status": 429},
        {"provider": "openai", "model": "gpt-golden", "status": "error", "usage_raw": openai(prompt, 0)},
        {"provider": "openai", "model": "gpt-golden", "status": "unknown", "error_type": "KeyboardInterrupt"},
        {"provider": "anthropic", "model": "claude-golden", "reported_cost_usd": "0.0125", "http_status": 200},
    ]  # fmt: skip


class Desk:
    """One home, and what its user does there."""

    def __init__(self, machine: Machine, home: Home, seed: str) -> None:
        self.machine, self.home = machine, home
        self._draw = random.Random(seed)
        self.ledger = Ledger(home, program=PROGRAM)
        self.ledger.run = machine.new_id()

    def record(self, days: int, *, only: int | None = None, **fields: Any) -> list[str]:
        """Let so many days go by, and record a call of each kind, one after the other in that time."""
        calls = kinds(self._draw)[:only]
        begun_us = self.machine.clock_us
        self.machine.clock_us += days * DAY_US
        ids = []
        for number, given in enumerate(calls):
            at_us = begun_us + (number * days * DAY_US + self._draw.randrange(DAY_US // 2)) // len(calls)
            ids.append(
                self.ledger.record(**given, **{"time": format_time(at_us), **self._attributes(number), **fields})
            )
        return ids

    def _attributes(self, number: int) -> dict[str, Any]:
        some = {
            "user": ("ada", "Zoë", None)[number % 3],
            "project": ("crm", "web", "crm", None)[number % 4],
            "team": ("sales", None)[number % 2],
            "cost_center": (None, "4711")[number % 2],
            "session": f"s{number // 5}",
            "prompt": ("summarize", "draft")[number % 2],
            "tags": ({"env": "prod", "ticket": f"K-{number}"}, None, {"env": "test"})[number % 3],
            "duration_ms": self._draw.randrange(200, 9_000),
        }
        return {name: value for name, value in some.items() if value is not None}

    def adopt(self, kind: str, reason: str) -> None:
        """Take a layer of the golden prices in."""
        before = self.ledger.manifest()
        name = {"user": "my prices", "imported": "golden import"}[kind]
        adoption = replaced_layer(before, kind, LAYERS[kind], name)
        self.ledger.adopt_prices(adoption, reason, based_on=before.sha256)

    def reprice(self, book: str, selector: Selector, reason: str, **flags: bool) -> str:
        """Compute calls again, as the command does."""
        through = anchor(self.home)
        with open_projection(self.home) as projection:
            sha256 = find_book(projection, book)
            request = RepriceRequest(selector, {line.writer: line.seq for line in through.lines}, **flags)
            found = preview_reprice(projection, request, PriceStore(self.home.prices).load_book(sha256))
        assert found.total.changed_calls, f"nothing changes: {reason}"
        return self.ledger.apply_reprice(reprice_data(found, through), reason)

    def close(self, period: str, reason: str) -> str:
        """Close a month."""
        through = anchor(self.home)
        with open_projection(self.home) as projection:
            closing = closing_data(projection, period, "UTC", through)
        return self.ledger.close_period(closing, reason)

    def append(self, *events: NewEvent) -> None:
        """Events that no release of now writes."""
        self.ledger.append_events(events)

    def as_older(self, **given: Any) -> None:
        """A call that an older normaliser counted."""
        event = self.ledger.event_of({**given, "time": format_time(self.machine.clock_us)})
        data = orjson.loads(event.data) | {"normalizer": 0}
        self.append(NewEvent.of(event.type, event.id, data))

    def tear(self) -> None:
        """Leave part of a line at the end, as a crash does; the next append seals it off."""
        newest = self.home.segments(self.home.writers()[0])[-1]
        with open(newest, "ab") as file:
            file.write(b'{"specversion":"1.0","id":"torn\0\0\0')
        self.ledger.close()
        run = self.ledger.run
        self.ledger = Ledger(self.home, program=PROGRAM)
        self.ledger.run = run


def live(machine: Machine, ledger: Ledger) -> None:
    """Calls of the library: one answered, one that an exception ended."""
    for usage in (openai(1200, 30), None):
        try:
            with ledger.call(provider="openai", model="gpt-golden", prompt="summarize", session="live") as call:
                if usage is None:
                    raise TimeoutError
                call.complete({"id": f"chatcmpl-{machine.clock_us}", "model": "gpt-golden", "usage": usage})
        except TimeoutError:
            pass


def write(machine: Machine, desktop: Home, laptop: Home) -> Iterator[str]:
    """All of it, in its order; yields what is being done."""
    yield "September, on a desktop and a laptop"
    machine.set("2026-09-02T08:00:00Z")
    one, two = Desk(machine, desktop, "golden desktop"), Desk(machine, laptop, "golden laptop")
    first = one.record(12)
    one.ledger.record(**kinds(random.Random(7))[0], time="2026-09-03T10:00:00Z", id="order-7", session="s1")
    two.ledger.record(**kinds(random.Random(7))[0], time="2026-09-03T10:00:00Z", id="order-7", session="s1")
    seen = one.ledger.record(**kinds(random.Random(10))[0], time="2026-09-05T10:00:00Z", response_id="resp-1")
    for quality, key in (("totals_only", "row-1"), ("under_count", "row-2")):
        imported = kinds(random.Random(10))[0] | {"quality": quality, "call_keys": ["openai:resp-1", "legacy:1"]}
        one.ledger.record(source="import:legacy", id=key, time="2026-09-05T10:00:01Z", **imported)
    two.record(7, user="grace")
    two.record(2, user="grace", project="crm")
    one.record(2)
    live(machine, one.ledger)
    one.ledger.void(first[0], "made by mistake")
    one.ledger.void(first[1], "made by mistake")
    one.ledger.revert_void(first[1], "it was right")

    yield "October: prices of one's own, an import, and what they make of September"
    machine.set("2026-10-05T08:00:00Z")
    one.adopt("user", "as negotiated")
    one.record(6)
    machine.set("2026-10-12T08:00:00Z")
    one.adopt("imported", "prices that the list lacks")
    one.tear()
    one.record(6)
    one.as_older(provider="openai", model="gpt-golden", usage={"input_uncached": 900, "output_text": 80},
                 usage_raw=openai(900, 80, 512), usage_format="openai.chat", session="older")  # fmt: skip
    one.as_older(provider="openai", model="gpt-golden", usage={"input_uncached": 901}, session="older")
    one.as_older(provider="openai", model="gpt-golden", usage={"input_uncached": 902}, usage_format="openai.chat",
                 usage_raw={**openai(902, 0), "k": {f"k{place}": place for place in range(4000)}})  # fmt: skip
    one.reprice("latest", Selector(only_unpriced=True), "what had no price has one now")
    undone = one.reprice("latest", Selector(started_to_us=OCTOBER_US), "September, too", reported=True)
    two.adopt("user", "as negotiated")
    two.reprice("latest", Selector(where=(("project", "crm"),)), "the contract of this project")
    one.reprice("latest", Selector(where=(("tag:env", "prod"),)), "by tag", allow_unpriced=True)
    one.ledger.revert_reprice(undone, "September stays as it was")

    yield "November: the laptop is merged, a month closed, invoiced and adjusted"
    machine.set("2026-11-01T08:00:00Z")
    one.ledger.merge(laptop.path, "the laptop's calls")
    reopened = one.close("2026-09", "the books of September")
    one.ledger.reopen_period(reopened, "an invoice was missing")
    invoice = one.ledger.record_invoice(INVOICE, "as it came")
    adjusted = one.ledger.adjust(ADJUSTMENT | {"invoice_id": invoice}, "the difference to the invoice")
    one.ledger.adjust(ADJUSTMENT | {"amount_usd": "0.25", "reverses": adjusted}, "it was a mistake")
    one.ledger.adjust(TAX, "sales tax")
    one.close("2026-09", "the books of September, with the invoice")
    one.record(5)
    two.record(3, user="grace")
    first_book = _first_book(desktop)
    one.reprice(
        first_book, Selector(started_from_us=OCTOBER_US, where=(("provider", "anthropic"),)), "back to the list"
    )
    one.reprice("latest", Selector(where=(("team", None),)), "calls of no team")
    two.record(4, only=12, user="grace")
    one.ledger.merge(laptop.path, "the laptop's calls of November")
    one.close("2026-10", "the books of October")
    one.ledger.void(first[4], "found out too late")
    one.record(3)
    one.ledger.void(seen, "a test")
    one.append(
        NewEvent.of("split.set", machine.new_id(), {"name": "halves", "shares": {"crm": 50, "web": 50}}),
        NewEvent.of("weather.changed", machine.new_id(), {"sky": "blue"}),
    )
    with open_projection(desktop) as projection:
        assert find_closing(projection, "2026-10").period == "2026-10"
    one.ledger.close()
    two.ledger.close()


def _first_book(home: Home) -> str:
    with open_projection(home) as projection:
        rows = projection.query("SELECT data FROM other_line WHERE type = 'prices.adopted' ORDER BY tick, writer, seq")
    return str(orjson.loads(rows[0][0])["book"])


INVOICE = {
    "provider": "openai",
    "period": "2026-09",
    "timezone": "UTC",
    "currency": "USD",
    "source_name": "invoice.csv",
    "source_format": "openai.costs",
    "source_sha256": "ab" * 32,
    "lines": [
        {"date": "2026-09-03", "model": "gpt-golden", "quantity": 12_345, "amount_usd": "0.0125"},
        {"date": "2026-09-05", "item": "storage", "amount_usd": "1.5"},
    ],
    "total_usd": "1.5125",
}

ADJUSTMENT = {
    "amount_usd": "-0.25",
    "provider": "openai",
    "model": "gpt-golden",
    "project": "crm",
    "effective_at": "2026-09-30T23:59:59.999999Z",
    "category": "Credit",
}

TAX = {"amount_usd": "0.19", "provider": "anthropic", "effective_at": "2026-10-31T12:00:00.000000Z", "category": "Tax"}
