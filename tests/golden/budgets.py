"""What the golden journal says of budgets: every window's sums, every hold's end, and how the budgets stand."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import Home, Ledger, format_time, own_writers, parse_time, pico_to_usd, scan_journal, usd_to_pico
from keledger.journal._days import Zone
from keledger.journal.budgets import Scope, Standing, status_row
from keledger.journal.budgets._fold import Fold
from keledger.journal.budgets._passing import new_fold, numbered, read_event_of, scan_for_fold, take_all
from keledger.journal.budgets._status import COUNTS, PARTS
from keledger.projections import ReportOptions, open_projection, report_daily

INSTANTS = ("2026-10-25T22:59:59.999999Z", "2026-11-03T12:00:00.000000Z")
"""When it is asked how the budgets stand: at the end of a day of 25 hours, and after all."""


def budgets(home: Home) -> dict[str, Any]:
    """The fold's windows and holds, and at each instant how the budgets stand and what reports say of the same calls.

    The home itself stays as it is: asking for budgets may journal that holds are lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Home.at(Path(folder, "home"))
        shutil.copytree(home.path, copy.path)
        copy.path.chmod(0o700)
        fold = _folded(copy, Path(folder, "state"))
        try:
            said = {"windows": _windows(fold), "holds": _holds(copy, fold), "alerts": _alerts(copy)}
        finally:
            fold.store.close()
        with Ledger.open(copy.path) as ledger:
            standings = {text: ledger.budgets.standings(at_us=parse_time(text)) for text in INSTANTS}
        return said | {
            "standings": {
                text: [status_row(each, parse_time(text)) for each in found] for text, found in standings.items()
            },
            "reported": {text: reported(copy, found) for text, found in standings.items()},
        }


def reported(home: Home, standings: Sequence[Standing]) -> list[list[Any]]:
    """What a report at recorded prices says of each window's calls: budget, group, how many there are, what they cost.

    Windows that begin at an hour of their own, as rolling ones do, no report is over.
    """
    with open_projection(home) as projection:
        rows = []
        for each in standings:
            if each.budget is not None and not each.summed.is_rolling:
                group = {value["column"]: value.get("value") for value in each.group}
                said = report_daily(projection, _report_of(each)).as_json()["rows"]
                own = [row for row in said if all(row[column] == value for column, value in group.items())]
                cost_pico = sum(usd_to_pico(row["cost_usd"] or "0") for row in own)
                rows.append([each.budget.name, each.group, sum(row["calls"] for row in own), pico_to_usd(cost_pico)])
    return rows


def _report_of(each: Standing) -> ReportOptions:
    """The report over the window of a budget, for all of its groups."""
    scope = each.summed.scope
    where = [(condition.column, condition.value or "") for condition in scope.where if not condition.each]
    days: dict[str, Any] = {}
    if scope.period.resets:
        zone = Zone(scope.timezone)
        days = {"since": zone.day(each.window.start_us), "until": zone.day(each.window.end_us - 1)}
    return ReportOptions(basis="recorded", where=tuple(where), timezone=scope.timezone, by=each.summed.columns, **days)


def _folded(home: Home, path: Path) -> Fold:
    """The guard's fold of a whole journal."""
    scan, found = scan_for_fold(home)
    fold = new_fold(
        path,
        numbered(found.scopes),
        own_writers(home),
        read_event_of(home),
        keyed=found.imports,
        only_new_ids=False,
    )
    take_all(fold, scan.chunks)
    return fold


def _windows(fold: Fold) -> dict[str, dict[str, dict[str, Any]]]:
    """By scope, and by group and slot, what is not zero.  A slot is a window's start, or the hour of a rolling one."""
    found = {}
    for number, scope in _scopes(fold):
        found[scope.definition] = {
            f"{group or '[]'} {format_time(slot) if slot else 'always'}": {
                **{name: pico_to_usd(sums[place]) for name, place in PARTS.items() if sums[place]},
                **{name: sums[place] for name, place in COUNTS.items() if sums[place]},
            }
            for group, slot, sums in fold.store.windows(number)
        }
    return found


def _scopes(fold: Fold) -> Iterator[tuple[int, Scope]]:
    for number in (0, 1, *fold.scopes.numbered):
        yield number, fold.scopes[number].scope


def _holds(home: Home, fold: Fold) -> dict[str, dict[str, Any]]:
    """What has become of each hold."""
    found = {}
    for event in _events(home, "call.reserved"):
        hold = fold.store.holds.get(event["id"])
        gone = "released" if fold.store.exceptions.get(event["id"]) else "settled"
        told = {"state": hold["state"] if hold is not None else gone, "amount_usd": event["data"]["amount_usd"]}
        if hold is not None and "resolved" in hold:
            told["resolved_usd"] = pico_to_usd(int(hold["resolved"]))
        found[event["id"]] = told
    return found


def _alerts(home: Home) -> list[list[Any]]:
    names = ("name", "threshold_percent", "limit_usd", "spent_usd")
    return [
        [event["source"][-16:], *(event["data"][name] for name in names)] for event in _events(home, "alert.raised")
    ]


def _events(home: Home, kind: str) -> Iterator[Mapping[str, Any]]:
    for chunk in scan_journal(home).chunks:
        for line in chunk.lines():
            event = orjson.loads(line)
            if event["type"] == kind:
                yield event
