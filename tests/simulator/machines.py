"""Machines with a home each, the processes that write there, and what each home must hold."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from keledger.journal import Anchor, AppendRefused, Home, HomeError, KeledgerError, Ledger, NewEvent
from keledger.journal._writer import Appended

from .kernel import Kernel
from .model import Acknowledged, Model
from .processes import Computer, Crash, Process

REFUSALS = (AppendRefused, HomeError)
"""Errors that say: nothing was written."""

_Result = TypeVar("_Result")


@dataclass(eq=False)
class Backup:
    """A copy of a machine's home, made while others may have been writing, and what it must hold."""

    folder: Path
    acknowledged: Acknowledged
    merge_cut_off: bool
    blemished: bool
    settled: bool
    """Whether it holds only what was durable: else the original may lose what the copy has, and go on otherwise."""


@dataclass(eq=False)
class Worker:
    """A process that has a ledger open."""

    process: Process
    ledger: Ledger
    taken: list[str] = field(default_factory=list)
    """Ids of events that it appended, or may have."""


@dataclass(eq=False)
class Machine:
    """One machine: a disk, a home on it, processes, backups beside it."""

    name: str
    computer: Computer
    home: Home
    spool: Path
    backups_folder: Path
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    workers: list[Worker] = field(default_factory=list)
    backups: list[Backup] = field(default_factory=list)
    merging: bool = False
    """Whether a merge into this home is under way: another would take its drafts for those of a dead process."""
    merge_cut_off: bool = False
    """Whether a merge into this home did not come to its end: what it brought may name what is not here yet."""
    anchors: list[Anchor] = field(default_factory=list)
    """Taken of this home; each holds as long as it is not set back."""
    appends: int = 0
    """Appends that returned: a check that counts none in between knows that nothing was appended."""

    @property
    def blemished(self) -> bool:
        """Whether ``verify`` may find something in this home, though nobody tampered (``Checks.verified``)."""
        return self.merge_cut_off or bool(self.computer.storage.torn)


class Machines:
    """All machines of a world, and how something is done on one of them."""

    def __init__(self, kernel: Kernel, model: Model, folder: Path) -> None:
        self.kernel, self.model, self.folder = kernel, model, folder
        self.all: list[Machine] = []
        self.started = 0

    def start_worker(self, machine: Machine) -> Worker:
        """A new process that opens the machine's home."""
        self.started += 1
        process = self.kernel.start(f"{machine.name}.{self.started}", machine.computer)
        with self.kernel.running(process):
            ledger = Ledger(machine.home, program="simulator")
        worker = Worker(process, ledger)
        self._watch(worker)
        machine.workers.append(worker)
        return worker

    @contextlib.contextmanager
    def observing(self, machine: Machine) -> Iterator[None]:
        """Look at a machine as a process to which nothing happens."""
        calm, machine.computer.faults.calm = machine.computer.faults.calm, True
        process = self.kernel.start(f"{machine.name}.observer", machine.computer)
        try:
            with self.kernel.running(process):
                yield
        finally:
            if process.alive:
                self.kernel.kill(process)
            machine.computer.faults.calm = calm

    def let(self, worker: Worker, action: Callable[[], _Result]) -> _Result | None:
        """Let a process do something; None where it was killed over it.  Errors of keledger go on to the caller."""
        try:
            with self.kernel.running(worker.process):
                return action()
        except Crash:
            return None
        finally:
            self.bury()

    def bury(self) -> None:
        """Forget the workers that were killed."""
        for machine in self.all:
            machine.workers = [worker for worker in machine.workers if worker.process.alive]

    def back_up(self, machine: Machine) -> None:
        """Copy the home as it stands."""
        folder = machine.backups_folder / str(len(machine.backups))
        shutil.copytree(machine.home.path, folder, ignore=shutil.ignore_patterns("projections", "lock"))
        settled = machine.computer.storage.is_settled(str(machine.home.journal))
        machine.backups.append(
            Backup(folder, machine.acknowledged.copy(), machine.merge_cut_off, machine.blemished, settled)
        )

    def restore(self, machine: Machine, backup: Backup) -> None:
        """Put a backup in the place of a machine's home, with nobody running: what came since is gone."""
        for worker in machine.workers:
            self.kernel.kill(worker.process)
        self.bury()
        shutil.rmtree(machine.home.path, ignore_errors=True)
        shutil.copytree(backup.folder, machine.home.path)
        machine.home.path.chmod(0o700)
        machine.computer.storage.take_as_durable()
        machine.anchors.clear()
        machine.acknowledged, machine.merge_cut_off = backup.acknowledged.copy(), backup.merge_cut_off
        machine.acknowledged.calls_kept = {path.stem for path in machine.spool.glob("*.json")}

    def _watch(self, worker: Worker) -> None:
        """Tell the model of every event that the ledger tries to append, those that it makes by itself included."""
        appender = worker.ledger._appender
        appending = False

        def watched(append: Callable[[Sequence[NewEvent]], list[Appended]]) -> Callable[..., list[Appended]]:
            def tell(events: Sequence[NewEvent]) -> list[Appended]:
                nonlocal appending
                if appending:  # one of the two calls the other
                    return append(events)
                appending = True
                self.model.try_(events)
                ids = [event.id for event in events]
                worker.taken += ids
                try:
                    return append(events)
                except REFUSALS:
                    self.model.refuse(events)
                    del worker.taken[-len(ids) :]
                    raise
                finally:
                    appending = False

            return tell

        appender.append = watched(appender.append)  # type: ignore[method-assign]
        appender.append_locked = watched(appender.append_locked)  # type: ignore[method-assign]


def told(action: Callable[[], _Result]) -> _Result | KeledgerError:
    """What an action returns, or the error that keledger raised."""
    try:
        return action()
    except KeledgerError as error:
        return error
