"""What becomes of errors: one line on stderr and an exit status, whatever it was."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from ._output import OutputLost, discard, say

INTERRUPTED = 128 + 2
"""Ctrl-C, as shells tell it."""

OUTPUT_GONE = 128 + 13
"""Whoever read stdout left, as for a program that SIGPIPE ends."""

DEBUG_VARIABLE = "KELEDGER_DEBUG"
"""Where it is set, the traceback of every error is printed above its line."""


def guarded(work: Callable[[], Any]) -> int:
    """The exit status of *work*, 0 unless it returns one; what it raises becomes one line on stderr."""
    try:
        status = _status(work)
        sys.stdout.flush()
    except BrokenPipeError:
        return output_gone()
    except OutputLost as error:
        discard(sys.stdout)
        say(f"the output cannot be written: {error.strerror}; whatever the command changed stands")
        return 1
    return status


def _status(work: Callable[[], Any]) -> int:
    """As :func:`guarded`, but for what becomes of stdout."""
    try:
        result = work()
    except (BrokenPipeError, OutputLost):
        raise
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug shall be one line as well, and say how to see more
        if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
            say("interrupted")  # so DuckDB tells of Ctrl-C
            return INTERRUPTED
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        return _explained(error)
    return result if isinstance(result, int) else 0


def _explained(error: Exception) -> int:
    """Say what an error means to the user; returns the exit status."""
    from keledger.journal import KeledgerError

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()  # a group without a command: the help itself
        return error.exit_code
    if isinstance(error, click.UsageError):
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
        say(error.format_message().rstrip(".") + hint)
        return error.exit_code
    if isinstance(error, click.ClickException):
        say(error.format_message())
        return error.exit_code
    if isinstance(error, KeledgerError):
        say(str(error))
        return error.exit_status
    if isinstance(error, OSError):
        if error.filename is None and _is_nowhere():
            say("the working folder is gone, and a relative path leads nowhere: go to another one")
        else:
            say(f"{error.filename or 'the operating system'}: {error.strerror or error}")
        return 1
    say(f"this is a bug in keledger: {type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where)")
    return 1


def _is_nowhere() -> bool:
    """Whether the folder that this process works in was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def output_gone() -> int:
    """Give up on stdout, whose reader has left; returns the exit status."""
    discard(sys.stdout)
    return OUTPUT_GONE
