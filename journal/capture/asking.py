"""Asking before a call: its request is shown to keledger's own interpreter, which may have the user asked.

Loaded by path beside ``client.py``, by its rules, and only where keledger wants to see a request: for an estimate, or
because a call that is expected to be dear is to be confirmed.  The request goes to no other process than keledger's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
import time
from typing import Any

ESTIMATE_WAIT_S = 300.0
"""How long an estimate is waited for, and before it that a request is taken: ten million bytes take some seconds to
count, a first look at a long journal a minute, and another process of the run may be served first."""

TERMINAL = "/dev/tty"
"""Where the user is asked: stdin and stdout may be pipes."""

ANSWER_WAIT_S = 600.0
"""How long an answer is waited for, and before it for one's turn.  Nobody who is there thinks about it for longer."""

TURN_POLL_S = 0.1

ANSWER_BYTES_MAX = 1024


def answer_show(line: Any, begin: dict[str, Any], request: Any) -> dict[str, Any] | None:
    """Show keledger the request of a call, and put to the user what it asks; its word on the call, or None."""
    try:
        reply = _show(line, begin, request)
    except (RecursionError, TypeError, ValueError):  # JSON has no word for it, so it cannot be estimated
        reply = _show(line, begin, None)
    if reply is None or reply["type"] != "confirm":
        return reply
    answer = ask_user([str(sentence) for sentence in reply.get("sentences", ())])
    return line.exchange(  # type: ignore[no-any-return]
        {"type": "answer", "begin": begin, "answer": answer}, ("go", "refuse", "wait"), ESTIMATE_WAIT_S
    )


def _show(line: Any, begin: dict[str, Any], request: Any) -> dict[str, Any] | None:
    return line.exchange(  # type: ignore[no-any-return]
        {"type": "request", "begin": begin, "request": request},
        ("confirm", "go", "refuse", "wait"),
        ESTIMATE_WAIT_S,
        send_wait_s=ESTIMATE_WAIT_S,
    )


def ask_user(sentences: list[str]) -> str:
    """Tell these on the terminal and ask whether to go on: ``yes``, ``no``, or ``no_terminal`` where there is none.

    Several processes take turns.  Only a y that is typed after the question says yes; the end of the input, Ctrl-D,
    and no answer in time say no.
    """
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return "no_terminal"
    try:
        if not _in_foreground(terminal):
            return "no_terminal"
        return _ask(terminal, sentences, time.monotonic() + ANSWER_WAIT_S)
    except (OSError, termios.error):
        return "no_terminal"  # it is gone
    finally:
        os.close(terminal)


def _ask(terminal: int, sentences: list[str], deadline: float) -> str:
    with _turn(deadline) as ours:
        if not ours:
            return "no"
        sys.stderr.flush()
        told = "".join(f"keledger: {printable(sentence)}\n" for sentence in sentences)
        _write(terminal, told)
        termios.tcflush(terminal, termios.TCIFLUSH)  # what was typed before was meant for something else
        _write(terminal, "keledger: make this call? [y/N] ")
        if not select.select([terminal], (), (), max(0.0, deadline - time.monotonic()))[0]:
            _write(terminal, "\nkeledger: nobody answers, so it is not made\n")
            return "no"
        said = os.read(terminal, ANSWER_BYTES_MAX)
        if not said.endswith(b"\n"):
            _write(terminal, "\n")
    return "yes" if said.strip().lower() in (b"y", b"yes") else "no"


def _in_foreground(terminal: int) -> bool:
    """Whether this process may ask there.  In the background it is stopped, as reading does, until it is brought up."""
    for _ in range(2):
        if os.tcgetpgrp(terminal) == os.getpgrp():
            return True
        os.killpg(os.getpgrp(), signal.SIGTTIN)  # without effect where nobody could bring it up again
    return os.tcgetpgrp(terminal) == os.getpgrp()


def printable(text: str) -> str:
    """A text whose names were given by others, as one line that moves no cursor: they must not hide what is asked."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text
    )


def _write(terminal: int, text: str) -> None:
    left = text.encode("utf-8", "backslashreplace")
    while left:
        left = left[os.write(terminal, left) :]


@contextlib.contextmanager
def _turn(deadline: float) -> Any:
    """For as long as one process asks, the others of the run wait, or, without a run, those at the same terminal.

    Gives False where the turn did not come in time.
    """
    descriptor = None
    for path in _places_of_turns():
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOCTTY, 0o600)
            break
    try:
        yield descriptor is None or _locked(descriptor, deadline)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _places_of_turns() -> Any:
    """What to lock: a file beside the run's socket, else the terminal by its own name, which not every system tells."""
    socket = os.environ.get("KELEDGER_SOCKET")
    if socket:
        yield os.path.join(os.path.dirname(socket), "asking")
    for number in (2, 1, 0):
        with contextlib.suppress(OSError):
            yield os.ttyname(number)


def _locked(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(TURN_POLL_S)
        else:
            return True
