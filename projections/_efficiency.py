"""How well money is spent: cost per call, per 1,000 output tokens and per success, and what would have saved some.

Sums are exact; a quotient of them is rounded half-even to a picodollar, and is over the calls that have a cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

from keledger.journal import Finding, pico_to_usd
from keledger.journal._tokenizers import RATIO_UNIT
from keledger.journal.prices import Book

from . import _engine as engine
from ._build import Progress
from ._caching import LIFETIMES, Caching, CachingSums, caching_by_row
from ._engine import Connection
from ._hypothesis import Hypothesis, WhatIfSums, parts_of_one
from ._options import ReportOptions, column
from ._projection import Projection
from ._reports import SCHEMA_VERSION
from ._sums import COLUMNS, Sums, order
from ._whatif import WhatIf, report_whatif

EFFICIENCY_COLUMNS = ("model", "prompt")
"""By which rows are split where nothing else is asked for."""

Keys = tuple[str | None, ...]


class _Divisors(NamedTuple):
    """What money and time are divided by, in the order in which ``efficiency_rollup`` selects it."""

    successful_calls: int = 0
    costed_successes: int = 0
    costed_output_tokens: int = 0
    timed_calls: int = 0
    duration_ms: int = 0
    promptless_calls: int = 0


@dataclass(frozen=True, slots=True)
class EfficiencyRow:
    """One row, or the totals: what its calls used and cost, and what would have saved some of it."""

    sums: Sums
    divisors: _Divisors
    caching: Caching
    other: WhatIfSums | None
    """On another model; None where none was asked for."""

    def as_json(self) -> dict[str, Any]:
        """The figures under their names: a quotient is null where there is nothing to divide by."""
        sums = dict(zip(COLUMNS, self.sums.values, strict=True))
        pico, divisors = sums["cost_pico"], self.divisors
        shown = self.sums.as_json(of_calls=True)
        calls = shown.pop("calls")
        counts = {name: shown.pop(name) for name in tuple(shown) if name.endswith("_calls")}
        return {
            "calls": calls,
            "successful_calls": divisors.successful_calls,
            **counts,
            **shown,
            "cost_per_call_usd": _usd_per(pico, sums["costed_calls"]),
            "cost_per_1000_output_tokens_usd": _usd_per(1000 * pico, divisors.costed_output_tokens),
            "cost_per_success_usd": _usd_per(pico, divisors.costed_successes),
            "cache_hit_share": _share(sums["cache_read_input_tokens"], sums["input_tokens"]),
            "duration_per_call_ms": _quotient(divisors.duration_ms, divisors.timed_calls),
            "caching": {
                "promptless_calls": divisors.promptless_calls,
                **{each.name: self.caching.get(each.name, CachingSums()).as_json() for each in LIFETIMES},
            },
            **({} if self.other is None else {"other_model": self.other.as_json()}),
        }


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The report: rows by the columns ``options.by``, in order, and the totals of all."""

    options: ReportOptions
    rows: tuple[tuple[Keys, EfficiencyRow], ...]
    total: EfficiencyRow
    other: WhatIf | None
    book: str
    """By which the cache, and another model, are priced."""
    actual_book: str | None
    position: Mapping[str, int]
    findings: tuple[Finding, ...]

    def assumptions(self) -> list[str]:
        """What the figures of savings rest on, in sentences."""
        caching = (
            "What caching would have saved of plain input is a bound, not an estimate: as if calls of one prompt "
            "version to one model began with the same text as far as their sizes allow, in a cache that forgets after "
            f"5 minutes or an hour without use, at the prices of book {self.book[:12]} at the time of each call."
        )
        return [caching, *(self.other.assumptions() if self.other else ())]

    def as_json(self) -> dict[str, Any]:
        """As it is printed: money as decimal strings in USD, shares as decimal strings."""
        other = self.other
        return {
            "schema_version": SCHEMA_VERSION,
            "report": "efficiency",
            "timezone": self.options.timezone,
            "currency": "USD",
            "prices": {"basis": self.options.basis, "book": self.actual_book},
            "savings_book": self.book,
            "hypothesis": other.hypothesis.as_json(other.book) if other else None,
            "assumptions": self.assumptions(),
            "token_ratios": [conversion.as_json() for conversion in other.conversions] if other else [],
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "rows": [dict(zip(self.options.by, keys, strict=True)) | row.as_json() for keys, row in self.rows],
            "apart": [apart.as_json() for apart in other.apart] if other else [],
            "totals": self.total.as_json(),
        }


