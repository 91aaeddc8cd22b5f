"""How many tokens one model's tokenizer makes of a text of which another's are known: ``data/tokenizers.toml``."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import keledger.data

RATIO_UNIT = 10_000
"""Ratios are whole numbers of these parts of one: more digits than were measured, and small enough for 64 bits."""

_BEHIND = re.compile(r"[/:.]")


def spellings(model: str) -> list[str]:
    """A model's name as patterns are compared with it: whole, then behind each ``/``, ``:`` and ``.`` of it."""
    name = model.strip().lower()
    return [name, *(name[found.end() :] for found in _BEHIND.finditer(name))]


def fits(names: list[str], patterns: tuple[str, ...]) -> bool:
    """Whether one of the *names* has the form of one of the *patterns*."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


@dataclass(frozen=True, slots=True)
class Family:
    """Models whose tokenizer makes as many *tokens* by kind of text, or so many *times* those of the family *of*."""

    name: str
    models: tuple[str, ...]
    tokens: Mapping[str, Fraction]
    of: str | None
    times: tuple[Fraction, Fraction]
    one_tokenizer: bool


class TokenRatio(NamedTuple):
    """What tokens are to be multiplied by, at *least* and at *most*, in parts of RATIO_UNIT.

    *source* and *target* are the families; None where the model is not listed.  *basis* is ``same`` (the same
    tokenizer), ``measured``, ``published`` (by whoever the file names) or ``assumed``.
    """

    source: str | None
    target: str | None
    least: int
    most: int
    basis: str

    @property
    def exact(self) -> bool:
        """Whether the tokens stay as many as they are."""
        return self.least == self.most == RATIO_UNIT


class Tokenizers(NamedTuple):
    """The file: families in their order, what is assumed of a model that none has, and when it was measured."""

    families: tuple[Family, ...]
    unlisted: tuple[Fraction, Fraction]
    date: str
    texts: int

    def family(self, model: str) -> Family | None:
        """The family of a model's name, whatever stands before it in a path; None where it is not listed."""
        names = spellings(model)
        return next((family for family in self.families if fits(names, family.models)), None)

    def ratio(self, source: str, target: str) -> TokenRatio:
        """From the tokens of the model *source* to those of another model, *target*."""
        old, new = self.family(source), self.family(target)
        if old is None or new is None:
            least, most = self.unlisted
            basis = "assumed"
        elif old is new and old.one_tokenizer:
            least, most = Fraction(1), Fraction(1)
            basis = "same"
        else:
            least, most = self.between(old, new)
            basis = "measured" if old.tokens and new.tokens else "published"
        bounds = math.floor(least * RATIO_UNIT), math.ceil(most * RATIO_UNIT)
        return TokenRatio(old.name if old else None, new.name if new else None, *bounds, basis)

    def between(self, old: Family, new: Family) -> tuple[Fraction, Fraction]:
        """What the tokens of *old* are to be multiplied by for those of *new*, at least and at most.

        By way of the nearest family that both are told by, or of the texts that both were measured with.
        """
        up, down = self._told_by(old), self._told_by(new)
        least = most = Fraction(1)
        if up[-1] is not down[-1]:
            over_texts = [down[-1].tokens[text] / tokens for text, tokens in up[-1].tokens.items()]
            least, most = min(over_texts), max(over_texts)
        while up and down and up[-1] is down[-1] and up[-1].one_tokenizer:
            up.pop()
            down.pop()
        for family in up:
            least, most = least / family.times[1], most / family.times[0]
        for family in down:
            least, most = least * family.times[0], most * family.times[1]
        return least, most

    def _told_by(self, family: Family) -> list[Family]:
        """The family, the one that it is told by, and so on to one that was measured."""
        chain = [family]
        while chain[-1].of is not None:
            chain.append(next(each for each in self.families if each.name == chain[-1].of))
        return chain


@cache
def load_tokenizers() -> Tokenizers:
    """``data/tokenizers.toml``, read when first asked for."""
    raw = tomllib.loads(Path(keledger.data.__path__[0], "tokenizers.toml").read_text(encoding="utf-8"))
    families = tuple(
        Family(
            name=row["name"],
            models=tuple(row["models"]),
            tokens={text: Fraction(tokens) for text, tokens in row.get("tokens", {}).items()},
            of=row.get("of"),
            times=_range(row.get("times", ("1", "1"))),
            one_tokenizer=row.get("one_tokenizer", True),
        )
        for row in raw["family"]
    )
    return Tokenizers(
        families, _range(raw["unlisted"]["times"]), raw["measured"]["date"], len(raw["measured"]["texts"])
    )


def _range(times: list[str] | tuple[str, str]) -> tuple[Fraction, Fraction]:
    least, most = times
    return Fraction(least), Fraction(most)
