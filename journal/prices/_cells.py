"""A price layer's bytes: a header line, then one cell a line (``docs/prices.md`` is the reference).

A cell is what a provider asks for one model in one context, in one span of time, at some minutes and weekdays, for
requests above one size.  One bucket of a cell is one logical row.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused
from keledger.journal._money import micro_per_million
from keledger.journal._time import TIME_PATTERN, format_time, parse_time

KINDS = ("user", "imported", "list")
"""The kinds of layers, strongest first."""

ALWAYS_US = 2**62
"""Stands for no end, and its negative for no beginning: beyond every instant, inside 64 bits."""

DAY_MINUTES = 24 * 60
MINUTE_US = 60 * 1_000_000
EVERY_DAY = "1111111"
NAME_BYTES_MAX = 256
"""Of a provider, model, layer or rule, in UTF-8: what a call's own attributes may have."""

_HEADER_KEYS = ("keledger_layer", "kind", "name", "source", "date")
_CELL_KEYS = (
    "provider", "model", "context", "valid_from", "valid_to", "minutes", "weekdays", "input_over",
    "usd_per_million", "source", "date", "carried_from",
)  # fmt: skip
_BUCKET = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CONTEXT = re.compile(r"(?:[a-z][a-z0-9_]*=[^,=\s]+(?:,[a-z][a-z0-9_]*=[^,=\s]+)*)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(TIME_PATTERN, re.ASCII)


class LayerHeader(NamedTuple):
    """What a layer is: its *kind*, *name*, where its prices come from, and the day on which they were known."""

    kind: str
    name: str
    source: str
    date: str


class Cell(NamedTuple):
    """Prices in USD per million units by bucket; None says that the price is not known, whatever weaker layers say.

    Valid from ``valid_from_us`` until before ``valid_to_us``, from ``minute_from`` until before ``minute_to`` of the
    UTC day, on the UTC ``weekdays`` (seven digits from Monday on, 1 where it holds), for requests whose input tokens
    are strictly more than ``input_over`` (-1: for all).
    """

    provider: str
    model: str
    context: str
    usd_per_million: Mapping[str, str | None]
    valid_from_us: int = -ALWAYS_US
    valid_to_us: int = ALWAYS_US
    minute_from: int = 0
    minute_to: int = DAY_MINUTES
    weekdays: str = EVERY_DAY
    input_over: int = -1
    source: str | None = None
    date: str | None = None
    carried_from: str | None = None

    def sort_key(self) -> tuple[str, str, str, int, int, str, int, int, int, tuple[str, ...]]:
        """The order of cells in a layer.  Two cells that are equal in all but their last three share no bucket."""
        return (
            self.provider,
            self.model,
            self.context,
            self.valid_from_us,
            self.minute_from,
            self.weekdays,
            self.input_over,
            self.valid_to_us,
            self.minute_to,
            tuple(sorted(self.usd_per_million)),
        )

    def holds(self, at_us: int, input_total: int) -> bool:
        """Whether it holds for a request at this instant, with so many input tokens."""
        days, minute = divmod(at_us // MINUTE_US, DAY_MINUTES)
        return (
            self.valid_from_us <= at_us < self.valid_to_us
            and self.input_over < input_total
            and self.minute_from <= minute < self.minute_to
            and self.weekdays[(days + 3) % 7] == "1"  # 1970-01-01 was a Thursday, which is 3 from Monday
        )

    def meets(self, other: Cell) -> bool:
        """Whether both hold at some instant, for requests of the same size or not."""
        return (
            self.valid_from_us < other.valid_to_us
            and other.valid_from_us < self.valid_to_us
            and self.minute_from < other.minute_to
            and other.minute_from < self.minute_to
            and any(x == y == "1" for x, y in zip(self.weekdays, other.weekdays, strict=True))
        )


def context_key(context: Mapping[str, str]) -> str:
    """A pricing context in its one spelling: ``key=value`` by key, joined by commas; the standard one is empty."""
    return ",".join(f"{key}={context[key]}" for key in sorted(context))


def read_cell(raw: Mapping[str, Any]) -> Cell:
    """A cell from its JSON object.  Raises InputRefused where it has a key that this release does not know.

    An unknown key may be a condition, and a price without one of its conditions is a wrong price.
    """
    if not raw.keys() <= _KNOWN_KEYS:
        unknown = ", ".join(sorted(raw.keys() - _KNOWN_KEYS))
        raise InputRefused(f"a price cell has {unknown}, which this release cannot read: use a newer keledger")
    minute_from, minute_to = raw.get("minutes", (0, DAY_MINUTES))
    return Cell(
        raw["provider"],
        raw["model"],
        raw["context"],
        raw["usd_per_million"],
        parse_time(raw["valid_from"]) if "valid_from" in raw else -ALWAYS_US,
        parse_time(raw["valid_to"]) if "valid_to" in raw else ALWAYS_US,
        minute_from,
        minute_to,
        raw.get("weekdays", EVERY_DAY),
        raw.get("input_over", -1),
        raw.get("source"),
        raw.get("date"),
        raw.get("carried_from"),
    )


_KNOWN_KEYS = frozenset(_CELL_KEYS)


def write_layer(header: LayerHeader, cells: Iterable[Cell]) -> bytes:
    """The bytes of a layer, the same for the same content.  Raises InputRefused where ``parse_layer`` would."""
    lines = [_dump(_header_object(header))]
    lines += [_dump(_cell_object(cell)) for cell in sorted(cells, key=Cell.sort_key)]
    content = ("\n".join(lines) + "\n").encode()
    parse_layer(content)
    return content


def parse_layer(content: bytes) -> tuple[LayerHeader, tuple[Cell, ...]]:
    """Read a whole layer and check all of it: spelling, order, ranges, and that no two prices overlap.

    Raises InputRefused with one sentence a line that is wrong.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputRefused(f"a price layer is not UTF-8 at byte {error.start}") from None
    first, *rest = text.split("\n")
    if not rest or rest.pop() != "":
        raise InputRefused("a price layer does not end with a line feed: its last line may be torn")
    header = _parse_header(first)
    cells, refusals = [], []
    for number, line in enumerate(rest, start=2):
        try:
            cells.append(_parse_cell(line))
        except InputRefused as error:
            refusals.append(f"line {number}: {error}")
    refusals += _refused_order(cells) if not refusals else []
    if refusals:
        raise InputRefused(f"the price layer {header.name} is refused: {refusals[0]}", refusals)
    return header, tuple(cells)


def parse_header(content: bytes) -> LayerHeader:
    """The header of a layer, whose cells are not looked at.  Raises InputRefused where it is none."""
    return _parse_header(content[: content.find(b"\n")].decode(errors="replace"))


def _parse_header(line: str) -> LayerHeader:
    raw = _object(line)
    if raw.get("keledger_layer") != 1:
        raise InputRefused('a price layer begins with a line {"keledger_layer":1,…}: this one does not')
    _require(raw.keys() == set(_HEADER_KEYS), f"the header of a price layer has just {', '.join(_HEADER_KEYS)}")
    header = LayerHeader(raw["kind"], raw["name"], raw["source"], raw["date"])
    _require(header.kind in KINDS, f"kind {header.kind!r} is none of {', '.join(KINDS)}")
    _require(_is_name(header.name), f"name is text of 1 to {NAME_BYTES_MAX} bytes")
    _require(isinstance(header.source, str) and header.source != "", "source says where the prices come from")
    _require(_is_date(header.date), f"date {header.date!r} is no day like 2026-11-21")
    _require(_dump(_header_object(header)) == line, "the header is not in its one spelling")
    return header


def _parse_cell(line: str) -> Cell:
    raw = _object(line)
    _require(
        raw.keys() >= {"provider", "model", "context", "usd_per_million"},
        "a cell needs provider, model, context and usd_per_million",
    )
    for key in ("provider", "model"):
        _require(_is_name(raw[key]), f"{key} is text of 1 to {NAME_BYTES_MAX} bytes")
    context = raw["context"]
    _require(
        isinstance(context, str) and _CONTEXT.fullmatch(context) is not None,
        f"context {context!r} is not like key=value,key=value",
    )
    keys = [pair.partition("=")[0] for pair in context.split(",") if pair]
    _require(all(a < b for a, b in pairwise(keys)), f"the keys of context {context!r} are not in order")
    for key in ("valid_from", "valid_to"):
        value = raw.get(key, "2026-01-01T00:00:00.000000Z")
        _require(isinstance(value, str) and _TIME.fullmatch(value) is not None, f"{key} {value!r} is no UTC time")
    _check_conditions(raw)
    _check_prices(raw["usd_per_million"])
    for key in ("source", "carried_from"):
        _require(key not in raw or (isinstance(raw[key], str) and raw[key] != ""), f"{key} is text")
    _require("date" not in raw or _is_date(raw["date"]), "date is a day like 2026-11-21")
    cell = read_cell(raw)
    _require(cell.valid_from_us < cell.valid_to_us, "valid_from is not before valid_to")
    _require(_dump(_cell_object(cell)) == line, "the cell is not in its one spelling")
    return cell


def _check_conditions(raw: Mapping[str, Any]) -> None:
    minutes = raw.get("minutes", [0, DAY_MINUTES])
    _require(
        isinstance(minutes, list)
        and [type(minute) for minute in minutes] == [int, int]
        and 0 <= minutes[0] < minutes[1] <= DAY_MINUTES,
        f"minutes {minutes!r} are not [from, to) within a day of {DAY_MINUTES}: split what passes midnight",
    )
    weekdays = raw.get("weekdays", EVERY_DAY)
    _require(
        isinstance(weekdays, str) and re.fullmatch("[01]{7}", weekdays) is not None and "1" in weekdays,
        f"weekdays {weekdays!r} is not seven of 0 and 1 from Monday on, with a 1",
    )
    over = raw.get("input_over", 0)
    _require(type(over) is int and 0 <= over < 2**53, f"input_over {over!r} is no count")


def _check_prices(prices: Any) -> None:
    _require(isinstance(prices, dict) and bool(prices), "usd_per_million has no price")
    for bucket, price in prices.items():
        _require(_BUCKET.fullmatch(bucket) is not None, f"{bucket!r} is no name of a bucket")
        _require(price is None or isinstance(price, str), f"the price of {bucket} is not text: {price!r}")
        if price is not None:
            micro_per_million(price)


def _refused_order(cells: Sequence[Cell]) -> list[str]:
    for above, below in pairwise(cells):
        if above.sort_key() >= below.sort_key():
            return [f"the cells of {below.provider}/{below.model} are out of order or twice there"]
    together: dict[tuple[str, str, str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        together[cell.provider, cell.model, cell.context, cell.input_over].append(cell)
    return [
        f"two prices of {a.provider}/{a.model} overlap for {', '.join(sorted(shared))}"
        for group in together.values()
        for a, b in combinations(group, 2)
        if (shared := a.usd_per_million.keys() & b.usd_per_million.keys()) and a.meets(b)
    ]


def _header_object(header: LayerHeader) -> dict[str, Any]:
    values = (1, header.kind, header.name, header.source, header.date)
    return dict(zip(_HEADER_KEYS, values, strict=True))


def _cell_object(cell: Cell) -> dict[str, Any]:
    every = {
        "provider": cell.provider,
        "model": cell.model,
        "context": cell.context,
        "valid_from": None if cell.valid_from_us == -ALWAYS_US else format_time(cell.valid_from_us),
        "valid_to": None if cell.valid_to_us == ALWAYS_US else format_time(cell.valid_to_us),
        "minutes": None
        if (cell.minute_from, cell.minute_to) == (0, DAY_MINUTES)
        else [cell.minute_from, cell.minute_to],
        "weekdays": None if cell.weekdays == EVERY_DAY else cell.weekdays,
        "input_over": None if cell.input_over == -1 else cell.input_over,
        "usd_per_million": {bucket: cell.usd_per_million[bucket] for bucket in sorted(cell.usd_per_million)},
        "source": cell.source,
        "date": cell.date,
        "carried_from": cell.carried_from,
    }
    return {key: value for key, value in every.items() if value is not None}


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(line: str) -> dict[str, Any]:
    try:
        raw = json.loads(line)
    except ValueError:
        raise InputRefused("not a JSON object") from None
    _require(isinstance(raw, dict), "not a JSON object")
    return dict(raw)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.encode()) <= NAME_BYTES_MAX


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _DATE.fullmatch(value) is not None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputRefused(otherwise)
