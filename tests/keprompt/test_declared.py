"""Budgets that a run and a prompt declare: what is an amount, what is none, and which of several stands."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import usd_to_pico
from keledger.journal.capture.declared import LIMIT_USD_MAX, WrongBudget, declared, limit_usd, tighter


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("1.00", "1"),
        ("0.50", "0.5"),
        (" 007.250 ", "7.25"),
        (1, "1"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-07, "0.0000001"),
        ("0.000000000001", "0.000000000001"),
        (1e12, "1000000000000"),
        ("1000000000000.000", "1000000000000"),
    ],
)
def test_an_amount_has_one_spelling(given: object, spelled: str) -> None:
    assert limit_usd(given) == spelled


@pytest.mark.parametrize(
    "given",
    [
        0, 0.0, "0", "0.000", -1, "-1", "+1", "nan", "NaN", "inf", "1e400", "1e2", float("nan"), float("inf"), 1e400,
        "0.0000000000001", 1e-13, "1000000000000.1", 10**13, 1e13, "", "ten", "1,50", "1.", ".5", "$1", "1_000", "１",
        True, None, [1], {"usd": 1}, "9" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_amount_is_one_sentence(given: object) -> None:
    with pytest.raises(WrongBudget, match="is no limit: give an amount in USD") as raised:
        limit_usd(given)
    assert len(str(raised.value)) < 200


def test_nothing_is_a_limit_only_where_that_is_said() -> None:
    assert [limit_usd(given, or_zero=True) for given in (0, "0", "0.000", 0.0, "0.5")] == ["0", "0", "0", "0", "0.5"]
    assert tighter("0.5", "0", or_zero=True) == "0"
    with pytest.raises(WrongBudget, match=r"is no limit: .*, 0 or more"):
        limit_usd("-1", or_zero=True)


@given(st.decimals(min_value="0.000000000001", max_value=LIMIT_USD_MAX, places=12))
def test_no_digit_is_lost(amount: Decimal) -> None:
    for spelled in (limit_usd(f"{amount:f}"), limit_usd(f"000{amount:f}00" if "." in f"{amount:f}" else str(amount))):
        assert usd_to_pico(spelled) == amount * 10**12


@given(*[st.decimals(min_value="0.000001", max_value=1_000, places=6)] * 2)
def test_of_two_the_smaller_stands(one: Decimal, other: Decimal) -> None:
    assert Decimal(str(tighter(f"{one:f}", f"{other:f}"))) == min(one, other)


def machine(*comments: str, ip: int = 99, **variables: object) -> Any:
    statements = [SimpleNamespace(keyword=".#", value=comment) for comment in comments]
    return SimpleNamespace(vdict=variables, statements=statements, ip=ip)


@pytest.mark.parametrize(
    ("of_prompt", "limit"),
    [
        (machine(), None),
        (machine(keledger={"project": "crm"}), None),
        (machine(keledger="text"), None),
        (machine(keledger={"budget": 1.0}), "1"),
        (machine("keledger budget=2.00"), "2"),
        (machine("keledger budget = 2.00"), "2"),
        (machine("keledger budget=2", "keledger is nice", "budget=7", "keledger budget=3"), "3"),
        (machine("keledger budget=2", "keledger budget=3", ip=1), "2"),
        (machine("keledger budget=2", keledger={"budget": "1"}), "1"),
        (machine("keledger budget=2", keledger={"budget": "1"}, keledger_budget="3"), "3"),
        (None, None),
        (SimpleNamespace(), None),
    ],
)
def test_the_nearest_word_stands_for_the_session(of_prompt: Any, limit: str | None) -> None:
    expected = [] if limit is None else [{"scope": "session", "limit_usd": limit}]
    assert declared(of_prompt, {}) == expected
    of_run = {"scope": "run", "limit_usd": "0.5"}
    assert declared(of_prompt, {"budget": "0.50", "project": "crm"}) == [of_run, *expected]


@pytest.mark.parametrize(
    ("of_prompt", "flags", "place"),
    [
        (machine(), {"budget": "much"}, "keledger run --budget: 'much'"),
        (machine(keledger_budget="0"), {}, "keledger_budget: '0'"),
        (machine(keledger={"budget": float("nan")}), {}, "the prompt's \"keledger\":.*: 'nan'"),
        (machine("keledger budget=-1"), {}, ".# keledger budget: '-1'"),
        (machine("keledger bugdet=1"), {}, ".# keledger bugdet=1: write it as"),
        (machine("keledger budget 1.00"), {}, ".# keledger budget 1.00: write it as"),
        (machine("keledger budget=1 project=crm"), {}, "write it as"),
    ],
)
def test_a_limit_that_cannot_be_read_is_not_taken_for_none(of_prompt: Any, flags: dict[str, str], place: str) -> None:
    with pytest.raises(WrongBudget, match=place):
        declared(of_prompt, flags)
