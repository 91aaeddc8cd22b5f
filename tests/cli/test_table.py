"""The column printer: what is shown in how many columns, and that numbers stay whole."""

from __future__ import annotations

import re

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.cli._table import Column, Table, cut, display_width, duration, exact_money, money, printable

COLUMNS = (
    Column("Model"),
    Column("Calls", number=True),
    Column("Output", number=True, drop=1),
    Column("Cost", number=True),
)


def table(*rows: tuple[str, ...]) -> Table:
    made = Table(COLUMNS)
    for row in rows:
        made.add(*row)
    return made


def plain(made: Table, width: int | None) -> list[str]:
    return [click.unstyle(line) for line in made.lines(width)]


def test_numbers_stand_right_and_text_left() -> None:
    made = table(("gpt-5-mini", "3", "1,200", "$0.001941"), ("o3", "12", "7", "$10.000000"))
    assert plain(made, None) == [
        "Model       Calls  Output        Cost",
        "──────────  ─────  ──────  ──────────",
        "gpt-5-mini      3   1,200   $0.001941",
        "o3             12       7  $10.000000",
    ]


def test_text_is_cut_before_a_column_is_left_out() -> None:
    made = table(("a-model-with-a-long-name", "3", "1,200", "$0.001941"))
    assert plain(made, 38)[2] == "a-model-wit…      3   1,200  $0.001941"
    narrower = plain(made, 37)
    assert narrower[2] == "a-model-with-a-lon…      3  $0.001941"
    assert narrower[3:] == ["(too narrow for: Output; --json has", "all)"]


def test_columns_are_left_out_in_their_order() -> None:
    columns = [Column("A", number=True), *(Column(str(n), number=True, drop=n) for n in (1, 3, 2))]
    made = Table(columns, [])
    made.add("1", "1", "1", "1")
    assert plain(made, 7)[0] == "A  1  2"
    assert plain(made, 4)[0] == "A  1"
    assert plain(made, 1)[0] == "A"


def test_a_total_stands_below_a_rule() -> None:
    made = table(("a", "1", "2", "$3"))
    made.add("Total", "1", "2", "$3", kind="total")
    assert plain(made, None)[3] == plain(made, None)[1]


texts = st.text(max_size=30)


@given(st.lists(st.tuples(texts, st.integers(), st.integers(), st.integers()), max_size=5), st.integers(1, 120))
def test_no_number_is_ever_cut_and_no_line_is_too_wide_without_need(
    rows: list[tuple[str, int, int, int]], width: int
) -> None:
    made = table(*((text, *map(str, numbers)) for text, *numbers in rows))
    title, _, *body = plain(made, width)[: len(rows) + 2]
    shown = title.split()
    for line, (_, calls, output, cost) in zip(body, rows, strict=True):
        kept = {"Calls": calls, "Output": output, "Cost": cost}
        numbers = [str(number) for name, number in kept.items() if name in shown]
        assert re.search(r"(^|\s)" + r"\s+".join(map(re.escape, numbers)) + "$", line)
    if max(map(display_width, [title, *body])) > width:
        assert "Output" not in shown


@given(st.text(), st.integers(1, 40))
def test_cutting_keeps_within_the_width(text: str, width: int) -> None:
    assert display_width(cut(text, width)) <= width


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("", 0), ("漢字", 4), ("e\N{COMBINING ACUTE ACCENT}", 1), ("é", 1)]
)
def test_the_width_is_that_of_a_terminal(text: str, width: int) -> None:
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred", "\\x1b[31mred"), ("two\nlines", "two\\nlines"), ("\u202egnp.exe", "\\u202egnp.exe"), ("é", "é")],
)
def test_nothing_in_a_cell_steers_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("0", "$0.000000"),
        ("0.001941", "$0.001941"),
        ("1234567.5", "$1,234,567.500000"),
        ("0.0000005", "<$0.000001"),
        ("0.000000500001", "$0.000001"),
        ("0.0000015", "$0.000002"),
        ("0.0000025", "$0.000002"),
        ("-0.25", "-$0.250000"),
        ("-0.0000001", "-<$0.000001"),
    ],
)
def test_money_in_tables(usd: str, shown: str) -> None:
    assert money(usd) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0", "$0"), ("0.00128", "$0.00128"), ("1234.000000000001", "$1,234.000000000001"), ("-3", "-$3")],
)
def test_exact_money(usd: str, shown: str) -> None:
    assert exact_money(usd) == shown


def test_durations_are_seconds() -> None:
    assert duration(1_234_567) == "1,234.567 s"
