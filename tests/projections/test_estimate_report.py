"""How good estimates were: a ledger whose figures were computed by hand, and what holds of any."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Home, NewEvent, UsageError, usd_to_pico
from keledger.journal.prices import PriceStore
from keledger.projections import (
    EstimateOptions,
    Estimator,
    Subject,
    _estimate_report,
    list_estimates,
    open_projection,
    rebuild,
    report_estimates,
)
from keledger.projections._estimate_report import OUTCOMES
from tests.estimates.events import estimate, estimate_data, estimate_id

from .repricing import adopt
from .support import append, call, uncosted, void

UNPRICED = {"state": "unpriced", "missing": ["output_text"]}


def told(
    name: object,
    stated: tuple[int, int, int] = (90, 100, 120),
    output: tuple[int, int, int | None] = (8, 30, 40),
    cost: tuple[str, str] | None = ("0.001", "0.002"),
    **fields: Any,
) -> NewEvent:
    """An estimate of these tokens and this cost."""
    p5, p50, p95 = stated
    median, nine_tenths, most = output
    basis = {"basis": "prior", "calls": 0}
    limit = {} if most is None else {"max": most}
    priced = UNPRICED if cost is None else {"state": "priced", "p50_usd": cost[0], "p90_usd": cost[1]}
    fields = {"prompt": "greet"} | fields
    return estimate(
        name,
        input_tokens={"p5": p5, "p50": p50, "p95": p95, "ratio": "1", **basis},
        output_tokens={"p50": median, "p90": nine_tenths, **limit, **basis},
        cost=priced,
        **{key: value for key, value in fields.items() if value is not None},
    )


def came(name: object, taken: int = 100, answered: int = 8, of: object = None, **fields: Any) -> NewEvent:
    """A call that names the estimate of its name, or *of* another."""
    usage = {"input_uncached": taken, "output_text": answered, "requests": 1}
    fields = {"usd": "0.001", "usage": usage, "estimate_id": estimate_id(name if of is None else of)} | fields
    return call(name, **{key: value for key, value in fields.items() if value is not None})


CLAUDE = {"provider": "anthropic", "model": "claude-haiku-4-5"}
LEDGER: Sequence[NewEvent] = (
    # gpt-5-mini, greet: each met by its call
    told(1, cost=("0.001000000001", "0.002")),
    came(1),
    told(2),
    came(2, 125, 9, usd="0.0025"),
    told(3, (180, 200, 240), (8, 30, None), ("0.003", "0.004")),
    came(3, 160, 31, usd="0.004"),
    told(4, (95, 100, 105), cost=None),
    came(4, 80, 41),
    # claude-haiku-4-5, greet: three calls together, of which all, two, and one with a failure beside it are there
    told("three", (300, 330, 360), (24, 90, None), ("0.01", "0.02"), calls=3, **CLAUDE),
    *(came(f"three {taken}", taken, 10, "three", usd="0.004", **CLAUDE) for taken in (100, 110, 120)),
    told("two of three", (300, 330, 360), calls=3, **CLAUDE),
    *(came(f"two {number}", of="two of three", **CLAUDE) for number in range(2)),
    told("one of two", calls=2, **CLAUDE),
    came("one", of="one of two", **CLAUDE),
    came("its failure", of="one of two", status="error", http_status=500, **CLAUDE),
    # gpt-5-mini, no prompt: what stands apart, and one that was confirmed, of a call whose cost nobody knows
    told("open", prompt=None),
    told("voided", prompt=None),
    came("voided"),
    void("voided"),
    told("no", prompt=None, confirm={"above_usd": "0.1", "answer": "no"}),
    told("nobody", prompt=None, confirm={"above_usd": "0.1", "answer": "no_terminal"}),
    told("failed", prompt=None),
    came("failed", status="unknown", usage={}, **uncosted("unknown")),
    told("twice", prompt=None),
    came("first", of="twice"),
    came("second", of="twice"),
    told("yes", (50, 90, 100), prompt=None, confirm={"above_usd": "0.1", "answer": "yes"}),
    came("yes", 100, 30, **uncosted("unpriced")),
    # declined, and then made all the same: the call is what counts
    told("made", prompt="other", confirm={"above_usd": "0.1", "answer": "no"}),
    came("made", 90, usd="0"),
)


def figures(
    met: int,
    taken: tuple[str | None, str | None, str | None, str | None],
    output: tuple[str | None, str | None, str | None],
    cost: tuple[int, str | None, str | None, str | None, str | None],
    *,
    calls: int | None = None,
    apart: tuple[int, int, int, int] = (0, 0, 0, 0),
    answers: tuple[int, int, int] = (0, 0, 0),
) -> dict[str, Any]:
    """A row's figures in the order in which they are shown."""
    return {
        "estimates": met + sum(apart),
        "met_estimates": met,
        **dict(
            zip(("open_estimates", "failed_estimates", "declined_estimates", "surplus_estimates"), apart, strict=True)
        ),
        "answers": dict(zip(("yes", "no", "no_terminal"), answers, strict=True)),
        "calls": met if calls is None else calls,
        "input_tokens": dict(zip(("median_error", "p95_error", "coverage", "median_width"), taken, strict=True)),
        "output_tokens": dict(zip(("at_most_p50", "at_most_p90", "above_max"), output, strict=True)),
        "cost": dict(
            zip(("estimates", "median_error", "at_most_p90", "estimated_p50_usd", "actual_usd"), cost, strict=True)
        ),
    }


