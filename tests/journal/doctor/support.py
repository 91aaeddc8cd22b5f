"""What the tests of ``diagnose`` stand on."""

from __future__ import annotations

import json
from typing import Any

from keledger.journal import Check, Home, NewEvent, diagnose, format_time
from keledger.journal._identity import new_id
from keledger.journal._time import now_us
from keledger.journal._writer import Appender


def seen(home: Home, name: str, **options: Any) -> list[Check]:
    return [check for check in diagnose(home, **options) if check.name == name]


def only(home: Home, name: str, **options: Any) -> Check:
    (check,) = seen(home, name, **options)
    return check


def append(home: Home, *events: NewEvent) -> None:
    appender = Appender(home)
    appender.append(events)
    appender.close()


def spool_a_call(home: Home) -> None:
    """Let a call wait."""
    home.spool.mkdir(parents=True, mode=0o700)
    begin = {"id": new_id(), "provider": "openai", "model": "gpt-5-mini", "started_at": format_time(now_us())}
    (home.spool / "a.json").write_text(json.dumps({"keledger_spool": 1, "begin": begin, "end": None}))
