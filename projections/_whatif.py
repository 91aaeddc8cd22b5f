"""What the calls of a journal would cost on another model or other terms, beside what they do cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keledger.journal import Finding, UsageError
from keledger.journal._tokenizers import TokenRatio, load_tokenizers
from keledger.journal.prices import Book

from ._build import Progress
from ._hypothesis import Apart, Conversion, Hypothesis, WhatIfSums, parts_of_one
from ._options import ReportOptions, column
from ._projection import Projection
from ._reports import SCHEMA_VERSION
from ._whatif_pricing import MONTH, Comparing

_MODELS_NAMED_MAX = 5
"""More models than this in a sentence help nobody; JSON has each with its ratio."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What calls cost and would cost; ``rows`` are sums by the columns asked for, in order."""

    hypothesis: Hypothesis
    book: str | None
    options: ReportOptions
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str | None, ...], WhatIfSums], ...]
    total: WhatIfSums
    apart: tuple[Apart, ...]
    conversions: tuple[Conversion, ...]
    actual_book: str | None
    position: Mapping[str, int]
    findings: tuple[Finding, ...]

    def assumptions(self) -> list[str]:
        """What the figures rest on, in sentences."""
        return list(_assumptions(self))

    def as_json(self) -> dict[str, Any]:
        """As it is printed: money as decimal strings in USD."""
        return {
            "schema_version": SCHEMA_VERSION,
            "report": "whatif",
            "timezone": self.options.timezone,
            "currency": "USD",
            "prices": {"basis": self.options.basis, "book": self.actual_book},
            "hypothesis": self.hypothesis.as_json(self.book),
            "assumptions": self.assumptions(),
            "token_ratios": [conversion.as_json() for conversion in self.conversions],
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "rows": [dict(zip(self.columns, keys, strict=True)) | sums.as_json() for keys, sums in self.rows],
            "apart": [apart.as_json() for apart in self.apart],
            "totals": self.total.as_json(),
        }


def report_whatif(
    projection: Projection,
    hypothesis: Hypothesis,
    book: Book,
    options: ReportOptions | None = None,
    *,
    columns: Sequence[str] = (MONTH, "model"),
    on_progress: Progress | None = None,
) -> WhatIf:
    """What the calls that *options* mean cost, by its basis, and would cost under a hypothesis by the prices of *book*.

    *columns* are those of reports, or ``month``; ``by`` and ``breakdown`` of *options* are not looked at.  Raises
    UsageError.  *on_progress* is told steps done and steps in all.
    """
    options = options or ReportOptions()
    if len(set(columns)) < len(columns):
        raise UsageError(f"by names a column twice: {', '.join(columns)}")
    for name in columns:
        try:
            column(name if name != MONTH else "model")
        except UsageError as error:
            raise UsageError(f"{error}, or {MONTH}") from None
    projection.price_by(options.prices)

    def make() -> WhatIf:
        comparing = Comparing(hypothesis, book, options, columns, on_progress)
        rows, apart, conversions = projection.run(comparing.run)
        return WhatIf(
            hypothesis=hypothesis,
            book=book.sha256 if hypothesis.priced_anew else None,
            options=options,
            columns=tuple(columns),
            rows=tuple((keys, _discounted(sums, hypothesis)) for keys, sums in rows),
            total=_discounted(_total(sums for _, sums in rows), hypothesis),
            apart=tuple(apart),
            conversions=tuple(conversions),
            actual_book=projection.book,
            position=projection.positions,
            findings=projection.findings,
        )

    return projection.steadily(make)


def _total(parts: Iterable[WhatIfSums]) -> WhatIfSums:
    return WhatIfSums(*map(sum, zip(WhatIfSums(0, 0, 0, 0, 0), *parts, strict=True)))


def _discounted(sums: WhatIfSums, hypothesis: Hypothesis) -> WhatIfSums:
    low, high = map(hypothesis.discounted, (sums.low_pico, sums.high_pico))
    return sums._replace(low_pico=low, high_pico=high)


def _assumptions(report: WhatIf) -> Iterable[str]:
    hypothesis, book = report.hypothesis, report.book
    if hypothesis.model is not None:
        yield f"The same texts, answers and reasoning as in these calls, by {'/'.join(hypothesis.model)}."
    by_ratio: dict[TokenRatio, list[str]] = defaultdict(list)
    for conversion in report.conversions:
        by_ratio[conversion.ratio].append(conversion.model)
    for ratio, models in by_ratio.items():
        yield _token_sentence(ratio, models)
    if hypothesis.model is not None and not report.conversions:
        yield "All of these models have the same tokenizer: the counts are as they were."
    if hypothesis.no_cache:
        yield "Without a cache: what was read from one or written to one counts as plain input."
    for key, value in hypothesis.context.items():
        yield f"On the terms {key}={value}." if value else f"Without {key} among the terms."
    if book is None:
        yield f"The prices are those of the {report.options.basis} costs."
    elif hypothesis.prices_at is not None:
        yield (
            f"The prices are those of book {book[:12]} that were valid at the end of {hypothesis.prices_at} in "
            f"{report.options.timezone}, by the hour and weekday of each call."
        )
    else:
        yield f"The prices are those of book {book[:12]} that were valid at the time of each call."
    if hypothesis.discount_percent is not None:
        yield (
            f"A discount of {hypothesis.discount_percent:f} % is taken off each sum, which is rounded half-even "
            "to 0.000000000001 USD."
        )


def _token_sentence(ratio: TokenRatio, models: Sequence[str]) -> str:
    tokenizers = load_tokenizers()
    because = {
        "measured": f"measured over {tokenizers.texts} kinds of text by {tokenizers.date}",
        "published": "told by published figures, as data/tokenizers.toml has them",
        "assumed": "an assumption, for nothing is known of one of the tokenizers",
    }[ratio.basis]
    more = len(models) - _MODELS_NAMED_MAX
    named = ", ".join(models[:_MODELS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    least, most = parts_of_one(ratio.least), parts_of_one(ratio.most)
    return f"Another tokenizer than that of {named}: {least} to {most} times as many tokens ({because})."