ROWS = {
    # three calls together: 330 of 330, within 300 to 360; 30 of output above 24; 0.012 for 0.01 is off by a sixth
    ("claude-haiku-4-5", "greet"): figures(
        1, ("0", "0", "1", "0.1818"), ("0", "1", None), (1, "0.1667", "1", "0.01", "0.012"),
        calls=3, apart=(1, 1, 0, 0),
    ),
    # errors 0, 25/125, 40/160, 20/80; inside: the first; widths 0.3, 0.3, 0.3, 0.1
    # output 8 of 8, 9 and 31 of 8 and 30, 41 of at most 40, where three have a limit
    # errors of cost 10^-12/10^-3, 0.6, 0.25; above p90: the second
    ("gpt-5-mini", "greet"): figures(
        4, ("0.225", "0.25", "0.25", "0.3"), ("0.25", "0.5", "0.3333"),
        (3, "0.25", "0.6667", "0.005000000001", "0.0075"),
    ),
    # free: within what was said, and no error, for nothing is a share of it
    ("gpt-5-mini", "other"): figures(
        1, ("0.1111", "0.1111", "1", "0.3"), ("1", "1", "0"), (1, None, "1", "0.001", "0"), answers=(0, 1, 0)
    ),
    ("gpt-5-mini", None): figures(
        1, ("0.1", "0.1", "1", "0.5556"), ("0", "1", "0"), (0, None, None, None, None),
        apart=(2, 1, 2, 1), answers=(1, 1, 1),
    ),
}  # fmt: skip

TOTALS = figures(
    # errors 0, 0, 0.1, 1/9, 0.2, 0.25, 0.25; widths 0.1, 2/11, 0.3 four times, 5/9
    7,
    ("0.1111", "0.25", "0.5714", "0.3"),
    # 2 and 5 of 7, 1 of the 5 that have a limit
    ("0.2857", "0.7143", "0.2"),
    # errors 0.000000001, 1/6, 0.25, 0.6; 4 of 5 at most
    (5, "0.2083", "0.8", "0.016000000001", "0.0195"),
    calls=9,
    apart=(3, 2, 2, 1),
    answers=(1, 2, 1),
)


@pytest.fixture(scope="module")
def ledger_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("estimates") / "home")
    append(home, *LEDGER)
    return home


def shown(home: Home, **options: Any) -> dict[str, Any]:
    with open_projection(home) as projection:
        return report_estimates(projection, EstimateOptions(**options)).as_json()


