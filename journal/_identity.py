"""Ids of events and the fingerprint of what was given for one.

Same id and same ``input_sha256`` is the same event, wherever and however often it stands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping

import orjson

from ._json import is_plain

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://keledger/ns/v1")
"""Of every id that is made from a caller's key."""

ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


_SORTED = orjson.OPT_SORT_KEYS
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits.

    Python has one from 3.14 on.  Every id draws fresh randomness, so that forked processes never share any;
    nothing relies on the order of ids.
    """
    milliseconds = time.time_ns() // 1_000_000
    text = ((milliseconds & 0xFFFF_FFFF_FFFF).to_bytes(6, "big") + os.urandom(10)).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def id_of_key(source: str, key: str) -> str:
    """The id of an event that its caller knows by *key*: UUIDv5 of ``<source> NUL <key>``, equal on every machine."""
    return str(uuid.uuid5(NAMESPACE, f"{source}\0{key}"))


def input_sha256(event_type: str, fields: Mapping[str, object]) -> str:
    """SHA-256 over the input as it was given: the type and the fields, before defaults, cutting and pricing."""
    given = {"type": event_type, "fields": fields}
    if is_plain(fields):
        with contextlib.suppress(TypeError):  # integers beyond 64 bits, lone surrogates
            return hashlib.sha256(orjson.dumps(given, option=_SORTED)).hexdigest()
    return hashlib.sha256(_encode(given).encode("utf-8", "surrogatepass")).hexdigest()
