"""Pricing calls as they would be under a hypothesis, and summing them up beside what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import orjson

from keledger.journal import DAY_US, Zone
from keledger.journal._tokenizers import RATIO_UNIT, TokenRatio, load_tokenizers
from keledger.journal.prices import Book

from . import _engine as engine
from ._build import Progress
from ._calendar import calendar
from ._engine import Connection
from ._hypothesis import Apart, Conversion, Hypothesis, WhatIfSums
from ._options import ReportOptions, column
from ._pricing import Pricer, fill, parse_context
from ._sums import order

MONTH = "month"
"""A column of this report beside those of all reports."""

_EVER_US = 2**62

_INTO_DAY = f"(c.started_us + 62135596800000000) % {DAY_US}"
"""How far into its UTC day a call began: whole days from the year 1 to 1970 keep what is before 1970 in its own."""

_SAME = TokenRatio(None, None, RATIO_UNIT, RATIO_UNIT, "same")

Row = tuple[tuple[str | None, ...], WhatIfSums]


class _Key(NamedTuple):
    """Calls of one provider, model and context, what they would be priced as, and their tokens then."""

    asked_provider: str
    asked_model: str
    asked_answered: str
    asked_context: str
    provider: str
    model: str
    answered: str
    context: str
    ratio: TokenRatio
    offered: bool
    """Whether the terms that are supposed mean anything to the model's prices."""


