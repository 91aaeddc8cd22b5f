"""What a budget says: read from what people write, kept in one event, and read back from it."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import InputRefused, KeledgerError, UsageError, format_time, parse_time, usd_to_pico
from keledger.journal._events import BudgetRaised, BudgetSet
from keledger.journal._identity import new_id
from keledger.journal._validate import check_data
from keledger.journal.budgets import Budget, Condition, Period, budget_fields, raise_fields, read_budget, with_raise
from keledger.journal.budgets._policy import COLUMNS, parse_where, read_scope

NOW_US = parse_time("2026-11-22T12:00:00Z")
WHOLE = {
    "limit": "50",
    "period": "month",
    "where": ["project=crm,user=*", "tag:release="],
    "timezone": "Europe/Berlin",
    "warn": "95,80",
    "action": "block",
    "hold": "p99",
    "on_lost": "release",
    "unpriced": "7.5",
}


def fields(name: str = "crm", **changed: Any) -> dict[str, Any]:
    """The fields of a budget of 50 USD a month, or of one that differs from it."""
    return budget_fields(name, **{"limit": "50", "period": "month", **changed})


def event(kind: str, data: dict[str, Any], tick: int = 7) -> dict[str, Any]:
    """An event as the journal has it, its data held to the model."""
    whole = {"input_sha256": "0" * 64, **data, "actor": "alice"} | ({"reason": "x"} if kind == "budget.raised" else {})
    check_data(kind, whole)
    return {"id": new_id(), "type": kind, "v": 1, "time": format_time(NOW_US), "tick": tick, "data": whole}


def budget(**changed: Any) -> Budget:
    """A budget as it is read from its event."""
    return read_budget(event("budget.set", fields(**changed)))


def raised(of: Budget, limit: str, until: str | None = None, now_us: int = NOW_US) -> Budget:
    """The budget after one more raise."""
    return with_raise(of, event("budget.raised", raise_fields(of, limit, until, now_us)))


def test_a_whole_budget() -> None:
    given_fields = fields(**WHOLE)
    assert given_fields == {
        "name": "crm",
        "action": "block",
        "limit_usd": "50",
        "period": "month",
        "timezone": "Europe/Berlin",
        "where": [
            {"column": "project", "value": "crm"},
            {"column": "user", "each": True},
            {"column": "tag:release"},
        ],
        "warn_percent": [80, 95],
        "hold": "p99",
        "on_lost": "release",
        "unpriced": "rate",
        "unpriced_usd_per_million": "7.5",
    }
    found = read_budget(event("budget.set", given_fields, tick=11))
    assert (found.name, found.action, found.limit_pico, found.tick) == ("crm", "block", 50 * 10**12, 11)
    assert (found.warn_percent, found.hold, found.on_lost) == ((80, 95), "p99", "release")
    assert (found.unpriced, found.unpriced_pico_per_token) == ("rate", 7_500_000)
    assert found.scope.where == (
        Condition("project", "crm"),
        Condition("tag:release", None),
        Condition("user", None, each=True),
    )
    assert (found.scope.period, found.scope.timezone, found.timezone) == (Period("month"), *["Europe/Berlin"] * 2)


@pytest.mark.parametrize("unpriced", ["allow", "15"])
def test_the_most_that_a_call_can_cost_is_not_known_without_a_price(unpriced: str) -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        budget_fields("crm", limit="1", period="day", hold="max", unpriced=unpriced)
    assert budget_fields("crm", limit="1", period="day", hold="max", unpriced=unpriced, action="warn")


def test_what_a_budget_is_that_says_little() -> None:
    found = budget()
    assert (found.action, found.hold, found.on_lost, found.unpriced) == ("block", "p90", "count", "block")
    assert (found.warn_percent, found.scope.where, found.raises) == ((80, 100), (), ())
    assert budget(action="warn").unpriced == "allow", "what only warns refuses nothing"
    assert budget(action="warn", unpriced="block").unpriced == "block"


@pytest.mark.parametrize("column", [*COLUMNS, "tag:release-1.x"])
def test_every_attribute_can_be_named(column: str) -> None:
    for written, condition in (
        (f"{column}=google", Condition(column, "google")),
        (f"{column}=", Condition(column, None)),
        (f"{column}=*", Condition(column, None, each=True)),
    ):
        assert budget(where=[written]).scope.where == (condition,)


def test_values_are_as_calls_have_them() -> None:
    assert parse_where(["user=Zoe\u0308"]) == (Condition("user", "Zoë"),), "NFC"
    assert parse_where(["provider=Gemini"]) == (Condition("provider", "google"),)
    assert parse_where([r"project=a\,b, team=\*"]) == (Condition("project", "a,b"), Condition("team", "*"))
    assert parse_where([r"os_user=CORP\alice"]) == (Condition("os_user", r"CORP\alice"),)
    assert parse_where(["tag:query=a=b"]) == (Condition("tag:query", "a=b"),)
    assert str(Condition("team", "*")) == r"team=\*", "it is not each team"


@settings(database=None)
@given(st.sampled_from(["project", "team", "tag:x"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_condition_is_read_as_it_is_written(column: str, value: str) -> None:
    plain = unicodedata.normalize("NFC", value.strip()) or None
    assert parse_where([f"run=x,{Condition(column, value)}"])[1] == Condition(column, plain)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        *(
            ({"limit": text}, "no limit: give an amount in USD")
            for text in ("0", "0.0", "-5", "NaN", "inf", "1e400", "1e2", "", "50 EUR", "$50", "1,000",
                         "1000000000000.1", "9" * 400, "0.0000000000001", "٥")
        ),
        ({"period": "fortnight"}, "'fortnight' is no period: use day, week"),
        ({"period": "rolling:400d"}, "N from 1 to 366"),
        ({"timezone": "Europe/Berlinn"}, "timezone: 'Europe/Berlinn' is no time zone"),
        ({"timezone": "../../etc/passwd"}, "is no time zone"),
        ({"timezone": ""}, "is no time zone"),
        ({"week_start": "mon"}, "a budget for each month has no week that could start on 'mon'"),
        ({"period": "week", "week_start": "monday"}, "week_start can be mon, tue, wed, thu, fri, sat or sun"),
        ({"where": ["projct=crm"]}, "did you mean 'project'?"),
        ({"where": ["status=ok"]}, "there is provider, model, prompt"),
        ({"where": ["response_model=gpt-5"]}, "no attribute by which a budget tells calls apart"),
        ({"where": ["tag:Release=1"]}, "a tag is written like tag:release"),
        ({"where": ["tags=1"]}, "a tag is written like tag:release"),
        ({"where": ["project"]}, "'project' is no condition: write it like project=crm"),
        ({"where": ["project=a,b"]}, "'b' is no condition"),
        ({"where": [""]}, "'' is no condition"),
        ({"where": ["project=a", "user=*,project=b"]}, "project stands twice"),
        ({"where": ["project=" + "x" * 257]}, "project is 257 bytes long, 256 are allowed"),
        ({"where": ["user=\ud800"]}, "user holds a lone surrogate"),
        *(
            ({"warn": text}, "no percentage to warn at: give whole numbers from 1 to 100")
            for text in ("0", "101", "80,,95", "80%", "-1", "9.5", "", "080", "٨٠")
        ),
        ({"action": "stop"}, "action can be block or warn, not 'stop'"),
        ({"hold": "p95"}, "hold can be p50, p90, p99 or max, not 'p95'"),
        ({"on_lost": "forget"}, "on_lost can be count or release, not 'forget'"),
        *(
            ({"unpriced": text}, "unpriced can be block, allow, or a rate in USD per million tokens")
            for text in ("0", "0.0", "-1", "NaN", "1e3", "warn", "", ".", "0.0000001", "1000000000000")
        ),
        *(({"name": text}, "is no name for a budget") for text in ("", "CRM", ".crm", "a b", "x" * 64, "crm\n", "é")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(KeledgerError) as refused:
        fields(**changed)
    assert isinstance(refused.value, UsageError | InputRefused)
    said = str(refused.value)
    assert words in said
    assert said.isprintable()
    assert len(said) < 300


@settings(database=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.text(max_size=12)
            for name in ("name", "limit", "period", "timezone", "week_start", "warn", "action", "hold", "on_lost")
        }
        | {"where": st.lists(st.text(max_size=12), max_size=2), "unpriced": st.text(max_size=12)},
    )
)
def test_whatever_is_given_is_refused_or_can_be_journaled(changed: dict[str, Any]) -> None:
    try:
        found = fields(**changed)
    except (UsageError, InputRefused):
        return
    read_budget(event("budget.set", found))


@pytest.mark.parametrize(("text", "rate"), [("15", "15"), ("007.50", "7.5"), ("0.000001", "0.000001"), ("3.0", "3")])
def test_rates_have_one_spelling(text: str, rate: str) -> None:
    assert fields(unpriced=text)["unpriced_usd_per_million"] == rate


def test_the_events_hold_just_these_fields() -> None:
    added = {"input_sha256", "replaces", "actor", "reason"}
    assert BudgetSet.model_fields.keys() - added == fields(**WHOLE).keys() | {"week_start"}
    assert BudgetRaised.model_fields.keys() - added == raise_fields(budget(), "60", "2026-11-30", NOW_US).keys()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"where": ["project=crm,user=*"]}, {"where": ["user=*", "project=crm"]}, True),
        ({"period": "total"}, {"period": "total", "timezone": "Asia/Tokyo"}, True),
        ({"period": "rolling:7d"}, {"period": "rolling:7d", "timezone": "Asia/Tokyo"}, True),
        ({"limit": "1", "action": "warn"}, {"limit": "2", "hold": "max", "name": "other"}, True),
        ({"period": "week"}, {"period": "week", "week_start": "mon"}, True),
        ({"period": "week"}, {"period": "week", "week_start": "sun"}, False),
        ({"period": "day"}, {"period": "day", "timezone": "Asia/Tokyo"}, False),
        ({"period": "rolling:7d"}, {"period": "rolling:8d"}, False),
        ({"where": ["user="]}, {"where": ["user=*"]}, False),
        ({"where": [r"user=\*"]}, {"where": ["user=*"]}, False),
        ({"where": []}, {"where": ["user=*"]}, False),
        ({"where": ["user=a"]}, {"where": ["team=a"]}, False),
    ],
)
def test_equal_scopes_share_their_sums(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    first, second = budget(**one).scope, budget(**other).scope
    assert (first == second) is equal
    assert (first.definition == second.definition) is equal
    assert read_scope(first.definition) == first


def test_a_zone_that_this_machine_lost() -> None:
    whole = event("budget.set", fields())
    whole["data"]["timezone"] = "Mars/Olympus"
    with pytest.raises(UsageError, match="budget crm: 'Mars/Olympus' is no time zone"):
        read_budget(whole)


def test_the_last_raise_that_is_not_over_holds() -> None:
    found = raised(budget(), "60")
    found = raised(found, "80", "2026-11-30T00:00:00Z")
    found = raised(found, "100", "2026-11-25T00:00:00Z")
    usd = [
        found.limit_pico_at(parse_time(f"2026-11-{day}Z")) // 10**12
        for day in ("22T12:00:00", "24T23:59:59", "25T00:00:00", "29T23:59:59", "30T00:00:00")
    ]
    assert usd == [100, 100, 80, 80, 60]
    assert found.limit_pico == 50 * 10**12


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("2026-11-30", "2026-11-30T23:00:00.000000Z"),  # the day included, in Berlin
        ("2026-11-22", "2026-11-22T23:00:00.000000Z"),
        ("today", "2026-11-22T23:00:00.000000Z"),
        ("20270328", "2027-03-28T22:00:00.000000Z"),
        ("2026-11-30T18:00:00+01:00", "2026-11-30T17:00:00.000000Z"),
    ],
)
def test_a_raise_ends_with_a_day_of_the_budgets_zone(until: str, end: str) -> None:
    for period in ("month", "total", "rolling:7d"):
        found = budget(timezone="Europe/Berlin", period=period)
        assert raise_fields(found, "80", until, NOW_US)["until"] == end
    changed = raised(found, "80", until)
    assert format_time(changed.raises[0].until_us or 0) == end


@pytest.mark.parametrize(
    ("limit", "until", "words"),
    [
        ("50", None, "the limit of budget crm is 50 USD now, and 50 does not raise it"),
        ("49.99", None, "does not raise it; to lower it, set the budget anew"),
        ("0", None, "no limit"),
        ("1e400", None, "no limit"),
        ("NaN", None, "no limit"),
        ("80", "2026-11-21", "a raise until 2026-11-21 would be over already"),
        ("80", "2026-11-22T12:00:00Z", "would be over already: it can only end in the future"),
        ("80", "0001-01-01", "would be over already"),
        ("80", "2026-1130", "is no day or time"),
        ("80", "2026-11-31", "'2026-11-31' is no day or time for a raise to end"),
        ("80", "tomorrow", "write it like 2026-11-30, today, or 2026-11-30T18:00:00+01:00"),
        ("80", "2026-11-30T18:00:00", "is no day or time"),
        ("80", "", "is no day or time"),
        ("80", "9999-12-31", "leave it out for a raise that holds for good"),
    ],
)
def test_what_is_no_raise(limit: str, until: str | None, words: str) -> None:
    with pytest.raises((UsageError, InputRefused)) as refused:
        raise_fields(budget(), limit, until, NOW_US)
    assert words in str(refused.value)


def test_a_raise_is_above_the_limit_in_force() -> None:
    found = raised(budget(), "80", "2026-11-25")
    with pytest.raises(InputRefused, match="is 80 USD now"):
        raise_fields(found, "70", None, NOW_US)
    later_us = parse_time("2026-11-26T00:00:00Z")
    assert raise_fields(found, "70", None, later_us) == {"name": "crm", "budget_id": found.id, "limit_usd": "70"}


@settings(database=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.none() | st.integers(0, 20), st.integers(0, 20)), max_size=6))
def test_the_limit_never_falls_below_what_was_set(raises: list[tuple[int, int | None, int]]) -> None:
    found, accepted = budget(), []
    day_us = 86_400_000_000
    for usd, until, now in raises:
        end = format_time(NOW_US + until * day_us) if until is not None else None
        try:
            found = raised(found, str(usd), end, NOW_US + now * day_us)
        except InputRefused:
            continue
        accepted.append((usd, until))
    for day in range(22):
        holding = [usd for usd, until in accepted if until is None or day < until]
        assert found.limit_pico_at(NOW_US + day * day_us) == usd_to_pico(str(holding[-1] if holding else 50))
        assert found.limit_pico_at(NOW_US + day * day_us) >= found.limit_pico
