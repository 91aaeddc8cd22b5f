"""An estimate: what one call will take and cost, how that was counted, and from how many past calls it was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from keledger.journal._model_limits import ModelLimits, limits_of
from keledger.journal._time import format_time
from keledger.journal.budgets._bounds import REASONS

from ._accuracy import Stated, lately_off
from ._calibration import InputEstimate, InputFit, InputPrior, Pair, fit_input
from ._cost import CostEstimate, Terms, estimate_cost
from ._counted import Counted
from ._output import OutputEstimate, OutputFit, OutputPrior, PastOutput, estimate_output, fit_output

ESTIMATOR_VERSION = 1
"""Of the rules by which tokens that were counted become an estimate.  Every estimate in the journal names it, so that
it can be told how good which rules were; goes up whenever an estimate would come out otherwise."""

CACHED_CALLS = 40
"""Of so many last calls the median share of input that came from a cache is expected again."""

_PRIORS = Path(__file__).parents[2] / "data" / "hold_priors.toml"
_RATIO_STEP = Decimal("0.000001")


class Past(NamedTuple):
    """What past calls teach of one prompt version and model, all oldest first.

    ``pairs`` and ``outputs`` are of the prompt version and model, ``model_pairs`` and ``model_outputs`` of all of the
    model's calls; ``cached`` are of the prompt's last calls the input tokens, and how many of them a cache gave;
    ``stated`` is what was told of its last calls before they were made.
    """

    pairs: Sequence[Pair] = ()
    model_pairs: Sequence[Pair] = ()
    outputs: Sequence[PastOutput] = ()
    model_outputs: Sequence[PastOutput] = ()
    cached: Sequence[tuple[int, int]] = ()
    stated: Sequence[Stated] = ()


class Learned(NamedTuple):
    """What was learned for one prompt version and model: made once, asked for any number of requests."""

    terms: Terms
    input: InputFit
    output: OutputFit
    cached_permille: int
    limits: ModelLimits
    past: Past
    answers: bool
    """Whether the model writes anything."""


class Estimate(NamedTuple):
    """What one call is expected to take and to cost."""

    learned: Learned
    counted: Counted
    input: InputEstimate
    output: OutputEstimate
    cost: CostEstimate
    cached_tokens: int
    notes: tuple[str, ...]
    choices: int = 1
    """How many answers the request asks for."""

    @property
    def terms(self) -> Terms:
        """Of which model, and by which prices."""
        return self.learned.terms

    @property
    def method(self) -> str:
        """How it was counted, and by what that was multiplied: ``proxy:o200k_base*1.19 (n=34)``."""
        if self.input.basis == "prior" and self.input.ratio == 1:
            return self.counted.method
        return method_of(self.counted.method, self.input.ratio, self.input.calls)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values: money as text, nothing left out that is not known."""
        return {
            "provider": self.terms.provider,
            "model": self.terms.model,
            "method": self.method,
            "counted_tokens": self.counted.tokens,
            "input_tokens": _input(self.input) | {"cached": self.cached_tokens},
            "output_tokens": _output(self.output),
            "cost_usd": {"p50": self.cost.p50_usd, "p90": self.cost.p90_usd, "max": self.cost.max_usd},
            "cost_state": self.cost.state,
            "notes": list(self.notes),
        }

    def fields(self) -> dict[str, Any]:
        """The fields of ``estimate.made`` that say what was told; those that say of which call are the caller's."""
        cost = self.cost._asdict() | {"missing": list(self.cost.missing) or None}
        return {
            "estimated_at": format_time(self.terms.at_us),
            "provider": self.terms.provider,
            "model": self.terms.model,
            "calls": 1,
            "method": self.counted.method,
            "counted_tokens": self.counted.tokens,
            "estimator": ESTIMATOR_VERSION,
            "input_tokens": {
                **_input(self.input),
                **({"cache_read": self.cached_tokens} if self.cached_tokens else {}),
                "ratio": ratio_of(self.input.p50, self.counted.tokens),
            },
            "output_tokens": {name: value for name, value in _output(self.output).items() if value is not None},
            "cost": {name: value for name, value in cost.items() if value is not None},
            **({"pricing_context": dict(self.terms.context)} if self.terms.context else {}),
        }


def learn(terms: Terms, prior: InputPrior, past: Past) -> Learned:
    """What past calls teach for a model under these terms; *prior* is what its tokenizer is taken for without any."""
    limits = limits_of(terms.book, terms.provider, terms.model)
    fit = fit_input(past.pairs, past.model_pairs, prior)
    if past.stated:  # what people were told, rather than what they would have been told by the fit
        fit = fit._replace(lately_off=lately_off(past.stated))
    return Learned(
        terms,
        fit,
        fit_output(past.outputs, past.model_outputs, output_prior(limits)),
        _cached_permille(past.cached),
        limits,
        past,
        terms.answers(),
    )


