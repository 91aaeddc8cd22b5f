"""``keledger reconcile``: an invoice beside what was journaled, and where they part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from keledger.journal import (
    Anchor,
    Home,
    InputRefused,
    Invoice,
    KeledgerError,
    Ledger,
    anchor,
    check_zone,
    pico_to_usd,
    read_invoice,
)
from keledger.journal.usage import provider_name
from keledger.projections import (
    Comparison,
    Projection,
    RecordedInvoice,
    compare_invoice,
    find_invoice,
    list_invoices,
    month_start,
    open_projection,
)

from ._adjust import noon_of
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import NONE, calls, joined, marked_cost, uncosted
from ._table import Column, Table, count, exact_money, money

LINES_BYTES_MAX = 240 * 1024
"""A line of the journal has 256 KiB, of which the rest of the event takes a few."""

FORMATS = ("csv", "json", "openai", "anthropic")


@command(
    name="reconcile",
    examples=(
        "keledger reconcile october.csv --provider openai --month 2026-10",
        "keledger reconcile costs.json --provider anthropic --month 2026-10 --by model --dry-run",
        "keledger reconcile october.csv --provider openai --month 2026-10 --book-difference",
        "keledger reconcile --invoice 019aa8d7-2c5b",
    ),
)
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--provider", metavar="NAME", help="Whose invoice it is.")
@click.option("--month", metavar="MONTH", help="Which month it is for, like 2026-10.")
@click.option(
    "--format", "file_format", type=click.Choice(FORMATS), help="What FILE is; without it, what it looks like."
)
@click.option(
    "--by", metavar="COLUMN,…", default="day,model", show_default=True, help="Compare by day, model, or day,model."
)
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days the invoice has; UTC without it, as providers bill.")
@click.option("--record/--dry-run", default=True, show_default=True, help="Journal the invoice, or only compare it.")
@click.option(
    "--book-difference", is_flag=True, help="Book what is left as an adjustment on the last day of the month."
)
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the journal later.")
@click.option("--invoice", metavar="ID", help="Compare an invoice that was recorded before, instead of FILE.")
@click.option("--list", "do_list", is_flag=True, help="List the invoices that were recorded.")
@common_options
@pass_settings
def reconcile(
    settings: Settings,
    file: str | None,
    provider: str | None,
    month: str | None,
    file_format: str | None,
    by: str,
    timezone: str | None,
    record: bool,
    book_difference: bool,
    reason: str | None,
    invoice: str | None,
    do_list: bool,
) -> None:
    """Set an invoice beside what was journaled.

    Computed, reported and invoiced amounts stand side by side.  FILE is a CSV with the columns date, model, quantity,
    amount and currency, a JSON list of the same, or the answer of OpenAI's or Anthropic's costs API.  The difference is
    split into volume (another quantity), rate (another price) and unknown (no counterpart), which sum to it exactly.
    The invoice is journaled, which changes no figure; --book-difference books what is left beside the calls.
    """
    if sum((file is not None, invoice is not None, do_list)) != 1:
        raise click.UsageError("give a file, or --invoice with the id of a recorded one, or --list")
    if file is None:
        given = {"--provider": provider, "--month": month, "--format": file_format, "--timezone": timezone}
        told = ", ".join(name for name, value in given.items() if value is not None)
        if told:
            raise click.UsageError(
                f"{'--list' if do_list else '--invoice'} takes no {told}: a recorded invoice has its own"
            )
    if do_list:
        return _list(settings)
    if book_difference and not record:
        raise click.UsageError("--book-difference writes, --dry-run does not: give one of them")
    groups = tuple(name.strip() for name in by.split(",") if name.strip())
    if file is None:
        _again(settings, str(invoice), groups, book=book_difference, reason=reason)
    elif provider is None or month is None:
        raise click.UsageError(f"--{'month' if provider else 'provider'} is missing: say what the invoice is for")
    else:
        zone = check_zone(timezone or "UTC", "--timezone")
        _read(settings, file, provider_name(provider), month, file_format, groups, zone, record=record,
              book=book_difference, reason=reason)  # fmt: skip
    return None


def _read(
    settings: Settings,
    file: str,
    provider: str,
    month: str,
    file_format: str | None,
    by: Sequence[str],
    zone: str,
    *,
    record: bool,
    book: bool,
    reason: str | None,
) -> None:
    """Compare a file, and journal it."""
    month_start(month)
    invoice = _invoice(file, month, file_format)
    home = settings.home_to_read()
    since = _anchor(home) if book else None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        compared = compare_invoice(projection, invoice.lines, provider=provider, period=month, timezone=zone, by=by)
        before = _recorded_before(projection, invoice, provider, month, zone)
        findings = projection.findings
    document: dict[str, Any] = {
        **_head(provider, month, zone, by, before.id if before else None, dry_run=not record),
        "source": {"name": _name_of(file), "format": invoice.format, "sha256": invoice.sha256},
        "rounded_lines": invoice.rounded_lines,
        "recorded": False,
    }
    if record and before is None:
        data = {
            "provider": provider,
            "period": month,
            "timezone": zone,
            "currency": "USD",
            "source_name": _name_of(file),
            "source_format": invoice.format,
            "source_sha256": invoice.sha256,
            "lines": [line.as_data() for line in invoice.lines],
            "total_usd": pico_to_usd(invoice.total_pico),
        }
        _check_size(file, data["lines"])
        with Ledger.open(settings.home_folder) as ledger:
            document["id"] = ledger.record_invoice(data, reason or f"the invoice of {provider} for {month}")
        document["recorded"] = True
    _finish(settings, document, compared, book=book, since=since, reason=reason)
    warn_findings(finding.as_json() for finding in findings)


def _again(settings: Settings, given: str, by: Sequence[str], *, book: bool, reason: str | None) -> None:
    """Compare an invoice that is journaled."""
    home = settings.home_to_read()
    since = _anchor(home) if book else None
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        found = find_invoice(projection, given)
        compared = compare_invoice(
            projection,
            found.lines,
            provider=found.provider,
            period=found.period,
            timezone=found.timezone,
            by=by,
        )
        findings = projection.findings
    document = {
        **_head(found.provider, found.period, found.timezone, by, found.id, dry_run=False),
        "source": {"name": found.source_name, "format": found.source_format, "sha256": found.source_sha256},
        "rounded_lines": 0,
        "recorded": False,
    }
    _finish(settings, document, compared, book=book, since=since, reason=reason)
    warn_findings(finding.as_json() for finding in findings)


def _anchor(home: Home) -> Anchor | None:
    """From where on nobody may have booked anything; None in a home without events, where nothing is compared."""
    return anchor(home) if home.writers() else None


def _invoice(file: str, month: str, file_format: str | None) -> Invoice:
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise KeledgerError(f"{file}: {error.strerror}; nothing was written") from None
    try:
        return read_invoice(content, month, format=file_format)
    except InputRefused as error:
        raise InputRefused(f"{file}: {error}; nothing was written") from None


def _check_size(file: str, lines: Any) -> None:
    """Raise InputRefused where one event cannot hold an invoice."""
    if len(orjson.dumps(lines)) > LINES_BYTES_MAX:
        raise InputRefused(
            f"{file} has {count(len(lines))} lines by day and model, more than one event can hold; --dry-run compares "
            "them; nothing was written"
        )


def _name_of(file: str) -> str:
    return os.path.basename(file).encode("utf-8", "replace").decode()[:120] or "?"


def _recorded_before(
    projection: Projection, invoice: Invoice, provider: str, month: str, zone: str
) -> RecordedInvoice | None:
    wanted = (provider, month, zone, invoice.sha256)
    for one in list_invoices(projection):
        if (one.provider, one.period, one.timezone, one.source_sha256) == wanted:
            return one
    return None


def _head(
    provider: str, month: str, zone: str, by: Sequence[str], invoice_id: str | None, *, dry_run: bool
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "reconcile",
        "provider": provider,
        "period": month,
        "timezone": zone,
        "currency": "USD",
        "by": list(by),
        "dry_run": dry_run,
        "id": invoice_id,
    }


def _finish(
    settings: Settings,
    document: dict[str, Any],
    compared: Comparison,
    *,
    book: bool,
    since: Anchor | None,
    reason: str | None,
) -> None:
    """Write what was compared, after what is left was booked where that is wanted.

    *since* is an anchor that was taken before it was compared: what is left is booked once, however many look at once.
    """
    document |= {
        "rows": list(compared.rows),
        "totals": compared.totals,
        "adjusted_usd": pico_to_usd(compared.adjusted_pico),
        "left_usd": pico_to_usd(compared.left_pico),
        "booked_id": None,
    }
    if book and compared.left_pico:
        data = {
            "amount_usd": document["left_usd"],
            "provider": document["provider"],
            "effective_at": noon_of(_last_day(document["period"]), document["timezone"]),
            "category": "Adjustment",
            "invoice_id": document["id"],
        }
        with Ledger.open(settings.home_folder) as ledger:
            why = reason or f"invoice {document['id']} of {document['period']}"
            document["booked_id"] = ledger.adjust(data, why, since=since)
    if settings.as_json:
        write_json(document)
        return
    heading = f"{document['provider']} in {document['period']}, USD, days of {document['timezone']}"
    write_table(_table(document), heading, _note(document["totals"]))
    for sentence in _sentences(document, book):
        click.echo(sentence)


def _last_day(month: str) -> date:
    first = month_start(month)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1) - timedelta(days=1)


_AMOUNTS = ("computed", "reported", "invoiced", "difference", "volume", "rate", "unknown")


def _table(document: dict[str, Any]) -> Table:
    names = ["date" if name == "day" else name for name in document["by"]]
    table = Table(
        [
            *(Column(name.capitalize(), least=10) for name in names),
            Column("Calls", number=True, drop=2),
            Column("Tokens", number=True, drop=3),
            Column("Invoiced tokens", number=True, drop=4),
            *(Column(name.capitalize(), number=True, drop=1 if name == "reported" else 0) for name in _AMOUNTS),
        ]
    )
    totals = document["totals"]
    for row in document["rows"]:
        table.add(*(NONE if row[name] is None else row[name] for name in names), *_figures(row, totals))
    table.add("Total", *[""] * (len(names) - 1), *_figures(totals, totals), kind="total")
    return table


def _figures(row: dict[str, Any], totals: dict[str, Any]) -> list[str]:
    """The cells of a row; sums that lack calls are marked, for which *totals* say whether there must be room."""
    counts = [row["calls"], row["computed_quantity"], row["invoiced_quantity"]]
    computed = marked_cost({**row, "cost_usd": row["computed_usd"]}, incomplete=uncosted(totals) > 0)
    reported = ""
    if row["reported_usd"] is not None:
        mark = "*" if _unreported(row) else " "
        reported = money(row["reported_usd"]) + (mark if _unreported(totals) else "")
    others = (row[f"{name}_usd"] for name in _AMOUNTS[2:])
    return [
        *("" if value is None else count(value) for value in counts),
        computed,
        reported,
        *("" if value is None else money(value) for value in others),
    ]


def _unreported(sums: dict[str, Any]) -> int:
    """How many calls a sum of reported costs lacks; 0 where no call reported one."""
    return int(sums["calls"] - sums["reported_calls"]) if sums["reported_calls"] else 0


def _note(totals: dict[str, Any]) -> str | None:
    """What the marks mean."""
    whole, computed, reported = calls(totals["calls"]), uncosted(totals), _unreported(totals)
    return joined(
        f"* {count(computed)} of {whole} without a cost: not in what was computed" if computed else None,
        f"* {count(reported)} of {whole} without a reported cost: not in what was reported" if reported else None,
    )


def _sentences(document: dict[str, Any], book: bool) -> list[str]:
    """What the table does not show."""
    told = []
    rounded = document["rounded_lines"]
    if rounded:
        told.append(f"{count(rounded)} amount{'s' if rounded != 1 else ''} had more than 12 decimals and were rounded.")
    if document["adjusted_usd"] != "0":
        told.append(f"{exact_money(document['adjusted_usd'])} is booked as adjustments already.")
    if document["booked_id"]:
        told.append(f"{exact_money(document['left_usd'])} is booked as an adjustment ({document['booked_id']}).")
    elif book:
        told.append("Nothing is left to book.")
    elif document["left_usd"] != "0":
        told.append(f"{exact_money(document['left_usd'])} is left; --book-difference books it.")
    if document["recorded"]:
        told.append(f"The invoice is recorded ({document['id']}).")
    elif document["id"]:
        told.append(f"The invoice was recorded before ({document['id']}).")
    else:
        told.append("Nothing was written: this was a dry run.")
    return told


def _list(settings: Settings) -> None:
    home = settings.home_to_read()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        invoices = list_invoices(projection)
    rows: list[dict[str, Any]] = [
        {
            "id": one.id,
            "provider": one.provider,
            "period": one.period,
            "timezone": one.timezone,
            "source": {"name": one.source_name, "format": one.source_format, "sha256": one.source_sha256},
            "recorded_at": one.recorded_at,
            "lines": len(one.lines),
            "total_usd": pico_to_usd(sum(line.pico for line in one.lines)),
        }
        for one in invoices
    ]
    if settings.as_json:
        write_json({"schema_version": 1, "report": "invoices", "currency": "USD", "rows": rows})
        return
    if not rows:
        click.echo("No invoice was recorded.")
        return
    table = Table(
        [
            Column("Month", least=7),
            Column("Provider"),
            Column("Total", number=True),
            Column("Lines", number=True),
            Column("File", drop=1),
            Column("Id", least=36),
        ]
    )
    for row in rows:
        table.add(
            row["period"],
            row["provider"],
            money(row["total_usd"]),
            count(row["lines"]),
            row["source"]["name"],
            row["id"],
        )
    write_table(table, "Recorded invoices in USD")
