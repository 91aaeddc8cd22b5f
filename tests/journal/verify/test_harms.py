"""Every kind of finding, at its place, at each depth, told the same by workers and named on the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import keledger.journal
import keledger.projections
from keledger.journal import Home, UsageError, verify
from keledger.journal._verify_segment import DEPTHS
from tests.journal.tampering import lines_of

from .harms import HARMS, NOTES, OF_A_WRITER, OF_ONE_LINE
from .support import far, own
from .wrong_calls import add_wrong

DOCS = Path(__file__).parents[3] / "docs"


def test_a_sound_home(model: Home) -> None:
    for depth in DEPTHS:
        found = verify(model, depth=depth)
        assert (found.findings, found.lines, found.unknown) == ([], sum(found.types.values()), 0)
        assert set(found.writers) == set(model.writers())
        assert found.lines == sum(found.writers.values())
        assert found.types["segment.opened"] == len(own(model)) + len(far(model))
    assert (verify(model).books, verify(model, depth="chain").books) == (1, 0)


@pytest.mark.parametrize("name", HARMS)
def test_each_harm_is_found_where_it_is_from_its_depth_on(home: Home, name: str) -> None:
    harm, first_depth, kinds = HARMS[name]
    whole = verify(home).lines
    harm(home)
    for depth in DEPTHS:
        found = verify(home, depth=depth)
        told = {finding.kind for finding in found.findings}
        if DEPTHS.index(depth) < DEPTHS.index(first_depth):
            assert told == set()
            continue
        assert kinds <= told
        if not kinds & {"segment_missing", "reader_outdated", "line_damaged"}:
            assert told == kinds
        assert found.lines > whole / 3  # it goes on behind what it found
        for finding in found.findings:
            assert finding.damage == (finding.kind not in NOTES)
            assert finding.path in finding.message or finding.kind in OF_A_WRITER
            if finding.kind in OF_ONE_LINE:
                line = lines_of(Path(finding.path))[(finding.line or 0) - 1]
                assert Path(finding.path).read_bytes()[finding.offset_bytes :].startswith(line)
                assert f"byte {finding.offset_bytes}" in finding.message


MANY_HARMS = (
    "a wrong field",
    "a gap in seq",
    "a wrong sum",
    "a conflict",
    "no JSON",
    "a torn tail",
    "a residue",
    "a changed line",
    "a FIFO",
    "a merged writer rewritten",
    "a damaged price file",
    "a damaged head",
)


@pytest.mark.parametrize("depth", DEPTHS)
def test_workers_tell_the_same_in_the_same_order(home: Home, depth: str) -> None:
    add_wrong(home, type="moon.phased")
    for name in MANY_HARMS:
        HARMS[name][0](home)
    assert depth in DEPTHS
    here = verify(home, depth=depth, workers=0)
    assert len(here.findings) > 5
    assert verify(home, depth=depth, workers=2) == here


def _kinds_in_code() -> Iterator[str]:
    """What the code calls its findings, by a text or by the name of a constant."""
    folders = (Path(package.__path__[0]) for package in (keledger.journal, keledger.projections))
    modules = [ast.parse(path.read_text(encoding="utf-8")) for folder in folders for path in folder.glob("*.py")]
    everywhere = {name: value for module in modules for name, value in _constants(module).items()}
    for module in modules:
        named = everywhere | _constants(module)
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                first = node.args[0]
                if called in ("Finding", "line_finding", "_note", "_found") and isinstance(first, ast.Constant):
                    yield str(first.value)
                if called == "Finding" and isinstance(first, ast.Name) and first.id.isupper():
                    yield named[first.id]
                if called == "_no_event" and isinstance(node.args[3], ast.Constant):
                    yield str(node.args[3].value)


def _constants(module: ast.Module) -> dict[str, str]:
    """The texts that a module gives names to."""
    return {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _kinds_in_docs() -> dict[str, str]:
    page = (DOCS / "format.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([a-z_]+)` \| (damage|note) \|", page, re.MULTILINE))


def test_the_page_names_every_kind_and_no_other() -> None:
    told = _kinds_in_docs()
    assert set(told) == set(_kinds_in_code())
    tried = set().union(*(kinds for _, _, kinds in HARMS.values()))
    assert tried - set(told) == set()
    of_reports = {"events_unread"}
    assert {kind for kind, severity in told.items() if severity == "note"} == NOTES | of_reports
    of_reports |= {"reprice_unapplied", "reprice_differs", "period_differs", "period_unread"}
    against_anchors = {"line_missing", "anchor_differs", "home_rolled_back"}
    assert set(told) - tried == against_anchors | of_reports


def test_a_depth_that_is_none(home: Home) -> None:
    with pytest.raises(UsageError, match="there is no depth 'deep'"):
        verify(home, depth="deep")  # type: ignore[arg-type]
