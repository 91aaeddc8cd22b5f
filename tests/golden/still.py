"""A machine on which nothing is left to chance: its clock, its ids and its names follow from a seed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from itertools import count
from unittest.mock import patch

from keledger.journal import _attributes, _identity, _time
from keledger.journal.budgets import _holders

STEP_US = 1_234_567

PROCESS = {"boot_id": "8d5ffeb0-1c7e-4f0e-9d1e-0d3f5f6a7b8c", "pid": 4711, "started_ticks": 123_456}
"""The process that holds are of, as their events name it."""


class Machine:
    """The clock and the source of randomness; patched over those of the journal while it is entered."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._drawn = count(1)
        self.clock_us = 0

    def set(self, instant: str) -> None:
        """Put the clock on."""
        instant_us = _time.parse_time(instant)
        assert instant_us > self.clock_us, f"{instant} is over"
        self.clock_us = instant_us

    def now_us(self) -> int:
        """The time, which goes on whenever it is asked for."""
        self.clock_us += STEP_US
        return self.clock_us

    def urandom(self, size: int) -> bytes:
        """Bytes that follow from the name and how often it was asked."""
        return hashlib.sha256(f"{self._name} {next(self._drawn)}".encode()).digest()[:size]

    def new_id(self) -> str:
        """A UUID of version 7."""
        text = ((self.clock_us // 1000).to_bytes(6, "big") + self.urandom(10)).hex()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let all of keledger that is imported see nothing but this machine."""
        replaced = {"now_us": (_time.now_us, self.now_us), "new_id": (_identity.new_id, self.new_id)}
        with contextlib.ExitStack() as stack:
            for module in [found for name, found in sys.modules.items() if name.startswith("keledger.journal")]:
                for name, (real, made) in replaced.items():
                    if module.__dict__.get(name) is real:
                        stack.enter_context(patch.object(module, name, made))
            stack.enter_context(patch.dict(os.environ))
            for name in [name for name in os.environ if name.startswith("KELEDGER_")]:
                del os.environ[name]
            stack.enter_context(patch.object(os, "urandom", self.urandom))
            stack.enter_context(patch.object(socket, "gethostname", lambda: "golden-host"))
            stack.enter_context(patch.object(_attributes, "os_user", lambda: "ada"))
            stack.enter_context(patch.object(_holders, "this_process", lambda: dict(PROCESS)))
            yield
