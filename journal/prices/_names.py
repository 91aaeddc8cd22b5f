"""The table of names: which model of the price list a provider's and a model's name mean.

A table is a content-addressed file like a layer (``docs/prices.md``): a header line with what holds for all
providers, then for each provider one line, followed by one line a model.  Only the lines of the provider asked for
are parsed.  What no rule names is a miss: a name is never guessed to mean a similar one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from keledger.journal._errors import JournalDamaged

from ._cells import NAME_BYTES_MAX
from ._layer import read_block

_BEGINNING = b'{"keledger_names":1,'
_OPEN_KINDS = ("starts_with", "contains", "ends_with")
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
_END_OF_FRAGMENT = re.compile(r"(?:[0-9]+|[-@:])$")
_SEPARATORS = "./:"


class Match(NamedTuple):
    """What a name means: a *provider* and *model* of the book, and by which *rule*, told in a few words.

    ``by_fallback`` says that the model is priced as its maker's, since the provider asked has no price of its own.
    """

    provider: str
    model: str
    rule: str
    by_fallback: bool = False

    def told(self) -> dict[str, str]:
        """As a cost has it under ``matched``."""
        rule = self.rule.encode()[:NAME_BYTES_MAX].decode(errors="ignore")
        return {"provider": self.provider, "model": self.model, "rule": rule}


class _ProviderNames(NamedTuple):
    """One provider's rules: makers to fall back to, models by exact name, (kind, fragment, model) in their order."""

    fallbacks: list[str]
    exact: dict[str, str]
    open: list[tuple[str, str, str]]


