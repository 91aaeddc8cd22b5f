"""Each row runs at a tiny size.  Nothing here judges a time."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import keledger.data
from bench import __main__ as program
from bench._figures import Figure, difference, markdown, ratio, table
from bench._processes import PARTS, ProcessFailed, run
from bench._workshop import Workshop
from bench.rows import ROWS, calc_price, ccusage
from keledger.journal import verify
from keledger.journal.usage import BUCKETS

from .conftest import REPOSITORY

FIGURES = {
    "append": 3, "record": 1, "run": 3, "rebuild": 1, "memory": 3, "daily": 2, "catch-up": 4, "verify": 3,
    "sqlite": 2, "calc-price": 1, "reprice": 4, "ccusage": 2,
    "holds": 4, "overshoot": 4, "estimates": 12, "counting": 2,
}  # fmt: skip

NPM_ALLOWED = bool(os.environ.get("KELEDGER_TEST_NPM"))
"""Asked here, for a workshop hides what keledger reads from the environment."""

TOLD = {"sqlite", "calc-price", "ccusage"}
"""Rows whose figures have no bound."""

TOLD_OF_ROWS = ("every field", "the first report after it", ", learned:", "how wide", "answers within")
"""Figures without a bound of rows that have others."""


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str, workshop: Workshop) -> None:
    if name == "run" and importlib.util.find_spec("keprompt") is None:
        pytest.skip("keprompt is not installed here: it comes with the extra [dev]")
    if name in ("calc-price", "reprice") and (reason := calc_price.why_not()):
        pytest.skip(reason)
    if name == "ccusage" and (reason := _no_ccusage()):
        pytest.skip(reason)
    figures = list(ROWS[name](workshop))
    assert len(figures) == FIGURES[name]
    for figure in figures:
        assert figure.row == name
        assert figure.floor
        is_told = name in TOLD or any(words in figure.what for words in TOLD_OF_ROWS)
        assert (figure.at_most is None and figure.at_least is None) == is_told
        assert figure.verdict(judged=False) == "-"
    assert table(figures, judged=True)
    assert orjson.dumps([figure.as_json(judged=True) for figure in figures])


def _no_ccusage() -> str | None:
    """Why ccusage is not measured here: an ordinary test run installs nothing from npm."""
    if (reason := ccusage.why_not()) is not None:
        return reason
    return None if NPM_ALLOWED else "it would install ccusage from npm: set KELEDGER_TEST_NPM=1 to allow that"


def test_every_row_of_the_design_is_there() -> None:
    assert FIGURES.keys() == ROWS.keys() >= {"append", "run", "rebuild", "catch-up", "daily", "memory"}


def test_a_copy_of_a_home_shares_what_never_changes(workshop: Workshop) -> None:
    home = workshop.built_home()
    large = workshop.large_home()
    assert verify(home).findings == verify(large).findings == []
    copied = workshop.copy(home, "copied")
    (layer,) = copied.projections.glob("*/*.duckdb")
    assert layer.stat().st_nlink == 2
    (writer,) = copied.writers()
    assert copied.segments(writer)[-1].stat().st_nlink == 1


def test_the_floor_of_a_rebuild_types_every_field_of_a_call() -> None:
    statement = (PARTS / "read_json.sql").read_text(encoding="utf-8")
    named = set(re.findall(r'^\s*"?([a-z_0-9]+)"?:? +\'?[A-Z]', statement, re.MULTILINE))
    named |= set(re.findall(r"([a-z_]+) (?:VARCHAR|BIGINT|DECIMAL)", statement))
    schema = orjson.loads(Path(keledger.data.__path__[0], "event_schema.json").read_bytes())
    assert _names(schema["call.completed"]) | set(BUCKETS) <= named


def _names(schema: dict[str, Any]) -> set[str]:
    """The fields of a core schema, and those inside of them."""
    fields = {name: field["schema"] for name, field in schema.get("fields", {}).items()}
    inner = [*fields.values(), *([schema["items_schema"]] if "items_schema" in schema else [])]
    return set(fields).union(*map(_names, inner))


def test_figures() -> None:
    assert ratio([2.0, 3.0, 4.0], [1.0, 1.0, 2.0]) == (2.0, (2.0, 2.5))
    assert difference([5.0], [3.0]) == (2.0, (2.0, 2.0))


@pytest.mark.parametrize(
    ("figure", "verdict", "bound"),
    [
        (Figure("a", "b", 1.5, "x", "c", at_most=1.5), "ok", "<= 1.50 x"),
        (Figure("a", "b", 1.51, "x", "c", at_most=1.5), "over", "<= 1.50 x"),
        (Figure("a", "b", 0.9, "x", "c", at_least=1.0), "over", ">= 1.00 x"),
        (Figure("a", "b", 1.0, "x", "c", at_least=1.0), "ok", ">= 1.00 x"),
        (Figure("a", "b", 9.0, "us", "c"), "-", ""),
    ],
)
def test_verdicts(figure: Figure, verdict: str, bound: str) -> None:
    assert figure.verdict(judged=True) == verdict
    assert figure.verdict(judged=False) == "-"
    assert figure.bound() == bound
    assert markdown([figure], judged=True)[-1].endswith(f"| {verdict} |")


def test_a_process_that_fails_says_what_it_said() -> None:
    with pytest.raises(ProcessFailed, match="no good"):
        run([sys.executable, "-c", "raise SystemExit('no good')"], os.environ)


def test_output_comes_through_a_pipe_and_through_a_terminal() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.stdout.isatty(), 'x' * 200_000)"]
    assert run(command, os.environ).output.startswith(b"False xxx")
    shown = run(command, os.environ, terminal=True).output
    assert shown.startswith(b"True xxx")
    assert shown.count(b"x") == 200_000


def test_the_command_measures_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    arguments = ["verify", "--smoke", "--calls", "200", "--folder", str(tmp_path / "work"), "--json", str(target)]
    assert program.main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("row ")
    assert "too small to be judged" in shown
    written = orjson.loads(target.read_bytes())
    assert [figure["row"] for figure in written["figures"]] == ["verify"] * 3
    assert written["machine"].keys() >= {"cores", "filesystem", "python", "duckdb"}
    assert list((tmp_path / "work").iterdir()) == []


def test_help_and_a_row_that_does_not_exist() -> None:
    told = subprocess.run([sys.executable, "-m", "bench", "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert told.returncode == 0
    assert all(row in told.stdout for row in ROWS)
    wrong = subprocess.run([sys.executable, "-m", "bench", "walk"], cwd=REPOSITORY, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no row 'walk'" in wrong.stderr


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no filesystem in memory here")
def test_a_folder_in_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("/dev/shm", f"keledger-bench-{os.getpid()}")
    assert program.main(["verify", "--folder", str(folder)]) == 2
    assert "in memory" in capsys.readouterr().err
    folder.rmdir()