def heads(document: dict[str, Any], *names: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows by what heads them, without that."""
    found = {}
    for row in document["rows"]:
        rest = dict(row)
        found[tuple(rest.pop(name) for name in names)] = rest
    assert len(found) == len(document["rows"])
    return found


@pytest.mark.parametrize("built", [False, True])
def test_the_ledger_by_hand(ledger_home: Home, built: bool) -> None:
    if built:
        rebuild(ledger_home)
    document = shown(ledger_home)
    assert (document["report"], document["timezone"], document["lately"]) == ("estimates", "UTC", [])
    assert heads(document, "model", "prompt") == ROWS
    assert list(heads(document, "model", "prompt")) == list(ROWS)
    assert document["totals"] == TOTALS
    assert list(document["totals"]) == list(TOTALS)


def test_the_newest_first_and_what_came_of_each(ledger_home: Home) -> None:
    with open_projection(ledger_home) as projection:
        every = list_estimates(projection, EstimateOptions(), limit=100).as_json()
        few = list_estimates(projection, EstimateOptions(where=(("outcome", "declined"),)), limit=1).as_json()
        with pytest.raises(UsageError, match="at least one"):
            list_estimates(projection, limit=0)
    assert every["report"] == "estimate_list"
    assert every["estimates"] == len(every["rows"]) == TOTALS["estimates"]
    rows = {row["id"]: row for row in every["rows"]}
    assert list(rows) == sorted(rows, reverse=True)  # all are of one moment
    second = rows[estimate_id(2)]
    assert second["input_tokens"] == {"p5": 90, "p50": 100, "p95": 120, "actual": 125}
    assert second["output_tokens"] == {"p50": 8, "p90": 30, "max": 40, "actual": 9}
    assert second["cost_usd"] == {"p50": "0.001", "p90": "0.002", "max": None, "actual": "0.0025"}
    outcomes = {
        1: "met", "three": "met", "two of three": "open", "one of two": "failed", "open": "open", "voided": "open",
        "no": "declined", "nobody": "declined", "failed": "failed", "twice": "surplus", "yes": "met", "made": "met",
    }  # fmt: skip
    assert {name: rows[estimate_id(name)]["outcome"] for name in outcomes} == outcomes
    assert (rows[estimate_id("twice")]["calls"], rows[estimate_id("twice")]["actual_calls"]) == (1, 2)
    assert (few["estimates"], len(few["rows"])) == (2, 1)


@pytest.mark.parametrize(
    ("where", "estimates"),
    [
        ((("prompt", ""),), 7),
        ((("model", "gpt-5-mini"), ("prompt", "greet")), 4),
        ((("answer", "no"),), 2),
        ((("answer", "no"), ("outcome", "met")), 1),
        ((("provider", "nobody's"),), 0),
    ],
)
def test_only_those_that_are_meant(ledger_home: Home, where: tuple[tuple[str, str], ...], estimates: int) -> None:
    document = shown(ledger_home, where=where)
    assert document["totals"]["estimates"] == estimates
    assert sum(row["estimates"] for row in document["rows"]) == estimates


def test_by_what_was_recorded_of_them(home: Home) -> None:
    append(
        home,
        told(1, user="ada", tags={"env": "prod"}, project="crm", method="heuristic:bytes/4", prompt_version="2"),
        told(2, user="bob", run="r", session="s", team="t", cost_center="c"),
    )
    of = {
        "user": ["ada", "bob"], "tag:env": ["prod", None], "project": ["crm", None], "prompt_version": ["2", None],
        "method": ["heuristic:bytes/4", "tiktoken:o200k_base"], "run": ["r", None], "session": ["s", None],
        "team": ["t", None], "cost_center": ["c", None],
    }  # fmt: skip
    with open_projection(home) as projection:
        for name, values in of.items():
            report = report_estimates(projection, EstimateOptions(by=(name,)))
            assert [keys for keys, _ in report.rows] == [(value,) for value in values]
        report = report_estimates(projection, EstimateOptions(by=("basis", "origin")))
        assert [keys for keys, _ in report.rows] == [("prior", "hook")]


def test_a_reprice_shows_in_what_they_came_to(home: Home) -> None:
    """The basis is that of the calls; what was said stays."""
    append(home, told(1), call(1, estimate_id=estimate_id(1)))
    before = shown(home)["totals"]["cost"]
    adopt(home, "halved")
    latest = shown(home, basis="latest")
    assert before["actual_usd"] == "0.002475"
    assert latest["totals"]["cost"]["actual_usd"] != before["actual_usd"]
    assert latest["totals"]["cost"]["estimated_p50_usd"] == before["estimated_p50_usd"] == "0.001"
    assert latest["prices"]["basis"] == "latest"


EVENING = "2026-03-01T22:59:59.999999Z"
NIGHT = "2026-03-01T23:00:00.000000Z"
"""A Sunday's last instant in Berlin, and the first of Monday there, in UTC the same day."""


@pytest.mark.parametrize(
    ("over", "name", "zone", "labels"),
    [
        ("day", "date", "UTC", ["2026-03-01"]),
        ("day", "date", "Europe/Berlin", ["2026-03-01", "2026-03-02"]),
        ("week", "week", "UTC", ["2026-02-23"]),
        ("week", "week", "Europe/Berlin", ["2026-02-23", "2026-03-02"]),
        ("month", "month", "Europe/Berlin", ["2026-03"]),
        ("month", "month", "Pacific/Kiritimati", ["2026-03"]),
        ("month", "month", "Pacific/Pago_Pago", ["2026-03"]),
    ],
)
def test_over_time_in_the_zone_of_the_report(home: Home, over: str, name: str, zone: str, labels: list[str]) -> None:
    append(home, told(1, estimated_at=EVENING), came(1), told(2, estimated_at=NIGHT), came(2))
    document = shown(home, over=over, timezone=zone)
    assert [row[name] for row in document["rows"]] == labels
    assert list(document["rows"][0])[:3] == [name, "model", "prompt"]
    assert sum(row["met_estimates"] for row in document["rows"]) == document["totals"]["met_estimates"] == 2


def test_days_are_those_of_the_estimates_in_the_zone(home: Home) -> None:
    append(home, told(1, estimated_at=EVENING), told(2, estimated_at=NIGHT))
    monday = date(2026, 3, 2)
    assert shown(home, since=monday, timezone="Europe/Berlin")["totals"]["estimates"] == 1
    assert shown(home, until=date(2026, 3, 1), timezone="Europe/Berlin")["totals"]["estimates"] == 1
    assert shown(home, since=monday)["totals"]["estimates"] == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"by": ("moth",)}, "no column of estimates"),
        ({"by": ("status",)}, "no column of estimates"),
        ({"by": ("model", "model")}, "twice"),
        ({"where": (("e.id", "1"),)}, "no column of estimates"),
        ({"over": "year"}, "use day, week, month"),
        ({"timezone": "Nowhere"}, "no time zone"),
        ({"basis": "cheap"}, "no basis"),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 1)}, "no such day"),
    ],
)
def test_what_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        EstimateOptions(**options)


