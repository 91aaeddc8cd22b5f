"""From what was counted here to the input tokens that will be billed, by what past calls taught.

A line through the last calls of a prompt where there are enough, a ratio below that; around it the range in which
nine tenths of calls are to end, by how wrong the same estimator was one step ahead (split-conformal prediction).
``bench/README.md`` has how good that is in simulated histories of which the truth is known.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from keledger.journal._quantiles import DEVIATIONS, rank_of

from ._accuracy import LATELY_CALLS, Stated, lately_off
from ._theil_sen import Line, SlidingLine, middle

LINE_PAIRS = 40
"""Calls that a line or a median goes through: measured, 30 to 40 recover from a change of tokenizer in 15 to 20 calls,
where 100 had a coverage of 0.81."""

LINE_PAIRS_MIN = 12
"""From so many calls on a line beats the ratio: measured, 4.1 % of error against 5.3 % after 5 to 19 calls."""

SHRINKING_CALLS = 2
"""A model's ratio learned from n calls counts n / (n + 2), the prior the rest."""

OWN_SHRINKING_CALLS = 0.5
"""A prompt's own ratio counts n / (n + 0.5).  With n / (n + 2), measured errors after 1 to 4 calls were 6.6 %, about
what that leaves of the 14.5 % by which prompts of a model differ.  Simulated, the median error after two calls is
2.5 % with half a call and 3.5 % with two, after one call 3.7 and 5.4 %."""

RESIDUALS = 40
"""Errors one step ahead that the range goes by, as few as the line's calls for the same reason."""

RESIDUALS_MIN = 19
"""The fewest of which the least and the greatest bound nine tenths."""

OWN_PAIRS = LINE_PAIRS + RESIDUALS + LATELY_CALLS
"""Calls of a prompt that make a difference: older ones change nothing."""

MODEL_PAIRS = 200
"""Calls of a model that are looked at: enough for several prompts, few enough to follow a change."""

SLOPE_MOST = 2.0
"""The steepest that a line may be, as a multiple of the calls' median ratio: what differs in kind from the rest of a
prompt makes at most about so many times the tokens of it (``data/tokenizers.toml``)."""

LEAST_SHARE = 0.5
"""Of what the median ratio makes of a count, so much is the least that a line may say of it."""

WITHIN = 0.055
"""The standard deviation of the logarithm of a ratio among calls of one prompt, before any was seen: measured after 60
calls, one in twenty was off by more than 11 %."""

PRIOR_CALLS = 2
"""So many calls an assumed standard deviation counts for, beside those of which it is known."""

RATIO_DEVIATIONS = 1.45
"""Half of the range around a ratio of few calls, in such standard deviations; around a line it is a normal
distribution's 1.64.  Most prompts differ less than the average one: simulated, 1.64 covered 96 % after 1 to 4 calls."""

BEYOND = 0.25
"""How much wider a range gets outside of the sizes that were learned from: a share of the distance, in logarithms."""

TOKENS_MAX = 10**12
"""What a count is cut to: floats are exact there, and no request comes near."""


class Pair(NamedTuple):
    """A past call: the tokens counted before it, and the input tokens that it was billed, cached ones included.

    ``prompt`` names the prompt version among calls of a model.  By it is told how much prompts differ from each other,
    and how much calls of one prompt do; calls without it count as of a prompt each.
    """

    counted: int
    actual: int
    prompt: str | None = None


class InputPrior(NamedTuple):
    """What is assumed of a model: billed tokens for one counted, at the median, and by which factors that may differ.

    ``least`` and ``most`` are such that one call in twenty is below, and one above.
    """

    ratio: float
    least: float
    most: float


class InputEstimate(NamedTuple):
    """How many input tokens a call will be billed.

    ``basis`` is ``prompt``, ``model`` or ``prior``: what ``p50`` was learned from, ``calls`` of how many past calls.
    ``ratio`` is ``p50`` for one token counted.  ``lately_off`` is a sentence where recent estimates were wrong.
    """

    p5: int
    p50: int
    p95: int
    basis: str
    calls: int
    ratio: float
    lately_off: str | None


class Spread(NamedTuple):
    """How far what comes may be from its estimate, in natural logarithms: nine tenths are from ``low`` to ``high``.

    ``residuals`` are the errors that this was learned from, oldest first; empty where it is assumed.
    """

    low: float
    high: float
    residuals: tuple[float, ...] = ()


class ModelFit(NamedTuple):
    """What the calls of a model taught: the ratio to take for a prompt that is new, and what is uncertain of it."""

    log_ratio: float
    calls: int
    between: Spread
    """How far a new prompt's calls are from that ratio."""
    within: float
    """The standard deviation of the logarithm of a ratio among calls of one prompt."""


