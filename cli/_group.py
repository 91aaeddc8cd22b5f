"""The kinds of command that keledger is made of: each with examples and exit statuses, imported when it is used."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

STATUSES: Mapping[int, str] = {
    0: "done",
    1: "a failure; stderr says what happened and what to do",
    2: "the command line is not well-formed",
    130: "Ctrl-C",
    141: "whoever read stdout left",
}
"""What every command may exit with; a command adds its own."""


class Command(click.Command):
    """A command that shows examples and says its exit statuses."""

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), statuses: Mapping[int, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.statuses = dict(sorted({**STATUSES, **(statuses or {})}.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments.  Python hands in bytes that are not UTF-8 as surrogates, which nothing here can hold."""
        for argument in args:
            if not argument.isascii() and any("\udc80" <= character <= "\udcff" for character in argument):
                raise click.UsageError(f"argument {argument!r} is not valid UTF-8", ctx)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit statuses below the options."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        with formatter.section("Exit status"):
            formatter.write_dl([(str(status), meaning) for status, meaning in self.statuses.items()])


def command(
    *,
    examples: Sequence[str],
    statuses: Mapping[int, str] | None = None,
    kind: type[Command] = Command,
    **options: Any,
) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a function as a :class:`Command`; its docstring's first sentence is the summary."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(cls=kind, examples=examples, statuses=statuses, **options)(function)

    return decorate


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet: ``module:attribute``, and its summary for the list of commands."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{self.target} is no command")
        return loaded


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; listing them imports none.

    *sections* maps a heading of the list to its commands, by name.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Entry]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """All commands in the order of their sections."""
        for section in self.sections.values():
            yield from section.items()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order in which help lists them."""
        return [name for name, _ in self.entries()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for an unknown name."""
        entry = dict(self.entries()).get(cmd_name)
        return entry.load() if entry is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was named; an unknown one is answered with the nearest that there is."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx) and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, from what is known without importing them."""
        width = max(len(name) for name, _ in self.entries())
        for heading, section in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in section.items()])
