"""Whose call it is: user, project, team, cost centre and tags, from the places that may say so.

Strongest first: the call itself; flags of ``keledger run``; ``KELEDGER_*`` variables; the nearest ``keledger.toml``
upwards of the working directory; the home's ``config.toml``; else the login name and the git root or folder.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import pwd
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._disk import Disk, write_new
from ._errors import HomeError, UsageError
from ._home import Home
from ._plain_file import read_plain_file

NAMES = ("user", "project", "team", "cost_center")
VARIABLES = {
    "user": "KELEDGER_USER",
    "project": "KELEDGER_PROJECT",
    "team": "KELEDGER_TEAM",
    "cost_center": "KELEDGER_COST_CENTER",
    "tags": "KELEDGER_TAGS",
}
PROJECT_FILE = "keledger.toml"
CONFIRM_ABOVE = "confirm_above_usd"
"""Calls that are expected to cost more than this are to be confirmed; no attribute of a call, but it stands in the same
files."""

_KEY_BYTES = 32
FOLDERS_KEPT_MAX = 64
"""Working folders of which is remembered what they say: a process seldom has two, a launcher those of its clients."""


@functools.cache
def os_user() -> str:
    """The login name of the process's user: a fact of the operating system, not a claim."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"


def from_environment(environment: Mapping[str, object]) -> dict[str, Any]:
    """The attributes that ``KELEDGER_*`` variables set; empty ones set nothing."""
    found: dict[str, Any] = {}
    if not environment:
        return found
    for name, variable in VARIABLES.items():
        value = environment.get(variable)
        if isinstance(value, str) and value:
            found[name] = _tags_leniently(value) if name == "tags" else value
    return found


def _tags_leniently(text: str) -> dict[str, str]:
    """Tags of a variable: one that is not well-formed must not cost the others, or the call."""
    return dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)


@functools.lru_cache(maxsize=FOLDERS_KEPT_MAX)
def from_folder(folder: str) -> Mapping[str, Any]:
    """What the nearest ``keledger.toml`` says.  Read once a folder and process."""
    here = Path(folder)
    for candidate in (here, *here.parents):
        path = candidate / PROJECT_FILE
        if _stands(path):
            return _read_attributes(path) if _only_ours(path) else {}
    return {}


