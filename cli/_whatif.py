"""``keledger whatif``: one's own history on another model or other terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import click

from keledger.journal import check_zone, report_zone
from keledger.projections import (
    Apart,
    Hypothesis,
    ReportOptions,
    WhatIf,
    WhatIfSums,
    open_projection,
    report_whatif,
)

from ._book_asked import asked_book, asked_model
from ._days import parse_day, parse_since, today_in
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._report_tables import MODEL_WIDTH, NONE, calls
from ._table import Column, Table, count, exact_money, money, printable, terminal_width, wrapped
from ._where import parse_where

APART_SHOWN_MAX = 12
"""More sentences than this under a table help nobody; with --json all are there."""

_HYPOTHESES = ("model", "context", "no_cache", "discount", "prices_at")
_PAIR = re.compile(r"([a-z][a-z0-9_]*)=([^,=\s]*)", re.ASCII)
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,6})?", re.ASCII)


@command(
    name="whatif",
    examples=(
        "keledger whatif --model anthropic/claude-haiku-4-5 --since 28d",
        "keledger whatif --context processing=batch --prices-at today --where project=crm",
        "keledger whatif --no-cache --by project",
        "keledger whatif --discount 12.5",
    ),
)
@click.option("--model", metavar="MODEL", help="On this model: MODEL, or PROVIDER/MODEL where several have it.")
@click.option(
    "--context",
    metavar="KEY=VALUE",
    multiple=True,
    help="On these terms, such as processing=batch; nothing behind = takes a key away.  May be given again.",
)
@click.option("--no-cache", is_flag=True, help="Without a cache: what was read from or written to one is plain input.")
@click.option("--discount", metavar="PERCENT", help="Less a discount; alone, it is taken off the cost as it is.")
@click.option("--prices-at", metavar="DAY", help="By the prices that were valid at the end of this day.")
@click.option(
    "--book", metavar="BOOK", help="By this book: its id, the beginning of one, or known:DATE; else the newest."
)
@click.option("-s", "--since", metavar="DAY", help="First day; days as for keledger daily.")
@click.option("-u", "--until", metavar="DAY", help="Last day, included.")
@click.option("-z", "--timezone", metavar="ZONE", help="Whose days; else KELEDGER_TZ, config.toml, or the machine's.")
@click.option(
    "--by", metavar="COLUMN,…", multiple=True, help="Rows by month and columns of reports; else by month,model."
)
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
def whatif(settings: Settings, /, **given: Any) -> None:
    """Show what my calls would have cost on other terms.

    That is on another model, in another context, without a cache, at a discount, or at the prices of another day,
    beside what they did cost.

    Several suppositions hold together.  Where the model has another tokenizer, the cost is a range, by measured
    ratios.  Calls that have no cost on one of the sides are counted apart, on neither.  Nothing is written.
    """
    if not any(given[name] not in (None, False, ()) for name in _HYPOTHESES):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in _HYPOTHESES)
        raise click.UsageError(f"nothing is supposed: give at least one of {names}")
    home = settings.home_to_read()
    zone = check_zone(given["timezone"], "--timezone") if given["timezone"] else report_zone(home)
    today = today_in(zone)
    context = _context(given["context"])
    discount_percent = _percent(given["discount"]) if given["discount"] is not None else None
    prices_at = parse_day(given["prices_at"], "--prices-at", today) if given["prices_at"] is not None else None
    options = ReportOptions(
        since=parse_since(given["since"], today) if given["since"] else None,
        until=parse_day(given["until"], "--until", today) if given["until"] else None,
        timezone=zone,
        where=parse_where(given["where"]),
        basis=given["prices"],
    )
    columns = tuple(name.strip() for names in given["by"] for name in names.split(",") if name.strip())
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        book = asked_book(projection, home, given["book"], zone)
        model = asked_model(projection, book, given["model"]) if given["model"] is not None else None
        with Progress("pricing") as pricing:
            report = report_whatif(
                projection,
                Hypothesis(model, context, given["no_cache"], discount_percent, prices_at),
                book,
                options,
                columns=columns or ("month", "model"),
                on_progress=pricing,
            )
    if settings.as_json:
        write_json(report.as_json())
    else:
        _show(report)
    warn_findings(finding.as_json() for finding in report.findings)


def _context(given: Sequence[str]) -> dict[str, str]:
    context: dict[str, str] = {}
    for text in given:
        for pair in text.split(","):
            found = _PAIR.fullmatch(pair.strip())
            if found is None or found[1] in context:
                raise click.BadParameter(
                    f"{text!r} is no context: write key=value,key=value such as processing=batch, each key once",
                    param_hint="--context",
                )
            context[found[1]] = found[2]
    return context


def _percent(text: str) -> Decimal:
    if _PERCENT.fullmatch(text) is None or Decimal(text) > 100:
        raise click.BadParameter(
            f"{text!r} is no discount: write percent from 0 to 100 like 12.5, with at most 6 decimals",
            param_hint="--discount",
        )
    return Decimal(text)


def _show(report: WhatIf) -> None:
    write_table(_table(report), _heading(report))
    for sentence in [*report.assumptions(), *apart_sentences(report)]:
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)


def _heading(report: WhatIf) -> str:
    options = report.options
    parts = ["Cost in USD as it is, and as it would be"]
    if options.since or options.until:
        parts.append(f"{options.since or 'the first call'} to {options.until or 'now'}")
    parts += [f"{name}={value}" for name, value in options.where]
    return ", ".join([*parts, f"days of {options.timezone}", f"prices: {options.basis}"])


def _table(report: WhatIf) -> Table:
    heads = [
        Column(name.replace("_", " ").capitalize(), least=MODEL_WIDTH if name == "model" else 7)
        for name in report.columns
    ]
    exact = report.total.low_pico == report.total.high_pico
    figures = ("What if", "Difference") if exact else ("At least", "At most", "Difference", "to")
    apart = [Column("Apart", number=True, drop=2)] if report.total.apart_calls else []
    table = Table(
        [
            *heads,
            Column("Calls", number=True, drop=1),
            *apart,
            Column("Actual", number=True),
            *(Column(title, number=True) for title in figures),
        ]
    )
    for keys, sums in report.rows:
        table.add(*(NONE if key is None else key for key in keys), *_figures(sums, exact, bool(apart)))
    total = ["Total", *[""] * (len(heads) - 1)]
    table.add(*total, *_figures(report.total, exact, bool(apart)), kind="total")
    return table


def _figures(sums: WhatIfSums, exact: bool, with_apart: bool) -> Iterator[str]:
    shown = sums.as_json()
    yield count(sums.calls)
    if with_apart:
        yield count(sums.apart_calls)
    ends = ("low",) if exact else ("low", "high")
    for name in ("actual_usd", *(f"{end}_usd" for end in ends), *(f"difference_{end}_usd" for end in ends)):
        yield "apart" if shown[name] is None else money(shown[name])


def apart_sentences(report: WhatIf) -> Iterable[str]:
    """Of the calls that stand on neither side: how many, and why, the most first."""
    if not report.apart:
        return
    yield f"Apart, on neither side: {calls(report.total.apart_calls)}."
    largest = sorted(report.apart, key=lambda apart: -apart.calls)
    for apart in largest[:APART_SHOWN_MAX]:
        cost = f" ({exact_money(apart.as_json()['actual_usd'])})" if apart.actual_pico else ""
        yield f"  {calls(apart.calls)}{cost}: {_why(apart, report.hypothesis)}"
    if len(largest) > APART_SHOWN_MAX:
        yield f"  and {count(len(largest) - APART_SHOWN_MAX)} kinds more; --json has all"


def _why(apart: Apart, hypothesis: Hypothesis) -> str:
    name = f"{apart.provider}/{apart.model}"
    terms = ",".join(f"{key}={value}" for key, value in apart.as_json()["context"].items())
    if apart.reason == "unknown_model":
        return f"{name} has no price, for no rule says which model it is"
    if apart.reason == "not_offered":
        return f"{name} is not offered with {terms}"
    if apart.reason == "no_price" and hypothesis.prices_at is None:
        on_terms = f" with {terms}" if terms else ""
        return (
            f"{name} had no price{on_terms} at the time, or not for all that was used; --prices-at DAY takes one day's"
        )
    if apart.reason == "no_price":
        return f"{name} has no price on {hypothesis.prices_at}{f' with {terms}' if terms else ''} for all that was used"
    return {
        "unknown_usage": f"{name}, whose usage is not known",
        "reported": f"{name}, whose cost was only reported",
        "unpriced": f"{name}, which has no actual cost",
        "no_ratio": f"{name} with sound, images or video, whose tokens by another tokenizer cannot be told",
    }[apart.reason]
