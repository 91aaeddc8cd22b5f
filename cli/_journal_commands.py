"""Commands that take in another journal or describe this one: ``merge``, ``schema``."""

from __future__ import annotations

import click
import orjson

from keledger.journal import Ledger, json_schema

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json
from ._table import count


@command(
    name="merge",
    examples=("keledger merge /mnt/laptop/keledger --reason 'back from the trip'",),
    statuses={3: "the other home is damaged, and nothing was merged"},
)
@click.argument("folder", metavar="DIR")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def merge(settings: Settings, folder: str, reason: str | None) -> None:
    """Take in the journal of another home.

    DIR is another keledger home or a copy of one.  It is verified first; then its writers' files and the price books
    that they name are copied.  A writer that both sides hold may only be longer there.  Merging again, or in another
    order, gives the same reports.
    """
    with Ledger.open(settings.home_folder) as ledger:
        merged = ledger.merge(folder, reason)
    if settings.as_json:
        write_json(
            {
                "schema_version": 1,
                "report": "merge",
                "lines": merged.lines,
                "writers": merged.writers,
                "books": list(merged.books),
            }
        )
    elif merged.lines:
        writers = "1 writer" if len(merged.writers) == 1 else f"{len(merged.writers)} writers"
        click.echo(f"{count(merged.lines)} lines of {writers} taken in")
    else:
        say(f"{folder} holds nothing that is not here already")


@command(name="schema", examples=("keledger schema call.completed", "keledger schema > keledger-events.json"))
@click.argument("event_type", metavar="[TYPE]", required=False)
def schema(event_type: str | None) -> None:
    """Print the events' JSON Schema.

    Of one type's line, or of all types that this release writes.
    """
    click.echo(orjson.dumps(json_schema(event_type), option=orjson.OPT_INDENT_2))
