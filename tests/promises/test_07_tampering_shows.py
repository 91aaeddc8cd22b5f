"""Promise 7: ``verify`` finds every changed, inserted, dropped, swapped or repeated line, and says where it is.

What is damaged costs as few events as the chain allows, and every other one goes on counting.  Who recomputes the
hashes is found by an anchor alone: ``tests/journal/test_anchor.py``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keledger.journal import Finding, Home, Ledger, Scan, scan_journal, verify
from keledger.journal import _limits as limits
from keledger.journal._writer import Appender
from keledger.projections import open_projection, report_daily
from tests.cli.support import keledger, truth
from tests.journal.support import call, calls, note
from tests.projections.support import append
from tests.projections.support import call as priced_call

from .support import FaultyDisk, append_once, failing

HEAD = 1
"""The number of a segment's first line."""


@dataclass(frozen=True)
class Line:
    """One valid line and where it stands."""

    path: Path
    number: int
    offset: int
    content: bytes

    @property
    def id(self) -> str:
        """The event's id, by which it counts once however often it stands there."""
        return self.content[28:64].decode()

    @property
    def end(self) -> int:
        """Where the next line begins."""
        return self.offset + len(self.content)


def valid_lines(home: Home, scan: Scan | None = None) -> list[Line]:
    """Every valid line, in the order of files."""
    found = []
    for chunk in (scan or scan_journal(home)).chunks:
        content, offset = chunk.path.read_bytes(), chunk.start
        number = content.count(b"\n", 0, offset)
        for line in content[chunk.start : chunk.end].splitlines(keepends=True):
            number += 1
            found.append(Line(chunk.path, number, offset, line))
            offset += len(line)
    return found


def write_lines(home: Home, count: int, *, disk: FaultyDisk | None = None) -> None:
    """Append small events of which four fill a segment of 2,000 bytes."""
    outcomes = append_once(home, disk or FaultyDisk(), [note(str(number)) for number in range(count)])
    assert len(outcomes.done) == count


def tear(home: Home, writer: str) -> None:
    """Leave half a line at the end, which the next append seals off."""
    with open(home.segments(writer)[-1], "ab") as file:
        file.write(b'{"specversion":"1.0","id":"torn')


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two writers, each with several segments: one sealed over a torn tail, one over a whole line, some clean."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 1600)
    homes = [Home.at(tmp_path / name) for name in ("home", "other")]
    write_lines(homes[0], 2)
    tear(homes[0], homes[0].writers()[0])
    write_lines(homes[0], 1)
    write_lines(homes[1], 2)
    write_lines(homes[1], 1, disk=FaultyDisk(1, failing(errno.EIO), ("sync",)))
    homes[1].journal.joinpath(homes[1].writers()[0]).rename(homes[0].journal / homes[1].writers()[0])
    found = {finding.kind for finding in verify(homes[0]).findings}
    assert found == {"residue_sealed"}
    assert [len(homes[0].segments(writer)) for writer in homes[0].writers()] == [2, 2]
    return homes[0]


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Let a file have another content for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def places(findings: list[Finding]) -> set[tuple[str, int | None, int | None]]:
    """Where findings of damage are."""
    return {(finding.path, finding.line, finding.offset_bytes) for finding in findings if finding.damage}


CHANGES: dict[str, tuple[Callable[[int], int], int]] = {
    "bit 0": (lambda byte: byte ^ 1, 1),
    "bit 5": (lambda byte: byte ^ 32, 5),
    "line feed": (lambda _: 0x0A, 3),
    "NUL": (lambda _: 0, 5),
}
"""What becomes of a byte, and of which bytes: of every one, or for the sake of time of every third or fifth."""


@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_byte_is_named_with_its_line_and_costs_no_other(journal: Home, change: str) -> None:
    altered, step = CHANGES[change]
    for path in sorted(journal.journal.glob("*/*")):
        content, writer = path.read_bytes(), path.parent.name
        sound = valid_lines(journal, scan_journal(journal, writer=writer))
        lines = [line for line in sound if line.path == path]
        for at in range(0, len(content), step):
            byte, new = content[at], altered(content[at])
            if new == byte:
                continue
            with changed(path, content[:at] + bytes([new]) + content[at + 1 :]):
                scan = scan_journal(journal, writer=writer)
                verified = verify(journal)
                left = {line.id for line in valid_lines(journal, scan)}
            hit = next((line for line in lines if line.offset <= at < line.end), None)
            lost = [line for line in sound if line.id not in left]
            if hit is None:  # what a later segment sealed off is no event, whatever it becomes
                assert (lost, verified.damaged) == ([], False), (path, at)
                continue
            assert (str(path), hit.number, hit.offset) in places(verified.findings), (path, at)
            assert left == {line.id for line in sound if line not in lost}, (path, at)
            assert lost[0] == hit, (path, at)
            # A line feed that comes or goes may take along the line behind, but no other byte may.
            behind = [line for line in lines if line.number == hit.number + 1] if 0x0A in (byte, new) else []
            assert lost[1:] in ([], behind), (path, at)


