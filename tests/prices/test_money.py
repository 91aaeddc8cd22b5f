"""Exact money: one spelling, and no rounding anywhere."""

from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from keledger.journal._errors import InputRefused
from keledger.journal._money import USD_PATTERN, micro_per_million, pico_to_usd, usd_to_pico

# No deadline: a busy machine is no failure.  No database: a test leaves nothing behind.
steady = settings(deadline=None, database=None)

EXACT = Context(prec=80)
PICO = st.integers(-(10**27) + 1, 10**27 - 1)
NO_MONEY = [
    "",
    " 1",
    "1 ",
    "1\n",
    "+1",
    "-0",
    "-0.0",
    "0.0",
    "00",
    "01",
    "1.",
    ".5",
    "1.50",
    "1e3",
    "1E-6",
    "1,5",
    "1_000",
    "NaN",
    "Infinity",
    "--1",
    "1.0000000000001",
    "0.0000000000001",
    "1000000000000000",
    "-1000000000000000",
    "١",
    "0x1",
    "$1",
]


@steady
@given(PICO)
def test_every_amount_has_one_spelling_and_comes_back(pico: int) -> None:
    text = pico_to_usd(pico)
    assert usd_to_pico(text) == pico
    assert Decimal(text) == Decimal(pico).scaleb(-12, EXACT)
    assert Decimal(text) == 0 or not text.endswith("0") or "." not in text


@steady
@given(st.decimals(-(10**15), 10**15, places=12, allow_nan=False, allow_infinity=False))
def test_a_decimal_is_read_as_it_is_or_refused(value: Decimal) -> None:
    text = f"{value:f}"
    plain = (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
    if plain == text and text != "-0" and abs(value) < 10**15:
        assert usd_to_pico(text) == int(value.scaleb(12, EXACT))
    else:
        with pytest.raises(InputRefused):
            usd_to_pico(text)


@pytest.mark.parametrize("text", NO_MONEY)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="is no amount in USD"):
        usd_to_pico(text)


@pytest.mark.parametrize("text", [*NO_MONEY, "0", "-0.5", "0.000000000001", "999999999999999.999999999999", "120"])
def test_the_pattern_says_the_same_in_another_engine(text: str) -> None:
    class Holder(BaseModel):
        usd: str = Field(pattern=USD_PATTERN)

    try:
        Holder(usd=text)
    except ValidationError:
        with pytest.raises(InputRefused):
            usd_to_pico(text)
    else:
        assert pico_to_usd(usd_to_pico(text)) == text


@pytest.mark.parametrize("pico", [10**27, -(10**27)])
def test_more_than_money_can_be_is_refused(pico: int) -> None:
    with pytest.raises(InputRefused, match="more than an amount may be"):
        pico_to_usd(pico)


@steady
@given(st.integers(0, 10**18 - 1), st.integers(0, 10**6))
def test_a_price_times_a_quantity_is_a_whole_number_of_picodollars(micro: int, quantity: int) -> None:
    price = Decimal(micro).scaleb(-6, EXACT)
    text = f"{price:f}"
    text = (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
    assert micro_per_million(text) == micro
    exact = EXACT.multiply(price, Decimal(quantity)).scaleb(-6, EXACT)
    assert Decimal(quantity * micro_per_million(text)).scaleb(-12, EXACT) == exact


@pytest.mark.parametrize("text", ["", "-1", "0.0", "1.0000001", "1.50", "1e6", "1000000000000", "+2", " 2", "2\n"])
def test_a_price_off_the_grid_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="is no price"):
        micro_per_million(text)
