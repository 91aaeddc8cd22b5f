"""``keledger close`` and ``keledger reopen``, as people use them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, KeledgerError, Ledger, anchor, verify
from keledger.journal._identity import new_id
from keledger.journal.budgets import budget_fields
from keledger.projections import Selector, closing_data, digest, open_projection
from tests.cli.support import Outcome, forge, keledger, keledger_terminal, truth
from tests.journal.support import call, calls, events
from tests.projections.repricing import adopt, ledger_of, reprice, undo
from tests.projections.support import drop_cache, rebuild_or_not

from .support import at_once, closings, monthly, pico, shown


def close(month: str = "2026-10", *options: str) -> dict[str, Any]:
    outcome = keledger("close", month, "--yes", *options)
    assert outcome.status == 0, outcome.err
    document: dict[str, Any] = outcome.json
    return document


def show(month: str = "2026-10") -> dict[str, Any]:
    document: dict[str, Any] = keledger("close", month, "--show").json
    return document


def listed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = keledger("close", "--list").json["rows"]
    return rows


def refused(*arguments: str) -> Outcome:
    """A command that writes nothing and says why in one line."""
    outcome = keledger(*arguments)
    assert outcome.status in (1, 2)
    assert len(outcome.err.splitlines()) == 1
    return outcome


def row_of(home: Home, month: str, **options: Any) -> dict[str, Any]:
    return next(row for row in monthly(home, **options).rows if row["month"] == month)


def test_closing_writes_one_event_that_says_what_it_came_to_and_what_is_open(used: Home) -> None:
    before = row_of(used, "2026-10")
    document = close()
    (event,) = (one for one in events(used) if one["type"] == "period.closed")
    data = event["data"]
    assert document["id"] == event["id"]
    assert (data["period"], data["timezone"], data["basis"]) == ("2026-10", "UTC", "current")
    assert data["started_from"] == "2026-10-01T00:00:00.000000Z"
    assert data["started_to"] == "2026-11-01T00:00:00.000000Z"
    assert data["through"] == [{"writer": used.writers()[0], "seq": event["seq"] - 1, "hash": events(used)[-2]["hash"]}]
    assert {name: data["totals"][name] for name in ("calls", "cost_usd", "uncosted_calls")} == {
        name: before[name] for name in ("calls", "cost_usd", "uncosted_calls")
    }
    assert [one["model"] for one in data["totals"]["models"]] == ["unheard-of", "claude-sonnet-4-5", "gpt-5-mini"]
    assert sum(pico(one, "cost_usd") for one in data["totals"]["models"]) == pico(before, "cost_usd")
    assert data["open"] == {"unknown_calls": 1, "unpriced_calls": 1, "unpriced_estimated_calls": 0, "lost_holds": 0}
    assert not verify(used).findings


def test_unpriced_calls_are_estimated_by_the_newest_book(used: Home) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="in-house", time="2026-10-22T11:00:00Z", provider="nobody", model="in-house",
                             usage_raw=None, usage={"input_uncached": 3}))  # fmt: skip
    adopt(used, "free")
    still = close()["open"]
    assert (still["unpriced_calls"], still["unpriced_estimated_calls"]) == (2, 1)
    assert still["unpriced_estimate_usd"] == "0.000021"


def test_a_month_is_that_of_its_zone(used: Home) -> None:
    document = close("2026-10", "--timezone", "Europe/Berlin")
    assert document["totals"]["calls"] == 4  # late is November's there
    (closing,) = closings(used)
    assert closing.data["started_from"] == "2026-09-30T22:00:00.000000Z"
    assert closing.data["started_to"] == "2026-10-31T23:00:00.000000Z"  # the clocks changed in between


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["2026-13"], "'2026-13' is no month: write it like 2026-10"),
        (["october"], "'october' is no month: write it like 2026-10"),
        (["2026-1o"], "'2026-1o' is no month: write it like 2026-10"),
        ([], "give a month like 2026-10, or --list"),
        (["2026-10", "--list"], "--list takes no month, no --show and no --timezone"),
        (["--list", "-z", "Nowhere/Bad"], "--list takes no month, no --show and no --timezone"),
        (["2026-10", "--show", "-z", "UTC"], "--show takes no --timezone"),
        (["2026-10", "--timezone", "Mars"], "--timezone: 'Mars' is no time zone; use a name like Europe/Berlin or UTC"),
        (["2026-10"], "nothing was written, for nobody can be asked here: give --yes to close the month"),
        (["2026-10", "--show"], "2026-10 is not closed: keledger close --list shows what is"),
    ],
)
def test_what_cannot_be_closed_is_told_in_one_sentence(used: Home, arguments: list[str], complaint: str) -> None:
    before = truth(used)
    assert complaint in refused("close", *arguments).complaint
    assert truth(used) == before


def test_a_month_that_is_not_over_stays_open(used: Home) -> None:
    month = datetime.now(UTC).date().isoformat()[:7]
    assert f"{month} is not over in UTC" in refused("close", month, "--yes").complaint


def test_a_month_is_closed_once(used: Home) -> None:
    first = close()
    assert (
        f"2026-10 was closed already, at {listed()[0]['closed_at']} ({first['id']})"
        in refused("close", "2026-10", "--yes").complaint
    )
    complaint = refused("close", "2026-10", "--yes", "--timezone", "Asia/Tokyo").complaint
    assert "2026-10 of Asia/Tokyo has days of 2026-10 of UTC, which is closed" in complaint
    assert len(closings(used)) == 1


def _record_2025(home: Home) -> list[str]:
    """A call in each month of a year; returns the months."""
    with ledger_of(home) as ledger:
        ledger.record_many(call(id=f"{month}", time=f"2025-{month:02}-28T00:00:00Z") for month in range(1, 13))
    return [f"2025-{month:02}" for month in range(1, 13)]


def test_every_earlier_month_whose_calls_are_in_no_closed_one_is_told(used: Home) -> None:
    before = _record_2025(used)
    with ledger_of(used) as ledger:
        ledger.record(**call(id="july", time="2026-07-31T23:30:00Z"))
    assert close("2026-09")["open_months_before"] == [*before, "2026-07"]  # May and June have no calls
    close("2025-03")
    before.remove("2025-03")
    assert close("2026-10")["open_months_before"] == [*before, "2026-07"]
    # In Berlin the call of July is of the month that is closed.
    assert close("2026-08", "-z", "Europe/Berlin")["open_months_before"] == before


def test_of_many_open_months_people_are_told_the_last(used: Home) -> None:
    _record_2025(used)
    told = keledger_terminal("close", "2026-10", "--yes", columns=300).out
    assert "Calls of earlier months are in no closed month: 2025-02, 2025-03" in told
    assert "2025-12, 2026-09 and 1 before." in told


@pytest.mark.parametrize("made", [False, True])
def test_where_nothing_is_to_close_it_says_so(home: Home, made: bool) -> None:
    if made:
        home.path.mkdir(mode=0o700)
    complaint = refused("close", "2026-10", "--yes", "--home", str(home.path)).complaint
    assert complaint.endswith("there is nothing to close")


def test_a_cost_that_nobody_knows_is_never_shown_as_0(used: Home) -> None:
    with ledger_of(used) as ledger:
        ledger.record(**call(id="only", time="2026-08-05T00:00:00Z", provider="acme", model="unheard-of",
                             usage_raw=None, usage={"input_uncached": 7}))  # fmt: skip
    assert "unpriced*" in keledger_terminal("close", "2026-08", typed="n\n").out
    totals = close("2026-08")["totals"]
    assert (totals["cost_usd"], totals["models"][0]["cost_usd"], totals["uncosted_calls"]) == (None, None, 1)
    assert "$0.000000*" not in keledger_terminal("close", "2026-10", typed="n\n").out
    models = {one["model"]: one["cost_usd"] for one in close()["totals"]["models"]}
    assert models["unheard-of"] is None
    assert None not in (models["gpt-5-mini"], models["claude-sonnet-4-5"])
    (event, _) = (one for one in events(used) if one["type"] == "period.closed")
    assert event["data"]["totals"]["cost_usd"] == "0"  # the sum of the costs that are known
    assert [row["totals"]["cost_usd"] is None for row in listed()] == [True, False]
    table = keledger_terminal("close", "--list", columns=200).out
    assert "unpriced*" in table
    assert "* without calls of which no usage or price was known" in table
    assert keledger("verify").status == 0


def test_neither_a_closing_nor_a_reopening_is_journaled_twice_at_once(used: Home) -> None:
    """What was looked at before the first one is no ground for the second."""
    through = anchor(used)
    with open_projection(used, through={line.writer: line.seq for line in through.lines}) as projection:
        data = closing_data(projection, "2026-10", "UTC", through)
    with ledger_of(used) as ledger:
        ledger.record(**call(id="meanwhile", time="2026-11-05T00:00:00Z"))  # calls do no harm
        closed = ledger.close_period(data, "the first", since=through)
        with pytest.raises(KeledgerError, match=r"journaled a closing or reopening in .* meanwhile: nothing was"):
            ledger.close_period(data, "the second", since=through)
        before = anchor(used)
        ledger.reopen_period(closed, "the first", since=before)
        with pytest.raises(KeledgerError, match="meanwhile"):
            ledger.reopen_period(closed, "the second", since=before)
    assert [one["type"] for one in events(used)[-3:]] == ["call.completed", "period.closed", "period.reopened"]


@pytest.mark.parametrize("action", ["close", "reopen"])
def test_processes_that_do_it_at_once_do_it_once(used: Home, action: str) -> None:
    arguments = ["close", "2026-10", "--yes"]
    if action == "reopen":
        close()
        arguments = ["reopen", "2026-10", "--reason", "test"]
    outcomes = at_once(3, *arguments)
    assert sorted(outcome.status for outcome in outcomes) == [0, 1, 1]
    kind = "period.closed" if action == "close" else "period.reopened"
    assert sum(one["type"] == kind for one in events(used)) == 1


def test_an_empty_home_cannot_be_closed(tmp_path: Any) -> None:
    outcome = refused("close", "2026-10", "--yes", "--home", str(tmp_path / "none"))
    assert "there is no keledger home" in outcome.complaint
    assert not (tmp_path / "none").exists()


def test_on_a_terminal_it_shows_what_is_open_and_asks(used: Home) -> None:
    outcome = keledger_terminal("close", "2026-10", "--yes")
    assert outcome.status == 0
    assert "1 call without a known usage." in outcome.out
    assert "1 call without a known price: no price is known for any of them." in outcome.out
    assert "2026-10 is closed" in outcome.out
    assert "2026-10 as it was closed" in keledger_terminal("close", "2026-10", "--show").out
    assert "closed" in keledger_terminal("close", "--list").out


def test_the_closed_report_prints_the_same_digits_for_ever(used: Home, tmp_path: Any) -> None:
    close()
    first = show()
    kept = {name: first[name] for name in ("rows", "totals", "corrections")}
    october = calls(used)[1]["id"]
    present = monthly(used).totals["cost_usd"]

    with ledger_of(used) as ledger:
        ledger.void(october, "test")
    assert {name: show()[name] for name in kept} == kept
    applied = reprice(used, adopt(used, "dated"), reported=True)
    assert applied is not None
    assert {name: show()[name] for name in kept} == kept

    other = Home.at(tmp_path / "other")
    with ledger_of(other) as ledger:
        ledger.record(**call(id="elsewhere", time="2026-10-05T00:00:00Z"))
        # Another machine knew one of the calls before: its line comes first, and makes this one a copy.
        ledger.record(**call(id="late", time="2026-10-31T23:30:00Z",
                             usage_raw={"prompt_tokens": 10, "completion_tokens": 1}))  # fmt: skip
    with ledger_of(used) as ledger:
        ledger.merge(other.path)
    assert {name: show()[name] for name in kept} == kept
    undo(used, applied)
    with ledger_of(used) as ledger:
        ledger.revert_void(october, "test")
    assert {name: show()[name] for name in kept} == kept
    drop_cache(used)
    assert {name: show()[name] for name in kept} == kept
    assert show()["findings"] == []

    report = monthly(used)
    assert report.totals["cost_usd"] == present
    (correction,) = report.corrections or ()
    # The call from elsewhere, and the one of which another line counts now.
    assert (correction["period"], correction["calls"], correction["charge_class"]) == ("2026-10", 2, "Correction")


def _void(home: Home, folder: Path) -> None:
    with ledger_of(home) as ledger:
        ledger.void(calls(home)[1]["id"], "test")


def _reprice(home: Home, folder: Path) -> None:
    assert reprice(home, adopt(home, "dated"))


def _reprice_of_the_month(home: Home, folder: Path) -> None:
    assert reprice(home, adopt(home, "dated"), Selector.of_days(date(2026, 10, 20), date(2026, 10, 20), "UTC"))


def _late_call(home: Home, folder: Path) -> None:
    with ledger_of(home) as ledger:
        ledger.record(**call(id="late call", time="2026-10-01T00:00:00Z"))


def _merged_call(home: Home, folder: Path) -> None:
    other = Home.at(folder / "other")
    with ledger_of(other) as ledger:
        ledger.record(**call(id="elsewhere", time="2026-10-31T23:59:59.999999Z"))
    with ledger_of(home) as ledger:
        ledger.merge(other.path)


def _merged_conflict(home: Home, folder: Path) -> None:
    """Another machine gave the same id before, in another month: its line comes first, and this one counts no more."""
    other = Home.at(folder / "other")
    with ledger_of(other) as ledger:
        ledger.record(**call(id="october", time="2026-08-01T00:00:00Z"))
    with ledger_of(home) as ledger:
        ledger.merge(other.path)


def _told_live(home: Home, folder: Path) -> None:
    """A live call with the key of an imported one, a moment later and in another month, shadows the imported one."""
    with ledger_of(home) as ledger:
        ledger.record(**call(id="live", time="2026-11-01T00:00:00Z", call_keys=["chat:7"]))


LATER = {
    "a void": _void,
    "a reprice": _reprice,
    "a reprice of some days": _reprice_of_the_month,
    "a late call": _late_call,
    "a merged call": _merged_call,
    "a merged conflict": _merged_conflict,
    "a call told live": _told_live,
}


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("name", LATER)
def test_nothing_that_comes_later_changes_a_closed_month(used: Home, tmp_path: Path, name: str, rebuilt: bool) -> None:
    with ledger_of(used) as ledger:
        imported = call(id="told", time="2026-10-31T23:59:58Z", call_keys=["chat:7"])
        ledger.record(source="import:logs", **imported)
        # What lies outside of the month decides of these that they do not count in it.
        ledger.record(**call(id="twice", time="2026-08-01T00:00:00Z"))
        ledger.record(**call(id="twice", time="2026-10-02T00:00:00Z"))
        ledger.record(**call(id="first told", time="2026-11-01T00:00:00Z", call_keys=["chat:8"]))
        ledger.record(source="import:logs", **call(id="told again", time="2026-10-31T23:59:59Z", call_keys=["chat:8"]))
    assert reprice(used, adopt(used, "halved"))
    close()
    first = show()
    closed = row_of(used, "2026-10")
    LATER[name](used, tmp_path)
    rebuild_or_not(used, rebuilt)
    assert row_of(used, "2026-10") == closed
    later = show()
    assert all(later[part] == first[part] for part in ("rows", "totals", "corrections"))
    report = monthly(used)
    (correction,) = report.corrections or ()
    assert (correction["period"], correction["taken_in"]) == ("2026-10", "2026-11")
    assert correction["calls"] >= 1
    with open_projection(used) as projection:
        ((present,),) = projection.query("SELECT SUM(cost_pico) FROM call_fact")
    assert pico(report.totals, "cost_usd", "corrections_usd") == present
    keledger("reopen", "2026-10", "--reason", "test")
    assert row_of(used, "2026-10") != closed


def test_what_comes_later_is_a_correction_of_the_month_that_takes_it(used: Home) -> None:
    close("2026-09")
    with ledger_of(used) as ledger:
        ledger.record(**call(id="more", time="2026-09-02T00:00:00Z", project="web"))
    added = next(one for one in monthly(used).corrections or ())
    assert (added["period"], added["taken_in"], added["calls"]) == ("2026-09", "2026-10", 1)
    assert row_of(used, "2026-09")["calls"] == 1
    assert row_of(used, "2026-10")["corrections_usd"] == added["cost_usd"] == monthly(used).totals["corrections_usd"]

    taken = close("2026-10")["totals"]["corrections_usd"]
    assert taken == added["cost_usd"]
    voided = next(one["id"] for one in events(used) if one["data"].get("project") == "web")
    with ledger_of(used) as ledger:
        ledger.void(voided, "test")
    # October took it, and shows that for ever; what takes it back stands in November.
    assert row_of(used, "2026-10")["corrections_usd"] == taken
    assert row_of(used, "2026-11")["corrections_usd"] == f"-{taken}"
    assert row_of(used, "2026-11", by=("project",))["project"] == "web"
    assert monthly(used, where=(("project", "crm"),)).corrections == ()
    assert [one["taken_in"] for one in listed()[0]["corrections"]] == ["2026-10", "2026-11"]


def test_a_basis_other_than_current_knows_of_no_closing(used: Home) -> None:
    close()
    with ledger_of(used) as ledger:
        ledger.record(**call(id="more", time="2026-10-02T00:00:00Z"))
    report = monthly(used, basis="recorded")
    assert report.corrections == ()
    assert next(row["calls"] for row in report.rows if row["month"] == "2026-10") == 6


def test_reopening_shows_the_present_again(used: Home) -> None:
    closed = close()
    with ledger_of(used) as ledger:
        ledger.record(**call(id="more", time="2026-10-02T00:00:00Z"))
    assert row_of(used, "2026-10")["calls"] == 5
    outcome = keledger("reopen", "2026-10", "--reason", "a laptop was missing")
    assert (outcome.status, outcome.json["close_id"]) == (0, closed["id"])
    assert row_of(used, "2026-10")["calls"] == 6
    assert monthly(used).corrections == ()
    (row,) = listed()
    assert (row["state"], row["reopened_reason"]) == ("reopened", "a laptop was missing")
    assert "2026-10 is not closed" in refused("reopen", "2026-10", "--reason", "again").complaint
    assert "was taken back already" in refused("reopen", closed["id"], "--reason", "again").complaint
    assert close()["totals"]["calls"] == 6


def test_what_a_later_month_took_of_one_that_is_reopened_is_taken_back(used: Home) -> None:
    close("2026-09")
    with ledger_of(used) as ledger:
        ledger.record(**call(id="more", time="2026-09-02T00:00:00Z"))
    taken = close("2026-10")["totals"]["corrections_usd"]
    present = pico(monthly(used).totals, "cost_usd", "corrections_usd")
    assert keledger("reopen", "2026-09", "--reason", "test").status == 0
    assert row_of(used, "2026-09")["calls"] == 2
    assert row_of(used, "2026-10")["corrections_usd"] == taken
    assert row_of(used, "2026-11")["corrections_usd"] == f"-{taken}"
    assert pico(monthly(used).totals, "cost_usd", "corrections_usd") == present


def test_two_machines_that_close_the_same_month_agree_on_the_first(used: Home, tmp_path: Any) -> None:
    other = Home.at(tmp_path / "other")
    with ledger_of(other) as ledger:
        ledger.merge(used.path)
    close()
    outcome = keledger("close", "2026-10", "--yes", "--home", str(other.path))
    assert outcome.status == 0
    with ledger_of(used) as ledger:
        ledger.merge(other.path)
    with ledger_of(other) as ledger:
        ledger.merge(used.path)
    assert [one.id for one in closings(used)] == [one.id for one in closings(other)]
    assert sorted(row["state"] for row in listed()) == ["closed", "overlapped"]
    with open_projection(used) as one, open_projection(other) as two:
        assert digest(one) == digest(two)


@pytest.fixture
def displaced(used: Home, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], Outcome]:
    """What this home showed of its own closing, what the closing of another machine showed, which came before it, and
    what the merge said."""
    other = Home.at(tmp_path / "other")
    with ledger_of(other) as ledger:
        ledger.merge(used.path)
    their_home = ("--home", str(other.path))
    assert keledger("close", "2026-10", "--yes", *their_home).status == 0
    with ledger_of(used) as ledger:
        ledger.record_many(call(id=f"more {number}", time="2026-10-02T00:00:00Z") for number in range(9))
    close()
    first, theirs = show(), keledger("close", "2026-10", "--show", *their_home).json
    return first, theirs, keledger("merge", str(other.path))


def test_a_merge_tells_a_closing_that_it_displaces(used: Home, displaced: Any) -> None:
    first, theirs, merged = displaced
    own, other = first["close_id"], theirs["close_id"]
    assert merged.json["displaced_closings"] == [{"id": own, "period": "2026-10", "timezone": "UTC", "by": other}]
    assert f"warning: 2026-10 is shown now as another machine closed it by {other}" in merged.complaint
    assert f"keledger close {own} --show prints what that showed" in merged.complaint
    for given, wanted in ((own, first), ("2026-10", theirs)):
        now = show(given)
        assert [now[name] for name in ("close_id", "rows", "totals")] == [
            wanted[name] for name in ("close_id", "rows", "totals")
        ]
    assert {row["id"]: (row["state"], row["overlapped_by"]) for row in listed()} == {
        own: ("overlapped", other), other: ("closed", None)
    }  # fmt: skip
    assert f"{own} of 2026-10 is overlapped by {other}" in keledger_terminal("close", "--list", columns=300).out


def test_a_merge_that_displaces_nothing_says_nothing(used: Home, tmp_path: Path) -> None:
    """Their closing is another month's, or comes behind the own one."""
    other = Home.at(tmp_path / "other")
    with ledger_of(other) as ledger:
        ledger.merge(used.path)
    close()
    with ledger_of(other) as ledger:
        ledger.record_many(call(id=f"more {number}", time="2026-10-02T00:00:00Z") for number in range(9))
    for month in ("2026-09", "2026-10"):
        assert keledger("close", month, "--yes", "--home", str(other.path)).status == 0
    before = show()
    merged = keledger("merge", str(other.path))
    assert (merged.json["displaced_closings"], merged.err) == ([], "")
    assert show()["rows"] == before["rows"]


