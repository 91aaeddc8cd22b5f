"""``budget backtest``: it says what the guard would have done, which is held against a guard that did it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import BudgetExceeded, Home, Ledger, UsageError, format_time, pico_to_usd, usd_to_pico
from keledger.journal.budgets import STAND_IN, budget_fields
from keledger.projections import Backtest, ReportOptions, backtest, open_projection
from tests.cli.support import keledger, keledger_terminal, truth
from tests.journal.support import events
from tests.projections.support import QuickDisk, call_id

BEGUN = datetime(2026, 11, 2, tzinfo=UTC)
MODELS = ("gpt-5-mini", "gpt-5-nano")


@dataclass(frozen=True)
class Made:
    """A call that was made, as a client tells of it."""

    begin: dict[str, Any]
    end: dict[str, Any]
    started: datetime
    ended: datetime

    @property
    def id(self) -> str:
        return str(self.begin["id"])


def history(seed: int, *, count: int = 80, shapes: bool = False, unwell: bool = True) -> list[Made]:
    """Calls of some days that overlap, of two models, two prompts and three users."""
    chance = random.Random(seed)
    started, made = BEGUN, []
    for number in range(count):
        started += timedelta(milliseconds=chance.randrange(1, 5_000_000))
        duration_ms = chance.choice((0, 800, 20_000, 6_000_000))
        sent = chance.randrange(10, 40_000)
        end: dict[str, Any] = {
            "status": "ok",
            "duration_ms": duration_ms,
            "usage": {"input_uncached": sent // 4 + 1, "output_text": chance.randrange(1, 3000), "requests": 1},
        }
        if unwell and chance.random() < 0.08:
            end = {"status": "unknown", "duration_ms": duration_ms, "error_type": "TimeoutError"}
        attributes = {"project": chance.choice(("crm", "erp"))}
        if chance.random() < 0.8:
            attributes["user"] = chance.choice(("ada", "bob", "eve"))
        begin = {
            "id": call_id(f"{seed} {number}"),
            "provider": "openai",
            "model": chance.choice(MODELS),
            "prompt": chance.choice(("hello", "digest")),
            "session": f"s{number // 10}",
            "started_at": format_time((started - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)),
            "attributes": attributes,
            "environment": {},
        }
        if shapes:
            shape = {"bytes": sent, "messages": 2, "tools": 0, "choices": 1, "self_contained": True}
            begin["request"] = shape | {"max_output_tokens": 3000}
        made.append(Made(begin, end, started, started + timedelta(milliseconds=duration_ms)))
    return made


def lived(made: Sequence[Made]) -> Iterator[tuple[bool, Made]]:
    """The calls as they begin (True) and end, in the order of time; of one instant, what ends first."""
    moments = [(call.started, 1, number) for number, call in enumerate(made)]
    moments += [(call.ended, 0 if call.ended > call.started else 2, number) for number, call in enumerate(made)]
    yield from ((kind == 1, made[number]) for _, kind, number in sorted(moments))


def open_ledger(home: Home) -> Ledger:
    return Ledger(home, program="keledger test", disk=QuickDisk())


def live(home: Home, made: Sequence[Made], fields: dict[str, Any] | None) -> set[str]:
    """Make the calls in a home where that budget is set, if any; returns which were refused."""
    refused = set()
    with open_ledger(home) as ledger:
        if fields is not None:
            ledger.budgets.set(fields)
        for begins, call in lived(made):
            if begins:
                try:
                    ledger.reserve(call.begin)
                except BudgetExceeded:
                    refused.add(call.id)
            elif call.id not in refused:
                assert ledger.record_hook(call.begin, call.end).journaled
    return refused


def replayed(home: Home, fields: dict[str, Any], **days: Any) -> Backtest:
    with open_projection(home) as projection:
        return backtest(projection, fields, ReportOptions(timezone=fields["timezone"], **days))


def told(refusals: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a refusal says, by call."""
    names = ("cause", "asked_usd", "limit_usd", "spent_usd", "held_usd", "group", "window_from", "window_to")
    return {each["id"]: {name: each.get(name) for name in names} for each in refusals}


