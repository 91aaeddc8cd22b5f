"""Running the command line: in this process for speed, or as a process of its own, on pipes or on a terminal."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from keledger.cli.main import program
from keledger.journal import Home
from tests.journal.support import tree_bytes

COMMAND = (sys.executable, "-m", "keledger")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line that it wrote to stderr."""
        (line,) = self.err.splitlines()
        assert line.startswith("keledger: ")
        return line.removeprefix("keledger: ")


def keledger(*arguments: str, given: str | bytes = b"", environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a command in this process; stdout is a pipe."""
    result = CliRunner().invoke(program, list(arguments), input=given, env=environment)
    return Outcome(result.exit_code, result.stdout, result.stderr)


def keledger_process(*arguments: str, given: str | bytes = b"", prefix: Sequence[str] = (), **options: Any) -> Outcome:
    """Run a command as a process of its own."""
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [*prefix, *COMMAND, *arguments], input=data, capture_output=True, timeout=60, check=False, **options
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def keledger_terminal(
    *arguments: str, columns: int = 100, environment: Mapping[str, str] | None = None, typed: str = ""
) -> Outcome:
    """Run a command on a pseudo-terminal of so many columns; ``out`` is what it showed there, stderr included.

    *typed* waits on the keyboard from the start; the terminal shows it as it does what a person types.
    """
    import fcntl
    import pty
    import struct
    import termios

    controller, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )
        os.write(controller, typed.encode())
    finally:
        os.close(terminal)
    shown = bytearray()
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:  # Linux says EIO when the other side has closed
        pass
    finally:
        os.close(controller)
    return Outcome(process.wait(timeout=60), shown.decode().replace("\r\n", "\n"), "")


def json_lines(*values: object) -> str:
    """Values, one a line."""
    return "".join(json.dumps(value) + "\n" for value in values)


def truth(home: Home) -> dict[str, dict[str, bytes]]:
    """Every byte of a home that is not a cache."""
    return {folder.name: tree_bytes(folder) for folder in (home.journal, home.prices)}


def forge(home: Home, event_type: str, data: object, *, v: int = 1) -> bytes:
    """Append a line that fits its chain, as another release would; returns the line."""
    path = home.segments(home.writers()[0])[-1]
    last = json.loads(path.read_bytes().splitlines()[-1])
    head = {key: last[key] for key in ("specversion", "id", "source")} | {"id": str(uuid.uuid4())}
    place = {"time": last["time"], "seq": last["seq"] + 1, "tick": last["tick"] + 1}
    event = head | {"type": event_type, "v": v} | place | {"data": data}
    body = json.dumps(event, separators=(",", ":")).removesuffix("}").encode()
    digest = hashlib.sha256(bytes.fromhex(last["hash"]) + body).hexdigest()
    line = body + f',"hash":"{digest}"}}\n'.encode()
    with open(path, "ab") as file:
        file.write(line)
    return line
