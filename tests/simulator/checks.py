"""The promises, as assertions on what stands on a machine's disk.

A number in brackets is that of a promise in ``docs/promises.md``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

import orjson

from keledger.journal import Finding, Home, Scan, scan_journal, tail_totals, usd_to_pico, verify
from keledger.journal._segment import read_head
from keledger.projections import digest, open_projection, rebuild
from keledger.projections._build import read_on, read_up_to
from keledger.projections._cache import Manifest
from tests.projections.support import Expected, expected, hold_to

from .machines import Machine
from .model import Model
from .processes import Violation
from .storage import FileNode, FolderNode, Storage

ANCHORS_HELD = 5
"""Of a home, the newest ones: one names every line that stood before it."""


class Line(NamedTuple):
    """One event as it was read."""

    writer: str
    seq: int
    id: str
    type: str
    data: bytes


def lines_of(scan: Scan) -> Iterator[Line]:
    """The events that a pass over the journal found."""
    for chunk in scan.chunks:
        for line in chunk.lines():
            event = orjson.loads(line)
            data = line[line.index(b',"data":') + 8 : -76]
            yield Line(chunk.writer, event["seq"], event["id"], event["type"], data)


@dataclass
class Follower:
    """A reader that remembers how far it was and takes in what is new, as a projection does, without DuckDB."""

    manifest: Manifest | None = None
    lines: list[Line] = field(default_factory=list)

    def catch_up(self, home: Home) -> None:
        """Read on; from the beginning where what was read does not stand any more."""
        reading = read_on(home, self.manifest)
        if reading.manifest is None:
            self.lines.clear()
        self.lines += lines_of(reading.scan)
        self.manifest = read_up_to(reading)


class Checks:
    """Holds machines to the promises."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.events_read = self.projections = 0
        self._followers: dict[Machine, Follower] = {}

    def read(self, machine: Machine) -> set[str]:
        """What any reader sees at any moment, also in the middle of an append [1, 2, 3].  Returns the ids."""
        scan = scan_journal(machine.home)
        found = set()
        for line in lines_of(scan):
            if line.type != "segment.opened":
                self.model.hold(line.id, line.type, line.data, str(machine.home.journal / line.writer))
            found.add(line.id)
        self.events_read += len(found)
        machine.acknowledged.hold(found, str(machine.home.journal))
        for finding in scan.findings:
            if finding.damage and finding.kind != "tail_torn" and not _lost_unacknowledged(machine, finding):
                raise Violation(f"a reader is told of damage that nobody did: {finding.message}")
        return found

    def caught_up(self, machine: Machine) -> None:
        """Reading on and reading from the beginning see the same [8]."""
        follower = self._followers.setdefault(machine, Follower())
        follower.catch_up(machine.home)
        wanted = sorted(lines_of(scan_journal(machine.home)))
        if sorted(follower.lines) != wanted:
            raise Violation(f"catching up on {machine.home.path} saw {len(follower.lines)} lines, not {len(wanted)}")

    def untouched(self, storage: Storage) -> None:
        """No byte of the journal or of a price file changed but by the appends that the disk saw [5]."""
        for name in ("journal", "prices"):
            node = storage.find(f"{storage.root}/home/{name}")
            if isinstance(node, FolderNode):
                _hold_content(node, storage.root / "home" / name)

    def verified(self, machine: Machine, *, just_appended: bool) -> None:
        """``verify`` finds no damage where nobody tampered [6].

        A torn tail may be told of a writer's newest segment that has a first line.  Of the home's present writer it may
        not be told once an append has returned after the last fault, for that append has sealed it off.  Where a merge
        into the home was cut off, writers and lines may be missing that those merged so far name.  And lines that were
        not acknowledged may be gone: see :func:`_lost_unacknowledged`.
        """
        for finding in verify(machine.home, anchors=machine.anchors[-ANCHORS_HELD:]).findings:
            if not finding.damage:
                continue
            if finding.kind == "tail_torn":
                path = Path(finding.path)
                if any(read_head(above) for above in machine.home.segments(path.parent.name) if above > path):
                    raise Violation(f"a tail is told of a segment that a later one seals: {finding.message}")
                if not (just_appended and path.parent.name == _present_writer(machine.home)):
                    continue
            if finding.kind == "conflict" and any(name in finding.message for name in self.model.conflicting):
                continue
            if finding.kind in ("writer_missing", "end_missing") and machine.merge_cut_off:
                continue
            if _lost_unacknowledged(machine, finding) or _named_in_doubt(machine, finding):
                continue
            raise Violation(f"verify finds damage that nobody did: {finding.kind}: {finding.message}")

    def totals(self, machine: Machine, run: str) -> None:
        """The quick totals of a run count each call once, to the picodollar [4]."""
        counted = [call for call in self.fold(machine.home).counted.values() if call.get("run") == run]
        found, _ = tail_totals(machine.home, run=run)
        wanted = (len(counted), sum(usd_to_pico(call["cost"].get("total_usd", "0")) for call in counted))
        if (found.calls, found.cost_pico) != wanted:
            raise Violation(f"the totals of run {run} are {found.calls}, {found.cost_pico} pico; not {wanted}")

    def fold(self, home: Home) -> Expected:
        """Which calls count, and that all of them were tried."""
        found = expected(home)
        strange = [call_id for call_id in found.counted if call_id not in self.model.events]
        if strange:
            raise Violation(f"{home.path} counts {strange[0]}, which nobody recorded")
        return found

    def projected(self, home: Home) -> None:
        """DuckDB counts what the fold counts; catching up, a new cache and a rebuild have one digest [4, 8]."""
        self.projections += 1
        wanted = self.fold(home)
        hold_to(home, wanted)
        caught_up = _digest(home)
        shutil.rmtree(home.projections, ignore_errors=True)
        anew = _digest(home)
        rebuild(home)
        if not caught_up == anew == _digest(home):
            raise Violation(f"the digests of {home.path} differ between catching up, beginning anew and a rebuild")

    def tampered(self, machine: Machine, chance: Random) -> set[str]:
        """One flipped bit of a journaled line is named with its file [7].  Returns the ids that were there before."""
        scan = scan_journal(machine.home)
        before = {line.id for line in lines_of(scan)}
        chunk = chance.choice(scan.chunks)
        at = chance.randrange(chunk.start, chunk.end)
        node = machine.computer.storage.find(str(chunk.path))
        assert isinstance(node, FileNode)
        node.content[at] ^= 1 << chance.randrange(8)
        chunk.path.write_bytes(node.content)
        # A first line with nothing behind it looks as if it had never been completed.
        lone = len(list(chunk.lines())) <= 1 and chunk.start == 0
        named = [finding for finding in verify(machine.home).findings if finding.path == str(chunk.path)]
        if not any(finding.damage or lone for finding in named):
            raise Violation(f"verify does not name {chunk.path}, of which byte {at} was changed")
        self.still_there(machine, before)
        return before

    def still_there(self, machine: Machine, before: set[str]) -> None:
        """One changed byte costs two lines at most [6]."""
        lost = before - {line.id for line in lines_of(scan_journal(machine.home))}
        if len(lost) > 2:
            raise Violation(f"one changed byte of {machine.home.journal} costs {len(lost)} events")


