"""The reports on one session and on one call."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import orjson

from keledger.journal import Home, NotFound, Position, UsageError, format_time, pico_to_usd

from ._options import ReportOptions
from ._projection import Projection
from ._reports import Report, make_report
from ._sums import TOKEN_COLUMNS, Sums, total

_LISTED_MAX = 10
"""How many ids an error lists where one was not enough to tell them apart."""

_ROUND_TRIP_COLUMNS = (
    "CAST(c.id AS VARCHAR)",
    "c.started_us",
    "c.duration_ms",
    "c.status",
    "c.cost_state",
    "c.cost_pico",
    *(f"c.{name}" for name in TOKEN_COLUMNS),
    "c.statement",
    "c.prompt",
    "c.prompt_version",
    "c.client",
    "c.client_call_id",
    "c.provider",
    "c.model",
    "c.response_model",
    "c.http_status",
    "c.error_type",
    "c.origin",
    "c.quality",
)

_OF_A_LINE = {
    "c.cost_state": "COALESCE(c.repriced_state, c.cost_state)",
    "c.cost_pico": "CASE WHEN c.repriced_state IS NULL THEN c.cost_pico ELSE c.repriced_pico END",
}
"""The same over a line of a call, whether it counts or not."""


def report_session(projection: Projection, session: str, options: ReportOptions | None = None) -> Report:
    """One row a statement of a session, in the order of their first calls, with its calls as ``round_trips``.

    *session* is its name or the unique beginning of one.  The options restrict its calls, and choose the basis; they
    do not split its rows.  Raises NotFound where no counted call has it, UsageError where a beginning fits several.
    """
    return projection.steadily(lambda: _report_session(projection, session, options or ReportOptions()))


def _report_session(projection: Projection, session: str, options: ReportOptions) -> Report:
    projection.price_by(options.prices)
    name = _session_name(projection, session)
    condition, parameters = options.condition()
    calls = projection.query(
        f"SELECT {', '.join(_ROUND_TRIP_COLUMNS)} FROM call_fact AS c "
        f"WHERE {condition} AND c.session = ? ORDER BY c.started_us, c.writer, c.seq",
        [*parameters, name],
    )
    statements: dict[str | None, list[dict[str, Any]]] = {}
    sums: dict[str | None, Sums] = {}
    for row in calls:
        call, of_call = _round_trip(row)
        statement = call.pop("statement")
        statements.setdefault(statement, []).append(call)
        sums.setdefault(statement, Sums()).add(of_call)
    rows = [
        {
            "statement": statement,
            "started_at": trips[0]["started_at"],
            **sums[statement].as_json(),
            "round_trips": trips,
        }
        for statement, trips in statements.items()
    ]
    return make_report(projection, "session", options, rows, total(sums.values()), session=name)


def _session_name(projection: Projection, given: str) -> str:
    """The session of this name, else the only one that begins so."""
    if not given:
        raise UsageError("a session has no empty name: give its name, or the beginning of one")
    rows = projection.query(
        "SELECT DISTINCT session FROM call_fact WHERE session = $1 OR STARTS_WITH(session, $1) ORDER BY session",
        [given],
    )
    names = [row[0] for row in rows]
    if given in names or len(names) == 1:
        return given if given in names else names[0]
    if not names:
        raise NotFound(f"no counted call has session {given!r}: keledger sessions lists them")
    raise UsageError(f"session {given!r} is the beginning of {_listed(names)}: give more of it")


def _round_trip(row: tuple[Any, ...]) -> tuple[dict[str, Any], Sums]:
    """One call as it is shown in a session, and what it adds to the sums."""
    call_id, started_us, duration_ms, status, cost_state, cost_pico, *rest = row
    tokens, rest = rest[: len(TOKEN_COLUMNS)], rest[len(TOKEN_COLUMNS) :]
    names = (name.partition(".")[2] for name in _ROUND_TRIP_COLUMNS[-len(rest) :])
    pico = None if cost_pico is None else int(cost_pico)
    call = {
        "id": call_id,
        "started_at": format_time(started_us),
        "duration_ms": duration_ms,
        "status": status,
        **dict(zip(TOKEN_COLUMNS, tokens, strict=True)),
        "cost_usd": None if pico is None else pico_to_usd(pico),
        "cost_state": cost_state,
        **dict(zip(names, rest, strict=True)),
    }
    counts = (1, status == "error", status == "unknown", cost_state == "unpriced", pico is not None)
    return call, Sums([*(int(count) for count in counts), *tokens, pico or 0])


def report_call(projection: Projection, call: str, options: ReportOptions | None = None) -> Report:
    """One call with every line of its cost, and the event as it stands in the journal.

    *call* is its id, the unique beginning of one, or a ``client_call_id`` that no other call has.  The row of a call
    that does not count has the reason in ``uncounted``, and the totals are empty.  ``other_lines`` are further lines
    of the same id.  Raises NotFound, or UsageError where several calls fit.
    """
    return projection.steadily(lambda: _report_call(projection, call, options or ReportOptions()))


def _report_call(projection: Projection, call: str, options: ReportOptions) -> Report:
    projection.price_by(options.prices)
    call_id = _call_id(projection, call)
    columns = ", ".join(_OF_A_LINE.get(column, column) for column in _ROUND_TRIP_COLUMNS)
    lines = projection.query(
        "SELECT c.writer, c.seq, c.session, c.usr, c.project, c.team, c.cost_center, c.run, u.reason, "
        f"c.cost_state, c.cost_pico, c.repriced_state, c.reprice_id, {columns} FROM call_line AS c "
        "LEFT JOIN uncounted_line AS u ON u.writer = c.writer AND u.seq = c.seq "
        "WHERE c.id = CAST(? AS UUID) ORDER BY c.tick, c.writer, c.seq",
        [call_id],
    )
    writer, seq, session, user, project, team, cost_center, run, reason, *rest = lines[0]
    recorded_state, recorded_pico, repriced_state, reprice_id, *rest = rest
    shown, sums = _round_trip(tuple(rest))
    source = "cost_line" if repriced_state is None else "repriced_cost_line"
    row = {
        **shown,
        "recorded_cost_usd": None if recorded_pico is None else pico_to_usd(int(recorded_pico)),
        "recorded_cost_state": recorded_state,
        "reprice_id": reprice_id,
        "session": session,
        "run": run,
        "user": user,
        "project": project,
        "team": team,
        "cost_center": cost_center,
        "uncounted": reason,
        "lines": _cost_lines(projection, source, writer, seq, priced=shown["cost_usd"] is not None),
        "writer": writer,
        "sequence": seq,
        "event": find_event(projection.home, projection.cut, writer, seq),
        "other_lines": [{"writer": line[0], "sequence": line[1], "uncounted": line[8]} for line in lines[1:]],
    }
    totals = sums if reason is None else Sums()
    return make_report(projection, "call", options, [row], totals, call=call_id)


def _call_id(projection: Projection, given: str) -> str:
    """The id of the call that is meant."""
    text = given.lower()
    rows = projection.query("SELECT DISTINCT CAST(id AS VARCHAR) FROM call_line WHERE id = TRY_CAST(? AS UUID)", [text])
    if not rows and given:
        rows = projection.query(
            "SELECT DISTINCT CAST(id AS VARCHAR) AS id FROM call_line "
            "WHERE STARTS_WITH(CAST(id AS VARCHAR), ?) OR client_call_id = ? ORDER BY id",
            [text, given],
        )
    ids = [row[0] for row in rows]
    if not ids:
        raise NotFound(f"no call has the id {given!r}, an id that begins so, or this client_call_id")
    if len(ids) > 1:
        raise UsageError(f"{given!r} may be each of {_listed(ids)}: give the whole id of one")
    return str(ids[0])


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED_MAX
    return ", ".join(names[:_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def _cost_lines(projection: Projection, source: str, writer: str, seq: int, *, priced: bool) -> list[dict[str, Any]]:
    rows = projection.query(
        f"SELECT bucket, quantity, pico_per_million, pico FROM {source} WHERE writer = ? AND seq = ? ORDER BY place",
        [writer, seq],
    )
    return [
        {
            "bucket": bucket,
            "quantity": int(quantity),
            "usd_per_million": None if per_million is None else pico_to_usd(int(per_million)),
            "usd": pico_to_usd(int(pico)) if priced and pico is not None else None,
        }
        for bucket, quantity, per_million, pico in rows
    ]


def find_event(home: Home, cut: Mapping[str, Position], writer: str, seq: int) -> dict[str, Any] | None:
    """The event of a writer with this ``seq``, from its file; None where it cannot be found there any more."""
    mark = b'"seq":%d,"tick":' % seq
    for path in reversed(home.segments(writer)):
        if int(path.stem) > cut[writer].segment:
            continue
        with contextlib.suppress(OSError), open(path, "rb") as file:  # what cannot be read is a finding already
            first = _event(file.readline())
            if first is not None and first["seq"] > seq:
                continue
            file.seek(0)
            for line in file:
                event = _event(line) if mark in line else None
                if event is not None and event["seq"] == seq:
                    return event
    return None


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("seq"), int) else None
