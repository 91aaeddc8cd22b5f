"""Bases: every report, table and export says what calls cost by the prices that were asked for, each at one's side."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from keledger.journal import Home, NotFound, UsageError, pico_to_usd, usd_to_pico
from keledger.projections import (
    ReportOptions,
    export_csv,
    export_jsonl,
    open_projection,
    rebuild,
    report_call,
    report_daily,
    report_session,
    run_sql,
)

from .repricing import adopt, costs, folded, ledger_of, reprice

BASES = ("recorded", "current", "latest", "known:9999-01-01")


@pytest.fixture(params=["tail", "layer"])
def here(home: Home, request: pytest.FixtureRequest) -> Home:
    """Calls that cost something else by each basis: recorded by the list, repriced, then other prices adopted."""
    with ledger_of(home) as ledger:
        for fields in (
            {"model": "gpt-5-mini", "usage": {"input_uncached": 2000, "output_text": 10}, "session": "s1"},
            {"model": "gpt-5-mini", "usage": {"input_uncached": 20, "cache_read": 3}, "session": "s1"},
            {"provider": "nobody", "model": "in-house", "usage": {"input_uncached": 5}, "reported_cost_usd": "0.25"},
            {"provider": "nobody", "model": "in-house", "usage": {"output_text": 5}},
            {"model": "gpt-5-mini", "status": "unknown"},
        ):
            ledger.record(**{"provider": "openai", "time": "2026-11-20T12:00:00Z", **fields})
    assert reprice(home, adopt(home, "halved")) is not None
    adopt(home, "free")
    if request.param == "layer":
        rebuild(home)
    return home


def told(home: Home, basis: str) -> list[dict[str, Any]]:
    """The counted calls as they are exported."""
    written = io.BytesIO()
    export_jsonl(home, written, basis=basis)
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_the_bases_differ_and_are_what_the_rules_say(here: Home) -> None:
    found = {basis: costs(here, basis) for basis in BASES}
    for basis in ("recorded", "current", "latest"):
        assert found[basis] == folded(here, basis)
    assert found["known:9999-01-01"] == found["latest"]
    assert found["recorded"] != found["current"] != found["latest"] != found["recorded"]


@pytest.mark.parametrize("basis", BASES)
def test_every_way_says_the_same(here: Home, basis: str) -> None:
    wanted = costs(here, basis)
    shown = {call: (state, None if pico is None else pico_to_usd(pico)) for call, (state, pico) in wanted.items()}
    whole = pico_to_usd(sum(pico or 0 for _, pico in wanted.values()))
    lines = told(here, basis)
    assert {line["id"]: (line["cost_state"], line["cost_usd"]) for line in lines} == shown
    for line in lines:
        parts = sum(usd_to_pico(charge["usd"] or "0") for charge in line["charges"])
        assert parts == usd_to_pico(line["cost_usd"] or "0")
    written = io.BytesIO()
    export_csv(here, written, basis=basis)
    rows = csv.DictReader(io.StringIO(written.getvalue().decode(), newline=""))
    assert {row["id"]: (row["cost_state"], row["cost_usd"] or None) for row in rows} == shown
    with open_projection(here) as projection:
        options = ReportOptions(basis=basis)
        report = report_daily(projection, options)
        assert report.as_json()["prices"] == {"basis": basis, "book": projection.book}
        assert report.totals["cost_usd"] == whole
        session = report_session(projection, "s1", options)
        trips = {trip["id"]: trip["cost_usd"] for row in session.rows for trip in row["round_trips"]}
        assert trips == {call: shown[call][1] for call in trips}
        for call, (state, usd) in shown.items():
            (row,) = report_call(projection, call, options).rows
            assert (row["cost_state"], row["cost_usd"]) == (state, usd)
            assert sum(usd_to_pico(part["usd"] or "0") for part in row["lines"]) == usd_to_pico(usd or "0")
            recorded = row["event"]["data"]["cost"]
            assert (row["recorded_cost_state"], row["recorded_cost_usd"]) == (
                recorded["state"],
                recorded.get("total_usd"),
            )
    name = f'"{basis}"'
    statement = (
        f"SELECT (SELECT SUM(cost_usd) FROM {name}.calls), (SELECT SUM(usd) FROM {name}.charges), "
        f"(SELECT SUM(cost_usd) FROM {name}.daily), (SELECT SUM(cost_usd) FROM {name}.sessions)"
    )
    for asked in ("current", basis):
        with open_projection(here) as projection:
            (row,) = run_sql(projection, statement, basis=asked).rows
            assert {usd_to_pico(_short(value)) for value in row.values()} == {usd_to_pico(whole)}
    with open_projection(here) as projection:
        (row,) = run_sql(projection, "SELECT SUM(usd) AS usd FROM charges", basis=basis).rows
        assert _short(row["usd"]) == whole


def _short(amount: str) -> str:
    return amount.rstrip("0").rstrip(".")


def test_several_bases_in_one_statement(here: Home) -> None:
    with open_projection(here) as projection:
        result = run_sql(
            projection,
            "SELECT id, c.cost_usd AS current_usd, r.cost_usd AS recorded_usd, l.cost_usd AS latest_usd "
            "FROM calls AS c JOIN recorded.calls AS r USING (id) JOIN latest.calls AS l USING (id) "
            'JOIN "known:9999-01-01".calls USING (id)',
        )
    by_basis = {basis: costs(here, basis) for basis in ("current", "recorded", "latest")}
    assert len(result.rows) == len(by_basis["current"])
    for row in result.rows:
        for basis, found in by_basis.items():
            usd, pico = row[f"{basis}_usd"], found[row["id"]][1]
            assert (None if usd is None else usd_to_pico(_short(usd))) == pico


def test_one_projection_goes_from_basis_to_basis(here: Home) -> None:
    with open_projection(here) as projection:
        for basis in (*BASES, *reversed(BASES)):
            found = report_daily(projection, ReportOptions(basis=basis)).totals["cost_usd"]
            assert found == pico_to_usd(sum(pico or 0 for _, pico in costs(here, basis).values()))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM newest.calls", "'newest' is no basis"),
        ('SELECT * FROM "known:2026-02-30".calls', "is no basis"),
        ("SELECT * FROM latest.events", "there is no table"),
        ("SELECT * FROM latest.call_fact", "there is no table"),
        ("SELECT * FROM memory.latest.calls", "there is no table"),
        ("SELECT * FROM rate", "there is no table"),
    ],
)
def test_tables_that_there_are_not(here: Home, statement: str, message: str) -> None:
    with open_projection(here) as projection, pytest.raises(UsageError, match=message):
        run_sql(projection, statement)


def test_a_day_on_which_no_book_was_known(here: Home) -> None:
    with open_projection(here) as projection:
        with pytest.raises(
            NotFound, match="no price book was known here by the end of 2020-01-01: the first one came on"
        ):
            report_daily(projection, ReportOptions(basis="known:2020-01-01"))
        assert report_daily(projection).totals["calls"] == 5


def test_a_home_without_any_call_has_all_bases(home: Home) -> None:
    for basis in BASES:
        with open_projection(home) as projection:
            assert report_daily(projection, ReportOptions(basis=basis)).rows == ()


def test_the_prices_and_the_reprices_as_tables(here: Home) -> None:
    with open_projection(here) as projection:
        (one,) = run_sql(
            projection,
            "SELECT kind, usd_per_million, valid_from FROM prices WHERE model = 'in-house' AND strength = 1",
        ).rows
        (done,) = run_sql(projection, "SELECT * FROM repricings").rows
    assert one == {"kind": "user", "usd_per_million": "7.000000000000", "valid_from": None}
    assert done["changed_calls"] == 2
    assert done["reverted_at"] is None
    before, after, difference = (usd_to_pico(_short(done[f"{name}_usd"])) for name in ("before", "after", "difference"))
    assert after - before == difference != 0
