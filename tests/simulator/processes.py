"""Machines and their processes: who runs, who has died, and what happens to a process before a system call.

A killed process is an exception that no handler may stop: :class:`Crash` comes out of the call, and again out of every
later one, so that no cleanup code of a dead process touches the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from .faults import Fault, Faults
from .storage import Node, Storage
from .turns import Turns

TRACE_LENGTH = 120

_CHANGES = frozenset(["write", "mkdir", "link", "replace", "unlink", "chmod", "rmtree"])
"""What a read-only filesystem refuses; of ``open`` it refuses what would create or write."""


class Crash(BaseException):
    """The process was killed, or its machine lost power."""


class Violation(AssertionError):
    """A promise is broken."""


@dataclass(eq=False)
class Computer:
    """What the kernel must know of a machine: its disk, its name for itself, whether there is room."""

    storage: Storage
    identity: str
    environment: dict[str, str]
    faults: Faults
    full: bool = False
    """Whether the disk has no room."""
    starts: int = 1
    """How often it was switched on."""


@dataclass(eq=False)
class Process:
    """One process: alive or not, and what it holds open."""

    name: str
    computer: Computer
    alive: bool = True
    descriptors: set[int] = field(default_factory=set)
    spared: bool = False
    """Whether it met a failed sync under the lock that it holds (see :meth:`Processes._enter`)."""
    said: str = ""
    """What it wrote to stderr."""


class Processes:
    """The processes of all machines of a world; one of them is running at a time."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.current: Process | None = None
        self.pause: Callable[[str], None] = lambda call: None
        """Called before a system call: others may run meanwhile."""
        self.turns = Turns[Process](chance)
        self.patient = False
        """Whether everybody who waits for a lock waits until it is free."""
        self.trace: deque[tuple[object, ...]] = deque(maxlen=TRACE_LENGTH)
        self.calls = self.faults = self.kills = self.power_cuts = 0
        self._open: dict[int, Node] = {}
        self._processes: list[Process] = []
        self._storages: list[Storage] = []

    def start(self, name: str, computer: Computer) -> Process:
        """A new process on a machine."""
        process = Process(name, computer)
        if computer.storage not in self._storages:
            self._storages.append(computer.storage)
        self._processes.append(process)
        return process

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Let a process run; who ran before goes on afterwards."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    def kill(self, process: Process) -> None:
        """End a process: its descriptors are closed, its locks are free."""
        process.alive = False
        self._processes.remove(process)
        for descriptor in process.descriptors:
            os.close(descriptor)
            del self._open[descriptor]
        process.descriptors.clear()
        self.turns.wake()

    def end(self) -> None:
        """End all processes."""
        with contextlib.suppress(OSError):  # of a world that a promise was broken in, anything may be left
            for process in list(self._processes):
                self.kill(process)

    def cut_power(self, computer: Computer) -> None:
        """End all processes of a machine, and forget what its disk need not remember."""
        for process in [process for process in self._processes if process.computer is computer]:
            self.kill(process)
        self.power_cuts += 1
        computer.starts += 1
        computer.storage.cut_power(self.chance)

    def _enter(self, call: str, about: object = "") -> Fault | None:
        """Count a system call, and say what is to go wrong with it.  Raises Crash, or OSError where it just fails.

        Nothing more befalls a process between a failed sync and its next letting go of the lock, but the loss of power:
        if it were killed there, or met a second failure, a successor could not know of the first, which the kernel
        tells only once, and would append behind bytes that are not on the disk.  Nobody who appends to files that
        others began survives that together with a power cut; so it is not drawn.
        """
        if self.current is None:
            raise LookupError(f"{call} by nobody: the simulator must say which process runs")
        process = self._let_others()
        self.calls += 1
        faults = process.computer.faults
        fault = faults.draw(call) if self.chance.random() < faults.rate else None
        self.trace.append((process.name, call, about, f"  <- {fault}" if fault else ""))
        if call == "unlock":
            process.spared = False
        if process.computer.storage.read_only and call in _CHANGES:
            raise failing(errno.EROFS, about)
        if fault is None or (process.spared and fault.kind != "power"):
            return None
        if fault.kind == "pause":
            self.pause(call)
            if not process.alive:
                raise Crash
            return None
        self.faults += 1
        if fault.kind == "kill":
            self.kills += 1
            if call != "write":  # a write can be cut in the middle
                self.kill(process)
                raise Crash
        elif fault.kind == "power":
            self.cut_power(process.computer)
            raise Crash
        elif fault.kind == "errno" and call not in ("access", "close", "fsync", "fdatasync"):
            raise failing(fault.code, about)
        return fault

    def _let_others(self) -> Process:
        """Let others of a crowd go on first.  Returns the running process; raises Crash where it is dead by then."""
        process = self.current
        assert process is not None
        if process.alive:
            try:
                self.turns.pass_on(process)
            finally:
                self.current = process
        if not process.alive:
            raise Crash
        return process


def failing(code: int, about: object) -> OSError:
    """What a failing call raises."""
    return OSError(code, os.strerror(code), str(about))
