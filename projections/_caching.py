"""What a prompt cache would have saved at most, told by counts alone: the journal has no text.

Which tokens two calls have in common cannot be known from it, but not more than the smaller of them has.  Where that is
counted, and each token that is read must have been written once, what comes out cannot be passed
(``docs/projections.md``, Efficiency).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keledger.journal import Zone, pico_to_usd
from keledger.journal.prices import Book

from . import _engine as engine
from ._build import Progress
from ._cache_minimums import cache_minimum_tokens
from ._engine import Connection
from ._options import ReportOptions, column
from ._pricing import Pricer, fill

MINUTE_US = 60_000_000

_CARRIED = {
    "input_total": "c.input_total",
    "input_uncached": "c.input_uncached",
    "cached_tokens": "c.cache_read + c.cache_read_audio + c.cache_write_5m + c.cache_write_1h",
    "plain_pico": "r.input_uncached",
    "read_pico": "r.cache_read",
    "write_5m_pico": "r.cache_write_5m",
    "write_1h_pico": "r.cache_write_1h",
}
"""What is kept of a call that is priced: its input, and what a token of it costs plain, read from and written to a
cache."""

_CHAINED = ("provider", "model", "prompt", "prompt_version")
"""What calls that could share a cache have in common, beside the row of the report."""


class Lifetime(NamedTuple):
    """How long a cache keeps what nobody reads, and which of a call's columns has the price of writing for so long."""

    name: str
    lifetime_us: int
    write_costs_pico: str


LIFETIMES = (
    Lifetime("5m", 5 * MINUTE_US, "write_5m_costs_pico"),
    Lifetime("1h", 60 * MINUTE_US, "write_1h_costs_pico"),
)
"""Those that Anthropic sells, counted from the last use.  OpenAI's forgets after 5 to 10 minutes, at the latest after
an hour, unless a request asks for a day.  Source: the providers' guides to prompt caching, 2026-11-22."""


class CachingSums(NamedTuple):
    """Of the calls of a row: what a cache may have had of their plain input, and what that would have saved."""

    repeating_calls: int = 0
    """Calls of whose plain input an earlier one in the same run may have had a part."""
    no_cache_price_calls: int = 0
    """Those of them that have no price for reading from a cache, or none below that of plain input."""
    repeated_tokens: int = 0
    saved_pico: int = 0

    def plus(self, other: CachingSums) -> CachingSums:
        """Both together."""
        return CachingSums(*map(sum, zip(self, other, strict=True)))

    def as_json(self) -> dict[str, Any]:
        """The figures; the saving is null only where there could be one and no call has a cache price."""
        known = self.repeating_calls > self.no_cache_price_calls or not self.repeating_calls
        return {
            "repeating_calls": self.repeating_calls,
            "no_cache_price_calls": self.no_cache_price_calls,
            "repeated_tokens_at_most": self.repeated_tokens,
            "saved_at_most_usd": pico_to_usd(self.saved_pico) if known else None,
        }


Caching = Mapping[str, CachingSums]
"""By the name of a lifetime."""


def caching_by_row(
    connection: Connection, book: Book, options: ReportOptions, on_progress: Progress
) -> dict[tuple[str | None, ...], Caching]:
    """What a cache would have saved between the calls of each row, by the values of ``options.by``.

    Rows in which no call could share a cache are left out.  The prices are those of *book* at each call's time.
    """
    steps = 2 + len(LIFETIMES)
    on_progress(0, steps)
    _price(connection, book, options)
    on_progress(1, steps)
    _find_minimums(connection, book)
    names = [f"column_{number}" for number in range(len(options.by))]
    expressions = dict(zip(names, map(column, options.by), strict=True))
    condition, parameters = options.condition()
    chains = engine.sql("duckdb_cache_chains").format(
        columns=", ".join(f"{each} AS {name}" for name, each in expressions.items()),
        names=", ".join(f"k.{name}" for name in names),
        condition=condition,
    )
    connection.execute(chains, parameters)
    alike = expressions | {name: f"c.{name}" for name in _CHAINED}
    same = " AND ".join(f"k.{name} IS NOT DISTINCT FROM {each}" for name, each in alike.items())
    connection.execute(engine.sql("duckdb_cache_calls").format(same=same, condition=condition), parameters)
    connection.execute("DROP TABLE cache_price")  # as large as what was made of it
    found: dict[int, dict[str, CachingSums]] = {}
    for done, lifetime in enumerate(LIFETIMES, 2):
        on_progress(done, steps)
        for place, sums in _sums(connection, lifetime):
            found.setdefault(place, {})[lifetime.name] = sums
    on_progress(steps, steps)
    keys = connection.execute(f"SELECT DISTINCT place, {', '.join(names)} FROM cache_chain").fetchall()
    return {tuple(values): found[place] for place, *values in keys if place in found}


def _price(connection: Connection, book: Book, options: ReportOptions) -> None:
    """Make ``cache_price``: calls of the report's days with their prices by *book*."""
    zone = Zone(options.timezone)
    parts = ["c.prompt IS NOT NULL"]
    if options.since is not None:
        parts.append(f"c.started_us >= {zone.start_us(options.since)}")
    if options.until is not None:
        parts.append(f"c.started_us < {zone.end_us(options.until)}")
    pricer = Pricer(connection, "cache_rate")
    priced = pricer.prepare(book, " AND ".join(parts), (), carrying=_CARRIED)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE cache_price AS {priced.statement}")


def _find_minimums(connection: Connection, book: Book) -> None:
    """Make ``cache_minimum``: the fewest tokens that are cached for each model that was billed."""
    asked = connection.execute(
        "SELECT DISTINCT c.provider, c.model, COALESCE(c.response_model, '') FROM call_fact AS c"
    ).fetchall()
    rows = [
        (provider, model, answered, str(cache_minimum_tokens(book.priced_model(provider, model, answered or None))))
        for provider, model, answered in asked
    ]
    fill(connection, "cache_minimum", ("provider", "model", "answered", "tokens"), rows, "VARCHAR")


def _sums(connection: Connection, lifetime: Lifetime) -> Sequence[tuple[int, CachingSums]]:
    reach = engine.sql("cache_reach").format(
        lifetime_us=lifetime.lifetime_us, write_costs_pico=lifetime.write_costs_pico
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE cache_reach AS {reach}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE cache_write AS {engine.sql('cache_write')}")
    saved = dict(connection.execute(engine.sql("cache_saving")).fetchall())
    return [
        (place, CachingSums(calls, unpriced, int(tokens), int(saved.get(place) or 0)))
        for place, calls, unpriced, tokens in connection.execute(engine.sql("cache_rollup")).fetchall()
    ]