def test_nothing_was_ever_estimated(home: Home) -> None:
    append(home, call(1))
    document = shown(home)
    assert (document["rows"], document["lately"]) == ([], [])
    assert document["totals"] == figures(0, (None,) * 4, (None,) * 3, (0, None, None, "0", "0"))


# What was wrong lately.


def days(numbers: Sequence[int], stated: tuple[int, int, int], actual: int, **fields: Any) -> Iterator[NewEvent]:
    """An estimate a day, each with its call."""
    for number in numbers:
        key = f"{number} {sorted(fields.items())}"
        at = f"2026-03-{number:02}T12:00:00.000000Z"
        yield told(key, stated, estimated_at=at, counted_tokens=100, **fields)
        yield came(key, actual, started_at=at, **{name: fields[name] for name in fields if name in ("prompt", "model")})


RIGHT, WRONG = ((90, 100, 110), 100), ((90, 100, 110), 130)


def test_what_was_wrong_lately_is_said_of_it_alone(home: Home) -> None:
    append(home, *days(range(1, 11), *RIGHT), *days(range(11, 15), *WRONG), *days(range(1, 15), *RIGHT, prompt="ok"))
    message = "4 of the last 10 calls were outside of the range estimated for them"
    assert shown(home)["lately"] == [{"model": "gpt-5-mini", "prompt": "greet", "message": message}]
    over = shown(home, over="week")
    assert over["lately"] == shown(home)["lately"]
    assert len(over["rows"]) > len(shown(home)["rows"])
    assert shown(home, by=("prompt",))["lately"] == [{"prompt": "greet", "message": message}]
    assert shown(home, until=date(2026, 3, 13))["lately"] == []
    append(home, *days(range(15, 22), *RIGHT))
    assert shown(home)["lately"] == []


