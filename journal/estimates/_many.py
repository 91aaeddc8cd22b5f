"""An estimate of many calls together, from those of each: what one takes more, another takes less."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from keledger.journal._money import pico_to_usd, usd_to_pico
from keledger.journal._time import format_time

from ._batch import BatchEstimate, Part, Rate, estimate_batch
from ._calibration import Spread
from ._cost import Terms
from ._estimate import ESTIMATOR_VERSION, Estimate, Learned, method_of, ratio_of
from ._output import OutputFit, PastOutput

SEED = 20261122
"""Of the draws: the same calls have the same estimate each time."""


class ManyEstimate(NamedTuple):
    """What many calls are expected to take and to cost together.

    ``rows`` are the estimates of the single calls, each standing for ``times`` of them.  Costs are decimal strings of
    USD, None where a call has no price; ``max_usd`` also where nobody knows how long an answer may get.
    """

    rows: Sequence[Estimate]
    times: int
    drawn: BatchEstimate
    p50_usd: str | None
    p90_usd: str | None
    max_usd: str | None
    output_max: int | None

    @property
    def calls(self) -> int:
        """How many calls it is for."""
        return len(self.rows) * self.times

    @property
    def counted_tokens(self) -> int:
        """What was counted of all of them."""
        return sum(row.counted.tokens for row in self.rows) * self.times

    @property
    def models(self) -> list[tuple[str, str]]:
        """The providers and models that they go to."""
        return list(dict.fromkeys((row.terms.provider, row.terms.model) for row in self.rows))

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values: money as text; where the calls go to several models, none is named."""
        provider, model = self.models[0] if len(self.models) == 1 else (None, None)
        return {
            "provider": provider,
            "model": model,
            "calls": self.calls,
            "method": ", ".join(self.methods),
            "counted_tokens": self.counted_tokens,
            "input_tokens": self._input(),
            "output_tokens": self._output(),
            "cost_usd": {"p50": self.p50_usd, "p90": self.p90_usd, "max": self.max_usd},
            "cost_per_call_usd": dict(zip(("p50", "p90", "max"), self.per_call(), strict=True)),
            "cost_state": "unpriced" if self.p50_usd is None else "priced",
            "notes": self.notes,
        }

    @property
    def methods(self) -> list[str]:
        """How they were counted, and by what that was multiplied: by :attr:`Estimate.method` of each model's calls."""
        by_kind: dict[tuple[object, ...], list[Estimate]] = defaultdict(list)
        for row in self.rows:
            by_kind[row.terms.provider, row.terms.model, row.counted.method].append(row)
        found = []
        for rows in by_kind.values():
            first = rows[0]
            ratio = sum(row.input.p50 for row in rows) / max(1, sum(row.counted.tokens for row in rows))
            is_plain = all(row.method == row.counted.method for row in rows)
            found.append(
                first.counted.method if is_plain else method_of(first.counted.method, ratio, first.input.calls)
            )
        return list(dict.fromkeys(found))

    def per_call(self) -> tuple[str | None, str | None, str | None]:
        """What one of them costs on average where all of them cost the p50, the p90, the max: USD, rounded up."""
        pico = [None if usd is None else -(-usd_to_pico(usd) // self.calls) for usd in self._usd]
        p50, p90, most = (None if each is None else pico_to_usd(each) for each in pico)
        return p50, p90, most

    @property
    def _usd(self) -> tuple[str | None, str | None, str | None]:
        return self.p50_usd, self.p90_usd, self.max_usd

    @property
    def notes(self) -> list[str]:
        """What is to be known of them, each sentence once, with how many calls it is true of."""
        counts: dict[str, int] = defaultdict(int)
        for row in self.rows:
            for note in row.notes:
                counts[note] += self.times
        whole = self.calls
        return [note if count == whole else f"{note} ({count:,} of {whole:,} calls)" for note, count in counts.items()]

    @property
    def terms(self) -> Terms:
        """By which prices; of the first of its models."""
        return self.rows[0].terms

    def by_model(self) -> list[ManyEstimate]:
        """The same by model, for the journal, whose estimates are of one."""
        if len(self.models) == 1:
            return [self]
        rows: dict[tuple[str, str], list[Estimate]] = defaultdict(list)
        for row in self.rows:
            rows[row.terms.provider, row.terms.model].append(row)
        return [estimate_many(alike, self.times) for alike in rows.values()]

    def fields(self) -> dict[str, Any]:
        """The fields of ``estimate.made``, for calls of one model."""
        first = self.rows[0]
        costs = {"p50_usd": self.p50_usd, "p90_usd": self.p90_usd, "max_usd": self.max_usd}
        cost: dict[str, Any] = {"state": "unpriced" if self.p50_usd is None else "priced", **costs}
        missing = sorted({bucket for row in self.rows for bucket in row.cost.missing})
        return {
            "estimated_at": format_time(first.terms.at_us),
            "provider": first.terms.provider,
            "model": first.terms.model,
            "calls": self.calls,
            "method": first.counted.method,
            "counted_tokens": self.counted_tokens,
            "estimator": ESTIMATOR_VERSION,
            "input_tokens": {**self._input(), "ratio": ratio_of(self.drawn.input_p50, self.counted_tokens)},
            "output_tokens": {name: value for name, value in self._output().items() if value is not None},
            "cost": {name: value for name, value in cost.items() if value is not None}
            | ({"missing": missing} if missing else {})
            | {"book": first.cost.book},
            **({"pricing_context": dict(first.terms.context)} if first.terms.context else {}),
        }

    def _input(self) -> dict[str, Any]:
        drawn = self.drawn
        places = {"p5": drawn.input_p5, "p50": drawn.input_p50, "p95": drawn.input_p95}
        return {**places, **_least_known([(row.input.basis, row.input.calls) for row in self.rows])}

    def _output(self) -> dict[str, Any]:
        places = {"p50": self.drawn.output_p50, "p90": self.drawn.output_p90, "max": self.output_max}
        return {**places, **_least_known([(row.output.basis, row.output.calls) for row in self.rows])}


def estimate_many(
    rows: Sequence[Estimate], times: int = 1, *, progress: Callable[[int, int], None] | None = None
) -> ManyEstimate:
    """What these calls will take and cost together, each of them made so many *times*.

    *progress* is told how much of the drawing is done, and of how much.  Raises ValueError where there is no call.
    """
    if not rows:
        raise ValueError("there is no call")
    drawn = estimate_batch(list(_parts(rows, times)), Random(SEED), progress=progress)
    most_pico, output_max = (
        _sum((_pico(row.cost.max_usd) for row in rows), times),
        _sum((row.output.max for row in rows), times),
    )
    p50_usd = p90_usd = None
    if all(row.cost.state == "priced" for row in rows):
        # What was drawn is raised for what it cannot know, and must not pass what is possible.
        p50_usd, p90_usd = (pico_to_usd(_at_most(pico, most_pico)) for pico in (drawn.p50_pico, drawn.p90_pico))
    drawn = drawn._replace(
        output_p50=_at_most(drawn.output_p50, output_max), output_p90=_at_most(drawn.output_p90, output_max)
    )
    max_usd = None if most_pico is None else pico_to_usd(most_pico)
    return ManyEstimate(rows, times, drawn, p50_usd, p90_usd, max_usd, output_max)


def _sum(values: Iterable[int | None], times: int) -> int | None:
    """So many times the sum; None where one of them is not known."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total * times


def _pico(usd: str | None) -> int | None:
    return None if usd is None else usd_to_pico(usd)


def _at_most(value: int, most: int | None) -> int:
    return value if most is None else min(value, most)


def _least_known(learned: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """From what that was learned of which least is known: no sum is better founded than that."""
    basis, calls = min(learned, key=lambda each: (("prior", "model", "prompt").index(each[0]), each[1]))
    return {"basis": basis, "calls": calls}


def _parts(rows: Sequence[Estimate], times: int) -> Iterator[Part]:
    """The calls by what they were learned from: what is not known of that is the same for all of them."""
    grouped: dict[tuple[object, ...], list[Estimate]] = defaultdict(list)
    for row in rows:
        terms = row.terms
        priced_by = (terms.provider, terms.model, *sorted(terms.context.items()), terms.fresh_bucket())
        grouped[id(row.learned.past), row.choices, priced_by].append(row)
    for alike in grouped.values():
        learned = alike[0].learned
        yield Part(
            inputs=[row.input.p50 for row in alike],
            spread=_spread_of(alike),
            outputs=_of_choices(learned.output, alike[0].choices),
            rates=rates_of(learned),
            output_limit=None,
            input_most=None,
            limits=[row.output.max for row in alike],
            times=times,
        )


def _spread_of(rows: Sequence[Estimate]) -> Spread:
    """How far the input of these is from its estimate: on average, by their tokens, where that is only assumed.

    Requests whose prior is not the same differ in what share of them is not text.
    """
    first = rows[0].learned.input.spread
    if first.residuals:
        return first
    weights = [max(row.input.p50, 1) for row in rows]
    low, high = (
        sum(weight * getattr(row.learned.input.spread, side) for weight, row in zip(weights, rows, strict=True))
        / sum(weights)
        for side in ("low", "high")
    )
    return Spread(low, high)


def _of_choices(outputs: OutputFit, choices: int) -> OutputFit:
    """What was learned of one answer, for several at once, which are billed together."""
    if choices == 1:
        return outputs
    past = tuple(PastOutput(taken, answered * choices) for taken, answered in outputs.past)
    few = outputs.few._replace(median_tokens=outputs.few.median_tokens * choices)
    return outputs._replace(past=past, few=few)


def rates_of(learned: Learned) -> list[Rate]:
    """What tokens cost under these terms by the size of a request: of input as much from a cache as past calls had."""
    found = []
    share = learned.cached_permille
    bucket = "input_uncached" if share else learned.terms.fresh_bucket()
    for rate in learned.terms.rates():
        prices = rate.pico_per_unit
        fresh = prices.get(bucket, 0)
        cached = prices.get("cache_read", fresh)
        per_input = (fresh * (1000 - share) + cached * share) // 1000
        found.append(Rate(rate.input_over, per_input, prices.get("output_text", 0), prices.get("requests", 0)))
    return found or [Rate(-1, 0, 0, 0)]