POLICIES = {
    "a day": {"limit": "0.01", "period": "day"},
    "each user": {"limit": "0.004", "period": "week", "where": ["user=*"], "timezone": "Europe/Berlin"},
    "a project, the median": {"limit": "0.02", "period": "month", "where": ["project=crm"], "hold": "p50"},
    "in all, p99": {"limit": "0.05", "period": "total", "hold": "p99", "warn": "10,50,90"},
    "rolling, lost ones released": {"limit": "0.012", "period": "rolling:1d", "on_lost": "release", "warn": "none"},
    "a session": {"limit": "0.006", "period": "session", "where": ["model=gpt-5-mini"]},
    "only warned": {"limit": "0.01", "period": "day", "action": "warn", "warn": "1,30,100"},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_says_what_a_guard_did(tmp_path: Path, policy: str, seed: int) -> None:
    fields = budget_fields("tried", **POLICIES[policy])
    held, free, made = Home.at(tmp_path / "held"), Home.at(tmp_path / "free"), history(seed)
    refused = live(held, made, fields)
    assert live(free, made, None) == set()
    found = replayed(free, fields)
    assert {call["id"] for call in found.refused} == refused
    assert bool(refused) == (fields["action"] == "block")
    journaled = events(held)
    blocked = [event["data"] for event in journaled if event["type"] == "call.blocked"]
    assert told(found.refused) == told([{"id": data["call_id"], **data["refusals"][0]} for data in blocked])
    if fields["period"] in ("day", "week", "month", "total"):  # others are told of again, by the clock
        raised = [event["data"] for event in journaled if event["type"] == "alert.raised"]
        names = ("threshold_percent", "spent_usd", "group", "window_from", "call_id")
        assert [[alert.get(name) for name in names] for alert in found.alerts] == [
            [alert.get(name) for name in names] for alert in raised
        ]
        assert found.totals.alerts == len(raised) > 0


def test_max_is_replayed_by_what_was_told_of_requests(tmp_path: Path) -> None:
    fields = budget_fields("tried", limit="0.03", period="day", hold="max")
    held, told_of, free = (Home.at(tmp_path / name) for name in ("held", "told", "free"))
    made = history(3, shapes=True, unwell=False)
    refused = live(held, made, fields)
    assert 0 < len(refused) < len(made)
    live(told_of, made, budget_fields("only-told", limit="1000", period="total", action="warn"))
    with_shapes = replayed(told_of, fields)
    assert {call["id"] for call in with_shapes.refused} == refused
    assert (with_shapes.stand_ins, with_shapes.notes()) == (0, [])
    live(free, made, None)
    without = replayed(free, fields)
    assert without.stand_ins == without.totals.calls == len(made)
    assert STAND_IN in without.notes()[0]
    as_stand_in = replayed(free, {**fields, "hold": STAND_IN})
    assert without.refused == as_stand_in.refused


def test_the_sums_by_day(tmp_path: Path) -> None:
    home, made = Home.at(tmp_path / "home"), history(4)
    live(home, made, None)
    fields = budget_fields("tried", limit="0.005", period="day", where=["project=crm"], timezone="Asia/Kolkata")
    found = replayed(home, fields)
    costs = {
        event["id"]: event["data"]["cost"].get("total_usd", "0")
        for event in events(home)
        if event["type"].startswith("call.")
    }
    of_day: dict[str, list[int]] = {}
    refused = {call["id"] for call in found.refused}
    assert refused
    for call in made:
        if call.begin["attributes"]["project"] == "crm":
            day = (call.started + timedelta(hours=5, minutes=30)).date().isoformat()
            pico, sums = usd_to_pico(costs[call.id]), of_day.setdefault(day, [0, 0, 0, 0])
            is_refused = call.id in refused
            for place, amount in enumerate((1, pico, is_refused, is_refused * pico)):
                sums[place] += amount
    assert {
        day: [sums.calls, sums.cost_pico, sums.refused_calls, sums.saved_pico]
        for day, sums in found.days.items()
        if sums.calls
    } == of_day
    totals = [sum(column) for column in zip(*of_day.values(), strict=True)]
    assert [
        found.totals.calls, found.totals.cost_pico, found.totals.refused_calls, found.totals.saved_pico
    ] == totals  # fmt: skip
    unknown = [call for call in found.refused if call["cost_usd"] is None]
    assert found.totals.refused_uncosted_calls == len(unknown)


def test_what_was_before_the_range_counts_and_is_not_refused(tmp_path: Path) -> None:
    home, made = Home.at(tmp_path / "home"), history(5, unwell=False)
    live(home, made, None)
    middle = made[40].started.date()
    fields = budget_fields("tried", limit="0.00001", period="month")
    found = replayed(home, fields, since=middle)
    of_range = [call.id for call in made if call.started.date() >= middle]
    assert [call["id"] for call in found.refused] == of_range
    before = [call for call in made if call.started.date() < middle]
    spent = usd_to_pico(found.refused[0]["spent_usd"]) + usd_to_pico(found.refused[0]["held_usd"])
    assert spent >= sum(
        usd_to_pico(event["data"]["cost"]["total_usd"])
        for event in events(home)
        if event["id"] in {call.id for call in before if call.ended < made[40].started}
    )
    # A window that begins with the range, or the range's end, leaves them out.
    fresh = replayed(home, budget_fields("tried", limit="0.00001", period="day"), since=middle)
    assert fresh.refused[0]["spent_usd"] == "0"
    ends = replayed(home, fields, since=middle, until=middle)
    assert [call["id"] for call in ends.refused] == [call.id for call in made if call.started.date() == middle]


@pytest.mark.parametrize(("period", "counted"), [("month", 130), ("total", 180), ("rolling:3d", 30), ("day", 0)])
def test_the_whole_window_counts_however_many_calls_were_before(home: Home, period: str, counted: int) -> None:
    days = [datetime(2026, 10, 30, 12, tzinfo=UTC)] * 50 + [BEGUN] * 100 + [BEGUN + timedelta(days=2, hours=13)] * 30
    with open_ledger(home) as ledger:
        ledger.record_many(
            {"provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": 500}, "time": day.isoformat()}
            for day in (*days, BEGUN + timedelta(days=5))
        )
    fields = budget_fields("tried", limit="0.0001", period=period)
    (refused,) = replayed(home, fields, since=date(2026, 11, 7)).refused
    assert usd_to_pico(refused["spent_usd"]) == counted * usd_to_pico("0.001")
    assert refused["asked_usd"] == "0.001"  # as large as the calls before were, whichever of them count


