"""Journals for the tests of the projections, and a plain fold over their events to hold the SQL against."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import Home, NewEvent, pico_to_usd, scan_journal, usd_to_pico
from keledger.journal._disk import Disk
from keledger.journal._identity import id_of_key
from keledger.journal._writer import Appender
from keledger.projections import open_projection, rebuild

QUALITY_ORDER = ("measured", "totals_only", "under_count")


class QuickDisk(Disk):
    """The real thing without its syncs: what is tested here is reading."""

    def sync(self, descriptor: int) -> None:
        """Leave it to the operating system."""


def call_id(name: object) -> str:
    """A stable id for a call of a test."""
    return id_of_key("test", str(name))


def call_data(
    *,
    started_at: str = "2026-03-01T12:00:00.000000Z",
    usd: str = "0.002475",
    given: object = "",
    origin: str = "hook",
    status: str = "ok",
    **fields: Any,
) -> dict[str, Any]:
    """The ``data`` of a call whose cost is *usd*, in two lines; ``given`` decides its input_sha256."""
    pico = usd_to_pico(usd)
    parts = [pico - pico // 3, pico // 3]
    lines = [
        {"bucket": bucket, "quantity": 1, "usd_per_million": "1.25", "usd": pico_to_usd(part)}
        for bucket, part in zip(("input_uncached", "output_text"), parts, strict=True)
    ]
    data: dict[str, Any] = {
        "input_sha256": hashlib.sha256(str(given).encode()).hexdigest(),
        "status": status,
        "started_at": started_at,
        "provider": "openai",
        "model": "gpt-5-mini",
        "origin": origin,
        "usage": {
            "input_uncached": 10,
            "cache_read": 5,
            "output_text": 7,
            "output_reasoning": 3,
            "requests": 1,
        },
        "normalizer": 1,
        "cost": {"state": "priced", "total_usd": usd, "lines": lines},
        "quality": "measured",
    }
    return data | fields


def uncosted(state: str) -> dict[str, Any]:
    """The cost of a call that has none."""
    line = {"bucket": "output_text", "quantity": 7}
    return {"cost": {"state": state, "lines": [line] if state == "unpriced" else []}}


def call(name: object, **fields: Any) -> NewEvent:
    """A call event whose id is made from *name*."""
    data = call_data(**fields)
    return NewEvent.of("call.completed" if data["status"] == "ok" else "call.failed", call_id(name), data)


def void(name: object, *, key: object = "", revert: bool = False) -> NewEvent:
    """An event that voids a call, or takes that back; of its own id for each *key*."""
    kind = "void.reverted" if revert else "call.voided"
    data = {"input_sha256": "0" * 64, "call_id": call_id(name), "actor": "ada", "reason": "test"}
    return NewEvent.of(kind, id_of_key(kind, f"{name} {key}"), data)


def append(home: Home, *events: NewEvent) -> None:
    """Append through the real write path."""
    appender = Appender(home, disk=QuickDisk())
    try:
        appender.append(events)
    finally:
        appender.close()


def take_over(source: Home, target: Home) -> None:
    """Copy the writers that *target* lacks or holds less of, as a merge would."""
    for writer in source.writers():
        for path in source.segments(writer):
            copy = target.journal / writer / path.name
            if not copy.exists() or copy.stat().st_size < path.stat().st_size:
                copy.parent.mkdir(mode=0o700, exist_ok=True)
                shutil.copyfile(path, copy)


def copy_home(source: Home, path: Path) -> Home:
    """The journal alone, elsewhere."""
    shutil.copytree(source.journal, path / "journal")
    path.chmod(0o700)
    return Home.at(path)


def drop_cache(home: Home) -> None:
    """Delete everything that may be deleted."""
    shutil.rmtree(home.projections, ignore_errors=True)


@dataclass
class Expected:
    """What a plain fold over the events says."""

    counted: dict[str, dict[str, Any]] = field(default_factory=dict)
    uncounted: set[tuple[str, int, str]] = field(default_factory=set)

    @property
    def pico(self) -> int:
        """What all counted calls cost."""
        return sum(usd_to_pico(data["cost"].get("total_usd", "0")) for data in self.counted.values())


def expected(home: Home) -> Expected:
    """Which calls count, told by the rules themselves instead of by SQL."""
    events = [orjson.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]
    events.sort(key=lambda event: (event["tick"], event["source"], event["seq"]))
    first: dict[str, dict[str, Any]] = {}
    later: list[tuple[dict[str, Any], str]] = []
    voids: dict[str, str] = {}
    seen: set[str] = set()
    for event in events:
        if event["type"] in ("call.completed", "call.failed"):
            if event["id"] in first:
                same = first[event["id"]]["data"]["input_sha256"] == event["data"]["input_sha256"]
                later.append((event, "copy" if same else "conflict"))
            else:
                first[event["id"]] = event
        elif event["type"] in ("call.voided", "void.reverted") and event["id"] not in seen:
            seen.add(event["id"])
            voids[event["data"]["call_id"]] = event["type"]
    result = Expected(uncounted={(*_place(event), reason) for event, reason in later})
    shadowed = _shadowed(first.values())
    for event in first.values():
        if voids.get(event["id"]) == "call.voided":
            result.uncounted.add((*_place(event), "voided"))
        elif event["id"] in shadowed:
            result.uncounted.add((*_place(event), "shadowed"))
        else:
            result.counted[event["id"]] = event["data"]
    return result


def _place(event: dict[str, Any]) -> tuple[str, int]:
    return event["source"].rpartition("/")[2], event["seq"]


def _shadowed(calls: Iterable[dict[str, Any]]) -> set[str]:
    holders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in calls:
        for key in set(event["data"].get("call_keys", ())):
            holders[key].append(event)
    return {
        one["id"]
        for sharing in holders.values()
        for one in sharing
        for other in sharing
        if one is not other and _imported(one) and (not _imported(other) or _rank(other) < _rank(one))
    }


def _imported(event: dict[str, Any]) -> bool:
    return bool(event["data"]["origin"].startswith("import:"))


def _rank(event: dict[str, Any]) -> tuple[int, str]:
    return QUALITY_ORDER.index(event["data"]["quality"]), event["id"]


def hold_to(home: Home, wanted: Expected) -> None:
    """What a projection says of *home* is what the fold says, and all sums of money agree to the picodollar."""
    with open_projection(home) as projection:
        uncounted = projection.query("SELECT writer, seq, reason FROM uncounted_line")
        counted = projection.query("SELECT CAST(id AS VARCHAR) FROM call_fact")
        sums = [
            projection.query(f"SELECT COALESCE(SUM({column}), 0) FROM {fact}")[0][0]
            for column, fact in (
                ("cost_pico", "call_fact"),
                ("pico", "charge_fact"),
                ("cost_pico", "day_fact"),
                ("cost_pico", "session_fact"),
            )
        ]
    assert set(uncounted) == wanted.uncounted
    assert len(uncounted) == len(wanted.uncounted)
    assert sorted(row[0] for row in counted) == sorted(wanted.counted)
    assert [int(value) for value in sums] == [wanted.pico] * 4


def layer_files(home: Home) -> Sequence[Path]:
    """The files of the cache that hold rows."""
    return sorted(home.projections.glob("*/layer-*.duckdb"))


def rebuild_or_not(home: Home, wanted: bool) -> None:
    """Bring everything into a layer, or leave it to each reader's memory."""
    if wanted:
        rebuild(home)
