"""``keledger reconcile``: the three parts of a difference, the event, and what is booked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import Home, KeledgerError, anchor, read_invoice, usd_to_pico, verify
from keledger.projections import compare_invoice, list_invoices, open_projection
from keledger.projections._reconcile import _Side
from tests.cli.support import keledger, keledger_terminal, truth
from tests.journal.support import call, events
from tests.projections.repricing import ledger_of

from .support import at_once, close_month, monthly, pico

OF = ["--provider", "openai", "--month", "2026-10"]
PARTS = ("volume_usd", "rate_usd", "unknown_usd")

INVOICE = """date,model,quantity,amount,currency
2026-10-20,gpt-5-mini,2400,0.001,USD
2026-10-31,gpt-5-mini,11,0.00000450001,USD
2026-10-25,gpt-5,100,1.5,USD
2026-10-31,,,2,USD
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "october.csv"
    path.write_text(INVOICE)
    return str(path)


def reconcile(*arguments: str) -> dict[str, Any]:
    outcome = keledger("reconcile", *arguments)
    assert outcome.status == 0, outcome.err
    document: dict[str, Any] = outcome.json
    return document


def of_openai(file: str, *options: str) -> dict[str, Any]:
    return reconcile(file, "--provider", "OpenAI", "--month", "2026-10", *options)


def holds(sums: dict[str, Any]) -> None:
    """The parts sum to the difference, and that is what was invoiced beyond what was computed."""
    assert pico(sums, *PARTS) == usd_to_pico(sums["difference_usd"])
    assert pico(sums, "invoiced_usd") - pico(sums, "computed_usd") == usd_to_pico(sums["difference_usd"])


def test_amounts_stand_side_by_side_by_day_and_model(used: Home, file: str) -> None:
    document = of_openai(file, "--dry-run")
    rows = {(row["date"], row["model"]): row for row in document["rows"]}
    for row in (*rows.values(), document["totals"]):
        holds(row)
    for part in (*PARTS, "difference_usd", "computed_usd", "invoiced_usd"):
        assert pico(document["totals"], part) == sum(pico(row, part) for row in rows.values())
    # 1,200 tokens cost 0.000515; the invoice has twice as many, at another price.
    twice = rows[("2026-10-20", "gpt-5-mini")]
    assert (twice["computed_quantity"], twice["invoiced_quantity"]) == (1200, 2400)
    assert (twice["computed_usd"], twice["volume_usd"]) == ("0.000515", "0.000515")
    assert (twice["rate_usd"], twice["unknown_usd"]) == ("-0.00003", "0")
    same = rows[("2026-10-31", "gpt-5-mini")]
    assert (same["volume_usd"], same["rate_usd"], same["unknown_usd"]) == ("0", "0.00000000001", "0")
    # What has no counterpart here, or there.
    assert rows[("2026-10-25", "gpt-5")]["unknown_usd"] == "1.5"
    assert rows[("2026-10-31", None)]["unknown_usd"] == "2"
    unanswered = rows[("2026-10-23", "gpt-5-mini")]
    assert (unanswered["calls"], unanswered["uncosted_calls"], unanswered["computed_usd"]) == (1, 1, None)
    assert document["totals"]["calls"] == 3


def test_calls_without_a_cost_are_the_unknown_part(used: Home, file: str) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="image", time="2026-10-20T12:00:00Z", usage_raw=None,
                             usage={"input_uncached": 1200, "input_pages": 1}))  # fmt: skip
    row = next(row for row in of_openai(file, "--dry-run")["rows"] if row["date"] == "2026-10-20")
    assert (row["calls"], row["uncosted_calls"], row["computed_quantity"]) == (2, 1, 2400)
    assert (row["volume_usd"], row["unknown_usd"], row["rate_usd"]) == ("0", "0.000515", "-0.00003")
    holds(row)


@given(
    st.builds(
        _Side,
        calls=st.integers(0, 3),
        tokens=st.integers(0, 10**9),
        uncosted_tokens=st.integers(0, 10**6),
        computed_pico=st.integers(0, 10**20),
        lines=st.integers(0, 2),
        quantity=st.one_of(st.none(), st.integers(0, 10**9)),
        invoiced_pico=st.integers(-(10**20), 10**20),
    )
)
def test_the_parts_sum_to_the_difference(side: _Side) -> None:
    split = side.split()
    assert split.difference == side.invoiced_pico - side.computed_pico
    assert split.volume + split.rate + split.unknown == split.difference
    if not side.calls or not side.lines:
        assert split.unknown == split.difference
    elif side.quantity == side.tokens and not side.uncosted_tokens:
        assert split.volume == 0


