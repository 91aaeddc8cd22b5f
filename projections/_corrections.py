"""What closed periods show, and where that which came later is shown: corrections.

A *world* is the journal up to some positions: those of a closing, or all that there is.  What a closed period's calls
come to in the world of its own closing is what it shows, for ever.  Every later closing of a later period takes, in its
own world, what was not shown or taken before; the rest is taken by the first later month that is open.  So what all
periods show, and all corrections, add up to what the journal says now, whatever was merged, repriced, voided or
reopened in whatever order, and what a closing took is a function of its world alone.

Each of these amounts is a sum of worlds with whole weights, which is found without looking at a single call.  Worlds
that have the same of the lines which bear on a period are one to it, so little is left to fold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from keledger.journal import Finding, Home, parse_time, usd_to_pico

from . import _engine as engine
from ._adjustments import Adjustment, read_adjustments
from ._closings import Closing, Periods, Through, month_after, read_periods, span_of
from ._engine import Connection
from ._fold import fold_within
from ._loading import MEMORY, Layers

DIFFERS = "period_differs"
"""The kind of finding that says that the journal does not say any more what it said when a period was closed."""

NOW: str = ""
"""The world of all that there is; the others are named by the ids of their closings."""

Weights = Counter[str]
"""By world how often what a period comes to there is added (or, below 0, taken away)."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What one period takes over of a closed one: the sum of worlds."""

    closing: Closing
    """Of the period that is corrected."""
    taken_in: str
    """The month that takes it."""
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Books:
    """What a report needs beside calls: ``fact`` has them as they are reported."""

    fact: str
    closings: tuple[Closing, ...]
    corrections: tuple[Correction, ...]
    adjustments: tuple[Adjustment, ...]
    worlds: Mapping[str, Through | None]
    findings: tuple[Finding, ...]

    def reported_adjustments(self) -> list[Adjustment]:
        """Those that count at their own day: all but what came to a closed period after its closing."""
        return [
            one
            for one in self.adjustments
            if all(one.lies_within(closing.through) for closing in self.closings if closing.holds(one.effective_us))
        ]

    def correcting_adjustments(self) -> Iterable[tuple[Correction, Adjustment, int]]:
        """The others, by what they correct, each with how often it counts there."""
        for correction in self.corrections:
            for one in self.adjustments:
                if correction.closing.holds(one.effective_us):
                    weight = sum(
                        count for world, count in correction.weights.items() if one.lies_within(self.worlds[world])
                    )
                    if weight:
                        yield correction, one, weight


def plain_books(connection: Connection, home: Home) -> Books:
    """For a basis under which nothing is closed: adjustments alone."""
    adjustments, findings = read_adjustments(connection, home)
    return Books("call_fact", (), (), tuple(adjustments), {NOW: None}, tuple(findings))


def open_books(connection: Connection, home: Home, layers: Layers, taking: Closing | None = None) -> Books:
    """Define what closed periods show, and ``correction_call``, by what the connection's lines say.

    *taking* is the closing in whose world the connection stands, if it does: what is not taken before is taken by it.
    Wants the basis ``current``.
    """
    periods = read_periods(connection, home)
    adjustments, unread = read_adjustments(connection, home)
    findings = [*periods.findings, *unread]
    standing = periods.standing()
    worlds: dict[str, Through | None] = {closing.id: closing.through for closing in periods.closings} | {NOW: None}
    corrections = _corrections(periods, standing, taking)
    if not periods.closings:
        return Books("call_fact", (), (), tuple(adjustments), worlds, tuple(findings))
    layers = replace(layers, imported=layers.imported or _tail_is_imported(connection, layers))
    fit = _Fit(connection, layers)
    shown = {closing.id: fit.world(closing, closing.id, closing.through) for closing in standing}
    folded: dict[str, list[Closing]] = {}
    for closing in standing:
        if shown[closing.id] != NOW:
            folded.setdefault(shown[closing.id], []).append(closing)
    weighted = []
    for correction in corrections:
        weights: Weights = Counter()
        for world, count in correction.weights.items():
            weights[fit.world(correction.closing, world, worlds[world])] += count
        weights = Counter({world: count for world, count in weights.items() if count})
        weighted.append((correction, weights))
        for world in weights:
            if world != NOW and correction.closing not in folded.setdefault(world, []):
                folded[world].append(correction.closing)
    tables = {NOW: "call_fact"}
    for number, (world, closings) in enumerate((world, closings) for world, closings in folded.items() if closings):
        through = worlds[world]
        assert through is not None
        tables[world] = f"world_{number}"
        spans = [closing.span for closing in closings]
        fold_within(connection, home, layers, tables[world], through, spans)
        findings += [
            finding
            for closing in closings
            if closing.id == world and (finding := _difference(connection, home, closing, tables[world]))
        ]
    fact = _define_reported(connection, [(closing, tables[shown[closing.id]]) for closing in standing])
    _define_corrections(connection, weighted, tables)
    return Books(fact, tuple(standing), tuple(corrections), tuple(adjustments), worlds, tuple(findings))


