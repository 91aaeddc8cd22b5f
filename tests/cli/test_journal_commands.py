"""``verify``, ``replay``, ``merge``, ``schema``, ``void``: and that reports tell what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger
from tests.journal.support import call, calls, events, newest_segment

from .support import forge, json_lines, keledger, truth

pytestmark = pytest.mark.usefixtures("used")


def damage(home: Home) -> None:
    """Change a digit in the second call."""
    path = newest_segment(home)
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    assert b'"prompt":"hello"' in lines[3]
    lines[3] = lines[3].replace(b'"prompt":"hello"', b'"prompt":"hullo"')
    path.write_bytes(b"".join(lines))


def tear(home: Home) -> None:
    """Leave half a line at the end."""
    with open(newest_segment(home), "ab") as file:
        file.write(b'{"specversion":"1.0","id":')


def conflict(home: Home) -> None:
    """Give the first call another content."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(id="first", session="another"))


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [
        (damage, "line_damaged", "does not fit the chain of hashes"),
        (tear, "tail_torn", "after its last whole line"),
        (conflict, "conflict", ""),
    ],
    ids=["damage", "torn tail", "conflict"],
)
def test_what_is_wrong_is_told_by_verify_and_by_every_report(home: Home, harm: object, kind: str, words: str) -> None:
    assert callable(harm)
    harm(home)
    before = truth(home)
    verified = keledger("verify")
    assert (verified.status, verified.err) == (3, "")
    assert verified.json["findings"][0]["kind"] == kind
    pretty = keledger("verify", "--pretty")
    assert pretty.status == 3
    assert re.search(rf"^damage: .*{words}", pretty.out, flags=re.MULTILINE)
    for arguments in (["daily"], ["--pretty", "sessions"], ["sql", "SELECT 1 AS one"], ["export"], ["replay"]):
        outcome = keledger(*arguments)
        assert outcome.status == 0
        assert re.fullmatch(rf"warning: .*{words}.*", outcome.complaint)
    assert [finding["kind"] for finding in keledger("daily").json["findings"]] == [kind]
    assert truth(home) == before


def test_what_a_newer_release_wrote_is_kept_counted_and_named(home: Home) -> None:
    forge(home, "call.completed", {"input_sha256": "0" * 64, "novelty": 1}, v=2)
    forge(home, "moon.phased", {"phase": "full"})
    before = truth(home)
    verified = keledger("verify")
    assert (verified.status, verified.json["unknown_events"]) == (0, 2)
    assert verified.json["types"]["moon.phased"] == 1
    assert "Not readable by this release  2" in keledger("verify", "--pretty").out
    daily = keledger("daily")
    assert (daily.status, daily.json["totals"]["calls"]) == (0, 5)
    assert len(daily.err.splitlines()) == 2
    for words in ("call.completed v2", "moon.phased", "upgrade keledger"):
        assert words in daily.err
    assert truth(home) == before
    assert keledger("record", given=json_lines(call())).status == 0
    assert len(events(home)) == 10


def test_replay_gives_figures_and_a_digest(home: Home) -> None:
    figures = keledger("replay").json
    assert (figures["calls"], figures["events"]) == (5, 7)
    digest = keledger("replay", "--digest")
    assert re.fullmatch(r"[0-9a-f]{64}\n", digest.out)
    assert keledger("replay", "--digest", "--json").json["digest"] == digest.out.strip()
    assert re.match(r"Calls +5\nEvents +7\nTook +\d+\.\d{3} s\n", keledger("replay", "--pretty").out)
    keledger("record", given=json_lines(call()))
    assert keledger("replay", "--digest").out != digest.out