def estimate(learned: Learned, counted: Counted, shape: Mapping[str, Any]) -> Estimate:
    """What a call will take for whose request so much was counted; *shape* is what is told of it (``shape_of``)."""
    taken = learned.input.estimate(counted.tokens)
    answer = learned.output.estimate(taken.p50, limit=_limit(learned.limits, shape, taken))
    choices = shape.get("choices", 1)
    if not learned.answers:
        answer = answer._replace(p50=0, p90=0, max=0)
    elif choices > 1:
        answer = _times(answer, choices)
    cached = taken.p50 * learned.cached_permille // 1000
    cost = estimate_cost(learned.terms, taken, answer, cached_tokens=cached)
    notes = (*counted.notes, *_notes(learned, shape, taken, cost))
    return Estimate(learned, counted, taken, answer, cost, cached, notes, choices)


def output_prior(limits: ModelLimits) -> OutputPrior:
    """What is assumed of the answers of a model that reasons, or does not; ``data/hold_priors.toml`` has the source."""
    kind = _output_priors()["plain" if limits.reasons is False else "reasoning"]
    return OutputPrior(kind["median_tokens"], kind["sigma"])


def output_quantiles(reasons: bool) -> tuple[int, int]:
    """The p50 and p90 of answers of a model of which nothing but whether it *reasons* is known."""
    found = estimate_output(0, (), (), output_prior(ModelLimits(None, None, reasons, None, None)), limit=None)
    return found.p50, found.p90


def _limit(limits: ModelLimits, shape: Mapping[str, Any], taken: InputEstimate) -> int | None:
    """The longest answer: by the request, the model, or what its context window leaves; None where nobody knows."""
    room = None if limits.context_window is None else max(limits.context_window - taken.p50, 0)
    known = [limit for limit in (shape.get("max_output_tokens"), limits.output_limit) if limit is not None]
    return min(known) if known else room


def _times(answer: OutputEstimate, choices: int) -> OutputEstimate:
    """For several answers at once; the histories of most prompts are of one."""
    most = None if answer.max is None else answer.max * choices
    return answer._replace(p50=answer.p50 * choices, p90=answer.p90 * choices, max=most)


def _notes(learned: Learned, shape: Mapping[str, Any], taken: InputEstimate, cost: CostEstimate) -> list[str]:
    notes = []
    if taken.lately_off:
        notes.append(taken.lately_off)
    window = learned.limits.context_window
    if window is not None and taken.p50 > window:
        notes.append(f"that is more than the context window of {learned.terms.model} has: {window:,} tokens")
    if shape.get("unbounded") is not None:
        why = REASONS.get(shape["unbounded"], "it lets the provider run tools of its own")
        notes.append(f"what is billed on top is not in this: {why}")
    if cost.state == "unpriced":
        notes.append(_unpriced(learned.terms, cost))
    return notes


def _unpriced(terms: Terms, cost: CostEstimate) -> str:
    if terms.rates() or not terms.context:
        return f"the price book has no price of {terms.model} for {', '.join(cost.missing)}"
    context = ", ".join(f"{name}={value}" for name, value in sorted(terms.context.items()))
    return f"the price book has no price of {terms.model} with {context}"


def _cached_permille(cached: Sequence[tuple[int, int]]) -> int:
    """The median share of the input that a cache gave; nothing where too few calls are known to tell."""
    shares = sorted(1000 * min(read, taken) // taken for taken, read in cached[-CACHED_CALLS:] if taken > 0)
    return shares[(len(shares) - 1) // 2] if shares else 0


def _input(taken: InputEstimate) -> dict[str, Any]:
    return {"p5": taken.p5, "p50": taken.p50, "p95": taken.p95, "basis": taken.basis, "calls": taken.calls}


def _output(answer: OutputEstimate) -> dict[str, Any]:
    return {"p50": answer.p50, "p90": answer.p90, "max": answer.max, "basis": answer.basis, "calls": answer.calls}


def method_of(counted_by: str, ratio: float, calls: int) -> str:
    """How tokens were counted, by what that was multiplied, and from how many past calls that was learned."""
    return f"{counted_by}*{ratio:.2f} (n={calls})"


def ratio_of(p50_tokens: int, counted_tokens: int) -> str:
    """What is expected over what was counted, as a decimal string."""
    if not counted_tokens:
        return "0"
    ratio = (Decimal(p50_tokens) / counted_tokens).quantize(_RATIO_STEP, ROUND_HALF_EVEN)
    return f"{ratio.normalize():f}"


@cache
def _output_priors() -> dict[str, Any]:
    import tomllib

    priors: dict[str, Any] = tomllib.loads(_PRIORS.read_text(encoding="utf-8"))["output"]
    return priors
