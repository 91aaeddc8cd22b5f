"""``--where COLUMN=VALUE``, as many commands take it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import click


def parse_where(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of a column and its value, which is empty where there must be none.  Raises click.BadParameter."""
    return tuple(map(_pair, given))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not COLUMN=VALUE", param_hint="--where")
    return name, unicodedata.normalize("NFC", value)  # as the journal has it, however it was typed
