"""What a run and today cost, from the end of the journal alone: for a closing line that must not wait for DuckDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from . import _limits as limits
from ._home import Home
from ._line import fits, stated_hash
from ._money import pico_to_usd, usd_to_pico
from ._segment import read_head
from ._time import format_time
from ._zone import report_zone
from .usage import token_totals

_CALL_TYPES = ("call.completed", "call.failed")


@dataclass(slots=True)
class Totals:
    """Sums over counted calls; calls without a cost are counted apart and add nothing to ``cost_pico``."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int = 0
    failed_calls: int = 0
    unpriced_calls: int = 0
    unknown_calls: int = 0

    @property
    def cost_usd(self) -> str:
        """The cost as a decimal string."""
        return pico_to_usd(self.cost_pico)

    def add(self, call: dict[str, Any]) -> None:
        """Count one call's ``data``."""
        tokens, cost = token_totals(call["usage"]), call["cost"]
        self.calls += 1
        self.input_tokens += tokens.input_tokens
        self.output_tokens += tokens.output_tokens
        self.failed_calls += call["status"] == "error"
        self.unknown_calls += call["status"] == "unknown"
        self.unpriced_calls += cost["state"] == "unpriced"
        self.cost_pico += usd_to_pico(cost.get("total_usd", "0"))


def tail_totals(home: Home | str | os.PathLike[str], *, run: str, timezone: str | None = None) -> tuple[Totals, Totals]:
    """Totals of one run and of today (in the report's zone), as ``keledger daily`` will show them.

    Reads backwards until the lines are older than today and than the run; ids count once, voided calls not.
    """
    place = home if isinstance(home, Home) else Home.at(home)
    zone = ZoneInfo(timezone or report_zone(place))
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = format_time(round(midnight.timestamp()) * 1_000_000)
    end = format_time(round((midnight + timedelta(days=1)).replace(fold=0).timestamp()) * 1_000_000)
    since = min(begin, format_time(_id_time_us(run) or round(midnight.timestamp()) * 1_000_000))
    calls: dict[str, tuple[tuple[int, str], dict[str, Any]]] = {}
    voided: dict[str, tuple[tuple[int, str], bool]] = {}
    for event in _events_since(place, since):
        order = (event["tick"], event["source"])
        if event["type"] in _CALL_TYPES:
            if event["id"] not in calls or order < calls[event["id"]][0]:
                calls[event["id"]] = (order, event["data"])
        elif event["type"] in ("call.voided", "void.reverted"):
            target = event["data"]["call_id"]
            if target not in voided or order > voided[target][0]:
                voided[target] = (order, event["type"] == "call.voided")
    counted = {call_id: call for call_id, (_, call) in calls.items() if not voided.get(call_id, (None, False))[1]}
    shadowed = _shadowed({call_id: call for call_id, (_, call) in calls.items()})
    of_run, of_today = Totals(), Totals()
    for call_id in counted.keys() - shadowed:
        call = counted[call_id]
        if call.get("run") == run:
            of_run.add(call)
        if begin <= call["started_at"] < end:
            of_today.add(call)
    return of_run, of_today


def _shadowed(calls: dict[str, dict[str, Any]]) -> set[str]:
    """Imported calls that share a key with a call that was watched, or with a better imported one."""
    best: dict[str, tuple[int, str]] = {}
    ranks = {call_id: (_rank(call), call_id) for call_id, call in calls.items()}
    for call_id, call in calls.items():
        for key in call.get("call_keys", ()):
            best[key] = min(best.get(key, ranks[call_id]), ranks[call_id])
    return {
        call_id
        for call_id, call in calls.items()
        if ranks[call_id][0] and any(best[key] < ranks[call_id] for key in call.get("call_keys", ()))
    }


def _rank(call: dict[str, Any]) -> int:
    """0 for a call that was not imported, then the better quality first."""
    if not call["origin"].startswith("import:"):
        return 0
    return 1 + ("measured", "totals_only", "under_count").index(call["quality"])


def _id_time_us(run: str) -> int | None:
    """When a UUIDv7 was made; None for any other name of a run."""
    digits = run.replace("-", "")
    try:
        return int(digits[:12], 16) * 1000 if len(digits) == 32 and digits[12] == "7" else None
    except ValueError:
        return None


def _events_since(home: Home, since: str) -> Iterator[dict[str, Any]]:
    """Events of calls and voids appended at or after *since*, of all writers, newest segments only as far as needed."""
    for writer in home.writers():
        seals: dict[str, int] = {}
        for path in reversed(home.segments(writer)):
            older = False
            for line in _fitting_backwards(path, seals.get(path.name)):
                time_at = line.find(b'"time":"') + 8
                if line[time_at : time_at + 27].decode("ascii", "replace") < since:
                    older = True
                    break
                if b'"type":"call.' in line or b'"type":"void.' in line:
                    event = orjson.loads(line)
                    if event["v"] == 1:
                        yield event
            if older:
                break
            head = read_head(path)
            seals |= head.seals if head is not None else {}


def _fitting_backwards(path: Path, sealed: int | None) -> Iterator[bytes]:
    """The lines that follow from what the line above states, last first: what is damaged or garbage is no event.

    A segment's first line, which is no call, is left out.
    """
    below = b""
    for line in _lines_backwards(path, sealed):
        previous = stated_hash(line)
        if below and previous is not None and fits(previous, below) is not None:
            yield below
        below = line


def _lines_backwards(path: Path, sealed: int | None) -> Iterator[bytes]:
    """The whole lines of a segment, last first; a torn tail is left out."""
    with open(path, "rb") as file:
        position = file.seek(0, 2) if sealed is None else sealed
        rest = b""
        first_block = True
        while position > 0:
            length = min(limits.READ_BYTES, position)
            position -= length
            file.seek(position)
            block = file.read(length) + rest
            if first_block:
                block = block[: block.rfind(b"\n") + 1]
                first_block = False
            lines = block.splitlines(keepends=True)
            rest = lines[0] if lines else b""
            yield from reversed(lines[1:])
        if rest.endswith(b"\n"):
            yield rest
