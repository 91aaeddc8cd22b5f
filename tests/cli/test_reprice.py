"""``keledger replay --reprice``: what it shows, what it asks, what it writes, and how it is taken back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pytest

from keledger.journal import Home, Ledger
from tests.journal.support import events

from .support import COMMAND, Outcome, forge, keledger, keledger_process, truth

PRICES = ("prices", "set", "openai/gpt-5-mini", "--input", "1", "--output", "1", "--reason", "a test", "-yy")
DEARER = ("prices", "set", "openai/gpt-5-mini", "--input", "9", "--replace", "--reason", "a test", "-yy")
UNHEARD_OF = ("prices", "set", "acme/unheard-of", "--input", "3", "--reason", "a test", "-yy")


class Asked:
    """A command on a terminal that is its own, as a shell starts it: Ctrl-C typed there interrupts it."""

    def __init__(self, *arguments: str) -> None:
        self._controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(terminal)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._controller)

    def read(self, until: str | None = None, *, again: str = "") -> str:
        """Read until this is shown; without it, to the end.  *again* is typed whenever nothing happens for a while."""
        before = len(self.shown)
        with contextlib.suppress(OSError):  # Linux says EIO when the other side has closed
            while until is None or until not in self.shown[before:]:
                while again and not select.select([self._controller], [], [], 0.5)[0]:
                    os.write(self._controller, again.encode())
                part = os.read(self._controller, 65536)
                if not part:
                    break
                self.shown += part.decode().replace("\r\n", "\n")
        assert until is None or until in self.shown[before:], self.shown
        return self.shown[before:]

    def answer(self, text: str) -> None:
        """Wait until it asks, and type."""
        self.read("[y/N]: ")
        os.write(self._controller, text.encode())

    def end(self, *, again: str = "") -> int:
        """Read the rest; returns the status.

        Python may begin to wait for a line just after it was interrupted, and people press Ctrl-C once more then.
        """
        self.read(again=again)
        return self._process.wait(timeout=60)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def repriced(used: Home) -> Home:
    """The five calls, and prices that were set after they were made: two of them would cost otherwise."""
    assert keledger(*PRICES).status == 0
    return used


def applied(home: Home) -> list[dict[str, Any]]:
    """The reprices in the journal."""
    return [event for event in events(home) if event["type"] == "reprice.applied"]


def cost_of(*options: str) -> str:
    """What all calls cost, as ``keledger monthly`` says."""
    cost: str = keledger("--json", "monthly", *options).json["totals"]["cost_usd"]
    return cost


def reprice(*options: str) -> Outcome:
    """Without a terminal, with its answer given."""
    return keledger("--json", "replay", "--reprice", *options)


def test_what_it_shows_and_writes(repriced: Home) -> None:
    recorded = cost_of()
    shown = keledger("--pretty", "replay", "--reprice", "--yes").out
    assert re.search(r"^ *2026-11 +4 +2 +0 +0 +\$", shown, re.M), shown
    for text in ("Month", "Model", "Project", "Before", "After", "Difference", "openai/gpt-5-mini", "crm", "Total"):
        assert text in shown
    (event,) = applied(repriced)
    assert f"keledger replay --undo {event['id']}" in shown
    data = event["data"]
    assert (data["calls"], data["changed_calls"], data["selector"]) == (4, 2, {})
    assert [month["month"] for month in data["months"]] == ["2026-11"]
    assert data["through"] == [
        {"writer": repriced.writers()[0], "seq": event["seq"] - 1, "hash": data["through"][0]["hash"]}
    ]
    assert data["reason"] == f"repriced by book {data['book'][:12]}"
    assert cost_of("--prices", "recorded") == recorded != cost_of() == cost_of("--prices", "latest")


def test_json_without_a_dry_run_and_with_one(repriced: Home) -> None:
    before = truth(repriced)
    tried = reprice("--dry-run")
    assert (tried.status, tried.err) == (0, "")
    assert truth(repriced) == before
    done = reprice("--yes", "--reason", "they cut their price")
    assert (done.json["applied"], done.json["dry_run"]) == (True, False)
    (event,) = applied(repriced)
    assert done.json["id"] == event["id"]
    assert event["data"]["reason"] == "they cut their price"
    document = tried.json
    assert (document["applied"], document["dry_run"], document["id"]) == (False, True, None)
    assert document["schema_version"] == 1
    assert document["report"] == "reprice"
    assert document["book"] == event["data"]["book"]
    assert document["counted_calls"] == 5
    totals = document["totals"]
    assert (totals["calls"], totals["changed_calls"], totals["newly_priced"], totals["newly_unpriced"]) == (4, 2, 0, 0)
    assert {"before_usd", "after_usd", "difference_usd"} <= totals.keys()
    assert [row["model"] for row in document["models"]] == ["unheard-of", "claude-sonnet-4-5", "gpt-5-mini"]
    assert "crm" in {row["project"] for row in document["projects"]}
    for name in ("months", "models", "projects", "totals", "selector", "recounted", "kept_unpriced_calls"):
        assert done.json[name] == document[name]


def test_a_second_time_nothing_changes(repriced: Home) -> None:
    assert reprice("--yes").json["applied"] is True
    before = truth(repriced)
    again = keledger("--pretty", "replay", "--reprice")
    assert (again.status, again.err) == (0, "")
    assert "Nothing changes: nothing was written." in again.out
    assert reprice("-yy").json["applied"] is False
    assert truth(repriced) == before


def test_an_unknown_cost_is_never_shown_as_zero(repriced: Home) -> None:
    with Ledger.open(repriced.path) as ledger:
        ledger.record(provider="nobody", model="in-house", usage={"input_uncached": 5})
    done = keledger("--pretty", "replay", "--reprice", "--dry-run")
    (row,) = [line for line in done.out.splitlines() if line.startswith("nobody/in-house")]
    assert row.count("unpriced*") == 2
    assert "$0.000000" not in row
    assert "* without a cost, and not in these sums: 2 calls before, 2 after" in done.out
    (model,) = [row for row in reprice("--dry-run").json["models"] if row["model"] == "in-house"]
    assert (model["before_usd"], model["after_usd"], model["difference_usd"]) == (None, None, None)
    assert (model["uncosted_calls_before"], model["uncosted_calls"]) == (1, 1)


def test_yes_on_a_terminal(repriced: Home) -> None:
    with Asked("replay", "--reprice") as asked:
        asked.answer("y\n")
        assert asked.end() == 0
        assert "Let 2 calls cost this from now on?" in asked.shown
        assert "Done; keledger replay --undo" in asked.shown
    assert len(applied(repriced)) == 1


@pytest.mark.parametrize(("typed", "status"), [("n\n", 1), ("\n", 1), ("\x03", 130), ("\x04", 1)])
def test_no_and_ctrl_c_on_a_terminal(repriced: Home, typed: str, status: int) -> None:
    before = truth(repriced)
    with Asked("replay", "--reprice") as asked:
        asked.answer(typed)
        assert asked.end(again=typed) == status
        assert "Traceback" not in asked.shown
        assert "Done" not in asked.shown
    assert truth(repriced) == before
    assert keledger("replay", "--digest").status == 0


def test_more_than_half_is_asked_twice(repriced: Home) -> None:
    assert keledger(*UNHEARD_OF).status == 0
    before = truth(repriced)
    with Asked("replay", "--reprice") as asked:
        asked.answer("y\n")
        asked.answer("n\n")
        assert asked.end() == 1
        assert "These are more than half of all 5 calls: is that right?" in asked.shown
    refused = keledger("replay", "--reprice", "--yes")
    assert refused.status == 1
    assert refused.complaint.endswith("then give --yes twice, for this changes more than half of all calls")
    assert truth(repriced) == before
    with Asked("replay", "--reprice", "--yes") as asked:
        asked.answer("y\n")
        assert asked.end() == 0
        assert "Let 3 calls" not in asked.shown
    assert len(applied(repriced)) == 1


def test_yes_twice_in_a_script(repriced: Home) -> None:
    assert keledger(*UNHEARD_OF).status == 0
    assert reprice("-yy").json["applied"] is True


@pytest.mark.parametrize("form", ["--json", "--pretty"])
def test_nobody_can_be_asked(repriced: Home, form: str) -> None:
    before = truth(repriced)
    refused = keledger_process(form, "replay", "--reprice")
    assert refused.status == 1
    assert (
        refused.complaint
        == "nothing was written, for nobody can be asked here: look at it with --dry-run, then give --yes"
    )
    assert truth(repriced) == before


def test_what_is_journaled_during_the_question_is_not_covered(repriced: Home) -> None:
    with Asked("replay", "--reprice") as asked:
        asked.read("[y/N]: ")
        assert keledger(*DEARER).status == 0
        with Ledger.open(repriced.path) as ledger:
            late = ledger.record(
                provider="openai", model="gpt-5-mini", usage={"input_uncached": 10}, time="2026-11-20T10:00:00Z"
            )
        os.write(asked._controller, b"y\n")
        assert asked.end() == 0
    (event,) = applied(repriced)
    (placed,) = (other for other in events(repriced) if other["id"] == late)
    assert event["data"]["through"][0]["seq"] < placed["seq"] < event["seq"]
    assert event["data"]["calls"] == 4
    assert keledger("--json", "call", late).json["rows"][0]["cost_usd"] == "0.00009"


# Taking back, and the list.


def test_undo(repriced: Home) -> None:
    recorded = keledger("replay", "--digest").out
    name = reprice("--yes").json["id"]
    assert keledger("replay", "--digest").out != recorded
    done = keledger("--json", "replay", "--undo", name[:13], "--reason", "it was wrong")
    assert done.json["report"] == "reprice_undo"
    assert done.json["reprice_id"] == name
    last = events(repriced)[-1]
    assert (last["type"], last["id"]) == ("reprice.reverted", done.json["id"])
    assert (last["data"]["reprice_id"], last["data"]["reason"]) == (name, "it was wrong")
    assert keledger("replay", "--digest").out == recorded
    before = truth(repriced)
    again = keledger("replay", "--undo", name)
    assert again.status == 1
    assert again.complaint.startswith(f"reprice {name} was taken back already, at ")
    assert truth(repriced) == before
    assert reprice("--yes").json["applied"] is True


@pytest.mark.parametrize("given", ["01", "nonsense", "", "00000000-0000-0000-0000-000000000000"])
def test_undo_of_what_there_is_not(used: Home, given: str) -> None:
    before = truth(used)
    refused = keledger("replay", "--undo", given)
    assert refused.status in (1, 2)
    assert "keledger replay --list" in refused.complaint
    assert truth(used) == before


def test_undo_by_a_beginning_that_two_have(repriced: Home) -> None:
    reprice("--yes")
    assert keledger(*DEARER).status == 0
    reprice("--yes")
    first, second = (event["id"] for event in applied(repriced))
    refused = keledger("replay", "--undo", first[:1])
    assert refused.status == 2
    assert first in refused.complaint
    assert second in refused.complaint


def test_the_list(repriced: Home) -> None:
    assert keledger("--pretty", "replay", "--list").out == "No call was repriced.\n"
    assert keledger("--json", "replay", "--list").json["rows"] == []
    first = reprice("--yes", "--reason", "first of all").json
    keledger("replay", "--undo", first["id"])
    second = reprice("--yes", "--where", "provider=openai").json
    rows = keledger("--json", "replay", "--list").json["rows"]
    assert [row["id"] for row in rows] == [second["id"], first["id"]]
    assert rows[0]["reverted_at"] is None
    assert rows[1]["reverted_at"] is not None
    assert rows[1]["reason"] == "first of all"
    for row, document in zip(rows, (second, first), strict=True):
        assert row["book"] == document["book"]
        assert row["selector"] == document["selector"]
        for name in ("before_usd", "after_usd", "difference_usd", "changed_calls"):
            assert row[name] == document["totals"][name]
    shown = keledger("--pretty", "replay", "--list").out
    assert re.search(rf"{second['id']} .* applied ", shown)
    assert re.search(rf"{first['id']} .* taken back ", shown)


# Which calls, and by which book.


@pytest.mark.parametrize(
    ("options", "selector", "changed"),
    [
        (("--since", "2026-11-20"), {"started_from": "2026-11-20T00:00:00.000000Z"}, ["second"]),
        (("--until", "2026-11-19"), {"started_to": "2026-11-20T00:00:00.000000Z"}, ["first"]),
        (
            ("--since", "2026-11-20", "--timezone", "Asia/Tokyo"),
            {"started_from": "2026-11-19T15:00:00.000000Z"},
            ["first", "second"],
        ),
        (
            ("--since", "2026-11-20", "--until", "2026-11-20"),
            {"started_from": "2026-11-20T00:00:00.000000Z", "started_to": "2026-11-21T00:00:00.000000Z"},
            ["second"],
        ),
        (("--where", "session=s2"), {"where": [{"column": "session", "value": "s2"}]}, []),
        (
            ("--where", "session=s1", "--where", "project="),
            {"where": [{"column": "session", "value": "s1"}, {"column": "project"}]},
            [],
        ),
        (("--where", "prompt=hello"), {"where": [{"column": "prompt", "value": "hello"}]}, ["first", "second"]),
        (("--where", "tag:env=prod"), {"where": [{"column": "tag:env", "value": "prod"}]}, []),
        (("--only", "unpriced"), {"only": "unpriced"}, []),
    ],
)
def test_which_calls(repriced: Home, options: tuple[str, ...], selector: dict[str, Any], changed: list[str]) -> None:
    before = {row["id"]: row["cost_usd"] for row in _calls()}
    document = reprice("--yes", *options).json
    assert document["selector"] == selector
    assert document["totals"]["changed_calls"] == len(changed)
    assert document["applied"] is bool(changed)
    after = {row["id"]: row["cost_usd"] for row in _calls()}
    names = {event["id"]: event for event in events(repriced)}
    moved = sorted(names[name]["data"]["started_at"] for name in before if before[name] != after[name])
    starts = {"first": "2026-11-19T23:30:00.000000Z", "second": "2026-11-20T10:00:00.000000Z"}
    assert moved == [starts[name] for name in changed]


def _calls() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = keledger("--json", "sql", "SELECT id, cost_usd FROM calls ORDER BY id").json["rows"]
    return rows


def test_only_unpriced(repriced: Home) -> None:
    assert keledger(*UNHEARD_OF).status == 0
    document = reprice("--only", "unpriced", "--yes").json
    assert (document["totals"]["calls"], document["totals"]["newly_priced"]) == (1, 1)
    assert keledger("--json", "monthly").json["totals"]["unpriced_calls"] == 0
    assert keledger("--json", "monthly", "--prices", "recorded").json["totals"]["unpriced_calls"] == 1


def test_by_an_older_book(repriced: Home) -> None:
    old, new = (event["data"]["book"] for event in events(repriced) if event["type"] == "prices.adopted")
    assert reprice("--book", old).json["totals"]["changed_calls"] == 0
    assert reprice("--book", new[:8], "--yes").json["book"] == new
    assert reprice("--book", old[:8], "--yes").json["totals"]["changed_calls"] == 2
    assert cost_of() == cost_of("--prices", "recorded")
    for given in ("fff", "", "../book"):
        refused = keledger("replay", "--reprice", "--book", given, "--yes")
        assert refused.status == 1
        assert f"no price book that was adopted begins with {given!r}" in refused.complaint


def test_by_the_book_of_a_day(repriced: Home) -> None:
    today = datetime.now(UTC).date().isoformat()
    assert reprice("--known", today, "--dry-run").json["totals"]["changed_calls"] == 2
    refused = keledger("replay", "--reprice", "--known", "2020-01-01")
    assert refused.status == 1
    assert "no price book was known here by the end of 2020-01-01" in refused.complaint


def test_without_a_price_only_where_that_is_allowed(used: Home) -> None:
    """Prices that are taken back do not take costs with them."""
    assert keledger(*UNHEARD_OF).status == 0
    reprice("--yes")
    assert keledger("prices", "unset", "acme/unheard-of", "--reason", "a test", "-yy").status == 0
    kept = keledger("--pretty", "replay", "--reprice")
    assert (
        "Without a price in this book, and therefore at its cost of before: 1 call (--allow-unpriced takes it away)."
        in kept.out
    )
    assert "Nothing changes" in kept.out
    taken = reprice("--allow-unpriced", "--yes").json
    assert (taken["totals"]["newly_unpriced"], taken["kept_unpriced_calls"]) == (1, 0)
    assert keledger("--json", "monthly").json["totals"]["unpriced_calls"] == 1


def test_reported_costs_only_where_that_is_asked(repriced: Home) -> None:
    with Ledger.open(repriced.path) as ledger:
        ledger.record(
            provider="acme", model="unheard-of", usage={"input_uncached": 4}, reported_cost_usd="0.5",
            time="2026-11-20T10:00:00Z",
        )  # fmt: skip
    assert keledger(*UNHEARD_OF).status == 0
    kept = keledger("--pretty", "replay", "--reprice", "--dry-run").out
    assert "At the cost that was reported for it: 1 call (--reported prices it)." in kept
    assert reprice("--dry-run").json["kept_reported_calls"] == 1
    priced = reprice("--reported", "-yy").json
    assert priced["kept_reported_calls"] == 0
    (row,) = keledger("--json", "sql", "SELECT cost_usd FROM calls WHERE reported_cost_usd IS NOT NULL").json["rows"]
    assert row["cost_usd"] == "0.000012000000"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--reprice", "--digest"), "--digest and --reprice are different things"),
        (("--since", "2026-11-01"), "--since goes with --reprice"),
        (("--undo", "x", "--yes"), "--yes goes with --reprice"),
        (("--reason", "x"), "--reason goes with --reprice or --undo"),
        (("--reprice", "--book", "a", "--known", "2026-11-01"), "--book and --known both name a book"),
        (("--reprice", "--since", "2026-11-02", "--until", "2026-11-01"), "since 2026-11-02 is after until 2026-11-01"),
        (("--reprice", "--since", ""), "--since"),
        (("--reprice", "--until", ""), "--until"),
        (("--reprice", "--known", ""), "is no basis of prices"),
        (("--since", ""), "--since goes with --reprice"),
        (("--reprice", "--where", "weather=rain"), "'weather' is no column of reports"),
        (("--reprice", "--where", "session"), "'session' is not COLUMN=VALUE"),
        (("--reprice", "--known", "yesterday"), "is no basis of prices"),
        (("--reprice", "--timezone", "Mars/Olympus"), "Mars/Olympus"),
        (("--reprice", "--only", "free"), "'free' is not"),
    ],
)
def test_what_cannot_be_meant(repriced: Home, options: tuple[str, ...], words: str) -> None:
    before = truth(repriced)
    refused = keledger("replay", *options)
    assert refused.status == 2
    assert words in refused.err
    assert truth(repriced) == before


def test_a_home_that_has_no_calls(tmp_path: Any, home: Home) -> None:
    refused = keledger("--home", str(home.path), "replay", "--reprice")
    assert refused.status == 1
    assert "has adopted no price book yet" in refused.err
    assert not home.path.exists()


def test_a_reprice_of_a_later_release(repriced: Home) -> None:
    """It is told, and what this release can do goes on."""
    forge(repriced, "reprice.applied", {"anything": 1}, v=2)
    done = reprice("--yes")
    assert done.status == 0
    assert done.json["applied"] is True
    assert "reprice.applied v2" in done.err
