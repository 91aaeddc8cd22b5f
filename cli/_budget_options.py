"""What a budget may say, as options: for one that is set, and for one that is only tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from keledger.journal.budgets import ACTIONS, HOLDS, ON_LOST, PERIODS

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--limit", metavar="USD", required=True, help="What calls may cost in a period."),
    click.option("--period", metavar="PERIOD", required=True, help=f"{', '.join(PERIODS)} (N days)."),
    click.option(
        "--where",
        metavar="COLUMN=VALUE,…",
        multiple=True,
        help="Only such calls: project=crm; team= (has none); user=* (a limit for each).  May be given again.",
    ),
    click.option(
        "-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's."
    ),
    click.option("--week-start", metavar="DAY", help="What a week starts on: mon, sun.  [default: mon]"),
    click.option("--warn", metavar="PERCENT,…", help="Where to warn, or none.  [default: 80,100]"),
    click.option(
        "--action",
        type=click.Choice(ACTIONS),
        default="block",
        show_default=True,
        help="Refuse a call that does not fit, or just warn.",
    ),
    click.option(
        "--hold",
        type=click.Choice(HOLDS),
        default="p90",
        show_default=True,
        help="How much is held back for a call under way: what so many of its kind cost at most, or the most possible.",
    ),
    click.option(
        "--on-lost",
        type=click.Choice(ON_LOST),
        default="count",
        show_default=True,
        help="Whether a call of which nobody knows what it cost counts at what was held back for it.",
    ),
    click.option(
        "--unpriced",
        metavar="block|allow|USD",
        help="What becomes of calls without a price; USD counts them at that much a million tokens.  "
        "[default: --action's]",
    ),
)


def policy_options(function: _Decorated) -> _Decorated:
    """Let a command take everything that :func:`.budget_fields` does, but the name."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