def test_reported_costs_stand_beside_the_computed(used: Home, file: str) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="said", time="2026-10-20T12:00:00Z", reported_cost_usd="0.25"))
    row = next(row for row in of_openai(file, "--dry-run")["rows"] if row["date"] == "2026-10-20")
    assert (row["reported_usd"], row["reported_calls"], row["calls"]) == ("0.25", 1, 2)


def test_calls_are_matched_by_the_model_that_answered_where_the_invoice_names_it(used: Home, tmp_path: Path) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="dated", time="2026-10-02T12:00:00Z", response_model="gpt-5-mini-2025-08-07"))
    path = tmp_path / "costs.json"
    path.write_text('[{"date":"2026-10-02","model":"gpt-5-mini-2025-08-07","amount":"0.1"}]')
    assert {row["model"] for row in of_openai(str(path), "--dry-run")["rows"]} == {
        "gpt-5-mini-2025-08-07",
        "gpt-5-mini",
    }
    path.write_text('[{"date":"2026-10-02","model":"gpt-5","amount":"0.1"}]')
    assert {row["model"] for row in of_openai(str(path), "--dry-run")["rows"]} == {"gpt-5", "gpt-5-mini"}
    path.write_text('[{"date":"2026-10-02","model":"gpt-5-mini","amount":"0.1"}]')
    rows = of_openai(str(path), "--dry-run", "--by", "model")["rows"]
    assert [(row["model"], row["calls"]) for row in rows] == [("gpt-5-mini", 4)]


@pytest.mark.parametrize(("by", "wanted"), [("model", 3), ("day", 4), ("day,model", 5), ("model,day", 5)])
def test_by_says_what_is_compared(used: Home, file: str, by: str, wanted: int) -> None:
    document = of_openai(file, "--dry-run", "--by", by)
    assert len(document["rows"]) == wanted
    holds(document["totals"])
    assert document["totals"]["difference_usd"] == of_openai(file, "--dry-run")["totals"]["difference_usd"]


def test_days_are_those_of_the_zone(used: Home, tmp_path: Path) -> None:
    path = tmp_path / "october.csv"
    path.write_text("date,model,amount\n2026-10-31,gpt-5-mini,1\n")
    document = of_openai(str(path), "--dry-run", "--timezone", "America/New_York")
    assert [row["date"] for row in document["rows"] if row["invoiced_usd"]] == ["2026-10-31"]
    assert of_openai(str(path), "--dry-run", "--timezone", "Europe/Berlin")["totals"]["calls"] == 2


def test_an_invoice_is_one_event_and_its_comparison_can_be_replayed(used: Home, file: str) -> None:
    first = of_openai(file)
    assert first["recorded"]
    (event,) = (one for one in events(used) if one["type"] == "invoice.recorded")
    data = event["data"]
    assert first["id"] == event["id"]
    assert (data["provider"], data["period"], data["currency"], data["source_name"]) == (
        "openai", "2026-10", "USD", "october.csv"
    )  # fmt: skip
    assert data["total_usd"] == "3.50100450001"
    Path(file).unlink()
    again = reconcile("--invoice", first["id"][:13])
    assert {name: again[name] for name in ("rows", "totals", "left_usd", "source", "id")} == {
        name: first[name] for name in ("rows", "totals", "left_usd", "source", "id")
    }
    assert reconcile("--list")["rows"][0]["id"] == first["id"]
    assert not verify(used).findings


def test_the_same_file_is_recorded_once(used: Home, file: str, tmp_path: Path) -> None:
    first = of_openai(file)
    copy = tmp_path / "copy.csv"
    copy.write_text(INVOICE)
    before = truth(used)
    second = of_openai(str(copy), "--reason", "once more")
    assert (second["recorded"], second["id"]) == (False, first["id"])
    assert truth(used) == before

    other = Home.at(tmp_path / "other")
    with ledger_of(other) as ledger:
        ledger.record(**call(id="x"))
    elsewhere = reconcile(str(copy), "--provider", "openai", "--month", "2026-10", "--reason", "another machine",
                          "--home", str(other.path))  # fmt: skip
    assert elsewhere["id"] == first["id"]
    with ledger_of(used) as ledger:
        ledger.merge(other.path)
    with open_projection(used) as projection:
        assert len(list_invoices(projection)) == 1
    assert not verify(used).findings  # the same event on both machines, however it was called and why


