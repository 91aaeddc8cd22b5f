"""Lines that stand in several places: copies, conflicts, what was sealed off, and how repetitions are found."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import Home, verify
from keledger.journal import _verify_conflicts as comparing
from tests.journal.tampering import append_body, edit_line, lines_of, next_body

from .support import far, own


@pytest.mark.parametrize(("first", "second"), [(own, far), (far, own)], ids=["own first", "own second"])
def test_the_first_copy_by_tick_counts_and_copies_of_one_input_are_no_conflict(
    home: Home, first: Callable[[Home], list[Path]], second: Callable[[Home], list[Path]]
) -> None:
    """Whichever writer's name comes first, only ticks say which copy does."""
    event, path = orjson.loads(lines_of(first(home)[0])[2]), second(home)[-1]
    append_body(path, next_body(path, id=event["id"], data=event["data"], tick=900))
    assert verify(home).findings == []
    append_body(path, next_body(path, id=event["id"], data={**event["data"], "input_sha256": "0" * 64}, tick=901))
    (finding,) = verify(home).findings
    assert (finding.kind, finding.path) == ("conflict", str(path))
    assert f"{event['id']} stands with another input at {first(home)[0].parent.name}/" in finding.message


def test_what_was_sealed_off_is_not_counted_though_the_seal_is_damaged(home: Home) -> None:
    """Lines that a failed sync left behind stand again in the next segment, whose own first line is damaged then."""
    below, above = own(home)[-3:-1]
    append_body(below, next_body(below))
    append_body(below, next_body(below))
    assert [finding.kind for finding in verify(home).findings] == ["residue_sealed"]
    edit_line(above, 0, lambda line: line.replace(b'"reason":"full"', b'"reason":"fell"'))
    for workers in (0, 2):
        found = verify(home, workers=workers)
        assert {"line_damaged"} <= {finding.kind for finding in found.findings}
        assert sum(found.types.values()) == found.lines


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(2**63, 2**63 + 5), max_size=20), max_size=5))
def test_what_repeats_is_found_in_any_number_of_parts(ends: list[list[int]]) -> None:
    from array import array
    from collections import Counter

    counted = Counter(end for part in ends for end in part)
    expected = {end for end, times in counted.items() if times > 1}
    arrays = [array("Q", sorted(part)) for part in ends]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "_AT_ONCE", random.Random(len(counted)).randint(1, 30))
        assert comparing._repeated(arrays) == expected
