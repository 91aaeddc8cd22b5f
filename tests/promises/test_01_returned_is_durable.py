"""Promise 1: when append returns, the line and every new directory entry on the way to it are synced."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, Ledger, own_writers, verify
from keledger.journal._merge import merge
from keledger.journal._writer import Appender
from tests.journal.support import call, events

from .power import Machine, die
from .support import RecordingDisk, append_once, append_script, counted_ids, failing, ignore, script_events

pytestmark = pytest.mark.usefixtures("small_segments")

Act = Callable[[Home, Callable[[str], object]], None]
"""Something done to a home, which tells each id when it is acknowledged."""


def append(home: Home, acknowledged: Callable[[str], object]) -> None:
    """A first open, appends and rotations."""
    append_script(home, None, acknowledged)


def record(home: Home, acknowledged: Callable[[str], object]) -> None:
    """A call, with the price book that it is the first to need."""
    with Ledger.open(home.path) as ledger:
        acknowledged(ledger.record(**call()))


ACTS = [pytest.param(append, id="append"), pytest.param(record, id="record")]


def machine(folder: Path, name: object) -> Machine:
    """A machine with a folder of its own."""
    (folder / str(name)).mkdir(mode=0o700)
    return Machine(folder / str(name))


def home_on(machine: Machine) -> Home:
    """A home whose own folder has to be made, too."""
    return Home.at(machine.folder / "new" / "home")


def calls_of(act: Act, folder: Path) -> int:
    """How many calls an act makes that change something."""
    counted = machine(folder, "counted")
    with counted.running():
        act(home_on(counted), ignore)
    return len(counted.calls)


def missed(machine: Machine, acknowledged: Sequence[str]) -> list[str]:
    """What a power cut now would break: acknowledged events, which writer is the home's, anything for ``verify``."""
    image = machine.folder.with_name(f"{machine.folder.name}-cut-{len(acknowledged)}")
    machine.cut_power(image)
    home = home_on(Machine(image))
    try:
        problems = sorted(set(acknowledged) - {event["id"] for event in events(home)})
        problems += ["writer.json"] if acknowledged and not own_writers(home) else []
        problems += [finding.message for finding in verify(home).findings if finding.damage]
    except HomeError as error:
        problems = [str(error)]
    shutil.rmtree(image)
    return problems


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("act", ACTS)
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(tmp_path: Path, act: Act) -> None:
    """At once, and after another process went on upon what the dead one had not synced."""
    count = calls_of(act, tmp_path)
    assert count > 60
    for at in range(1, count + 1):
        cut, acknowledged = machine(tmp_path, at), list[str]()
        with cut.running(at, die):
            act(home_on(cut), acknowledged.append)
        assert (at, missed(cut, acknowledged)) == (at, [])
        with cut.running():
            act(home_on(cut), acknowledged.append)
        assert (at, missed(cut, acknowledged)) == (at, [])


def test_every_folder_that_is_made_on_the_way_is_synced(tmp_path: Path) -> None:
    made, acknowledged = machine(tmp_path, "deep"), list[str]()
    with made.running():
        append_script(Home.at(made.folder / "a" / "b" / "c" / "d" / "home"), None, acknowledged.append)
    made.cut_power(tmp_path / "cut")
    assert set(acknowledged) == set(counted_ids(Home.at(tmp_path / "cut" / "a" / "b" / "c" / "d" / "home")))


def test_kills_in_a_row_while_a_home_is_made_leave_no_name_unsynced(tmp_path: Path) -> None:
    """Each finds the folder that the one before had made, and did not live to sync."""
    chance, count = random.Random(1), calls_of(append, tmp_path)
    for number in range(250):
        cut, acknowledged = machine(tmp_path, number), list[str]()
        for _ in range(chance.randint(2, 6)):
            with cut.running(chance.randint(1, min(count, 30)), die):
                append(home_on(cut), acknowledged.append)
        with cut.running():
            append(home_on(cut), acknowledged.append)
        assert (number, missed(cut, acknowledged)) == (number, [])
        shutil.rmtree(cut.folder)


@pytest.mark.usefixtures("company")
def test_a_call_that_fails_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """A failed sync has dropped its pages for good: that a later one succeeds does not bring them back."""
    for at in range(1, calls_of(append, tmp_path) + 1):
        failed = machine(tmp_path, at)
        with failed.running(at, failing(errno.EIO)):
            done = append_once(home_on(failed), None, script_events()).done
        assert (at, missed(failed, done)) == (at, [])
        with failed.running():
            append(home_on(failed), done.append)
        assert (at, missed(failed, done)) == (at, [])


