"""The removals themselves: each must apply, or the table of them says nothing."""

from __future__ import annotations

from ._edits import EDITS
from ._trial import misfits


def test_each_edit_applies() -> None:
    assert misfits(EDITS) == []


def test_names_are_told_apart() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS)
