"""How much a model reads and writes at most, and what it can: ``data/model_limits.jsonl``, under the book's names.

The file is made by ``data/build_model_limits.py``, which tells its sources.  It is read when a hold first needs it, and
only the line of the model asked for is parsed; who asks for all of them gets all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from keledger.journal.prices import Book

LIMITS_KEPT_MAX = 256
"""How many models' limits are kept once looked up."""

_FILE = Path(__file__).parents[1] / "data" / "model_limits.jsonl"
_MODEL = re.compile(rb'"model":("(?:[^"\\]|\\.)*")')


class ModelLimits(NamedTuple):
    """What one request may hold, and one answer, in tokens; None where it is not known.

    ``reasons`` says whether the model thinks before it answers, ``vision`` whether it sees images, ``tools`` whether it
    calls functions.
    """

    context_window: int | None
    output_limit: int | None
    reasons: bool | None
    vision: bool | None = None
    tools: bool | None = None


class LimitsSource(NamedTuple):
    """Where the table comes from, and on which day it was made."""

    source: str
    date: str


def limits_of(book: Book, provider: str, model: str) -> ModelLimits:
    """The limits of a model by any name that the book understands: the larger ones where it has them under two."""
    match = book.match(provider, model)
    named = {book.own_name(provider, model)} | ({(match.provider, match.model)} if match is not None else set())
    found = [limits for limits in (_limits(*each) for each in sorted(named)) if limits is not None]
    return larger_limits(found)


def larger_limits(found: Sequence[ModelLimits]) -> ModelLimits:
    """Of limits of one model under several names the larger ones, and what it can under any of them."""
    return ModelLimits(
        max((each.context_window for each in found if each.context_window), default=None),
        max((each.output_limit for each in found if each.output_limit), default=None),
        _any([each.reasons for each in found]),
        _any([each.vision for each in found]),
        _any([each.tools for each in found]),
    )


def all_limits() -> dict[tuple[str, str], ModelLimits]:
    """Every line of the table by provider and model, in its order."""
    rows = (orjson.loads(line) for line in _content().splitlines()[1:])
    return {(row["provider"], row["model"]): _of_row(row) for row in rows}


def limits_source() -> LimitsSource:
    """What the table says of itself."""
    content = _content()
    header = orjson.loads(content[: content.find(b"\n")])
    return LimitsSource(header["source"], header["date"])


def models_beginning_with(provider: str, beginning: str) -> Iterator[str]:
    """The models of a provider whose names begin like this."""
    yield from names_beginning_with(_content(), provider, beginning)


def names_beginning_with(content: bytes, provider: str, beginning: str) -> Iterator[str]:
    """The same of any file whose lines begin with a provider and a model, such as a price layer's."""
    begin = b'\n{"provider":' + orjson.dumps(provider) + b',"model":' + orjson.dumps(beginning)[:-1]
    place = content.find(begin)
    while place >= 0:
        found = _MODEL.search(content, place)
        if found is not None:
            yield orjson.loads(found[1])
        place = content.find(begin, place + 1)


@lru_cache(LIMITS_KEPT_MAX)
def _limits(provider: str, model: str) -> ModelLimits | None:
    content = _content()
    begin = b'\n{"provider":' + orjson.dumps(provider) + b',"model":' + orjson.dumps(model) + b","
    start = content.find(begin) + 1
    if not start:
        return None
    return _of_row(orjson.loads(content[start : content.find(b"\n", start)]))


def _of_row(row: Mapping[str, Any]) -> ModelLimits:
    return ModelLimits(**{name: row.get(name) for name in ModelLimits._fields})


def _any(told: Sequence[bool | None]) -> bool | None:
    return any(told) if any(each is not None for each in told) else None


@cache
def _content() -> bytes:
    return _FILE.read_bytes()