class InputFit(NamedTuple):
    """All that was learned for the calls of one prompt: made once, asked for any number of counts."""

    line: Line
    log_ratio: float
    spread: Spread
    basis: str
    calls: int
    sizes: tuple[float, float] | None
    """The least and the largest count that was learned from."""
    lately_off: str | None

    def estimate(self, counted: int) -> InputEstimate:
        """The input tokens of a call for which so many were counted."""
        x = _usable(counted)
        expected = _at(self.line, self.log_ratio, x)
        beyond = BEYOND * self._beyond(x)
        p5, p50, p95 = (
            _whole(expected * math.exp(shift), x)
            for shift in (self.spread.low - beyond, 0.0, self.spread.high + beyond)
        )
        ratio = p50 / counted if counted > 0 else math.exp(self.log_ratio)
        return InputEstimate(p5, p50, p95, self.basis, self.calls, ratio, self.lately_off)

    def _beyond(self, x: float) -> float:
        """How far a count is outside of those that were learned from, as a logarithm."""
        if self.sizes is None or x <= 0:
            return 0.0
        least, most = self.sizes
        return max(math.log(least / x), math.log(x / most), 0.0)


class InputHistory:
    """The calls of one prompt version and model, learned one after the other."""

    __slots__ = ("_line", "_residuals", "_stated", "calls")

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.calls = 0
        self._line = SlidingLine(LINE_PAIRS)
        self._residuals: deque[float] = deque(maxlen=RESIDUALS)
        self._stated: deque[Stated] = deque(maxlen=LATELY_CALLS)
        for pair in pairs:
            self.learn(pair)

    def learn(self, pair: Pair) -> None:
        """One more call.  Where nothing was counted or billed there is no ratio, and nothing to learn."""
        x, y = _usable(pair.counted), _usable(pair.actual)
        if not x or not y:
            return
        if self.calls:
            line, log_ratio = self._fitted()
            expected = _at(line, log_ratio, x)
            spread = _conformal(self._residuals) or self._spread_of_few(WITHIN, 0.0)
            p5, p50, p95 = (_whole(expected * math.exp(shift), x) for shift in (spread.low, 0.0, spread.high))
            self._stated.append(Stated(p5, p50, p95, int(y)))
            self._residuals.append(math.log(y / expected))
        self._line.add(x, y)
        self.calls += 1

    def fit(self, model: ModelFit) -> InputFit:
        """What these calls teach, and the model's others where they are too few."""
        if not self.calls:
            basis = "model" if model.calls else "prior"
            line = Line(0.0, math.exp(model.log_ratio))
            return InputFit(line, model.log_ratio, model.between, basis, model.calls, None, None)
        line, log_ratio = self._fitted()
        pull = 0.0
        if self.calls < LINE_PAIRS_MIN:
            pull = (log_ratio - model.log_ratio) * OWN_SHRINKING_CALLS / (self.calls + OWN_SHRINKING_CALLS)
            log_ratio -= pull
            line = Line(0.0, math.exp(log_ratio))
        spread = _conformal(self._residuals) or self._spread_of_few(model.within, pull)
        counts = [x for x, _ in self._line.points]
        sizes = (min(counts), max(counts))
        return InputFit(line, log_ratio, spread, "prompt", len(counts), sizes, lately_off([*self._stated]))

    def _fitted(self) -> tuple[Line, float]:
        """The line for these calls alone, and the logarithm of their median ratio."""
        ratio = middle(sorted([y / x for x, y in self._line.points]))
        line = None
        if self.calls >= LINE_PAIRS_MIN:
            line = self._line.line(slope_least=0.0, slope_most=SLOPE_MOST * ratio)
        return line or Line(0.0, ratio), math.log(ratio)

    def _spread_of_few(self, within: float, pull: float) -> Spread:
        """The range where too few errors are known: what they were, beside what is assumed of them.

        An estimate that was pulled towards the model's is off by that, which is known.
        """
        squares = sum(residual * residual for residual in self._residuals)
        known = len(self._residuals)
        deviation = math.sqrt((PRIOR_CALLS * within * within + squares) / (PRIOR_CALLS + known))
        half = deviation * (RATIO_DEVIATIONS if self.calls < LINE_PAIRS_MIN else DEVIATIONS[95])
        return Spread(min(pull - half, 0.0), max(pull + half, 0.0))


def estimate_input(counted: int, own: Sequence[Pair], of_model: Sequence[Pair], prior: InputPrior) -> InputEstimate:
    """How many input tokens a call will be billed for which so many were *counted*.

    *own* are the past calls of the same prompt version and model, *of_model* all of the model, *own* included, oldest
    first.  Whoever asks for several counts makes the fit once: ``fit_input(own, of_model, prior).estimate(counted)``.
    """
    return fit_input(own, of_model, prior).estimate(counted)