class Names:
    """One table.  Raises JournalDamaged where *content* is not a table that this release can read."""

    def __init__(self, content: bytes, where: str) -> None:
        if not content.startswith(_BEGINNING):
            raise JournalDamaged(
                f"{where} is no table of names of a form that this release reads: use a newer keledger, or restore it"
            )
        header = orjson.loads(content[: content.find(b"\n")])
        self._content = content
        self._aliases: dict[str, str] = header["provider_aliases"]
        self._gateways: list[str] = header["gateways"]
        self._prefixes: dict[str, list[str]] = header["prefixes"]
        self._revision: str = header["revision"]
        self._contexts: list[dict[str, Any]] = header["contexts"]
        self._context_aliases: list[dict[str, str]] = header["context_aliases"]
        self._providers: dict[str, _ProviderNames] = {}

    def spellings(self, provider: str, model: str) -> tuple[str, list[str]]:
        """The provider's id, and the model's name in lower case: as given, then without what precedes it in a path."""
        asked, given = _lower(provider), _lower(model)
        if asked in self._gateways and "/" in given:
            asked, given = given.split("/", 1)
        asked = self._aliases.get(asked, asked)
        spellings = [given]
        while (shorter := self._without_prefix(asked, spellings[-1])) is not None:
            spellings.append(shorter)
        return asked, spellings

    def find(self, provider: str, model: str) -> Match | None:
        """What *model* of *provider* means; None where no rule says it."""
        asked, spellings = self.spellings(provider, model)
        for spelling in spellings:
            prefix = spellings[0][: len(spellings[0]) - len(spelling)]
            for name in dict.fromkeys((spelling, _COMPACT_DATE.sub(r"-\1-\2-\3", spelling))):
                found = self._find_at(asked, name)
                if found is not None:
                    return found._replace(rule=f"{found.rule}, without {prefix}") if prefix else found
        return None

    def split_context(self, provider: str, context: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """The pricing context of a call to *provider* (its id) in two: what a price must and what it may be for.

        The first holds the values that change a price; where the list has no price for them, the call has none.  The
        second holds neutral values and keys of which nothing is known: they count only where a layer names them.
        """
        must: dict[str, str] = {}
        may: dict[str, str] = {}
        for given_key, given in context.items():
            key, value = self._meant(given_key, given)
            (must if self._changes_price(provider, key, value) else may)[key] = value
        return must, may

    def terms(self, provider: str, context: Mapping[str, str]) -> dict[str, str]:
        """The same as a layer has it: what means something else is said as that, and neutral values are left out."""
        meant = dict(self._meant(key, value) for key, value in context.items())
        return {
            key: value
            for key, value in meant.items()
            if not any(
                rule["key"] == key and provider in rule.get("providers", (provider,)) and value in rule["neutral"]
                for rule in self._contexts
            )
        }

    def _meant(self, key: str, value: str) -> tuple[str, str]:
        for alias in self._context_aliases:
            if (alias["key"], alias["value"]) == (key, value):
                return alias["means_key"], alias["means_value"]
        return key, value

    def _changes_price(self, provider: str, key: str, value: str) -> bool:
        return any(
            rule["key"] == key and provider in rule.get("providers", (provider,)) and value not in rule["neutral"]
            for rule in self._contexts
        )

    def _without_prefix(self, provider: str, name: str) -> str | None:
        head, slash, rest = name.partition("/")
        if slash and self._aliases.get(head, head) == provider:
            return rest
        for prefix in self._prefixes.get(provider, ()):
            if name.startswith(prefix):
                return name[len(prefix) :]
        return None

    def _find_at(self, provider: str, name: str) -> Match | None:
        own = self._provider(provider)
        found = self._look_up(own, name)
        if found is not None:
            return Match(provider, *found)
        for maker in own.fallbacks:
            found = self._look_up(self._provider(maker), name)
            if found is not None:
                return Match(maker, found[0], f"{found[1]}, which {provider} has from {maker}", by_fallback=True)
        return None

    def _look_up(self, names: _ProviderNames, name: str) -> tuple[str, str] | None:
        model = names.exact.get(name)
        if model is not None:
            return model, f"is {name}"
        for kind, fragment, model in names.open:
            at = -1
            while (at := name.find(fragment, at + 1)) >= 0:
                if self._is_open_match(kind, name[:at], fragment, name[at + len(fragment) :]):
                    return model, f"{kind.replace('_', ' ')} {fragment}"
        return None

    def _is_open_match(self, kind: str, before: str, fragment: str, after: str) -> bool:
        """Whether what stands around a fragment leaves it the same model.

        Before it may stand a path or region, if the kind allows it; after it a date or revision and nothing else:
        `gemini-1.5-flash-002` is Gemini 1.5 Flash, `gemini-1.5-flash-8b` is not.
        """
        if before and (kind == "starts_with" or before[-1] not in _SEPARATORS):
            return False
        if not after or kind == "ends_with":
            return not after
        ending = _END_OF_FRAGMENT.search(fragment)
        if ending is not None and (not ending.group().isdigit() or after[0].isdigit()):
            after = ending.group() + after  # the fragment breaks off inside a date or behind a separator
        return re.fullmatch(self._revision, after) is not None

    def _provider(self, provider: str) -> _ProviderNames:
        names = self._providers.get(provider)
        if names is None:
            rules = read_block(self._content, b'{"provider":' + orjson.dumps(provider))
            names = _parse(rules)
            if rules:  # of providers that nobody knows there is no end
                self._providers[provider] = names
        return names


def _lower(name: str) -> str:
    """A name as the table has it.  Half a surrogate pair, which no file can hold, becomes a question mark."""
    return name.strip().lower().encode(errors="replace").decode()


def _parse(rules: list[dict[str, Any]]) -> _ProviderNames:
    names = _ProviderNames([], {}, [])
    for rule in rules:
        if "model" not in rule:
            names.fallbacks.extend(rule.get("fallbacks", ()))
            continue
        model = rule["model"]
        for name in rule.get("exact", ()):
            names.exact.setdefault(name, model)
        for kind in _OPEN_KINDS:
            if kind in rule:
                names.open.extend((kind, text, model) for text in rule[kind])
    return names
