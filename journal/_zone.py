"""The zone in which reports count days."""

from __future__ import annotations

import os
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ._attributes import read_toml
from ._errors import UsageError
from ._home import Home

_NO_NAMES = re.compile(r"localtime|posixrules|Factory|(posix|right)/.*")
"""Files that stand beside the zones on many machines: what they hold is this machine's, or is told otherwise."""

_NAMES_OF_UTC = {"Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"}


def report_zone(home: Home) -> str:
    """``KELEDGER_TZ``, else ``timezone`` of the home's config.toml, else the machine's own zone, else UTC."""
    given = os.environ.get("KELEDGER_TZ")
    if given:
        return check_zone(given, "KELEDGER_TZ")
    configured = read_toml(home.config).get("timezone")
    if configured is not None:
        return check_zone(configured, str(home.config))
    return _machine_zone()


def check_zone(name: object, where: str) -> str:
    """The name, if it is one of the IANA time-zone database.  Raises UsageError that says where it stands."""
    try:
        if _NO_NAMES.fullmatch(str(name)) is not None:
            raise ValueError(name)
        ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"{where}: {name!r} is no time zone; use a name like Europe/Berlin or UTC") from None
    return str(name)


def _machine_zone() -> str:
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        target = os.path.realpath("/etc/localtime")
        name = target.partition("/zoneinfo/")[2].removeprefix("posix/")
    if name in _NAMES_OF_UTC:
        return "UTC"
    try:
        return check_zone(name, "TZ") if name else "UTC"
    except UsageError:
        return "UTC"