def test_what_is_left_is_booked_once_when_it_is_asked_for(used: Home, file: str) -> None:
    plain = of_openai(file)
    assert (plain["adjusted_usd"], plain["booked_id"]) == ("0", None)
    cost = monthly(used).totals["cost_usd"]
    booked = of_openai(file, "--book-difference")
    (event,) = (one for one in events(used) if one["type"] == "charge.adjusted")
    assert booked["booked_id"] == event["id"]
    assert event["data"]["amount_usd"] == plain["left_usd"] == plain["totals"]["difference_usd"]
    assert (event["data"]["invoice_id"], event["data"]["effective_at"]) == (plain["id"], "2026-10-31T12:00:00.000000Z")
    before = truth(used)
    again = of_openai(file, "--book-difference")
    assert (again["left_usd"], again["booked_id"], again["adjusted_usd"]) == ("0", None, plain["left_usd"])
    assert truth(used) == before
    totals = monthly(used).totals
    assert (totals["cost_usd"], totals["adjustments_usd"]) == (cost, plain["left_usd"])


def test_what_is_booked_in_a_closed_month_is_a_correction(used: Home, file: str) -> None:
    with ledger_of(used) as ledger:
        close_month(used, ledger, "2026-10")
    left = of_openai(file, "--book-difference")["left_usd"]
    report = monthly(used)
    assert (report.totals["adjustments_usd"], report.totals["corrections_usd"]) == ("0", left)
    (correction,) = report.corrections or ()
    assert (correction["calls"], correction["cost_usd"], correction["adjustments_usd"]) == (0, "0", left)


