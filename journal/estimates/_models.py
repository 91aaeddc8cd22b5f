"""What is known of each model: its quality, limits and capabilities, each with its source and date.

The facts are ``data/model_tiers.toml`` and ``data/model_limits.jsonl``, under the names of the price book; over them
stand the user's own, from ``[models."PROVIDER/MODEL"]`` in the home's ``config.toml``.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from keledger.journal._attributes import read_toml
from keledger.journal._errors import HomeError
from keledger.journal._home import Home
from keledger.journal._limits import INTEGER_MAX
from keledger.journal._model_limits import (
    ModelLimits,
    all_limits,
    larger_limits,
    limits_source,
    models_beginning_with,
)
from keledger.journal.prices import Book

QUALITIES = ("low", "medium", "high", "highest")
"""The tiers, from the lowest up; ``data/model_tiers.toml`` says what they mean."""

NEEDS = ("tools", "vision")
"""Capabilities that a call may need: to call functions, to see images."""

FACTS = ("quality", "context_window", "output_limit", "vision", "tools", "reasons")
"""What a model may have a fact of, in the order in which it is told."""

_COUNTS = ("context_window", "output_limit")
_SWITCHES = ("vision", "tools", "reasons", "use")
_FILE = Path(__file__).parents[2] / "data" / "model_tiers.toml"

Key = tuple[str, str]
"""A provider and a model."""


class Fact(NamedTuple):
    """One thing that is known of a model, and whence.

    ``basis`` is ``measured`` or ``maker`` for a quality, ``listed`` for what stands in a list of others, ``user`` for
    what the user says, which has no date.  ``why`` tells a quality's figure, or what its maker says.
    """

    value: str | int | bool
    basis: str
    source: str
    date: str | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model and what is known of it: what ``facts`` lacks is not.  ``use`` is false where the user says so."""

    provider: str
    model: str
    facts: Mapping[str, Fact]
    use: bool = True

    @property
    def name(self) -> str:
        """``PROVIDER/MODEL``."""
        return f"{self.provider}/{self.model}"

    @property
    def quality(self) -> str | None:
        """One of QUALITIES."""
        fact = self.facts.get("quality")
        return str(fact.value) if fact is not None else None

    @property
    def context_window(self) -> int | None:
        """Tokens of input and output together, at most."""
        return self._count("context_window")

    @property
    def output_limit(self) -> int | None:
        """Tokens of one answer, at most."""
        return self._count("output_limit")

    def can(self, need: str) -> bool | None:
        """Whether the model has one of NEEDS, or ``reasons``; None where it is not known."""
        fact = self.facts.get(need)
        return bool(fact.value) if fact is not None else None

    def _count(self, name: str) -> int | None:
        fact = self.facts.get(name)
        return int(fact.value) if fact is not None else None

    def as_json(self) -> dict[str, Any]:
        """The facts by name, null where one is not known, then the same with sources and dates."""
        values = {name: self.facts[name].value if name in self.facts else None for name in FACTS}
        told = {name: self.facts[name]._asdict() for name in FACTS if name in self.facts}
        return {"provider": self.provider, "model": self.model, **values, "use": self.use, "facts": told}


class Tiers(NamedTuple):
    """``data/model_tiers.toml``: the quality of models by their names, and who sells models of their own."""

    qualities: Mapping[Key, Fact]
    makers: tuple[str, ...]


@cache
def load_tiers() -> Tiers:
    """The file, read when first asked for."""
    raw = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    measures = {measure["id"]: measure for measure in raw["measure"]}
    qualities: dict[Key, Fact] = {}
    for row in raw["model"]:
        if "measure" in row:
            measure = measures[row["measure"]]
            why = f"{row['figure']:.2f} as {row['entry']}"
            fact = Fact(row["tier"], "measured", measure["source"], measure["date"], why)
        else:
            why = f"not measured, at least that of {row['at_least']}: {row['why']}"
            fact = Fact(row["tier"], "maker", row["source"], row["date"], why)
        qualities.update({split_model(name): fact for name in row["names"]})
    return Tiers(qualities, tuple(raw["makers"]))


def split_model(name: str) -> Key:
    """``PROVIDER/MODEL`` as its two parts; a model may have further slashes."""
    provider, _, model = name.partition("/")
    return provider, model


