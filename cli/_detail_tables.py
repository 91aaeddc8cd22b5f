"""How one session and one call look as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from ._report_tables import ID_WIDTH, NONE, TIME_WIDTH, ReportTable, local_time
from ._table import Column, Table, count, duration, exact_money

_OUTCOMES = ("failed_calls", "unknown_calls")


def session_table(report: Mapping[str, Any]) -> Table:
    """A row a statement, below it its calls, which are known by their ids."""
    unwell = any(report["totals"][name] for name in _OUTCOMES)
    heads = [
        Column("Statement and calls", least=ID_WIDTH + 2),
        Column("Started", least=TIME_WIDTH, drop=9),
        Column("Model", least=16, drop=4),
        *([Column("Outcome", drop=5)] if unwell else []),
    ]
    made = ReportTable(heads, {**report["totals"], **dict.fromkeys(_OUTCOMES, 0)})
    zone = ZoneInfo(report["timezone"])
    for row in report["rows"]:
        made.add([row["statement"] or NONE], row)
        for call in row["round_trips"]:
            cells = [f"  {call['id']}", local_time(call["started_at"], zone), call["model"]]
            made.add([*cells, *([outcome(call)] if unwell else [])], _sums(call), kind="part")
    made.add(["Total"], report["totals"], kind="total")
    return made.table


def _sums(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call in the shape of the sums of many."""
    return {
        **call,
        "calls": 1,
        "failed_calls": int(call["status"] == "error"),
        "unknown_calls": int(call["status"] == "unknown"),
        "unpriced_calls": int(call["cost_state"] == "unpriced"),
        "uncosted_calls": int(call["cost_usd"] is None),
    }


def outcome(call: Mapping[str, Any]) -> str:
    """How a call ended, in a few words."""
    details = [f"HTTP {call['http_status']}"] if call["http_status"] else []
    details += [call["error_type"]] if call["error_type"] else []
    return f"{call['status']} ({', '.join(details)})" if details else str(call["status"])


def call_fields(report: Mapping[str, Any]) -> dict[str, str | None]:
    """What is known of a call, by the names under which it is shown."""
    (row,) = report["rows"]
    data = (row["event"] or {}).get("data", {})
    zone = ZoneInfo(report["timezone"])
    took = "" if row["duration_ms"] is None else f", took {duration(row['duration_ms'])}"
    answered = row["response_model"]
    return {
        "Call": row["id"],
        "Started": f"{local_time(row['started_at'], zone)} ({report['timezone']}){took}",
        "Outcome": outcome(row),
        "Model": f"{row['provider']}/{row['model']}"
        + (f", answered by {answered}" if answered and answered != row["model"] else ""),
        "Session": row["session"],
        "Statement": row["statement"],
        "Prompt": _joined(row["prompt"], row["prompt_version"]),
        "Client": _joined(row["client"], row["client_call_id"]),
        "User": row["user"],
        "Project": row["project"],
        "Team": row["team"],
        "Cost centre": row["cost_center"],
        "Tags": ", ".join(f"{key}={value}" for key, value in data.get("tags", {}).items()) or None,
        "Recorded by": f"{row['origin']}, {row['quality'].replace('_', ' ')}",
        "Usage as sent": data.get("usage_raw"),
        "Priced as": _priced_as(data.get("cost", {})),
        "Price book": data.get("cost", {}).get("book"),
        "Recorded at": _recorded(row),
        "Repriced by": row["reprice_id"],
        "Remarks": "; ".join((*data.get("usage_notes", ()), *data.get("repaired", ()))) or None,
        "Place": f"writer {row['writer']}, sequence {row['sequence']}",
        "Does not count": row["uncounted"],
    }


def _joined(name: str | None, more: str | None) -> str | None:
    return " ".join(filter(None, (name, more))) or None


def _recorded(row: Mapping[str, Any]) -> str | None:
    """What was recorded, where the prices that are asked for say something else."""
    recorded = row["recorded_cost_usd"], row["recorded_cost_state"]
    if recorded == (row["cost_usd"], row["cost_state"]):
        return None
    return recorded[1] if recorded[0] is None else exact_money(recorded[0])


def _priced_as(cost: Mapping[str, Any]) -> str | None:
    matched = cost.get("matched")
    if not matched:
        return None
    context = f", {json.dumps(matched['context'])}" if matched.get("context") else ""
    return f"{matched['provider']}/{matched['model']} ({matched['rule']}{context})"


def price_lines_table(report: Mapping[str, Any]) -> Table:
    """Every line of a call's cost, with all digits."""
    (row,) = report["rows"]
    table = Table(
        [
            Column("Bucket"),
            Column("Quantity", number=True),
            Column("USD per million", number=True, drop=1),
            Column("Cost", number=True),
        ]
    )
    for line in row["lines"]:
        price, cost = line["usd_per_million"], line["usd"]
        table.add(
            line["bucket"],
            count(line["quantity"]),
            "no price" if price is None and cost is None else "" if price is None else exact_money(price),
            "unknown" if cost is None else exact_money(cost),
        )
    total = row["cost_state"] if row["cost_usd"] is None else exact_money(row["cost_usd"])
    table.add("Total", "", "", total, kind="total")
    return table