def _digest(home: Home) -> str:
    with open_projection(home) as projection:
        return digest(projection)


def _lost_unacknowledged(machine: Machine, finding: Finding) -> bool:
    """Whether a power cut has lost what was not acknowledged, and nobody can tell that from damage.

    Either the middle of several lines in one write is lost, but not the end: a line behind the gap fits the hash that
    the one above it states.  Or a sync had failed, of which the kernel told a process that could not seal the lines
    off: one that was merging this home, or one behind whose lines others had gone on.  The next segment then continues
    the last whole line that was to be seen.
    """
    torn, path, at = machine.computer.storage.torn, finding.path, finding.offset_bytes
    if (
        finding.kind == "line_damaged"
        and at is not None
        and any(one.start <= at < one.end for one in torn.get(path, ()))
    ):
        return True
    if finding.kind not in ("line_damaged", "segment_short", "chain_broken"):
        return False
    folder = f"{Path(path).parent}/"
    below = [writes for other, writes in torn.items() if other.startswith(folder) and other <= path]
    return any(one.taken_for_clean for writes in below for one in writes)


def _named_in_doubt(machine: Machine, finding: Finding) -> bool:
    """Whether a power cut has lost a line that an anchor names, of which another process's sync had failed before.

    It stood whole, and the kernel tells a failure once: to who appended it, but not to who named it then.
    """
    lost = any(one.taken_for_clean for writes in machine.computer.storage.torn.values() for one in writes)
    return lost and finding.kind in ("line_missing", "line_rewritten", "end_missing", "anchor_differs")


def _present_writer(home: Home) -> str:
    return str(orjson.loads((home.path / "writer.json").read_bytes())["writer"])


def _hold_content(folder: FolderNode, path: Path) -> None:
    for name, node in folder.entries.items():
        if isinstance(node, FileNode):
            if (path / name).read_bytes() != node.content:
                raise Violation(f"{path / name} was changed past the disk")
        else:
            _hold_content(node, path / name)
