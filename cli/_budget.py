"""``keledger budget``: limits on what calls may cost, and what has become of them."""

from __future__ import annotations

import click

from ._group import Entry, LazyGroup

SECTIONS = {
    "Looking": {
        "list": Entry("keledger.cli._budget_list:list_budgets", "Show the budgets that stand."),
    },
    "Changing": {
        "set": Entry("keledger.cli._budget_set:set_budget", "Set a budget: what calls may cost in a period."),
        "raise": Entry("keledger.cli._budget_set:raise_budget", "Raise a budget's limit, for good or for a time."),
        "remove": Entry("keledger.cli._budget_set:remove_budget", "Remove a budget."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS, name="budget")
def budget() -> None:
    """Set limits on what calls may cost, and see how they stand.

    A budget counts what calls cost in a day, a week, a month, a session, or since ever.  Before a call is sent, what it
    may cost is held back from every budget that covers it; where one of them has not enough left, the call is refused
    and nothing is sent.
    """
