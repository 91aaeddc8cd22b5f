"""``keledger completion``: what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ._group import command


@command(
    name="completion",
    examples=(
        'eval "$(keledger completion bash)"     # in ~/.bashrc',
        "keledger completion fish > ~/.config/fish/completions/keledger.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    complete = get_completion_class(shell)
    if complete is None:  # every choice has one; told to the type checker
        raise click.BadParameter(f"{shell} is not supported")
    click.echo(complete(ctx.find_root().command, {}, "keledger", "_KELEDGER_COMPLETE").source())
