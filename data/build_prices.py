"""Make the shipped list layer and the table of names from the installed genai-prices.

``python data/build_prices.py`` (with keledger installed, and the extra ``[prices]``) writes into ``data/prices/``:

- ``genai-prices-<version>.jsonl``, the list flattened to cells, and beside it a report of what a reader of the list
  should know: values rounded to the grid, empty price sets, prices and rules that have no place here;
- ``names.jsonl``, the list's matching rules, told more strictly, merged with ``name_rules.json``;
- ``book.json``, the manifest of the shipped book: ``corrections.jsonl`` above the list, and the names.

The reading is that of ``keledger prices update``.  The same genai-prices and rules give the same bytes.
``docs/prices.md`` tells the formats and the reasons.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keledger.journal.prices import BookManifest, LayerReference, parse_header, write_layer
from keledger.journal.prices.sources import RELEASED, Imported, ListNotes, installed_version, read_installed

FOLDER = Path(__file__).parent / "prices"


def build(rules: Mapping[str, Any], corrections: bytes) -> dict[str, bytes]:
    """The files by their names, from the installed genai-prices, *rules* and the *corrections* layer."""
    version = installed_version()
    if version not in RELEASED:
        raise SystemExit(f"genai-prices {version} is new here: add the day of its release to RELEASED")
    read = read_installed(rules, RELEASED[version])
    layer = write_layer(read.layer.header, read.layer.cells)
    stem = read.layer.header.name.replace(" ", "-")
    manifest = BookManifest((_reference(corrections), _reference(layer)), hashlib.sha256(read.names).hexdigest())
    return {
        f"{stem}.jsonl": layer,
        f"{stem}.report.txt": report(read.layer, read.notes),
        "names.jsonl": read.names,
        "book.json": manifest.content,
    }


def report(layer: Imported, notes: ListNotes) -> bytes:
    """What a reader of the list should know, as text."""
    prices = sum(len(cell.usd_per_million) for cell in layer.cells)
    models = {(cell.provider, cell.model) for cell in layer.cells}
    sections = {
        f"{layer.header.name}: {len(layer.cells)} cells with {prices} prices of {len(models)} models": [],
        "Off the grid of 1e-6 USD per million units, rounded half-even": notes.rounded,
        "Empty price sets: unknown, so calls are unpriced (genai-prices computes 0)": notes.empty,
        "Empty price sets of ids ending in :free: an explicit 0 for tokens": notes.free,
        "Prices without a bucket, left out": notes.without_bucket,
        "Matching rules that cannot be told as names, left out": notes.untold_rules,
        "Open matching rules, told more strictly: only a date or revision may follow": notes.strict_rules,
    }
    text = "\n".join(
        "\n".join([f"{title} ({len(entries)})" if entries else title, *(f"  {entry}" for entry in entries), ""])
        for title, entries in sections.items()
    )
    return text.encode()


def _reference(layer: bytes) -> LayerReference:
    header = parse_header(layer)
    return LayerReference(header.kind, header.name, hashlib.sha256(layer).hexdigest(), header.date)


def main() -> None:
    """Write the files and say which of them changed."""
    rules = json.loads((FOLDER / "name_rules.json").read_text(encoding="utf-8"))
    for name, content in build(rules, (FOLDER / "corrections.jsonl").read_bytes()).items():
        path = FOLDER / name
        changed = not path.exists() or path.read_bytes() != content
        path.write_bytes(content)
        sys.stdout.write(f"{name}: {len(content)} bytes, {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main()
