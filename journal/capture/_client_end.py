"""One connection, as the server has it: what has arrived of the next line, and what is under way on it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from .client import encode

if TYPE_CHECKING:
    from keledger.journal.estimates import Estimate

    from ._foresight import Wanted

LINE_BYTES_MAX = 1024 * 1024
"""A longer line is no message: the usage object, the largest part of one, is held to a quarter of this."""

REQUEST_BYTES_MAX = 256 * 1024 * 1024
"""The same, for a client whose request is to be estimated: above what providers take."""


class ClientEnd:
    """One connection: what arrived of the next line, and the calls under way by their id."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.calls: dict[str, dict[str, Any]] = {}
        self.shows: dict[str, Wanted] = {}
        """Calls whose requests are awaited, to be estimated."""
        self.asked: dict[str, tuple[dict[str, Any], str, Estimate | None]] = {}
        """Calls of which the user is asked, above which cost that is done, and the estimate, where there is one."""
        self._received = bytearray()
        self.last_ended: str | None = None

    def lines(self, received: bytes) -> list[bytes]:
        """The lines that are whole now.  Raises ValueError where one gets longer than any message is."""
        searched = len(self._received)
        self._received += received
        if self._received.find(b"\n", searched) < 0:
            # A request stands in the line of one who was asked to show it, or has a model chosen for it.
            holds_request = self.shows or self._received.startswith(b'{"type":"choose"')
            if len(self._received) > (REQUEST_BYTES_MAX if holds_request else LINE_BYTES_MAX):
                raise ValueError("no line feed")
            return []
        *lines, rest = bytes(self._received).split(b"\n")
        self._received = bytearray(rest)
        return lines

    def reply(self, kind: str, identifier: str, **facts: object) -> None:
        # Where nobody reads any more, the end of the file follows, and that is what counts.
        with contextlib.suppress(OSError):
            self.connection.send(encode({"type": kind, "id": identifier, **facts}))


def is_own_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is of this user.

    Linux tells (SO_PEERCRED, see socket(7)).  Elsewhere the socket's folder answers for it, which only its owner
    can enter.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())
