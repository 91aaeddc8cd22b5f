"""Computing calls again by a price book: the preview, the question, the event, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from keledger.journal import Anchor, KeledgerError, Ledger, anchor, check_zone, report_zone
from keledger.journal.prices import PriceStore
from keledger.projections import (
    Change,
    Projection,
    RepricePreview,
    RepriceRequest,
    Selector,
    find_book,
    find_reprice,
    list_reprices,
    open_projection,
    preview_reprice,
    reprice_data,
)

from ._asking import ask
from ._days import parse_day, parse_since, today_in
from ._options import Settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._table import Column, Table, count, exact_money, money
from ._where import parse_where

ROWS_SHOWN_MAX = 30
"""More models or projects than this under a question help nobody; with --json all are there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``replay --reprice`` as they were given."""

    since: str | None
    until: str | None
    timezone: str | None
    where: tuple[str, ...]
    book: str | None
    known: str | None
    only: str | None
    allow_unpriced: bool
    reported: bool
    reason: str | None
    yes: int
    dry_run: bool

    def selector(self, zone: str) -> Selector:
        """Which calls are meant."""
        today = today_in(zone)
        since = parse_since(self.since, today) if self.since is not None else None
        until = parse_day(self.until, "--until", today) if self.until is not None else None
        where = parse_where(self.where)
        return Selector.of_days(since, until, zone, where=where, only_unpriced=self.only == "unpriced")


def reprice(settings: Settings, asked: Asked) -> None:
    """Show what computing calls again would change, ask, and journal it."""
    home = settings.home_to_read()
    zone = check_zone(asked.timezone, "--timezone") if asked.timezone else report_zone(home)
    selector = asked.selector(zone)
    # What is journaled while people look at the preview is not covered: the positions are taken first.
    through = None if asked.dry_run or not home.path.exists() else anchor(home)
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        preview = _preview(projection, asked, selector, through, zone)
        findings = projection.findings
    document = _document(preview, zone, asked.dry_run)
    if not settings.as_json:
        _show(preview, zone)
    if preview.total.changed_calls and through is not None:
        _ask(settings, preview, asked.yes)
        with Ledger.open(settings.home_folder) as ledger:
            reason = asked.reason or _reason(preview)
            document["id"] = ledger.apply_reprice(reprice_data(preview, through), reason, since=through)
        document["applied"] = True
    if settings.as_json:
        write_json(document)
    else:
        click.echo(_ending(document, preview))
    warn_findings(finding.as_json() for finding in findings)


def _preview(
    projection: Projection, asked: Asked, selector: Selector, through: Anchor | None, zone: str
) -> RepricePreview:
    known = f"known:{asked.known}" if asked.known is not None else "latest"
    book = find_book(projection, asked.book if asked.book is not None else known, timezone=zone)
    positions = projection.positions
    if through is not None:
        positions = {line.writer: line.seq for line in through.lines}
    request = RepriceRequest(selector, positions, allow_unpriced=asked.allow_unpriced, reported=asked.reported)
    with Progress("pricing") as progress:
        loaded = PriceStore(projection.home.prices).load_book(book)
        return preview_reprice(projection, request, loaded, timezone=zone, on_progress=progress)


def _document(preview: RepricePreview, zone: str, dry_run: bool) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "reprice",
        "timezone": zone,
        "currency": "USD",
        "book": preview.book,
        "selector": preview.request.selector.as_data(),
        "dry_run": dry_run,
        "applied": False,
        "id": None,
        "totals": preview.total.as_json(),
        "months": [{"month": change.keys[0], **change.as_json()} for change in preview.months],
        "models": [
            {"provider": change.keys[0], "model": change.keys[1], **change.as_json()} for change in preview.models
        ],
        "projects": [{"project": change.keys[0], **change.as_json()} for change in preview.projects],
        "recounted": preview.recount.as_json(),
        "kept_unpriced_calls": preview.kept_unpriced,
        "kept_reported_calls": preview.kept_reported,
        "counted_calls": preview.counted_calls,
    }


def _show(preview: RepricePreview, zone: str) -> None:
    heading = f"Cost before and after in USD, prices: book {preview.book[:12]}, months of {zone}"
    sections = (("Month", preview.months), ("Model", preview.models), ("Project", preview.projects))
    for number, (title, changes) in enumerate(sections):
        table, note = change_table(title, changes, preview.total), change_note(changes, preview.total)
        write_table(table, heading if number == 0 else None, note)
        click.echo()
    for sentence in _sentences(preview):
        click.echo(sentence)


def change_table(title: str, changes: Sequence[Change], total: Change) -> Table:
    """Cost before and after, one row a change, and the total."""
    table = Table(
        [
            Column(title, least=24 if title == "Model" else 7),
            Column("Calls", number=True, drop=2),
            Column("Changed", number=True),
            Column("Newly priced", number=True, drop=3),
            Column("Newly unpriced", number=True, drop=4),
            Column("Before", number=True),
            Column("After", number=True),
            Column("Difference", number=True, drop=1),
        ]
    )
    marked = total.before_costed < total.calls or total.after_costed < total.calls
    for change in changes[:ROWS_SHOWN_MAX]:
        name = "/".join("(none)" if key is None else key for key in change.keys)
        table.add(name, *_figures(change, marked=marked))
    table.add("Total", *_figures(total, marked=marked), kind="total")
    return table


def _figures(change: Change, *, marked: bool) -> list[str]:
    """The cells of a row; a sum that lacks calls bears a mark where any in the table does."""
    shown = change.as_json()
    counts = [count(shown[name]) for name in ("calls", "changed_calls", "newly_priced", "newly_unpriced")]
    difference = shown["difference_usd"]
    return [
        *counts,
        _sum(shown["before_usd"], shown["uncosted_calls_before"], marked=marked),
        _sum(shown["after_usd"], shown["uncosted_calls"], marked=marked),
        "" if difference is None else money(difference),
    ]


def _sum(usd: str | None, uncosted_calls: int, *, marked: bool) -> str:
    mark = ("*" if uncosted_calls else " ") if marked else ""
    return ("unpriced" if usd is None else money(usd)) + mark


def change_note(changes: Sequence[Change], total: Change) -> str | None:
    """What to say below a table of changes: what the mark means, and that there are more rows than it has."""
    shown = total.as_json()
    told = []
    if shown["uncosted_calls_before"] or shown["uncosted_calls"]:
        told.append(
            f"* without a cost, and not in these sums: {_calls(shown['uncosted_calls_before'])} before, "
            f"{count(shown['uncosted_calls'])} after"
        )
    if len(changes) > ROWS_SHOWN_MAX:
        told.append(f"and {count(len(changes) - ROWS_SHOWN_MAX)} more rows; --json has all")
    return "; ".join(told) or None


def _sentences(preview: RepricePreview) -> list[str]:
    """What the tables do not show."""
    told = []
    if preview.recount.calls:
        told.append(
            f"Of this {exact_money(preview.recount.as_json()['difference_usd'])} in {_calls(preview.recount.calls)} "
            "comes from counting their usage anew, the rest from prices."
        )
    if preview.kept_unpriced:
        told.append(
            f"Without a price in this book, and therefore at its cost of before: {_calls(preview.kept_unpriced)} "
            "(--allow-unpriced takes it away)."
        )
    if preview.kept_reported:
        told.append(f"At the cost that was reported for it: {_calls(preview.kept_reported)} (--reported prices it).")
    return told


def _calls(number: int) -> str:
    return f"{count(number)} call{'s' if number != 1 else ''}"


def _ask(settings: Settings, preview: RepricePreview, yes: int) -> None:
    """Raise KeledgerError unless the change is wanted: twice, where it changes most of what calls cost."""
    changed = preview.total.changed_calls
    questions = [f"Let {_calls(changed)} cost this from now on?"]
    if preview.changes_most:
        questions.append(f"These are more than half of all {count(preview.counted_calls)} calls: is that right?")
    ask(settings, questions, yes=yes, nothing="nothing was written", twice="this changes more than half of all calls")


def _reason(preview: RepricePreview) -> str:
    return f"repriced by book {preview.book[:12]}"


def _ending(document: dict[str, Any], preview: RepricePreview) -> str:
    if document["applied"]:
        return f"Done; keledger replay --undo {document['id']} takes it back."
    if not preview.total.changed_calls:
        return "Nothing changes: nothing was written."
    return "Nothing was written: this was a dry run."


def undo(settings: Settings, given: str, reason: str | None) -> None:
    """Take a reprice back."""
    home = settings.home_to_read()
    since = anchor(home) if home.path.exists() else None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        found = find_reprice(projection, given)
    if found.reverted_at is not None:
        raise KeledgerError(f"reprice {found.id} was taken back already, at {found.reverted_at}: nothing was written")
    with Ledger.open(settings.home_folder) as ledger:
        event_id = ledger.revert_reprice(found.id, reason or "taken back", since=since)
    if settings.as_json:
        write_json({"schema_version": 1, "report": "reprice_undo", "id": event_id, "reprice_id": found.id})
    else:
        click.echo(f"Reprice {found.id} is taken back; its calls cost what they would without it.")


def show_list(settings: Settings) -> None:
    """List the reprices."""
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        rows = list_reprices(projection)
        findings = projection.findings
    if settings.as_json:
        write_json({"schema_version": 1, "report": "reprices", "rows": [row.as_json() for row in rows]})
    elif not rows:
        click.echo("No call was repriced.")
    else:
        table = Table(
            [
                Column("Reprice", least=36),
                Column("At", least=19),
                Column("Book", least=12),
                Column("Changed", number=True),
                Column("Difference", number=True),
                Column("State", least=10),
                Column("Reason", drop=1),
            ]
        )
        for row in rows:
            shown = row.as_json()
            state = "taken back" if row.reverted_at else "applied"
            table.add(
                row.id,
                row.applied_at[:19].replace("T", " "),
                row.book[:12],
                count(row.changed_calls),
                money(shown["difference_usd"]),
                state,
                row.reason,
            )
        write_table(table, "Reprices, the last one first; times in UTC")
    warn_findings(finding.as_json() for finding in findings)
