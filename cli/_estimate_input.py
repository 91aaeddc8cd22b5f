"""What ``keledger estimate`` is given: a text, a request, a list of requests, or the name of a prompt file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from keledger.journal import InputRefused

KINDS = ("text", "request", "requests", "prompt")
"""What a file may hold: a text, one request as JSON, one a line, or a KePrompt prompt."""

PROMPT_SUFFIX = ".prompt"
LIST_SUFFIXES = (".jsonl", ".ndjson")

BODY_KEYS = frozenset(("messages", "contents", "input"))
"""An object with one of these is a request; any other JSON is a text like others."""

BINARY_LOOKED_AT_BYTES = 64 * 1024
"""A NUL so near to the beginning tells that a file is no text."""

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")

_VISIBLE = re.compile(r"\S")


class Given(NamedTuple):
    """What is to be estimated, where it came from, and what kind it is of; ``text`` is as it was read.

    ``parsed`` is what the text was found to be while its kind was told: a large one is read once.
    """

    name: str
    kind: str
    text: str
    parsed: object = None

    def request(self) -> object:
        """The text, or the request as an object.  Raises InputRefused."""
        if self.parsed is not None:
            return self.parsed
        return self.text if self.kind == "text" else _parsed(self.text, self.name)

    def requests(self) -> Iterator[tuple[int, object]]:
        """Each line's number, from 1 on, and its request; blank lines are passed over.  Raises InputRefused."""
        for number, line in enumerate(_lines(self.text), start=1):
            if _VISIBLE.search(line):
                yield number, _parsed(line, f"{self.name} line {number}")

    def lines(self) -> int:
        """How many lines there are, blank ones among them."""
        return self.text.count("\n") + (not self.text.endswith("\n"))


def model_names(given: Iterable[str]) -> tuple[str, ...]:
    """The names in ``--model a,b``, which may be given again.  Raises click.BadParameter where it names none."""
    texts = tuple(given)
    names = tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
    if texts and not names:
        raise click.BadParameter("it names no model: give one like openai/gpt-5-mini", param_hint="--model")
    return names


def read_given(path: str | None, text: str | None, kind: str | None) -> Given:
    """What to estimate: *text*, else the file at *path*, else stdin; *kind* is one of KINDS, None to tell by looking.

    Raises InputRefused for what holds no text, and click.UsageError where nothing is given, or two things are.
    """
    if text is not None:
        if path is not None:
            raise click.UsageError("--text and a file exclude each other: give one of the two")
        name, kind = "--text", kind or "text"
    else:
        if path is None and sys.stdin.isatty():
            raise click.UsageError("nothing to estimate: give a file, --text TEXT, or - for stdin")
        name = "stdin" if path in (None, "-") else str(path)
        if kind is None and name.endswith(PROMPT_SUFFIX):
            kind = "prompt"
        text = _decoded(sys.stdin.buffer.read() if path in (None, "-") else Path(name).read_bytes(), name)
    if kind != "prompt" and not _VISIBLE.search(text):
        what = "holds nothing but white space" if text else "is empty"
        raise InputRefused(f"{name} {what}: give a text, a request as JSON, or requests one a line")
    return Given(name, kind, text) if kind is not None else _told(text, name)


def _decoded(content: bytes, name: str) -> str:
    """A file's text.  Raises InputRefused for what is none."""
    if content.startswith(UTF_16_MARKS):
        raise InputRefused(f"{name} is not in UTF-8 but, as it begins, in UTF-16: convert it to UTF-8 first")
    if b"\0" in content[:BINARY_LOOKED_AT_BYTES]:
        raise InputRefused(f"{name} is a binary file, not a text: estimates count text, requests in JSON, and prompts")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(
            f"{name} is no text in UTF-8 (byte {error.start:,} is no part of any character): convert it first"
        ) from None


def _told(text: str, name: str) -> Given:
    """What a text is, by looking: a list of requests by its first line, a request by what every one of them has."""
    if name.endswith(LIST_SUFFIXES):
        return Given(name, "requests", text)
    start = _VISIBLE.search(text)
    if start is None or start[0] not in "{[":
        return Given(name, "text", text)
    end = text.find("\n", start.start())
    if end >= 0 and _VISIBLE.search(text, end) and _request_in(text[start.start() : end]) is not None:
        return Given(name, "requests", text)
    try:
        request = _body(_loaded(text))
    except ValueError as error:
        if name.endswith(".json"):
            raise InputRefused(f"{name} is no JSON: {error}; --as text counts it as it stands") from None
        request = None
    except RecursionError:
        if start[0] == "{":
            raise InputRefused(f"{name} is nested too deeply to be a request; --as text counts it as a text") from None
        request = None
    return Given(name, "text", text) if request is None else Given(name, "request", text, request)


def _request_in(line: str) -> dict[str, Any] | None:
    try:
        return _body(_loaded(line))
    except (ValueError, RecursionError):
        return None


def _loaded(text: str) -> object:
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")


def _parsed(text: str, name: str) -> dict[str, Any]:
    """The request that a text is said to be.  Raises InputRefused."""
    try:
        loaded = _loaded(text)
    except ValueError as error:
        raise InputRefused(f"{name} is no JSON: {error}") from None
    except RecursionError:
        raise InputRefused(f"{name} is nested too deeply to be a request") from None
    body = _body(loaded)
    if body is not None:
        return body
    if isinstance(loaded, dict):  # perhaps with "prompt", or nothing that is known: who counts it will say
        return loaded
    raise InputRefused(f"{name} is no request: write a JSON object with messages, contents or input")


def _body(loaded: object) -> dict[str, Any] | None:
    """The request itself, None where it is none: also of a line of a batch file, and of messages alone.

    A batch's line has it as OpenAI (``body``) or Anthropic (``params``) takes it.
    """
    if isinstance(loaded, list) and loaded and all(isinstance(each, dict) and "role" in each for each in loaded):
        return {"messages": loaded}
    if not isinstance(loaded, dict):
        return None
    for name in ("body", "params"):
        inner = loaded.get(name)
        if isinstance(inner, dict) and "custom_id" in loaded:
            return inner
    return None if BODY_KEYS.isdisjoint(loaded) else loaded


def _lines(text: str) -> Iterator[str]:
    """The lines, ended by a line feed alone: JSON may have all else that ends lines elsewhere in its texts."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1
