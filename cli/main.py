"""The command line: ``keledger COMMAND``, and what becomes of its errors."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

import keledger

from ._group import Entry, LazyGroup
from ._guard import guarded, output_gone
from ._options import Settings, color_option, home_option, json_option
from ._output import Output

SECTIONS = {
    "Reports": {
        "daily": Entry("keledger.cli._report_commands:daily", "Show what the calls of each day cost."),
        "weekly": Entry("keledger.cli._report_commands:weekly", "Show what the calls of each week cost."),
        "monthly": Entry("keledger.cli._report_commands:monthly", "Show what the calls of each month cost."),
        "sessions": Entry("keledger.cli._report_commands:sessions", "Show what each session cost."),
        "session": Entry("keledger.cli._detail_commands:session", "Show one session by statement and call."),
        "call": Entry("keledger.cli._detail_commands:call", "Show one call with every price line."),
        "efficiency": Entry(
            "keledger.cli._efficiency:efficiency",
            "Show cost per call, output and success, and what would have saved some.",
        ),
        "whatif": Entry("keledger.cli._whatif:whatif", "Show what my calls would have cost on other terms."),
        "sql": Entry("keledger.cli._sql:sql", "Query the projections, read-only."),
        "export": Entry("keledger.cli._export:export", "Write calls or events for other programs."),
    },
    "Before a call": {
        "estimate": Entry("keledger.cli._estimate:estimate", "Tell what a call will take and cost, before it is made."),
        "estimates": Entry("keledger.cli._estimates:estimates", "Show how good estimates were, and what came of each."),
        "models": Entry("keledger.cli._models:models", "Show what models can and cost, and suggest one for a prompt."),
    },
    "Recording": {
        "run": Entry("keledger.cli._launcher:run", "Run a command and journal the model calls it makes."),
        "record": Entry("keledger.cli._record:record", "Record finished calls, one JSON object a line."),
        "void": Entry("keledger.cli._void:void", "Take a call out of every report, or back in."),
        "keprompt": Entry("keledger.cli._keprompt:keprompt", "Journal every KePrompt run of an environment."),
        "demo": Entry("keledger.cli._demo:demo", "Show it all, with a real KePrompt and imaginary money."),
    },
    "Budgets": {
        "budget": Entry("keledger.cli._budget:budget", "Set limits on what calls may cost, and see how they stand."),
        "alerts": Entry("keledger.cli._alerts:alerts", "Show which thresholds of budgets were crossed."),
    },
    "Prices": {
        "prices": Entry("keledger.cli._prices:prices", "Show and change the prices of calls."),
    },
    "Accounting": {
        "close": Entry("keledger.cli._close:close", "Close a month: its report shows the same digits from then on."),
        "reopen": Entry("keledger.cli._close:reopen", "Take the closing of a month back."),
        "reconcile": Entry("keledger.cli._reconcile:reconcile", "Set an invoice beside what was journaled."),
        "adjust": Entry(
            "keledger.cli._adjust:adjust", "Book money beside the calls: a credit, a tax, a fee, a difference."
        ),
    },
    "Journal": {
        "verify": Entry("keledger.cli._verify_commands:verify", "Check every line and price file."),
        "anchor": Entry(
            "keledger.cli._verify_commands:anchor", "Name every writer's last line, to hold the journal to it."
        ),
        "doctor": Entry("keledger.cli._doctor:doctor", "Check the home, the machine and the set-up."),
        "replay": Entry("keledger.cli._replay:replay", "Rebuild the projections, or compute costs again."),
        "merge": Entry("keledger.cli._journal_commands:merge", "Take in the journal of another home."),
        "schema": Entry("keledger.cli._journal_commands:schema", "Print the events' JSON Schema."),
        "completion": Entry("keledger.cli._completion:completion", "Print a shell's completion script."),
    },
}


class Program(LazyGroup):
    """The program: a group of commands whose every error ends in one line on stderr and an exit status."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Run one command and exit with its status; return the status instead with ``standalone_mode=False``."""
        standalone = options.pop("standalone_mode", True)
        _prepare_streams()
        run = super().main
        status = guarded(lambda: run(args, prog_name or "keledger", standalone_mode=False, **options))
        if standalone:
            sys.exit(status)
        return status

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the program's own options, of which ``--help`` and ``--version`` write already."""
        with _reader_may_leave():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        with _reader_may_leave():
            return super().invoke(ctx)


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Keep a broken pipe from click, which would end with 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(output_gone()) from None


def _prepare_streams() -> None:
    """Put nothing where a stream was closed, before a file takes its number; let no character end a report."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we live
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout is sys.__stdout__:
            _name_stdout(sys.stdout)
        sys.stdout.reconfigure(errors="backslashreplace")


def _name_stdout(stdout: io.TextIOWrapper) -> None:
    """Put an :class:`Output` below the process's own stdout.

    It is buffered with PYTHONUNBUFFERED, too: a raw write may take a part and say so, which nobody would look at.
    """
    stdout.flush()
    output = io.BufferedWriter(Output(stdout.fileno(), "w", closefd=False))
    # As sys.__stdout__, too, for that is what is asked for the terminal's width.
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(  # type: ignore[misc]
        output, encoding=stdout.encoding, line_buffering=stdout.line_buffering
    )


@click.group(
    cls=Program,
    sections=SECTIONS,
    name="keledger",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@home_option
@json_option
@color_option
@click.version_option(keledger.__version__, prog_name="keledger", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Journal what LLM calls cost, and see it: every call is one immutable line, everything else is computed from them.

    Tables on a terminal, JSON in a pipe.  --home, --json and --pretty may stand behind the command's name as well.
    """
    ctx.ensure_object(Settings)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` where no *arguments* are given) and return its exit status."""
    status: int = program.main(arguments, standalone_mode=False)
    return status