def fit_input(own: Sequence[Pair], of_model: Sequence[Pair], prior: InputPrior) -> InputFit:
    """What past calls teach of a prompt version and model; the arguments as :func:`estimate_input` has them."""
    return InputHistory(own[-OWN_PAIRS:]).fit(fit_model(of_model, prior))


def fit_model(of_model: Sequence[Pair], prior: InputPrior) -> ModelFit:
    """What the past calls of a model teach of a prompt that is new."""
    by_prompt = _log_ratios_by_prompt(of_model[-MODEL_PAIRS:])
    ratios = sorted(value for values in by_prompt for value in values)
    log_prior = math.log(prior.ratio)
    between = _between([values[-1] for values in by_prompt], log_prior, prior)
    log_ratio = _shrunk(middle(ratios), len(ratios), log_prior) if ratios else log_prior
    return ModelFit(log_ratio, len(ratios), between, _within(by_prompt))


def _log_ratios_by_prompt(pairs: Sequence[Pair]) -> list[list[float]]:
    by_prompt: dict[object, list[float]] = {}
    for place, pair in enumerate(pairs):
        if pair.counted > 0 and pair.actual > 0:
            log_ratio = math.log(min(pair.actual, TOKENS_MAX) / min(pair.counted, TOKENS_MAX))
            by_prompt.setdefault(place if pair.prompt is None else pair.prompt, []).append(log_ratio)
    return list(by_prompt.values())


def _between(newest: list[float], log_prior: float, prior: InputPrior) -> Spread:
    """How far a call of a new prompt is from the model's ratio: the newest of each prompt, by the others."""
    low, high = math.log(prior.least), math.log(prior.most)
    ordered = sorted(newest)
    residuals = [
        value - _shrunk(middle(ordered[:place] + ordered[place + 1 :]), len(ordered) - 1, log_prior)
        for place, value in enumerate(ordered)
        if len(ordered) > 1
    ]
    learned = _conformal(residuals)
    if learned is not None:
        return Spread(learned.low, learned.high)
    assumed = (high - low) / 2 / DEVIATIONS[95]
    if assumed <= 0:
        return Spread(low, high)
    squares = sum(residual * residual for residual in residuals)
    scale = math.sqrt((PRIOR_CALLS * assumed * assumed + squares) / (PRIOR_CALLS + len(residuals))) / assumed
    return Spread(min(low * scale, 0.0), max(high * scale, 0.0))


def _within(by_prompt: Sequence[Sequence[float]]) -> float:
    """How far calls are from the median of those of their prompt before them, as a standard deviation."""
    residuals: list[float] = []
    for values in by_prompt:
        for place in range(1, len(values)):
            before = sorted(values[max(0, place - LINE_PAIRS_MIN) : place])
            residuals.append(abs(values[place] - middle(before)))
    if len(residuals) >= RESIDUALS_MIN:
        return sorted(residuals)[rank_of(90, len(residuals)) - 1] / DEVIATIONS[95]
    squares = sum(min(residual, 1.0) ** 2 for residual in residuals)
    return math.sqrt((PRIOR_CALLS * WITHIN * WITHIN + squares) / (PRIOR_CALLS + len(residuals)))


def _conformal(residuals: Iterable[float]) -> Spread | None:
    """The range by the ranks of past errors; None where they are too few for any."""
    known = tuple(residuals)
    if len(known) < RESIDUALS_MIN:
        return None
    ordered = sorted(known)
    rank = rank_of(95, len(ordered))
    return Spread(min(ordered[len(ordered) - rank], 0.0), max(ordered[rank - 1], 0.0), known)


def _shrunk(log_ratio: float, calls: int, towards: float) -> float:
    """A ratio that was learned from so many calls, shrunk towards another."""
    return (calls * log_ratio + SHRINKING_CALLS * towards) / (calls + SHRINKING_CALLS)


def _at(line: Line, log_ratio: float, x: float) -> float:
    """What a line says of a count; at least a share of what the ratio says, where it leads below."""
    return max(line.intercept + line.slope * x, LEAST_SHARE * math.exp(log_ratio) * x, 0.0)


def _usable(tokens: int) -> float:
    return float(min(max(tokens, 0), TOKENS_MAX))


def _whole(tokens: float, counted: float) -> int:
    """Tokens in whole numbers; what has something counted has at least one."""
    return max(round(min(tokens, TOKENS_MAX)), 1 if counted else 0)
