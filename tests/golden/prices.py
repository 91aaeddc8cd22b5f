"""The prices of the golden journal: those of no provider, in every shape that there is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

from keledger.journal import _adopting, parse_time
from keledger.journal.prices import (
    BookManifest,
    Cell,
    LayerHeader,
    LayerReference,
    shipped_book,
    shipped_manifest,
    write_layer,
)

OCTOBER_US = parse_time("2026-10-01T00:00:00Z")
MADE = "made for the golden journal; the prices are those of no provider"
NAMES = ("anthropic", "aws", "google", "mistral", "openai", "openrouter")


def _text(price: str, cached: str, output: str) -> dict[str, str | None]:
    return {"input_uncached": price, "cache_read": cached, "output_text": output, "output_reasoning": output}


LIST = (
    Cell("anthropic", "claude-golden", "", {**_text("1", "0.1", "5"), "cache_write_5m": "1.25", "cache_write_1h": "2"}),
    Cell("anthropic", "claude-golden", "processing=batch", _text("0.5", "0.05", "2.5")),
    Cell("google", "gemini-golden", "", {**_text("1.25", "0.125", "10"), "input_audio": "3", "input_image": "1.25"}),
    Cell("google", "gemini-golden", "", {**_text("2.5", "0.25", "15"), "input_image": "2.5"}, input_over=200_000),
    Cell("mistral", "ocr-golden", "", {"input_pages": "1000", "requests": "10"}),
    Cell("openai", "gpt-golden", "", {**_text("0.25", "0.025", "2"), "web_searches": "10000"}, valid_to_us=OCTOBER_US),
    Cell(
        "openai", "gpt-golden", "", {**_text("0.3", "0.03", "2.4"), "web_searches": "10000"}, valid_from_us=OCTOBER_US
    ),
    Cell("openai", "gpt-golden", "processing=batch", _text("0.125", "0.0125", "1"), valid_from_us=OCTOBER_US),
    Cell("openai", "gpt-golden", "service_tier=priority", _text("0.5", "0.05", "4")),
    Cell("openai", "voice-golden", "", {"input_audio": "32", "cache_read_audio": "0.4", "output_audio": "64"}),
    Cell("openai", "whisper-golden", "", {"input_audio_ms": "0.1"}),
    Cell("openrouter", "golden:free", "", dict.fromkeys(("input_uncached", "output_text"), "0")),
)

USER = (
    # Negotiated, dearer by day on weekdays, and nothing known of priority any more.
    Cell("openai", "gpt-golden", "", _text("0.2", "0.02", "1.6"), minute_to=540),
    Cell("openai", "gpt-golden", "", _text("0.2", "0.02", "1.6"), minute_from=540, weekdays="0000011"),
    Cell("openai", "gpt-golden", "", _text("0.22", "0.022", "1.76"), minute_from=540, weekdays="1111100"),
    Cell("openai", "gpt-golden", "service_tier=priority", dict.fromkeys(("input_uncached", "output_text"), None)),
)

IMPORTED = (
    Cell("anthropic", "claude-golden", "", _text("0.9", "0.09", "4.5")),
    Cell("mistral", "in-house-golden", "", _text("0.000001", "0", "1")),
    Cell("openai", "voice-golden", "", {"output_text": "16"}),
)

LAYERS: Mapping[str, bytes] = {
    "list": write_layer(LayerHeader("list", "golden list", MADE, "2026-08-31"), sorted(LIST, key=Cell.sort_key)),
    "user": write_layer(LayerHeader("user", "my prices", MADE, "2026-10-05"), sorted(USER, key=Cell.sort_key)),
    "imported": write_layer(LayerHeader("imported", "golden import", MADE, "2026-10-12"), IMPORTED),
}


def names() -> bytes:
    """A table of names: the shipped rules for all providers, and the models that are called here by other names."""
    _, files = shipped_book()
    head = json.loads(files[shipped_manifest().names].partition(b"\n")[0])
    lines: list[dict[str, object]] = [head | {"name": "golden names", "date": "2026-08-31"}]
    for provider in NAMES:
        lines.append({"provider": provider, **({"fallbacks": ["anthropic"]} if provider == "aws" else {})})
        lines += [
            {"provider": provider, "model": cell.model, "exact": [cell.model], "starts_with": [cell.model]}
            for cell in {cell.model: cell for cell in LIST if cell.provider == provider}.values()
        ]
    return b"".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for line in lines)


@contextmanager
def shipped_instead() -> Iterator[None]:
    """Let the golden list be the one that comes with the program."""
    table, layer = names(), LAYERS["list"]
    reference = LayerReference("list", "golden list", hashlib.sha256(layer).hexdigest(), "2026-08-31")
    manifest = BookManifest((reference,), hashlib.sha256(table).hexdigest())
    files = {reference.sha256: layer, manifest.names: table}
    with (
        patch.object(_adopting, "shipped_manifest", lambda: manifest),
        patch.object(_adopting, "shipped_book", lambda: (manifest.content, files)),
    ):
        yield
