"""``keledger keprompt enable | disable | status``: journal every KePrompt run of an environment, without `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from keledger.journal.capture import Installation, KePromptUnusable, disable, enable, find, find_all

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json, write_table
from ._table import Column, Table


def _place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    script = click.option(
        "--keprompt", "script", metavar="SCRIPT", help="A keprompt script, whose first lines name its Python."
    )
    interpreter = click.option(
        "--python", metavar="INTERPRETER", help="The Python that runs keprompt, where no script names it."
    )
    return script(interpreter(function))


@click.group(name="keprompt")
def keprompt() -> None:
    """Journal every KePrompt run of an environment.

    One .pth file there has its KePrompt watched whenever it runs, with nothing to type in front.  The environment
    needs neither keledger nor anything that keledger depends on.
    """


@command(
    name="enable",
    examples=(
        "keledger keprompt enable",
        "keledger keprompt enable --keprompt ~/.local/bin/keprompt",
        "keledger keprompt enable --python ~/.local/pipx/venvs/keprompt/bin/python",
    ),
)
@_place_options
@click.option(
    "--statements", is_flag=True, help="Understand .budget and .cost_check in prompt files; off by default, for a "
    "KePrompt without keledger sends them to the model.",
)  # fmt: skip
def enable_command(script: str | None, python: str | None, statements: bool) -> None:
    """Have the KePrompt on PATH, or the one named, journal its calls whenever it runs."""
    found = enable(find(script, python), statements=statements)
    click.echo(f"Calls of keprompt {found.version} ({found.interpreter}) are journaled from now on: {found.pth}")
    if statements:
        say(
            "prompts may hold .budget and .cost_check here; any KePrompt without this sends such a line to the model "
            "and cannot reply to a chat that holds one"
        )


@command(name="disable", examples=("keledger keprompt disable",))
@_place_options
def disable_command(script: str | None, python: str | None) -> None:
    """Take that back; what is journaled stays."""
    found = find(script, python)
    if not found.enabled:
        click.echo(f"Nothing to take back: {found.pth} is not there")
        return
    disable(found)
    click.echo(f"Calls of keprompt ({found.interpreter}) are journaled under `keledger run` only: {found.pth} removed")


@command(
    name="status",
    examples=("keledger keprompt status", "keledger keprompt status --json"),
    statuses={1: "a failure, or a keprompt that is enabled cannot be watched"},
)
@_place_options
@common_options
@pass_settings
def status_command(settings: Settings, script: str | None, python: str | None) -> None:
    """Show each KePrompt on PATH and beside keledger, or the one named: its version, and whether it is watched."""
    places = list(find_all()) if script is None and python is None else [find(script, python)]
    found = [place for place in places if isinstance(place, Installation)]
    problems = [str(place) for place in places if isinstance(place, KePromptUnusable)]
    if settings.as_json:
        write_json({"schema_version": 1, "report": "keprompt_status", "rows": [_row(place) for place in found]})
    elif found:
        table = Table([Column("Interpreter"), Column("keprompt"), Column("Fits"), Column("Watched by")])
        for place in found:
            table.add(place.interpreter, place.version or "none", "yes" if place.fits else "no", _watched_by(place))
        write_table(table)
    for problem in problems:
        say(problem)
    if not found and not problems:
        say("no keprompt is on PATH or beside keledger: give --keprompt SCRIPT or --python INTERPRETER")
    for place in found:
        if place.enabled and not (place.fits and place.intact):
            say(f"{place.interpreter}: {_complaint(place)}")
    if any(place.enabled and not (place.fits and place.intact) for place in found):
        raise click.exceptions.Exit(1)


def _row(place: Installation) -> dict[str, Any]:
    return {
        "interpreter": place.interpreter,
        "python": place.python,
        "keprompt": place.version,
        "fits": place.fits,
        "enabled": place.enabled,
        "keledger": place.keledger,
        "keledger_present": place.intact if place.enabled else None,
        "statements": place.statements,
        "pth": str(place.pth),
    }


def _watched_by(place: Installation) -> str:
    if not place.enabled:
        return "nobody (keledger keprompt enable)"
    remarks = [*([] if place.intact else ["gone"]), *(["statements on"] if place.statements else [])]
    return f"{place.keledger} ({', '.join(remarks)})" if remarks else str(place.keledger)


def _complaint(place: Installation) -> str:
    if not place.intact:
        return f"{place.pth} points to a keledger that is gone: run keledger keprompt enable, or disable"
    return (
        f"keprompt {place.version} calls models in a way that this keledger does not know; its calls are not journaled"
    )


for subcommand in (enable_command, disable_command, status_command):
    keprompt.add_command(subcommand)
