"""A price list that a user took in, whatever its form: recognised, read, checked, told as a layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple, Protocol

from keledger.journal._errors import InputRefused, UsageError
from keledger.journal._time import parse_time
from keledger.journal.prices._cells import NAME_BYTES_MAX, Cell, LayerHeader
from keledger.journal.prices._names import Names

from . import _litellm, _llm_prices, _model_prices, _openrouter
from ._contested import Contradicting
from ._imported import Imported, Notes, PricedApart, Reading, unique
from ._inheriting import nothing_apart
from ._json import load

_CONTEXT = re.compile(r"(?:[a-z][a-z0-9_]*=[a-z0-9_./-]+(?:,(?=.)|$))*")


class _Source(Protocol):
    """What a source's module says of itself."""

    NAME: str
    SOURCE: str

    def recognises(self, raw: Mapping[str, Any], /) -> bool: ...

    def known_on(self, raw: Mapping[str, Any], /) -> str | None: ...

    def read(self, raw: Mapping[str, Any], reading: Reading, /) -> Iterator[Cell]: ...


_MODULES: tuple[_Source, ...] = (_model_prices, _openrouter, _llm_prices, _litellm)
"""In the order in which a file is tried: the first whose form is the most particular."""

SOURCES = tuple(sorted(module.NAME for module in _MODULES))
"""The names of the sources whose files can be taken in."""


class Terms(NamedTuple):
    """What the user says about a file beside its content."""

    source: str | None = None
    """Its form, one of ``SOURCES``; None has it recognised."""
    name: str | None = None
    """The layer's name; None: the source's."""
    known: str | None = None
    """The day on which the prices were known, such as 2026-11-21; None: the file's own where it has one, else today."""
    valid_from_us: int | None = None
    """When prices that the file does not date began to hold, UTC microseconds; None: when the day ``known`` began."""
    providers: Collection[str] = ()
    """Of which providers prices are taken, by any of their names; none: all."""


def read_price_list(
    content: bytes,
    names: bytes,
    terms: Terms,
    *,
    today: str,
    where: str = "the file",
    priced_apart: PricedApart = nothing_apart,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """A price list as an imported layer.

    *names* is a table of names, by which providers get their ids.  *today* is a day like 2026-11-21, *where* names the
    file in errors.  Nothing is inferred for buckets that are *priced_apart* (:func:`priced_apart`).  *on_progress* is
    told how many models were read and how many there may be.

    Raises InputRefused where the file is none of the known forms, has no price that can be told, or has two for the
    same time; UsageError where *terms* cannot be.
    """
    raw = load(content, where)
    module = _module(raw, terms.source, where)
    known = _known(terms.known, module.known_on(raw), today)
    valid_from_us = terms.valid_from_us if terms.valid_from_us is not None else parse_time(f"{known}T00:00:00Z")
    table, notes = Names(names, "the table of names"), Notes()
    wanted = {table.spellings(provider, "")[0] for provider in terms.providers}
    taken = []
    try:
        for cell in _counted(module.read(raw, Reading(table, notes, valid_from_us, priced_apart)), raw, on_progress):
            if wanted and cell.provider not in wanted:
                continue
            if _is_tellable(cell):
                taken.append(cell)
            else:
                notes.skipped.append(f"{cell.provider!a} {cell.model[:NAME_BYTES_MAX]!a}: its name cannot be told")
    except Contradicting as error:
        raise InputRefused(f"{where} has two prices for the same time, {error}: leave one of them out") from None
    for entries in (notes.rounded, notes.skipped, notes.without_bucket, notes.contested):
        entries[:] = unique(entries)
        if wanted:
            entries[:] = [entry for entry in entries if entry.partition(" ")[0] in wanted]
    if not taken:
        of = f" of {', '.join(sorted(wanted))}" if wanted else ""
        raise InputRefused(f"{where} has no price{of} that can be taken in")
    header = LayerHeader("imported", terms.name or module.NAME, module.SOURCE, known)
    return Imported(header, tuple(taken), notes)


def module_name(content: bytes, source: str | None, where: str) -> str:
    """The name of the source whose form a file has.  Raises as :func:`read_price_list` does."""
    return _module(load(content, where), source, where).NAME


def _module(raw: Mapping[str, Any], source: str | None, where: str) -> _Source:
    found = next((module for module in _MODULES if module.recognises(raw)), None)
    if source is not None and source not in SOURCES:
        raise UsageError(f"{source!r} is no source of prices: {', '.join(SOURCES)}")
    name = found.NAME if found is not None else None
    if source is not None and source != name:
        like = f", but like one of {name}" if name is not None else ""
        raise InputRefused(f"{where} does not look like a price list of {source}{like}")
    if found is None:
        raise InputRefused(f"{where} is no price list of a form that is known here: {', '.join(SOURCES)}")
    return found


def _known(asked: str | None, told: str | None, today: str) -> str:
    """The day on which the prices were known: as the user says, else as the file says, and today at the latest."""
    if asked is None:
        return min(told, today) if told is not None and _is_day(told) else today
    if not _is_day(asked):
        raise UsageError(f"{asked!r} is no day like 2026-11-21")
    if asked > today:
        raise UsageError(f"prices cannot have been known on {asked}, which is yet to come")
    return asked


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _counted(
    cells: Iterator[Cell], raw: Mapping[str, Any], on_progress: Callable[[int, int], None] | None
) -> Iterator[Cell]:
    """The cells, while whoever waits is told how many models there were."""
    total = _size(raw)
    models: set[tuple[str, str]] = set()
    for cell in cells:
        if on_progress is not None and (cell.provider, cell.model) not in models:
            models.add((cell.provider, cell.model))
            on_progress(min(len(models), total), total)
        yield cell


def _size(raw: Mapping[str, Any]) -> int:
    """How many models a list may have, for whoever waits."""
    for key in ("data", "prices", "models"):
        if isinstance(raw.get(key), (list, dict)):
            return max(len(raw[key]), 1)
    return max(len(raw), 1)


def _is_tellable(cell: Cell) -> bool:
    """Whether a layer can have the cell: a source may call a model, provider or mode anything."""
    try:
        lengths = [len(text.encode()) for text in (cell.provider, cell.model)]
    except UnicodeEncodeError:
        return False
    return all(1 <= length <= NAME_BYTES_MAX for length in lengths) and _CONTEXT.fullmatch(cell.context) is not None