class Comparing:
    """One comparison, on the connection of :meth:`run`; *columns* are what its rows are split by."""

    def __init__(
        self,
        hypothesis: Hypothesis,
        book: Book,
        options: ReportOptions,
        columns: Sequence[str],
        on_progress: Progress | None,
    ) -> None:
        self._hypothesis = hypothesis
        self._book = book
        self._options = options
        self._columns = tuple(columns)
        self._tell = on_progress or (lambda done, total: None)
        self._steps = 1
        self._zone = Zone(options.timezone)
        self._from_us = self._zone.start_us(options.since) if options.since else -_EVER_US
        self._to_us = self._zone.end_us(options.until) if options.until else _EVER_US
        self._named = [(place, column(name)) for place, name in enumerate(self._columns) if name != MONTH]

    def run(self, connection: Connection) -> tuple[list[Row], list[Apart], list[Conversion]]:
        """Rows in order, the calls apart, and how tokens were converted."""
        keys = self._price_anew(connection) if self._hypothesis.priced_anew else _keep_prices(connection)
        condition, parameters = self._options.condition()
        named = "".join(f"{expression} AS column_{place}, " for place, expression in self._named)
        connection.execute(engine.sql("duckdb_whatif_calls").format(columns=named, condition=condition), parameters)
        compared = self._roll_up(connection), self._apart(connection), self._conversions(connection, keys)
        self._tell(self._steps, self._steps)
        return compared

    def _price_anew(self, connection: Connection) -> list[_Key]:
        """Price the usage as it would be: once where it is known exactly, else at both ends of its range."""
        pricer = Pricer(connection, "whatif_rate")
        keys = self._keys(connection)
        _fill_keys(connection, keys)
        ends = ["least"] if all(key.ratio.exact for key in keys) else ["least", "most"]
        sizes = {end: self._sizes(end, keys) for end in ends}
        self._steps += sum(map(len, sizes.values()))
        tables: dict[str, list[str]] = defaultdict(list)
        for end in ends:
            for size in sizes[end]:
                self._define_usage(connection, end, size)
                tables[end].append(f"whatif_price_{end}_{len(tables[end])}")
                pricer.price(self._book, tables[end][-1], "c.apart = 0", usage=f"whatif_{end}")
                self._tell(sum(map(len, tables.values())), self._steps)
        _join_prices(connection, tables["least"], tables["most"])
        return keys

    def _keys(self, connection: Connection) -> list[_Key]:
        asked = connection.execute(
            "SELECT DISTINCT c.provider, c.model, c.answered, c.context FROM usage_line AS c "
            f"WHERE c.started_us >= {self._from_us} AND c.started_us < {self._to_us}"
        ).fetchall()
        return [self._key(*each) for each in asked]

    def _key(self, provider: str, model: str, answered: str, text: str) -> _Key:
        terms = self._terms(provider, parse_context(text))
        meant = (provider, model, answered) if self._hypothesis.model is None else (*self._hypothesis.model, "")
        context = orjson.dumps(terms).decode() if terms else ""
        key = _Key(provider, model, answered, text, *meant, context, _SAME, self._offered(*meant, terms))
        return key if self._hypothesis.model is None else key._replace(ratio=self._ratio(key))

    def _terms(self, provider: str, context: Mapping[str, str]) -> dict[str, str]:
        """The pricing context that is supposed: what was given for a key goes, under whatever name it has here."""
        override = self._hypothesis.context
        kept = {
            key: value
            for key, value in context.items()
            if not override.keys() & {key, *self._book.terms(provider, {key: value})}  # service_tier=batch, as well
        }
        return {**kept, **{key: value for key, value in override.items() if value}}

    def _offered(self, provider: str, model: str, answered: str, terms: Mapping[str, str]) -> bool:
        """Whether every term that is supposed is neutral, or among those that the model has prices for.

        Of a key that no rule knows nothing is asked when a call is priced; here it would be a slip of the pen that
        changes nothing in silence.
        """
        priced = self._book.priced_model(provider, model, answered or None)
        chosen = self._book.chosen_context(self._book.found(provider, priced), provider, priced, terms)
        offered = dict(pair.split("=", 1) for pair in (chosen or "").split(",") if pair)
        supposed = {key: value for key, value in self._hypothesis.context.items() if value}
        return self._book.terms(provider, supposed).items() <= offered.items()

    def _billed(self, key: _Key) -> str:
        """The model whose tokens were counted."""
        return self._book.priced_model(key.asked_provider, key.asked_model, key.asked_answered or None)

    def _ratio(self, key: _Key) -> TokenRatio:
        """From the tokens that were counted to those of the model supposed; one model has the same, listed or not."""
        billed = self._billed(key)
        old, new = self._book.match(key.asked_provider, billed), self._book.match(key.provider, key.model)
        if old is not None and new is not None and old[:2] == new[:2]:
            return _SAME
        return load_tokenizers().ratio(billed, key.model)

    def _sizes(self, end: str, keys: Sequence[_Key]) -> list[str]:
        """At which sizes of a request one end of the range of tokens is priced.

        Where larger requests never have lower prices, the least tokens cost least at the least size.  Where they have,
        the least may lie behind any tier that begins within the range, and so may the most.
        """
        meant = {(key.provider, key.model, key.context) for key in keys if not key.ratio.exact}
        tiers = set[int]()
        for provider, model, context in meant:
            for lower, higher in permutations(self._book.rates(provider, model, parse_context(context)), 2):
                if lower[:4] == higher[:4] and lower.input_over < higher.input_over:
                    prices = higher.pico_per_unit
                    if any(prices.get(bucket, price) < price for bucket, price in lower.pico_per_unit.items()):
                        tiers |= {-1, lower.input_over, higher.input_over}
        clamped = [f"LEAST(GREATEST({over + 1}, s.least_size), s.most_size)" for over in sorted(tiers)]
        return [*clamped, f"s.{end}_size"] if clamped else [f"s.{end}_size"]

    def _define_usage(self, connection: Connection, end: str, size: str) -> None:
        prices_at = self._hypothesis.prices_at
        text = engine.sql("duckdb_whatif_usage").format(
            view=f"whatif_{end}",
            end=end,
            plus=0 if end == "least" else RATIO_UNIT - 1,
            size=size,
            no_cache="TRUE" if self._hypothesis.no_cache else "FALSE",
            started_us=f"CAST({self._zone.end_us(prices_at) - 1} AS BIGINT)" if prices_at else "c.started_us",
            from_us=self._from_us,
            to_us=self._to_us,
        )
        connection.execute(text)

    def _roll_up(self, connection: Connection) -> list[Row]:
        columns = {place: f"c.column_{place}" for place, _ in self._named}
        month = ""
        if MONTH in self._columns:
            self._define_calendar(connection)
            columns[self._columns.index(MONTH)] = "d.month"
            month = (
                f"INNER JOIN whatif_calendar AS d ON d.utc_day_us = c.started_us - {_INTO_DAY} "
                "AND c.started_us >= d.start_us AND c.started_us < d.end_us"
            )
        statement = engine.sql("whatif_rollup").format(
            columns="".join(f"{columns[place]} AS column_{place}, " for place in sorted(columns)),
            groups=f"GROUP BY {', '.join(columns.values())}" if columns else "",
            month=month,
        )
        rows = []
        for row in connection.execute(statement).fetchall():
            keys = (_month(key) if name == MONTH else key for key, name in zip(row, self._columns, strict=False))
            rows.append((tuple(keys), WhatIfSums(*(int(value or 0) for value in row[len(columns) :]))))
        return sorted(rows, key=lambda row: order(row[0]))

    def _define_calendar(self, connection: Connection) -> None:
        days = connection.execute(f"SELECT DISTINCT c.started_us - {_INTO_DAY} FROM whatif_call AS c").fetchall()
        pieces = calendar(self._zone, (day for (day,) in days), lambda day: f"{day.year:04}{day.month:02}")
        months = map(int, pieces.labels)
        rows = list(zip(pieces.utc_days_us, pieces.starts_us, pieces.ends_us, months, strict=True))
        fill(connection, "whatif_calendar", ("utc_day_us", "start_us", "end_us", "month"), rows, "BIGINT")

    def _conversions(self, connection: Connection, keys: Sequence[_Key]) -> list[Conversion]:
        """Of the calls that are compared, by model."""
        compared = set(
            connection.execute(
                "SELECT DISTINCT c.provider, c.model, c.answered FROM whatif_call AS c WHERE c.reason IS NULL"
            ).fetchall()
        )
        used = [key for key in keys if key.ratio.basis != "same" and key[:3] in compared]
        ratios = {self._billed(key): key.ratio for key in used}
        return [Conversion(model, ratios[model]) for model in sorted(ratios)]

    def _apart(self, connection: Connection) -> list[Apart]:
        if not engine.one(connection, "SELECT COUNT(reason) FROM whatif_call"):
            return []
        sums: dict[tuple[str, str, str, str], tuple[int, int | None]] = {}
        for row in connection.execute(engine.sql("duckdb_whatif_apart")).fetchall():
            *told_by, calls, actual_pico = row
            told = self._told_apart(*told_by)
            before_calls, before_pico = sums.get(told, (0, None))
            pico = before_pico if actual_pico is None else int(actual_pico) + (before_pico or 0)
            sums[told] = (before_calls + calls, pico)
        return [Apart(*told, *sums[told]) for told in sorted(sums)]

    def _told_apart(
        self,
        reason: str,
        asked_provider: str,
        asked_model: str,
        provider: str | None,
        model: str | None,
        answered: str | None,
        context: str | None,
        apart: int | None,
    ) -> tuple[str, str, str, str]:
        """The reason, provider, model and context by which calls are told apart."""
        if reason != "no_price":
            return reason, asked_provider, asked_model, ""
        if provider is None or model is None or context is None:
            return "unknown_usage", asked_provider, asked_model, ""
        priced = self._book.priced_model(provider, model, answered or None)
        terms = parse_context(context)
        if self._book.match(provider, priced) is None and not self._book.rates(provider, priced, {}):
            reason = "unknown_model"
        elif apart == _NOT_OFFERED or (terms and not self._book.rates(provider, priced, terms)):
            reason = "not_offered"
        elif apart == _NO_RATIO:
            return "no_ratio", asked_provider, asked_model, ""
        return reason, provider, priced, context


