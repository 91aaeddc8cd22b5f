"""``keledger`` and ``python -m keledger``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    if sys.argv[1:2] == ["run"]:
        # The launcher starts its child before anything heavy is imported, click included.
        from keledger.cli.run import main as run

        return run(sys.argv[2:])
    from keledger.cli.main import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
