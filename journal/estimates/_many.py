"""An estimate of many calls together, from those of each: what one takes more, another takes less."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from keledger.journal._money import pico_to_usd, usd_to_pico
from keledger.journal._time import format_time

from ._batch import BatchEstimate, Part, Rate, estimate_batch
from ._cost import Terms
from ._estimate import ESTIMATOR_VERSION, Estimate, Learned, ratio_of

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
            "method": ", ".join(dict.fromkeys(row.counted.method for row in self.rows)),
            "counted_tokens": self.counted_tokens,
            "input_tokens": self._input(),
            "output_tokens": self._output(),
            "cost_usd": {"p50": self.p50_usd, "p90": self.p90_usd, "max": self.max_usd},
            "cost_state": "unpriced" if self.p50_usd is None else "priced",
            "notes": self.notes,
        }

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
        drawn, first = self.drawn, self.rows[0].input
        places = {"p5": drawn.input_p5, "p50": drawn.input_p50, "p95": drawn.input_p95}
        return {**places, "basis": first.basis, "calls": first.calls}

    def _output(self) -> dict[str, Any]:
        first = self.rows[0].output
        places = {"p50": self.drawn.output_p50, "p90": self.drawn.output_p90, "max": self.output_max}
        return {**places, "basis": first.basis, "calls": first.calls}


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


def _parts(rows: Sequence[Estimate], times: int) -> Iterator[Part]:
    """The calls by what was learned of them, and by the longest answer that they allow."""
    grouped: dict[tuple[int, int | None], list[Estimate]] = defaultdict(list)
    for row in rows:
        grouped[id(row.learned.input), row.output.max].append(row)
    for (_, limit), alike in grouped.items():
        learned = alike[0].learned
        yield Part(
            inputs=[row.input.p50 for row in alike for _ in range(times)],
            spread=learned.input.spread,
            outputs=learned.output,
            rates=rates_of(learned),
            output_limit=limit,
            input_most=None,
        )


def rates_of(learned: Learned) -> list[Rate]:
    """What tokens cost under these terms by the size of a request: of input as much from a cache as past calls had."""
    found = []
    for rate in learned.terms.rates():
        prices = rate.pico_per_unit
        fresh = prices.get("input_uncached", 0)
        cached = prices.get("cache_read", fresh)
        share = learned.cached_permille
        per_input = (fresh * (1000 - share) + cached * share) // 1000
        found.append(Rate(rate.input_over, per_input, prices.get("output_text", 0), prices.get("requests", 0)))
    return found or [Rate(-1, 0, 0, 0)]
