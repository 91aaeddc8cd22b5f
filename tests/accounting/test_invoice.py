"""Reading invoices: every format, and whatever is wrong in one sentence that names the line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal import InputRefused, InvoicedLine, amount_pico, pico_to_usd, read_invoice

CSV = "date,model,quantity,amount,currency\n2026-10-02,gpt-5-mini,100,0.5,USD\n2026-10-01,gpt-5-mini,7,1.25,usd\n"


def openai(
    value: Any = 0.06, *, currency: Any = "usd", start: Any = 1790812800, item: Any = "gpt-5-mini, input"
) -> Any:
    result = {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}}
    result |= {"line_item": item, "project_id": None}
    bucket = {"object": "bucket", "start_time": start, "end_time": 1790899200, "results": [result]}
    return {"object": "page", "data": [bucket], "has_more": False, "next_page": None}


def anthropic(amount: Any = "123.78912", *, currency: Any = "USD", start: Any = "2026-10-01T00:00:00Z") -> Any:
    result = {"currency": currency, "amount": amount, "workspace_id": None, "cost_type": "tokens"}
    result |= {"description": "Claude Sonnet 4 Usage - Input Tokens", "model": "claude-sonnet-4-20250514"}
    bucket = {"starting_at": start, "ending_at": "2026-10-02T00:00:00Z", "results": [result]}
    return {"data": [bucket], "has_more": False, "next_page": None}


def lines(content: Any, **options: Any) -> list[tuple[Any, ...]]:
    text = content if isinstance(content, str) else json.dumps(content)
    invoice = read_invoice(text.encode(), "2026-10", **options)
    return [(one.date, one.model, one.item, one.quantity, pico_to_usd(one.pico)) for one in invoice.lines]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (CSV, [("2026-10-01", "gpt-5-mini", None, 7, "1.25"), ("2026-10-02", "gpt-5-mini", None, 100, "0.5")]),
        ("\ufeff" + CSV.replace("\n", "\r\n").replace("2026-10-02", " 2026-10-02 ") + "\r\n",
         [("2026-10-01", "gpt-5-mini", None, 7, "1.25"), ("2026-10-02", "gpt-5-mini", None, 100, "0.5")]),
        ("Amount,Date,Item\n-3,2026-10-31,credit\n2,2026-10-31,tax\n1,2026-10-31,tax\n",
         [("2026-10-31", None, "credit", None, "-3"), ("2026-10-31", None, "tax", None, "3")]),
        ("date,model,quantity,amount\n2026-10-01,a,5,1\n2026-10-01,a,,1\n", [("2026-10-01", "a", None, None, "2")]),
        ([{"date": "2026-10-01", "model": "a", "quantity": 5, "amount": 0.1}], [("2026-10-01", "a", None, 5, "0.1")]),
        ({"lines": [{"date": "2026-10-01", "amount": "12"}]}, [("2026-10-01", None, None, None, "12")]),
        (openai(), [("2026-10-01", "gpt-5-mini", None, None, "0.06")]),
        (openai("0.8958740000000000"), [("2026-10-01", "gpt-5-mini", None, None, "0.895874")]),
        (openai("0E-6176"), [("2026-10-01", "gpt-5-mini", None, None, "0")]),
        (openai(item=None), [("2026-10-01", None, None, None, "0.06")]),
        ([openai(1), openai(2, item="gpt-5-mini, output")], [("2026-10-01", "gpt-5-mini", None, None, "3")]),
        ([{**openai(1), "has_more": True}, openai(2)], [("2026-10-01", "gpt-5-mini", None, None, "3")]),
        (json.dumps(openai(1), indent=1) + json.dumps(openai(2), indent=1) + "\n",
         [("2026-10-01", "gpt-5-mini", None, None, "3")]),
        ("date,note,note,amount\n2026-10-01,a,b,1\n", [("2026-10-01", None, None, None, "1")]),
        (json.dumps(openai(1)) + "\n" + json.dumps(openai(2)), [("2026-10-01", "gpt-5-mini", None, None, "3")]),
        (anthropic(), [("2026-10-01", "claude-sonnet-4-20250514", None, None, "1.2378912")]),
    ],
)  # fmt: skip
def test_each_format_is_read(content: Any, wanted: list[tuple[Any, ...]]) -> None:
    assert lines(content) == wanted


def test_a_double_of_an_api_is_rounded_and_told() -> None:
    content = json.dumps(openai(0.13080550000000001)).encode()
    invoice = read_invoice(content, "2026-10")
    assert (invoice.format, invoice.rounded_lines) == ("openai", 1)
    assert pico_to_usd(invoice.total_pico) == "0.1308055"
    assert read_invoice(json.dumps(openai(0.25)).encode(), "2026-10").rounded_lines == 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "line 1 is no header with the column date"),
        ("a,b\n1,2\n", "line 1 is no header with the column date"),
        ("date,model\n", "line 1 is no header with the column amount"),
        ("date,amount\n", "it has no lines of 2026-10: there is nothing to compare"),
        ("date,amount\n2026-10-01,5\n2026-10-01\n", "line 3 has 1 cells, its header has 2"),
        ("date,amount\n2026-10-01,5\n\n2026-10-32,5\n", "line 4: '2026-10-32' is no day"),
        ("date,amount\n2026-11-01,5\n", "line 2 is of 2026-11-01, which is not in 2026-10"),
        ("date,amount\n2026-10-01,$5\n", "line 2: '$5' is no amount: write it like 12.50"),
        ("date,amount\n2026-10-01,1e3\n", "line 2: '1e3' is no amount"),
        ("date,amount\n2026-10-01,\n", "line 2: '' is no amount"),
        ("date,amount\n2026-10-01,NaN\n", "line 2: 'NaN' is no amount"),
        ('date,amount\n2026-10-01,"1,5"\n', "line 2: '1,5' is no amount"),
        ("date,amount\n2026-10-01,0.1234567890123\n", "line 2: '0.1234567890123' has more than 12 decimals"),
        ("date,amount,currency\n2026-10-01,5,EUR\n", "line 2 is in EUR, and keledger counts in USD"),
        ("date,amount,quantity\n2026-10-01,5,1.5\n", "line 2: '1.5' is no quantity"),
        (f"date,amount,model\n2026-10-01,5,{'x' * 300}\n", "is no name of at most 256 bytes"),
        ('date,amount\n2026-10-01,"5\n', "is no CSV"),
        ("{", "line 1 is no JSON: give a file in one of csv, json, openai, anthropic"),
        ("[1]", "line 1 of the invoice is no object"),
        ('{"lines":{}}', "lines must be a list"),
        ('[{"date":"2026-10-01","amount":{}}]', "line 1 of the invoice: amount is neither text nor number"),
        ('[{"date":"2026-10-01","amount":true}]', "line 1 of the invoice: amount is neither text nor number"),
        (openai(currency="eur"), "data[0].results[0] of page 1 is in eur, and keledger counts in USD"),
        (openai("0.00000000000012"), "has more than 12 decimals"),
        (openai("x"), "data[0].results[0] of page 1: 'x' is no amount"),
        (openai(None), "is no amount"),
        (openai(start=1793491200), "is of 2026-11-01, which is not in 2026-10"),
        (openai(start="soon"), "has no start_time"),
        ({"object": "page", "data": [{"start_time": 1}]}, "data[0] of page 1 has no results"),
        ([openai(), 5], "page 2 is no answer of the costs API of openai: it has no data"),
        (anthropic("1e20"), "1e20 is more than 1,000,000,000,000 USD, the most that can be booked"),
        ("date,amount\n2026-10-01,1000000000000.01\n", "line 2: that is more than 1,000,000,000,000 USD"),
        ("date,amount\n2026-10-01,600000000000\n2026-10-01,-600000000000\n",
         "all amounts, whatever their sign: that is more than 1,000,000,000,000 USD"),
        ("date,amount,Amount \n2026-10-01,1,2\n", "line 1 has the column amount twice: give it once"),
        ('[{"date":"2026-10-01","amount":1,"amount":2}]', "an object has 'amount' twice: give it once"),
        (json.dumps(openai()).replace('"value"', '"currency": "usd", "currency"'), "an object has 'currency' twice"),
        ({**openai(), "has_more": True}, "page 1, its last, says has_more: give all pages in their order"),
        ([anthropic(), {**anthropic(), "has_more": True}], "page 2, its last, says has_more"),
        (json.dumps(openai()) + "{", "line 1 is no JSON"),
        (anthropic(currency=None), "is in None, and keledger counts in USD"),
        (anthropic(start="yesterday"), "has no starting_at"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(content: Any, complaint: str) -> None:
    with pytest.raises(InputRefused) as caught:
        lines(content)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InputRefused, match="line 2 is not UTF-8"):
        read_invoice(b"date,amount\n\xff,1\n", "2026-10")


@given(pico=st.integers(-(10**24), 10**24))
def test_amounts_are_exact(pico: int) -> None:
    assert amount_pico(pico_to_usd(pico)) == pico
    line = InvoicedLine("2026-10-01", None, None, None, pico)
    assert line.as_data() == {"date": "2026-10-01", "amount_usd": pico_to_usd(pico)}


@given(
    content=st.one_of(
        st.binary(), st.text().map(str.encode), st.text('[]{}":,0123456789.eE-+dateamount\n').map(str.encode)
    )
)
def test_no_content_is_more_than_refused(content: bytes) -> None:
    try:
        read_invoice(content, "2026-10")
    except InputRefused as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - or it is an invoice


def test_json_that_is_nested_deeply_is_refused() -> None:
    with pytest.raises(InputRefused):
        read_invoice(b"[" * 100_000, "2026-10")
