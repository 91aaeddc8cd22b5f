"""Helpers of the journal's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from keledger.journal import Home, NewEvent, scan_journal
from keledger.journal._identity import new_id

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 120},
}
"""A usage object of OpenAI's chat completions."""


def note(text: str = "", event_id: str | None = None) -> NewEvent:
    """A small event of a type that this release does not know: for what does not depend on content."""
    return NewEvent.of("test.noted", event_id or new_id(), {"text": text})


def call(**fields: Any) -> dict[str, Any]:
    """A call as ``record`` takes it."""
    return {"provider": "openai", "model": "gpt-5-mini", "usage_raw": USAGE, **fields}


def events(home: Home) -> list[dict[str, Any]]:
    """Every valid event of a home, by writer and seq."""
    return [orjson.loads(line) for chunk in scan_journal(home).chunks for line in chunk.lines()]


def calls(home: Home) -> list[dict[str, Any]]:
    """The valid call events."""
    return [event for event in events(home) if event["type"] in ("call.completed", "call.failed")]


def newest_segment(home: Home) -> Path:
    """The file that is appended to."""
    (writer,) = home.writers()
    return home.segments(writer)[-1]


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
