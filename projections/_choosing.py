"""Choosing a model for one request: which is cheapest of those that are good enough, and why the others are not it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from keledger.journal import NotFound, now_us, pico_to_usd
from keledger.journal._money import shown_usd
from keledger.journal.estimates import (
    CallProfile,
    Candidate,
    Choice,
    Counted,
    ModelFacts,
    Requirements,
    cautious,
    choose,
    count_request,
    expected_costs,
    load_models,
    output_quantiles,
    prior_of,
)
from keledger.journal.usage import provider_name

from ._estimator import Estimator, Subject
from ._prompt_profile import prompt_profiles, token_ratio

SUITABLE_TOLD = 10
LEFT_OUT_TOLD = 20
"""How many models an event names: the cheapest, and those that came nearest."""


class ChosenModel(NamedTuple):
    """The model that was taken, under the name by which it was offered, and the choice that led to it."""

    name: str
    names: Mapping[tuple[str, str], str]
    choice: Choice
    basis: str
    calls: int
    book: str

    @property
    def sentence(self) -> str:
        """What was chosen, for people."""
        first = self.choice.chosen[0]
        told = f'"model":"auto": {self.name}, expected to cost {_dollars(first.p50_pico)}'
        told += f" ({_dollars(first.p90_pico)} if large)"
        others = len(self.choice.chosen) - 1
        if not others:
            return f"{told}; no other that was offered is good enough"
        second = self.choice.chosen[1]
        return f"{told}; {others:,} more would do, the next {self._name(second)} at {_dollars(second.p50_pico)}"

    def fields(self) -> dict[str, Any]:
        """The fields of ``model.chosen`` but those that say of which call."""
        requirements, first = self.choice.requirements, self.choice.chosen[0]
        asked = {
            "quality": requirements.quality,
            "max_cost_usd": _usd(requirements.max_cost_pico),
            "needs": sorted(requirements.needs) or None,
            "input_tokens": first.input_tokens,
            "output_tokens": first.output_tokens,
            "basis": self.basis,
            "calls": self.calls,
        }
        return {
            **_named(self.name),
            "requirements": {name: value for name, value in asked.items() if value is not None},
            "suitable": [self._suitable(each) for each in self.choice.chosen[:SUITABLE_TOLD]],
            "left_out": [
                {**_named(self._name(each.candidate)), "reason": each.reason[:250]}
                for each in self.choice.nearest_first()[:LEFT_OUT_TOLD]
            ],
            "left_out_models": len(self.choice.left_out),
            "book": self.book,
        }

    def _suitable(self, each: Candidate) -> dict[str, Any]:
        told = {
            **_named(self._name(each)),
            "quality": each.facts.quality,
            "cost_p50_usd": _usd(each.p50_pico),
            "cost_p90_usd": _usd(each.p90_pico),
        }
        return {name: value for name, value in told.items() if value is not None}

    def _name(self, each: Candidate) -> str:
        return self.names[each.facts.provider, each.facts.model]


def choose_model(
    estimator: Estimator, subject: Subject, request: object, asked: Mapping[str, Any], offered: Sequence[str]
) -> ChosenModel:
    """The cheapest of the models *offered* (``provider/model``) that meets what is *asked* of it, for this request.

    *asked* is as :meth:`Requirements.from_mapping` takes it; *subject* says of which prompt the call is.  What past
    calls of the prompt took says how long the answer will be; without any, what models of the kind write.

    Raises UsageError for what is asked wrongly, and NotFound, with the one that comes nearest, where none will do.
    """
    requirements = Requirements.from_mapping(asked)
    table = load_models(estimator.projection.home, estimator.book)
    names: dict[tuple[str, str], str] = {}
    models: list[ModelFacts] = []
    for name in offered:
        provider, _, model = name.partition("/")
        facts = table.find(provider_name(provider), model)
        if facts is not None and (facts.provider, facts.model) not in names:
            names[facts.provider, facts.model] = name
            models.append(facts)
    if not models:
        raise NotFound("no model is offered that has a price here: keledger models list shows those that have")
    profiles = _profiles(estimator, subject)
    candidates = list(_Candidates(estimator, subject, request, profiles).of(models))
    choice = choose(candidates, requirements)
    if not choice.chosen:
        assert choice.nearest is not None
        nearest = choice.nearest
        name = names[nearest.candidate.facts.provider, nearest.candidate.facts.model]
        raise NotFound(f"no model meets what is asked; {name} comes nearest: {nearest.reason}")
    first = choice.chosen[0].facts
    calls = max((profile.calls for profile in profiles), default=0)
    basis = "prompt" if calls else "request"
    return ChosenModel(names[first.provider, first.model], names, choice, basis, calls, estimator.book.sha256)


def _profiles(estimator: Estimator, subject: Subject) -> list[CallProfile]:
    """What past calls of the prompt took, by model: of this version, else of any; nothing where there are none."""
    for version in dict.fromkeys((subject.prompt_version, None)):
        if subject.prompt is not None:
            try:
                return prompt_profiles(estimator.projection, subject.prompt, version)
            except NotFound:
                continue
    return []


class _Candidates:
    """What one request takes and costs with each model.

    With a model that the prompt was called on, it is estimated as a call is.  Any other is told by what was counted,
    for its tokenizer, and by the answers of the model that the prompt was called on most.
    """

    def __init__(
        self, estimator: Estimator, subject: Subject, request: object, profiles: Sequence[CallProfile]
    ) -> None:
        self._estimator, self._subject, self._request = estimator, subject, request
        self._at_us = now_us()
        self._called = {(profile.provider, profile.model) for profile in profiles}
        most_called = max(profiles, key=lambda profile: profile.calls, default=None)
        self._most_called = None if most_called is None else cautious(most_called, estimator.book)
        self._counts: dict[object, Counted] = {}

    def of(self, models: Sequence[ModelFacts]) -> Iterator[Candidate]:
        """The candidates, in the order of the models."""
        for facts in models:
            profile = self._profile(facts)
            yield from expected_costs([facts], [profile], self._estimator.book, self._at_us, token_ratio)

    def _profile(self, facts: ModelFacts) -> CallProfile:
        if (facts.provider, facts.model) in self._called:
            subject = self._subject._replace(provider=facts.provider, model=facts.model)
            found = self._estimator.estimate(self._request, subject, at_us=self._at_us)
            taken, answer = found.input, found.output
            return self._of(taken.p50, taken.p95, answer.p50, answer.p90)
        counted = self._counted(facts)
        median = counted.tokens * counted.ratio
        most = self._most_called
        if most is None or most.model is None:
            answers = output_quantiles(bool(facts.can("reasons") is not False))
        else:
            ratio = token_ratio(most.model, facts.model)
            answers = (
                most.output_p50 * (ratio.least + ratio.most) // 20_000,
                -(-most.output_p90 * ratio.most // 10_000),
            )
        limit = facts.output_limit
        p50, p90 = (min(answer, limit) if limit is not None else answer for answer in answers)
        return self._of(round(median), round(median * counted.most), p50, p90)

    def _of(self, input_p50: int, input_p90: int, output_p50: int, output_p90: int) -> CallProfile:
        most = self._most_called
        shares = {} if most is None else {"input_total": most.input_total, "cache_read_total": most.cache_read_total}
        return CallProfile(None, None, 0, input_p50, max(input_p50, input_p90), output_p50, output_p90, **shares)

    def _counted(self, facts: ModelFacts) -> Counted:
        """What the request has for a model's tokenizer; counted once for all models that have the same."""
        key: object = prior_of(facts.provider, facts.model)
        known = self._counts.get(key)
        if known is None:
            known = self._counts[key] = count_request(self._request, provider=facts.provider, model=facts.model)
        return known


def _named(name: str) -> dict[str, str]:
    """The provider and model as the event of the call will have them."""
    provider, _, model = name.partition("/")
    return {"provider": provider_name(provider), "model": model}


def _usd(pico: int | None) -> str | None:
    return None if pico is None else pico_to_usd(pico)


def _dollars(pico: int | None) -> str:
    """An amount for people; a candidate that was chosen has one."""
    return shown_usd(pico_to_usd(pico or 0))
