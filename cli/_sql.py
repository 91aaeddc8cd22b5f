"""``keledger sql``: any question that the reports do not answer."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from keledger.journal import UsageError
from keledger.projections import SqlResult, open_projection, run_sql

from ._group import Command, command
from ._options import Settings, common_options, pass_settings, prices_option
from ._output import say, warn_findings, write_json, write_table
from ._progress import Progress
from ._table import Column, Table

MEMORY_ABOVE_BYTES = 2 * 1024**3
"""Address space that a statement may take: twice DuckDB's own limit, as threads reserve some that they never touch."""

TIMEOUT_MAX_S = 24 * 3600.0
"""A longer wait is surely a slip."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class _StatementCommand(Command):
    """Takes an argument that begins with an SQL comment as the statement that it is, not as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args and any(argument.startswith("-- ") for argument in args):
            args = sorted(args, key=lambda argument: argument.startswith("-- "))
            args.insert(len(args) - 1, "--")
        return super().parse_args(ctx, args)


@command(
    name="sql",
    kind=_StatementCommand,
    examples=(
        "keledger sql 'SELECT model, sum(cost_usd) AS usd FROM calls GROUP BY model ORDER BY usd DESC'",
        "keledger sql 'DESCRIBE calls'",
        "keledger --json sql - < question.sql",
    ),
    statuses={
        1: "a failure, or the statement took too long",
        2: "the statement is not acceptable, or the command line",
    },
)
@click.argument("statement", metavar="STATEMENT|-")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True, max=TIMEOUT_MAX_S),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the statement after so long.",
)
@prices_option
@common_options
@pass_settings
def sql(settings: Settings, statement: str, timeout_s: float, prices: str) -> None:
    """Query the projections, read-only.

    STATEMENT is one SELECT in DuckDB's SQL over the tables calls, charges, sessions, daily, events, uncounted, prices,
    repricings, budgets, budget_windows, holds and alerts; - reads it from stdin.  Those with costs stand at other
    prices, too: recorded.calls, latest.daily, "known:2026-10-01".charges.  It reaches nothing else: no files, no
    settings, no extensions.
    """
    if not math.isfinite(timeout_s):
        raise UsageError("--timeout must be a number of seconds")
    text = _from_stdin() if statement == "-" else statement
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        findings = [finding.as_json() for finding in projection.findings]
        _bound_memory()
        result = run_sql(projection, text, basis=prices, timeout_s=timeout_s, on_stuck=lambda: _give_up(timeout_s))
    if settings.as_json:
        write_json(result.as_json())
    else:
        write_table(result_table(result))
    warn_findings(findings)


def _bound_memory() -> None:
    """Let the kernel refuse what DuckDB's own limit does not count: the results of scalar functions.

    This process ends with the statement, so nobody else is bound.  Only Linux tells and holds an address space.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MEMORY_ABOVE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    except (OSError, ValueError):
        pass


def _give_up(timeout_s: float) -> None:
    """End a process that is stuck in one function of DuckDB, which nothing else can stop.  It only reads."""
    say(f"the statement did not end {timeout_s:g} s after its start, nor when it was interrupted: ask for less")
    sys.stderr.flush()
    os._exit(1)


def _from_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8: byte {error.start + 1} is 0x{error.object[error.start]:02x}") from None


def result_table(result: SqlResult) -> Table:
    """A result as a table: columns of numbers stand right, and a narrow terminal loses columns from the right."""
    columns = [
        Column(name, number=_are_numbers(result.rows, name), drop=place) for place, name in enumerate(result.columns)
    ]
    table = Table(columns)
    for row in result.rows:
        table.add(*(_cell(row[name]) for name in result.columns))
    return table


def _are_numbers(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row[name] is not None]
    return bool(values) and all(_is_number(value) for value in values)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
