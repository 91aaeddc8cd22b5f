"""A world: some machines, what they live through, step by step, and in the end peace.  The seed decides everything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from keledger.journal import Home

from .actions import Actions
from .checks import Checks
from .faults import Faults
from .kernel import Kernel
from .machines import Machine, Machines, Worker
from .model import Model
from .nature import Clock, simulated
from .prices import write_small_book
from .processes import Computer, Violation
from .storage import Storage

STEPS = 60
"""Of a world, unless told otherwise.  Several short lives find more than a long one, for each has its own weather."""

_CROWD_MAX = 4
"""So many processes live at the same time, at most."""

_DEPTH_MAX = 2
"""How deep others may run inside of a system call of others."""

Step = Callable[[Machine], None]


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened in a world."""

    steps: int
    system_calls: int
    faults: int
    kills: int
    power_cuts: int
    lock_waits: int
    merges: int
    events_read: int
    projections: int


class World:
    """Machines in a folder of their own, and everything that happens to them."""

    def __init__(self, seed: int, folder: Path, *, project: bool = False) -> None:
        self.seed, self.folder, self.project = seed, folder, project
        self.chance = Random(seed)
        self.kernel = Kernel(self.chance, folder)
        self.kernel.pause = self._meanwhile
        self.clock = Clock()
        self.model = Model()
        self.machines = Machines(self.kernel, self.model, folder)
        self.actions = Actions(self.kernel, self.machines, self.model)
        self.checks = Checks(self.model)
        self.steps = 0
        self._depth = 0
        self._clock_jumped = False
        self._steps = self._draw_steps()

    def live(self, steps: int = STEPS) -> None:
        """Live through all of it.  Raises Violation, or what the product raises and should not."""
        book = self.folder / "shipped"
        write_small_book(book)
        with simulated(
            self.kernel,
            self.clock,
            book,
            segment_bytes_max=self.chance.choice([4_000, 10_000, 40_000, 64 * 1024 * 1024]),
            cache_at_once=self.chance.random() < 0.3,
        ):
            for number in range(self.chance.choice([1, 2, 2, 3])):
                self._add_machine(f"machine-{number}")
            for _ in range(steps):
                self._step()
            for machine in self.machines.all:
                self._make_peace(machine)
            self._end_as_one()
            for machine in self.machines.all:
                self._tamper(machine)

    def counts(self) -> Counts:
        """What has happened so far."""
        kernel = self.kernel
        return Counts(
            self.steps,
            kernel.calls,
            kernel.faults,
            kernel.kills,
            kernel.power_cuts,
            kernel.turns.waits,
            self.actions.merges,
            self.checks.events_read,
            self.checks.projections,
        )

    def trace(self) -> tuple[str, ...]:
        """The last steps and system calls, paths without the world's folder."""
        return tuple(" ".join(map(str, entry)).replace(str(self.folder), "").rstrip() for entry in self.kernel.trace)

    def close(self) -> None:
        """Close what the processes of the world hold open."""
        self.kernel.end()

    # Machines

    def _add_machine(self, name: str, *, calm: bool = False) -> Machine:
        root = self.folder / name / "disk"
        root.mkdir(parents=True, mode=0o700)
        backups = self.folder / name / "backups"
        backups.mkdir()
        faults = Faults(self.chance)
        faults.calm = calm
        computer = Computer(
            Storage(root), identity=f"{name} " * 3, environment={"XDG_STATE_HOME": str(root / "state")}, faults=faults
        )
        home = Home.at(root / "home")
        process = self.kernel.start(name, computer)
        with self.kernel.running(process):
            spool = home.spool
        self.kernel.kill(process)
        machine = Machine(name, computer, home, spool, backups)
        self.machines.all.append(machine)
        return machine

    # Steps

    def _draw_steps(self) -> list[tuple[Step, int]]:
        """What may happen, and how often.  Each world does without some of it, so that the rest meets more often."""
        often: list[tuple[Step, int]] = [
            (self._act, 60),
            (self._crowd, self.chance.choice([0, 5, 20])),
            (self._look, 8),
            (self._check, 5),
            (self._start, 3),
            (self._stop, 3),
            (self._kill, 3),
            (self._cut_power, 3),
            (self._fill_or_empty, 3),
            (self._back_up, 2),
            (self._restore, 1),
            (self._rename_machine, 1),
            (self._jump_in_time, 2),
            (self._drop_caches, 1),
        ]
        return [(step, weight) for step, weight in often if weight > 4 or self.chance.random() < 0.6]

    def _step(self) -> None:
        self.steps += 1
        machine = self.chance.choice(self.machines.all)
        step = self.chance.choices([step for step, _ in self._steps], [weight for _, weight in self._steps])[0]
        self.kernel.trace.append(("--", f"step {self.steps}:", step.__name__.strip("_"), "on", machine.name))
        step(machine)

    def _act(self, machine: Machine) -> None:
        """A process does something; one is started where there is none."""
        if not machine.workers:
            self._start(machine)
        self._act_with(machine, self.chance.choice(machine.workers))

    def _act_with(self, machine: Machine, worker: Worker) -> None:
        actions = self.actions
        chosen = self.chance.choices(
            [
                actions.note,
                actions.record,
                actions.send_again,
                actions.call,
                actions.void,
                actions.merge,
                actions.anchor,
                actions.contradict,
                actions.bring_in,
            ],
            [20, 12, 12, 8, 2, 5, 2, 1, 1],
        )[0]
        self.kernel.trace.append(("--", worker.process.name, chosen.__name__))
        chosen(machine, worker)

    def _crowd(self, machine: Machine) -> None:
        """Several processes do things at the same time, each going on by a system call when its turn comes."""
        for _ in range(self.chance.randint(2, _CROWD_MAX) - len(machine.workers)):
            self.machines.start_worker(machine)

        def live(worker: Worker) -> None:
            for _ in range(self.chance.randint(1, 4)):
                if worker.process.alive:
                    self._act_with(machine, worker)

        self.kernel.turns.run({worker.process: partial(live, worker) for worker in machine.workers})

    def _meanwhile(self, call: str) -> None:
        """Before a system call of one process others run: readers, other processes, somebody who makes a copy.

        In a crowd the other processes run anyway.
        """
        process = self.kernel.current
        if self._depth >= _DEPTH_MAX or process is None:
            return
        machine = next(machine for machine in self.machines.all if machine.computer is process.computer)
        self._depth += 1
        try:
            others = [worker for worker in machine.workers if worker.process is not process]
            happening = self.chance.choice(["look", "look", "act", "act", "act", "copy"])
            if happening == "look":
                self._look(machine)
            elif happening == "copy" and self.chance.random() < 0.3:
                self._back_up(machine)
            elif others and not self.kernel.turns.takes_part(process):
                self._act_with(machine, self.chance.choice(others))
        finally:
            self._depth -= 1

    def _look(self, machine: Machine) -> None:
        with self.machines.observing(machine):
            self.checks.read(machine)

    def _check(self, machine: Machine) -> None:
        with self.machines.observing(machine):
            self.checks.read(machine)
            self.checks.caught_up(machine)
            self.checks.verified(machine, just_appended=False)
            self.checks.untouched(machine.computer.storage)

    def _start(self, machine: Machine) -> None:
        if len(machine.workers) < 3:
            self.machines.start_worker(machine)

    def _stop(self, machine: Machine) -> None:
        if machine.workers:
            worker = self.chance.choice(machine.workers)
            self.machines.let(worker, worker.ledger.close)
            self._end(worker)

    def _kill(self, machine: Machine) -> None:
        if machine.workers:
            self._end(self.chance.choice(machine.workers))

    def _end(self, worker: Worker) -> None:
        if worker.process.alive:
            self.kernel.kill(worker.process)
        self.machines.bury()

    def _cut_power(self, machine: Machine) -> None:
        self.kernel.cut_power(machine.computer)
        self.machines.bury()
        self._look(machine)

    def _fill_or_empty(self, machine: Machine) -> None:
        """The disk has no room, or has some again."""
        machine.computer.full = not machine.computer.full and self.chance.random() < 0.7

    def _back_up(self, machine: Machine) -> None:
        if machine.home.path.exists() and len(machine.backups) < 3:
            self.machines.back_up(machine)

    def _restore(self, machine: Machine) -> None:
        """Set a home back to a backup: what came since is gone, and its writer goes on from there."""
        if machine.backups:
            self.actions.forked = True
            self.machines.restore(machine, self.chance.choice(machine.backups))

    def _rename_machine(self, machine: Machine) -> None:
        """The machine gets another id, as a cloned one does: its home goes on with a new writer."""
        for worker in list(machine.workers):
            self._end(worker)
        machine.computer.identity = f"{machine.name} {self.chance.random()}"

    def _jump_in_time(self, machine: Machine) -> None:
        self._clock_jumped = True
        self.clock.now_ns += self.chance.choice([-1, 1]) * self.chance.choice([1, 3600, 86_400, 400 * 86_400]) * 10**9
        self.clock.step_ns = self.chance.choice([0, 1000, 1_000_000, 10**9])

    def _drop_caches(self, machine: Machine) -> None:
        """What may be deleted at any moment is deleted, in nobody's midst."""
        for name in ("guard", "projections"):
            shutil.rmtree(machine.home.path / name, ignore_errors=True)

    # The end

    def _make_peace(self, machine: Machine) -> None:
        """Nothing goes wrong any more: everybody can append at once, and nothing that must be there is missing."""
        self.kernel.trace.append(("--", "peace on", machine.name))
        machine.computer.faults.calm, machine.computer.full = True, False
        if machine.computer.storage.read_only or self.chance.random() < 0.3:
            self._cut_power(machine)
        self._look(machine)
        self._start(machine)
        for worker in machine.workers:
            before = machine.appends
            self.actions.note(machine, worker)
            if machine.appends == before:
                raise Violation(f"{machine.name} cannot append any more, though nothing is wrong with its disk")
        worker = self.machines.start_worker(machine)
        self.actions.record(machine, worker)
        self._append_at_once(machine)
        machine.acknowledged.ids |= machine.acknowledged.calls_kept
        with self.machines.observing(machine):
            self.checks.read(machine)
            self.checks.caught_up(machine)
            self.checks.verified(machine, just_appended=True)
            self.checks.untouched(machine.computer.storage)
            if not self._clock_jumped:
                for run in {worker.ledger.run for worker in machine.workers}:
                    self.checks.totals(machine, run)
        if self.project:
            with self.machines.observing(machine):
                self.checks.projected(machine.home)

    def _append_at_once(self, machine: Machine) -> None:
        """Everybody who waits for the lock gets it, and can append."""
        before = machine.appends
        self.kernel.patient = True
        try:
            self.kernel.turns.run({one.process: partial(self.actions.note, machine, one) for one in machine.workers})
        finally:
            self.kernel.patient = False
        if machine.appends != before + len(machine.workers):
            raise Violation(f"of {len(machine.workers)} processes some cannot append at once on {machine.name}")

    def _end_as_one(self) -> None:
        """All homes merged into new ones, in different orders, are one and the same [8]."""
        homes = list(self.machines.all)
        if self.actions.forked or len(homes) < 2:
            return
        folds = []
        for name, order in (("left", homes), ("right", homes[::-1])):
            machine = self._add_machine(name, calm=True)
            worker = self.machines.start_worker(machine)
            for other in order:
                self.actions.merge_from(machine, worker, other.home.path, other.acknowledged.ids, other.blemished)
            with self.machines.observing(machine):
                self.checks.read(machine)
                folds.append(self.checks.fold(machine.home))
                if self.project:
                    self.checks.projected(machine.home)
        if folds[0] != folds[1] and not self.actions.forked:
            raise Violation("merged in another order the homes count something else")

    def _tamper(self, machine: Machine) -> None:
        """Somebody changes a journal; it shows, and costs no more when the home goes on."""
        with self.machines.observing(machine):
            before = self.checks.tampered(machine, self.chance)
        self.actions.note(machine, self.machines.start_worker(machine))
        with self.machines.observing(machine):
            self.checks.still_there(machine, before)
