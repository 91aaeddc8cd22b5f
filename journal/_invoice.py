"""Reading what a provider invoiced: a plain table, or the answer of a provider's own costs API.

``csv``        a header and rows with ``date`` (2026-10-21), ``amount``, and where known ``model``, ``quantity``
               (tokens, input and output together), ``currency`` (USD without such a column) and ``item``
``json``       a list of objects with the same names, or an object with such a list under ``lines``
``openai``     pages of ``GET /v1/organization/costs``, grouped by ``line_item``: ``data[].start_time``, and in
               ``data[].results[]`` ``amount.value``, ``amount.currency`` and a ``line_item`` like
               ``gpt-5-mini-2025-08-07, input``
               (https://platform.openai.com/docs/api-reference/usage/costs, read 2026-11-22)
``anthropic``  pages of ``GET /v1/organizations/cost_report``, grouped by ``description``: ``data[].starting_at``, and
               in ``data[].results[]`` ``amount`` in cents as a decimal string, ``currency``, ``model``, ``description``
               (https://platform.claude.com/docs/en/api/admin-api/usage-cost/get-cost-report, read 2026-11-22)

Both APIs bill days of UTC.  A file of several pages is a list of them, or one after the other.  Amounts are exact: one
with more than 12 decimals is refused.  Only a JSON *number* of a provider's API is rounded to them, half-even, for it
comes from a double, whose digits behind the sixteenth mean nothing; how many there were is told.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from . import _limits as limits
from ._errors import InputRefused
from ._money import PICODOLLARS, check_adjusted, pico_to_usd
from ._time import parse_time

FORMATS = ("csv", "json", "openai", "anthropic")

BYTES_MAX = 64 * 1024 * 1024
"""A larger file is surely no invoice of one month."""

_AMOUNT = re.compile(r"([+-]?)(\d{1,15})(?:\.(\d{1,60}))?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,60})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_QUANTITY = re.compile(r"\d{1,16}", re.ASCII)
_SPACE = re.compile(r"[ \t\r\n]*")
"""What may stand between JSON documents."""

_COLUMNS = ("date", "model", "item", "quantity", "amount", "currency")
_GRAIN = Decimal(1).scaleb(-12)
_DIGITS = 128
"""More than any amount here has, so that none is rounded in passing."""


@dataclass(frozen=True, slots=True)
class InvoicedLine:
    """What was invoiced for one day and model, in picodollars; without a model, ``item`` says for what."""

    date: str
    model: str | None
    item: str | None
    quantity: int | None
    pico: int

    def as_data(self) -> dict[str, Any]:
        """As the event has it."""
        given = {"date": self.date, "model": self.model, "item": self.item, "quantity": self.quantity}
        shown = {name: value for name, value in given.items() if value is not None}
        return shown | {"amount_usd": pico_to_usd(self.pico)}


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as it was read: one line for each day and model (or item), and of how many an amount was rounded."""

    format: str
    sha256: str
    lines: tuple[InvoicedLine, ...]
    rounded_lines: int

    @property
    def total_pico(self) -> int:
        """The sum of all lines."""
        return sum(line.pico for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Given:
    """One line before lines of one day and model are added up."""

    place: str
    line: InvoicedLine
    rounded: bool = False


def read_invoice(content: bytes, period: str, *, format: str | None = None) -> Invoice:  # noqa: A002
    """Read an invoice for a month like ``2026-10``; without *format*, whichever of FORMATS it is in.

    Raises InputRefused that names the first line which is wrong: the format, an amount, another currency, a day that
    is not in the month.
    """
    if len(content) > BYTES_MAX:
        raise InputRefused(f"it has {len(content):,} bytes: an invoice of one month has at most {BYTES_MAX:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputRefused(f"line {number} is not UTF-8") from None
    found, read = _reader(text, format)
    summed: dict[tuple[str, str | None, str | None], InvoicedLine] = {}
    rounded = gross_pico = 0
    for given in read():
        line = given.line
        if line.date[:7] != period:
            raise InputRefused(f"{given.place} is of {line.date}, which is not in {period}: give that month's invoice")
        rounded += given.rounded
        gross_pico += abs(line.pico)
        # A line without a quantity makes that of the sum unknown, too.
        key = (line.date, line.model, None if line.model else line.item)
        other = summed.get(key)
        quantity = line.quantity
        if other is not None:
            both = other.quantity is not None and line.quantity is not None
            quantity = (other.quantity or 0) + (line.quantity or 0) if both else None
        pico = line.pico + (other.pico if other is not None else 0)
        summed[key] = InvoicedLine(*key, quantity, pico)
    if not summed:
        raise InputRefused(f"it has no lines of {period}: there is nothing to compare")
    try:
        check_adjusted(gross_pico)  # then no sum of some of its lines is more, either
    except InputRefused as error:
        raise InputRefused(f"all amounts, whatever their sign: {error}") from None
    lines = tuple(summed[key] for key in sorted(summed, key=lambda key: tuple(part or "" for part in key)))
    return Invoice(found, hashlib.sha256(content).hexdigest(), lines, rounded)


def amount_pico(text: str) -> int:
    """An amount in USD as people write it, like ``12.50`` or ``-3``, in picodollars.  Raises InputRefused."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise InputRefused(f"{text[:64]!r} is no amount: write it like 12.50, without currency or separators")
    sign, whole, fraction = found.groups("")
    if len(fraction.rstrip("0")) > 12:
        raise InputRefused(f"{text[:64]!r} has more than 12 decimals: keledger counts to 0.000000000001 USD")
    pico = int(whole) * PICODOLLARS + int(fraction[:12].ljust(12, "0"))
    check_adjusted(pico)
    return -pico if sign == "-" else pico


def _reader(text: str, wanted: str | None) -> tuple[str, Callable[[], Iterator[_Given]]]:
    """The format, and what reads it."""
    start = text.lstrip()[:1]
    if wanted == "csv" or (wanted is None and start not in ("{", "[")):
        return "csv", lambda: _read_csv(text)
    pages = _pages(text)
    found = wanted or _detected(pages)
    if found == "json":
        return found, lambda: _read_json(pages)
    buckets = _read_openai if found == "openai" else _read_anthropic
    return found, lambda: buckets(pages)


def _pages(text: str) -> list[Any]:
    """The JSON documents in a text: one, a list of them, or one after the other."""
    decoder = json.JSONDecoder(parse_float=_Double, parse_int=_Double, object_pairs_hook=_object)
    documents: list[Any] = []
    place = _behind_space(text, 0)
    try:
        while place < len(text) or not documents:
            document, place = decoder.raw_decode(text, place)
            documents.append(document)
            place = _behind_space(text, place)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise InputRefused(f"line {line} is no JSON: give a file in one of {', '.join(FORMATS)}") from None
    return documents[0] if len(documents) == 1 and isinstance(documents[0], list) else documents


def _behind_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object.  Raises InputRefused for one with a name twice: which of both is meant, nobody can tell."""
    given = dict(pairs)
    if len(given) < len(pairs):
        raise InputRefused(f"an object has {_repeated(name for name, _ in pairs)[:64]!r} twice: give it once")
    return given


def _repeated(names: Iterable[str]) -> str:
    """The first name that stands there for the second time; empty where none does."""
    seen = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


class _Double(str):
    """A JSON number as it is spelled: no digit is lost on the way."""

    __slots__ = ()


def _detected(pages: list[Any]) -> str:
    first = pages[0] if pages else None
    if isinstance(first, dict) and isinstance(first.get("data"), list):
        bucket = first["data"][0] if first["data"] else {}
        if first.get("object") == "page" or (isinstance(bucket, dict) and "start_time" in bucket):
            return "openai"
        return "anthropic"
    return "json"


def _read_csv(text: str) -> Iterator[_Given]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        missing = [name for name in ("date", "amount") if name not in header]
        if missing:
            raise InputRefused(
                f"line 1 is no header with the column {missing[0]}: an invoice in CSV has the columns "
                f"{', '.join(_COLUMNS)}, of which date and amount must be there"
            )
        repeated = _repeated(name for name in header if name in _COLUMNS)
        if repeated:
            raise InputRefused(f"line 1 has the column {repeated} twice: give it once")
        for row in rows:
            if any(cell.strip() for cell in row):
                if len(row) != len(header):
                    raise InputRefused(f"line {rows.line_num} has {len(row)} cells, its header has {len(header)}")
                yield _plain(f"line {rows.line_num}", dict(zip(header, (cell.strip() for cell in row), strict=True)))
    except csv.Error as error:
        raise InputRefused(f"line {rows.line_num} is no CSV: {error}") from None


def _read_json(pages: list[Any]) -> Iterator[_Given]:
    given = pages[0].get("lines") if len(pages) == 1 and isinstance(pages[0], dict) and "lines" in pages[0] else pages
    if not isinstance(given, list):
        raise InputRefused("lines must be a list of objects with date, model, quantity, amount and currency")
    for number, one in enumerate(given, 1):
        if not isinstance(one, dict):
            raise InputRefused(f"line {number} of the invoice is no object")
        cells = {name: "" if one.get(name) is None else one[name] for name in _COLUMNS}
        odd = next((name for name, value in cells.items() if not isinstance(value, str)), None)
        if odd is not None:
            raise InputRefused(f"line {number} of the invoice: {odd} is neither text nor number")
        yield _plain(f"line {number} of the invoice", {name: str(value) for name, value in cells.items()})


def _plain(place: str, cells: Mapping[str, str]) -> _Given:
    """A line of the plain formats."""
    _check_currency(place, cells.get("currency") or "USD")
    try:
        day = date.fromisoformat(cells["date"]) if len(cells["date"]) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise InputRefused(f"{place}: {cells['date'][:64]!r} is no day: write it like 2026-10-21")
    quantity = cells.get("quantity", "")
    if quantity and (_QUANTITY.fullmatch(quantity) is None or int(quantity) > limits.INTEGER_MAX):
        raise InputRefused(f"{place}: {quantity[:64]!r} is no quantity: it is the whole number of tokens")
    try:
        pico = amount_pico(cells["amount"])
    except InputRefused as error:
        raise InputRefused(f"{place}: {error}") from None
    model, item = (_name(place, cells.get(name, "")) for name in ("model", "item"))
    return _Given(place, InvoicedLine(day.isoformat(), model, item, int(quantity) if quantity else None, pico))


def _read_openai(pages: list[Any]) -> Iterator[_Given]:
    for place, bucket, result in _results(pages, "openai"):
        amount = result.get("amount")
        if not isinstance(amount, dict):
            raise InputRefused(f"{place} has no amount")
        _check_currency(place, amount.get("currency"))
        started = bucket.get("start_time")
        if not isinstance(started, str) or _QUANTITY.fullmatch(started) is None or int(started) > 2**35:
            raise InputRefused(f"{place} has no start_time")
        pico, rounded = _api_pico(place, amount.get("value"), 1)
        item = result.get("line_item")
        model, _, _ = item.partition(", ") if isinstance(item, str) else ("", "", "")
        day = datetime.fromtimestamp(int(started), UTC).date().isoformat()
        yield _Given(place, InvoicedLine(day, _name(place, model), None, None, pico), rounded)


def _read_anthropic(pages: list[Any]) -> Iterator[_Given]:
    for place, bucket, result in _results(pages, "anthropic"):
        _check_currency(place, result.get("currency"))
        started = bucket.get("starting_at")
        try:
            day = datetime.fromtimestamp(parse_time(str(started)) // 1_000_000, UTC).date().isoformat()
        except (InputRefused, ValueError, OverflowError, OSError):
            raise InputRefused(f"{place} has no starting_at") from None
        pico, rounded = _api_pico(place, result.get("amount"), 100)
        model, item = result.get("model"), result.get("description")
        names = [_name(place, given) if isinstance(given, str) else None for given in (model, item)]
        yield _Given(place, InvoicedLine(day, names[0], names[1], None, pico), rounded)


def _results(pages: list[Any], format_name: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each result with its bucket, and how it is named in an error."""
    for page_number, page in enumerate(pages, 1):
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            raise InputRefused(f"page {page_number} is no answer of the costs API of {format_name}: it has no data")
        for bucket_number, bucket in enumerate(buckets):
            results = bucket.get("results") if isinstance(bucket, dict) else None
            if not isinstance(results, list):
                raise InputRefused(f"data[{bucket_number}] of page {page_number} has no results")
            for number, result in enumerate(results):
                place = f"data[{bucket_number}].results[{number}] of page {page_number}"
                if not isinstance(result, dict):
                    raise InputRefused(f"{place} is no object")
                yield place, bucket, result
    # Each page that has more is followed by the next one, the last by none.
    if pages and pages[-1].get("has_more") not in (None, False):
        raise InputRefused(
            f"page {len(pages)}, its last, says has_more: give all pages in their order, as a JSON list of them or one "
            "after the other"
        )


def _api_pico(place: str, value: object, parts: int) -> tuple[int, bool]:
    """An amount of an API in picodollars, given in *parts* of a dollar; whether a double was rounded to them."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
        raise InputRefused(f"{place}: {str(value)[:64]!r} is no amount")
    with localcontext(prec=_DIGITS):
        usd = Decimal(value) / parts
        if abs(usd) > limits.ADJUSTED_USD_MAX:
            most = f"{limits.ADJUSTED_USD_MAX:,} USD, the most that can be booked"
            raise InputRefused(f"{place}: {value[:64]} is more than {most}")
        exact = usd.quantize(_GRAIN, ROUND_HALF_EVEN)
    if exact != usd and not isinstance(value, _Double):
        raise InputRefused(f"{place}: {value[:64]} has more than 12 decimals: keledger counts to 0.000000000001 USD")
    return int(exact.scaleb(12)), exact != usd


def _check_currency(place: str, currency: object) -> None:
    if not isinstance(currency, str) or currency.upper() != "USD":
        raise InputRefused(f"{place} is in {str(currency)[:16]}, and keledger counts in USD: give an invoice in USD")


def _name(place: str, given: str) -> str | None:
    """A name as the journal takes it; None for an empty one."""
    name = unicodedata.normalize("NFC", given.strip())
    if len(name.encode("utf-8", "replace")) > limits.ATTRIBUTE_BYTES_MAX or not name.isprintable():
        raise InputRefused(f"{place}: {name[:64]!r} is no name of at most {limits.ATTRIBUTE_BYTES_MAX} bytes")
    return name or None
