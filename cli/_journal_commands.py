"""Commands that take in another journal or describe this one: ``merge``, ``schema``."""

from __future__ import annotations

import contextlib
import sys

import click
import orjson

from keledger.journal import Anchor, Home, KeledgerError, Ledger, anchor, journaled_since, json_schema
from keledger.projections import Closing, list_periods, open_projection

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_json
from ._progress import Progress
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
    order, gives the same reports.  A month that both have closed shows what the first of both closings showed; where
    that is not the one of this home, it is told.
    """
    before = _anchor(settings.home)
    with Ledger.open(settings.home_folder) as ledger:
        merged = ledger.merge(folder, reason)
    displaced = _displaced(settings.home, before)
    if settings.as_json:
        write_json(
            {
                "schema_version": 1,
                "report": "merge",
                "lines": merged.lines,
                "writers": merged.writers,
                "books": list(merged.books),
                "displaced_closings": [
                    {"id": closing.id, "period": closing.period, "timezone": closing.timezone, "by": other.id}
                    for closing, other in displaced
                ],
            }
        )
    elif merged.lines:
        writers = "1 writer" if len(merged.writers) == 1 else f"{len(merged.writers)} writers"
        click.echo(f"{count(merged.lines)} lines of {writers} taken in")
    else:
        say(f"{folder} holds nothing that is not here already")
    sys.stdout.flush()
    for closing, other in displaced:
        say(
            f"warning: {closing.period} is shown now as another machine closed it by {other.id}, which came before "
            f"{closing.id}; keledger close {closing.id} --show prints what that showed"
        )


def _anchor(home: Home) -> Anchor | None:
    """Where the journal ends; None where it does not say, or is not there yet."""
    with contextlib.suppress(KeledgerError):  # a merge may be what mends it, and says what is wrong where it is not
        return anchor(home)
    return None


def _displaced(home: Home, before: Anchor | None) -> list[tuple[Closing, Closing]]:
    """Closings that stand no more for what was merged, each with that which came before it.

    A projection is opened only where closings were merged, for little else takes as long.
    """
    if before is None or not journaled_since(home, before, "period"):
        return []
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        return list_periods(projection).displaced({line.writer: line.seq for line in before.lines})


@command(name="schema", examples=("keledger schema call.completed", "keledger schema > keledger-events.json"))
@click.argument("event_type", metavar="[TYPE]", required=False)
def schema(event_type: str | None) -> None:
    """Print the events' JSON Schema.

    Of one type's line, or of all types that this release writes.
    """
    click.echo(orjson.dumps(json_schema(event_type), option=orjson.OPT_INDENT_2))
