"""``keledger`` and ``python -m keledger``."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> int:
    """Run the command line and return its exit status."""
    home, rest = leading_home(sys.argv[1:])
    if rest[:1] == ["run"]:
        # The launcher starts its command before anything heavy is imported, click included.
        from keledger.cli.run import main as run

        leave(run(rest[1:], home))
    try:
        from keledger.cli.main import main as command

        return command()
    except KeyboardInterrupt:  # while all that was being imported
        return 130


def leading_home(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of a ``--home`` in front of the command, if any, and the arguments after it."""
    if arguments[:1] == ["--home"] and len(arguments) > 1:
        return arguments[1], arguments[2:]
    if arguments and arguments[0].startswith("--home="):
        return arguments[0][len("--home=") :], arguments[1:]
    return None, arguments


def leave(status: int) -> NoReturn:
    """End the process at once.  The shell waits for the launcher, and Python's own farewell takes 10 ms."""
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
