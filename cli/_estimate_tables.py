"""Estimates as a table: tokens, cost, and below it how they were come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from keledger.journal.estimates import Estimate, ManyEstimate

from ._output import write_table
from ._table import Column, Table, count, money, printable, terminal_width, wrapped

UNKNOWN = "?"
"""In a table, for what nobody knows."""

BASES = {
    "prompt": "learned from {calls} of this prompt",
    "model": "learned from {calls} of this model",
    "prior": "by shipped figures",
}
"""What was learned from, for people."""

NOTHING_LEARNED = "there is no past call to learn from yet, so all ranges are shipped figures"


def write_estimates(rows: Sequence[Estimate]) -> None:
    """Write the estimates, one a row, and below them what is to be known of each."""
    table = Table(
        [
            Column("Model"),
            Column("Input", number=True, drop=1),
            Column("In 5-95 %", number=True, drop=4),
            Column("Output", number=True, drop=1),
            Column("Out 90 %", number=True, drop=3),
            Column("Out max", number=True, drop=5),
            Column("Cost", number=True),
            Column("Cost 90 %", number=True),
            Column("Cost max", number=True, drop=2),
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
        )
    write_table(
        table,
        "Tokens, and cost in USD, of one call: at the median, for nine of ten (90 %), with the longest answer (max)",
    )
    for row in rows:
        learned = _learned(row.input.basis, row.input.calls, row.output.basis, row.output.calls)
        _say_of(row.terms.model if len(rows) > 1 else "", (f"input counted by {row.method}; {learned}", *row.notes))


def write_many(rows: Sequence[ManyEstimate]) -> None:
    """Write the estimates of many calls together, one a row, and below them what is to be known of each."""
    table = Table(
        [
            Column("Model"),
            Column("Calls", number=True),
            Column("Input", number=True, drop=3),
            Column("In 5-95 %", number=True, drop=7),
            Column("Output", number=True, drop=4),
            Column("Out 90 %", number=True, drop=6),
            Column("Cost", number=True),
            Column("Cost 90 %", number=True),
            Column("Cost max", number=True, drop=2),
            Column("Per call", number=True, drop=5),
        ]
    )
    for row in rows:
        table.add(
            _name(row),
            count(row.calls),
            count(row.drawn.input_p50),
            f"{count(row.drawn.input_p5)}-{count(row.drawn.input_p95)}",
            count(row.drawn.output_p50),
            count(row.drawn.output_p90),
            dollars(row.p50_usd),
            dollars(row.p90_usd),
            dollars(row.max_usd),
            dollars(row.per_call()[0]),
        )
    write_table(
        table,
        "Tokens, and cost in USD, of all calls together: at the median, in nine of ten cases (90 %), with the longest "
        "answers (max)",
    )
    for row in rows:
        told = row.as_json()
        taken, answer = told["input_tokens"], told["output_tokens"]
        learned = _learned(taken["basis"], taken["calls"], answer["basis"], answer["calls"])
        _say_of(
            _name(row).rpartition("/")[2] if len(rows) > 1 else "",
            (f"input counted by {', '.join(row.methods)}; {learned}", *row.notes),
        )


def dollars(usd: str | None) -> str:
    """An amount for a table, or that nobody knows it."""
    return UNKNOWN if usd is None else money(usd)


def learned_from(basis: str, calls: int) -> str:
    """From what a figure was learned, for people."""
    return BASES[basis].format(calls=f"{count(calls)} call{'' if calls == 1 else 's'}")


def _learned(input_basis: str, input_calls: int, output_basis: str, output_calls: int) -> str:
    if input_basis == output_basis == "prior":
        return NOTHING_LEARNED
    taken, answer = learned_from(input_basis, input_calls), learned_from(output_basis, output_calls)
    return f"input and output {taken}" if taken == answer else f"input {taken}, output {answer}"


def _name(row: ManyEstimate) -> str:
    models = row.models
    return "/".join(models[0]) if len(models) == 1 else f"{len(models)} models"


def _say_of(name: str, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        text = f"{name}: {sentence}." if name else f"{sentence[:1].upper()}{sentence[1:]}."
        for line in wrapped(printable(text), terminal_width()):
            click.echo(line)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else count(value)
