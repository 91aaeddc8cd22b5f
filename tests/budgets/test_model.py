"""Random histories of budgets, holds, deaths, clocks and merges, held to ``model.py`` after every step.

What is held: nothing is over-granted and nothing refused that fits; each hold ends once; the guard that was carried
along, one that is built from nothing, the model and ``Budgets.standings`` are one; and what calls came to is what
reports at recorded prices say.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keledger.journal import BudgetExceeded, Home, InputRefused, Ledger, NotFound, format_time
from keledger.journal._home import own_writers
from keledger.journal._library import LibraryCall
from keledger.journal.budgets import budget_fields
from keledger.journal.budgets._standing import Standing
from keledger.projections import ReportOptions, open_projection, report_daily
from tests.journal.support import events
from tests.promises.support import Tell, in_child, kill_me

from .model import Budget, Event, Model, in_order
from .support import carried, compare, from_nothing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NIGHTS = (
    datetime(2026, 3, 28, 22, 30, tzinfo=UTC),  # Berlin goes to summer time that night, Lord Howe back a week later
    datetime(2026, 4, 4, 14, 10, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 10, tzinfo=UTC),
    datetime(2026, 10, 24, 22, 30, tzinfo=UTC),
)
ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe")
PERIODS = ("day", "week", "month", "quarter", "year", "session", "total", "rolling:1d", "rolling:30d")
WHERES = (
    (), ("user=*",), ("project=crm",), ("user=ada", "project=*"), ("model=gpt-5-mini",), ("tag:env=prod",), ("user=",),
)  # fmt: skip
MODELS = ("gpt-5-mini", "gpt-5-mini", "gpt-5-nano", "nobody-prices-this")

names = st.sampled_from(("one", "two"))
attributes = st.fixed_dictionaries(
    {"session": st.sampled_from(("s1", "s2"))},
    optional={
        "user": st.sampled_from(("ada", "bob")),
        "project": st.sampled_from(("crm", "erp")),
        "tags": st.sampled_from(({"env": "prod"}, {"env": "test"})),
    },
)
money = st.sampled_from(("0.002", "0.005", "0.01", "0.02", "1"))
tokens = st.integers(1, 4000)
tellings = st.lists(
    st.tuples(
        st.sampled_from(("record", "import:one", "import:two")),
        st.sampled_from(("measured", "totals_only")),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=4,
)
"""Who tells of a call, how well, and under which key."""

ENDS = ("ok", "ok", "ok", "unread", "error", "nothing", "not sent", "elsewhere")


class Clock:
    """What every part of keledger takes for the time: it goes on by a millisecond a look."""

    def __init__(self) -> None:
        self.now_ns = (NIGHTS[0] - EPOCH) // timedelta(microseconds=1) * 1000

    def look(self) -> int:
        self.now_ns += 10**6
        return self.now_ns

    @property
    def now(self) -> datetime:
        """Without a look."""
        return EPOCH + timedelta(microseconds=self.now_ns // 1000)


class Budgets(RuleBasedStateMachine):
    """A home with two ledgers open on it, and the home of another machine."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        monkeypatch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.clock = Clock()
        monkeypatch.setattr(time, "time_ns", self.clock.look)
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, lambda _: None)
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.home, self.other, self.copy = Home.at(folder / "home"), Home.at(folder / "other"), folder / "copy"
        self.built = folder / "built"
        self.ledgers = [self.stack.enter_context(Ledger.open(self.home.path)) for _ in range(2)]
        self.others = self.stack.enter_context(Ledger.open(self.other.path))
        self.under_way: list[tuple[Ledger, LibraryCall]] = []
        self.told: dict[tuple[str, int], Event] = {}
        """Every event of the home that was seen so far."""
        self.numbers = 0

    def teardown(self) -> None:
        """Hold all that was to the reports, once."""
        try:
            if self.told:
                self.reports_say_the_same()
        finally:
            self.stack.close()

    @initialize(
        limit=money,
        period=st.sampled_from(PERIODS),
        zone=st.sampled_from(ZONES),
        hold=st.sampled_from(("p90", "max")),
        most=st.lists(tokens, max_size=6),
        took=tokens,
    )
    def begin(self, limit: str, period: str, zone: str, hold: str, most: list[int], took: int) -> None:
        """A budget that blocks, some calls that it covers, and the first of them ended."""
        given = budget_fields("one", limit=limit, period=period, timezone=zone, hold=hold)
        self.ledgers[0].budgets.set(given)
        for each in most:
            self.reserve(0, MODELS[0], each, {"session": "s1"}, 1)
        if self.under_way:
            self.end(0, ["ok"], took)

    # Budgets

    @rule(
        name=names,
        limit=money,
        period=st.sampled_from(PERIODS),
        where=st.sampled_from(WHERES),
        zone=st.sampled_from(ZONES),
        action=st.sampled_from(("block", "block", "warn")),
        hold=st.sampled_from(("p50", "p90", "max")),
        on_lost=st.sampled_from(("count", "release")),
        unpriced=st.sampled_from((None, "allow", "15")),
        warn=st.sampled_from(("none", "50,100")),
        ledger=st.integers(0, 1),
    )
    def set_or_replace(self, ledger: int, name: str, **fields: Any) -> None:
        if fields["hold"] == "max" and fields["action"] == "block":
            fields["unpriced"] = None  # nobody knows the most that a call can cost whose model has no price
        self.ledgers[ledger].budgets.set(
            budget_fields(
                name, timezone=fields.pop("zone"), week_start="sun" if fields["period"] == "week" else None, **fields
            ),
            replace=True,
        )

    @rule(name=names, by=money, until=st.sampled_from((None, "today", "in an hour")), ledger=st.integers(0, 1))
    def raise_limit(self, ledger: int, name: str, by: str, until: str | None) -> None:
        standing = self.model().budgets.get(name)
        if standing is None:
            with pytest.raises(NotFound):
                self.ledgers[ledger].budgets.raise_limit(name, "5", None, "a test")
            return
        to = standing.limit(self.clock.now) + Decimal(by)
        if until == "in an hour":
            until = format_time(self.clock.now_ns // 1000 + 3_600_000_000)
        self.ledgers[ledger].budgets.raise_limit(name, str(to), until, "a test")

    @rule(name=names, ledger=st.integers(0, 1))
    def remove(self, ledger: int, name: str) -> None:
        if name in self.model().budgets:
            self.ledgers[ledger].budgets.remove(name)

    # Calls

    def call(self, ledger: Ledger, model: str, most: int, **fields: Any) -> LibraryCall:
        request = {"messages": [{"role": "user", "content": "x" * 40}], "max_tokens": most}
        return ledger.call(provider="openai", model=model, request=request, prompt="p", **fields)

    @rule(
        ledger=st.integers(0, 1),
        model=st.sampled_from(MODELS),
        most=tokens,
        fields=attributes,
        times=st.integers(1, 6),
    )
    def reserve(self, ledger: int, model: str, most: int, fields: dict[str, Any], times: int) -> None:
        """Calls at once, the ledgers in turn."""
        for number in range(times):
            own = self.ledgers[(ledger + number) % 2]
            made = self.call(own, model, most, **fields)
            try:
                made.__enter__()
            except BudgetExceeded as error:
                if not error.refusals:
                    raise
            else:
                self.under_way.append((own, made))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9), hows=st.lists(st.sampled_from(ENDS), min_size=1, max_size=4), took=tokens)
    def end(self, which: int, hows: list[str], took: int) -> None:
        for how in hows[: len(self.under_way)]:
            self.end_one(self.under_way.pop(which % len(self.under_way))[1], how, took)

    def end_one(self, made: LibraryCall, how: str, took: int) -> None:
        error: Exception | None = None
        self.numbers += 1
        if how in ("ok", "elsewhere"):
            more = {"session": "s3"} if how == "elsewhere" else {}
            usage = {"prompt_tokens": 20, "completion_tokens": took}
            made.complete({"id": f"r{self.numbers}", "usage": usage}, **more)
        elif how == "unread":
            made.complete({"what": "is this"})
        elif how == "error":
            error = OSError("no")
            error.status_code = 500  # type: ignore[attr-defined]
        elif how == "not sent":
            made.not_sent()
        made.__exit__(type(error) if error else None, error, None)
        if how != "not sent":
            assert made.recorded is not None
            assert made.recorded.journaled

    @rule(ledger=st.integers(0, 1), most=tokens, fields=attributes, is_inherited=st.booleans())
    def crash(self, ledger: int, most: int, fields: dict[str, Any], is_inherited: bool) -> None:
        """A process that reserves, and is killed."""

        def reserve(_: Tell) -> None:
            own = self.ledgers[ledger] if is_inherited else Ledger.open(self.home.path)
            with suppress(BudgetExceeded), self.call(own, MODELS[0], most, **fields):
                kill_me()

        in_child(reserve)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def forget(self, which: int) -> None:
        """A ledger that is closed lets go of its holds; its calls end later all the same."""
        self.under_way[which % len(self.under_way)][0].close()

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 99), cost=money, ledger=st.integers(0, 1), is_billed=st.booleans())
    def resolve(self, which: int, cost: str, ledger: int, is_billed: bool) -> None:
        holds = list(self.model().holds)  # in the order of the journal: ids are drawn, and a history must be repeatable
        if not holds:
            return
        chosen = holds[which % len(holds)]
        try:
            self.ledgers[ledger].budgets.resolve(chosen, cost if is_billed else "0", "a test")
        except (InputRefused, NotFound):
            assert self.model().holds[chosen].state not in ("open", "lost") or self.is_alive(chosen)

    def is_alive(self, hold_id: str) -> bool:
        return self.model().holds[hold_id].state == "open" or self.model().holds[hold_id].call_id is not None

    @rule(ledger=st.integers(0, 1), hours=st.integers(-60, 20), took=tokens, fields=attributes, told=tellings)
    def record(
        self, ledger: int, hours: int, took: int, fields: dict[str, Any], told: list[tuple[str, str, int]]
    ) -> None:
        """Calls that were made elsewhere; what is imported shares its keys with others."""
        at = format_time(self.clock.now_ns // 1000 + hours * 3_600_000_000)
        for source, quality, key in told:
            usage = {"input_uncached": 10, "output_text": took + key}
            given: dict[str, Any] = {"provider": "openai", "model": MODELS[0], "usage": usage, "time": at, **fields}
            if source != "record":
                given |= {"call_keys": [f"openai:r{key}"], "quality": quality}
            self.ledgers[ledger].record(source=source, **given)

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 99), ledger=st.integers(0, 1), is_reverted=st.booleans())
    def void(self, which: int, ledger: int, is_reverted: bool) -> None:
        calls = list(self.model().calls)
        if calls:
            call_id = calls[which % len(calls)]
            (self.ledgers[ledger].revert_void if is_reverted else self.ledgers[ledger].void)(call_id, "a test")

    @rule(
        ledger=st.integers(0, 1),
        hours=st.integers(-60, 60),
        amount=st.sampled_from(("0.01", "-0.01")),
        fields=attributes,
    )
    def adjust(self, ledger: int, hours: int, amount: str, fields: dict[str, Any]) -> None:
        at = format_time(self.clock.now_ns // 1000 + hours * 3_600_000_000)
        told = {name: value for name, value in fields.items() if name != "session"}
        given = {"amount_usd": amount, "provider": "openai", "effective_at": at, "category": "Credit", **told}
        self.ledgers[ledger].adjust(given, "a test")

    # What happens around them

    @rule(hours=st.sampled_from((1, 5, 24, 24 * 40, -1, -24, -24 * 365)))
    def clock_jumps(self, hours: int) -> None:
        self.clock.now_ns += hours * 3600 * 10**9

    @rule(night=st.sampled_from(NIGHTS), hours=st.integers(0, 6))
    def it_is_the_night_of_a_change(self, night: datetime, hours: int) -> None:
        self.clock.now_ns = (night - EPOCH + timedelta(hours=hours)) // timedelta(microseconds=1) * 1000

    @rule(took=tokens, fields=attributes, ending=st.sampled_from(("ok", "unread", "open")), limit=money, most=tokens)
    def something_happens_elsewhere(
        self, took: int, fields: dict[str, Any], ending: str, limit: str, most: int
    ) -> None:
        """The other machine has a budget of its own, of the same name, that means nothing here."""
        self.others.budgets.set(
            budget_fields("one", limit=limit, period="day", where=["user=*"], action="warn"), replace=True
        )
        self.others.record(provider="openai", model=MODELS[0], usage={"output_text": took}, **fields)
        made = self.call(self.others, MODELS[0], most, **fields).__enter__()
        if ending != "open":
            made.complete({"usage": {"prompt_tokens": 1, "completion_tokens": took}} if ending == "ok" else {})
            made.__exit__(None, None, None)

    @rule(ledger=st.integers(0, 1))
    def merge(self, ledger: int) -> None:
        if self.other.journal.is_dir():
            self.ledgers[ledger].merge(self.other.path)

    @rule(ledger=st.integers(0, 1))
    def merge_there(self, ledger: int) -> None:
        """The other machine takes in what is here, and may resolve what is open here."""
        if self.home.journal.is_dir():
            self.others.merge(self.home.path)

    @rule(ledger=st.integers(0, 1))
    def flush(self, ledger: int) -> None:
        guard = self.ledgers[ledger]._enforcing().guard
        with guard.locked():
            guard.flush()

    @rule(how=st.sampled_from(("kept", "gone", "cut", "garbage", "restored", "empty")), seed=st.integers(0, 99))
    def the_cache_is_harmed(self, how: str, seed: int) -> None:
        folder = self.home.path / "guard"
        (path,) = folder.glob("budgets-*.sqlite3")
        if how == "kept":
            shutil.rmtree(self.copy, ignore_errors=True)
            shutil.copytree(folder, self.copy)
        elif how == "restored" and self.copy.is_dir():
            shutil.rmtree(folder)
            shutil.copytree(self.copy, folder)
        elif how == "gone":
            shutil.rmtree(folder)
        elif how == "cut":
            os.truncate(path, path.stat().st_size // 2)
        elif how == "garbage":
            path.write_bytes(random.Random(seed).randbytes(8192))
        elif how == "empty":
            path.write_bytes(b"")

    # What always holds

    def model(self, told: Sequence[Event] | None = None) -> Model:
        return Model(own_writers(self.home), self.told.values() if told is None else told)

    @invariant()
    def all_are_one(self) -> None:
        if not self.home.journal.is_dir():
            return
        standings = [self.ledgers[0].budgets.standings(), self.ledgers[1].budgets.standings()]
        before = self.model()
        now = in_order(events(self.home))
        for event in now:
            if (event["source"], event["seq"]) not in self.told:
                if event["source"] in before.own:
                    before.judge(event)
                before.take(event)
                self.told[event["source"], event["seq"]] = event
        model = self.model(now)
        at = self.clock.now
        for found in standings:
            compare(model, found, at)
        self.a_guard_from_nothing_is_the_same()
        self.each_hold_ends_once(now)
        self.each_alert_is_raised_once(now)

    def a_guard_from_nothing_is_the_same(self) -> None:
        ledger = self.ledgers[len(self.told) % 2]
        seen, found = carried(ledger), from_nothing(self.home, ledger, self.built)
        assert found == seen, {name: (seen[name], found[name]) for name in found if found[name] != seen[name]}

    def each_hold_ends_once(self, now: Sequence[Event]) -> None:
        """By the first event that says so; what may follow is what its call came to in the end."""
        ends: dict[str, list[str]] = {}
        for event in now:
            if event["type"] in ("call.completed", "call.failed", "hold.released", "hold.lost"):
                ends.setdefault(event["data"].get("hold_id", ""), []).append(event["type"])
        for hold_id, kinds in ends.items():
            if hold_id:
                assert kinds[1:] in ([], ["call.completed"], ["call.failed"])
                assert kinds[0] == "hold.lost" or len(kinds) == 1

    def each_alert_is_raised_once(self, now: Sequence[Event]) -> None:
        """For each window that begins anew, version of a budget, limit and threshold."""
        told = [
            (
                data["budget_id"],
                str(data.get("group")),
                data["window_from"],
                data["limit_usd"],
                data["threshold_percent"],
            )
            for data in (event["data"] for event in now if event["type"] == "alert.raised")
            if "window_from" in data
        ]
        assert len(set(told)) == len(told)

    def reports_say_the_same(self) -> None:
        """What the calls of each calendar window came to, by a report at recorded prices."""
        model, at = self.model(), self.clock.now
        with open_projection(self.home) as projection:
            for standing in self.ledgers[0].budgets.standings():
                assert standing.budget is not None
                options = report_of(model.budgets[standing.budget.name], standing, at)
                if options is not None:
                    said = report_daily(projection, options).as_json()["totals"]
                    assert Decimal(said["cost_usd"] or 0) == Decimal(standing.sums[0]) / 10**12, (standing, said)
                    assert said["calls"] == standing.sums[6]


def report_of(budget: Budget, standing: Standing, at: datetime) -> ReportOptions | None:
    """The report over a window and the calls that it covers; None for a window that is not made of days."""
    period, (start, end) = budget.data["period"], budget.window(at)
    if period.startswith("rolling"):
        return None
    where = [(each["column"], each.get("value", "")) for each in budget.data["where"] if not each.get("each")]
    where += [(each["column"], each.get("value", "")) for each in standing.summed.group(standing.key[1])]
    days: dict[str, Any] = {}
    if period not in ("session", "total"):
        zone = ZoneInfo(budget.data["timezone"])
        days["since"] = start.astimezone(zone).date()
        days["until"] = (end - timedelta(microseconds=1)).astimezone(zone).date()
    return ReportOptions(basis="recorded", where=tuple(where), timezone=budget.data["timezone"], **days)


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class ManyBudgets(Budgets):
    """The same, for longer."""


TestManyBudgets = pytest.mark.exhaustive(ManyBudgets.TestCase)
TestManyBudgets.settings = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