def report_efficiency(
    projection: Projection,
    book: Book,
    options: ReportOptions | None = None,
    *,
    model: tuple[str, str] | None = None,
    on_progress: Progress | None = None,
) -> Efficiency:
    """What the calls that *options* mean cost by what came of it, and what would have saved some, split by its ``by``.

    Without ``by`` rows are split by model and prompt; ``breakdown`` is not looked at.  The actual cost is that of the
    options' basis.  A cache, and the provider and *model* in whose place all calls may be supposed, have the prices of
    *book*.  Calls count as they are now, in closed months, too.  Raises UsageError.  *on_progress* is told hundredths
    done and a hundred.
    """
    options = options or ReportOptions()
    if not options.by:
        options = replace(options, by=EFFICIENCY_COLUMNS)
    projection.price_by(options.prices)

    def make() -> Efficiency:
        spent = projection.run(lambda connection: _roll_up(connection, options))
        parts = 1 if model is None else 2
        tell = _in_part(on_progress, 0, parts)
        caching = projection.run(lambda connection: caching_by_row(connection, book, options, tell))
        other = None
        if model is not None:
            hypothesis = Hypothesis(model=model)
            tell = _in_part(on_progress, 1, parts)
            other = report_whatif(projection, hypothesis, book, options, columns=options.by, on_progress=tell)
        others = dict(other.rows) if other else {}
        rows = tuple(
            (keys, EfficiencyRow(sums, divisors, caching.get(keys, {}), others.get(keys)))
            for keys, sums, divisors in sorted(spent, key=lambda row: order(row[0]))
        )
        return Efficiency(
            options=options,
            rows=rows,
            total=_total([row for _, row in rows], other.total if other else None),
            other=other,
            book=book.sha256,
            actual_book=projection.book,
            position=projection.positions,
            findings=projection.findings,
        )

    return projection.steadily(make)


def _in_part(on_progress: Progress | None, part: int, parts: int) -> Progress:
    """What one part of a report tells of its own steps, told on as hundredths of the whole.

    Each of the *parts*, counted from 0, is taken to last as long as any other.
    """

    def tell(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress((part * total + done) * 100 // (parts * total), 100)

    return tell


def _roll_up(connection: Connection, options: ReportOptions) -> list[tuple[Keys, Sums, _Divisors]]:
    expressions = list(map(column, options.by))
    condition, parameters = options.condition()
    statement = engine.sql("efficiency_rollup").format(
        columns="".join(f"{each} AS column_{number}, " for number, each in enumerate(expressions)),
        groups=", ".join(expressions),
        condition=condition,
    )
    named, summed = len(expressions), len(expressions) + len(COLUMNS)
    return [
        (tuple(row[:named]), Sums.of_row(row[named:summed]), _Divisors(*map(int, row[summed:])))
        for row in connection.execute(statement, parameters).fetchall()
    ]


def _total(rows: list[EfficiencyRow], other: WhatIfSums | None) -> EfficiencyRow:
    whole, divisors = Sums(), _Divisors()
    caching = {each.name: CachingSums() for each in LIFETIMES}
    for row in rows:
        whole.add(row.sums)
        divisors = _Divisors(*map(sum, zip(divisors, row.divisors, strict=True)))
        for name, found in row.caching.items():
            caching[name] = caching[name].plus(found)
    return EfficiencyRow(whole, divisors, caching, other)


def _quotient(value: int, by: int) -> int | None:
    """Rounded half-even to a whole number; None where there is nothing to divide by."""
    return round(Fraction(value, by)) if by else None


def _usd_per(pico: int, by: int) -> str | None:
    quotient = _quotient(pico, by)
    return None if quotient is None else pico_to_usd(quotient)


def _share(part: int, whole: int) -> str | None:
    """A part of one, as a decimal text of at most four decimals."""
    parts = _quotient(RATIO_UNIT * part, whole)
    return None if parts is None else parts_of_one(parts)
