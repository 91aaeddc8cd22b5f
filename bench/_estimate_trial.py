"""Estimates of calls in simulated worlds, one step ahead: first the estimate, then what the call took is learned."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench._estimate_world import WORLDS, Call, Model, Prompt, history, new_model
from keledger.journal.estimates import (
    BatchEstimate,
    InputHistory,
    Pair,
    Part,
    PastOutput,
    Rate,
    Stated,
    estimate_batch,
    fit_model,
    fit_output,
)

CONFORMAL_CALLS = 20
"""From so many calls of a prompt on, its range needs nothing of its model."""

BATCH_WORLDS = ("steady", "small parts", "large parts", "mixed content", "tools", "new tokenizer", "wild", "drifting")
"""Those in which it is known before the first call what all of them will be asked."""

BATCHES_A_WORLD = 4
PAST_CALLS = (3, 12, 40, 120, 300)
BATCH_CALLS = (10, 50, 50, 150)


class Scored(NamedTuple):
    """One call: what was estimated, and what came."""

    world: str
    past_calls: int
    """Of the same prompt version."""
    counted: int
    stated: Stated
    output_p50: int
    output_p90: int
    output_tokens: int
    is_off: bool


class Batch(NamedTuple):
    """One batch: what was estimated, and what came."""

    world: str
    past_calls: int
    calls: int
    estimate: BatchEstimate
    actual_pico: int
    simple_pico: int
    """As many times the P90 of one call: its input tokens' P95 and its answer's P90, priced."""


def scored(seeds: Iterable[int]) -> list[Scored]:
    """Every call of every world of these seeds."""
    return [call for seed in seeds for world in WORLDS for call in _history_scored(world, seed)]


def _history_scored(world: str, seed: int) -> list[Scored]:
    models, calls = history(world, seed)
    inputs: dict[str, InputHistory] = {}
    of_model: list[list[Pair]] = [[] for _ in models]
    outputs: dict[str, list[PastOutput]] = {}
    outputs_of_model: list[list[PastOutput]] = [[] for _ in models]
    found: list[Scored] = []
    unknown = [fit_model((), model.prior) for model in models]
    for call in calls:
        model = models[call.model]
        own = inputs.setdefault(call.prompt, InputHistory())
        own_outputs = outputs.setdefault(call.prompt, [])
        is_alone = own.calls >= CONFORMAL_CALLS
        taught = unknown[call.model] if is_alone else fit_model(of_model[call.model], model.prior)
        estimate = own.fit(taught).estimate(call.counted)
        output = fit_output(own_outputs, outputs_of_model[call.model], model.output_prior).estimate(
            call.counted, limit=call.limit
        )
        stated = Stated(estimate.p5, estimate.p50, estimate.p95, call.input_tokens)
        is_off = estimate.lately_off is not None
        found.append(Scored(world, own.calls, call.counted, stated, output.p50, output.p90, call.output_tokens, is_off))
        pair = Pair(call.counted, call.input_tokens, call.prompt)
        own.learn(pair)
        of_model[call.model].append(pair)
        past = PastOutput(call.input_tokens, call.output_tokens)
        own_outputs.append(past)
        outputs_of_model[call.model].append(past)
    return found


def batches(seeds: Iterable[int]) -> list[Batch]:
    """Batches of one to three prompts after histories of different lengths."""
    return [
        _batch(world, seed, number) for seed in seeds for world in BATCH_WORLDS for number in range(BATCHES_A_WORLD)
    ]


def _batch(world: str, seed: int, number: int) -> Batch:
    draw = random.Random(f"keledger bench batches {world} {seed} {number}")
    past_calls, calls = draw.choice(PAST_CALLS), draw.choice(BATCH_CALLS)
    parts: list[Part] = []
    actual = simple = 0
    for place in range(draw.choice((1, 1, 2, 3))):
        model = new_model(draw, world)
        rate = Rate(0, draw.choice((1, 3)), draw.choice((4, 8, 15)), 0)
        past, coming = _past_and_coming(Prompt(world, model, draw, f"{place}"), draw, past_calls, calls)
        parts.append(_part(model, past, coming, rate))
        actual += sum(_pico(rate, call.input_tokens, call.output_tokens) for call in coming)
        answer = parts[-1].outputs.estimate(coming[0].counted, limit=coming[0].limit).p90
        simple += sum(
            _pico(rate, round(tokens * math.exp(parts[-1].spread.high)), answer) for tokens in parts[-1].inputs
        )
    estimate = estimate_batch(parts, random.Random(f"keledger bench drawing {world} {seed} {number}"))
    return Batch(world, past_calls, calls * len(parts), estimate, actual, simple)


def _pico(rate: Rate, input_tokens: int, output_tokens: int) -> int:
    return input_tokens * rate.pico_per_input_token + output_tokens * rate.pico_per_output_token


def _past_and_coming(prompt: Prompt, draw: random.Random, past_calls: int, calls: int) -> tuple[list[Call], list[Call]]:
    """A history and what follows it.  What changes in a world may change before the batch, within it or after it."""
    every = past_calls + calls
    turn = draw.uniform(0.1, 1.5) * every
    made = [
        prompt.call(
            number,
            0,
            min(0.5 * number / turn, 1.0),
            longer=1.3 if prompt.world == "new tokenizer" and number > turn else 1.0,
        )
        for number in range(every)
    ]
    return made[:past_calls], made[past_calls:]


def _part(model: Model, past: Sequence[Call], coming: Sequence[Call], rate: Rate) -> Part:
    pairs = [Pair(call.counted, call.input_tokens, call.prompt) for call in past]
    outputs = [PastOutput(call.input_tokens, call.output_tokens) for call in past]
    fit = InputHistory(pairs).fit(fit_model(pairs, model.prior))
    estimates = [fit.estimate(call.counted) for call in coming]
    return Part(
        inputs=[each.p50 for each in estimates],
        spread=fit.spread,
        outputs=fit_output(outputs, outputs, model.output_prior),
        rates=[rate],
        output_limit=coming[0].limit,
        input_most=max(each.p95 for each in estimates),
    )
