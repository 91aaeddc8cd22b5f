"""The rows, each a module with a function that measures and yields figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bench._figures import Figure
from bench._workshop import Workshop

from . import (
    append,
    calc_price,
    catch_up,
    ccusage,
    counting,
    daily,
    estimates,
    holds,
    memory,
    overshoot,
    rebuild,
    record,
    reprice,
    run,
    sqlite,
    verify,
)

Measure = Callable[[Workshop], Iterator[Figure]]

ROWS: Mapping[str, Measure] = {
    "append": append.measure,
    "record": record.measure,
    "run": run.measure,
    "rebuild": rebuild.measure,
    "memory": memory.measure,
    "daily": daily.measure,
    "catch-up": catch_up.measure,
    "verify": verify.measure,
    "sqlite": sqlite.measure,
    "calc-price": calc_price.measure,
    "reprice": reprice.measure,
    "holds": holds.measure,
    "ccusage": ccusage.measure,
    "overshoot": overshoot.measure,
    "estimates": estimates.measure,
    "counting": counting.measure,
}
"""By name, in the order in which they run."""
