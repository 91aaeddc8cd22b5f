"""Segments that cannot be read: named, left out, and nothing goes on below them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, HomeError, KeledgerError, Ledger, scan_journal, verify
from keledger.journal import _segment as segment
from keledger.journal._anchor import anchor
from keledger.journal._verify_segment import DEPTHS
from keledger.journal._writer import Appender
from tests.journal.support import call, note, tree_bytes
from tests.journal.tampering import edit_line, lines_of
from tests.journal.unreadable import failing_disk, shut

from .support import own


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("bad_at", [0, 3000])
@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_failing_disk_costs_the_segment_and_no_other(home: Home, number: int, bad_at: int, depth: Any) -> None:
    whole, path = verify(home).lines, own(home)[number]
    with failing_disk(path, bad_at):
        found = verify(home, depth=depth)
    of_head = {"seal_missing"} if number and not bad_at else set()
    told = [finding for finding in found.findings if finding.kind not in of_head]
    assert {finding.kind for finding in told} - {"end_missing", "line_missing"} == {"segment_unreadable"}
    assert f"{path}: it cannot be read ({os.strerror(errno.EIO)})" in told[0].message
    assert (found.damaged, found.lines) == (True, whole - len(lines_of(path)))
    assert {finding.kind for finding in found.findings} >= of_head


def test_what_stands_above_is_held_to_its_own_first_line(home: Home) -> None:
    edit_line(own(home)[3], 2, lambda line: line.replace(b'"near"', b'"fear"'))
    shut(own(home)[2])
    kinds = {(finding.kind, Path(finding.path).name) for finding in verify(home).findings}
    assert kinds == {
        ("segment_unreadable", "00000003.jsonl"),
        ("seal_missing", "00000002.jsonl"),
        ("line_damaged", "00000004.jsonl"),
    }


def test_a_segment_of_which_the_head_is_damaged_keeps_its_lines_below_one_that_is_shut(home: Home) -> None:
    whole, dropped = verify(home).lines, len(lines_of(own(home)[2]))
    edit_line(own(home)[1], 0, lambda line: line.replace(b'"reason":"full"', b'"reason":"fell"'))
    shut(own(home)[2])
    assert verify(home).lines == whole - dropped - 1


def test_a_line_that_an_anchor_names_is_looked_for_around_it(home: Home) -> None:
    taken = anchor(home)
    shut(own(home)[-1])
    assert {"segment_unreadable", "end_missing"} <= {finding.kind for finding in verify(home, anchors=[taken]).findings}


def test_one_that_held_no_event_is_a_note(home: Home) -> None:
    newest = own(home)[-1]
    headless = newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl")
    headless.write_bytes(b'{"spec')
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    shut(headless)
    assert [(finding.kind, finding.damage) for finding in verify(home).findings] == [("segment_unreadable", False)]


@pytest.mark.parametrize("bad_at", [0, 600])
def test_nothing_is_appended_below_what_cannot_be_read(home: Home, bad_at: int) -> None:
    """Whoever appends would seal off what may all be there again tomorrow."""
    path, before = own(home)[-1], tree_bytes(home.journal)
    assert path.stat().st_size > 600
    with failing_disk(path, bad_at):
        with pytest.raises(HomeError, match=f"cannot read {path}: "):
            scan_journal(home, locked=True)
        with pytest.raises((KeledgerError, OSError)):
            Appender(home).append([note()])
    assert tree_bytes(home.journal) == before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_this_process_has_run_out_of_is_no_damage(
    home: Home, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(segment, "open", refused, raising=False)
    with pytest.raises(HomeError, match="cannot read"):
        verify(home)
