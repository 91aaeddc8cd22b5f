"""A budget that is not set, held against the calls of the past: which of them it would have refused or warned of.

The calls are taken in the order in which they began, and end when they did.  What a trial counts, holds and decides is
the guard's own fold (:class:`keledger.journal.budgets.Trial`); this module brings it what happened.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import (
    Finding,
    KeledgerError,
    UsageError,
    Zone,
    current_prices,
    format_time,
    parse_time,
    pico_to_usd,
)
from keledger.journal.budgets import STAND_IN, Budget, Trial, Verdict, budget_row
from keledger.journal.prices import Book, PriceStore

from . import _engine as engine
from ._adjustments import read_adjustments
from ._basis import adopted_books
from ._build import Progress
from ._engine import Connection
from ._options import ReportOptions
from ._pricing import parse_context
from ._projection import Projection

LISTED_MAX = 100_000
"""Refused calls, and alerts, that are listed one by one; the sums are of all."""

_BATCH_ROWS = 5_000

_RECENT_CALLS = 100
"""Calls before the range of each prompt and model that sizes of holds are learned from: as many as the guard keeps."""

_BEFORE_ALL_US = -(2**62)
_AFTER_ALL_US = 2**62

_TEXTS = (
    "provider", "model", "response_model", "prompt", "prompt_version", "session", "run", "client", "project", "team",
    "cost_center", "os_user", "origin", "status",
)  # fmt: skip


@dataclass(slots=True)
class BacktestSums:
    """What became of the calls of a day that the budget covers.  ``saved_pico`` is what the refused ones had cost."""

    calls: int = 0
    cost_pico: int = 0
    refused_calls: int = 0
    refused_uncosted_calls: int = 0
    saved_pico: int = 0
    alerts: int = 0

    def as_json(self) -> dict[str, Any]:
        """Money as decimal text."""
        return {
            "calls": self.calls,
            "cost_usd": pico_to_usd(self.cost_pico),
            "refused_calls": self.refused_calls,
            "refused_uncosted_calls": self.refused_uncosted_calls,
            "saved_usd": pico_to_usd(self.saved_pico),
            "alerts": self.alerts,
        }


@dataclass(slots=True)
class Backtest:
    """What a budget would have done: by day of its zone, call by call, and how far that can be relied on."""

    budget: Budget
    position: Mapping[str, int]
    findings: tuple[Finding, ...]
    days: dict[str, BacktestSums] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    totals: BacktestSums = field(default_factory=BacktestSums)
    stand_ins: int = 0
    """Calls of whose request nothing was journaled, so that ``max`` could not be told."""
    refused_then: int = 0
    """Calls that other budgets refused at the time."""

    def notes(self) -> list[str]:
        """How far it can be relied on, in sentences."""
        found = []
        if self.stand_ins:
            found.append(
                f"Calls of whose request nothing is journaled: {self.stand_ins:,}. The most that they could have cost "
                f"cannot be told any more, and {STAND_IN} was held for them in the place of max."
            )
        if self.refused_then:
            found.append(
                f"Calls that budgets of the time refused: {self.refused_then:,}. Nobody knows what they would have "
                "cost, and they are not in this."
            )
        if self.totals.refused_uncosted_calls:
            found.append(
                f"Refused calls whose cost nobody knows: {self.totals.refused_uncosted_calls:,}. Nothing is counted as "
                "saved for them."
            )
        if max(len(self.refused), len(self.alerts)) >= LISTED_MAX:
            found.append(f"Of refused calls and of alerts the first {LISTED_MAX:,} each are listed.")
        return found

    def as_json(self) -> dict[str, Any]:
        """The report as it is printed."""
        tried = budget_row(self.budget, 0)
        return {
            "schema_version": 1,
            "report": "budget backtest",
            "timezone": self.budget.timezone,
            "currency": "USD",
            "prices": {"basis": "recorded", "book": None},
            "position": dict(self.position),
            "findings": [finding.as_json() for finding in self.findings],
            "budget": {name: value for name, value in tried.items() if name not in ("id", "name", "raises")},
            "rows": [{"date": day, **sums.as_json()} for day, sums in sorted(self.days.items())],
            "totals": self.totals.as_json(),
            "refused": self.refused,
            "alerts": self.alerts,
            "notes": self.notes(),
        }


def backtest(
    projection: Projection,
    fields: Mapping[str, Any],
    options: ReportOptions | None = None,
    *,
    on_progress: Progress | None = None,
) -> Backtest:
    """Hold the calls of the days of *options* to the budget that *fields* describe (:func:`.budget_fields`).

    What began before the first day counts as spent where the budget's window reaches back to it, and is refused by
    nothing.  A call that would have been refused costs later ones nothing.  Costs are the recorded ones.  Nothing is
    written.  Raises UsageError for a budget that cannot be counted here, JournalDamaged where a price book cannot be
    read.
    """
    options = options or ReportOptions()
    if options.where or options.by:
        raise UsageError("a budget says itself which calls it covers")
    zone = Zone(options.timezone)
    begun_us = zone.start_us(options.since) if options.since is not None else _BEFORE_ALL_US
    ended_us = zone.end_us(options.until) if options.until is not None else _AFTER_ALL_US
    numbers = itertools.count()  # of tries: a cache may prove damaged in the middle of one
    with projection.scratch_folder() as folder:

        def run(connection: Connection) -> Backtest:
            trial = Trial(fields, Path(folder) / f"trial-{next(numbers)}")
            try:
                found = Backtest(trial.budget, projection.positions, ())
                _Replay(projection, connection, trial, found, begun_us, ended_us).run(on_progress)
                return found
            finally:
                trial.close()

        made = projection.run(run)
    made.findings = projection.findings
    return made


@dataclass(order=True, slots=True)
class _Ending:
    """A call under way that ends at an instant; of several at once the one that began first."""

    ended_us: int
    place: int
    call_id: str = field(compare=False)
    data: Mapping[str, Any] = field(compare=False)
    counts: bool = field(compare=False)
    """Whether it is one of the range, and not of what was before."""


class _Replay:
    def __init__(
        self,
        projection: Projection,
        connection: Connection,
        trial: Trial,
        found: Backtest,
        begun_us: int,
        ended_us: int,
    ) -> None:
        self._connection, self._trial, self._found = connection, trial, found
        self._begun_us, self._ended_us = begun_us, ended_us
        self._home = projection.home
        self._books = _Books(projection, connection)
        self._under_way: list[_Ending] = []
        self._zone = Zone(trial.budget.timezone)

    def run(self, on_progress: Progress | None) -> None:
        begun_us = self._begun_us
        start_us = self._trial.window_start_us(begun_us) if begun_us > _BEFORE_ALL_US else begun_us
        self._found.refused_then = self._refused_then()
        adjustments = [
            one
            for one in read_adjustments(self._connection, self._home)[0]
            if start_us <= one.effective_us < self._ended_us
        ]
        adjustments.sort(key=lambda one: one.effective_us, reverse=True)
        count = "SELECT COUNT(*) FROM loaded_line WHERE started_us >= ? AND started_us < ?"
        total = engine.one(self._connection, count, [start_us, self._ended_us])
        for done, (call_id, started_us, call_ended_us, data, request) in enumerate(self._calls(start_us)):
            while adjustments and adjustments[-1].effective_us <= started_us:
                adjusted = adjustments.pop()
                self._settle_before(adjusted.effective_us)
                self._trial.adjust(adjusted.id, adjusted.data, adjusted.effective_us)
            self._settle_before(started_us)
            in_range = started_us >= begun_us
            goes_out = self._ask(call_id, started_us, data, request) if in_range else True
            if goes_out:
                ending = _Ending(max(call_ended_us, started_us), done, call_id, data, in_range)
                heapq.heappush(self._under_way, ending)
            if on_progress is not None and done % 1000 == 0:
                on_progress(min(done, total), total)
        self._settle_before(_AFTER_ALL_US)

    def _ask(self, call_id: str, started_us: int, data: Mapping[str, Any], request: Mapping[str, Any] | None) -> bool:
        """Whether the call may go out, which is noted."""
        asked = {**data, "call_id": call_id, **({"request": request} if request else {})}
        verdict = self._trial.reserve(asked, started_us, self._books.at(started_us))
        if not verdict.covered:
            return True
        found, day = self._found, self._day(started_us)
        found.stand_ins += verdict.stands_in
        cost_usd = data["cost"].get("total_usd")
        pico = data["cost_pico"]
        for sums in (day, found.totals):
            sums.calls += 1
            sums.cost_pico += pico or 0
            if verdict.refusals:
                sums.refused_calls += 1
                sums.refused_uncosted_calls += pico is None
                sums.saved_pico += pico or 0
        self._note_alerts(verdict.alerts, started_us)
        if verdict.refusals and len(found.refused) < LISTED_MAX:
            found.refused.append(_refused(call_id, data, verdict, cost_usd))
        return not verdict.refusals

    def _settle_before(self, instant_us: int) -> None:
        """Let the calls end that have by then."""
        while self._under_way and self._under_way[0].ended_us <= instant_us:
            ending = heapq.heappop(self._under_way)
            alerts = self._trial.settle(ending.call_id, ending.data, ending.ended_us)
            if ending.counts:
                self._note_alerts(alerts, ending.ended_us)

    def _note_alerts(self, alerts: Sequence[Mapping[str, Any]], at_us: int) -> None:
        for alert in alerts:
            for sums in (self._day(at_us), self._found.totals):
                sums.alerts += 1
            if len(self._found.alerts) < LISTED_MAX:
                shown = ("threshold_percent", "limit_usd", "spent_usd", "group", "window_from", "window_to", "call_id")
                self._found.alerts.append({"at": format_time(at_us), **{name: alert.get(name) for name in shown}})

    def _day(self, instant_us: int) -> BacktestSums:
        return self._found.days.setdefault(self._zone.day(instant_us).isoformat(), BacktestSums())

    def _refused_then(self) -> int:
        """How many calls of the range that the budget covers never went out."""
        rows = self._connection.execute(
            "SELECT ANY_VALUE(data) FROM other_line WHERE type = 'call.blocked' AND v = 1 GROUP BY id"
        ).fetchall()
        count = 0
        for (text,) in rows:
            data = orjson.loads(text)
            try:
                started_us = parse_time(data["started_at"])
                within = self._begun_us <= started_us < self._ended_us
                count += within and self._trial.covers(data, started_us)
            except (KeyError, TypeError, AttributeError, KeledgerError):
                continue  # no writer of ours wrote that
        return count

    def _calls(self, start_us: int) -> Iterator[tuple[str, int, int, dict[str, Any], dict[str, Any] | None]]:
        """Id, begin, end, what the event says, and what was told of the request, in the order of their beginnings."""
        statement = engine.sql("duckdb_backtest").format(start=start_us, end=self._ended_us, recent=_RECENT_CALLS)
        result = self._connection.execute(statement)
        columns = [column[0] for column in result.description]
        while rows := result.fetchmany(_BATCH_ROWS):
            for values in rows:
                row = dict(zip(columns, values, strict=True))
                told = orjson.loads(row["request"]) if row["request"] else None
                request = told if isinstance(told, dict) else None
                yield row["id"], row["started_us"], row["ended_us"], self._data(row), request

    def _data(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A call's event, as far as a fold looks at it."""
        pico = int(row["cost_pico"]) if row["cost_pico"] is not None else None
        cost = {
            "state": row["cost_state"],
            "lines": [
                {name: value for name, value in line.items() if value is not None} for line in row["cost_lines"] or ()
            ],
            "book": self._books.at(row["started_us"]).sha256,
        }
        data = {name: row[name] for name in _TEXTS if row[name] is not None}
        return data | {
            "started_at": format_time(row["started_us"]),
            "user": row["usr"],
            "tags": row["tags"],
            "usage": {bucket: count for bucket, count in (row["usage"] or {}).items() if count},
            "pricing_context": parse_context(row["pricing_context"] or ""),
            "cost": cost | ({"total_usd": pico_to_usd(pico)} if pico is not None else {}),
            "cost_pico": pico,
        }


