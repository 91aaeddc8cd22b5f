"""The line: how one event becomes bytes, and how bytes are held to be an event.

A line is BODY, ``,"hash":"``, 64 lower-case hex digits, ``"}`` and a line feed.  The hash is
SHA-256(hash of the line before as 32 raw bytes, BODY).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

TAIL_BYTES = 76
"""``,"hash":"`` (9), 64 hex digits, ``"}`` (2), line feed (1)."""

ZERO_HASH = bytes(32)
"""What the first line of a writer follows."""

_STAMPS = re.compile(rb'\{(?:"[a-z]+":"[^"]*",)*"v":\d+,"time":"[^"]*","seq":(\d+),"tick":(\d+),"data":')
_HASH_START = -(64 + 2 + 1)
_HASH_END = -(2 + 1)


class NewEvent(NamedTuple):
    """An event that is ready to be appended: its data are validated and encoded, its id is made."""

    type: str
    id: str
    data: bytes

    @classmethod
    def of(cls, event_type: str, event_id: str, data: Mapping[str, Any]) -> NewEvent:
        """Encode *data*, which the caller has validated.  Floats cannot occur in validated data."""
        return cls(event_type, event_id, orjson.dumps(data))


def encode_line(
    event: NewEvent, *, writer: str, time: str, seq: int, tick: int, previous: bytes
) -> tuple[bytes, bytes]:
    """The line of an event and its hash (32 raw bytes).  *previous* is the hash of the line above."""
    head = (
        f'{{"specversion":"1.0","id":"{event.id}","source":"/keledger/{writer}","type":"{event.type}","v":1,'
        f'"time":"{time}","seq":{seq},"tick":{tick},"data":'
    )
    body = head.encode() + event.data
    digest = sha256(previous + body).digest()
    return b"".join((body, b',"hash":"', digest.hex().encode(), b'"}\n')), digest


def chained_hash(previous: bytes, line: bytes) -> bytes:
    """The hash that a line should state after *previous*."""
    return sha256(previous + line[:-TAIL_BYTES]).digest()


def stated_hash(line: bytes) -> bytes | None:
    """The hash that a line states; None where there are no 64 hex digits in the hash's place."""
    digits = line[_HASH_START:_HASH_END]
    if len(digits) != 64 or digits != digits.lower():
        return None
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None


def fits(previous: bytes, line: bytes) -> bytes | None:
    """The hash of a line that follows *previous*; None where it does not follow, or is not shaped like a line."""
    digest = sha256(previous + line[:-TAIL_BYTES]).digest()
    return digest if line.endswith(b',"hash":"%b"}\n' % digest.hex().encode()) else None


def stamps(line: bytes) -> tuple[int, int]:
    """A line's seq and tick, in most cases without parsing its data.  Raises ValueError where it is no event."""
    found = _STAMPS.match(line)
    if found is not None:
        return int(found[1]), int(found[2])
    event = parse_line(line)
    seq, tick = event.get("seq"), event.get("tick")
    if not isinstance(seq, int) or not isinstance(tick, int):
        raise ValueError("no seq and tick")
    return seq, tick


def parse_line(line: bytes) -> dict[str, Any]:
    """The event of a line whose hash fits.  Raises ValueError where it is no JSON object."""
    event = orjson.loads(line)
    if not isinstance(event, dict):
        raise ValueError("not a JSON object")
    return event
