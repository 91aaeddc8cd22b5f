"""Whatever happens in whatever order: closed months keep their digits, and nothing is lost or counted twice."""

from __future__ import annotations

import random
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, KeledgerError
from keledger.projections import (
    Selector,
    check_closable,
    digest,
    list_adjustments,
    list_periods,
    list_reprices,
    open_projection,
)
from tests.journal.support import call, calls
from tests.projections.repricing import BOOKS, adopt, ledger_of, reprice
from tests.projections.support import rebuild_or_not

from .support import close_month, closings, monthly, pico, shown

MONTHS = ("2026-06", "2026-07", "2026-08", "2026-09")
FAR_US = 2**60
"""When all of these months are long over."""

ZONES = ("UTC", "UTC", "UTC", "Europe/Berlin")


class History:
    """Two homes in which things happen, and what must hold of the first one after each of them."""

    def __init__(self, folder: Path, choices: random.Random) -> None:
        self.choices = choices
        self.homes = [Home.at(folder / name) for name in ("first", "second")]
        self.ledgers = [ledger_of(home) for home in self.homes]
        self.shown: dict[str, dict[str, Any]] = {}
        for number, ledger in enumerate(self.ledgers):
            ledger.record(**call(id=f"begin-{number}", time="2026-06-15T00:00:00Z"))

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()

    def record(self, at: int) -> None:
        month, choices = self.choices.choice(MONTHS), self.choices
        # Midnight on the first is another month's in one of the zones.
        day = choices.choice(("01T00:30:00", "17T12:00:00", "30T23:30:00"))
        fields = call(
            time=f"{month}-{day}Z",
            id=f"call-{choices.randrange(12)}" if choices.random() < 0.3 else f"own-{choices.random()}",
            project=choices.choice(("crm", "web", None)) or "",
            usage_raw={"prompt_tokens": choices.randrange(1, 5000), "completion_tokens": 5},
        )
        fields = {name: value for name, value in fields.items() if value != ""}
        if choices.random() < 0.2:
            fields |= {"call_keys": [f"key:{choices.randrange(4)}"]}
        source = choices.choice(("record", "record", "record", "import:logs"))
        if choices.random() < 0.2:
            fields = {**fields, "model": "unheard-of", "reported_cost_usd": "0.25"}
        self.ledgers[at].record(source=source, **fields)

    def void(self, at: int) -> None:
        self.ledgers[at].void(self.choices.choice(self.here(at)), "test")

    def unvoid(self, at: int) -> None:
        self.ledgers[at].revert_void(self.choices.choice(self.here(at)), "test")

    def here(self, at: int) -> list[str]:
        """The calls of one home, by id."""
        return [event["id"] for event in calls(self.homes[at])]

    def merge(self, at: int) -> None:
        self.ledgers[at].merge(self.homes[1 - at].path)

    def adjust(self, at: int) -> None:
        day = f"{self.choices.choice(MONTHS)}-{self.choices.choice(('01', '20'))}T12:00:00.000000Z"
        amount = self.choices.choice(("-1.5", "0.000000000001", "3"))
        self.ledgers[at].adjust(
            {"amount_usd": amount, "provider": "openai", "effective_at": day, "category": "Credit"}, "test"
        )

    def reprice(self, at: int) -> None:
        home, choices = self.homes[at], self.choices
        days = (None, None)
        if choices.random() < 0.6:
            first = date.fromisoformat(f"{choices.choice(MONTHS)}-01")
            days = (first, first + timedelta(days=choices.randrange(45)))
        where = (("project", choices.choice(("crm", "web"))),) if choices.random() < 0.3 else ()
        selector = Selector.of_days(*days, "UTC", where=where)
        reprice(home, adopt(home, choices.choice((*BOOKS, "list"))), selector, reported=True)

    def unreprice(self, at: int) -> None:
        with open_projection(self.homes[at]) as projection:
            standing = [one.id for one in list_reprices(projection) if one.reverted_at is None]
        if standing:
            self.ledgers[at].revert_reprice(self.choices.choice(standing), "test")

    def close_month(self, at: int) -> None:
        month, zone = self.choices.choice(MONTHS), self.choices.choice(ZONES)
        with open_projection(self.homes[at]) as projection:
            periods = list_periods(projection)
        try:
            check_closable(periods, month, zone, FAR_US)
        except KeledgerError:
            return
        close_month(self.homes[at], self.ledgers[at], month, zone)

    def reopen(self, at: int) -> None:
        standing = closings(self.homes[at])
        if standing:
            self.ledgers[at].reopen_period(self.choices.choice(standing).id, "test")

    def check(self, at: int) -> None:
        """What must hold of one home now."""
        home = self.homes[at]
        rebuild_or_not(home, self.choices.random() < 0.2)
        report = monthly(home)
        assert not [finding for finding in report.findings if finding.kind.startswith("period")]
        with open_projection(home) as projection:
            ((present,),) = projection.query("SELECT COALESCE(SUM(cost_pico), 0) FROM call_fact")
            adjusted = sum(one.pico for one in list_adjustments(projection))
        told = pico(report.totals, "cost_usd", "adjustments_usd", "corrections_usd")
        assert told == int(present) + adjusted
        corrected = sum(pico(one, "cost_usd", "adjustments_usd") for one in report.corrections or ())
        assert pico(report.totals, "corrections_usd") == corrected
        by_project = monthly(home, by=("project",))
        assert by_project.totals == report.totals
        for closing in closings(home):
            now = shown(home, closing)
            # What it shows is what it said when it was closed, and what it showed whenever it was looked at.
            totals = closing.data["totals"]
            for name in ("calls", "input_tokens", "uncosted_calls", "adjustments_usd", "corrections_usd"):
                assert now["totals"][name] == totals[name], name
            assert (now["totals"]["cost_usd"] or "0") == totals["cost_usd"]
            assert self.shown.setdefault(closing.id, now) == now
            rows = {row["month"]: row for row in monthly(home, timezone=closing.timezone).rows}
            row = rows.get(closing.period, {"calls": 0, "cost_usd": "0", "corrections_usd": "0"})
            assert (row["calls"], row["cost_usd"]) == (totals["calls"], now["totals"]["cost_usd"])
            if all(one.timezone == closing.timezone for one in closings(home)):
                assert row["corrections_usd"] == totals["corrections_usd"]


STEPS = {
    "record": 6, "void": 2, "unvoid": 1, "merge": 2, "adjust": 1, "reprice": 2, "unreprice": 1, "close_month": 4,
    "reopen": 1,
}  # fmt: skip


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), length=st.integers(6, 22))
def test_closed_months_keep_their_digits_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, seed: int, length: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    choices = random.Random(seed)
    history = History(folder, choices)
    try:
        for _ in range(length):
            step = choices.choices(list(STEPS), weights=list(STEPS.values()))[0]
            at = choices.randrange(2)
            getattr(history, step)(at)
            if choices.random() < 0.25:
                history.check(at)
        history.merge(0)
        history.merge(1)
        for at in (0, 1):
            history.check(at)
        digests = []
        for home in history.homes:
            with open_projection(home) as projection:
                digests.append((digest(projection), monthly(home).rows))
        assert digests[0] == digests[1]
    finally:
        history.close()
        shutil.rmtree(folder)
