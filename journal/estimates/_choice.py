"""Which models meet what is required of them, the cheapest first, and why each of the others is left out.

Nothing here reads a file or knows a price book: facts and expected costs come in, a choice goes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused, UsageError
from keledger.journal._money import pico_to_usd, usd_to_pico

from ._models import NEEDS, QUALITIES, ModelFacts

_SEES = {"vision": "sees images", "tools": "calls functions"}
_CANNOT = {"vision": "it sees no images", "tools": "it calls no functions"}

KINDS = (
    "cost", "quality", "need", "size", "unknown_quality", "unknown_size", "unpriced", "not_text", "provider",
    "excluded",
)  # fmt: skip
"""What a model may fail by, from what is nearest to meeting the requirements on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and what the call takes and costs on it.

    *input_tokens* and *output_tokens* are those of a large call (p90), which must fit.  *p50_pico* and *p90_pico* are
    picodollars for a usual and a large call, both None where the model has no price.  *tokens_from* names the model
    whose calls (*tokens_calls*) the tokens come from, *tokens_own* says that it is this one; *ratio* is what they were
    multiplied by, at least and at most, in parts of 10,000.
    """

    facts: ModelFacts
    input_tokens: int
    output_tokens: int
    p50_pico: int | None
    p90_pico: int | None
    tokens_from: str | None = None
    tokens_calls: int = 0
    tokens_own: bool = False
    ratio: tuple[int, int] = (10_000, 10_000)

    def as_json(self) -> dict[str, Any]:
        """The model's facts, costs as decimal strings in USD, and what they rest on."""
        facts = self.facts.as_json()
        del facts["facts"]
        return {
            **facts,
            "p50_usd": None if self.p50_pico is None else pico_to_usd(self.p50_pico),
            "p90_usd": None if self.p90_pico is None else pico_to_usd(self.p90_pico),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "tokens": {
                "from": self.tokens_from,
                "calls": self.tokens_calls,
                "own_calls": self.tokens_own,
                "least": f"{Decimal(self.ratio[0]) / 10_000:f}",
                "most": f"{Decimal(self.ratio[1]) / 10_000:f}",
            },
        }


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a model must meet.  None, or nothing, requires nothing.

    *quality* is the least of QUALITIES; *max_cost_pico* is held against what a large call (p90) costs; *needs* are of
    NEEDS; *providers* are those that may be asked.  Raises UsageError for a quality or a need that there is none.
    """

    quality: str | None = None
    max_cost_pico: int | None = None
    needs: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and self.quality not in QUALITIES:
            raise UsageError(f"{self.quality!r} is no quality: write one of {', '.join(QUALITIES)}")
        for need in sorted(self.needs - set(NEEDS)):
            raise UsageError(f"{need!r} is no capability that can be needed: there is {', '.join(NEEDS)}")
        if self.max_cost_pico is not None and self.max_cost_pico < 0:
            raise UsageError(f"a cost of at most {pico_to_usd(self.max_cost_pico)} USD is negative")

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Requirements:
        """As JSON has them: ``quality``, ``max_cost`` (USD, a number or text), ``needs`` and ``providers`` (lists).

        Raises UsageError that names the key.
        """
        unknown = sorted(given.keys() - {"quality", "max_cost", "needs", "providers"})
        if unknown:
            raise UsageError(f"{unknown[0]!r} is no requirement: there is quality, max_cost, needs, providers")
        for name in ("needs", "providers"):
            names = given.get(name)
            if names is not None and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
                raise UsageError(f"{name} is {names!r}: write a list of names")
        quality, max_cost, providers = given.get("quality"), given.get("max_cost"), given.get("providers")
        return cls(
            quality=None if quality is None else str(quality),
            max_cost_pico=None if max_cost is None else parse_max_cost(max_cost),
            needs=frozenset(given.get("needs") or ()),
            providers=None if providers is None else frozenset(providers),
        )

    def as_json(self) -> dict[str, Any]:
        """The requirements, money as a decimal string in USD."""
        return {
            "quality": self.quality,
            "max_cost_usd": None if self.max_cost_pico is None else pico_to_usd(self.max_cost_pico),
            "needs": sorted(self.needs),
            "providers": None if self.providers is None else sorted(self.providers),
        }


def parse_max_cost(given: object) -> int:
    """An amount in USD, as a number or as text, in picodollars.  Raises UsageError."""
    try:
        if isinstance(given, bool) or not isinstance(given, (str, int, float, Decimal)):
            raise InputRefused("no amount")
        amount = Decimal(str(given).strip())
        if not amount.is_finite() or amount < 0:
            raise InputRefused("no amount")
        text = f"{amount:f}"
        return usd_to_pico(text.rstrip("0").rstrip(".") if "." in text else text)
    except (InputRefused, InvalidOperation):
        raise UsageError(f"{given!r} is no cost limit: write USD a call like 0.10, with at most 12 decimals") from None


class Failing(NamedTuple):
    """One requirement that a model does not meet: of which of KINDS it is, how far off, and what is the matter."""

    kind: str
    by: int
    told: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model that does not meet the requirements; ``failings`` has each that it fails, the main one first."""

    candidate: Candidate
    failings: tuple[Failing, ...]

    @property
    def reason(self) -> str:
        """All of it in one sentence."""
        return "; ".join(failing.told for failing in self.failings)

    def as_json(self) -> dict[str, Any]:
        """The candidate, by what it fails, and the sentence."""
        return {**self.candidate.as_json(), "fails": [each.kind for each in self.failings], "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Choice:
    """The models that meet the requirements, the cheapest first; those left out; and what came nearest if none does."""

    requirements: Requirements
    chosen: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    nearest: LeftOut | None = field(default=None)

    def nearest_first(self) -> list[LeftOut]:
        """Those left out, in the order in which ``nearest`` is found."""
        return sorted(self.left_out, key=_distance)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "requirements": self.requirements.as_json(),
            "rows": [candidate.as_json() for candidate in self.chosen],
            "left_out": [left.as_json() for left in self.left_out],
            "nearest": None if self.nearest is None else self.nearest.as_json(),
        }