class _Books:
    """The book that priced calls at a time: the last that the home had adopted then."""

    def __init__(self, projection: Projection, connection: Connection) -> None:
        adopted = adopted_books(connection, projection.home)
        self._store = PriceStore(projection.home.prices)
        if not adopted:
            current = current_prices(projection.home)
            self._store, adopted = current.store, [(current.manifest.sha256, 0)]
        self._adopted = adopted
        self._loaded: dict[str, Book] = {}

    def at(self, instant_us: int) -> Book:
        """The book of an instant; before the first was adopted, that one."""
        sha256 = next((book for book, time_us in self._adopted if time_us <= instant_us), self._adopted[-1][0])
        if sha256 not in self._loaded:
            self._loaded[sha256] = self._store.load_book(sha256)
        return self._loaded[sha256]


def _refused(call_id: str, data: Mapping[str, Any], verdict: Verdict, cost_usd: str | None) -> dict[str, Any]:
    refusal = verdict.refusals[0]
    told = ("started_at", "provider", "model", "prompt", "session", "user", "project")
    why = ("cause", "detail", "asked_usd", "limit_usd", "spent_usd", "held_usd", "group", "window_from", "window_to")
    return {
        "id": call_id,
        **{name: data.get(name) for name in told},
        "cost_usd": cost_usd,
        **{name: refusal.get(name) for name in why},
    }
