"""The same Claude calls twice: in a journal, and in transcripts as Claude Code leaves them.

A transcript is ``projects/<project>/<session>.jsonl``.  The lines that tell usage are those of type ``assistant``; here
they are the only ones, with a short answer: a real transcript has several times as many bytes to read.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import Home, Ledger, format_time, parse_time

from ._world import DAY_US, FIRST_DAY, MODELS, Session, calls_of_days, new_uuid, sessions_of_day, tokens

CLAUDE = tuple(model for model in MODELS if model.provider == "anthropic")

_FIRST_DAY_US = (FIRST_DAY - date(1970, 1, 1)).days * DAY_US


def make_both(home: Path, transcripts: Path, calls: int) -> Home:
    """Write *calls* answered calls of a year into a new home, and the same ones as transcripts into a folder.

    What a project has on one day is one transcript, about fourteen calls where there are 100,000.
    """
    draw = random.Random("keledger bench transcripts")
    with Ledger.open(home) as ledger:
        for day, count in enumerate(calls_of_days(calls)):
            records: list[dict[str, Any]] = []
            lines: defaultdict[Path, list[bytes]] = defaultdict(list)
            for session in sessions_of_day(draw, _FIRST_DAY_US + day * DAY_US, count):
                of_session = _calls_of(session, day, draw)
                path = transcripts / "projects" / f"-{of_session[0]['project']}" / f"{of_session[0]['session']}.jsonl"
                records += of_session
                lines[path] += [_line(call, draw) for call in of_session]
            ledger.record_many(records)
            for path, content in lines.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(content))
        return ledger.home


def _calls_of(session: Session, day: int, draw: random.Random) -> list[dict[str, Any]]:
    """The calls of one conversation as ``Ledger.record`` takes them."""
    model = draw.choice(CLAUDE)
    return [
        {
            "provider": model.provider,
            "model": model.model,
            "response_model": model.response_model,
            "response_id": f"msg_01{draw.getrandbits(88):022x}",
            "time": format_time(starts_us),
            "duration_ms": tokens(draw, 4_000),
            "finish_reason": "end_turn",
            "http_status": 200,
            "usage_raw": model.usage(draw),
            "project": f"project-{session.project:02d}",
            "session": f"day-{day:03d}-project-{session.project:02d}",
            "client": "claude-code 2.0.14",
        }
        for starts_us in session.starts_us
    ]


def _line(call: Mapping[str, Any], draw: random.Random) -> bytes:
    """The transcript's line for an answer; its time is told to the millisecond."""
    starts_us = parse_time(call["time"])
    message = {
        "model": call["response_model"],
        "id": call["response_id"],
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Done: the tests pass, and the change is described in the notes."}],
        "stop_reason": call["finish_reason"],
        "stop_sequence": None,
        "usage": call["usage_raw"],
    }
    return orjson.dumps(
        {
            "parentUuid": new_uuid(draw, starts_us),
            "isSidechain": False,
            "userType": "external",
            "cwd": f"/home/user/{call['project']}",
            "sessionId": call["session"],
            "version": "2.0.14",
            "gitBranch": "main",
            "type": "assistant",
            "message": message,
            "requestId": f"req_01{draw.getrandbits(88):022x}",
            "uuid": new_uuid(draw, starts_us),
            "timestamp": f"{call['time'][:-4]}Z",
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
