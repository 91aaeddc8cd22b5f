"""A terminal of a command's own, with somebody at it; the command's stdin, stdout and stderr are elsewhere."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from types import TracebackType

from .support import WAIT_S, Stage, end

QUESTION = "keledger: make this call? [y/N] "


class Terminal:
    """The controlling terminal of what is started at it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._master, self._slave = pty.openpty()
        self.shown = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, of: TracebackType | None) -> None:
        self.close()

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command whose session this terminal is of."""
        name = os.ttyname(self._slave)

        def take_terminal() -> None:
            descriptor = os.open(name, os.O_RDWR)
            fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
            os.close(descriptor)

        return self._stage.start(command, preexec_fn=take_terminal)

    def run(self, command: list[str], *answers: str) -> tuple[int, str, str]:
        """Run a command to its end, and answer each question in turn: its status, stdout and stderr."""
        running = self.start(command)
        for number, answer in enumerate(answers, start=1):
            self.wait_for_questions(number)
            self.type(answer)
        return end(running)

    def wait_for_questions(self, number: int) -> None:
        """Wait until so many questions have been asked."""
        deadline = time.monotonic() + WAIT_S
        while self.shown.count(QUESTION) < number:
            assert time.monotonic() < deadline, f"nothing was asked: {self.shown!r}"
            self.look()

    def look(self, wait_s: float = 0.05) -> str:
        """All that was shown until now."""
        while select.select([self._master], (), (), wait_s)[0]:
            self.shown += os.read(self._master, 65536).decode()
        return self.shown

    def type(self, text: str) -> None:
        """Type something; the control characters do what they do at a terminal."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        """Hang up."""
        for name in ("_master", "_slave"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
            setattr(self, name, -1)
