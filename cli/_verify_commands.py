"""``verify`` and ``anchor``: whether the journal is what it was."""

from __future__ import annotations

from typing import get_args

import click
import orjson

from keledger.journal import Anchor, Depth, NotFound, Verified
from keledger.journal import anchor as anchor_home
from keledger.journal import verify as verify_home

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_fields, write_json, write_table
from ._output_file import output_file
from ._progress import Progress
from ._table import Column, Table, count, printable


@command(
    name="verify",
    examples=(
        "keledger verify",
        "keledger verify --json | jq .findings",
        "keledger verify --depth chain --anchor /mnt/safe/anchor.json",
    ),
    statuses={3: "the journal is damaged, holds conflicts or a bad tail, or breaks an anchor; notes alone are 0"},
)
@click.option(
    "--depth",
    type=click.Choice(get_args(Depth)),
    default="content",
    show_default=True,
    help="How much of each line: hash, number and order; that it is an event, and conflicts; or every field and sum.",
)
@click.option(
    "--anchor",
    "anchors",
    metavar="FILE|HEAD",
    multiple=True,
    help="What keledger anchor made: all that it names must still stand here.  May be given again.",
)
@common_options
@pass_settings
def verify(settings: Settings, depth: Depth, anchors: tuple[str, ...]) -> None:
    """Check every line and price file.

    Every hash, sequence number and event of every writer is checked, and that the price files which they name are
    there and whole.  A cut end or a chain that somebody computed anew shows only against an anchor.  Nothing is
    written.
    """
    given = [Anchor.read(anchor) for anchor in anchors]
    home = settings.home
    if not home.check():
        raise NotFound(f"there is no keledger home at {home.path}: nothing was verified")
    with Progress("verifying") as progress:
        verified = verify_home(home, depth=depth, anchors=given, on_progress=progress)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "verify", "home": str(home.path), **_verified_json(verified)})
    else:
        _show_verified(str(home.path), verified)
    if verified.damaged:
        raise click.exceptions.Exit(3)


def _verified_json(verified: Verified) -> dict[str, object]:
    return {
        "depth": verified.depth,
        "damaged": verified.damaged,
        "lines": verified.lines,
        "writers": verified.writers,
        "types": dict(sorted(verified.types.items())),
        "unknown_events": verified.unknown,
        "price_books": verified.books,
        "anchors": [{"anchor": name, "holds": holds} for name, holds in verified.anchors],
        "findings": [finding.as_json() for finding in verified.findings],
    }


def _show_verified(home: str, verified: Verified) -> None:
    held = sum(holds for _, holds in verified.anchors)
    write_fields(
        {
            "Home": home,
            "Depth": verified.depth,
            "Writers": count(len(verified.writers)),
            "Lines": count(verified.lines),
            "Price books": count(verified.books) if verified.depth != "chain" else "not looked at",
            "Anchors that hold": f"{count(held)} of {count(len(verified.anchors))}" if verified.anchors else None,
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


@command(
    name="anchor",
    examples=(
        "keledger anchor",
        "keledger anchor -o /mnt/safe/anchor-2026-11-21.json",
        "keledger anchor --json | jq -r .head",
    ),
)
@click.option("-o", "--output", metavar="FILE", default="-", help="Where to; without it, or with -, stdout.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@common_options
@pass_settings
def anchor(settings: Settings, output: str, force: bool) -> None:
    """Name every writer's last line, to hold the journal to it.

    Keep the file, or the one string that is its head, where whoever could rewrite the home cannot: keledger verify
    --anchor finds what was cut off or rewritten since.
    """
    taken = anchor_home(settings.home)
    if output != "-":
        with output_file(output, force=force, home=settings.home) as file:
            file.write(orjson.dumps(taken.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if settings.as_json:
        write_json(taken.as_json())
    else:
        _show_anchor(taken)


def _show_anchor(taken: Anchor) -> None:
    table = Table([Column("Writer"), *(Column(title, number=True) for title in ("Segment", "Byte", "Seq", "Tick"))])
    for line in taken.lines:
        numbers = (line.segment, line.offset_bytes, line.seq, line.tick)
        table.add(line.writer, *(count(number or 0) for number in numbers))
    write_table(table)
    click.echo()
    click.echo(taken.head)
