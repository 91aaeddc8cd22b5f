"""Calls that the journal could not take, waiting outside the home until it can.

A spooled file is one JSON object, ``{"keledger_spool":1,"kind":"hook","begin":{…},"end":{…}}``: what was known before
and after the call, as :meth:`Ledger.record_hook` takes it.  A client program whose keledger has gone writes such
files itself.  They carry the event's id, so bringing one in twice is harmless.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._disk import Disk, sync_folder, write_new
from ._home import Home
from ._plain_file import read_plain_file

SPOOL_VERSION = 1


class Spool:
    """The spool folder of one home: 0700, its files 0600."""

    def __init__(self, home: Home, disk: Disk) -> None:
        self.home, self.folder, self._disk = home, home.spool, disk
        self._folder_name = str(self.folder)
        self._empty_at_ns: int | None = None

    def keep(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Path | None:
        """Keep a call for later; None where even that failed, after printing it whole on stderr."""
        content = {"keledger_spool": SPOOL_VERSION, "kind": "hook", "home": str(self.home.path)}
        content |= {"begin": dict(begin), "end": dict(end) if end is not None else None}
        text = json.dumps(content, separators=(",", ":"), default=str)
        path = self.folder / f"{begin['id']}.json"
        try:
            self._make_folder()
            if stat.S_IMODE(os.stat(self.folder).st_mode) & 0o077:
                os.chmod(self.folder, 0o700)  # it is ours, or this fails
            write_new(self._disk, path, text.encode())
        except OSError as error:
            sys.stderr.write(
                f"keledger: a call could not be journaled, nor kept in {self.folder} ({error.strerror}); "
                f"save this line as a file there: {text}\n"
            )
            return None
        return path

    def _make_folder(self) -> None:
        """Make the folder, and what is missing above it, for its owner alone.

        The names of keledger's own folders are synced each time: a process that made them may have died before, and a
        call that is kept must be there after a power cut.
        """
        for folder in (*reversed(self.folder.parents), self.folder):
            if not folder.exists():
                self._disk.make_folder(folder)
        for folder in self.folder.parents[:3]:  # where <key>, spool and keledger stand
            sync_folder(self._disk, folder)

    def is_waiting(self) -> bool:
        """Whether anything may be waiting.  It is asked on every append."""
        if not os.access(self._folder_name, os.F_OK):
            return False  # most often there is none, and an exception costs more than the question
        try:
            return os.stat(self._folder_name).st_mtime_ns != self._empty_at_ns
        except OSError:
            return False

    def waiting(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The spooled files that can be read, by name.  Others are left where they are."""
        try:
            status = os.stat(self.folder)
            names = sorted(
                name for name in os.listdir(self.folder) if name.endswith(".json") and not name.startswith(".")
            )
        except OSError:
            return
        if self.is_open():
            return
        self._empty_at_ns = None if names else status.st_mtime_ns
        for name in names:
            path = self.folder / name
            try:
                content = json.loads(read_plain_file(path))
            except (OSError, ValueError, RecursionError):
                continue
            if isinstance(content, dict) and content.get("keledger_spool") == SPOOL_VERSION:
                yield path, content

    def is_open(self) -> bool:
        """Whether somebody else could have put calls there; then none of them is believed."""
        try:
            status = os.stat(self.folder)
        except OSError:
            return False
        return status.st_uid != os.geteuid() or bool(stat.S_IMODE(status.st_mode) & 0o022)

    def remove(self, path: Path) -> None:
        """Forget a file whose event is durable in the journal."""
        self._disk.remove(path)
