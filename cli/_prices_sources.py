"""``keledger prices update`` and ``import``: the public list, and the lists of others."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from keledger.journal import CurrentPrices, KeledgerError, Ledger, current_prices, replaced_layer, report_zone
from keledger.journal.prices import Cell
from keledger.journal.prices.sources import (
    CONTENT_BYTES_MAX,
    SOURCES,
    NewLayer,
    Terms,
    imported_list,
    updated_list,
)

from ._group import command
from ._instants import parse_instant
from ._options import Settings, common_options, pass_settings
from ._prices_adopting import adopt_shown, change_options
from ._progress import Progress
from ._table import count, cut

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._ -]{0,61}[A-Za-z0-9._-])?")
_NAME_SHOWN_MAX = 64

_verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Name every price that was rounded, and all that was not taken."
)


@command(
    name="update",
    examples=(
        "keledger prices update --reason 'the list of this month'",
        "keledger prices update --reason 'look first' --dry-run --verbose",
    ),
)
@click.option("--allow-older", is_flag=True, help="Take an older release than the one that the home has.")
@_verbose_option
@change_options
@common_options
@pass_settings
def update(settings: Settings, allow_older: bool, verbose: bool, reason: str, yes: int, dry_run: bool) -> None:
    """Take the public list from the installed genai-prices.

    It comes with the extra keledger[prices].

    Nothing is downloaded: upgrade genai-prices first.  Your own prices, what you have imported and the program's
    corrections stay above it, and models that the new list dropped keep their last prices.  The new book prices new
    calls only; what is journaled follows with `keledger replay --reprice`.
    """
    current = current_prices(settings.home)
    layer = updated_list(current.manifest, current.store, today=_today(), allow_older=allow_older)
    _adopt(settings, current, layer, "prices_update", verbose, reason=reason, yes=yes, dry_run=dry_run)


@command(
    name="import",
    examples=(
        "keledger prices import model_prices_and_context_window.json --reason 'as our proxy has them'",
        "keledger prices import models.json --source openrouter --date 2026-11-01 --reason 'saved that day'",
        "keledger prices import snapshot.json --provider deepseek --provider mistral --reason 'its history is better'",
        "curl -s https://openrouter.ai/api/v1/models | keledger prices import - --yes --reason 'weekly'",
    ),
)
@click.argument("file", metavar="FILE|-")
@click.option("--source", type=click.Choice(SOURCES), help="Whose list it is; may be left out, for its form tells.")
@click.option("--name", metavar="NAME", help="What the layer is called, instead of its source; each name is one layer.")
@click.option(
    "--date",
    "known",
    metavar="DAY",
    help="When these prices were known, instead of the file's own day where it has one, else today.",
)
@click.option(
    "--from",
    "since",
    metavar="DAY|TIME",
    help="Since when prices hold that the file does not date; else from 0:00 UTC of the day they were known.",
)
@click.option(
    "-p", "--provider", "providers", metavar="NAME", multiple=True, help="Only of this provider.  May be given again."
)
@click.option("--allow-older", is_flag=True, help="Take prices known earlier than those of the same name.")
@_verbose_option
@change_options
@common_options
@pass_settings
def import_prices(
    settings: Settings,
    file: str,
    source: str | None,
    name: str | None,
    known: str | None,
    since: str | None,
    providers: tuple[str, ...],
    allow_older: bool,
    verbose: bool,
    reason: str,
    yes: int,
    dry_run: bool,
) -> None:
    """Take in a price list of another project.

    That is LiteLLM's map, an OpenRouter models answer, llm-prices' or model-prices' JSON.  It becomes a layer above
    the public list and below your own prices.  A second one of the same name takes its place; what it no longer has
    is carried over, for the time before as well.  LiteLLM and OpenRouter date nothing: their prices hold from the day
    on which they were known, or from --from.  docs/prices.md says for each source what is not taken.  The new book
    prices new calls only; what is journaled follows with `keledger replay --reprice`.
    """
    _check_given(file, name, providers)
    content, where = _read(file)
    since_us = parse_instant(since, report_zone(settings.home), "--from") if since is not None else None
    current = current_prices(settings.home)
    with Progress("reading") as progress:
        layer = imported_list(
            content,
            current.manifest,
            current.store,
            Terms(source, name, known, since_us, providers),
            today=_today(),
            where=where,
            allow_older=allow_older,
            on_progress=progress,
        )
    _adopt(settings, current, layer, "prices_import", verbose, reason=reason, yes=yes, dry_run=dry_run)


def _check_given(file: str, name: str | None, providers: Iterable[str]) -> None:
    """Raise click.BadParameter for what is empty, and a name that no layer can have."""
    if not file:
        raise click.BadParameter("the file's name is empty: give a path, or - for stdin", param_hint="FILE|-")
    if not all(provider.strip() for provider in providers):
        raise click.BadParameter("the provider's name is empty", param_hint="--provider")
    if name is not None and _NAME.fullmatch(name) is None:
        told = repr(name) if len(name) <= _NAME_SHOWN_MAX else repr(cut(name, _NAME_SHOWN_MAX))
        raise click.BadParameter(
            f"{told} is no name of a layer: that is 1 to 63 letters, digits and . _ -, with spaces between them",
            param_hint="--name",
        )


def _read(file: str) -> tuple[bytes, str]:
    """The content, but no more than is worth looking at, and what to call it.  Raises KeledgerError."""
    if file == "-":
        return sys.stdin.buffer.read(CONTENT_BYTES_MAX + 1), "stdin"
    try:
        with open(file, "rb") as opened:
            return opened.read(CONTENT_BYTES_MAX + 1), file
    except OSError as error:
        raise KeledgerError(f"{file} cannot be read: {error.strerror}") from None


def _adopt(
    settings: Settings,
    current: CurrentPrices,
    layer: NewLayer,
    report: str,
    verbose: bool,
    *,
    reason: str,
    yes: int,
    dry_run: bool,
) -> None:
    header, notes = layer.header, layer.notes
    adoption = replaced_layer(current.manifest, header.kind, layer.content, header.name, names=layer.names)
    shown = {
        "layer": {"kind": header.kind, "name": header.name, "source": header.source, "date": header.date},
        "taken": _counted(layer.taken),
        "carried": _counted(layer.carried),
        "rounded": notes.rounded,
        "skipped": notes.skipped,
        "without_bucket": notes.without_bucket,
        "contested": notes.contested,
    }
    with Ledger.open(settings.home_folder) as ledger:
        adopt_shown(
            settings,
            ledger,
            current,
            adoption,
            report=report,
            reason=reason,
            yes=yes,
            dry_run=dry_run,
            shown=shown,
            lines=[*_told(layer, verbose), *(_listed(layer) if verbose else ())],
        )


def _counted(cells: Iterable[Cell]) -> dict[str, int]:
    """How many models the cells are of, and how many prices they have."""
    cells = tuple(cells)
    return {
        "models": len({(cell.provider, cell.model) for cell in cells}),
        "prices": sum(len(cell.usd_per_million) for cell in cells),
    }


def _told(layer: NewLayer, verbose: bool) -> Iterable[str]:
    taken, carried, notes = _counted(layer.taken), _counted(layer.carried), layer.notes
    yield (
        f"{layer.header.name}, known on {layer.header.date}: {count(taken['prices'])} prices of "
        f"{count(taken['models'])} models taken."
    )
    if layer.carried:
        told = f"{count(carried['prices'])} prices of {count(carried['models'])} models"
        yield f"Carried over from the list before: {told}."
    left = [
        f"{count(len(entries))} {what}"
        for entries, what in (
            (notes.rounded, "rounded to the grid"),
            (notes.skipped, "entries not taken"),
            (notes.without_bucket, "prices that no bucket has"),
        )
        if entries
    ]
    if left:
        yield f"{', '.join(left)}{'' if verbose else ' (--verbose names them)'}."
    if notes.contested:
        yield "At two prices there for the same time, so that neither was taken:"
        yield from (f"  {entry}" for entry in notes.contested)


def _listed(layer: NewLayer) -> Iterable[str]:
    notes = layer.notes
    for title, entries in (
        ("Rounded to 1e-6 USD per million units, half-even:", notes.rounded),
        ("Not taken:", notes.skipped),
        ("Prices that no bucket has:", notes.without_bucket),
    ):
        if entries:
            yield title
            yield from (f"  {entry}" for entry in entries)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