def test_it_goes_on_after_the_first(journal: Home) -> None:
    sound = valid_lines(journal)
    hit = [line for line in sound if line.number % 2 == 0]
    assert len({line.path for line in hit}) == 4
    for line in hit:
        content = bytearray(line.path.read_bytes())
        content[line.offset + 60] ^= 1
        line.path.write_bytes(content)
    assert places(verify(journal).findings) >= {(str(line.path), line.number, line.offset) for line in hit}
    assert {line.content for line in valid_lines(journal)} == {line.content for line in sound if line not in hit}


@pytest.mark.parametrize("edit", ["flip", "cut", "insert", "repeat", "empty"])
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_edits_leave_the_same_events_or_are_named(journal: Home, edit: str, data: st.DataObject) -> None:
    """But for lines dropped from a writer's very end, which nothing inside the journal can tell."""
    sound = valid_lines(journal)
    paths = sorted(journal.journal.glob("*/*"))
    before = {path: path.read_bytes() for path in paths}
    try:
        for _ in range(data.draw(st.integers(1, 3))):
            _edit(data, data.draw(st.sampled_from(paths)), edit, before)
        found = verify(journal).damaged
        left = valid_lines(journal)
        contents = {line.content for line in left}
        assert contents <= {line for content in before.values() for line in content.splitlines(keepends=True)}
        if not found:
            assert len(left) == len(contents)
            for writer in journal.writers():
                kept = [line.content for line in left if line.path.parent.name == writer]
                all_valid = [line.content for line in sound if line.path.parent.name == writer]
                all_whole = [line for path in paths if path.parent.name == writer for line in _whole(before[path])]
                # Without its last segment, what that had sealed off is the end of the one below.
                assert kept in (all_valid[: len(kept)], all_whole[: len(kept)])
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def _whole(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b'"}\n')]


def _edit(data: st.DataObject, path: Path, edit: str, before: dict[Path, bytes]) -> None:
    """Change a file in one way, most often at the border of a line, where damage is hardest to see."""

    def place(content: bytes) -> int:
        borders = [0, *(at + 1 for at, byte in enumerate(content) if byte == 0x0A), len(content)]
        return data.draw(st.one_of(st.sampled_from(borders), st.integers(0, len(content))))

    content = path.read_bytes()
    if edit == "flip" and content:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    elif edit == "cut":
        start, end = sorted((place(content), place(content)))
        content = content[:start] + content[end:]
    elif edit == "insert":
        at = place(content)
        content = content[:at] + data.draw(st.one_of(st.binary(max_size=90), st.just(b"\n"))) + content[at:]
    elif edit == "repeat":
        other = before[data.draw(st.sampled_from(sorted(before)))]
        start, end = sorted((place(other), place(other)))
        at = place(content)
        content = content[:at] + other[start:end] + content[at:]
    elif edit == "empty":
        content = b""
    path.write_bytes(content)


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that commands find: 4, 5 and 3 priced calls in segments of its own writer, and 3 of a merged one."""
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 8000)
    with Ledger.open(tmp_path / "other") as other:
        other.record_many([call(id=f"other {number}", time="2026-11-20T00:00:00Z") for number in range(3)])
    with Ledger.open(tmp_path / "home") as ledger:
        for number in range(12):
            ledger.record(**call(id=str(number), time="2026-11-20T00:00:00Z"))
        ledger.merge(other.home.path)
    monkeypatch.setenv("KELEDGER_HOME", str(ledger.home.path))
    pages = Pages(ledger.home)
    layout = [sum(b'"type":"call.' in line for line in pages.lines(path)) for path in (*pages.own, pages.other)]
    assert layout == [4, 5, 3, 3]
    return ledger.home


Edit = Callable[["Pages"], Path]
"""Damages a home; returns the file that is to be named."""


@dataclass(frozen=True)
class Pages:
    """A home's files as lines, to be tampered with."""

    home: Home

    @property
    def own(self) -> list[Path]:
        """The three segments of the writer that has so many."""
        return max((self.home.segments(writer) for writer in self.home.writers()), key=len)

    @property
    def other(self) -> Path:
        """The segment of the merged writer."""
        return min((self.home.segments(writer) for writer in self.home.writers()), key=len)[0]

    def lines(self, path: Path) -> list[bytes]:
        """The lines of a file."""
        return path.read_bytes().splitlines(keepends=True)

    def edit(self, path: Path, change: Callable[[list[bytes]], object]) -> Path:
        """Change a file's list of lines."""
        lines = self.lines(path)
        change(lines)
        path.write_bytes(b"".join(lines))
        return path

    def put(self, path: Path, number: int, line: bytes) -> Path:
        """Insert a line so that it becomes the one of this number."""
        return self.edit(path, lambda lines: lines.insert(number - 1, line))

    def replace(self, path: Path, number: int, old: bytes, new: bytes) -> Path:
        """Change something in one line."""

        def change(lines: list[bytes]) -> None:
            assert lines[number - 1].count(old) >= 1
            lines[number - 1] = lines[number - 1].replace(old, new, 1)

        return self.edit(path, change)

    def remove(self, path: Path) -> Path:
        """Delete a segment."""
        path.unlink()
        return path

    def rename(self, path: Path, name: str) -> Path:
        """Give a segment another name; the file that is then missing is what is to be named."""
        path.rename(path.with_name(name))
        return path

    def price(self, change: Callable[[Path], object]) -> Path:
        """Do something to the largest price file: the list."""
        path = max(self.home.prices.iterdir(), key=lambda path: path.stat().st_size)
        change(path)
        return path


