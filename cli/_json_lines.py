"""Reading JSON lines strictly: what two readers could understand differently is refused, with a sentence."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from keledger.journal import InputRefused
from keledger.journal import _limits as limits

NESTING_MAX = 32
"""Objects and lists within each other: a usage object has four levels, and a parser's stack is not endless."""

NUMBER_CHARACTERS_MAX = 64
"""Longer than any count, amount or time; Python itself stops at 4,300 digits."""

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_STRUCTURE = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One line that is not blank: its JSON value, or the sentence why it is refused."""

    number: int
    value: Any = None
    problem: str | None = None
    opens_only: bool = False
    """The line is nothing but an opening bracket or two, as the first line of an indented value is."""


class JsonLines:
    """The JSON lines of a file.  ``sha256`` and ``bytes_read`` tell of what was read so far, as it stands."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes_read = 0

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was read so far."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[JsonLine]:
        for number, (line, too_long) in enumerate(self._lines(), 1):
            if number == 1:
                line = line.removeprefix(_UTF8_MARK)
                if line.startswith(_UTF16_MARKS):
                    yield JsonLine(number, problem="it is UTF-16: convert the file to UTF-8 (iconv -f UTF-16 -t UTF-8)")
                    return
            if too_long:
                yield JsonLine(
                    number, problem=f"it is longer than {limits.RECORD_LINE_BYTES_MAX:,} bytes: one line is one call"
                )
            elif not line.isspace() and line:
                yield _read(number, line)

    def _lines(self) -> Iterator[tuple[bytes, bool]]:
        """The lines with their line feeds, and whether each is too long; of such a one only the beginning."""
        while line := self._take():
            too_long = len(line) > limits.RECORD_LINE_BYTES_MAX
            rest = line
            while too_long and not rest.endswith(b"\n") and rest:
                rest = self._take()
            yield line, too_long

    def _take(self) -> bytes:
        part = self._file.readline(limits.RECORD_LINE_BYTES_MAX + 1)
        self._hash.update(part)
        self.bytes_read += len(part)
        return part


def _read(number: int, line: bytes) -> JsonLine:
    try:
        return JsonLine(number, value=parse(line))
    except InputRefused as problem:
        return JsonLine(number, problem=str(problem), opens_only=not line.strip(b"[{ \t\r\n"))


def parse(line: bytes) -> Any:
    """The value of one JSON text.

    Raises InputRefused for what is no JSON, not UTF-8, or ambiguous: keys that stand twice in an object, NaN and
    infinities, numbers of absurd length, lone surrogates, absurd nesting.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputRefused(f"it is not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}") from None
    # Counting is cheap and an upper bound; only a suspicious line is looked through.
    if line.count(b"{") + line.count(b"[") > NESTING_MAX and nesting(line) > NESTING_MAX:
        raise InputRefused(f"it is nested deeper than {NESTING_MAX} levels")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = f"{error.msg[0].lower()}{error.msg[1:]} (column {error.colno})"
        raise InputRefused(f"it is not valid JSON: {what}") from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def nesting(text: bytes) -> int:
    """How deep the objects and lists of a JSON text are nested, without parsing it."""
    depth = deepest = 0
    in_string = False
    for found in _STRUCTURE.finditer(text):
        token = found[0]
        if token == b'"':
            in_string = not in_string
        elif in_string or token[0] == 0x5C:
            continue
        elif token in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InputRefused(
            "it holds a lone surrogate (half of an escape pair, \\ud800 to \\udfff): that is no valid Unicode"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise InputRefused(f"the key {twice[:64]!r} stands twice in one object")
    return found


def _integer(digits: str) -> int:
    _check_length(digits)
    return int(digits)


def _float(digits: str) -> float:
    _check_length(digits)
    number = float(digits)
    if math.isinf(number):
        raise InputRefused(f"the number {digits} is too large")
    return number


def _check_length(digits: str) -> None:
    if len(digits) > NUMBER_CHARACTERS_MAX:
        raise InputRefused(f"it holds a number of {len(digits):,} characters; at most {NUMBER_CHARACTERS_MAX} are read")


def _constant(name: str) -> Any:
    raise InputRefused(f"{name} is no JSON: leave the field out, or give a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant)
