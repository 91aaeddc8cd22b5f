"""``keledger run``: the launcher, from its command line to its closing line."""

from __future__ import annotations

import os
import sys

from ._run_request import HELP, Request, WrongUsage, home_folder, open_estimating, say

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from keledger.journal import Totals
    from keledger.journal.capture import Outcome


def main(arguments: Sequence[str], home: str | None = None) -> int:
    """Run ``keledger run`` with *arguments* and return its exit status.  *home* is the ``--home`` before it."""
    try:
        request = Request(arguments)
    except WrongUsage as error:
        say(f"{error} (keledger run --help)")
        return 2
    if request.help:
        return _show_help()
    try:
        folder = home_folder(home)
    except FileNotFoundError:
        say("the working folder is gone, and the home's path is a relative one: give an absolute path")
        return 2
    from keledger.journal.capture import CommandNotStarted, launch

    try:
        if request.estimate:
            from ._run_estimate import show_estimate

            return show_estimate(request, folder)
        outcome = launch(
            request.command,
            home=folder,
            flags=request.flags,
            say=say,
            statements=request.statements,
            open_estimating=lambda: open_estimating(folder),
        )
    except CommandNotStarted as error:
        say(str(error))
        return error.status
    if not request.quiet:
        _close(outcome)
    return outcome.status


def _show_help() -> int:
    """Write the help text; returns the exit status."""
    if sys.stdout is None:
        return 0
    try:
        sys.stdout.write(HELP)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where no later flush fails once more
        if isinstance(error, BrokenPipeError):
            return 128 + 13
        say(f"the output cannot be written: {error.strerror}")
        return 1
    return 0


def _close(outcome: Outcome) -> None:
    if outcome.recorded:
        from keledger.journal import tail_totals

        try:
            of_run, of_today = tail_totals(os.environ["KELEDGER_HOME"], run=outcome.run)
        except Exception as error:  # noqa: BLE001  whatever it is, the command's own status stands
            say(f"{outcome.recorded} calls are journaled, but their cost cannot be read: {error}")
        else:
            say(closing_line(of_run, of_today, outcome))
    elif outcome.spooled or outcome.unsent or outcome.refused or outcome.unconfirmed:
        say(closing_line(None, None, outcome))


def closing_line(of_run: Totals | None, of_today: Totals | None, outcome: Outcome) -> str:
    """One line on a run: its calls and what is wrong with some, tokens, cost, today's cost, what its budget leaves."""
    calls = of_run.calls if of_run else 0
    remarks = [
        f"{count:,} {what}"
        for count, what in (
            (of_run.failed_calls if of_run else 0, "failed"),
            (of_run.unknown_calls if of_run else 0, "without an answer"),
            (of_run.unpriced_calls if of_run else 0, "without a price"),
            (outcome.spooled, "not journaled yet"),
            (outcome.unsent, "never sent"),
            (outcome.refused, "refused by a budget"),
            (outcome.unconfirmed, "not confirmed"),
        )
        if count
    ]
    line = f"{calls:,} call{'' if calls == 1 else 's'}"
    if remarks:
        line += f" ({', '.join(remarks)})"
    if of_run is not None and of_today is not None:
        tokens = f"{of_run.input_tokens:,} input + {of_run.output_tokens:,} output tokens"
        line += f", {tokens}, {_cost(of_run)}{_expected(outcome, calls)}; today {_cost(of_today)}"
    if outcome.budget is not None:
        line += f"; {_dollars(outcome.budget['left_usd'])} left of {_dollars(outcome.budget['limit_usd'])}"
    return line


def _expected(outcome: Outcome, calls: int) -> str:
    """What the run's calls were expected to cost, where they were estimated."""
    if not outcome.expected_usd:
        return ""
    from decimal import Decimal

    known = [Decimal(usd) for usd in outcome.expected_usd if usd is not None]
    of = "" if len(known) == calls else f" for {len(known):,} of them"
    return f" (estimated {_dollars(f'{sum(known):f}')}{of})" if known else " (no estimate: nobody knew a price)"


def _cost(totals: Totals) -> str:
    if totals.calls and totals.calls == totals.unpriced_calls + totals.unknown_calls:
        return "cost unknown"
    return _dollars(totals.cost_usd)


def _dollars(amount: str) -> str:
    from keledger.journal._money import shown_usd

    return shown_usd(amount)
