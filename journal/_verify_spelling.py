"""How the data of a line are spelled: the rules of the format that a parsed value does not show any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

_LIKE_A_FRACTION = re.compile(rb"\.\d+[]},e]")
"""How a float with a fraction ends as orjson writes it.  Text may look so, too.

It begins with one byte, which is looked for at the speed of memchr.  For exponents there is no such: an ``e`` is in
every hash.  So a float like 1e16 is found where the model knows its key, or where the line is spelled otherwise.
"""

_KEY_OR_BRACE = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]')


def spelling_flaw(data: dict[str, Any], spelled: bytes) -> str | None:
    """What the format does not allow about how *data* are spelled; *spelled* is their JSON, or that of the whole line.

    Lines of keledger read the same when they are encoded again, which no repeated key survives: nearly all need no
    closer look.  Other white space and escapes do no harm, and are passed over.
    """
    try:
        is_ours = orjson.dumps(data) == spelled
    except TypeError:  # nested deeper than orjson writes
        is_ours = False
    if not is_ours and any(repeated_keys(spelled)):
        return "it has a key twice, and readers differ in which one they take"
    if (not is_ours or _LIKE_A_FRACTION.search(spelled)) and _holds_float(data):
        return "it holds a float, or a number so large that it is read as one"
    return None


def repeated_keys(spelled: bytes) -> Iterator[int]:
    """How deep each key stands that its object had before, 1 being the outermost one.  *spelled* is valid JSON.

    Without recursion, for a line may be nested deeper than Python's own parser goes.
    """
    objects: list[set[str]] = []
    for token in _KEY_OR_BRACE.finditer(spelled):
        if token[0] == b"{":
            objects.append(set())
        elif token[0] == b"}":
            objects.pop()
        elif token[2]:
            key = orjson.loads(token[1])
            if key in objects[-1]:
                yield len(objects)
            objects[-1].add(key)


def _holds_float(data: dict[str, Any]) -> bool:
    waiting: list[Any] = [data]
    while waiting:
        value = waiting.pop()
        if type(value) is float:
            return True
        if type(value) is dict:
            waiting += value.values()
        elif type(value) is list:
            waiting += value
    return False