def test_reopening_tells_another_closing_that_stands_then(used: Home, displaced: Any) -> None:
    first, theirs, _ = displaced
    outcome = keledger("reopen", "2026-10", "--reason", "test")
    assert outcome.status == 0
    assert (outcome.json["close_id"], outcome.json["still_closed_by"]) == (theirs["close_id"], [first["close_id"]])
    assert f"2026-10 is not open yet: the closing {first['close_id']}" in outcome.complaint
    assert show()["rows"] == first["rows"]
    shown_there = keledger_terminal("reopen", "2026-10", "--reason", "test").out
    assert "2026-10 is open again." in shown_there
    assert "is not closed" in refused("close", "2026-10", "--show").complaint


def test_reopening_an_overlapped_closing_opens_nothing(used: Home, displaced: Any) -> None:
    first, theirs, _ = displaced
    shown_there = keledger_terminal("reopen", first["close_id"], "--reason", "test", columns=300).out
    assert f"2026-10 is not open yet: the closing {theirs['close_id']} of 2026-10 in UTC stands now" in shown_there
    assert "is open again" not in shown_there


def test_a_closing_that_the_journal_contradicts_is_told(used: Home) -> None:
    close()
    (closing,) = closings(used)
    wrong = {**closing.data, "digest": "0" * 64, "period": "2026-09"}
    wrong |= {"started_from": "2026-09-01T00:00:00.000000Z", "started_to": "2026-10-01T00:00:00.000000Z"}
    forge(used, "period.closed", wrong)
    kinds = [finding["kind"] for finding in show("2026-09")["findings"]]
    assert kinds == ["period_differs"]
    assert show("2026-10")["findings"] == []
    assert [one["kind"] for one in keledger("close", "--list").json["findings"]] == ["period_differs"]
    assert [one["kind"] for one in keledger("replay", "--json").json["findings"]] == ["period_differs"]


