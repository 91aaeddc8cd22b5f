"""Instants as integer microseconds since 1970 UTC, and their one spelling in the journal."""

from __future__ import annotations

import functools
import re
import time
from datetime import UTC, datetime, timedelta

from ._errors import InputRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,}))?([Zz]|[+-]\d{2}:?\d{2})", re.ASCII)
_LIKE_A_TIME = re.compile(r"[0-9TtZz:.,+ -]{1,40}", re.ASCII)
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"


def now_us() -> int:
    """The wall clock.  It is displayed and says which day a call belongs to; it never decides an order."""
    return time.time_ns() // 1000


def format_time(instant_us: int) -> str:
    """``YYYY-MM-DDTHH:MM:SS.ffffffZ``, the only spelling that is written."""
    second, micros = divmod(instant_us, 1_000_000)
    return f"{_second_text(second)}.{str(micros).zfill(6)}Z"


@functools.lru_cache(maxsize=256)
def _second_text(second: int) -> str:
    return (_NAIVE_EPOCH + timedelta(seconds=second)).isoformat(timespec="seconds")


def parse_time(text: str) -> int:
    """Read an RFC 3339 time: finer digits are cut off, an offset is converted.

    Raises InputRefused for a missing offset, a second 60 and what is no date.
    """
    return read_time(text)[0]


def read_time(text: str) -> tuple[int, str]:
    """As :func:`parse_time`; beside the instant its one spelling, which most times that are given have already."""
    # The shape is enough: fromisoformat holds the rest to ASCII digits that are a date.  Later Pythons take an hour 24.
    if text[4:20:3] == "--T::." and text[26:] == "Z" and text[11:13] != "24":
        try:
            since = datetime.fromisoformat(text) - _EPOCH
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, text
        except ValueError:
            pass  # told below
    instant_us = _parse_any_time(text)
    return instant_us, format_time(instant_us)


def _parse_any_time(text: str) -> int:
    matched = _TIME.fullmatch(text)
    if matched is None:
        shown = repr(text) if _LIKE_A_TIME.fullmatch(text) else "what is given"  # which may be anything, and private
        raise InputRefused(
            f"{shown} is no time: write it like 2026-11-21T19:00:00.123456Z or with an offset like +01:00"
        )
    date, clock, fraction, offset = matched.groups()
    micros = ((fraction or "") + "000000")[:6]
    zone = "+00:00" if offset in "Zz" else offset
    try:
        instant = datetime.fromisoformat(f"{date}T{clock}.{micros}{zone}").astimezone(UTC)
        return (instant - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise InputRefused(f"{text!r} is no time: {error}") from None
