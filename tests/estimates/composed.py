"""Estimates made of what a test says was counted and learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keledger.journal.estimates import (
    Counted,
    Estimate,
    InputPrior,
    Learned,
    Pair,
    Past,
    PastOutput,
    Terms,
    estimate,
    learn,
)
from keledger.journal.prices import Book

AT_US = 1_795_000_000_000_000
"""2026-11-18."""

CERTAIN = InputPrior(1.0, 1.0, 1.0)
METHOD = "tiktoken:o200k_base"


def terms(book: Book, name: str = "openai/gpt-5-mini", cache_write: str = "none", **context: str) -> Terms:
    """The terms of a model."""
    provider, _, model = name.partition("/")
    return Terms(book, provider, model, AT_US, context, cache_write)


def past(*, calls: int = 20, taken: int = 100, answered: int = 50, cached: int = 0) -> Past:
    """Calls that were all alike, and counted as they were billed."""
    pairs = [Pair(taken, taken, "p")] * calls
    outputs = [PastOutput(taken, answered)] * calls
    return Past(pairs, pairs, outputs, outputs, [(taken, cached)] * calls)


def learned(terms: Terms, known: Past | None = None) -> Learned:
    """What calls that were all alike teach."""
    return learn(terms, CERTAIN, past() if known is None else known)


def estimated(known: Learned, tokens: int = 100, shape: Mapping[str, Any] | None = None, *notes: str) -> Estimate:
    """The estimate of a call for which so much was counted."""
    return estimate(known, Counted(tokens, METHOD, 1.0, 1.0, 1.0, notes), shape or {})