def test_a_digest_outlives_the_projections(home: Home) -> None:
    digest = keledger("replay", "--digest").out
    for path in sorted(home.projections.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert keledger("replay", "--digest").out == digest


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """Another home, with one call."""
    with Ledger.open(tmp_path / "other") as ledger:
        ledger.record(**call(session="from afar", id="afar", time="2026-11-18T00:00:00Z"))
        return ledger.home


def test_merge_takes_in_another_home_once(home: Home, other: Home) -> None:
    merged = keledger("merge", str(other.path), "--reason", "back from the trip")
    assert (merged.status, merged.json["writers"], merged.json["lines"]) == (0, {other.writers()[0]: 3}, 3)
    assert keledger("daily").json["totals"]["calls"] == 6
    (told,) = (event["data"] for event in events(home) if event["type"] == "merge.completed")
    assert told["reason"] == "back from the trip"
    before = truth(home)
    again = keledger("--pretty", "merge", str(other.path))
    assert (again.status, again.out) == (0, "")
    assert again.complaint == f"{other.path} holds nothing that is not here already"
    assert truth(home) == before


def test_merge_in_either_order_gives_one_digest(home: Home, other: Home) -> None:
    shown = keledger("--home", str(other.path), "--pretty", "merge", str(home.path))
    assert shown.out == "7 lines of 1 writer taken in\n"
    keledger("merge", str(other.path))
    assert keledger("replay", "--digest").out == keledger("--home", str(other.path), "replay", "--digest").out


@pytest.mark.parametrize(
    ("name", "status", "words"), [("empty", 2, "has no folder journal/"), ("home", 2, "is this home itself")]
)
def test_merge_refuses_what_is_no_other_home(tmp_path: Path, home: Home, name: str, status: int, words: str) -> None:
    (tmp_path / "empty").mkdir()
    before = truth(home)
    outcome = keledger("merge", str(tmp_path / name))
    assert (outcome.status, outcome.out) == (status, "")
    assert words in outcome.complaint
    assert truth(home) == before


def test_merge_refuses_a_damaged_home(home: Home, other: Home) -> None:
    damage(home)
    before = truth(other)
    outcome = keledger("--home", str(other.path), "merge", str(home.path))
    assert outcome.status == 3
    assert "nothing was merged" in outcome.complaint
    assert truth(other) == before


def test_void_takes_a_call_out_and_back_in(home: Home) -> None:
    call_id = calls(home)[0]["id"]
    voided = keledger("void", call_id[:13], "--reason", "a test")
    assert (voided.status, voided.json["call_id"], voided.json["voided"]) == (0, call_id, True)
    assert voided.json["id"] == events(home)[-1]["id"]
    assert keledger("daily").json["totals"]["calls"] == 4
    assert "Does not count" in keledger("call", "--pretty", call_id).out
    again = keledger("void", call_id, "--reason", "once more")
    assert (again.status, again.complaint) == (1, f"call {call_id} is voided already: nothing was written")
    undone = keledger("--pretty", "void", call_id, "--undo", "--reason", "it was real")
    assert undone.out == f"Call {call_id} counts again.\n"
    assert keledger("daily").json["totals"]["calls"] == 5
    assert [event["data"]["reason"] for event in events(home)[-2:]] == ["a test", "it was real"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("zzzz", "--reason", "x"), 1, "no call has the id 'zzzz'"),
        (("{first}",), 2, "--reason"),
        (("{first}", "--reason", " "), 1, "a reason is missing"),
        (("{first}", "--reason", "x" * 5000), 1, "reason"),
        (("{first}", "--undo", "--reason", "x"), 1, "is not voided"),
    ],
)
def test_void_refuses(home: Home, arguments: tuple[str, ...], status: int, words: str) -> None:
    before = truth(home)
    outcome = keledger("void", *(part.format(first=calls(home)[0]["id"]) for part in arguments))
    assert (outcome.status, outcome.out) == (status, "")
    assert words in outcome.complaint
    assert truth(home) == before


def test_schema_of_one_type_and_of_all() -> None:
    one = keledger("schema", "call.completed").json
    assert one["properties"]["type"] == {"const": "call.completed"}
    every = keledger("schema").json
    assert one in every["oneOf"]
    assert "split.set" in every["x-reserved-types"]
    assert json.dumps(one)  # no value that is not JSON
