"""What every command knows: where the home is, and how to show what it found."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import say

if TYPE_CHECKING:
    from keledger.journal import Home

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    """What the options that all commands share say."""

    home_folder: str | None = None
    json: bool | None = None
    """``--json`` or ``--pretty``, as given; None where neither was."""

    @property
    def home(self) -> Home:
        """The home that was asked for: ``--home``, else ``KELEDGER_HOME``, else the default."""
        from keledger.journal import Home

        return Home.at(self.home_folder)

    def home_to_read(self) -> Home:
        """The home, for a command that only reads: one that does not exist yet is an empty journal, which is told.

        Raises HomeError where something else is there.
        """
        home = self.home
        if not home.check():
            say(f"there is no journal at {home.path} yet")
        return home

    @property
    def as_json(self) -> bool:
        """Whether to write JSON: as given, else tables on a terminal and JSON anywhere else."""
        return not sys.stdout.isatty() if self.json is None else self.json


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _keep_home(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value:
        raise click.BadParameter("it is empty: give a folder")
    ctx.ensure_object(Settings).home_folder = value


def _keep_json(ctx: click.Context, _: click.Parameter, value: bool | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).json = value


def _keep_color(ctx: click.Context, _: click.Parameter, value: bool | None) -> None:
    ctx.color = value if value is not None else color_wanted()


def color_wanted() -> bool | None:
    """What the environment says of colour: ``NO_COLOR``, then ``FORCE_COLOR``; None leaves it to the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0", "false"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


home_option = click.option(
    "--home",
    metavar="DIR",
    expose_value=False,
    callback=_keep_home,
    help="The keledger home; else KELEDGER_HOME, else $XDG_DATA_HOME/keledger, else ~/.local/share/keledger.",
)
json_option = click.option(
    "-j/ ",
    "--json/--pretty",
    "json",
    default=None,
    expose_value=False,
    callback=_keep_json,
    help="JSON, or tables.  Without either: tables on a terminal, JSON in a pipe or a file.",
)
color_option = click.option(
    "--color/--no-color",
    default=None,
    expose_value=False,
    callback=_keep_color,
    help="Colour, or none; else as NO_COLOR, FORCE_COLOR and the terminal say.",
)

prices_option = click.option(
    "--prices",
    metavar="BASIS",
    default="current",
    show_default=True,
    help="recorded (at the call), current (after reprices), latest (by the newest book), or known:YYYY-MM-DD.",
)


def common_options(function: _Decorated) -> _Decorated:
    """Let a command take ``--home``, ``--json`` and ``--pretty`` behind its name, too."""
    return home_option(json_option(function))