def test_a_merge_that_returned_is_durable(tmp_path: Path) -> None:
    """And one that did not return harms nothing, wherever the power was cut; it can be run again."""
    other = Home.at(tmp_path / "other")
    theirs: list[str] = []
    record(other, theirs.append)
    record(other, theirs.append)
    at, dead = 0, True
    while dead:
        at += 1
        cut, mine = machine(tmp_path, at), list[str]()
        home = home_on(cut)
        with cut.running():
            append(home, mine.append)
        with cut.running(at, die):
            merge(home, other.path, appender=Appender(home), actor="test")
        dead = len(cut.calls) >= at
        if dead:
            assert (at, missed(cut, mine)) == (at, [])
            with cut.running():
                merge(home, other.path, appender=Appender(home), actor="test")
        assert (at, missed(cut, mine + theirs)) == (at, [])
    assert at > 40


SYNCED: dict[str, Callable[[Path, Home], bool]] = {
    "the folder above the home's new parent": lambda path, home: path == home.path.parent.parent,
    "the home's new parent": lambda path, home: path == home.path.parent,
    "the home": lambda path, home: path == home.path,
    "writer.json": lambda path, home: "writer.json" in path.name,
    "journal/": lambda path, home: path == home.journal,
    "the writer's folder": lambda path, home: path.parent == home.journal,
    "a segment": lambda path, home: path.suffix == ".jsonl",
    "prices/": lambda path, home: path == home.prices,
    "a price file": lambda path, home: path.parent == home.prices or "price" in path.name,
}


@pytest.mark.parametrize("what", SYNCED)
def test_a_program_that_forgets_a_sync_is_found(tmp_path: Path, what: str) -> None:
    """Shows that the tests above would see it: without the syncs of one kind of file, a power cut loses something."""
    forgetful, acknowledged, found = machine(tmp_path, "forgetful"), list[str](), list[str]()
    home = home_on(forgetful)

    def cut(event_id: str) -> None:
        acknowledged.append(event_id)
        found.extend(missed(forgetful, acknowledged))

    with forgetful.running(forgets=lambda path: SYNCED[what](path, home)):
        record(home, cut)
        append(home, cut)
    assert found


def test_what_is_synced_was_opened_before_it_changed(home: Home) -> None:
    """Linux tells an error of writing back only to descriptors that were open when it came."""
    disk = RecordingDisk()
    with Ledger(home, program="test", disk=disk) as ledger:
        ledger.record(**call())
    append_script(home, disk)
    segments = [index for index in disk.steps("create_exclusive") if disk.path_at(index).suffix == ".jsonl"]
    assert len(segments) > 3
    for made in (*segments, *disk.steps("replace")):
        folder = disk.path_at(made).parent
        opened = max(index for index in disk.steps("open_folder", folder) if index < made)
        synced = next(index for index in disk.steps("sync_folder", folder) if index > made)
        assert disk.trace[synced].opened_at == opened


@pytest.mark.usefixtures("company")
def test_each_line_is_synced_before_it_is_acknowledged(home: Home) -> None:
    disk = RecordingDisk()
    acknowledged: list[int] = []
    append_script(home, disk, lambda _: acknowledged.append(len(disk.trace)))
    for end in acknowledged:
        written = max(index for index in disk.steps("write") if index < end)
        path = disk.path_at(written)
        assert any(written < index < end for index in disk.steps("sync", path))
        made = disk.steps("create_exclusive", path)[-1]
        assert any(made < index < end for index in disk.steps("sync_folder", path.parent))


def test_prices_are_synced_before_an_event_names_them(home: Home) -> None:
    disk = RecordingDisk()
    with Ledger(home, program="test", disk=disk) as ledger:
        ledger.record(**call())
    names = {path.name for path in home.prices.iterdir()}
    put = [index for index in disk.steps("replace") if disk.path_at(index).parent == home.prices]
    assert {disk.path_at(index).name for index in put} == names
    adopted = disk.steps("write")[-2]  # the event that names the book; the call is the last
    assert disk.path_at(adopted).suffix == ".jsonl"
    assert any(max(put) < index < adopted for index in disk.steps("sync_folder", home.prices))
    for index in put:
        drafts = [step for step in disk.steps("sync") if step < index]
        assert disk.path_at(drafts[-1]).parent in (home.path, home.prices)
