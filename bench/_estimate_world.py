"""Histories of calls of which the truth is known: what tokenizers make of a text, and how long answers get.

Every world is hard in one way of its own, and all are made from a seed.  What other tokenizers make of a kind of text
is that of ``data/tokenizers.toml``; all else is assumed, and said here.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from keledger.journal.estimates import InputPrior, OutputPrior

TUNING_SEEDS = range(1_000, 1_010)
"""With these the constants of ``journal/estimates/`` were chosen.  No figure that is published comes from them."""

TEST_SEEDS = range(201, 207)
"""With these figures are made.  Nothing was ever chosen by them."""

DATA = Path(__file__).resolve().parent.parent / "data"

WORLDS = (
    "steady", "small parts", "large parts", "mixed content", "turns", "tools", "new tokenizer", "edited", "wild",
    "drifting",
)  # fmt: skip
"""
- steady: a fixed part, and one that changes in size but not in kind.
- small parts: what changes is a hundredth of the prompt.
- large parts: what changes is most of the prompt, from a tenth of its median to ten times as much.
- mixed content: what changes is code in one call, Japanese in the next.
- turns: a conversation grows with each call until another begins.
- tools: hundreds of tokens are billed that nobody can count here; some calls have pictures.
- new tokenizer: in the middle all of one model's calls begin to have 30 % more tokens.
- edited: a prompt is edited twice, so that its history begins again.
- wild: one call in thirty is billed five times as much as it should be, or a tenth.
- drifting: the content goes over from one kind to another, call by call, and answers get longer.
"""

MODELS = 2
PROMPTS = 6
CALLS = 75
"""Of each prompt."""


WANDERING = 0.98
"""How much of where the answers of some prompts lie is left after a call: half after 34 of them."""

NOISES = (0.02, 0.04, 0.08)
"""By how much the ratio of a part differs between calls of a prompt, as the deviation of its logarithm."""


class Call(NamedTuple):
    """One call, and what nobody knows before it is made."""

    model: int
    prompt: str
    """The prompt version."""
    counted: int
    input_tokens: int
    output_tokens: int
    limit: int | None


class Model(NamedTuple):
    """What makes tokens of texts, and what is assumed of it."""

    ratios: dict[str, float]
    overhead: int
    prior: InputPrior
    output_prior: OutputPrior


@dataclass
class Answers:
    """How long the answers to one prompt are: log-normal or with a heavier tail, the next one like the last."""

    draw: random.Random
    location: float = field(init=False)
    sigma: float = field(init=False)
    memory: float = field(init=False)
    heavy: bool = field(init=False)
    exponent: float = field(init=False)
    jump: float = field(init=False)
    wander: float = field(init=False)
    limit: int | None = field(init=False)
    _state: float = 0.0
    _slow: float = 0.0

    def __post_init__(self) -> None:
        draw = self.draw
        self.location = math.log(draw.choice((30, 80, 150, 300, 700))) + draw.gauss(0, 0.3)
        self.sigma = draw.uniform(0.25, 1.1)
        self.memory = draw.choice((0.0, 0.2, 0.5))
        self.heavy = draw.random() < 0.5
        self.exponent = draw.choice((0.0, 0.0, 0.5))
        self.jump = draw.gauss(0, 0.4) if draw.random() < 0.3 else 0.0
        self.wander = draw.choice((0.0, 0.0, 0.3))
        self._slow = draw.gauss(0, self.wander)
        self.limit = draw.choice((None, 1_024, 4_096, 8_192))

    def next(self, size: float, way: float) -> int:
        """The next one, to a prompt of this *size* (1 for a usual one), *way* through the history."""
        noise = self.draw.gauss(0, 1)
        if self.heavy:  # Student's t with four degrees of freedom, its deviation made one
            noise /= math.sqrt(self.draw.gammavariate(2.0, 1.0) / 2.0) * math.sqrt(2.0)
        self._state = self.memory * self._state + math.sqrt(1 - self.memory**2) * noise
        self._slow = WANDERING * self._slow + math.sqrt(1 - WANDERING**2) * self.draw.gauss(0, self.wander)
        level = (
            self.location + self._slow + self.exponent * math.log(max(size, 0.05)) + (self.jump if way > 0.5 else 0.0)
        )
        tokens = max(1, round(math.exp(min(level + self.sigma * self._state, 12.0))))
        return tokens if self.limit is None else min(tokens, self.limit)


@dataclass
class Prompt:
    """One prompt in its world: a part that never changes, one that does, and what is billed on top of them."""

    world: str
    model: Model
    draw: random.Random
    name: str
    fixed: int = field(init=False)
    median: float = field(init=False)
    sigma: float = field(init=False)
    kinds: list[str] = field(init=False)
    answers: Answers = field(init=False)
    _fixed_ratio: float = field(init=False)
    _hidden: int = field(init=False)
    _own_ratio: float = field(init=False)
    _noise: float = field(init=False)
    _version: int = 0
    _turns: float = 0.0
    _answered: int = 0

    def __post_init__(self) -> None:
        draw = self.draw
        self.kinds = draw.choices(list(self.model.ratios), k=3)
        self.answers = Answers(draw)
        self._own_ratio = math.exp(draw.gauss(0, 0.04))
        self._noise = draw.choice(NOISES)
        self._hidden = draw.choice((300, 600, 1_200)) if self.world == "tools" else 0
        self._write()

    def _write(self) -> None:
        """Make up the part that never changes."""
        draw = self.draw
        self.fixed = draw.choice((0, 150, 400, 1_500))
        self.median, self.sigma = draw.choice((200, 600, 2_000)), draw.uniform(0.2, 0.6)
        if self.world == "small parts":
            self.fixed, self.median, self.sigma = draw.choice((2_000, 6_000)), draw.choice((20, 50)), 0.5
        if self.world == "large parts":
            self.fixed, self.median, self.sigma = draw.choice((50, 300)), draw.choice((1_500, 5_000)), 1.0
        self._fixed_ratio = self.model.ratios[draw.choice(self.kinds)] * math.exp(draw.gauss(0, 0.04))

    def call(self, number: int, model: int, way: float, *, longer: float = 1.0) -> Call:
        """The next call, *way* through the history; with *longer* times the tokens for the same text."""
        draw = self.draw
        if self.world == "edited" and way > (self._version + 1) / 3:
            self._version += 1
            self._write()
        part = self._size()
        ratio = self._ratio(way) * math.exp(draw.gauss(0, 0.0 if self._is_exact() else self._noise))
        fixed_and_part = self.fixed * self._fixed_ratio if not self._is_exact() else float(self.fixed)
        actual = (fixed_and_part + part * ratio) * longer + self.model.overhead + self._hidden + self._pictures()
        if self.world == "wild" and draw.random() < 1 / 30:
            actual *= draw.choice((5.0, 0.1))
        output = self.answers.next(part / self.median, way)
        self._answered = output
        counted = max(1, self.fixed + round(part) + 3)
        name = f"{self.name}-{self._version}"
        return Call(model, name, counted, max(1, round(actual)), output, self.answers.limit)

    def _is_exact(self) -> bool:
        """Whether what is counted here is counted with the model's own tokenizer."""
        return all(ratio == 1.0 for ratio in self.model.ratios.values())

    def _size(self) -> float:
        new = self.median * math.exp(self.draw.gauss(0, self.sigma))
        if self.world != "turns":
            return new
        self._turns = 0.0 if self.draw.random() < 0.12 else self._turns + self._answered
        self._turns += new / 4
        return self._turns

    def _ratio(self, way: float) -> float:
        """Tokens for one that is counted, of the part that changes."""
        if self._is_exact():
            return 1.0
        ratios = [self.model.ratios[kind] for kind in self.kinds]
        if self.world == "mixed content":
            shares = [self.draw.gammavariate(0.5, 1.0) + 1e-6 for _ in ratios]
            mixed = sum(share * ratio for share, ratio in zip(shares, ratios, strict=True)) / sum(shares)
            return mixed * self._own_ratio
        if self.world == "drifting":
            return (ratios[0] * (1 - way) + ratios[1] * way) * self._own_ratio
        return ratios[0] * self._own_ratio

    def _pictures(self) -> int:
        if self.world != "tools" or self.draw.random() > 0.1:
            return 0
        return self.draw.choice((85, 765, 1_105))