def test_the_last_are_those_that_were_made_last_however_they_were_journaled(home: Home) -> None:
    append(home, *days(range(11, 21), *WRONG))
    append(home, *days(range(1, 11), *RIGHT))
    assert len(shown(home)["lately"]) == 1


def test_estimates_of_many_calls_say_nothing_of_the_last_single_ones(home: Home) -> None:
    for number in range(10):
        append(home, told(number, calls=2), *(came((number, each), 100, of=number) for each in range(2)))
    document = shown(home)
    assert (document["totals"]["met_estimates"], document["totals"]["input_tokens"]["coverage"]) == (10, "0")
    assert document["lately"] == []


@pytest.mark.parametrize("prompt", ["greet", None])
def test_an_estimate_says_what_was_stated_wrongly(home: Home, prompt: str | None) -> None:
    """Not what the estimator would say of itself: of calls that always take what was counted, it has been right."""
    append(home, *days(range(1, 11), (190, 200, 210), 100, prompt=prompt))
    assert "10 of the last 10 calls" in notes(home, prompt)
    assert notes(home, "another") == ""


def test_an_estimate_says_nothing_of_what_was_stated_rightly(home: Home) -> None:
    """Though the tokens for one counted have changed, by which the estimator would have been wrong."""
    append(home, *days(range(1, 6), *RIGHT), *days(range(6, 11), (180, 200, 220), 200))
    assert notes(home, "greet") == ""


def notes(home: Home, prompt: str | None) -> str:
    book = PriceStore(home.prices).load_book(adopt(home, "halved"))
    with open_projection(home) as projection:
        made = Estimator(projection, book).estimate("Good morning.", Subject("openai", "gpt-5-mini", prompt))
    return " ".join(made.notes)


# What holds of any estimates.


class Drawn(NamedTuple):
    """An estimate, and how many calls came of it."""

    model: str
    prompt: str | None
    day: int
    steps: tuple[int, int, int]
    actual: int
    answered: int
    calls: int
    made: int
    failed: bool
    answer: str | None
    p50_pico: int
    actual_pico: int


DRAWN = st.builds(
    Drawn,
    st.sampled_from(("gpt-5-mini", "gpt-5")),
    st.sampled_from(("greet", "part", None)),
    st.integers(1, 28),
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)),
    st.integers(1, 200),
    st.integers(0, 60),
    st.integers(1, 2),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from((None, "yes", "no", "no_terminal")),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)


def usd(pico: int) -> str:
    return f"{Decimal(pico).scaleb(-12).normalize():f}"


def events(drawn: Sequence[Drawn]) -> Iterator[NewEvent]:
    for number, one in enumerate(drawn):
        low, middle, high = one.steps
        at = f"2026-03-{one.day:02}T23:30:00.000000Z"
        asked = {} if one.answer is None else {"confirm": {"above_usd": "0", "answer": one.answer}}
        stated, cost = (low, low + middle, low + middle + high), (usd(one.p50_pico), usd(2 * one.p50_pico))
        who: dict[str, Any] = {"model": one.model, "prompt": one.prompt}
        yield told(number, stated, (8, 30, 40), cost, calls=one.calls, estimated_at=at, **who, **asked)
        for each in range(one.made):
            state = {"status": "error", "http_status": 500} if one.failed and each == 0 else {}
            yield came((number, each), one.actual, one.answered, number, usd=usd(one.actual_pico), **who, **state)


