"""``keledger efficiency``: what was got for the money, and what would have saved some of it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import click

from keledger.journal import check_zone, report_zone
from keledger.projections import Efficiency, ReportOptions, open_projection, report_efficiency

from ._book_asked import asked_book, asked_model
from ._days import parse_day, parse_since, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import MODEL_WIDTH, NONE, calls, footnote, marked_cost, uncosted
from ._table import Column, Table, count, duration, money, printable, terminal_width, wrapped
from ._whatif import apart_sentences
from ._where import parse_where

_NOTHING = "-"
"""What stands in a table where there is nothing to divide by."""

_QUOTIENTS = (
    ("cost_per_call_usd", "Per call", 7),
    ("cost_per_1000_output_tokens_usd", "Per 1k output", 8),
    ("cost_per_success_usd", "Per success", 6),
)

_CACHES = (("5m", "Cache 5m max", 4), ("1h", "Cache 1h max", 5))


@command(
    name="efficiency",
    examples=(
        "keledger efficiency --since 28d",
        "keledger efficiency --by prompt --where project=crm",
        "keledger efficiency --model anthropic/claude-haiku-4-5",
    ),
)
@click.option(
    "--model", metavar="MODEL", help="Beside it, what another model would have cost: MODEL, or PROVIDER/MODEL."
)
@click.option(
    "--book", metavar="BOOK", help="Savings by this book: its id, the beginning of one, or known:DATE; else the newest."
)
@click.option("-s", "--since", metavar="DAY", help="First day; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Last day, included.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option("--by", metavar="COLUMN,…", multiple=True, help="Rows by columns of reports; else by model,prompt.")
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, help="Only calls that have exactly this.")
@click.option(
    "--prices",
    metavar="BASIS",
    default="current",
    show_default=True,
    help="What the calls do cost: recorded, current, latest, or known:YYYY-MM-DD.",
)
@common_options
@pass_settings
def efficiency(settings: Settings, /, **given: Any) -> None:
    """Show cost per call, output and success, and what would have saved some.

    By model and prompt: cost per call, per 1,000 tokens of output and per successful call, and the share of input that
    came from a cache; what caching would have saved at most, and with --model what another model would have cost.

    Calls whose cost is not known are counted, and are in no quotient.  Nothing is written.
    """
    home = settings.home_to_read()
    zone = check_zone(given["timezone"], "--timezone") if given["timezone"] else report_zone(home)
    today = today_in(zone)
    options = ReportOptions(
        since=parse_since(given["since"], today) if given["since"] else None,
        until=parse_day(given["until"], "--until", today) if given["until"] else None,
        timezone=zone,
        by=tuple(name.strip() for names in given["by"] for name in names.split(",") if name.strip()),
        where=parse_where(given["where"]),
        basis=given["prices"],
    )
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        book = asked_book(projection, home, given["book"], zone)
        model = asked_model(projection, book, given["model"]) if given["model"] is not None else None
        with Progress("pricing") as pricing:
            report = report_efficiency(projection, book, options, model=model, on_progress=pricing)
    document = report.as_json()
    if settings.as_json:
        write_json(document)
    else:
        _show(report, document)
    warn_findings(document["findings"])


def _show(report: Efficiency, document: dict[str, Any]) -> None:
    write_table(_table(report, document), _heading(report), footnote(document["totals"]))
    for sentence in _sentences(report, document["totals"]):
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)


def _heading(report: Efficiency) -> str:
    options = report.options
    parts = ["Efficiency in USD"]
    if options.since or options.until:
        parts.append(f"{options.since or 'the first call'} to {options.until or 'now'}")
    parts += [f"{name}={value}" for name, value in options.where]
    return ", ".join([*parts, f"days of {options.timezone}", f"prices: {options.basis}"])


def _table(report: Efficiency, document: dict[str, Any]) -> Table:
    totals, by = document["totals"], report.options.by
    heads = [Column(name.replace("_", " ").capitalize(), least=MODEL_WIDTH if name == "model" else 7) for name in by]
    timed = totals["duration_per_call_ms"] is not None
    table = Table(
        [
            *heads,
            Column("Calls", number=True, drop=1),
            Column("OK", number=True, drop=2),
            Column("Input", number=True, drop=12),
            Column("Output", number=True, drop=11),
            Column("Cost", number=True),
            *(Column(title, number=True, drop=drop) for _, title, drop in _QUOTIENTS),
            Column("Cache hit", number=True, drop=9),
            *([Column("Time", number=True, drop=13)] if timed else []),
            *(Column(title, number=True, drop=drop) for _, title, drop in _CACHES),
            *([Column("Other model", number=True), Column("to", number=True)] if report.other else []),
        ]
    )
    incomplete = bool(uncosted(totals))
    for row in document["rows"]:
        table.add(*(NONE if row[name] is None else row[name] for name in by), *_cells(row, timed, incomplete))
    table.add("Total", *[""] * (len(by) - 1), *_cells(totals, timed, incomplete), kind="total")
    return table


def _cells(row: dict[str, Any], timed: bool, incomplete: bool) -> Iterator[str]:
    yield from (count(row[name]) for name in ("calls", "successful_calls", "input_tokens", "output_tokens"))
    yield marked_cost(row, incomplete=incomplete)
    yield from (_money(row[name]) for name, _, _ in _QUOTIENTS)
    share = row["cache_hit_share"]
    yield _NOTHING if share is None else f"{Decimal(share) * 100:.1f} %"
    if timed:
        per_call_ms = row["duration_per_call_ms"]
        yield _NOTHING if per_call_ms is None else duration(per_call_ms)
    for name, _, _ in _CACHES:
        yield _money(row["caching"][name]["saved_at_most_usd"])
    if "other_model" in row:
        other = row["other_model"]
        for end in ("low", "high"):
            usd = other[f"difference_{end}_usd"]
            yield "apart" if usd is None else money(usd)


def _money(usd: str | None) -> str:
    return _NOTHING if usd is None else money(usd)


def _sentences(report: Efficiency, totals: dict[str, Any]) -> Iterator[str]:
    caching = totals["caching"]
    bound, *others = report.assumptions()
    yield bound
    if caching["promptless_calls"]:
        yield f"  {calls(caching['promptless_calls'])} without a prompt: of these nothing is said of caching."
    unpriced = max(caching[name]["no_cache_price_calls"] for name, _, _ in _CACHES)
    if unpriced:
        yield f"  {calls(unpriced)} that could share a cache, but have no price of one below that of plain input."
    yield from others
    if report.other:
        yield from apart_sentences(report.other)
    else:
        yield "--model MODEL shows what another model would have cost."
