"""``keledger run`` behind options of the program: ``keledger --home DIR run -- CMD``.

Without such options :mod:`keledger.__main__` calls the launcher before click is imported.
"""

from __future__ import annotations

import click

from ._options import Settings, pass_settings
from .run import main


class Verbatim(click.Command):
    """A command whose arguments, ``--`` and ``--help`` included, are somebody else's to read."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep all arguments as they are."""
        ctx.args = list(args)
        return []


@click.command(name="run", cls=Verbatim, add_help_option=False)
@pass_settings
@click.pass_context
def run(ctx: click.Context, settings: Settings) -> None:
    """Run a command and journal the model calls it makes."""
    ctx.exit(main(ctx.args, settings.home_folder))
