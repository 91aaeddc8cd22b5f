"""Writing what was found: tables or JSON to stdout, warnings to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from ._table import Table, printable, terminal_width, wrapped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FINDINGS_SHOWN_MAX = 20
"""More warnings than this under a table help nobody; ``keledger verify`` lists all."""

UPGRADE_NOTES = ("events_unread", "reader_outdated")
"""Nothing is damaged, but a later release would show more: whoever reads a report is to know."""


class OutputLost(OSError):
    """Stdout takes no more, for another reason than that its reader has left; ``strerror`` says which."""


class Output(io.FileIO):
    """Stdout below its buffers.  Where it fails it says so, for an error without a path could be any file's."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what the system takes of *data*.  Raises BrokenPipeError or OutputLost."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.errno, error.strerror) from error


def discard(stream: TextIO) -> None:
    """Let what a stream still holds, and the interpreter's own last flush of it, go nowhere instead of failing."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(sentence: str) -> None:
    """Write one line to stderr, whatever stands in the sentence; where stderr takes none, the exit status must do."""
    try:
        click.echo(f"keledger: {' '.join(printable_lines(sentence))}", err=True)
    except OSError:
        discard(sys.stderr)


def printable_lines(text: str) -> list[str]:
    """The text's lines without what would steer a terminal, blank ones left out."""
    return [printable(line.strip()) for line in text.splitlines() if line.strip()]


def write_json(value: Any) -> None:
    """Write a JSON document and a line feed in UTF-8: indented on a terminal, in one line elsewhere."""
    import orjson

    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0)
    try:
        text = orjson.dumps(value, option=option)
    except TypeError:  # a path whose bytes are no UTF-8, which only the standard library spells
        import json

        text = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    click.echo(text, nl=False)


def write_table(table: Table, heading: str | None = None, note: str | None = None) -> None:
    """Write a table, as wide as the terminal allows, under its heading and above a note."""
    width = terminal_width()
    above = wrapped(printable(heading), width) if heading else []
    below = wrapped(printable(note), width) if note else []
    click.echo("\n".join([*above, *table.lines(width), *below]))


def write_fields(fields: Mapping[str, str | None]) -> None:
    """Write names and values below each other; absent values are left out."""
    shown = {name: value for name, value in fields.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {printable(value)}")


def warn_findings(findings: Iterable[Mapping[str, Any]]) -> None:
    """Say on stderr, below a report, what is wrong with the journal; mere notes are for ``keledger verify``."""
    told = [finding for finding in findings if finding["severity"] == "damage" or finding["kind"] in UPGRADE_NOTES]
    sys.stdout.flush()  # so that the warnings stand below the table where both are one terminal
    for finding in told[:FINDINGS_SHOWN_MAX]:
        say(f"warning: {finding['message']}")
    if len(told) > FINDINGS_SHOWN_MAX:
        say(f"warning: {len(told) - FINDINGS_SHOWN_MAX} more findings; keledger verify lists all")
