"""The helper: keledger's own interpreter beside one KePrompt that was not started by ``keledger run``.

The client starts it at its first model call, with one end of a socket pair as its stdin, and it ends with its
client.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from ._foresight import Estimating
from ._foresight_server import ForesightServer
from ._recorder import Recorder


def serve_client(open_estimating: Callable[[], Estimating]) -> None:
    """Serve the client at stdin until it ends, then end the process.

    *open_estimating* makes what estimates calls, when one is to be.
    """
    with contextlib.suppress(OSError):
        os.setsid()  # where the client's libc could not: a Ctrl-C at the terminal must not reach this process
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if home := os.environ.get("KELEDGER_HOME"):  # as the client means a relative one
        os.environ["KELEDGER_HOME"] = os.path.abspath(os.path.expanduser(home))
    os.chdir("/")  # keeps no file system busy
    server = ForesightServer(_open_ledger, say, open_estimating)
    server.adopt(socket.socket(fileno=os.dup(0)))
    while server.has_clients:
        server.serve(None)
    server.close()
    os._exit(0)  # everything is journaled; an orderly farewell of the interpreter would only keep stderr open


def say(sentence: str) -> None:
    """Write one line to stderr, which is the client's."""
    sys.stderr.write(f"keledger: {sentence}\n")
    sys.stderr.flush()


def _open_ledger() -> Recorder:
    from keledger.journal import Ledger

    ledger = Ledger.open()
    ledger.prepare()
    return ledger