def outcome(one: Drawn) -> str:
    """What came of it, by the rules."""
    answered = one.made - (1 if one.failed and one.made else 0)
    if answered >= one.calls:
        return "met" if answered == one.calls else "surplus"
    if one.made >= one.calls:
        return "failed"
    return "declined" if not one.made and one.answer in ("no", "no_terminal") else "open"


COUNTS = [name for name, value in TOTALS.items() if isinstance(value, int)]


@settings(max_examples=20, deadline=None)
@given(st.lists(DRAWN, max_size=25), st.sampled_from((None, "day", "week")), st.sampled_from(("UTC", "Asia/Tokyo")))
def test_rows_part_the_estimates_and_sum_to_the_totals(drawn: list[Drawn], over: str | None, zone: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(Path(folder) / "home")
        append(home, *events(drawn))
        document = shown(home, over=over, timezone=zone)
    rows, totals = document["rows"], document["totals"]
    assert totals["estimates"] == len(drawn)
    for name in COUNTS:
        assert sum(row[name] for row in rows) == totals[name], name
    outcomes = [outcome(one) for one in drawn]
    for name in OUTCOMES:
        assert totals[f"{name}_estimates"] == outcomes.count(name)
    for row in (*rows, totals):
        assert sum(row[f"{name}_estimates"] for name in OUTCOMES) == row["estimates"]
        hold_shares(row)
    answers = [one.answer for one in drawn]
    assert totals["answers"] == {name: answers.count(name) for name in ("yes", "no", "no_terminal")}
    for name in ("estimated_p50_usd", "actual_usd"):
        of_rows = [row["cost"][name] for row in rows]
        assert sum(usd_to_pico(value) for value in of_rows if value is not None) == usd_to_pico(totals["cost"][name])
    met = [one for one in drawn if outcome(one) == "met"]
    assert usd_to_pico(totals["cost"]["estimated_p50_usd"]) == sum(one.p50_pico for one in met)
    assert usd_to_pico(totals["cost"]["actual_usd"]) == sum(one.calls * one.actual_pico for one in met)


def hold_shares(row: dict[str, Any]) -> None:
    """Shares of the whole are between nothing and one, and are there where there is something to tell of."""
    taken, output, cost = row["input_tokens"], row["output_tokens"], row["cost"]
    for share in (taken["coverage"], *output.values()):
        assert (share is None) == (row["met_estimates"] == 0)
        assert share is None or 0 <= Decimal(share) <= 1
    assert cost["at_most_p90"] is None or 0 <= Decimal(cost["at_most_p90"]) <= 1
    if row["met_estimates"]:
        assert 0 <= Decimal(taken["median_error"]) <= Decimal(taken["p95_error"])
        assert Decimal(output["at_most_p50"]) <= Decimal(output["at_most_p90"]) <= 1 - Decimal(output["above_max"])


@pytest.mark.parametrize("at", ["-infinity", "99999-01-01", "0044-03-15 (BC)", "9999-12-31T23:59:59.999999Z"])
def test_a_hand_made_day_breaks_nothing(home: Home, at: str) -> None:
    append(home, NewEvent.of("estimate.made", estimate_id(1), estimate_data(estimated_at=at, tags=5)), told(2))
    with open_projection(home) as projection:
        for over in ("day", "week", "month"):
            report = report_estimates(projection, EstimateOptions(over=over, timezone="Asia/Tokyo"))
            assert report.total.estimates == (2 if at.startswith("9999-") else 1)
        assert len(list_estimates(projection).rows) == report.total.estimates


def test_progress_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_estimate_report, "TOLD_EVERY", 2)
    append(home, *(told(number) for number in range(5)))
    done: list[tuple[int, int]] = []
    with open_projection(home) as projection:
        report_estimates(projection, on_progress=lambda *one: done.append(one))
    assert done == [(2, 5), (4, 5)]