_NO_RATIO, _NOT_OFFERED = 1, 2
"""In the column ``apart`` of the usage: why a call is not priced at all."""


def _month(number: int) -> str:
    return f"{number // 100:04}-{number % 100:02}"


def _keep_prices(connection: Connection) -> list[_Key]:
    """Let calls cost what they cost."""
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW whatif_price AS SELECT writer, seq, cost_pico AS low_pico, "
        "cost_pico AS high_pico FROM call_fact"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW whatif_least AS SELECT writer, seq, provider, model, "
        "'' AS answered, '' AS context, 0 AS apart FROM call_fact WHERE 1 = 0"
    )
    return []


def _fill_keys(connection: Connection, keys: Sequence[_Key]) -> None:
    texts = _Key._fields[:-2]
    fill(connection, "whatif_key_text", texts, [key[:-2] for key in keys], "VARCHAR", number="place")
    numbers = [(*key.ratio[2:4], int(key.ratio.basis != "same"), int(not key.offered)) for key in keys]
    names = ("least", "most", "converted", "not_offered")
    fill(connection, "whatif_key_number", names, numbers, "BIGINT", number="place")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE whatif_key AS SELECT * EXCLUDE (place) "
        "FROM whatif_key_text INNER JOIN whatif_key_number USING (place)"
    )


def _join_prices(connection: Connection, least: Sequence[str], most: Sequence[str]) -> None:
    """Define whatif_price: by call the least and the most of these tables; none where one of them has no price."""
    tables = [*least, *most]
    lows = ", ".join(f"t{number}.pico" for number in range(len(least)))
    highs = ", ".join(f"t{number}.pico" for number in range(len(least), len(tables))) or lows
    priced = " AND ".join(f"t{number}.state = 'priced'" for number in range(len(tables)))
    joins = "".join(
        f" INNER JOIN {table} AS t{number} ON t{number}.writer = t0.writer AND t{number}.seq = t0.seq"
        for number, table in enumerate(tables)
        if number
    )
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW whatif_price AS SELECT t0.writer AS writer, t0.seq AS seq, "
        f"CASE WHEN {priced} THEN LEAST({lows}) END AS low_pico, "
        f"CASE WHEN {priced} THEN GREATEST({highs}) END AS high_pico FROM {tables[0]} AS t0{joins}"
    )
