"""What processes do: record, note, void, merge, and send again what did not surely arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keledger.journal import (
    Anchor,
    AppendUnknown,
    JournalDamaged,
    KeledgerError,
    Merged,
    MergeRefused,
    NewEvent,
    NotFound,
    anchor,
    scan_journal,
)
from keledger.journal._identity import id_of_key, new_id

from .kernel import Kernel
from .machines import REFUSALS, Machine, Machines, Worker, told
from .model import Model
from .prices import MODELS
from .processes import Violation


@dataclass(frozen=True, slots=True)
class Unsure:
    """Something that was sent and did not surely arrive; it may be sent again at any time, by anybody."""

    events: Sequence[NewEvent] = ()
    fields: dict[str, Any] | None = None


class Actions:
    """Draws and does what the processes of a world do, and keeps the model's books about it."""

    def __init__(self, kernel: Kernel, machines: Machines, model: Model) -> None:
        self.kernel, self.machines, self.model = kernel, machines, model
        self.chance = kernel.chance
        self.unsure: list[Unsure] = []
        self.keys = self.merges = 0
        self.forked = False
        """Whether copies of one writer may have gone two ways, so that a merge may refuse.

        So it is when a home was set back to a backup, and when a backup was merged that had been made between a write
        and its sync (the home itself may lose that line).
        """

    def note(self, machine: Machine, worker: Worker) -> None:
        """Append events of a type that this release does not know, up to several segments of them."""
        with self.kernel.running(worker.process):
            events = [
                NewEvent.of("test.noted", new_id(), {"text": "x" * self.chance.choice([0, 10, 300, 3000, 9000])})
                for _ in range(self.chance.choice([1, 1, 1, 2, 5]))
            ]
        self._append(machine, worker, Unsure(events=events))

    def record(self, machine: Machine, worker: Worker) -> None:
        """Record a call under a key, so that it can be sent again."""
        self.keys += 1
        provider, model = self.chance.choice(MODELS)
        usage = {"input_uncached": self.chance.randrange(10**6), "output_text": self.chance.randrange(10**4)}
        fields: dict[str, Any] = {"id": f"key {self.keys}", "provider": provider, "model": model, "usage": usage}
        if self.chance.random() < 0.1:
            fields["reported_cost_usd"] = "0.25"
        self._record(machine, worker, Unsure(fields=fields))

    def send_again(self, machine: Machine, worker: Worker) -> None:
        """Send what did not surely arrive, or what did, under its id."""
        if self.unsure:
            chosen = self.chance.choice(self.unsure)
            (self._append if chosen.fields is None else self._record)(machine, worker, chosen)

    def contradict(self, machine: Machine, worker: Worker) -> None:
        """Record another call under a key that was given before."""
        if self.keys:
            key = f"key {self.chance.randint(1, self.keys)}"
            self.model.conflicting.add(id_of_key("record", key))
            fields = {"id": key, "provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": self.keys}}
            self._record(machine, worker, Unsure(fields=fields))

    def call(self, machine: Machine, worker: Worker) -> None:
        """Make a call with the library: a fault of the journal never comes out of it [10]."""
        ledger, before = worker.ledger, len(worker.process.said)

        def make() -> Any:
            with ledger.call(provider="openai", model="gpt-5-mini", session="s1") as call:
                if self.chance.random() < 0.8:
                    call.complete({"usage": {"prompt_tokens": 1000, "completion_tokens": 20}})
            return call

        made = self.machines.let(worker, make)
        if made is None:
            return
        if made.recorded.journaled:
            self._acknowledge(machine, [made.id])
        elif made.id in worker.process.said[before:]:
            return  # whole, for somebody to keep; a file that was made of it may be lost
        elif (machine.spool / f"{made.id}.json").exists() or self.model.known(made.id).possible:
            machine.acknowledged.calls_kept.add(made.id)  # or somebody has brought it in already
        else:
            raise Violation(f"call {made.id} is neither journaled nor spooled nor told: {made.recorded.problem}")

    def void(self, machine: Machine, worker: Worker) -> None:
        """Void a call, or take that back."""
        calls = [event_id for event_id in sorted(machine.acknowledged.ids) if self.model.is_call(event_id)]
        if not calls:
            return
        call_id, ledger = self.chance.choice(calls), worker.ledger
        action = ledger.void if self.chance.random() < 0.7 else ledger.revert_void
        done = self.machines.let(worker, lambda: told(lambda: action(call_id, "a test")))
        if isinstance(done, str):
            self._acknowledge(machine, [done])
        elif done is not None:
            self._hold_error(done)

    def bring_in(self, machine: Machine, worker: Worker) -> None:
        """Bring in what waits in the spool."""
        self.machines.let(worker, worker.ledger.bring_in_spooled)

    def merge(self, machine: Machine, worker: Worker) -> None:
        """Merge another machine's home, or a backup of any, into this one."""
        others = [other for other in self.machines.all if other is not machine and other.home.journal.exists()]
        if not others:
            return
        other = self.chance.choice(others)
        if other.backups and self.chance.random() < 0.4:
            backup = self.chance.choice(other.backups)
            self.forked = self.forked or not backup.settled
            self.merge_from(machine, worker, backup.folder, backup.acknowledged.ids, backup.blemished)
        else:
            self.merge_from(machine, worker, other.home.path, other.acknowledged.ids, other.blemished)

    def anchor(self, machine: Machine, worker: Worker) -> None:
        """Take an anchor, which must hold from now on [7]."""
        done = self.machines.let(worker, lambda: told(lambda: anchor(machine.home)))
        if isinstance(done, Anchor):
            machine.anchors.append(done)
        elif done is not None and not isinstance(done, NotFound):
            self._hold_error(done)

    def merge_from(
        self, machine: Machine, worker: Worker, folder: Path, acknowledged: set[str], blemished: bool
    ) -> None:
        """Merge the home in *folder*, which must hold *acknowledged*, and hold this one to it.

        *blemished* tells that ``verify`` may find something in that home, so that it is not merged.
        """
        if machine.merging or not (folder / "journal").is_dir():
            return
        wanted, before = set(acknowledged), machine.merge_cut_off
        machine.merging = machine.merge_cut_off = True
        try:
            done = self.machines.let(worker, lambda: told(lambda: worker.ledger.merge(folder)))
        finally:
            machine.merging = False
        if isinstance(done, Merged):
            machine.merge_cut_off = before
            self.merges += 1
            self._acknowledge(machine, wanted)
        elif isinstance(done, MergeRefused):
            with self.machines.observing(machine):
                passing = "changed while" in str(done) or "try again" in str(done)
                known = passing or self.forked or _ends_torn(machine, str(done))
            if not known:
                raise Violation(f"a merge is refused, though no copy went another way: {done}")
        elif done is not None and not (blemished and isinstance(done, JournalDamaged)):
            self._hold_error(done)

    def _append(self, machine: Machine, worker: Worker, sent: Unsure) -> None:
        events = sent.events
        self._send(machine, worker, sent, [event.id for event in events], lambda: worker.ledger.append_events(events))

    def _record(self, machine: Machine, worker: Worker, sent: Unsure) -> None:
        fields = sent.fields or {}
        event_id = id_of_key("record", fields["id"])
        self._send(machine, worker, sent, [event_id], lambda: worker.ledger.record(**fields))

    def _send(
        self, machine: Machine, worker: Worker, sent: Unsure, ids: Sequence[str], action: Callable[[], object]
    ) -> None:
        """Do an append, and hold it to its three outcomes [3]."""
        before = len(worker.taken)
        done = self.machines.let(worker, lambda: (told(action),))
        if done is not None and not isinstance(done[0], KeledgerError):
            self._acknowledge(machine, ids)
            if self.chance.random() < 0.1:
                self.unsure.append(sent)
            return
        self.unsure.append(sent)
        if done is not None and isinstance(done[0], KeledgerError):
            self._hold_error(done[0])
            if isinstance(done[0], REFUSALS) and not set(worker.taken[before:]).isdisjoint(ids):
                raise Violation(f"an append is refused, though it may have been made: {done[0]}")

    def _hold_error(self, error: KeledgerError) -> None:
        if not isinstance(error, (*REFUSALS, AppendUnknown)):
            raise Violation(f"a fault of the disk is told as {type(error).__name__}: {error}")

    def _acknowledge(self, machine: Machine, ids: Sequence[str] | set[str]) -> None:
        machine.acknowledged.ids.update(ids)
        machine.appends += 1


def _ends_torn(machine: Machine, refusal: str) -> bool:
    """Whether a merge was refused for a file that an earlier one, cut off by a fault, has left with a torn end.

    Bytes of a journal are never overwritten, so such a copy stays as it is.
    """
    torn = [finding.path for finding in scan_journal(machine.home).findings if finding.kind == "tail_torn"]
    return any(refusal.startswith(path) for path in torn)
