"""Make the table of models' limits from the map of models in a wheel of LiteLLM, and the installed genai-prices.

``pip download --no-deps litellm==1.109.1``, then ``python data/build_model_limits.py WHEEL`` (with keledger installed,
and the extra ``[prices]``) writes ``data/model_limits.jsonl``: a line that says where it comes from, then one line a
model, sorted, with its context window, its output limit, and whether it reasons before it answers, sees images
(``vision``) and calls functions (``tools``).  It holds the models that write text, of the providers of the shipped
price book, under the book's own names.  The same wheel, genai-prices and book give the same bytes.

LiteLLM is the only one with output limits.  Context windows come from both: LiteLLM gives some as what an input may
have, and some too low.  Of several figures for one model the largest is taken, for they serve as upper bounds.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genai_prices.data_snapshot import get_snapshot

from keledger.journal.prices import parse_layer, shipped_book, shipped_manifest
from keledger.journal.prices._names import Names
from keledger.journal.prices.sources import installed_version
from keledger.journal.prices.sources._litellm import model_of

MAP = "litellm/model_prices_and_context_window_backup.json"
FILE = Path(__file__).parent / "model_limits.jsonl"

FIGURES = ("context_window", "output_limit")

CAPABILITIES = {"vision": "supports_vision", "tools": "supports_function_calling"}
"""What a line tells of a model beside its figures, and the map's word for it."""

MODES = ("chat", "responses", "completion")
"""The kinds of models that write text."""

WIDER = {"anthropic": {"claude-sonnet-4-5": 1_000_000, "claude-sonnet-4-0": 1_000_000, "claude-sonnet-4-2": 1_000_000}}
"""Windows that a setting of the request opens, by how the names of the models begin: Anthropic's header
``context-1m-2025-08-07`` (platform.claude.com, "Context windows", read in 2026-11)."""

READ_ON = {"1.109.1": "2026-11-22"}
"""The days on which the maps of releases were taken from their wheels; they do not say their own."""


def build(version: str, entries: Mapping[str, Any], license_text: str) -> bytes:
    """The table's bytes, from the *entries* of a LiteLLM release's map and the text of its licence."""
    header = {
        "keledger_limits": 1,
        "source": f"litellm {version} (PyPI, MIT), {MAP}; context windows also from genai-prices {installed_version()} "
        "(PyPI, MIT)",
        "date": READ_ON[version],
        "license": license_text,
    }
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    _take_litellm(entries, found)
    _take_genai_prices(found)
    for provider, model in found:
        for beginning, window in WIDER.get(provider, {}).items():
            if model.startswith(beginning):
                _enlarge(found[provider, model], {"context_window": window})
    lines: list[Mapping[str, Any]] = [header]
    for provider, model in sorted(found):
        row = found[provider, model]
        told = {"provider": provider, "model": model, **{name: row[name] for name in FIGURES if row.get(name)}}
        lines.append({**told, **{name: bool(row[name]) for name in ("reasons", *CAPABILITIES) if name in row}})
    return "".join(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n" for line in lines).encode()


def _take_litellm(entries: Mapping[str, Any], found: dict[tuple[str, str], dict[str, int]]) -> None:
    files = shipped_book()[1]
    names = Names(files[shipped_manifest().names], "the shipped names")
    layers = [parse_layer(files[layer.sha256])[1] for layer in shipped_manifest().layers]
    providers = {cell.provider for cells in layers for cell in cells}
    for key, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("mode") not in MODES:
            continue
        figures = {"context_window": _tokens(entry, "max_input_tokens")}
        figures["output_limit"] = _tokens(entry, "max_output_tokens")
        named = model_of(names, entry["litellm_provider"], key)
        if named[0] in providers and any(figures.values()):
            told = {name: int(entry[word]) for name, word in CAPABILITIES.items() if isinstance(entry.get(word), bool)}
            _enlarge(found[named], {**figures, "reasons": int(entry.get("supports_reasoning") is True), **told})


def _take_genai_prices(found: dict[tuple[str, str], dict[str, int]]) -> None:
    for provider in get_snapshot().providers:
        for model in provider.models:
            if model.context_window:
                _enlarge(found[provider.id, model.id.lower()], {"context_window": model.context_window})


def _enlarge(row: dict[str, int], figures: Mapping[str, int]) -> None:
    for name, figure in figures.items():
        row[name] = max(figure, row.get(name, 0))


def _tokens(entry: Mapping[str, Any], name: str) -> int:
    """A count of tokens of the map, which has some as text or with decimals; 0 where it has none."""
    try:
        return max(int(entry.get(name) or 0), 0)
    except (TypeError, ValueError):
        return 0


def main() -> None:
    """Write the file and say whether it changed."""
    wheel = Path(sys.argv[1])
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        entries = json.loads(archive.read(MAP))
        license_text = archive.read(f"litellm-{version}.dist-info/licenses/LICENSE").decode()
    content = build(version, entries, license_text)
    changed = not FILE.exists() or FILE.read_bytes() != content
    FILE.write_bytes(content)
    sys.stdout.write(f"{FILE.name}: {len(content)} bytes, {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main()
