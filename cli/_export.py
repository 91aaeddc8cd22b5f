"""``keledger export``: the ledger as a file for other programs."""

from __future__ import annotations

import click

from keledger.journal import UsageError
from keledger.projections import export_csv, export_jsonl, open_projection

from ._group import command
from ._options import Settings, common_options, pass_settings, prices_option
from ._output import warn_findings, write_json
from ._output_file import output_file
from ._progress import Progress
from ._table import count


@command(
    name="export",
    examples=(
        "keledger export --format jsonl -o calls.jsonl",
        "keledger export --format csv -o calls.csv",
        "keledger export --events -o - | zstd > journal-copy.jsonl.zst",
    ),
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="A JSON object a line with its charges, or a row of CSV without.",
)
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Where to; - is stdout.")
@click.option("--events", is_flag=True, help="The journal's own lines, byte for byte, instead of counted calls.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@prices_option
@common_options
@pass_settings
def export(settings: Settings, kind: str, output: str, events: bool, force: bool, prices: str) -> None:
    """Write calls or events for other programs.

    A line is one counted call, in the order of time.  FILE appears only when it is complete, and only its owner may
    read it.  In CSV a text that a spreadsheet would execute has a ' in front.
    """
    if events and kind != "jsonl":
        raise UsageError("--events writes the journal's own lines, which are JSON: leave --format csv out")
    home = settings.home_to_read()
    with Progress("exporting") as progress, output_file(output, force=force, home=home) as file:
        if kind == "csv":
            lines = export_csv(home, file, basis=prices, on_progress=progress)
        else:
            lines = export_jsonl(home, file, events=events, basis=prices, on_progress=progress)
    if output != "-":
        if settings.as_json:
            write_json({"schema_version": 1, "report": "export", "file": output, "lines": lines})
        else:
            click.echo(f"{count(lines)} lines written to {output}")
    with open_projection(home) as projection:
        warn_findings(finding.as_json() for finding in projection.findings)
