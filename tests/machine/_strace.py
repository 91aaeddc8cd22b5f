"""Running a victim under strace, with faults put into its system calls."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from ._trace import TRACED, Call, read_trace


@dataclass(frozen=True)
class Died:
    """What became of a victim: its exit status (negative: the signal), its system calls, what it acknowledged."""

    status: int
    calls: list[Call]
    told: Path
    acknowledged: list[str]


class Victims:
    """Forks victims (see ``_victim.py``) and puts strace on them."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder, self._count = process, folder, 0

    def run(self, flow: str, home: Path, *injections: str) -> Died:
        """Fork a victim, have it do *flow* on *home* under strace with injections as ``-e inject=`` takes them."""
        self._count += 1
        log, told = (self._folder / f"{self._count}.{kind}" for kind in ("log", "told"))
        self._say(json.dumps({"flow": flow, "home": str(home), "told": str(told)}))
        child = int(self._hear())
        command = ["strace", "-f", "-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(f'?{n}' for n in TRACED)}"]
        command += [part for injection in injections for part in ("-e", f"inject={injection}")]
        with subprocess.Popen([*command, "-p", str(child)], stderr=subprocess.PIPE, text=True) as tracer:
            attached = _pipe(tracer.stderr).readline()
            self._say("go")
            if "attached" not in attached:
                pytest.skip(f"ptrace is not allowed here: {attached.strip()}")
            status = int(self._hear())
            _pipe(tracer.stderr).read()
        acknowledged = told.read_text().splitlines() if told.exists() else []
        return Died(status, read_trace(log), told, acknowledged)

    def _say(self, line: str) -> None:
        given = _pipe(self._process.stdin)
        given.write(line + "\n")
        given.flush()

    def _hear(self) -> str:
        line = _pipe(self._process.stdout).readline()
        assert line, "the program that forks victims has ended"
        return line


@contextlib.contextmanager
def victims(folder: Path) -> Iterator[Victims]:
    """A program that forks victims, ended afterwards."""
    folder.mkdir(mode=0o700)
    command: Sequence[str] = [sys.executable, "-m", "tests.machine._victim", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Victims(process, folder)
        _pipe(process.stdin).close()


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end