def _swap(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def _swap_files(path: Path) -> None:
    other = sorted(path.parent.iterdir(), key=lambda path: path.stat().st_size)[-2]
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _change_hash(lines: list[bytes]) -> None:
    lines[3] = lines[3][:-4] + (b"0" if lines[3][-4:-3] != b"0" else b"1") + lines[3][-3:]


EDITS: dict[str, tuple[Edit, str, int | None, int]] = {
    "a cost changed": (lambda at: at.replace(at.own[1], 3, b'"usd":"0.', b'"usd":"9.'), "line_damaged", 3, 1),
    "a total raised": (lambda at: at.replace(at.own[0], 4, b"0.000515", b"0.900515"), "line_damaged", 4, 1),
    "a user longer": (lambda at: at.replace(at.other, 3, b'"os_user":"', b'"os_user":"x'), "line_damaged", 3, 1),
    "a stated hash changed": (lambda at: at.edit(at.own[0], _change_hash), "line_damaged", 4, 1),
    "garbage inserted": (lambda at: at.put(at.own[2], 3, b"{}\n"), "line_damaged", 3, 0),
    "an empty line inserted": (lambda at: at.put(at.own[2], 3, b"\n"), "line_damaged", 3, 0),
    "another writer's line inserted": (lambda at: at.put(at.own[2], 3, at.lines(at.other)[3]), "line_damaged", 3, 1),
    "a line repeated": (lambda at: at.put(at.own[2], 3, at.lines(at.own[2])[1]), "line_damaged", 3, 0),
    "a line repeated at the end": (lambda at: at.put(at.own[2], 6, at.lines(at.own[2])[4]), "tail_torn", 6, 0),
    "a line repeated in the next segment": (
        lambda at: at.put(at.own[2], 3, at.lines(at.own[0])[3]), "line_damaged", 3, 1,
    ),
    "a line inserted below a seal": (lambda at: at.put(at.own[1], 3, b"{}\n"), "line_damaged", 3, 1),
    "a line dropped": (lambda at: at.edit(at.own[1], lambda lines: lines.pop(1)), "line_damaged", 2, 2),
    "two lines swapped": (lambda at: at.edit(at.own[1], _swap), "line_damaged", 2, 3),
    "a head changed": (lambda at: at.replace(at.own[1], HEAD, b":\"full", b":\"fool"), "line_damaged", HEAD, 0),
    "a seal changed": (
        lambda at: at.replace(at.own[1], HEAD, b'"residue_bytes":0', b'"residue_bytes":1'), "line_damaged", HEAD, 0,
    ),
    "a head dropped": (lambda at: at.edit(at.own[1], lambda lines: lines.pop(0)), "line_damaged", HEAD, 1),
    "the end of a sealed segment cut": (
        lambda at: at.edit(at.own[0], lambda lines: lines.pop()), "segment_short", None, 1,
    ),
    "a sealed segment emptied": (lambda at: at.edit(at.own[1], lambda lines: lines.clear()), "segment_short", None, 5),
    "a segment missing": (lambda at: at.remove(at.own[1]), "segment_missing", None, 5),
    "the first segment missing": (lambda at: at.remove(at.own[0]), "segment_missing", None, 4),
    "a segment renamed": (lambda at: at.rename(at.own[2], "00000007.jsonl"), "segment_missing", None, 0),
}  # fmt: skip
"""The edit, the finding's kind and line, and how many calls it costs."""


@pytest.mark.parametrize("edit", EDITS)
def test_each_way_to_tamper_ends_the_command_with_3_and_is_in_every_report(used: Home, edit: str) -> None:
    damage, kind, line, lost = EDITS[edit]
    counted = len(calls(used))
    path = damage(Pages(used))
    before = truth(used)
    outcome = keledger("verify")
    assert (outcome.status, outcome.err, outcome.json["damaged"]) == (3, "", True)
    found = next(each for each in outcome.json["findings"] if each["kind"] == kind and each["path"] == str(path))
    assert found["severity"] == "damage"
    assert str(path) in found["message"]
    if line is not None:  # of a whole file there is none
        offset = sum(map(len, path.read_bytes().splitlines(keepends=True)[: line - 1]))
        assert (found["line"], found["offset_bytes"]) == (line, offset)
    daily = keledger("daily")
    assert daily.status == 0
    assert kind in {each["kind"] for each in daily.json["findings"]}
    assert str(path) in daily.err
    assert daily.json["totals"]["calls"] == counted - lost
    assert truth(used) == before


def test_a_segment_that_stands_twice_is_named_and_counts_once(used: Home) -> None:
    pages = Pages(used)
    shutil.copyfile(pages.own[1], pages.own[2].with_name("00000004.jsonl"))
    outcome = keledger("verify")
    assert outcome.status == 3
    assert [Path(found["path"]).name for found in outcome.json["findings"] if found["kind"] == "segment_repeated"] == [
        "00000004.jsonl"
    ]
    assert keledger("daily").json["totals"]["calls"] == 15
    with Ledger.open(used.path) as ledger:  # it is not appended to, either
        ledger.record(**call(id="later"))
    assert pages.lines(pages.own[3]) == pages.lines(pages.own[1])
    assert [found["kind"] for found in keledger("verify").json["findings"]] == ["segment_repeated"]
    assert keledger("daily").json["totals"]["calls"] == 16


def test_a_segment_copied_to_number_zero_is_no_segment(used: Home) -> None:
    """Names begin with 00000001; the original is not blamed for the copy."""
    own = Pages(used).own
    shutil.copyfile(own[1], own[1].with_name("00000000.jsonl"))
    assert (keledger("verify").status, keledger("verify").json["findings"]) == (0, [])
    assert Pages(used).own == own


@pytest.mark.parametrize(("source", "target"), [(0, 1), (1, 0)])
def test_of_two_segments_the_copy_is_named_and_not_the_original(used: Home, source: int, target: int) -> None:
    """The first line says for which number it was written, whichever stands lower."""
    own = Pages(used).own
    shutil.copyfile(own[source], own[target])
    (found,) = (each for each in keledger("verify").json["findings"] if each["kind"] == "segment_repeated")
    assert (found["path"], own[source].name in found["message"]) == (str(own[target]), True)


def test_where_both_may_be_the_copy_that_is_said(used: Home) -> None:
    own = Pages(used).own
    shutil.copyfile(own[1], own[1].with_name("00000008.jsonl"))
    own[1].rename(own[1].with_name("00000009.jsonl"))
    (found,) = (each for each in keledger("verify").json["findings"] if each["kind"] == "segment_repeated")
    assert Path(found["path"]).name == "00000009.jsonl"
    assert "which is the copy cannot be told" in found["message"]


def test_a_copy_of_what_was_read_before_is_named_by_whoever_reads_on(used: Home) -> None:
    own = Pages(used).own
    positions = scan_journal(used).positions
    shutil.copyfile(own[0], own[2].with_name("00000004.jsonl"))
    found = scan_journal(used, positions)
    assert ([finding.kind for finding in found.findings], found.lines) == (["segment_repeated"], 0)
    assert found.positions == positions


def test_a_damaged_head_brings_back_nothing_that_it_had_sealed_off(home: Home) -> None:
    """Where several lines were sealed off after a failed sync, and written again behind the head."""
    events = [priced_call(number) for number in range(4)]
    append(home, events[0])
    appender = Appender(home, disk=FaultyDisk(1, failing(errno.EIO), ("sync",)))
    appender.append(events[1:])
    sound = valid_lines(home)
    path = home.segments(home.writers()[0])[1]
    assert path.with_name("00000001.jsonl").read_bytes().count(b"call.completed") == 4
    pages = Pages(home)
    pages.replace(path, HEAD, b'"reason":"sync', b'"reason":"sink')
    sequence = [json.loads(line.content)["seq"] for line in valid_lines(home)]
    assert sequence == sorted(set(sequence))
    assert {line.id for line in valid_lines(home)} == {
        line.id for line in sound if line.path != path or line.number > 1
    }
    assert keledger("--home", str(home.path), "daily").json["totals"]["calls"] == 4


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda path: path.write_bytes(path.read_bytes().replace(b"0.25", b"0.26", 1)), "price_file_damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "price_file_damaged"),
        (lambda path: path.write_bytes(b""), "price_file_damaged"),
        (_swap_files, "price_file_damaged"),
        (Path.unlink, "price_file_missing"),
    ],
    ids=["changed", "cut", "emptied", "swapped", "missing"],
)
def test_a_price_file_that_is_not_what_its_name_says_is_named(
    used: Home, change: Callable[[Path], object], kind: str
) -> None:
    totals = keledger("daily").json["totals"]
    path = Pages(used).price(change)
    outcome = keledger("verify")
    assert outcome.status == 3
    assert (kind, str(path)) in {(found["kind"], found["path"]) for found in outcome.json["findings"]}
    assert keledger("daily").json["totals"] == totals


