"""How many tokens a model takes an image for, from its width and height: ``data/image_tokens.toml``.

Each function here is one provider's published way of counting; the figures, with their sources, are in the file.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import keledger.data
from keledger.journal._tokenizers import fits, spellings

# Lengths in pixels by which the kinds of the file are told.  Sources: as in the file.
_TILES_FIT, _TILES_SHORT, _TILE = 2048, 768, 512
_PATCH = 32
_BLOCK = 28
_CROP_SMALL, _CROP, _CROP_TOKENS = 384, 768, 258


class Range(NamedTuple):
    """Tokens: as many as are expected, and how few or many it may be."""

    least: int
    likely: int
    most: int


def image_tokens(model: str, size: tuple[int, int] | None, detail: str | None) -> Range:
    """The tokens of an image of *size* (width and height in pixels; None where that is not known).

    *detail* is what the request asks for: OpenAI's ``detail`` or Gemini's ``media_resolution``, in lower case; None
    where it asks for nothing.  Three equal numbers are a rule's own; else they are of the sizes that images have.
    """
    rules = _rules()
    rule = _rule(model)
    if rule is None:
        return Range(**{name: rules["unlisted"][name] for name in Range._fields})
    if size is not None:
        tokens = _tokens(rule, size, detail)
        return Range(tokens, tokens, tokens)
    sizes = rules["unknown"]
    least, likely, most = ([_tokens(rule, (w, h), detail) for w, h in sizes[name]] for name in Range._fields)
    if rule["kind"] == "tiles" and detail in (None, "auto"):
        least.append(rule["base"])  # the model may choose low detail by itself
    return Range(min(least), max(likely), max(most))


def is_listed(model: str) -> bool:
    """Whether it is known how this model counts images."""
    return _rule(model) is not None


def _tokens(rule: dict[str, Any], size: tuple[int, int], detail: str | None) -> int:
    width, height = max(1, size[0]), max(1, size[1])
    kind = rule["kind"]
    if kind == "tiles":
        return int(rule["base"]) + (0 if detail == "low" else tiles(width, height) * int(rule["tile"]))
    if kind == "patches":
        limits = rule[detail if detail in rule else rule["auto"]]
        return math.ceil(patches(width, height, limits["side"], limits["patches"]) * float(rule["times"]))
    if kind == "blocks":
        return blocks(width, height, rule["side"], rule["tokens"])
    if kind == "crops":
        return _CROP_TOKENS * crops(width, height)
    return int(rule[detail if detail in rule else rule["auto"]])


def tiles(width: int, height: int) -> int:
    """OpenAI's tiles of 512 x 512, after the image was made to fit 2048 x 2048 and 768 at the shorter side."""
    scale = min(1.0, _TILES_FIT / max(width, height))
    scale = min(scale, _TILES_SHORT / min(width, height))
    return _cover(max(1, math.floor(width * scale)), max(1, math.floor(height * scale)), _TILE)


def patches(width: int, height: int, side_max: int, patches_max: int) -> int:
    """OpenAI's patches of 32 x 32, after the image was made to fit a square and a number of patches."""
    scale = min(1.0, side_max / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    if _cover(width, height, _PATCH) <= patches_max:
        return _cover(width, height, _PATCH)
    shrink = math.sqrt(_PATCH**2 * patches_max / (width * height))
    wide, high = width * shrink / _PATCH, height * shrink / _PATCH
    shrink *= min(max(1, math.floor(wide)) / wide, max(1, math.floor(high)) / high, 1.0)
    shrunk = max(1, math.floor(width * shrink + 1e-9)), max(1, math.floor(height * shrink + 1e-9))
    return min(patches_max, _cover(*shrunk, _PATCH))


def blocks(width: int, height: int, side_max: int, tokens_max: int) -> int:
    """Anthropic's blocks of 28 x 28 in the largest image of the same form that keeps to both limits."""
    longer, shorter = max(width, height), min(width, height)
    longest, too_long = 1, min(longer, side_max) + 1
    while too_long - longest > 1:
        middle = (longest + too_long) // 2
        if _cover(middle, max(1, round(middle * shorter / longer)), _BLOCK) <= tokens_max:
            longest = middle
        else:
            too_long = middle
    return _cover(longest, max(1, round(longest * shorter / longer)), _BLOCK)


def crops(width: int, height: int) -> int:
    """Google's crops of 768 x 768; one for what is no larger than 384 x 384."""
    return 1 if max(width, height) <= _CROP_SMALL else _cover(width, height, _CROP)


def _cover(width: int, height: int, square: int) -> int:
    return -(-width // square) * -(-height // square)


def _rule(model: str) -> dict[str, Any] | None:
    names = spellings(model)
    return next((rule for rule in _rules()["rule"] if fits(names, tuple(rule["models"]))), None)


@cache
def _rules() -> dict[str, Any]:
    return tomllib.loads(Path(keledger.data.__path__[0], "image_tokens.toml").read_text(encoding="utf-8"))
