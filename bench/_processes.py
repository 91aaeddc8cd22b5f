"""Whole processes, measured: how long from start to end, and how much memory at most."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

PARTS = Path(__file__).parent / "parts"
"""Programs that a row runs in processes of their own.  They print one JSON object."""

PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended well."""

    wall_s: float
    output: bytes


class ProcessFailed(Exception):
    """A process that a row depends on did not end with status 0."""


def keledger(*arguments: str) -> list[str]:
    """The command line of keledger as a user starts it: its script, else the module."""
    script = Path(PYTHON).with_name("keledger")
    return [*([str(script)] if script.exists() else [PYTHON, "-m", "keledger"]), *arguments]


def part(name: str, *arguments: object) -> list[str]:
    """The command line of one of the programs in ``parts``."""
    return [PYTHON, str(PARTS / f"{name}.py"), *map(str, arguments)]


def answer_of(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a program of ``parts`` and return the object that it printed."""
    answer: dict[str, Any] = orjson.loads(run(command, environment).output)
    return answer


def run(
    command: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None, terminal: bool = False
) -> Ended:
    """Run a command to its end, its stdout read through a pipe, or through a terminal of 200 columns.

    Raises ProcessFailed with what it wrote to stderr.
    """
    with tempfile.TemporaryFile() as errors:
        reading, writing = pty.openpty() if terminal else os.pipe()
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=writing, stderr=errors
        )
        os.close(writing)
        output = _read_all(reading)
        status = process.wait()
        wall_s = time.perf_counter() - begun
        os.close(reading)
        if status != 0:
            errors.seek(0)
            told = errors.read().decode(errors="replace").strip()
            raise ProcessFailed(f"{' '.join(command)} ended with status {status}: {told[-2000:]}")
        return Ended(wall_s, output)


def _read_all(descriptor: int) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            got = os.read(descriptor, 1 << 16)
        except OSError:  # a terminal tells its end by EIO
            got = b""
        if not got:
            return b"".join(parts)
        parts.append(got)
