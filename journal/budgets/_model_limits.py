"""How much a model reads and writes at most: ``data/model_limits.jsonl``, under the price book's own names.

The file is made by ``data/build_model_limits.py``, which tells its sources.  It is read when a hold first needs it, and
only the line of the model asked for is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson

from keledger.journal.prices import Book

LIMITS_KEPT_MAX = 256
"""How many models' limits are kept once looked up."""

_FILE = Path(__file__).parents[2] / "data" / "model_limits.jsonl"
_MODEL = re.compile(rb'"model":("(?:[^"\\]|\\.)*")')


class ModelLimits(NamedTuple):
    """What one request may hold, and one answer, in tokens; None where it is not known.

    ``reasons`` says whether the model thinks before it answers.
    """

    context_window: int | None
    output_limit: int | None
    reasons: bool | None


def limits_of(book: Book, provider: str, model: str) -> ModelLimits:
    """The limits of a model by any name that the book understands: the larger ones where it has them under two."""
    match = book.match(provider, model)
    named = {book.own_name(provider, model)} | ({(match.provider, match.model)} if match is not None else set())
    found = [limits for limits in (_limits(*each) for each in sorted(named)) if limits is not None]
    return ModelLimits(
        max((each.context_window for each in found if each.context_window), default=None),
        max((each.output_limit for each in found if each.output_limit), default=None),
        any(each.reasons for each in found) if any(each.reasons is not None for each in found) else None,
    )


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
    row = orjson.loads(content[start : content.find(b"\n", start)])
    return ModelLimits(row.get("context_window"), row.get("output_limit"), row.get("reasons"))


@cache
def _content() -> bytes:
    return _FILE.read_bytes()
