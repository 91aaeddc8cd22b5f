"""``verify`` and ``anchor`` on the command line."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from keledger.journal import Home, Ledger
from tests.journal.support import call, newest_segment
from tests.journal.tampering import cut_lines, edit_line, recompute

from .support import forge, keledger, keledger_process, keledger_terminal, truth

pytestmark = pytest.mark.usefixtures("used")


def test_a_sound_journal_verifies(home: Home) -> None:
    outcome = keledger("verify")
    assert (outcome.status, outcome.err) == (0, "")
    found = outcome.json
    assert (found["damaged"], found["lines"], found["findings"]) == (False, 7, [])
    assert found["types"] == {"call.completed": 4, "call.failed": 1, "prices.adopted": 1, "segment.opened": 1}
    shown = keledger("verify", "--pretty").out
    assert shown.endswith("Every line fits.\n")
    assert re.search(r"^call\.completed +4$", shown, flags=re.MULTILINE)


def test_an_event_of_300_kib_is_named(home: Home) -> None:
    line = forge(home, "moon.phased", {"phase": "x" * 300 * 1024})
    outcome = keledger("verify")
    assert outcome.status == 3
    (finding,) = outcome.json["findings"]
    assert (finding["kind"], f"{len(line)} bytes long" in finding["message"]) == ("line_too_long", True)


@pytest.fixture
def head() -> str:
    """The head of an anchor of the home."""
    taken: str = keledger("anchor", "--json").json["head"]
    return taken


def test_findings_are_listed_with_their_places(home: Home) -> None:
    path = newest_segment(home)
    edit_line(path, 3, lambda line: line.replace(b'"prompt":"hello"', b'"prompt":"hullo"'))
    edit_line(path, 5, lambda line: line.replace(b'"crm"', b'"CRM"'))
    for arguments in (["--json", "verify"], ["verify", "--json"], ["verify", "--json", "--depth", "chain"]):
        outcome = keledger(*arguments)
        assert (outcome.status, outcome.err) == (3, "")
        places = [(finding["kind"], finding["path"], finding["line"]) for finding in outcome.json["findings"]]
        assert places == [("line_damaged", str(path), 4), ("line_damaged", str(path), 6)]
        assert all(finding["offset_bytes"] > 0 for finding in outcome.json["findings"])
        assert outcome.json["lines"] == 5


@pytest.mark.parametrize(("depth", "status", "books"), [("chain", 0, 0), ("events", 0, 1), ("content", 3, 1)])
def test_a_depth_looks_at_so_much(home: Home, depth: str, status: int, books: int) -> None:
    forge(home, "call.completed", {"input_sha256": "0" * 64, "novelty": 1})
    outcome = keledger("verify", "--depth", depth)
    assert (outcome.status, outcome.json["depth"], outcome.json["price_books"]) == (status, depth, books)
    assert f"Depth        {depth}" in keledger("verify", "--depth", depth, "--pretty").out


def test_an_anchor_as_json_in_a_pipe_and_as_a_table_on_a_terminal(home: Home, head: str) -> None:
    before = truth(home)
    taken = keledger("anchor").json
    (position,) = taken["positions"]
    assert (taken["schema_version"], taken["report"], taken["head"]) == (1, "anchor", head)
    assert (position["writer"], position["seq"]) == (home.writers()[0], 7)
    shown = keledger_terminal("anchor")
    assert shown.status == 0
    assert re.search(rf"^{position['writer']} +1 +[\d,]+ +7 +7$", click.unstyle(shown.out), re.MULTILINE)
    assert shown.out.splitlines()[-1] == head
    assert truth(home) == before


def test_an_anchor_goes_to_a_file_of_its_own(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "anchor.json"
    assert keledger("anchor", "-o", str(file)).status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_bytes()
    assert json.loads(first)["positions"][0]["seq"] == 7
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    again = keledger("anchor", "-o", str(file))
    assert (again.status, again.out) == (1, "")
    assert again.complaint == f"{file} exists: give --force to replace it, or another name"
    assert file.read_bytes() == first
    assert keledger("anchor", "-o", str(file), "--force").status == 0
    assert json.loads(file.read_bytes())["positions"][0]["seq"] == 8
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["anchor.json"]


def test_anchors_that_hold_and_one_that_does_not(home: Home, head: str, tmp_path: Path) -> None:
    file = tmp_path / "anchor.json"
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    keledger("anchor", "-o", str(file))
    arguments = ("verify", "--anchor", head, "--anchor", str(file))
    sound = keledger(*arguments)
    assert (sound.status, [anchor["holds"] for anchor in sound.json["anchors"]]) == (0, [True, True])
    assert "Anchors that hold  2 of 2" in keledger(*arguments, "--pretty").out
    cut_lines(home, home.writers()[0], 1)
    assert keledger("verify").status == 0
    broken = keledger(*arguments)
    assert (broken.status, broken.err) == (3, "")
    assert [anchor["holds"] for anchor in broken.json["anchors"]] == [True, False]
    assert [finding["kind"] for finding in broken.json["findings"]] == ["end_missing"]
    shown = keledger(*arguments, "--pretty")
    assert shown.status == 3
    assert re.search(rf"^damage: the anchor {file} names line 8 .* but only 7 are here", shown.out, re.MULTILINE)


def test_a_chain_that_was_computed_anew_shows_against_a_head(home: Home, head: str) -> None:
    recompute(home, home.writers()[0], 4, lambda body: body.replace(b'"hello"', b'"hullo"'))
    assert keledger("verify").status == 0
    outcome = keledger("verify", "--depth", "chain", "--anchor", head)
    assert (outcome.status, outcome.json["findings"][0]["kind"]) == (3, "line_rewritten")


@pytest.mark.parametrize(
    ("anchor", "words"),
    [
        ("missing.json", "anchor 'missing.json': No such file or directory; give the file or the head"),
        ("keledger1:0:0", "is not an anchor that this release can read"),
        ("{other}", "it was taken of another home"),
        ("{slip}", "is misspelled"),
    ],
)
def test_an_anchor_of_no_use_is_a_usage_error(tmp_path: Path, head: str, anchor: str, words: str) -> None:
    with Ledger.open(tmp_path / "other") as ledger:
        ledger.record(**call())
    other = keledger("--home", str(tmp_path / "other"), "anchor").json["head"]
    outcome = keledger("verify", "--anchor", anchor.format(other=other, slip=head[:-1] + "01"[head[-1] == "0"]))
    assert (outcome.status, outcome.out) == (2, "")
    assert words in outcome.complaint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("anchor", "x"), "unexpected extra argument"), (("verify", "--depth", "deep"), "'chain', 'events', 'content'")],
)
def test_a_wrong_command_line(arguments: Sequence[str], words: str) -> None:
    outcome = keledger(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert words in outcome.complaint


@pytest.mark.parametrize("what", ["missing", "file", "link", "open", "empty"])
def test_no_anchor_of_what_is_no_home(home: Home, tmp_path: Path, what: str) -> None:
    place = tmp_path / what
    if what == "file":
        place.write_text("mine")
    elif what == "link":
        place.symlink_to(home.path)
    elif what == "open":
        place = home.path
        place.chmod(0o755)
    elif what == "empty":
        place.mkdir(mode=0o700)
    outcome = keledger("--home", str(place), "anchor")
    assert (outcome.status, outcome.out) == (1, "")
    assert str(place) in outcome.complaint


def test_an_anchor_imports_no_more_than_it_needs() -> None:
    unwanted = {"duckdb", "_duckdb", "rich", "tiktoken", "pydantic.main", "keledger.projections", "multiprocessing"}
    listing = "; print(*sys.modules, file=sys.stderr, sep='\\n')"
    code = f"import sys; from keledger.cli.main import main; main(['anchor']){listing}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unwanted & set(done.stderr.split("\n"))


def test_a_process_on_pipes_verifies(head: str) -> None:
    outcome = keledger_process("verify", "--anchor", head)
    found: dict[str, Any] = outcome.json
    assert (outcome.status, outcome.err, found["damaged"]) == (0, "", False)
