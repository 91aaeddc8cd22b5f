"""Finished calls as ``ledger.record`` takes them, for rows that record anew."""

from __future__ import annotations

import random
from typing import Any

from keledger.journal import format_time

from ._forms import told_by_keprompt
from ._world import COST_CENTERS, FEATURES, TEAMS, sessions_of_day, tokens

LAST_DAY_US = 20_750 * 24 * 3600 * 1_000_000
"""2026-10-24: what is recorded anew belongs to the end of the generated year."""


def calls_to_record(count: int, seed: str) -> list[dict[str, Any]]:
    """*count* answered calls with everything that a hook inside KePrompt tells."""
    draw = random.Random(f"keledger bench {seed}")
    calls = []
    for session in sessions_of_day(draw, LAST_DAY_US, count):
        for number, starts_us in enumerate(session.starts_us, 1):
            told = {
                "session": session.id,
                "prompt": f"prompt-{session.prompt:02d}",
                "prompt_version": "1.0.0",
                "statement": f"{1 + 2 * number:02d} .exec",
                "client_call_id": f"{session.id}-exec{number:03d}-Call-01",
                "response_id": f"{draw.getrandbits(120):030x}",
            }
            calls.append(
                {
                    "provider": session.model.provider,
                    "model": session.model.model,
                    "time": format_time(starts_us),
                    "duration_ms": tokens(draw, 4_000),
                    "http_status": 200,
                    "usage_raw": session.model.usage(draw),
                    "user": f"user-{session.user:02d}",
                    "project": f"project-{session.project:02d}",
                    "team": f"team-{session.project % TEAMS}",
                    "cost_center": f"cc-{session.project % COST_CENTERS}00",
                    "tags": {"env": "prod", "feature": f"feature-{session.prompt % FEATURES}"},
                    **told_by_keprompt(session.model, told, answered=True),
                }
            )
    return calls
