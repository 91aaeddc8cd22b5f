"""Asking before a call: its request is shown to keledger's own interpreter, which may have the user asked.

Loaded by path beside ``client.py``, by its rules, and only where keledger wants to see a request: for an estimate, or
because a call that is expected to be dear is to be confirmed.  The request goes to no other process than keledger's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

SHOW_WAIT_S = 60.0
"""How long a request may take to be handed over: keledger may be loading what it counts with."""

ESTIMATE_WAIT_S = 300.0
"""How long an estimate is waited for: ten million bytes take some seconds to count, a first look at a long journal a
minute."""

TERMINAL = "/dev/tty"
"""Where the user is asked: stdin and stdout may be pipes."""

ANSWER_BYTES_MAX = 1024


def answer_show(line: Any, begin: dict[str, Any], request: Any) -> dict[str, Any] | None:
    """Show keledger the request of a call, and put to the user what it asks; its word on the call, or None."""
    reply = line.exchange(
        {"type": "request", "begin": begin, "request": request},
        ("confirm", "go", "refuse", "wait"),
        ESTIMATE_WAIT_S,
        send_wait_s=SHOW_WAIT_S,
    )
    if reply is None or reply["type"] != "confirm":
        return reply  # type: ignore[no-any-return]
    answer = ask_user([str(sentence) for sentence in reply.get("sentences", ())])
    return line.exchange(  # type: ignore[no-any-return]
        {"type": "answer", "begin": begin, "answer": answer}, ("go", "refuse", "wait"), ESTIMATE_WAIT_S
    )


def ask_user(sentences: list[str]) -> str:
    """Tell these on the terminal and ask whether to go on: ``yes``, ``no``, or ``no_terminal`` where there is none.

    Several processes of one run take turns.  Only a y says yes; the end of the input, or Ctrl-D, says no.
    """
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return "no_terminal"
    try:
        with _alone():
            told = "".join(f"keledger: {sentence}\n" for sentence in sentences)
            _write(terminal, f"{told}keledger: make this call? [y/N] ")
            said = os.read(terminal, ANSWER_BYTES_MAX)
            if not said.endswith(b"\n"):
                _write(terminal, "\n")
    except OSError:
        return "no_terminal"  # in the background, or the terminal is gone
    finally:
        os.close(terminal)
    return "yes" if said.strip().lower() in (b"y", b"yes") else "no"


def _write(terminal: int, text: str) -> None:
    left = text.encode("utf-8", "backslashreplace")
    while left:
        left = left[os.write(terminal, left) :]


class _alone:  # noqa: N801  a context manager, as those of contextlib are spelled
    """For as long as one process of a run asks, the others wait: by a lock beside the run's socket."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        folder = os.path.dirname(os.environ.get("KELEDGER_SOCKET", ""))
        if not folder:
            return
        with contextlib.suppress(OSError):
            import fcntl

            self._descriptor = os.open(os.path.join(folder, "asking"), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
