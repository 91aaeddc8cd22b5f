"""``keledger export``: the ledger as a file for other programs."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import click

from keledger.journal import KeledgerError
from keledger.projections import export_jsonl, open_projection

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json
from ._progress import Progress
from ._table import count


@command(
    name="export",
    examples=(
        "keledger export --format jsonl -o calls.jsonl",
        "keledger export --events -o - | zstd > journal-copy.jsonl.zst",
    ),
)
@click.option(
    "--format",
    "_format",
    type=click.Choice(["jsonl"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line.",
)
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Where to; - is stdout.")
@click.option("--events", is_flag=True, help="The journal's own lines, byte for byte, instead of counted calls.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@common_options
@pass_settings
def export(settings: Settings, _format: str, output: str, events: bool, force: bool) -> None:
    """Write calls or events for other programs.

    A line is one counted call with its charges, in the order of time.  FILE appears only when it is complete, and
    only its owner may read it.
    """
    home = settings.home_to_read()
    with Progress("exporting") as progress, _output(output, force=force) as file:
        lines = export_jsonl(home, file, events=events, on_progress=progress)
    if output != "-":
        if settings.as_json:
            write_json({"schema_version": 1, "report": "export", "file": output, "lines": lines})
        else:
            click.echo(f"{count(lines)} lines written to {output}")
    with open_projection(home) as projection:
        warn_findings(finding.as_json() for finding in projection.findings)


@contextlib.contextmanager
def _output(name: str, *, force: bool) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete.  Stdout, a pipe and a device are written directly."""
    if name == "-":
        yield sys.stdout.buffer
        return
    target = Path(os.path.realpath(name))
    if target.exists() and not target.is_file():
        with open(target, "wb") as file:
            yield file
        return
    if target.exists() and not force:
        raise KeledgerError(f"{name} exists: give --force to replace it, or another name")
    if not name or not target.parent.is_dir():
        raise KeledgerError(f"{name or 'an empty name'} cannot be written: there is no folder {target.parent}")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file)
            file.close()
            os.replace(file.name, target)
        except OSError as error:
            os.unlink(file.name)
            raise KeledgerError(f"{name} cannot be written: {error.strerror}; nothing is left of it") from error
        except BaseException:
            os.unlink(file.name)
            raise
