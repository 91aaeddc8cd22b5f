"""The fewest tokens that a prompt cache takes, by model: ``data/cache_minimums.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import keledger.data
from keledger.journal._tokenizers import fits, spellings


class CacheMinimum(NamedTuple):
    """The fewest *tokens* that are cached for models whose name fits one of the patterns *models*."""

    models: tuple[str, ...]
    tokens: int


@cache
def load_cache_minimums() -> tuple[CacheMinimum, ...]:
    """The file's families in their order, read when first asked for."""
    raw = tomllib.loads(Path(keledger.data.__path__[0], "cache_minimums.toml").read_text(encoding="utf-8"))
    return tuple(CacheMinimum(tuple(row["models"]), row["tokens"]) for row in raw["family"])


def cache_minimum_tokens(model: str) -> int:
    """The fewest tokens that a cache of *model* takes; 0 where none is known."""
    return next((family.tokens for family in load_cache_minimums() if fits(spellings(model), family.models)), 0)
