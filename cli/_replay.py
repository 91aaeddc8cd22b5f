"""``keledger replay``: the proof that the journal is enough."""

from __future__ import annotations

import time
from typing import Any

import click

from keledger.projections import digest, open_projection, rebuild

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_fields, write_json
from ._progress import Progress
from ._table import count, duration


@command(
    name="replay",
    examples=(
        "keledger replay",
        "keledger replay --digest",
        "keledger replay --reprice --since 2026-10-01 --dry-run",
        "keledger replay --reprice --only unpriced --yes",
        "keledger replay --undo 019aa8d7-2c5b",
    ),
)
@click.option("--digest", "with_digest", is_flag=True, help="Print the digest of the tables, and nothing else.")
@click.option("--reprice", "do_reprice", is_flag=True, help="Compute what calls cost again, and journal it.")
@click.option("--undo", metavar="ID", help="Take a reprice back.")
@click.option("--list", "do_list", is_flag=True, help="List the reprices.")
@click.option("-s", "--since", metavar="DAY", help="Reprice calls from this day on; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Reprice calls up to this day, included.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option(
    "--where", metavar="COLUMN=VALUE", multiple=True, help="Reprice calls that were recorded with exactly this."
)
@click.option("--book", metavar="BOOK", help="By this book, its id or the beginning of it; else by the newest.")
@click.option("--known", metavar="DATE", help="By the book that was known at the end of this day.")
@click.option("--only", type=click.Choice(["unpriced"]), help="Reprice only calls that were recorded without a price.")
@click.option("--allow-unpriced", is_flag=True, help="Take the cost from calls that the book does not price.")
@click.option("--reported", is_flag=True, help="Reprice calls with a reported cost, too.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option(
    "-y", "--yes", count=True, help="Do not ask.  What changes more than half of all calls needs it twice: -yy."
)
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@common_options
@pass_settings
def replay(
    settings: Settings,
    /,
    with_digest: bool,
    do_reprice: bool,
    undo: str | None,
    do_list: bool,
    reason: str | None,
    **given: Any,
) -> None:
    """Rebuild the projections, or compute costs again.

    Every hash is checked on the way.  The digest is one number for all counted calls and their charges: equal for
    every copy of a journal, however its parts were put together.  With --json it stands among the figures.

    With --reprice what calls cost is computed again by a price book, and shown by month, model and project before
    anything is written.  One event is journaled then, which can be taken back at any time; calls are never changed.
    """
    actions = [name for name, asked in _actions(with_digest, do_reprice, undo, do_list) if asked]
    if len(actions) > 1:
        raise click.UsageError(f"{' and '.join(actions)} are different things: give one of them")
    only_for_reprice = [f"--{name.replace('_', '-')}" for name, value in given.items() if value or value == ""]
    if only_for_reprice and not do_reprice:
        raise click.UsageError(f"{only_for_reprice[0]} goes with --reprice")
    if reason is not None and not do_reprice and undo is None:
        raise click.UsageError("--reason goes with --reprice or --undo")
    if do_reprice or undo is not None or do_list:
        from . import _reprice  # brings pricing along

        if do_reprice:
            if given["book"] is not None and given["known"] is not None:
                raise click.UsageError("--book and --known both name a book: give one of them")
            _reprice.reprice(settings, _reprice.Asked(**given, reason=reason))
        elif undo is not None:
            _reprice.undo(settings, undo, reason)
        else:
            _reprice.show_list(settings)
    else:
        _rebuild(settings, with_digest)


def _actions(with_digest: bool, do_reprice: bool, undo: str | None, do_list: bool) -> tuple[tuple[str, bool], ...]:
    return (("--digest", with_digest), ("--reprice", do_reprice), ("--undo", undo is not None), ("--list", do_list))


def _rebuild(settings: Settings, with_digest: bool) -> None:
    home = settings.home_to_read()
    begun_s = time.monotonic()
    with Progress("rebuilding") as progress:
        rebuilt = rebuild(home, on_progress=progress)
    took_ms = round((time.monotonic() - begun_s) * 1000)
    shown: dict[str, object] = {
        "schema_version": 1,
        "report": "replay",
        "calls": rebuilt.calls,
        "events": rebuilt.calls + rebuilt.others,
        "duration_ms": took_ms,
        "position": dict(rebuilt.positions),
        "findings": [finding.as_json() for finding in rebuilt.findings],
    }
    if with_digest:
        with open_projection(home) as projection:
            shown["digest"] = digest(projection)
    if settings.json or (settings.as_json and not with_digest):
        write_json(shown)
    elif with_digest:
        click.echo(shown["digest"])
    else:
        write_fields(
            {
                "Calls": count(rebuilt.calls),
                "Events": count(rebuilt.calls + rebuilt.others),
                "Took": duration(took_ms),
            }
        )
    warn_findings(finding.as_json() for finding in rebuilt.findings)
