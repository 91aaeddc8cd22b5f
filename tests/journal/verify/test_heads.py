"""A first line whose hash fits and which says what no release says: told, and nobody falls over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from keledger.journal import Home, JournalDamaged, scan_journal, verify
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from tests.journal.support import newest_segment, note
from tests.journal.tampering import chained, hash_of, lines_of

ODD_SEALS = [
    [{"file": "x", "length_bytes": 0}],
    [{"file": "00000000.jsonl", "length_bytes": 0}],
    [{"file": "00000001.jsonl", "length_bytes": "y"}],
    [{"file": 7, "length_bytes": 0}],
    [{"file": [1], "length_bytes": 0}],
    [{}],
    ["x"],
    7,
]


def change_head(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a segment's first line and recompute every hash."""
    lines, previous = lines_of(path), bytes(32)
    head = orjson.loads(lines[0])
    del head["hash"]
    change(head)
    bodies = [orjson.dumps(head).removesuffix(b"}"), *(line[: line.rindex(b',"hash":"')] for line in lines[1:])]
    for number, body in enumerate(bodies):
        lines[number] = chained(previous, body)
        previous = hash_of(lines[number])
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("seals", ODD_SEALS, ids=str)
def test_seals_that_are_none(tmp_path: Path, seals: object) -> None:
    home = Home.at(tmp_path / "alone")
    Appender(home).append([note("first")])
    change_head(newest_segment(home), lambda head: head["data"].update(seals=seals))
    assert verify(home).damaged
    assert scan_journal(home).lines >= 1
    other = Home.at(home.path.with_name("other"))
    with pytest.raises(JournalDamaged, match="nothing was merged"):
        merge(other, home.path, appender=Appender(other), actor="test")
