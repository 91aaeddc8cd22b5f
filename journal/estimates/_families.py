"""Which vocabulary counts for a model, and what its provider makes of that: ``data/estimate_priors.toml``.

The patterns of models' names, and what was measured of their tokenizers, are those of ``data/tokenizers.toml``.
"""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import keledger.data
from keledger.journal._tokenizers import Family, Tokenizers, fits, load_tokenizers, spellings

PRIORS_KEPT_MAX = 256
"""How many models' priors are kept once looked up: a list of requests asks for the same one for each."""

FAMILY_OF_VOCABULARY = {"o200k_base": "o200k", "cl100k_base": "cl100k"}
"""The family in ``data/tokenizers.toml`` of which each vocabulary is."""


class Prior(NamedTuple):
    """What is taken for granted of a model's input.

    A text's tokens by *vocabulary* times *ratio* are the median; times *least* and *most* more, the 5th and 95th
    percentile.  *exact* says that it is the model's own vocabulary.  The rest are tokens that the provider adds: to
    each request, to each message, once where there are tools, for each tool.
    """

    name: str
    vocabulary: str
    exact: bool
    ratio: float
    least: float
    most: float
    request: int
    message: int
    tools: int
    tool: int


class Priors(NamedTuple):
    """The file: its priors as they stand there, and the factors that hold for all of them."""

    rows: tuple[dict[str, Any], ...]
    overhead: tuple[float, float]
    bytes: tuple[float, float]


@lru_cache(maxsize=PRIORS_KEPT_MAX)
def prior_of(provider: str, model: str) -> Prior:
    """The first prior that fits a model, whatever stands before its name (``openai/``) or behind it (a date)."""
    tokenizers = load_tokenizers()
    family = tokenizers.family(model)
    names = spellings(model)
    row = next(row for row in load_priors().rows if _holds(row, family, names, provider.strip().lower()))
    ratio = float(row["ratio"])
    least, most = _floats(row["band"]) if "band" in row else _measured(tokenizers, row["vocabulary"], family, ratio)
    return Prior(
        name=row["name"],
        vocabulary=row["vocabulary"],
        exact=row.get("exact", False),
        ratio=ratio,
        least=least,
        most=most,
        request=row.get("request", 0),
        message=row.get("message", 0),
        tools=row.get("tools", 0),
        tool=row.get("tool", 0),
    )


@cache
def load_priors() -> Priors:
    """``data/estimate_priors.toml``, read when first asked for."""
    raw = tomllib.loads(Path(keledger.data.__path__[0], "estimate_priors.toml").read_text(encoding="utf-8"))
    return Priors(tuple(raw["prior"]), _floats(raw["overhead"]["band"]), _floats(raw["bytes"]["band"]))


def _holds(row: dict[str, Any], family: Family | None, names: list[str], provider: str) -> bool:
    if "families" in row and (family is None or family.name not in row["families"]):
        return False
    if "models" in row and not fits(names, tuple(row["models"])):
        return False
    return "providers" not in row or provider in row["providers"]


def _measured(tokenizers: Tokenizers, vocabulary: str, family: Family | None, ratio: float) -> tuple[float, float]:
    """The band of a family whose tokens by kind of text are known, around the *ratio* that is expected."""
    if family is None:
        raise ValueError("a prior of models that no family has needs a band of its own")
    counts = next(each for each in tokenizers.families if each.name == FAMILY_OF_VOCABULARY[vocabulary])
    least, most = tokenizers.between(counts, family)
    return float(least) / ratio, float(most) / ratio


def _floats(band: list[str]) -> tuple[float, float]:
    least, most = band
    return float(least), float(most)
