"""Two independent sources on models of four makers: where both know a model, they ask the same on standard terms.

The day is that of the comparison in which all of OpenAI's 69 models, Anthropic's 33 and xAI's 28 of 29 agreed with
model-prices 0.0.5, and Google's but for pictures.  What differs is named here with its reason.
"""

from __future__ import annotations

import pytest

from keledger.journal.prices import Book

from .conftest import Prices, book_of, excerpt, ones, prices_of, read

AT = "2026-10-15T12:00:00Z"
MAKERS = ("openai", "anthropic", "google", "x-ai")
USAGE = ones("input_uncached output_text")

DIFFERENT = {
    ("litellm", "openai", "gpt-4o-mini-tts"): "its text output is 12 in the list",
    ("litellm", "x-ai", "grok-code-fast-1"): "the name has moved on to a dearer model there",
    ("model_prices", "google", "gemini-2.5-flash-image"): "its output price is that of pictures",
    ("model_prices", "x-ai", "grok-4.20-multi-agent-beta-latest"): "the list knows its later price",
}


def compared(source: str, shipped: Book) -> dict[tuple[str, str], tuple[Prices, Prices]]:
    """The prices by the source and by the list of each model that both know."""
    layer = read(excerpt(source), valid_from_us=0)
    book = book_of(layer)
    found = {}
    for provider, model in sorted({(cell.provider, cell.model) for cell in layer.cells if not cell.context}):
        name = f"{provider}/{model}"
        if provider in MAKERS and shipped.match(provider, model) is not None:
            theirs, ours = (prices_of(each, name, USAGE, AT) for each in (book, shipped))
            both = [bucket for bucket in USAGE if theirs[bucket] is not None and ours[bucket] is not None]
            found[provider, model] = ({b: theirs[b] for b in both}, {b: ours[b] for b in both})
    return found


@pytest.mark.parametrize(("source", "least"), [("litellm", 35), ("model_prices", 28)])
def test_standard_prices_are_the_lists(shipped: Book, source: str, least: int) -> None:
    found = compared(source, shipped)
    assert len(found) >= least
    different = {(source, *name) for name, (theirs, ours) in found.items() if theirs != ours}
    assert different == {name for name in DIFFERENT if name[0] == source}
    assert {name[0] for name in found} == set(MAKERS)
    assert sum(len(theirs) for theirs, _ in found.values()) >= 2 * least - 4