def history(world: str, seed: int) -> tuple[list[Model], Iterator[Call]]:
    """The models of a world, and its calls in the order in which they were made."""
    draw = random.Random(f"keledger bench estimates {world} {seed}")
    models = [new_model(draw, world) for _ in range(MODELS)]
    return models, _calls(draw, world, models)


def _calls(draw: random.Random, world: str, models: list[Model]) -> Iterator[Call]:
    prompts = [
        (place, Prompt(world, model, random.Random(draw.random()), f"{place}-{number}"))
        for place, model in enumerate(models)
        for number in range(PROMPTS)
    ]
    waiting = [each for each in range(len(prompts)) for _ in range(CALLS)]
    begins = [draw.random() * 0.5 if draw.random() < 0.5 else 0.0 for _ in prompts]
    waiting.sort(key=lambda each: begins[each] + draw.random() * (1 - begins[each]))
    made = [0] * len(prompts)
    for number, each in enumerate(waiting):
        model, prompt = prompts[each]
        made[each] += 1
        changed = world == "new tokenizer" and model == 0 and number > len(waiting) / 2
        yield prompt.call(made[each], model, made[each] / CALLS, longer=1.3 if changed else 1.0)


def new_model(draw: random.Random, world: str) -> Model:
    """A model of some family; what is assumed of it is what most of its families make of prose, and off by a little."""
    known = families()
    ratios = dict(draw.choice(known))
    if all(ratio == 1.0 for ratio in ratios.values()) and world in ("mixed content", "drifting"):
        ratios = dict(known[-1])
    assumed = (ratios["prose"] + ratios["code"]) / 2 if draw.random() < 0.6 else 1.1
    factor = draw.choice((1.0, 1.0, 1.12, 1.25))  # newer ones of the same vendor make more of everything
    if any(ratio != 1.0 for ratio in ratios.values()):
        ratios = {kind: ratio * factor for kind, ratio in ratios.items()}
    prior = InputPrior(assumed, 0.5, 2.0)
    return Model(ratios, draw.choice((3, 7, 12)), prior, draw.choice(output_priors()))


@cache
def families() -> tuple[dict[str, float], ...]:
    """What each tokenizer that was measured makes of each kind of text, in those of o200k_base."""
    listed = tomllib.loads((DATA / "tokenizers.toml").read_text(encoding="utf-8"))["family"]
    return tuple(
        {kind: float(ratio) for kind, ratio in family["tokens"].items()} for family in listed if "tokens" in family
    )


@cache
def output_priors() -> tuple[OutputPrior, ...]:
    """The priors that ship for answers."""
    shipped = tomllib.loads((DATA / "hold_priors.toml").read_text(encoding="utf-8"))["output"]
    return tuple(OutputPrior(float(each["median_tokens"]), float(each["sigma"])) for each in shipped.values())
