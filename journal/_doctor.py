"""``doctor``: whether the home, the machine and the set-up are as keledger needs them.

It looks at files from the outside and at the ends of the journal; whether every line is right is ``verify``'s to
say.  Nothing is changed, but for one small file that is written to see whether that works, and removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ._check import Check, failed
from ._doctor_home import check_config, check_files, check_home, check_lock, check_spool
from ._doctor_journal import check_events, check_prices, check_writer
from ._doctor_machine import (
    check_clock,
    check_filesystem,
    check_keprompt,
    check_space,
    check_sync,
    check_unsynced,
    check_versions,
)
from ._home import Home

_NOTHING_UNREAD: Mapping[str, int] = {}


def diagnose(home: Home, *, unread: Mapping[str, int] = _NOTHING_UNREAD) -> tuple[Check, ...]:
    """Look at everything that can be seen without reading the journal through, in a fixed order.

    *unread* counts events that the projections hold and this release does not read, by ``<type> v<version>``.  A
    check that cannot be made is a problem of its own; nothing is raised, whatever the home is.
    """
    checks = list(_made("versions", check_versions))
    checks += _made("home", lambda: check_home(home))
    usable = checks[-1].state != "problem"
    there = usable and home.path.is_dir()
    checks += _made("filesystem", lambda: check_filesystem(home))
    checks += _made("space", lambda: check_space(home))
    if there:
        checks += _made("files", lambda: check_files(home))
        checks += _made("config", lambda: check_config(home))
        checks += _made("sync", lambda: check_sync(home))
        checks += _made("sync", lambda: check_unsynced(home))
        checks += _made("lock", lambda: check_lock(home))
        checks += _made("writer", lambda: check_writer(home))
    checks += _made("clock", lambda: check_clock(home, there=there))
    if there:
        checks += _made("events", lambda: check_events(home, unread))
        checks += _made("prices", lambda: check_prices(home))
    checks += _made("spool", lambda: check_spool(home))
    checks += _made("keprompt", check_keprompt)
    return tuple(checks)


def lock_is_free(home: Home) -> bool:
    """Whether an append need not wait, looked at for as long as a few appends take."""
    return all(check.state == "ok" for check in _made("lock", lambda: check_lock(home)))


def _made(name: str, examine: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks that *examine* makes, and, where it cannot go on, why."""
    try:
        yield from examine()
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        yield failed(name, error)