def choose(candidates: Iterable[Candidate], requirements: Requirements) -> Choice:
    """Sort models into those that meet the requirements, by cost (p50, then p90, then name), and the others, by name.

    Where none meets them, ``nearest`` is the one that fails least: by the fewest requirements, of these by what is
    first in KINDS, of these by the least; one that the user excluded, only where there is no other.
    """
    chosen, left_out = [], []
    for candidate in candidates:
        failings = tuple(sorted(_failings(candidate, requirements), key=lambda failing: -_place(failing)))
        if failings:
            left_out.append(LeftOut(candidate, failings))
        else:
            chosen.append(candidate)
    return Choice(
        requirements,
        tuple(sorted(chosen, key=_by_cost)),
        tuple(sorted(left_out, key=lambda left: left.candidate.facts.name)),
        min(left_out, key=_distance) if left_out and not chosen else None,
    )


def _failings(candidate: Candidate, requirements: Requirements) -> Iterator[Failing]:
    facts = candidate.facts
    if not facts.use:
        yield Failing("excluded", 1, "your config.toml says not to use it")
    if requirements.providers is not None and facts.provider not in requirements.providers:
        yield Failing("provider", 1, f"{facts.provider} is not among the providers that may be asked")
    if facts.output_limit is None and facts.quality is None:
        yield Failing("not_text", 1, "it is not known to answer in text, for it has no known output limit")
    if candidate.p50_pico is None or candidate.p90_pico is None:
        yield Failing("unpriced", 1, "it has no price for such a call")
    elif requirements.max_cost_pico is not None and candidate.p90_pico > requirements.max_cost_pico:
        above = candidate.p90_pico - requirements.max_cost_pico
        told = f"a large call (p90) costs ${_rounded(candidate.p90_pico)}, ${_rounded(above)} above the limit"
        yield Failing("cost", above, told)
    yield from _quality_failing(facts, requirements.quality)
    for need in sorted(requirements.needs):
        able = facts.can(need)
        if not able:
            yield Failing("need", 1, _CANNOT[need] if able is False else f"it is not known whether it {_SEES[need]}")
    yield from _size_failing(candidate)


def _quality_failing(facts: ModelFacts, least: str | None) -> Iterator[Failing]:
    if least is None:
        return
    if facts.quality is None:
        yield Failing("unknown_quality", 1, "its quality is not known")
        return
    below = QUALITIES.index(least) - QUALITIES.index(facts.quality)
    if below > 0:
        yield Failing("quality", below, f"its quality is {facts.quality}, not {least}")


def _size_failing(candidate: Candidate) -> Iterator[Failing]:
    window, limit = candidate.facts.context_window, candidate.facts.output_limit
    asked, answered = candidate.input_tokens, candidate.output_tokens
    if window is None:
        yield Failing("unknown_size", 1, "its context window is not known")
    elif asked + answered > window:
        told = f"{asked + answered:,} tokens of input and output do not fit into its window of {window:,}"
        yield Failing("size", asked + answered - window, told)
    if limit is not None and answered > limit:
        yield Failing("size", answered - limit, f"{answered:,} tokens of output are more than its limit of {limit:,}")


def _by_cost(candidate: Candidate) -> tuple[int, int, str]:
    return candidate.p50_pico or 0, candidate.p90_pico or 0, candidate.facts.name


def _place(failing: Failing) -> int:
    return KINDS.index(failing.kind)


def _distance(left: LeftOut) -> tuple[bool, int, list[tuple[int, int]], float, str]:
    kinds = sorted((_place(failing), failing.by) for failing in left.failings)
    excluded = any(failing.kind == "excluded" for failing in left.failings)
    cost = left.candidate.p50_pico
    return excluded, len(kinds), kinds, float("inf") if cost is None else cost, left.candidate.facts.name


def _rounded(pico: int) -> str:
    """Dollars with six decimals at most, rounded up: a difference is never told as nothing."""
    return pico_to_usd(-(-pico // 10**6) * 10**6)