@pytest.mark.parametrize("kind", ["period.closed", "period.reopened", "charge.adjusted"])
def test_an_event_that_no_release_can_have_written_is_left_out_and_told(used: Home, kind: str) -> None:
    forge(used, kind, {"period": "2026-99", "amount_usd": 7})
    report = monthly(used)
    assert [finding.kind for finding in report.findings] == ["period_unread"]
    assert row_of(used, "2026-10")["calls"] == 5


def test_a_closing_is_folded_by_what_lies_within_it_alone(used: Home) -> None:
    close()
    (closing,) = closings(used)
    before = shown(used, closing)
    with open_projection(used, through=closing.through) as projection:
        folded, positions = digest(projection), projection.positions
    assert positions == dict(closing.through)
    with ledger_of(used) as ledger:
        ledger.record(**call(id="more", time="2026-10-02T00:00:00Z"))
        ledger.void(calls(used)[1]["id"], "test")
    with open_projection(used, through=closing.through) as projection:
        assert digest(projection) == folded
    with open_projection(used) as projection:
        assert digest(projection) != folded
    assert shown(used, closing) == before


def test_holds_that_nobody_knows_the_end_of_are_told(home: Home) -> None:
    """A call under way whose process has gone is lost; one that is resolved, or has come in since, is not."""
    with Ledger.open(home.path) as ledger:
        ledger.budgets.set(budget_fields("all", limit="100", period="total"))
        for day in ("2026-10-31T23:59:59.999999Z", "2026-10-01T00:00:00.000000Z", "2026-11-01T00:00:00.000000Z"):
            begin = {"id": new_id(), "provider": "openai", "model": "gpt-5-mini", "started_at": day}
            assert ledger.reserve(begin) is not None
    with Ledger.open(home.path) as ledger:
        lost = ledger.budgets.holds()
        assert [hold["state"] for hold in lost] == ["lost"] * 3
        with open_projection(home) as projection:
            october = closing_data(projection, "2026-10", "UTC", anchor(home))["open"]
        assert october["lost_holds"] == 2
        ledger.budgets.resolve(lost[0]["hold_id"], "0", "not billed")
        with open_projection(home) as projection:
            october = closing_data(projection, "2026-10", "UTC", anchor(home))["open"]
        assert october["lost_holds"] == 1
