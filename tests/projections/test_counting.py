"""Which calls count: copies, conflicts, voids, imports, in whatever order they came."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from keledger.journal import Home, NewEvent
from keledger.projections import open_projection, rebuild, report_daily

from .support import append, call, drop_cache, expected, hold_to, take_over, void

KEYS = ["openai:resp_1"]


def reasons(home: Home) -> list[str]:
    """Why lines of a home do not count, sorted."""
    with open_projection(home) as projection:
        return sorted(row[0] for row in projection.query("SELECT reason FROM uncounted_line"))


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        pytest.param([call(1), call(2)], [], id="two calls"),
        pytest.param([call(1), call(1)], ["copy"], id="sent again"),
        pytest.param([call(1), call(1, usd="9")], ["copy"], id="the first copy counts, whatever else differs"),
        pytest.param([call(1), call(1, given="other")], ["conflict"], id="another input"),
        pytest.param([call(1), call(1), call(1, given="x")], ["conflict", "copy"], id="both"),
        pytest.param([call(1), void(1)], ["voided"], id="voided"),
        pytest.param([void(1), call(1)], ["voided"], id="voided before it came"),
        pytest.param([call(1), void(1), void(1, revert=True)], [], id="void reverted"),
        pytest.param([call(1), void(1), void(1, revert=True), void(1, key=2)], ["voided"], id="voided once more"),
        pytest.param([call(1), void(1), void(1, revert=True), void(1)], [], id="a void's copy does not void again"),
        pytest.param([call(1), call(1), void(1)], ["copy", "voided"], id="a voided call's copy stays a copy"),
        pytest.param([void(7)], [], id="a void of nothing"),
        pytest.param([call(1, call_keys=KEYS), call(2, call_keys=KEYS)], [], id="live calls never shadow each other"),
        pytest.param(
            [call(1, call_keys=KEYS), call(2, call_keys=KEYS, origin="import:x")],
            ["shadowed"],
            id="imported twin",
        ),
        pytest.param(
            [call(2, call_keys=KEYS, origin="import:x"), call(1, call_keys=KEYS)],
            ["shadowed"],
            id="twin first",
        ),
        pytest.param(
            [call(1, call_keys=KEYS), void(1), call(2, call_keys=KEYS, origin="import:x")],
            ["shadowed", "voided"],
            id="a voided call shadows",
        ),
        pytest.param(
            [
                call(1, call_keys=KEYS, origin="import:x", quality="totals_only"),
                call(2, call_keys=KEYS, origin="import:y"),
            ],
            ["shadowed"],
            id="the better import counts",
        ),
        pytest.param(
            [call(1, call_keys=["a", "a"], origin="import:x")],
            [],
            id="nothing shadows itself by a key given twice",
        ),
        pytest.param(
            [
                call(1, call_keys=["a"]),
                call(2, call_keys=["a", "b"], origin="import:x"),
                call(3, call_keys=["b"], origin="import:y", quality="totals_only"),
            ],
            ["shadowed", "shadowed"],
            id="a shadowed import shadows a worse one",
        ),
        pytest.param(
            [
                call(1, call_keys=["b"], given="first"),
                call(1, call_keys=["a"], given="second"),
                call(2, call_keys=["a"], origin="import:x"),
            ],
            ["conflict"],
            id="a later copy holds no keys",
        ),
    ],
)
def test_uncounted(home: Home, events: list[NewEvent], wanted: list[str]) -> None:
    append(home, *events)
    assert reasons(home) == wanted
    hold_to(home, expected(home))


def test_every_arrival_order(home: Home) -> None:
    """A live call, its imported twin, a void of another and a copy: whatever is read first, and whatever is cached."""
    events = [
        call(1, call_keys=KEYS),
        call(2, call_keys=KEYS, origin="import:x"),
        call(3),
        void(3),
        call(1, call_keys=KEYS),
    ]
    for number, order in enumerate(itertools.permutations(events)):
        if number % 17:
            continue
        place = Home.at(home.path.with_name(f"home-{number}"))
        append(place, *order[:2])
        rebuild(place)
        for event in order[2:]:
            append(place, event)
            hold_to(place, expected(place))
        assert reasons(place) == ["copy", "shadowed", "voided"]


def test_an_earlier_copy_of_another_writer_replaces_the_first(tmp_path: Path) -> None:
    """After a merge the first line may be another one than before, with another cost."""
    mine, theirs = Home.at(tmp_path / "mine"), Home.at(tmp_path / "theirs")
    append(mine, call("a"), call("b"), call(1, usd="5", given="mine", call_keys=["k"]))
    append(mine, call("import", origin="import:x", call_keys=["k"]))
    append(theirs, call(1, usd="3", given="theirs"))
    rebuild(mine)
    with open_projection(mine) as projection:
        assert report_daily(projection).totals["cost_usd"] == "5.00495"
    take_over(theirs, mine)
    with open_projection(mine) as projection:
        report = report_daily(projection)
    assert report.totals["cost_usd"] == "3.007425"  # the import is not shadowed any more
    assert [finding.kind for finding in report.findings] == ["conflict"]
    hold_to(mine, expected(mine))
    drop_cache(mine)
    hold_to(mine, expected(mine))


def test_uncounted_lines_stand_in_the_cache(home: Home) -> None:
    append(home, call(1), call(1), call(2), void(2))
    rebuild(home)
    assert list(home.projections.glob("*/marks-*.duckdb"))
    append(home, call(3))
    hold_to(home, expected(home))
    append(home, void(2, revert=True))
    hold_to(home, expected(home))
    rebuild(home)
    hold_to(home, expected(home))
    assert reasons(home) == ["copy"]
