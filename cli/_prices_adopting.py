"""Changing prices: what changes, what it would do to one's own calls, the question, and then the adoption."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from keledger.journal import Adoption, CurrentPrices, Home, Ledger, check_reason
from keledger.journal.prices import Book, changed_prices
from keledger.projections import BookEffect, effect_of_change, open_projection

from ._asking import ask
from ._options import Settings
from ._output import write_json, write_table
from ._prices_telling import PriceRow, changes_table, counted, price_table_rows
from ._progress import Progress
from ._reprice import change_note, change_table
from ._table import count

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

CHANGES_SHOWN_MAX = 40
"""More rows than this under a question help nobody; with --json all are there."""

REPRICE_UNPRICED = ("replay", "--reprice", "--only", "unpriced")
"""What prices the calls that had no price, once there is one."""


def change_options(function: _Decorated) -> _Decorated:
    """What every change of prices takes: why, and whether it is really wanted."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing."),
        click.option(
            "-y",
            "--yes",
            count=True,
            help="Do not ask.  A change of more than half of all calls' cost needs it twice: -yy.",
        ),
        click.option(
            "--reason",
            metavar="TEXT",
            required=True,
            callback=lambda _context, _parameter, value: check_reason(value),
            help="Why, for whoever reads the journal later.",
        ),
    ):
        function = option(function)
    return function


def adopt_shown(
    settings: Settings,
    ledger: Ledger,
    current: CurrentPrices,
    adoption: Adoption,
    *,
    report: str,
    reason: str,
    yes: int,
    dry_run: bool,
    shown: Mapping[str, Any] | None = None,
    lines: Sequence[str] = (),
) -> None:
    """Show what *adoption* changes, ask, and adopt it.

    *report* names the JSON document, *shown* is more for it, and *lines* are more sentences for people.  Raises
    KeledgerError where nobody can be asked and ``--yes`` was not given, or the answer is no: nothing is adopted then.
    """
    old, new = current.manifest.sha256, adoption.manifest.sha256
    current.store.hold(adoption.files)
    books = current.store.load_book(old), current.store.load_book(new)
    rows = price_table_rows(changed_prices(*books))
    effect = effect_on_calls(ledger.home, *books) if new != old else None
    document: dict[str, Any] = {
        "schema_version": 1,
        "report": report,
        "based_on": old,
        "book": new,
        "changed": new != old,
        "dry_run": dry_run,
        "adopted": False,
        "event": None,
        **(shown or {}),
        "changes": [row.as_json() for row in rows],
        "effect": effect.as_json() if effect is not None else None,
    }
    if not settings.as_json:
        show_changes(rows)
        for line in lines:
            click.echo(line)
        if new != old:
            show_effect(effect)
    if new != old and not dry_run:
        _ask(settings, effect, yes)
        event = ledger.adopt_prices(adoption, reason, based_on=old)
        document |= {"adopted": event is not None, "event": event}
    if settings.as_json:
        write_json(document)
        return
    _tell_end(document)
    if document["adopted"] and effect is not None and effect.total.newly_priced:
        _offer_repricing(effect.total.newly_priced)


def effect_on_calls(home: Home, old: Book, new: Book) -> BookEffect | None:
    """What the journaled calls would cost by another book; None where there are none."""
    if not home.path.exists():
        return None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        effect = effect_of_change(projection, old, new)
    return effect if effect.counted_calls else None


def show_effect(effect: BookEffect | None) -> None:
    """Tell what a book would do to one's own calls."""
    if effect is None:
        click.echo("No call is journaled that this could touch.")
    elif not effect.models:
        besides = " that were priced" if effect.reported_calls else ""
        click.echo(f"None of your calls{besides} would cost anything else by these prices.")
    else:
        heading = "What your calls would cost, by the old prices and by the new (nothing of that is done here)"
        note = change_note(effect.models, effect.total)
        write_table(change_table("Model", effect.models, effect.total), heading, note)
    if effect is not None and effect.reported_calls:
        calls = f"{count(effect.reported_calls)} call{'s' if effect.reported_calls != 1 else ''}"
        click.echo(
            f"At the cost that was reported, and not looked at here: {calls} "
            "(--prices latest shows what the newest prices make of it)."
        )


def show_changes(rows: Sequence[PriceRow]) -> None:
    """Show which prices differ."""
    if not rows:
        return
    told = ", ".join(f"{count(number)} {kind}" for kind, number in counted(rows).items() if number)
    more = len(rows) - CHANGES_SHOWN_MAX
    note = f"and {count(more)} more; --json has all" if more > 0 else None
    write_table(changes_table(rows[:CHANGES_SHOWN_MAX]), f"Prices in USD per million units: {told}", note)


def _ask(settings: Settings, effect: BookEffect | None, yes: int) -> None:
    """Raise KeledgerError unless the change is wanted: twice, where it changes most of what calls cost."""
    questions = ["Adopt these prices for calls from now on?"]
    if effect is not None and effect.changes_most:
        changed = f"{count(effect.total.changed_calls)} of all {count(effect.counted_calls)} calls"
        questions.append(f"By these prices {changed} would cost something else: is that right?")
    ask(
        settings,
        questions,
        yes=yes,
        nothing="nothing was adopted",
        twice="more than half of all calls would cost something else by them",
    )


def _tell_end(document: Mapping[str, Any]) -> None:
    if document["adopted"]:
        click.echo(f"New calls are priced by book {document['book']} from now on; journaled calls stay as they are.")
    elif document["dry_run"] and document["changed"]:
        click.echo("Nothing was adopted: this was a dry run.")
    else:
        click.echo(f"Nothing changes: the home's prices are those already (book {document['book']}).")


def _offer_repricing(calls: int) -> None:
    """Where calls had no price and have one now, offer to price them again: that is never done by itself."""
    told = f"{count(calls)} call{'s' if calls != 1 else ''} without a price would have one now"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(f"{told}: keledger {' '.join(REPRICE_UNPRICED)}")
    elif click.confirm(f"{told}. Price them again (keledger {' '.join(REPRICE_UNPRICED)})?"):
        program = click.get_current_context().find_root()
        command = program.command
        assert isinstance(command, click.Group)
        replay = command.get_command(program, REPRICE_UNPRICED[0])
        assert replay is not None
        with replay.make_context(REPRICE_UNPRICED[0], list(REPRICE_UNPRICED[1:]), parent=program) as context:
            replay.invoke(context)
