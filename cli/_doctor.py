"""``keledger doctor``: whether the home, the machine and the set-up are as keledger needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from keledger.journal import Check, Home, HomeError, KeledgerError, Ledger, diagnose, lock_is_free
from keledger.projections import check_projections, projection_state

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json
from ._table import printable

COLORS = {"ok": "green", "note": "yellow", "problem": "red"}


@command(
    name="doctor",
    examples=("keledger doctor", "keledger doctor --json | jq '.checks[] | select(.state == \"problem\")'"),
    statuses={3: "a problem was found; notes alone are 0"},
)
@common_options
@pass_settings
def doctor(settings: Settings) -> None:
    """Check the home, the machine and the set-up.

    Each line is ok, a note, or a problem with what to do.  The journal is not read through: keledger verify does that.
    Calls that wait in the spool are brought in.  Nothing else is changed, but for one small file that is written,
    synced and removed again.
    """
    home = settings.home
    brought_in = _bring_in(home)
    checks = [*brought_in, *examine(home)]
    problems, notes = (sum(check.state == state for check in checks) for state in ("problem", "note"))
    if settings.as_json:
        rows = [check.as_json() for check in checks]
        head = {"schema_version": 1, "report": "doctor", "home": str(home.path), "problems": problems, "notes": notes}
        write_json({**head, "checks": rows})
    else:
        _show(checks)
        click.echo()
        click.echo(f"{_counted(problems, 'problem')}, {_counted(notes, 'note')}.")
    if problems:
        raise click.exceptions.Exit(3)


def _bring_in(home: Home) -> list[Check]:
    """Journal what waits in the spool, as every append does; what keeps it waiting is for the checks to say.

    Where somebody holds the lock it is left to the next append, for that may wait for long.
    """
    if not home.spool.is_dir() or not lock_is_free(home):
        return []
    with contextlib.suppress(KeledgerError, OSError), Ledger.open(home.path) as ledger:
        count = ledger.bring_in_spooled()
        if count:
            noun = "call that waited in the spool was" if count == 1 else "calls that waited in the spool were"
            return [Check("spool", "note", f"{count:,} {noun} journaled now", None)]
    return []


def examine(home: Home) -> Sequence[Check]:
    """All checks: those of the journal's side, then that of the caches."""
    try:
        state = projection_state(home)
    except HomeError as error:
        remedy = "give yourself access to it, or move away what stands there"
        return (*diagnose(home), Check("projections", "problem", str(error), remedy))
    return (*diagnose(home, unread=state.unread), check_projections(state))


def _show(checks: Sequence[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = click.style(
            check.state.ljust(len("problem")), fg=COLORS[check.state], bold=check.state == "problem" or None
        )
        click.echo(f"{state}  {check.name.ljust(width)}  {printable(check.sentence)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
