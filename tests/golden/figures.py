"""What the golden journal says: figures under every basis."""

from __future__ import annotations

from typing import Any

from keledger.journal import Home, pico_to_usd
from keledger.projections import ReportOptions, digest, open_projection, report_daily, report_monthly

BASES = ("recorded", "current", "latest", "known:2026-09-30", "known:2026-10-06")


def figures(home: Home) -> dict[str, Any]:
    """The digest, and under each basis the book, the months, the models and what each call costs."""
    with open_projection(home) as projection:
        found: dict[str, Any] = {"digest": digest(projection), "bases": {}}
        for basis in BASES:
            options = ReportOptions(basis=basis)
            monthly = report_monthly(projection, options).as_json()
            by_model = report_daily(projection, ReportOptions(basis=basis, by=("provider", "model"))).as_json()
            projection.price_by(options.prices)
            rows = projection.query(
                "SELECT provider, model, CAST(SUM(cost_pico) AS VARCHAR) FROM call_fact GROUP BY ALL ORDER BY ALL"
            )
            calls = projection.query(
                "SELECT CAST(id AS VARCHAR), cost_state, CAST(cost_pico AS VARCHAR) FROM call_fact ORDER BY 1"
            )
            assert by_model["totals"] == monthly["totals"]
            found["bases"][basis] = {
                "book": monthly["prices"]["book"],
                "months": monthly["rows"],
                "totals": monthly["totals"],
                "models": {f"{provider}/{model}": _usd(pico) for provider, model, pico in rows},
                "calls": {call_id: [state, _usd(pico)] for call_id, state, pico in calls},
            }
        found["findings"] = [finding.kind for finding in projection.findings]
    return found


def _usd(pico: str | None) -> str | None:
    return None if pico is None else pico_to_usd(int(pico))