@pytest.mark.parametrize(
    ("content", "arguments", "complaint"),
    [
        (INVOICE, ["--provider", "openai", "--month", "10/2026"], "'10/2026' is no month: write it like 2026-10"),
        (INVOICE, ["--provider", "openai", "--month", "2026-09"], "which is not in 2026-09"),
        (INVOICE, ["--provider", "openia", "--month", "2026-10"], "no calls of the provider 'openia': it has calls"),
        (INVOICE, ["--provider", "openai"], "--month is missing"),
        (INVOICE, ["--month", "2026-10"], "--provider is missing"),
        (INVOICE, [*OF, "--by", "week"], "an invoice can be compared by day and model, not by week"),
        (INVOICE, [*OF, "--format", "openai"], "line 1 is no JSON"),
        (INVOICE, [*OF, "--dry-run", "--book-difference"], "give one of them"),
        (INVOICE, [*OF, "--list"], "give a file, or --invoice"),
        ("date,amount\n" + "2026-10-01,999999999999\n" * 1001, OF, "october.csv: all amounts, whatever their sign:"),
        (INVOICE.replace("USD", "EUR"), OF, "is in EUR, and keledger counts in USD"),
        ("date,amount\n2026-10-01,0.0000000000001\n", OF, "line 2: '0.0000000000001' has more than 12 decimals"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(
    used: Home, file: str, content: str, arguments: list[str], complaint: str
) -> None:
    Path(file).write_text(content)
    before = truth(used)
    outcome = keledger("reconcile", file, *arguments)
    assert outcome.status in (1, 2)
    assert complaint in outcome.complaint
    assert truth(used) == before


@pytest.mark.parametrize("of", [["--invoice", "0"], ["--list"]])
@pytest.mark.parametrize(
    ("option", "value"), [("--provider", "x"), ("--month", "x"), ("--timezone", "x"), ("--format", "csv")]
)
def test_what_a_recorded_invoice_has_is_not_given(used: Home, of: list[str], option: str, value: str) -> None:
    outcome = keledger("reconcile", *of, option, value)
    assert outcome.status == 2
    assert f"{of[0]} takes no {option}: a recorded invoice has its own" in outcome.complaint


def test_processes_that_book_a_difference_at_once_book_it_once(used: Home, file: str) -> None:
    outcomes = at_once(3, "reconcile", file, *OF, "--book-difference")
    booked = [one for one in events(used) if one["type"] == "charge.adjusted"]
    assert [one["id"] for one in booked] == [
        outcome.json["booked_id"] for outcome in outcomes if outcome.status == 0 and outcome.json["booked_id"]
    ]
    assert len(booked) == 1
    for outcome in outcomes:
        assert outcome.status == 0 or "journaled an adjustment in" in outcome.complaint
    assert (of_openai(file)["left_usd"], len(reconcile("--list")["rows"])) == ("0", 1)


def test_what_was_booked_meanwhile_is_looked_at_first(used: Home) -> None:
    data = {"amount_usd": "1", "provider": "openai", "effective_at": "2026-10-31T12:00:00.000000Z", "category": "Tax"}
    since = anchor(used)
    with ledger_of(used) as ledger:
        invoice = {"provider": "openai", "period": "2026-10", "timezone": "UTC", "currency": "USD", "total_usd": "1",
                   "source_name": "x", "source_format": "csv", "source_sha256": "0" * 64,
                   "lines": [{"date": "2026-10-01", "amount_usd": "1"}]}  # fmt: skip
        ledger.record_invoice(invoice, "the own one does no harm")
        first = ledger.adjust(data, "the first", since=since)
        with pytest.raises(KeledgerError, match=r"journaled an adjustment in .* meanwhile: nothing was booked"):
            ledger.adjust(data, "the second", since=since)
        assert ledger.adjust(data, "looked at again", since=anchor(used)) != first


def test_sums_that_lack_calls_are_marked(used: Home, file: str) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="image", time="2026-10-20T12:00:00Z", usage_raw=None, reported_cost_usd=None,
                             usage={"input_uncached": 1200, "input_pages": 1}))  # fmt: skip
        ledger.record(**call(id="page", time="2026-10-02T12:00:00Z", usage_raw=None, usage={"input_pages": 1}))
        ledger.record(**call(id="said", time="2026-10-20T13:00:00Z", reported_cost_usd="0.25"))
    table = keledger_terminal("reconcile", file, *OF, "--dry-run", columns=250).out
    of = {line.split()[0]: line for line in click.unstyle(table).splitlines() if line.strip()}
    assert "$0.001030*  $0.250000*" in of["2026-10-20"]
    assert "unpriced*" in of["2026-10-02"]
    assert "unknown*" in of["2026-10-23"]
    assert "*" not in of["2026-10-25"] + of["2026-10-31"]
    assert of["Total"].count("*") == 2
    assert "* 3 of 6 calls without a cost: not in what was computed" in table
    assert "* 5 of 6 calls without a reported cost: not in what was reported" in table


def test_a_file_that_is_not_there_and_an_empty_journal(used: Home, file: str, tmp_path: Path) -> None:
    arguments = ("--provider", "openai", "--month", "2026-10")
    assert "No such file" in keledger("reconcile", f"{file}x", *arguments).complaint
    assert "no invoice has the id 'abc'" in keledger("reconcile", "--invoice", "abc").complaint
    outcome = keledger("reconcile", file, *arguments, "--home", str(tmp_path / "none"))
    assert "has no calls: there is nothing to compare with" in outcome.err
    assert not (tmp_path / "none").exists()


def test_too_many_lines_for_one_event_are_refused(used: Home, file: str) -> None:
    names = "".join(f"2026-10-01,{'x' * 200}{number},1\n" for number in range(2000))
    Path(file).write_text("date,model,amount\n" + names)
    before = truth(used)
    outcome = keledger("reconcile", file, *OF)
    assert outcome.status == 1
    assert "2,000 lines by day and model, more than one event can hold" in outcome.complaint
    assert truth(used) == before


def test_it_is_a_table_on_a_terminal(used: Home, file: str) -> None:
    shown = keledger_terminal("reconcile", file, "--provider", "openai", "--month", "2026-10", columns=160).out
    for text in ("Volume", "Rate", "Unknown", "is left; --book-difference books it.", "The invoice is recorded"):
        assert text in shown


def test_an_invoice_of_a_provider_api_is_compared(used: Home) -> None:
    result = {"amount": {"value": 0.001, "currency": "usd"}, "line_item": "gpt-5-mini, input"}
    page = {"object": "page", "data": [{"start_time": 1792454400, "results": [result]}]}
    invoice = read_invoice(json.dumps(page).encode(), "2026-10")
    with open_projection(used) as projection:
        compared = compare_invoice(projection, invoice.lines, provider="openai", period="2026-10", timezone="UTC")
    row = next(row for row in compared.rows if row["invoiced_usd"])
    # Without a quantity nobody can tell volume from rate.
    assert (row["date"], row["unknown_usd"], row["volume_usd"]) == ("2026-10-20", row["difference_usd"], "0")