def test_what_was_sealed_off_cleanly_is_a_note(journal: Home) -> None:
    outcome = keledger("--home", str(journal.path), "verify")
    assert outcome.status == 0
    assert {(found["kind"], found["severity"]) for found in outcome.json["findings"]} == {("residue_sealed", "note")}


def test_nothing_that_verify_finds_is_hidden_by_a_cache(used: Home) -> None:
    """Damage is told from the cache, too, and damage behind it is found when it is made."""
    Pages(used).replace(Pages(used).own[0], 4, b"0.000515", b"0.900515")
    keledger("replay")
    for _ in range(2):
        with open_projection(used) as projection:
            assert [finding.kind for finding in projection.findings] == ["line_damaged"]
            assert report_daily(projection).totals["calls"] == 14
    Pages(used).replace(Pages(used).own[2], 3, b"0.000515", b"0.900515")
    assert len([found for found in keledger("verify").json["findings"] if found["kind"] == "line_damaged"]) == 2


def recompute(path: Path, number: int, old: bytes, new: bytes) -> None:
    """Change a line and make every hash behind it anew, as somebody does who knows the format."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new)
    for at in range(number - 1, len(lines)):
        previous = bytes.fromhex(lines[at - 1][-67:-3].decode())
        digest = hashlib.sha256(previous + lines[at][:-76]).hexdigest()
        lines[at] = lines[at][:-67] + digest.encode() + lines[at][-3:]
    path.write_bytes(b"".join(lines))


REWRITES: dict[str, Callable[[Pages], object]] = {
    "lines dropped from the end": lambda at: at.edit(at.own[2], lambda lines: lines.pop()),
    "the last segment missing": lambda at: at.remove(at.own[2]),
    "a writer missing": lambda at: shutil.rmtree(at.other.parent),
    "a chain computed anew": lambda at: recompute(at.own[2], 3, b"gpt-5-mini", b"gpt-5-nano"),
}


@pytest.mark.parametrize("form", ["file", "head"])
@pytest.mark.parametrize("rewrite", REWRITES)
def test_what_no_hash_can_tell_an_anchor_tells(used: Home, tmp_path: Path, rewrite: str, form: str) -> None:
    """What it can't: without one, who cuts the very end off or recomputes the chain is not found."""
    taken = keledger("anchor", "--output", str(tmp_path / "anchor.json"), "--json")
    anchor = str(tmp_path / "anchor.json") if form == "file" else taken.json["head"]
    assert keledger("verify", "--anchor", anchor).status == 0
    with Ledger.open(used.path) as ledger:  # the journal goes on, and the anchor holds
        ledger.record(**call(id="later"))
    assert keledger("verify", "--anchor", anchor).status == 0
    pages = Pages(used)
    pages.edit(pages.own[2], lambda lines: lines.pop())
    assert keledger("verify", "--anchor", anchor).status == 0  # it says nothing of what came behind it
    REWRITES[rewrite](pages)
    outcome = keledger("verify", "--anchor", anchor)
    assert outcome.status == 3
    assert [each["holds"] for each in outcome.json["anchors"]] == [False]
    if rewrite != "a writer missing":  # which merge.completed has named
        assert keledger("verify").json["findings"] == []
