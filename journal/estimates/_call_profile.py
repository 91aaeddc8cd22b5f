"""How many tokens the calls of one prompt take, and what such a call would cost on each model.

A prompt's profile comes from its past calls.  For another model their tokens are converted by the ratios of the two
tokenizers, which are ranges: a usual call (p50) by the middle, one that only a tenth exceeds (p90) by the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from keledger.journal._limits import INTEGER_MAX
from keledger.journal._model_limits import limits_of
from keledger.journal._money import usd_to_pico
from keledger.journal.prices import Book

from ._choice import Candidate
from ._estimate import output_prior
from ._models import ModelFacts, row_key
from ._output import ANSWERS_MIN, PastOutput, fit_output

RATIO_UNIT = 10_000
"""Ratios of tokens are whole numbers of these parts of one."""

_NO_CONTEXT: dict[str, str] = {}


class Ratio(NamedTuple):
    """What tokens of one model are multiplied by for another, at least and at most, in parts of RATIO_UNIT."""

    least: int
    most: int


Ratios = Callable[[str, str], Ratio]
"""From the tokens of one model to those of another, by their names."""


@dataclass(frozen=True, slots=True)
class CallProfile:
    """The tokens of calls: at the median and at the 90th percentile, and of all of them in sum.

    *provider* and *model* are what was called; both are None where the tokens are merely supposed, so that no
    tokenizer made them.  Tokens of input include those of a cache, those of output include reasoning.
    """

    provider: str | None
    model: str | None
    calls: int
    input_p50: int
    input_p90: int
    output_p50: int
    output_p90: int
    input_total: int = 0
    cache_read_total: int = 0
    cache_write_total: int = 0
    output_total: int = 0
    reasoning_total: int = 0

    @classmethod
    def supposed(cls, input_tokens: int, output_tokens: int) -> CallProfile:
        """A call of so many tokens, on any model."""
        return cls(None, None, 0, input_tokens, input_tokens, output_tokens, output_tokens)

    @property
    def name(self) -> str | None:
        """``PROVIDER/MODEL``; None where the tokens are supposed."""
        return f"{self.provider}/{self.model}" if self.model is not None else None

    def as_json(self) -> dict[str, Any]:
        """The figures, and which share of all input was read from a cache; null where there was none."""
        share = round(self.cache_read_total / self.input_total, 4) if self.input_total else None
        return {
            "provider": self.provider,
            "model": self.model,
            "calls": self.calls,
            "input_tokens": {"p50": self.input_p50, "p90": self.input_p90},
            "output_tokens": {"p50": self.output_p50, "p90": self.output_p90},
            "cache_read_share": share,
        }


class _Call(NamedTuple):
    """One call as it is priced: tokens of input, of these from and into a cache; of output, of these reasoning."""

    input_tokens: int
    cache_read: int
    cache_write: int
    output_tokens: int
    reasoning: int

    def usage(self) -> dict[str, int]:
        """In buckets, zeros left out."""
        buckets = {
            "input_uncached": self.input_tokens - self.cache_read - self.cache_write,
            "cache_read": self.cache_read,
            "cache_write_5m": self.cache_write,
            "output_text": self.output_tokens - self.reasoning,
            "output_reasoning": self.reasoning,
            "requests": 1,
        }
        return {bucket: quantity for bucket, quantity in buckets.items() if quantity}


def expected_costs(
    models: Iterable[ModelFacts], profiles: Sequence[CallProfile], book: Book, at_us: int, ratios: Ratios
) -> Iterator[Candidate]:
    """What a call of this profile takes and costs on each model, by the prices of *book* at an instant, standard terms.

    *profiles* has one entry for each model that the prompt was called on, or a supposed one alone.  A model with calls
    of its own is told by these: their tokens, and their shares of cache and reasoning.  Any other is told by the model
    that was called most: its tokens converted, its share read from a cache in a usual call, none in a large one, for
    another model's cache begins empty.  Raises ValueError where there is no profile.
    """
    if not profiles:
        raise ValueError("there is no profile")
    profiles = [cautious(profile, book) for profile in profiles]
    by_key = {_key(book, profile): profile for profile in sorted(profiles, key=lambda each: each.calls)}
    most_called = max(profiles, key=lambda each: each.calls)
    for model in models:
        own = by_key.get((model.provider, model.model))
        yield _candidate(model, own or most_called, own is not None, book, at_us, ratios)


def cautious(profile: CallProfile, book: Book) -> CallProfile:
    """The profile with answers as an estimate expects them, where there are too few calls to show a large one.

    One call says next to nothing of what only a tenth of all exceeds; nor do eight.  That calls have no answer at all,
    as those for embeddings, one of them shows.
    """
    is_enough = profile.calls >= ANSWERS_MIN or profile.output_p90 == 0
    if profile.provider is None or profile.model is None or is_enough:
        return profile
    limits = limits_of(book, profile.provider, profile.model)
    seen = [PastOutput(profile.input_p50, profile.output_p50)] * profile.calls
    expected = fit_output(seen, (), output_prior(limits)).estimate(profile.input_p50, limit=limits.output_limit)
    return replace(profile, output_p50=expected.p50, output_p90=max(expected.p90, profile.output_p90))


def _key(book: Book, profile: CallProfile) -> tuple[str, str] | None:
    if profile.provider is None or profile.model is None:
        return None
    return row_key(book, profile.provider, profile.model)


def _candidate(
    model: ModelFacts, profile: CallProfile, is_own: bool, book: Book, at_us: int, ratios: Ratios
) -> Candidate:
    ratio = Ratio(RATIO_UNIT, RATIO_UNIT)
    if not is_own and profile.model is not None:
        ratio = ratios(profile.model, model.model)
    middle, unit = ratio.least + ratio.most, 2 * RATIO_UNIT
    usual = _call(profile, _times(profile.input_p50, middle, unit), _times(profile.output_p50, middle, unit), is_own)
    large = _call(profile, _times(profile.input_p90, ratio.most), _times(profile.output_p90, ratio.most), is_own)
    if not is_own:
        large = large._replace(cache_read=0)
    p50_pico, p90_pico = _cost(book, model, usual, at_us), _cost(book, model, large, at_us)
    priced = p50_pico is not None and p90_pico is not None
    return Candidate(
        facts=model,
        input_tokens=large.input_tokens,
        output_tokens=large.output_tokens,
        p50_pico=p50_pico if priced else None,
        # A larger request may fall into a lower price: what a large call costs at most is no less than a usual one.
        p90_pico=max(p50_pico, p90_pico) if p50_pico is not None and p90_pico is not None else None,
        tokens_from=profile.name,
        tokens_calls=profile.calls,
        tokens_own=is_own,
        ratio=(ratio.least, ratio.most),
    )


def _times(tokens: int, parts: int, unit: int = RATIO_UNIT) -> int:
    """Tokens times a ratio, rounded up."""
    return min(-(-tokens * parts // unit), INTEGER_MAX)


def _call(profile: CallProfile, input_tokens: int, output_tokens: int, is_own: bool) -> _Call:
    """A call of so many tokens with the profile's shares; what went into a cache, and reasoning, only on the model
    itself: elsewhere they are plain input and output."""
    cache_read = _share(input_tokens, profile.cache_read_total, profile.input_total)
    cache_write = _share(input_tokens, profile.cache_write_total, profile.input_total) if is_own else 0
    reasoning = _share(output_tokens, profile.reasoning_total, profile.output_total) if is_own else 0
    return _Call(input_tokens, cache_read, min(cache_write, input_tokens - cache_read), output_tokens, reasoning)


def _share(tokens: int, part: int, whole: int) -> int:
    return tokens * part // whole if whole else 0


def _cost(book: Book, model: ModelFacts, call: _Call, at_us: int) -> int | None:
    """In picodollars; None where it has no price.  Who has no price for a cache is not known to have one."""
    for each in (call, call._replace(cache_read=0, cache_write=0)):
        cost = book.price(
            provider=model.provider, model=model.model, usage=each.usage(), at_us=at_us, context=_NO_CONTEXT
        )
        if cost["state"] == "priced":
            return usd_to_pico(cost["total_usd"])
    return None
