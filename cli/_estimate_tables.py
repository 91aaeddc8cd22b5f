"""Estimates as a table: tokens, cost, and below it how they were come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from keledger.journal.estimates import Estimate, ManyEstimate

from ._output import write_table
from ._table import Column, Table, count, money, printable, terminal_width, wrapped

UNKNOWN = "?"
"""In a table, for what nobody knows."""

BASES = {
    "prompt": "{calls} of this prompt",
    "model": "{calls} of the model",
    "prior": "no calls yet",
}
"""What was learned from, for people."""


def write_estimates(rows: Sequence[Estimate]) -> None:
    """Write the estimates, one a row, and below them what is to be known of each."""
    table = Table(
        [
            Column("Model", least=20),
            Column("Input", number=True),
            Column("5-95 %", number=True, drop=3),
            Column("Output", number=True),
            Column("90 %", number=True, drop=4),
            Column("Max", number=True, drop=5),
            Column("Cost", number=True),
            Column("90 %", number=True),
            Column("Max", number=True, drop=2),
            Column("Counted by", least=18, drop=1),
        ]
    )
    for row in rows:
        table.add(
            f"{row.terms.provider}/{row.terms.model}",
            count(row.input.p50),
            f"{count(row.input.p5)}-{count(row.input.p95)}",
            count(row.output.p50),
            count(row.output.p90),
            _count(row.output.max),
            dollars(row.cost.p50_usd),
            dollars(row.cost.p90_usd),
            dollars(row.cost.max_usd),
            row.method,
        )
    write_table(table, "tokens and cost of one call: at the median, for nine of ten, and at most")
    for sentence in _sentences(rows):
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)


def write_many(rows: Sequence[ManyEstimate]) -> None:
    """Write the estimates of many calls together, one a row, and below them what is to be known of each."""
    table = Table(
        [
            Column("Model", least=20),
            Column("Calls", number=True),
            Column("Input", number=True, drop=2),
            Column("Output", number=True, drop=3),
            Column("Cost", number=True),
            Column("90 %", number=True),
            Column("Max", number=True, drop=1),
        ]
    )
    for row in rows:
        models = row.models
        table.add(
            "/".join(models[0]) if len(models) == 1 else f"{len(models)} models",
            count(row.calls),
            count(row.drawn.input_p50),
            count(row.drawn.output_p50),
            dollars(row.p50_usd),
            dollars(row.p90_usd),
            dollars(row.max_usd),
        )
    write_table(table, "tokens and cost of all calls together: at the median, in nine of ten cases, and at most")
    for row in rows:
        name = f"{row.models[0][1]}: " if len(rows) > 1 else ""
        taken, answer = row.rows[0].input, row.rows[0].output
        learned = f"{learned_from(taken.basis, taken.calls)}, output from {learned_from(answer.basis, answer.calls)}"
        for sentence in (f"input learned from {learned}", *row.notes):
            for line in wrapped(printable(f"{name}{sentence}."), terminal_width()):
                click.echo(line)


def dollars(usd: str | None) -> str:
    """An amount for a table, or that nobody knows it."""
    return UNKNOWN if usd is None else money(usd)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else count(value)


def _sentences(rows: Sequence[Estimate]) -> Iterator[str]:
    for row in rows:
        name = f"{row.terms.model}: " if len(rows) > 1 else ""
        taken, answer = learned_from(row.input.basis, row.input.calls), learned_from(row.output.basis, row.output.calls)
        yield f"{name}input learned from {taken}, output from {answer}."
        for note in row.notes:
            yield f"{name}{note}."


def learned_from(basis: str, calls: int) -> str:
    """From what a figure was learned, for people."""
    return BASES[basis].format(calls=f"{count(calls)} call{'' if calls == 1 else 's'}")
