"""LiteLLM's map of models (``model_prices_and_context_window.json``).

Figures are USD a token, page, search or second, without dates.  A key says its conditions by what follows it:
``_above_200k_tokens`` for a request above that size (xAI's from that size on), ``_above_1hr`` for a cache write kept
for an hour, ``_batches``, ``_flex``, ``_priority``, … for other terms.  What a key leaves open is taken as LiteLLM's
own cost calculation takes it (1.109.1): cached input without a price is input, off-peak rates stand for all sizes.
But other terms have only the prices that are listed for them.  LiteLLM falls back to the standard ones, or to half of
these, which may be too low.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from keledger.journal.prices._cells import Cell
from keledger.journal.prices._names import Names

from ._imported import Notes, Reading
from ._litellm_model import ModelPrices, Skipped

NAME = "litellm"
SOURCE = "github.com/BerriAI/litellm, model_prices_and_context_window.json (MIT), as saved by the user"

_PROVIDERS = {
    "text-completion-openai": "openai",
    "text-completion-codestral": "codestral",
    "azure_text": "azure",
    "bedrock_mantle": "aws",
}
"""LiteLLM's names that no table of names knows.  What stands behind a hyphen in ``vertex_ai-…`` is a kind of model."""

_KIND_OF_MODEL = re.compile(r"(vertex_ai|fireworks_ai)-.+")


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether this is LiteLLM's map."""
    return any(isinstance(entry, dict) and "litellm_provider" in entry for entry in raw.values())


def known_on(_raw: Mapping[str, Any]) -> str | None:
    """The day on which the prices were known: the map does not say."""
    return None


def read(raw: Mapping[str, Any], reading: Reading) -> Iterator[Cell]:
    """The cells of all models, from the reading's day on.

    Where two entries are the same model to keledger, as Google's by way of Gemini and of Vertex AI, the first in the
    order of :func:`_preference` is taken.
    """
    notes = reading.notes
    entries = defaultdict(list)
    for key, entry in raw.items():
        if key == "sample_spec" or not isinstance(entry, dict):
            continue
        if not isinstance(entry.get("litellm_provider"), str):
            notes.skipped.append(f"litellm {key}: it has no provider")
            continue
        entries[model_of(reading.names, entry["litellm_provider"], key)].append((key, entry))
    for (provider, model), found in entries.items():
        first, taken = "", list[Cell]()
        for key, entry in sorted(found, key=lambda each: _preference(*each)):
            unnoted = Notes()
            try:
                cells = list(ModelPrices(entry, provider, model, reading._replace(notes=unnoted)).cells())
            except Skipped as error:
                notes.skipped.extend(unnoted.skipped)
                notes.skipped.append(f"{provider} {model} ({key}): {error}")
                continue
            if not first:
                first, taken = key, cells
                yield from cells
                for kept, new in zip(_lists(notes), _lists(unnoted), strict=True):
                    kept.extend(new)
            elif cells != taken:
                notes.skipped.append(f"{provider} {model} ({key}): {first} is this model already, at other prices")


def _lists(notes: Notes) -> tuple[list[str], list[str], list[str]]:
    return notes.rounded, notes.skipped, notes.without_bucket


def _preference(key: str, entry: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """The maker's own interface before a cloud's, a name with its provider before one without."""
    return entry["litellm_provider"].startswith("vertex_ai"), "/" not in key, key


def model_of(names: Names, litellm_provider: str, key: str) -> tuple[str, str]:
    """The provider and model of the book."""
    kind = _KIND_OF_MODEL.fullmatch(litellm_provider)
    name = kind[1] if kind is not None else _PROVIDERS.get(litellm_provider, litellm_provider)
    head, slash, rest = key.partition("/")
    if slash and head == litellm_provider:
        key = rest
    provider, spellings = names.spellings(name, key)
    return provider, spellings[-1] or key.lower()
