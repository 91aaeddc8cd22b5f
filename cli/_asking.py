"""Questions before something is written: asked on a terminal, answered by ``--yes`` elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from keledger.journal import KeledgerError

from ._options import Settings


def ask(
    settings: Settings,
    questions: Sequence[str],
    *,
    yes: int,
    nothing: str,
    twice: str = "",
    instead: str = "look at it with --dry-run, then give --yes",
) -> None:
    """Ask each question that ``--yes`` has not answered, *yes* being how often it was given.

    Raises KeledgerError, which begins with *nothing* ("nothing was written"), where an answer is no, where the input
    ends, and where nobody can be asked: then *instead* says what to do, and *twice* why there are two questions.
    """
    if yes >= len(questions):
        return
    if settings.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        more = f" twice, for {twice}" if len(questions) > 1 and twice else ""
        raise KeledgerError(f"{nothing}, for nobody can be asked here: {instead}{more}")
    for question in questions[yes:]:
        try:
            agreed = click.confirm(question)
        except click.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise
            raise KeledgerError(f"{nothing}: the input ended before the answer") from None
        if not agreed:
            raise KeledgerError(nothing)
