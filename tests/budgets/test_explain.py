"""``budget explain``: every charge and hold of a window, adding up to what the guard says, to the picodollar."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from keledger.cli._budget_explain import WORST_OVERSHOOT
from keledger.journal import Home, Ledger, NotFound, UsageError, parse_time, usd_to_pico
from keledger.journal.budgets import Standing, budget_fields
from keledger.journal.budgets._status import PARTS
from tests.cli.support import keledger, keledger_terminal
from tests.journal.support import call

from .histories import BUDGETS, DAY, lived, open_ledger

Lived = tuple[Home, Ledger, dict[str, str]]
AT = date.fromisoformat(DAY)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lived]:
    monkeypatch.delenv("COLUMNS", raising=False)  # of the terminal that the tests run in
    with lived(tmp_path) as found:
        yield found


def windows(ledger: Ledger, name: str) -> list[Standing]:
    return list(ledger.budgets.standings([name], day=AT))


@pytest.mark.parametrize("name", BUDGETS)
def test_the_entries_are_the_figure(history: Lived, name: str) -> None:
    _, ledger, _ = history
    for each in windows(ledger, name):
        group = {pair["column"]: pair.get("value") for pair in each.summed.group(each.key[1])}
        found = ledger.budgets.explain(name, group=group or None, day=AT)
        assert found.standing.sums == each.sums
        assert (found.standing.window, found.standing.limit_pico) == (each.window, each.limit_pico)
        for part, place in PARTS.items():
            amounts = [entry.amount_pico for entry in found.entries if entry.part == part]
            assert sum(amounts) == each.sums[place], part
        times = [entry.told.get("started_at") or entry.told["effective_at"] for entry in found.entries]
        assert times == sorted(times)


def test_each_thing_is_told_once_as_what_it_is(history: Lived) -> None:
    _, ledger, ids = history
    found = ledger.budgets.explain("crm", day=AT)
    told = {entry.id: entry.kind for entry in found.entries}
    assert len(told) == len(found.entries)
    assert told == {
        ids["before"]: "call",
        ids["settled"]: "call",
        ids["bob's"]: "call",
        ids["unpriced"]: "unpriced",
        ids["unanswered"]: "lost",
        ids["resolved"]: "resolved",
        ids["voided and back"]: "call",
        ids["refused by the provider"]: "call",
        ids["without a hold"]: "unknown",
        ids["adjustment"]: "adjustment",
        ids["imported"]: "call",
        ids["died"]: "lost",
        ids["died, resolved"]: "resolved",
        ids["died, answered late"]: "call",
        ids["open"]: "open",
    }
    by_id = {entry.id: entry for entry in found.entries}
    assert by_id[ids["resolved"]].amount_pico == usd_to_pico("0.0123")
    assert by_id[ids["resolved"]].told["reason"] == "the invoice has it"
    assert by_id[ids["died, resolved"]].amount_pico == 0
    assert by_id[ids["died"]].told["cause"]
    assert by_id[ids["adjustment"]].told["category"] == "Credit"
    holds = {hold["call_id"]: hold["hold_id"] for hold in ledger.budgets.holds()}
    for name in ("unanswered", "resolved", "died", "died, resolved", "unpriced", "open"):
        assert by_id[ids[name]].told["hold_id"] == holds[ids[name]], name


def test_it_needs_no_state_and_leaves_none(history: Lived) -> None:
    home, ledger, _ = history
    before = ledger.budgets.explain("both", group={"user": "ada"}, day=AT)
    shutil.rmtree(home.path / "guard")
    with Ledger.open(home.path) as other:
        after = other.budgets.explain("both", group={"user": "ada"}, day=AT)
    assert [entry.as_row() for entry in after.entries] == [entry.as_row() for entry in before.entries]
    assert Counter(path.suffix for path in (home.path / "guard").iterdir()) <= Counter({".sqlite3": 1, "": 1})


def test_calls_of_another_machine_and_users_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, other = Home.at(tmp_path / "home"), Home.at(tmp_path / "other")
    home.path.mkdir(mode=0o700)
    home.config.write_text('identity = "pseudonym"\n')
    with open_ledger(other) as ledger:
        theirs = ledger.record(**call(user="ada", time=f"{DAY}T08:00:00Z"))
    with open_ledger(home) as ledger:
        ledger.budgets.set(budget_fields("each", limit="9", period="day", where=["user=*"]))
        ours = ledger.record(**call(user="ada", time=f"{DAY}T09:00:00Z"))
        ledger.merge(other.path, "a test")
        groups = [each.summed.group(each.key[1])[0]["value"] for each in windows(ledger, "each")]
        assert len(groups) == 2
        assert "ada" in groups  # as the other home journaled it
        found = ledger.budgets.explain("each", group={"user": "ada"}, day=AT)
        assert [entry.id for entry in found.entries] == [ours]
        (pseudonym,) = set(groups) - {"ada"}
        assert pseudonym.startswith("u-")
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    tried = ("budget", "backtest", "--limit", "0.0001", "--period", "day", "--where")
    assert [row["id"] for row in keledger(*tried, "user=ada").json["refused"]] == [ours]
    assert {row["id"] for row in keledger(*tried, "user=*").json["refused"]} == {ours, theirs}


@pytest.mark.parametrize(
    ("name", "group", "said"),
    [
        ("each", None, "budget each has 2 windows: choose one of them with user=VALUE"),
        ("each", {"project": "crm"}, "has no windows by project: choose one of its windows with user=VALUE"),
        ("crm", {"user": "ada"}, "has no windows by user: it has one window for all its calls"),
    ],
)
def test_a_window_that_cannot_be_chosen(history: Lived, name: str, group: dict[str, str | None], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        history[1].budgets.explain(name, group=group, day=AT)


def test_what_is_not_there(history: Lived) -> None:
    _, ledger, _ = history
    with pytest.raises(NotFound, match="did you mean 'crm'"):
        ledger.budgets.explain("crn")
    with pytest.raises(NotFound, match="counted nothing"):
        ledger.budgets.explain("each", at_us=parse_time("2020-01-01T00:00:00Z"))
    empty = ledger.budgets.explain("each", group={"user": "nobody"}, day=AT)
    assert (empty.entries, any(empty.standing.sums)) == ([], False)
    past = ledger.budgets.explain("crm", at_us=parse_time("2020-01-01T00:00:00Z"))
    assert (past.entries, any(past.standing.sums)) == ([], False)


def test_it_states_the_overshoot_that_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| `--hold` \|.*\n(?:\|.*\n)+", page, flags=re.MULTILINE)
    found = dict(re.findall(r"^\| `(p\d+)`[^|]*\|[^|]*\|[^|]*\| ([^,|]*),", table, flags=re.MULTILINE))
    assert found == WORST_OVERSHOOT


def test_the_command(history: Lived) -> None:
    home, ledger, ids = history
    asked = ("--home", str(home.path), "budget", "explain", "each", "--group", "user=ada", "--at", DAY)
    document = keledger(*asked).json
    found = ledger.budgets.explain("each", group={"user": "ada"}, day=AT)
    assert document["rows"] == [entry.as_row() for entry in found.entries]
    assert (document["report"], document["hold"], document["budget"]["name"]) == ("budget explain", "p90", "each")
    spent = sum(usd_to_pico(row["amount_usd"]) for row in document["rows"] if row["kind"] not in ("open", "lost"))
    assert spent == usd_to_pico(document["budget"]["spent_usd"])
    assert "nine calls in ten" in document["overshoot"]
    shown = keledger_terminal(*asked, columns=130).out
    assert "Budget each: user=*, user=ada, a week from Monday on (America/New_York)" in shown
    assert "Lost holds are listed, and not spent" in shown
    assert ids["settled"] in shown
    wrong = keledger("--home", str(home.path), "budget", "explain", "each", "--at", "someday")
    assert (wrong.status, wrong.out) == (2, "")
    nowhere = keledger("--home", str(home.path / "nowhere"), "budget", "explain", "each")
    assert (nowhere.status, "no budget 'each'" in nowhere.err) == (1, True)
