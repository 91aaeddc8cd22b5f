"""Closing months, repricing and adjusting, without the command line."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keledger.journal import Home, Ledger, anchor, usd_to_pico
from keledger.projections import (
    Closing,
    Report,
    ReportOptions,
    closing_data,
    list_periods,
    open_projection,
    report_closed,
    report_monthly,
)
from tests.cli.support import Outcome, keledger_process


def close_month(home: Home, ledger: Ledger, period: str, timezone: str = "UTC") -> str:
    """Close a month, as the command does; returns the event's id."""
    through = anchor(home)
    with open_projection(home, through={line.writer: line.seq for line in through.lines}) as projection:
        data = closing_data(projection, period, timezone, through)
    return ledger.close_period(data, "test")


def monthly(home: Home, **options: Any) -> Report:
    """The monthly report."""
    with open_projection(home) as projection:
        return report_monthly(projection, ReportOptions(**options))


def closings(home: Home) -> list[Closing]:
    """The closings that stand."""
    with open_projection(home) as projection:
        return list_periods(projection).standing()


def shown(home: Home, closing: Closing) -> dict[str, Any]:
    """Rows, totals and corrections of a closed month."""
    with open_projection(home, through=closing.through) as projection:
        document = report_closed(projection, closing).as_json()
    return {name: document[name] for name in ("rows", "totals", "corrections")}


def at_once(number: int, *arguments: str) -> list[Outcome]:
    """Run a command as so many processes at once."""
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(lambda _: keledger_process(*arguments), range(number)))


def pico(sums: Mapping[str, Any], *names: str) -> int:
    """The sum of amounts, in picodollars; what has no cost is nothing."""
    return sum(usd_to_pico(sums[name] or "0") for name in names)
