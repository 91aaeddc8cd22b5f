"""How many tokens an answer will have: a distribution learned from past answers, told at two of its places.

No answer's length follows from its prompt, so nothing here is told as one number (arXiv 2604.07931).  Ranks among the
last answers cover as they say however those are distributed; a log-normal stands in where there are too few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from keledger.journal._quantiles import log_normal, rank_of

ANSWERS = 300
"""Answers of a prompt that are looked at: measured on real traces, 30 cover as well for P50 and P90, 300 for P99."""

NEAREST_OF = 1_000
NEAREST = 100
"""From ``ANSWERS`` on, the P90 is that of so many calls whose prompts had the nearest sizes, of the last thousand:
measured on real conversations, the loss of the P90 falls from 25.9 to 14.8."""

ANSWERS_MIN = 9
"""The fewest of which the greatest covers nine tenths."""

BELIEVED_ANSWERS = 20
"""Of so many of the last answers the log-normal is made."""

PRIOR_ANSWERS = 4
"""So many answers the prior counts for: measured, it covers 92 to 99 % after 1 to 5 even where it is off by two."""

MODEL_ANSWERS_MIN = 9
"""From so many of a model on, they say where the prior lies."""

TOKENS_MAX = 10**12
"""What a count is cut to; no answer comes near."""


class PastOutput(NamedTuple):
    """A past call: the input tokens that were billed, and the output tokens, those of reasoning included."""

    input_tokens: int
    output_tokens: int


class OutputPrior(NamedTuple):
    """What is assumed of answers: a log-normal distribution, as ``data/hold_priors.toml`` has it."""

    median_tokens: float
    sigma: float


class OutputEstimate(NamedTuple):
    """How many output tokens a call will be billed.

    ``max`` is the limit that was set, None where nothing limits an answer.  ``basis`` is ``prompt``, ``model`` or
    ``prior``: what the estimate was learned from, ``calls`` of how many past calls.
    """

    p50: int
    p90: int
    max: int | None
    basis: str
    calls: int


class LogNormal(NamedTuple):
    """What is believed of answers of which few were seen; for the next one, and of its median for all of them."""

    median_tokens: float
    sigma: float
    answers: float
    """How many answers that rests on, those that the prior counts for included."""

    @property
    def sigma_of_next(self) -> float:
        """The standard deviation of the logarithm, what is not known of the median included."""
        return self.sigma * math.sqrt(1 + 1 / self.answers)


class OutputFit(NamedTuple):
    """All that was learned of a prompt's answers: made once, asked for any number of calls."""

    past: tuple[PastOutput, ...]
    few: LogNormal
    basis: str
    calls: int

    def estimate(self, input_tokens: int, *, limit: int | None) -> OutputEstimate:
        """The output tokens of a call with so many of input."""
        outputs = self.outputs()
        p50, p90 = self._places(outputs, input_tokens)
        if limit is not None:
            p50, p90 = min(p50, limit), min(p90, limit)
        return OutputEstimate(min(p50, p90), p90, limit, self.basis, self.calls)

    def outputs(self) -> list[int]:
        """The answers that are looked at, oldest first."""
        return [_cut(call.output_tokens) for call in self.past[-ANSWERS:]]

    def _places(self, outputs: Sequence[int], input_tokens: int) -> tuple[int, int]:
        if len(outputs) < ANSWERS_MIN:
            median, sigma = self.few.median_tokens, self.few.sigma_of_next
            return _cut(median), _cut(math.ceil(log_normal(median, min(sigma, 20.0), 90)))
        p50, p90 = (_at_rank(outputs, percent) for percent in (50, 90))
        if len(outputs) >= ANSWERS:
            p90 = _at_rank(_of_nearest(self.past, input_tokens), 90)
        return p50, p90


def estimate_output(
    input_tokens: int,
    own: Sequence[PastOutput],
    of_model: Sequence[PastOutput],
    prior: OutputPrior,
    *,
    limit: int | None,
) -> OutputEstimate:
    """How many output tokens a call with so many of input will be billed.

    *own* are the past calls of the same prompt version and model, *of_model* all of the model, oldest first.  *limit*
    is the most that an answer may have, by the request or by the model.
    """
    return fit_output(own, of_model, prior).estimate(input_tokens, limit=limit)


def fit_output(own: Sequence[PastOutput], of_model: Sequence[PastOutput], prior: OutputPrior) -> OutputFit:
    """What past calls teach of a prompt's answers."""
    location, basis, calls = prior.median_tokens, "prior", 0
    if len(of_model) >= MODEL_ANSWERS_MIN:
        outputs = sorted([call.output_tokens for call in of_model[-ANSWERS:]])
        location, basis, calls = _cut(outputs[len(outputs) // 2]), "model", len(outputs)
    if own:
        basis, calls = "prompt", min(len(own), ANSWERS)
    few = _believed(
        [_log(call.output_tokens) for call in own[-BELIEVED_ANSWERS:]], math.log(max(location, 1)), prior.sigma
    )
    return OutputFit(tuple(own[-NEAREST_OF:]), few, basis, calls)


def _believed(logs: Sequence[float], location: float, sigma: float) -> LogNormal:
    """A normal distribution of logarithms after these were seen: its mean and variance are both learned."""
    answers = PRIOR_ANSWERS + len(logs)
    mean = (PRIOR_ANSWERS * location + sum(logs)) / answers
    squares = PRIOR_ANSWERS * (sigma**2 + (location - mean) ** 2) + sum((value - mean) ** 2 for value in logs)
    return LogNormal(math.exp(mean), math.sqrt(squares / answers), answers)


def _of_nearest(past: Sequence[PastOutput], input_tokens: int) -> list[int]:
    """The answers to prompts of about this size; of equally near ones the newest."""
    newest_first = reversed(past[-NEAREST_OF:])
    nearest = sorted(newest_first, key=lambda call: abs(call.input_tokens - input_tokens))[:NEAREST]
    return [_cut(call.output_tokens) for call in nearest]


def _at_rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[rank_of(percent, len(values)) - 1]


def _log(tokens: int) -> float:
    return math.log(max(_cut(tokens), 1))


def _cut(tokens: float) -> int:
    return round(min(max(tokens, 0), TOKENS_MAX))
