"""How good estimates were, and when they have been wrong lately."""

from __future__ import annotations

import pytest

from keledger.journal.estimates import Accuracy, Stated, accuracy, lately_off

GOOD = Stated(90, 100, 110, 100)
LOW = Stated(90, 100, 110, 111)
FAR = Stated(50, 100, 200, 150)
"""Within its range, and off by a third."""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], None),
        ([LOW] * 4, None),
        ([LOW] * 5, "5 of the last 5 calls were outside of the range estimated for them"),
        ([GOOD] * 7 + [LOW] * 3, None),
        ([GOOD] * 6 + [LOW] * 4, "4 of the last 10 calls were outside of the range estimated for them"),
        ([LOW] * 50 + [GOOD] * 10, None),
        ([FAR] * 10, "the estimates of the last 10 calls were off by 33% at the median"),
        ([FAR] * 4 + [GOOD] * 6, None),
    ],
)
def test_what_is_said_of_the_last_estimates(rows: list[Stated], said: str | None) -> None:
    assert lately_off(rows) == said


def test_figures() -> None:
    assert accuracy([]) == Accuracy(0, None, None, None, None)
    found = accuracy([GOOD] * 17 + [LOW, FAR, FAR])
    assert found.calls == 20
    assert found.median_error == 0.0
    assert found.p95_error == pytest.approx(50 / 150)
    assert found.coverage == 0.95
    assert found.median_width == 0.2


def test_nothing_billed_is_no_division_by_nothing() -> None:
    assert accuracy([Stated(0, 0, 0, 0)]) == Accuracy(1, 0.0, 0.0, 1.0, 0.0)
    assert accuracy([Stated(1, 3, 5, 0)]).median_error == 3.0