def test_a_refused_call_costs_later_ones_nothing(home: Home) -> None:
    calls = [
        {"model": "gpt-5-mini", "usage": {"output_text": 1_000_000}, "time": "2026-11-02T10:00:00Z"},
        {"model": "gpt-5-mini", "usage": {"output_text": 1_000_000}, "time": "2026-11-02T10:01:00Z"},
        {"model": "gpt-5-nano", "usage": {"output_text": 1}, "time": "2026-11-02T10:02:00Z"},
    ]
    with open_ledger(home) as ledger:
        ids = ledger.record_many({"provider": "openai", "id": str(n), **call} for n, call in enumerate(calls))
    found = replayed(home, budget_fields("tried", limit="3", period="day"))
    assert [call["id"] for call in found.refused] == ids[1:2]
    assert pico_to_usd(found.totals.saved_pico) == "2"


@pytest.mark.parametrize(("unpriced", "refused"), [("block", 2), ("allow", 0), ("400", 1)])
def test_calls_that_nobody_can_price(home: Home, unpriced: str, refused: int) -> None:
    calls = [
        {"provider": "acme", "model": "secret", "usage": {"input_uncached": 5}, "time": f"2026-11-02T10:0{n}:00Z"}
        for n in range(2)
    ]
    with open_ledger(home) as ledger:
        ledger.record_many(calls)
    found = replayed(home, budget_fields("tried", limit="3", period="day", unpriced=unpriced))
    assert len(found.refused) == refused
    assert found.totals.refused_uncosted_calls == refused
    assert {call["cause"] for call in found.refused} <= {"unpriced", "limit"}
    assert len([note for note in found.notes() if "whose cost nobody knows: " in note]) == bool(refused)


def test_calls_that_were_refused_then_are_told(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    made = history(6)
    then = len(live(home, made, budget_fields("then", limit="0.01", period="day")))
    found = replayed(home, budget_fields("tried", limit="1000", period="day"))
    assert found.totals.calls == len(made) - then
    assert found.refused_then == then > 0
    assert f"Calls that budgets of the time refused: {then}." in " ".join(found.notes())
    assert replayed(home, budget_fields("tried", limit="9", period="day", where=["project=none"])).refused_then == 0


def test_adjustments_count_from_when_they_take_effect(home: Home) -> None:
    with open_ledger(home) as ledger:
        ids = ledger.record_many(
            {"provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": 500_000}, "time": time}
            for time in ("2026-11-02T10:00:00Z", "2026-11-02T12:00:00Z", "2026-11-02T14:00:00Z")
        )
        adjusted = {"provider": "openai", "category": "Credit", "effective_at": "2026-11-02T13:00:00.000000Z"}
        ledger.adjust({**adjusted, "amount_usd": "-1"}, "a credit note")
    found = replayed(home, budget_fields("tried", limit="1", period="day"))
    assert [call["id"] for call in found.refused] == ids[1:2]


def test_an_empty_home_and_a_budget_that_covers_nothing(home: Home) -> None:
    fields = budget_fields("tried", limit="1", period="day")
    assert replayed(home, fields).totals.calls == 0
    assert not home.path.exists()
    with pytest.raises(UsageError, match="a budget says itself"), open_projection(home) as projection:
        backtest(projection, fields, ReportOptions(where=(("project", "crm"),)))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.at(tmp_path / "home")
    live(home, history(7), None)
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    monkeypatch.delenv("COLUMNS", raising=False)  # of the terminal that the tests run in
    asked = ("budget", "backtest", "--limit", "0.004", "--period", "day", "--where", "user=*", "-z", "UTC")
    before = truth(home)
    document = keledger(*asked, "--since", "2026-11-03", "--until", "2026-11-04").json
    assert (document["report"], document["schema_version"], document["timezone"]) == ("budget backtest", 1, "UTC")
    assert [row["date"] for row in document["rows"]] == ["2026-11-03", "2026-11-04"]
    assert (document["budget"]["limit_usd"], document["budget"]["where"]) == (
        "0.004",
        [{"column": "user", "each": True}],
    )
    assert document["totals"]["refused_calls"] == len(document["refused"]) > 0
    fields = budget_fields("tried", limit="0.004", period="day", where=["user=*"])
    expected = replayed(home, fields, since=date(2026, 11, 3), until=date(2026, 11, 4))
    assert document["refused"] == expected.refused
    assert document["alerts"] == expected.alerts
    shown = keledger_terminal(*asked, columns=140).out
    assert "It would have refused" in shown
    assert "user=ada" in shown
    assert truth(home) == before
    wrong = keledger("budget", "backtest", "--limit", "0", "--period", "day")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.complaint