def _tail_is_imported(connection: Connection, layers: Layers) -> bool:
    """Whether any call that stands in no layer was imported."""
    statement = "SELECT 1 FROM {}call_lines WHERE SUBSTR(origin, 1, 7) = 'import:' LIMIT 1"
    tails = [prefix for prefix in layers.prefixes if prefix.startswith(MEMORY)]
    return any(connection.execute(statement.format(tail)).fetchone() for tail in tails)


def _corrections(periods: Periods, standing: Sequence[Closing], taking: Closing | None) -> list[Correction]:
    """All that is taken, as sums of worlds."""
    taken = _Taken(periods)
    corrections = []
    for closing in periods.closings:
        for later in taken.takers(closing, None):
            corrections.append(Correction(closing, later.period, taken.weights(closing, later)))
        if taking is None or taking.started_from_us >= closing.started_to_us:
            rest = taken.rest(closing, None)
            place = taking.period if taking is not None else _first_open(closing, standing)
            corrections.append(Correction(closing, place, rest))
    return [correction for correction in corrections if correction.weights]


class _Taken:
    """Which closing takes what of an earlier period."""

    def __init__(self, periods: Periods) -> None:
        self._periods = periods
        self._known: dict[tuple[str, str], Weights] = {}

    def takers(self, closing: Closing, through: Through | None) -> list[Closing]:
        """The closings of later periods that stand, and knew of *closing* when they were made."""
        return [
            later
            for later in self._periods.standing(through)
            if later.started_from_us >= closing.started_to_us and closing.lies_within(later.through)
        ]

    def weights(self, closing: Closing, later: Closing) -> Weights:
        """What *later* takes of *closing*: what is left of it in the world of *later*."""
        key = (closing.id, later.id)
        if key not in self._known:
            rest = self.rest(closing, later.through)
            # In that world, "now" is its own.
            self._known[key] = Counter({world or later.id: count for world, count in rest.items()})
        return self._known[key]

    def rest(self, closing: Closing, through: Through | None) -> Weights:
        """What is left of *closing* in a world: what it comes to there, without what is shown or taken."""
        weights: Weights = Counter()
        if closing in self._periods.standing(through):
            weights.update({NOW: 1, closing.id: -1})
        for later in self.takers(closing, through):
            weights.subtract(self.weights(closing, later))
        return Counter({world: count for world, count in weights.items() if count})


def _first_open(closing: Closing, standing: Sequence[Closing]) -> str:
    """The first month behind a closed one that is not closed itself, by the zone of the closing."""
    month = month_after(closing.period)
    while any(_covers(other, month, closing.timezone) for other in standing):
        month = month_after(month)
    return month


