"""Estimates as they are shown: as JSON, or as a table with how they were come to below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from keledger.journal import format_time
from keledger.journal.estimates import Estimate, ManyEstimate
from keledger.projections import Projection

from ._options import Settings
from ._output import say, warn_findings, write_json, write_table
from ._table import Column, Table, count, money, printable, terminal_width, wrapped

UNKNOWN = "?"
"""In a table, for what nobody knows."""

LEARNED = {"prompt": "learned from {calls} of this prompt", "model": "learned from {calls} of this model"}
"""What was learned from, for people."""

NO_PAIRS = "with no call yet to learn from that names its estimate"
NO_ANSWERS = "by shipped figures, for too few calls are journaled to learn from"
NOTHING_LEARNED = "there is no past call to learn from yet, so all ranges are shipped figures"


def show(
    settings: Settings,
    rows: Sequence[Estimate] | Sequence[ManyEstimate],
    ids: Sequence[str],
    projection: Projection,
) -> None:
    """Write the estimates as a table, or as JSON."""
    if settings.as_json:
        terms = rows[0].terms
        write_json(
            {
                "schema_version": 1,
                "report": "estimate",
                "currency": "USD",
                "at": format_time(terms.at_us),
                "book": terms.book.sha256,
                "position": projection.positions,
                "findings": [finding.as_json() for finding in projection.findings],
                "rows": [row.as_json() for row in rows],
                **({"recorded": list(ids)} if ids else {}),
            }
        )
    else:
        if isinstance(rows[0], ManyEstimate):
            write_many([row for row in rows if isinstance(row, ManyEstimate)])
        else:
            write_estimates([row for row in rows if isinstance(row, Estimate)])
        for event_id in ids:
            say(f"journaled as {event_id}: a call that names it as estimate_id is held against it")
    warn_findings(finding.as_json() for finding in projection.findings)


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
        how = _how(row.method, row.input._asdict(), row.output._asdict())
        _say_of(row.terms.model if len(rows) > 1 else "", (how, *row.notes))


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
        how = _how(told["method"], told["input_tokens"], told["output_tokens"])
        _say_of(_name(row).rpartition("/")[2] if len(rows) > 1 else "", (how, *row.notes))


def dollars(usd: str | None) -> str:
    """An amount for a table, or that nobody knows it."""
    return UNKNOWN if usd is None else money(usd)


def _how(methods: str, taken: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """How it was counted, and from how many past calls learned, in one sentence."""
    if taken["basis"] == answer["basis"] == "prior":
        return f"input counted by {methods}; {NOTHING_LEARNED}"
    return f"input counted by {methods}, {_learned(taken, NO_PAIRS)}; output {_learned(answer, NO_ANSWERS)}"


def _learned(told: Mapping[str, Any], otherwise: str) -> str:
    calls = f"{count(told['calls'])} call{'' if told['calls'] == 1 else 's'}"
    return LEARNED[told["basis"]].format(calls=calls) if told["basis"] in LEARNED else otherwise


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
