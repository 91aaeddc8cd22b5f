"""How good estimates were: what was told before calls were made, beside what these came to, by model and prompt.

An estimate counts where as many calls as it was for named it and were answered.  The others stand apart: no call yet,
one that failed, one that was not made because somebody said no, more calls than it was for.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from keledger.journal import Finding, Zone, pico_to_usd
from keledger.journal._tokenizers import RATIO_UNIT
from keledger.journal.estimates import Stated, accuracy, lately_off

from . import _engine as engine
from ._build import Progress
from ._engine import Connection
from ._estimate_options import OVER, EstimateOptions, estimate_column
from ._estimates import define_estimates
from ._hypothesis import parts_of_one
from ._options import period_label
from ._projection import Projection
from ._reports import PERIOD_NAMES, SCHEMA_VERSION
from ._sums import order

OUTCOMES = ("met", "open", "failed", "declined", "surplus")
"""What can come of an estimate, as ``duckdb_estimate_fact.sql`` tells it: each has one of these."""

ANSWERS = ("yes", "no", "no_terminal")
"""What can be answered to the question whether a call may be made."""

TOLD_EVERY = 1000
"""After so many estimates, which take 30 ms, progress is told again."""

Keys = tuple[str | None, ...]


class _Row(NamedTuple):
    """An estimate and what came of it, in the order in which ``duckdb_estimate_report`` selects it."""

    estimated_us: int
    outcome: str
    answer: str | None
    calls: int
    input_p5: int
    input_p50: int
    input_p95: int
    input_actual: int
    output_p50: int
    output_p90: int
    output_max: int | None
    output_actual: int
    cost_p50_pico: int | None
    cost_p90_pico: int | None
    cost_actual_pico: int | None


class EstimateFigures:
    """What estimates add up to: one row of the report, or the totals."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.calls = 0
        self._input: list[Stated] = []
        self._single: list[Stated] = []
        self._outputs: Counter[str] = Counter()
        self._costed = 0
        self._costs_at_most_p90 = 0
        self._cost_errors: list[float] = []
        self._estimated_pico = 0
        self._actual_pico = 0

    @property
    def estimates(self) -> int:
        """How many, whatever came of them."""
        return self.outcomes.total()

    @property
    def lately(self) -> str | None:
        """In one sentence, how the last estimates of a single call were wrong; None where they were not."""
        return lately_off(self._single)

    def add(self, row: _Row) -> None:
        """Add one more, later than all before it."""
        self.outcomes[row.outcome] += 1
        if row.answer in ANSWERS:
            self.answers[row.answer] += 1
        if row.outcome == "met":
            self._add_met(row)

    def _add_met(self, row: _Row) -> None:
        self.calls += row.calls
        stated = Stated(row.input_p5, row.input_p50, row.input_p95, row.input_actual)
        self._input.append(stated)
        if row.calls == 1:
            self._single.append(stated)
        self._outputs["p50"] += row.output_actual <= row.output_p50
        self._outputs["p90"] += row.output_actual <= row.output_p90
        if row.output_max is not None:
            self._outputs["limited"] += 1
            self._outputs["above"] += row.output_actual > row.output_max
        if row.cost_p50_pico is not None and row.cost_p90_pico is not None and row.cost_actual_pico is not None:
            self._add_cost(int(row.cost_p50_pico), int(row.cost_p90_pico), int(row.cost_actual_pico))

    def _add_cost(self, p50_pico: int, p90_pico: int, actual_pico: int) -> None:
        self._costed += 1
        self._costs_at_most_p90 += actual_pico <= p90_pico
        self._estimated_pico += p50_pico
        self._actual_pico += actual_pico
        if actual_pico:  # of what was free, nothing can be a share
            self._cost_errors.append(abs(p50_pico - actual_pico) / actual_pico)

    def as_json(self) -> dict[str, Any]:
        """The figures under their names: shares of one as decimal strings, null where there is nothing to tell of."""
        met, taken = self.outcomes["met"], accuracy(self._input)
        known = bool(self._costed or not met)
        return {
            "estimates": self.estimates,
            **{f"{outcome}_estimates": self.outcomes[outcome] for outcome in OUTCOMES},
            "answers": {answer: self.answers[answer] for answer in ANSWERS},
            "calls": self.calls,
            "input_tokens": {
                "median_error": _one(taken.median_error),
                "p95_error": _one(taken.p95_error),
                "coverage": _one(taken.coverage),
                "median_width": _one(taken.median_width),
            },
            "output_tokens": {
                "at_most_p50": _share(self._outputs["p50"], met),
                "at_most_p90": _share(self._outputs["p90"], met),
                "above_max": _share(self._outputs["above"], self._outputs["limited"]),
            },
            "cost": {
                "estimates": self._costed,
                "median_error": _one(statistics.median(self._cost_errors)) if self._cost_errors else None,
                "at_most_p90": _share(self._costs_at_most_p90, self._costed),
                "estimated_p50_usd": pico_to_usd(self._estimated_pico) if known else None,
                "actual_usd": pico_to_usd(self._actual_pico) if known else None,
            },
        }