def _covers(closing: Closing, month: str, timezone: str) -> bool:
    begun_us, ended_us = span_of(month, timezone)
    return closing.holds((begun_us + ended_us) // 2)


class _Fit:
    """Which worlds are the same to the calls of a period: those with the same of the lines that bear on them."""

    def __init__(self, connection: Connection, layers: Layers) -> None:
        self._connection = connection
        self._imported = layers.imported
        self._reprices = self._read_reprices()
        self._voids = self._read(
            "SELECT v.writer, v.seq, c.started_us FROM other_line AS v "
            "INNER JOIN loaded_line AS c ON c.id = TRY_CAST(v.call_id AS UUID) "
            "WHERE v.v = 1 AND v.type IN ('call.voided', 'void.reverted')"
        )
        self._repeated: dict[str, list[tuple[str, int, int]]] = {}
        for call_id, writer, seq, started_us in self._connection.execute(
            "SELECT CAST(id AS VARCHAR), writer, seq, started_us FROM loaded_line SEMI JOIN "
            "(SELECT id FROM uncounted_line WHERE reason IN ('copy', 'conflict')) AS u USING (id)"
        ).fetchall():
            self._repeated.setdefault(call_id, []).append((writer, seq, started_us))
        self._later: dict[str, dict[str, list[int]]] = {}
        self._same: dict[tuple[str, object], str] = {}

    def world(self, closing: Closing, world: str, through: Through | None) -> str:
        """The first world in which the calls of *closing* surely come to the same as in this one: NOW, if they do."""
        for first, known in ((NOW, None), (closing.id, closing.through)):
            self._same.setdefault((closing.id, self._seen(closing, known)), first)
        return self._same.setdefault((closing.id, self._seen(closing, through)), world)

    def _seen(self, closing: Closing, through: Through | None) -> object:
        """What a world has of the lines that bear on a period: how many behind its closing, and where it lacks some."""
        if closing.id not in self._later:
            self._later[closing.id] = self._lines_behind(closing)
        later = self._later[closing.id]
        if through is None:
            return tuple((writer, len(lines)) for writer, lines in later.items()), ()
        lacking = ((writer, through.get(writer, 0)) for writer, seq in sorted(closing.through.items())
                   if through.get(writer, 0) < seq)  # fmt: skip
        return (
            tuple((writer, bisect_right(lines, through.get(writer, 0))) for writer, lines in later.items()),
            tuple(lacking),
        )

    def _lines_behind(self, closing: Closing) -> dict[str, list[int]]:
        """By writer the lines behind a closing's ``through`` that bear on what its calls come to, in order."""
        behind: dict[str, set[int]] = {}
        begun_us, ended_us = closing.span

        def bear(rows: Iterable[tuple[str, int]]) -> None:
            for writer, seq in rows:
                if seq > closing.through.get(writer, 0):
                    behind.setdefault(writer, set()).add(seq)

        inside = f"started_us >= {begun_us} AND started_us < {ended_us}"
        sources = [f"SELECT writer, seq FROM loaded_line WHERE {inside}"]
        if self._imported:
            sources.append(
                "SELECT k.writer, k.seq FROM (SELECT writer, seq, UNNEST(call_keys) AS call_key FROM loaded_line) AS k "
                f"SEMI JOIN (SELECT UNNEST(call_keys) AS call_key FROM loaded_line WHERE {inside}) AS s "
                "USING (call_key)"
            )
        for source in sources:
            bear(
                self._connection.execute(
                    f"SELECT c.writer, c.seq FROM ({source}) AS c LEFT JOIN (SELECT UNNEST(CAST($1 AS VARCHAR[])) "
                    "AS writer, UNNEST(CAST($2 AS BIGINT[])) AS last_seq) AS w ON w.writer = c.writer "
                    "WHERE c.seq > COALESCE(w.last_seq, 0)",
                    [list(closing.through), list(closing.through.values())],
                ).fetchall()
            )
        bear((writer, seq) for writer, seq, started_us in self._voids if closing.holds(started_us))
        for lines in self._repeated.values():
            # Which line of an id counts, and in which period, depends on all of them; so does who holds a key.
            if self._imported or any(closing.holds(started_us) for _, _, started_us in lines):
                bear((writer, seq) for writer, seq, _ in lines)
        bear(
            (writer, seq)
            for writer, seq, from_us, to_us in self._reprices
            if (from_us is None or from_us < ended_us) and (to_us is None or to_us > begun_us)
        )
        return {writer: sorted(lines) for writer, lines in sorted(behind.items())}

    def _read(self, statement: str) -> list[tuple[str, int, int]]:
        return self._connection.execute(statement).fetchall()

    def _read_reprices(self) -> list[tuple[str, int, int | None, int | None]]:
        """Each reprice and each that takes one back, with the calls that it can mean."""
        rows = self._connection.execute(
            "SELECT id, writer, seq, type, data FROM other_line WHERE v = 1 "
            "AND type IN ('reprice.applied', 'reprice.reverted') ORDER BY type"
        ).fetchall()
        spans: dict[str, tuple[int | None, int | None]] = {}
        found = []
        for event_id, writer, seq, kind, text in rows:
            data = _object(text)
            if kind == "reprice.applied":
                selector = data.get("selector")
                spans[str(event_id)] = _selected(selector if isinstance(selector, dict) else {})
                span = spans[str(event_id)]
            else:
                span = spans.get(str(data.get("reprice_id")), (None, None))
            found.append((writer, seq, *span))
        return found


def _object(text: str) -> dict[str, Any]:
    data = orjson.loads(text)
    return data if isinstance(data, dict) else {}


def _selected(selector: Mapping[str, Any]) -> tuple[int | None, int | None]:
    try:
        bounds = (selector.get("started_from"), selector.get("started_to"))
        begun, ended = (parse_time(bound) if bound is not None else None for bound in bounds)
    except Exception:  # noqa: BLE001 - a reprice that cannot be read is told elsewhere; here it may mean any call
        return None, None
    return begun, ended


def _difference(connection: Connection, home: Home, closing: Closing, table: str) -> Finding | None:
    """That a closed period does not come to what its closing says; None where it does."""
    ((calls, pico),) = connection.execute(
        f"SELECT COUNT(*), COALESCE(SUM(cost_pico), 0) FROM {table} WHERE started_us >= $1 AND started_us < $2",
        list(closing.span),
    ).fetchall()
    totals = closing.data["totals"]
    if (calls, int(pico)) == (totals.get("calls"), usd_to_pico(str(totals.get("cost_usd")))):
        return None
    return period_difference(home, closing)


def period_difference(home: Home, closing: Closing) -> Finding:
    """The finding that a closed period does not come to what its closing says."""
    path = str(home.journal / closing.writer)
    return Finding(
        DIFFERS,
        path,
        f"{closing.period} was closed by {closing.id} with other figures than the journal folds to now: lines that it "
        "stood on are missing or damaged, or a price book cannot be read; run keledger verify",
    )


def _define_reported(connection: Connection, shown: Sequence[tuple[Closing, str]]) -> str:
    """Define the calls as they are reported; returns the name, which is call_fact's where nothing differs."""
    differing = [(closing, table) for closing, table in shown if table != "call_fact"]
    if not differing:
        return "call_fact"
    parts = [
        f"SELECT * FROM {table} AS c WHERE c.started_us >= {closing.started_from_us} "
        f"AND c.started_us < {closing.started_to_us}"
        for closing, table in differing
    ]
    outside = " AND ".join(
        f"(c.started_us < {closing.started_from_us} OR c.started_us >= {closing.started_to_us})"
        for closing, _ in differing
    )
    union = " UNION ALL ".join([f"SELECT * FROM call_fact AS c WHERE {outside}", *parts])
    connection.execute(f"CREATE OR REPLACE VIEW reported_fact AS {union}")
    return "reported_fact"


def _define_corrections(
    connection: Connection, weighted: Sequence[tuple[Correction, Weights]], tables: Mapping[str, str]
) -> None:
    """Make ``correction_call``: calls that count in a correction, each with how often (below 0: not any more)."""
    keys, calls = (
        [
            f"SELECT CAST({number} AS BIGINT) AS correction, CAST({count} AS BIGINT) AS weight, {columns} "
            f"FROM {tables[world]} AS c WHERE c.started_us >= {correction.closing.started_from_us} "
            f"AND c.started_us < {correction.closing.started_to_us}"
            for number, (correction, weights) in enumerate(weighted)
            for world, count in weights.items()
        ]
        for columns in ("c.writer, c.seq, c.cost_state, c.cost_pico", "c.*")
    )
    if not calls:
        keys = calls = [
            "SELECT CAST(0 AS BIGINT) AS correction, CAST(0 AS BIGINT) AS weight, c.* FROM call_fact AS c LIMIT 0"
        ]
    parts = {"keys": " UNION ALL ".join(keys), "calls": " UNION ALL ".join(calls)}
    connection.execute(engine.sql("duckdb_corrections").format(**parts))
