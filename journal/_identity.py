"""Ids of events and the fingerprint of what was given for one.

Same id and same ``input_sha256`` is the same event, wherever and however often it stands.
"""

from __future__ import annotations

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


_NAMESPACE_BYTES = NAMESPACE.bytes
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit with RFC 9562's variant in its upper two bits that keeps the lower two of a random one."""
_SORTED = orjson.OPT_SORT_KEYS
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits.

    Python has one from 3.14 on.  Every id draws fresh randomness, so that forked processes never share any;
    nothing relies on the order of ids.
    """
    milliseconds = time.time_ns() // 1_000_000
    text = (milliseconds.to_bytes(6, "big") + os.urandom(10)).hex()
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:]}"


def id_of_key(source: str, key: str) -> str:
    """The id of an event that its caller knows by *key*: UUIDv5 of ``<source> NUL <key>``, equal on every machine."""
    # As uuid.uuid5 has it, without the object that it makes, which takes five times as long.
    text = hashlib.sha1(_NAMESPACE_BYTES + f"{source}\0{key}".encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


def input_sha256(event_type: str, fields: Mapping[str, object], *, plain: bool = False) -> str:
    """SHA-256 over the input as it was given: the type and the fields, before defaults, cutting and pricing.

    *plain* says that the fields are known to be plain JSON (``is_plain``), so that they are not looked through again.
    """
    given = {"type": event_type, "fields": fields}
    return hashlib.sha256(_sorted_json(given, plain or is_plain(fields))).hexdigest()


def _sorted_json(given: Mapping[str, object], plain: bool) -> bytes:
    if plain:
        try:
            return orjson.dumps(given, option=_SORTED)
        except TypeError:
            pass  # integers beyond 64 bits, lone surrogates
    return _encode(given).encode("utf-8", "surrogatepass")