@dataclass(frozen=True, slots=True)
class EstimateReport:
    """The report: rows by period, where one was asked for, and columns, in order; and the totals of all.

    ``lately`` has the rows' columns without the period, and how their last estimates were wrong.
    """

    options: EstimateOptions
    rows: tuple[tuple[Keys, EstimateFigures], ...]
    total: EstimateFigures
    lately: tuple[tuple[Keys, str], ...]
    book: str | None
    position: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what heads a row."""
        over = self.options.over
        return (*(() if over is None else (PERIOD_NAMES[OVER[over]],)), *self.options.by)

    def as_json(self) -> dict[str, Any]:
        """As it is printed: money as decimal strings in USD, shares of one as decimal strings."""
        return {
            "schema_version": SCHEMA_VERSION,
            "report": "estimates",
            "timezone": self.options.timezone,
            "currency": "USD",
            "prices": {"basis": self.options.basis, "book": self.book},
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "rows": [dict(zip(self.columns, keys, strict=True)) | row.as_json() for keys, row in self.rows],
            "totals": self.total.as_json(),
            "lately": [
                {**dict(zip(self.options.by, keys, strict=True)), "message": message} for keys, message in self.lately
            ],
        }


def report_estimates(
    projection: Projection, options: EstimateOptions | None = None, *, on_progress: Progress | None = None
) -> EstimateReport:
    """How good the estimates were that *options* mean, each held against the calls that name it.

    The actual cost is that of the options' basis.  Raises UsageError.  *on_progress* is told estimates done and in all.
    """
    options = options or EstimateOptions()
    projection.price_by(options.shared.prices)

    def make() -> EstimateReport:
        rows, of_columns, total = projection.run(lambda connection: _add_up(connection, options, on_progress))
        lately = ((keys, figures.lately) for keys, figures in _ordered(of_columns))
        return EstimateReport(
            options=options,
            rows=tuple(_ordered(rows)),
            total=total,
            lately=tuple((keys, message) for keys, message in lately if message is not None),
            book=projection.book,
            position=projection.positions,
            findings=projection.findings,
        )

    return projection.steadily(make)


_Groups = dict[Keys, EstimateFigures]


def _add_up(
    connection: Connection, options: EstimateOptions, on_progress: Progress | None
) -> tuple[_Groups, _Groups, EstimateFigures]:
    """The figures of rows, of the columns' values over all time, and of all."""
    rows: _Groups = defaultdict(EstimateFigures)
    of_columns: _Groups = defaultdict(EstimateFigures)
    total = EstimateFigures()
    for keys, label, row in _labelled(_read(connection, options, on_progress), options):
        total.add(row)
        of_columns[keys].add(row)
        if label is not None:
            rows[(label, *keys)].add(row)
    return (rows if options.over else of_columns), of_columns, total


def _read(
    connection: Connection, options: EstimateOptions, on_progress: Progress | None
) -> Iterator[tuple[Keys, _Row]]:
    define_estimates(connection)
    condition, parameters = options.condition()
    named = list(map(estimate_column, options.by))
    statement = engine.sql("duckdb_estimate_report").format(
        columns="".join(f"{each} AS column_{number}, " for number, each in enumerate(named)), condition=condition
    )
    read = connection.execute(statement, parameters).fetchall()
    for done, row in enumerate(read, 1):
        if on_progress is not None and done % TOLD_EVERY == 0:
            on_progress(done, len(read))
        yield row[: len(named)], _Row(*row[len(named) :])


def _labelled(rows: Iterable[tuple[Keys, _Row]], options: EstimateOptions) -> Iterator[tuple[Keys, str | None, _Row]]:
    """Each row, the oldest first, with the label of the period it is in; None where no period was asked for."""
    zone = Zone(options.timezone)
    label, start_us, end_us = None, 0, 0
    for keys, row in rows:
        if options.over is not None and not start_us <= row.estimated_us < end_us:
            day = zone.day(row.estimated_us)
            start_us, end_us = zone.start_us(day), zone.end_us(day)
            label = period_label(OVER[options.over], day, options.week_start)
        yield keys, label, row


def _ordered(groups: _Groups) -> list[tuple[Keys, EstimateFigures]]:
    return sorted(groups.items(), key=lambda item: order(item[0]))


def _one(value: float | Fraction | None) -> str | None:
    """A share of one as a decimal text of at most four decimals."""
    return None if value is None else parts_of_one(round(Fraction(value) * RATIO_UNIT))


def _share(part: int, whole: int) -> str | None:
    return _one(Fraction(part, whole)) if whole else None
