"""Commands on the journal itself: ``verify``, ``merge``, ``schema``."""

from __future__ import annotations

import click
import orjson

from keledger.journal import Ledger, NotFound, Verified, json_schema
from keledger.journal import verify as verify_home

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say, write_fields, write_json, write_table
from ._progress import Progress
from ._table import Column, Table, count, printable


@command(
    name="verify",
    examples=("keledger verify", "keledger --json verify | jq .findings"),
    statuses={3: "the journal is damaged, or holds conflicts or a bad tail; notes alone are 0"},
)
@common_options
@pass_settings
def verify(settings: Settings) -> None:
    """Check every line and price file.

    Every hash, sequence number and event of every writer is checked, and that the price files which they name are
    there and whole.  Nothing is written.
    """
    home = settings.home
    if not home.check():
        raise NotFound(f"there is no keledger home at {home.path}: nothing was verified")
    with Progress("verifying") as progress:
        verified = verify_home(home, on_progress=progress)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "verify", "home": str(home.path), **_verified_json(verified)})
    else:
        _show_verified(str(home.path), verified)
    if verified.damaged:
        raise click.exceptions.Exit(3)


def _verified_json(verified: Verified) -> dict[str, object]:
    return {
        "damaged": verified.damaged,
        "lines": verified.lines,
        "writers": verified.writers,
        "types": dict(sorted(verified.types.items())),
        "unknown_events": verified.unknown,
        "price_books": verified.books,
        "findings": [finding.as_json() for finding in verified.findings],
    }


def _show_verified(home: str, verified: Verified) -> None:
    write_fields(
        {
            "Home": home,
            "Writers": count(len(verified.writers)),
            "Lines": count(verified.lines),
            "Price books": count(verified.books),
            "Not readable by this release": count(verified.unknown) if verified.unknown else None,
        }
    )
    table = Table([Column("Event"), Column("Lines", number=True)])
    for event_type, number in sorted(verified.types.items()):
        table.add(event_type, count(number))
    click.echo()
    write_table(table)
    click.echo()
    for finding in verified.findings:
        kind = click.style("damage", fg="red", bold=True) if finding.damage else "note"
        click.echo(f"{kind}: {printable(finding.message)}")
    damage = sum(finding.damage for finding in verified.findings)
    noun = "finding" if damage == 1 else "findings"
    click.echo(f"{count(damage)} {noun} of damage." if damage else "Every line fits.")


@command(name="merge", examples=("keledger merge /mnt/laptop/keledger --reason 'back from the trip'",))
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
