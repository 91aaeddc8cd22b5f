"""``keledger budget``: limits on what calls may cost, and what has become of them."""

from __future__ import annotations

import click

from ._group import Entry, LazyGroup

SECTIONS = {
    "Looking": {
        "list": Entry("keledger.cli._budget_list:list_budgets", "Show the budgets that stand."),
        "status": Entry("keledger.cli._budget_status:status", "Show how much of each budget is spent, held and left."),
        "explain": Entry(
            "keledger.cli._budget_explain:explain", "Show every charge and every hold of one window of a budget."
        ),
        "check": Entry("keledger.cli._budget_check:check", "Say whether anything is left of budgets."),
        "backtest": Entry(
            "keledger.cli._budget_backtest:backtest_budget", "Show what a budget that is not set would have done."
        ),
        "holds": Entry("keledger.cli._budget_holds:holds", "Show the holds that no cost has settled."),
    },
    "Changing": {
        "set": Entry("keledger.cli._budget_set:set_budget", "Set a budget: what calls may cost in a period."),
        "raise": Entry("keledger.cli._budget_set:raise_budget", "Raise a budget's limit, for good or for a time."),
        "remove": Entry("keledger.cli._budget_set:remove_budget", "Remove a budget."),
        "resolve": Entry("keledger.cli._budget_holds:resolve", "Say what the call of a lost hold cost."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS, name="budget")
def budget() -> None:
    """Set limits on what calls may cost, and see how they stand.

    A budget counts what calls cost in a day, a week, a month, a session, or since ever.  Before a call is sent, what it
    may cost is held back from every budget that covers it; where one of them has not enough left, the call is refused
    and nothing is sent.
    """
