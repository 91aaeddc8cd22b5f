"""What ``keledger estimate`` is given: a text, a request, a list of requests, or the name of a prompt file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from keledger.journal import InputRefused

KINDS = ("text", "request", "requests", "prompt")
"""What a file may hold: a text, one request as JSON, one a line, or a KePrompt prompt."""

PROMPT_SUFFIX = ".prompt"

BODY_KEYS = frozenset(("messages", "contents", "input"))
"""An object with one of these is a request; any other JSON is a text like others."""


class Given(NamedTuple):
    """What is to be estimated, where it came from, and what kind it is of; ``text`` is as it was read."""

    name: str
    kind: str
    text: str

    def request(self) -> object:
        """The text, or the request as an object.  Raises InputRefused."""
        return self.text if self.kind == "text" else _parsed(self.text, self.name)

    def requests(self) -> Iterator[tuple[int, object]]:
        """Each line's number, from 1 on, and its request; blank lines are passed over.  Raises InputRefused."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if line.strip():
                yield number, _parsed(line, f"{self.name} line {number}")


def read_given(path: str | None, text: str | None, kind: str | None) -> Given:
    """What to estimate: *text*, else the file at *path*, else stdin; *kind* is one of KINDS, None to tell by looking.

    Raises InputRefused for what holds no text, and click.UsageError where nothing is given, or two things are.
    """
    if text is not None:
        if path is not None:
            raise click.UsageError("--text and a file exclude each other: give one of the two")
        return Given("--text", kind or "text", text)
    if path in (None, "-"):
        if path is None and sys.stdin.isatty():
            raise click.UsageError("nothing to estimate: give a file, --text TEXT, or - for stdin")
        name, content = "stdin", sys.stdin.buffer.read()
    else:
        name, content = str(path), Path(str(path)).read_bytes()
    if kind is None and name.endswith(PROMPT_SUFFIX):
        kind = "prompt"
    decoded = _decoded(content, name)
    return Given(name, kind or _kind_of(decoded, name), decoded)


def _decoded(content: bytes, name: str) -> str:
    """A file's text.  Raises InputRefused for what is none."""
    if b"\0" in content[: 64 * 1024]:
        raise InputRefused(f"{name} is a binary file, not a text: estimates count text, requests in JSON, and prompts")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(
            f"{name} is no text in UTF-8 (byte {error.start:,} is no part of any character): convert it first"
        ) from None


def _kind_of(text: str, name: str) -> str:
    """What a text is, by looking: requests are told by what every one of them has."""
    head = text.lstrip()[:1]
    if head != "{":
        return "text"
    if name.endswith(".jsonl") or _is_request(text.lstrip().split("\n", 1)[0]):
        lines = [line for line in text.splitlines() if line.strip()]
        return "requests" if len(lines) > 1 or name.endswith(".jsonl") else "request"
    return "request" if _is_request(text) else "text"


def _is_request(text: str) -> bool:
    try:
        parsed = json.loads(text)
    except ValueError:
        return False
    return isinstance(parsed, dict) and not BODY_KEYS.isdisjoint(_body(parsed))


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise InputRefused(f"{name} is no JSON: {error}") from None
    except RecursionError:
        raise InputRefused(f"{name} is nested too deeply to be a request") from None
    if not isinstance(parsed, dict):
        raise InputRefused(f"{name} is no request: write a JSON object with messages, contents or input")
    return _body(parsed)


def _body(parsed: dict[str, Any]) -> dict[str, Any]:
    """The request itself, of a line of a batch file as OpenAI (``body``) or Anthropic (``params``) takes it."""
    for name in ("body", "params"):
        inner = parsed.get(name)
        if isinstance(inner, dict) and "custom_id" in parsed:
            return inner
    return parsed