def _only_ours(path: Path) -> bool:
    """Whether nobody but this user and root can have written the file."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.lru_cache(maxsize=FOLDERS_KEPT_MAX)
def _project_name(folder: str) -> str:
    here = Path(folder)
    root = next((parent for parent in (here, *here.parents) if _stands(parent / ".git")), here)
    return os.fsencode(root.name).decode("utf-8", "replace") or "root"


def _stands(path: Path) -> bool:
    """Whether there is such a file or folder; what may not even be looked at does not count."""
    try:
        return path.exists()
    except OSError:
        return False


def _read_attributes(path: Path) -> dict[str, Any]:
    content = read_toml(path)
    found: dict[str, Any] = {name: content[name] for name in NAMES if isinstance(content.get(name), str)}
    if isinstance(content.get("tags"), dict):
        found["tags"] = {key: str(value) for key, value in content["tags"].items()}
    if CONFIRM_ABOVE in content:
        found[CONFIRM_ABOVE] = content[CONFIRM_ABOVE]
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.  Raises HomeError that names the file and what is wrong with it."""
    try:
        return tomllib.loads(read_plain_file(path).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # not TOML, or not even UTF-8
        raise HomeError(f"{path} cannot be read: {error}") from None


def _joined(weakest: Mapping[str, Any], *places: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of several places, the strongest last."""
    found = dict(weakest)
    tags = found.pop("tags", None)
    odd = None
    for place in places:
        if not place:
            continue
        for name in NAMES:
            if value := place.get(name):
                found[name] = value
        given = place.get("tags")
        if isinstance(given, (dict, Mapping)):
            tags = {**tags, **given} if tags else given
        elif given:
            odd = odd or given
    if odd or tags:
        found["tags"] = odd or tags  # what is odd is for whoever checks the fields to refuse or drop
    return found


class AttributeResolver:
    """Resolves the attributes of calls for one home.  This process's variables are read once, when it is made."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self._config = read_toml(home.config)
        self.environment = {name: os.environ[name] for name in VARIABLES.values() if os.environ.get(name)}
        self._variables = from_environment(self.environment)
        self._defaults = _read_attributes(home.config)
        self._behind = functools.lru_cache(maxsize=FOLDERS_KEPT_MAX)(self._read_behind)
        self._key: bytes | None = None
        if self._config.get("identity", "pseudonym") != "pseudonym":
            raise HomeError(
                f'{home.config}: identity can only be "pseudonym"; leave it out to journal names as they are'
            )
        if "identity" in self._config:
            self._key = _pseudonym_key(home, disk)
        self.os_user = self.pseudonym(os_user())

    def resolve(
        self,
        call: Mapping[str, Any],
        *,
        flags: Mapping[str, Any] | None = None,
        environment: Mapping[str, object] | None = None,
        folder: str | None = None,
        live: bool = False,
    ) -> dict[str, Any]:
        """The attributes of one call.  Tags of all places are joined, the stronger place's value of a key stands.

        A ``keledger.toml`` that cannot be read raises HomeError; for a *live* call it is passed over, and named
        under ``unreadable``.
        """
        variables = self._variables if environment is None else from_environment(environment)
        try:
            folder = folder or os.getcwd()
        except FileNotFoundError:
            folder = "unknown"  # the working folder was removed
        unreadable = False
        try:
            behind = self._behind(folder)
        except HomeError:
            if not live:
                raise
            behind, unreadable = self._joined_behind({}, folder), True
        found = _joined(behind, variables, flags or {}, call)
        if self._key is not None:
            found["user"] = self.pseudonym(found["user"])
        if unreadable:
            found["unreadable"] = PROJECT_FILE
        return found

    def confirm_above(self, flags: Mapping[str, Any], folder: str | None) -> str | None:
        """From which cost on a call is to be confirmed, in USD: the least that anybody says; None where nobody does.

        Raises UsageError that names the place of an amount that is none.
        """
        return confirm_above(flags, folder, self._defaults)

    def _read_behind(self, folder: str) -> dict[str, Any]:
        """What holds in a folder for whoever says nothing.  Kept for each folder, as what is read of it is."""
        return self._joined_behind(from_folder(folder), folder)

    def _joined_behind(self, of_folder: Mapping[str, Any], folder: str) -> dict[str, Any]:
        return _joined({"user": os_user(), "project": _project_name(folder)}, self._defaults, of_folder)

    def pseudonym(self, user: str) -> str:
        """The user's name as it is journaled: itself, or an HMAC where the home stores pseudonyms."""
        if self._key is None:
            return user
        return "u-" + hmac.new(self._key, user.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:24]


def confirm_above(flags: Mapping[str, Any], folder: object, defaults: Mapping[str, Any]) -> str | None:
    """From which cost on a call is to be confirmed, as :meth:`AttributeResolver.confirm_above` tells it; *defaults* are
    what the home's ``config.toml`` says, where there is a home."""
    of_folder: Mapping[str, Any] = {}
    if isinstance(folder, str):
        try:
            of_folder = from_folder(folder)
        except HomeError as error:  # told with the call, whose attributes are read there as well
            from .capture.client import nearest_project_file, says_to_confirm

            if says_to_confirm(nearest_project_file(folder)):
                raise UsageError(f"{error}; and it says from which cost on calls are to be confirmed") from None
    places = {
        "keledger run --confirm-above": flags.get("confirm_above"),
        f"{PROJECT_FILE}: {CONFIRM_ABOVE}": of_folder.get(CONFIRM_ABOVE),
        f"config.toml: {CONFIRM_ABOVE}": defaults.get(CONFIRM_ABOVE),
    }
    found = None
    for place, value in places.items():
        if value is not None:
            found = _tighter(found, value, place)
    return found


def _tighter(limit: str | None, value: object, place: str) -> str:
    from .capture.declared import WrongBudget, limit_usd, tighter

    try:
        own = limit_usd(value, or_zero=True)
        return own if limit is None else str(tighter(own, limit, or_zero=True))
    except WrongBudget as error:
        raise UsageError(f"{place}: {error}") from None


def _pseudonym_key(home: Home, disk: Disk) -> bytes:
    """The key of a home's pseudonyms, outside ``journal/``: to delete it is to forget who they were."""
    path = home.path / "identity.key"
    if not disk.exists(str(path)):
        home.create(disk)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        write_new(disk, draft, os.urandom(_KEY_BYTES))
        try:
            disk.link(draft, path)  # of several processes that begin at once, the first one's key holds
        except FileExistsError:
            pass
        finally:
            disk.remove(draft)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise HomeError(f"{path} cannot be read: {error.strerror}; users would get other pseudonyms") from None
    if len(key) != _KEY_BYTES:
        raise HomeError(f"{path} is no key of {_KEY_BYTES} bytes: restore it, or remove it to begin new pseudonyms")
    return key