class ModelTable:
    """The models of a price book, and those that the user tells of, with what is known of each."""

    def __init__(self, book: Book, own: Mapping[Key, Mapping[str, Fact]], unused: frozenset[Key] = frozenset()) -> None:
        self._book = book
        self._own = own
        self._unused = unused
        self._keys = {*book.models(), *own, *unused}
        self._limits = all_limits()
        self._limits_source = limits_source()

    def counts(self) -> Counter[str]:
        """How many models each provider has."""
        return Counter(provider for provider, _ in self._keys)

    def rows(self, providers: Container[str] | None = None) -> Iterator[ModelFacts]:
        """All models, or those of some providers, in the order of their names."""
        for key in sorted(self._keys):
            if providers is None or key[0] in providers:
                yield self._row(key)

    def find(self, provider: str, model: str) -> ModelFacts | None:
        """A model by any name that the book understands; None where neither it nor the user knows it."""
        key = row_key(self._book, provider, model)
        match = self._book.match(provider, model)
        if key in self._own or key in self._unused:
            return self._row(key)
        return self._row((match.provider, match.model)) if match is not None else None

    def _row(self, key: Key) -> ModelFacts:
        limits = self._limits_of(key)
        source, date = self._limits_source
        facts = {
            name: Fact(value, "listed", source, date) for name, value in limits._asdict().items() if value is not None
        }
        quality = load_tiers().qualities.get(key)
        if quality is not None:
            facts["quality"] = quality
        facts.update(self._own.get(key, {}))
        return ModelFacts(*key, {name: facts[name] for name in FACTS if name in facts}, key not in self._unused)

    def _limits_of(self, key: Key) -> ModelLimits:
        """The model's own line; where it has none, the lines of names that mean it, such as those with a date."""
        provider, model = key[0], key[1].lower()
        own = self._limits.get((provider, model))
        if own is not None:
            return own
        found = []
        for name in models_beginning_with(provider, model):
            match = self._book.match(provider, name)
            if match is not None and (match.provider, match.model) == key:
                found.append(self._limits[provider, name])
        return larger_limits(found)


def load_models(home: Home, book: Book) -> ModelTable:
    """The table of a home: the models of *book*, and over the shipped facts those of the home's ``config.toml``.

    Raises HomeError that names the file, the model and what is wrong, where the user's part is not well-formed.
    """
    own: dict[Key, dict[str, Fact]] = {}
    unused: set[Key] = set()
    where = str(home.config)
    told = read_toml(home.config).get("models", {})
    if not isinstance(told, dict):
        raise HomeError(f'{where}: models is no table; write [models."openai/gpt-5-mini"] above a model\'s own facts')
    for name, facts in told.items():
        provider, model = split_model(name)
        if not provider.strip() or not model.strip():
            raise HomeError(f'{where}: models."{name}" names no provider and model, such as "openai/gpt-5-mini"')
        if not isinstance(facts, dict):
            raise HomeError(f'{where}: models."{name}" is no table; write [models."{name}"] above its facts')
        key = row_key(book, provider, model)
        for fact, value in facts.items():
            _check(f'{where}: models."{name}"', fact, value)
        own.setdefault(key, {}).update(
            {fact: Fact(value, "user", where, None) for fact, value in facts.items() if fact in FACTS}
        )
        if facts.get("use") is False:
            unused.add(key)
    return ModelTable(book, own, frozenset(unused))


def row_key(book: Book, provider: str, model: str) -> Key:
    """Under which provider and model the table has what a name means.

    What a provider has only by way of its maker's prices is a model of that provider's own: its facts may be others.
    """
    match = book.match(provider, model)
    if match is None or match.by_fallback:
        return book.own_name(provider, model)
    return match.provider, match.model


def _check(where: str, fact: str, value: object) -> None:
    """Raise HomeError where one of the user's facts is unknown or of the wrong kind."""
    if fact == "quality":
        if value not in QUALITIES:
            raise HomeError(f"{where}: quality is {_told(value)}; write one of {', '.join(QUALITIES)}")
    elif fact in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= INTEGER_MAX:
            raise HomeError(f"{where}: {fact} is {_told(value)}; write a whole number of tokens above 0")
    elif fact in _SWITCHES:
        if not isinstance(value, bool):
            raise HomeError(f"{where}: {fact} is {_told(value)}; write true or false")
    else:
        names = ", ".join(("quality", *_COUNTS, *_SWITCHES))
        raise HomeError(f"{where}: {fact} is no fact of a model; there is {names}")


def _told(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
