"""How good estimates were, and single ones with what came of them, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import click

from keledger.projections import EstimateOptions

from ._output import write_table
from ._report_tables import ID_WIDTH, MODEL_WIDTH, NONE, local_time
from ._table import Column, Table, count, money, printable, terminal_width, wrapped

NOTHING = "-"
"""What stands in a table where there is nothing to tell of."""

EMPTY = (
    "No estimates: keledger estimate --record journals one, as do keledger run --confirm-above and calls of the model "
    "auto; the call that an estimate was made for names it as estimate_id.  --since and --where may leave out others."
)

_PERIODS = {"day": "date", "week": "week", "month": "month"}

_SHARES = (
    ("input_tokens", "median_error", "Error", 0),
    ("input_tokens", "p95_error", "95 %", 7),
    ("input_tokens", "coverage", "In range", 0),
    ("input_tokens", "median_width", "Range", 6),
    ("output_tokens", "at_most_p50", "Out <= 50 %", 9),
    ("output_tokens", "at_most_p90", "Out <= 90 %", 3),
    ("cost", "median_error", "Cost error", 4),
    ("cost", "at_most_p90", "Cost <= 90 %", 8),
)
"""Part, figure, title, and when it is left out on a narrow terminal."""

_LEGEND = (
    "Input: error of the median in the middle and in 95 of 100 cases, calls within the stated 5-95 % (90 % are to be), "
    "width of that range; output and cost: calls at or below the stated 50 % and 90 %, and the cost's error."
)

_APART = {
    "open": "without a call yet",
    "failed": "with a call that failed or of which no usage is known",
    "declined": "declined before the call",
    "surplus": "named by more calls than estimated",
}


def write_report(document: Mapping[str, Any], options: EstimateOptions) -> None:
    """Write how good estimates were, and below it what stands apart and what was wrong lately."""
    if not document["totals"]["estimates"]:
        _say(EMPTY)
        return
    write_table(_report_table(document, options), _heading("How good estimates were", options))
    for sentence in _sentences(document, options):
        _say(sentence)


def write_list(document: Mapping[str, Any], options: EstimateOptions) -> None:
    """Write single estimates, each with what came of it."""
    if not document["rows"]:
        _say(EMPTY)
        return
    write_table(_list_table(document), _heading("Estimates, and what came of them", options))
    left = document["estimates"] - len(document["rows"])
    if left:
        _say(f"and {_estimates(left)} before: --limit {document['estimates']} lists all.")


def _say(sentence: str) -> None:
    for line in wrapped(printable(sentence), terminal_width()):
        click.echo(line)


def _heading(title: str, options: EstimateOptions) -> str:
    parts = [title]
    if options.since or options.until:
        parts.append(f"{options.since or 'the first estimate'} to {options.until or 'now'}")
    parts += [f"{name}={value}" for name, value in options.where]
    return ", ".join([*parts, f"days of {options.timezone}", f"prices: {options.basis}"])


def _report_table(document: Mapping[str, Any], options: EstimateOptions) -> Table:
    heads = [*([_PERIODS[options.over]] if options.over else []), *options.by]
    limited = document["totals"]["output_tokens"]["above_max"] not in (None, "0")
    table = Table(
        [
            *(Column(_title(name), least=MODEL_WIDTH if name == "model" else 10) for name in heads),
            Column("Estimates", number=True, drop=5),
            Column("Met", number=True),
            *(Column(title, number=True, drop=drop) for _, _, title, drop in _SHARES),
            *([Column("Out > max", number=True)] if limited else []),
            Column("Estimated", number=True, drop=1),
            Column("Actual", number=True, drop=2),
        ]
    )
    for row in document["rows"]:
        table.add(*(NONE if row[name] is None else row[name] for name in heads), *_cells(row, limited))
    table.add(*["Total", *[""] * (len(heads) - 1)][: len(heads)], *_cells(document["totals"], limited), kind="total")
    return table


def _title(name: str) -> str:
    return name if name.startswith("tag:") else name.replace("_", " ").capitalize()


def _cells(row: Mapping[str, Any], limited: bool) -> Iterator[str]:
    yield count(row["estimates"])
    yield count(row["met_estimates"])
    for part, name, _, _ in _SHARES:
        yield percent(row[part][name])
    if limited:
        yield percent(row["output_tokens"]["above_max"])
    cost = row["cost"]
    mark = "*" if cost["estimates"] < row["met_estimates"] else ""
    for name in ("estimated_p50_usd", "actual_usd"):
        yield money(cost[name]) + mark if cost["estimates"] else NOTHING


def _sentences(document: Mapping[str, Any], options: EstimateOptions) -> Iterator[str]:
    totals = document["totals"]
    yield _LEGEND
    uncosted = totals["met_estimates"] - totals["cost"]["estimates"]
    if uncosted:
        yield f"* {_estimates(uncosted)} without a price, or of calls without a cost: not in these sums."
    apart = {what: totals[f"{outcome}_estimates"] for outcome, what in _APART.items()}
    if any(apart.values()):
        told = ", ".join(f"{count(number)} {what}" for what, number in apart.items() if number)
        yield f"Apart, in no figure: {told}."
    asked = totals["answers"]
    if any(asked.values()):
        told = ", ".join(f"{count(number)} {answer.replace('_', ' ')}" for answer, number in asked.items() if number)
        yield f"Asked before the call: {told}."
    for wrong in document["lately"]:
        about = ", ".join(_about(name, wrong[name]) for name in options.by)
        yield f"{about}: {wrong['message']}."


def _about(name: str, value: str | None) -> str:
    if value is None:
        return f"without {name}"
    return value if name == "model" else f"{name} {value}"


def _list_table(document: Mapping[str, Any]) -> Table:
    table = Table(
        [
            Column("When", least=19),
            Column("Model", least=20),
            Column("Prompt", least=8, drop=4),
            Column("Calls", number=True, drop=8),
            Column("Input", number=True),
            Column("5-95 %", number=True, drop=3),
            Column("Actual", number=True),
            Column("Output", number=True, drop=5),
            Column("Actual", number=True, drop=5),
            Column("Cost", number=True, drop=2),
            Column("Actual", number=True, drop=2),
            Column("Outcome", least=8),
            Column("Estimate", least=ID_WIDTH, drop=9),
        ]
    )
    zone = ZoneInfo(document["timezone"])
    for row in document["rows"]:
        taken, answer, cost = row["input_tokens"], row["output_tokens"], row["cost_usd"]
        table.add(
            local_time(row["estimated_at"], zone),
            f"{row['provider']}/{row['model']}",
            row["prompt"] or NONE,
            count(row["calls"]),
            count(taken["p50"]),
            f"{count(taken['p5'])}-{count(taken['p95'])}",
            _known(taken["actual"]),
            count(answer["p50"]),
            _known(answer["actual"]),
            NOTHING if cost["p50"] is None else money(cost["p50"]),
            NOTHING if cost["actual"] is None else money(cost["actual"]),
            row["outcome"],
            row["id"],
        )
    return table


def percent(share: str | None) -> str:
    """A share of one, for a table."""
    return NOTHING if share is None else f"{Decimal(share) * 100:.1f} %"


def _known(value: int | None) -> str:
    return NOTHING if value is None else count(value)


def _estimates(number: int) -> str:
    return f"{count(number)} estimate{'' if number == 1 else 's'}"
