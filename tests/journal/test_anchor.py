"""Anchors: what was cut off, taken out or computed anew since one was taken is found, and without one it is not."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keledger.journal import Anchor, Home, HomeError, Ledger, NotFound, UsageError, anchor, verify
from keledger.journal import _limits as limits
from keledger.journal._disk import Disk
from keledger.journal._verify_segment import DEPTHS
from keledger.journal._writer import Appender

from .support import call, events, newest_segment, note, tree_bytes
from .tampering import copy_of, cut_lines, edit_line, lines_of, recompute

FORMS = ("file", "head")


@contextmanager
def small_segments() -> Iterator[None]:
    """Some four lines a segment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 2_600)
        yield


def append_notes(home: Home, count: int) -> None:
    """Grow a home by small events."""
    with small_segments():
        appender = Appender(home)
        for number in range(count):
            appender.append([note(f"event {number:03d}" + "x" * 300)])
        appender.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of one writer and several segments."""
    home = Home.at(tmp_path_factory.mktemp("anchor") / "home")
    append_notes(home, 20)
    return home


@pytest.fixture
def anchored(model: Home, tmp_path: Path) -> Home:
    """A copy of :func:`model`."""
    return copy_of(model, tmp_path / "home")


def given_as(form: str, taken: Anchor, folder: Path) -> Anchor:
    """An anchor as it comes back from where it was kept."""
    if form == "head":
        return Anchor.read(taken.head)
    path = folder / "anchor.json"
    path.write_bytes(orjson.dumps(taken.as_json()))
    return Anchor.read(str(path))


def kinds(home: Home, *anchors: Anchor) -> list[str]:
    """What verify finds with these anchors."""
    return [finding.kind for finding in verify(home, depth="chain", anchors=anchors).findings if finding.damage]


def test_an_anchor_names_the_last_line_of_every_writer(anchored: Home, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "other") as other:
        other.record(**call())
    with Ledger.open(anchored.path) as ledger:
        ledger.merge(tmp_path / "other")
    before = tree_bytes(anchored.path)
    taken = anchor(anchored)
    assert {**tree_bytes(anchored.path), "lock": before["lock"]} == before
    assert [line.writer for line in taken.lines] == anchored.writers()
    for line in taken.lines:
        path = anchored.segments(line.writer)[-1]
        last = orjson.loads(lines_of(path)[-1])
        assert (line.seq, line.tick, line.hash) == (last["seq"], last["tick"], last["hash"])
        assert (line.segment, line.offset_bytes) == (int(path.stem), path.stat().st_size)
    assert str(anchored.path) not in orjson.dumps(taken.as_json()).decode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_it_holds_and_goes_on_holding_while_the_journal_grows(
    anchored: Home, tmp_path: Path, form: str, depth: Any
) -> None:
    taken = given_as(form, anchor(anchored), tmp_path)
    for _ in range(2):
        for workers in (0, 2):
            found = verify(anchored, depth=depth, anchors=[taken], workers=workers)
            assert (found.findings, [holds for _, holds in found.anchors]) == ([], [True])
        append_notes(anchored, 12)


def test_a_file_may_hold_the_head_alone_and_letters_may_be_capitals(anchored: Home, tmp_path: Path) -> None:
    taken = anchor(anchored)
    (tmp_path / "note.txt").write_text(f"\n  {taken.head.upper()}\n")
    assert Anchor.read(str(tmp_path / "note.txt")).head == taken.head
    assert Anchor.read(f" {taken.head.upper()} ").head == taken.head


HARMS: dict[str, tuple[Callable[[Home, str], None], str]] = {
    "one line cut off": (lambda home, writer: cut_lines(home, writer, 1), "end_missing"),
    "segments cut off": (lambda home, writer: cut_lines(home, writer, 11), "end_missing"),
    "a writer taken out": (lambda home, writer: shutil.rmtree(home.journal / writer), "writer_missing"),
    "the anchored segment taken out": (lambda home, writer: _after_growing(home, writer), "line_missing"),
    "computed anew": (
        lambda home, writer: recompute(home, writer, 3, lambda body: body.replace(b"event 00", b"event 99")),
        "line_rewritten",
    ),
    "rolled back, and gone on": (lambda home, writer: _gone_on(home, writer), "line_rewritten"),
}


def _after_growing(home: Home, writer: str) -> None:
    newest = home.segments(writer)[-1]
    append_notes(home, 12)
    newest.unlink()


def _gone_on(home: Home, writer: str) -> None:
    cut_lines(home, writer, 5)
    append_notes(home, 12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HARMS)
def test_what_happened_since_is_found_and_named(anchored: Home, tmp_path: Path, form: str, name: str) -> None:
    harm, kind = HARMS[name]
    (writer,) = anchored.writers()
    taken = given_as(form, anchor(anchored), tmp_path)
    harm(anchored, writer)
    found = verify(anchored, depth="chain", anchors=[taken])
    (told,) = [finding for finding in found.findings if finding.kind == kind]
    assert told.damage
    assert writer in told.message
    assert str(taken.lines[0].seq) in told.message
    assert [holds for _, holds in found.anchors] == [False]
    if name != "the anchored segment taken out":
        assert kinds(anchored) == []  # nothing but the anchor shows it


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_cut_removal_or_recomputing_is_found_with_an_anchor(model: Home, data: st.DataObject) -> None:
    """Whatever whole lines are cut off, whichever segment goes, from wherever the chain is computed anew."""
    with pytest.MonkeyPatch.context() as patch, _scratch() as folder:
        patch.setenv("XDG_STATE_HOME", str(folder))
        home = copy_of(model, folder / "home")
        (writer,) = home.writers()
        taken = given_as(data.draw(st.sampled_from(FORMS)), anchor(home), folder)
        append_notes(home, data.draw(st.integers(0, 9)))
        segments, last = home.segments(writer), verify(home).lines
        since = last - taken.lines[0].seq
        assert kinds(home, taken) == []
        what = data.draw(st.sampled_from(("cut", "remove", "recompute")))
        if what == "cut":
            cut_lines(home, writer, data.draw(st.integers(since + 1, last - 1)))
            assert kinds(home) == []  # as the page says
        elif what == "remove":
            data.draw(st.sampled_from(segments[: taken.lines[0].segment or len(segments) // 2])).unlink()
        else:
            seqs = [event["seq"] for event in events(home) if event["type"] == "test.noted"]
            seq = data.draw(st.sampled_from([seq for seq in seqs if seq <= taken.lines[0].seq]))
            recompute(home, writer, seq, lambda body: body.replace(b'"text":"event', b'"text":"avent'))
            assert kinds(home) == []
        assert kinds(home, taken) != []


@contextmanager
def _scratch() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("form", FORMS)
def test_of_several_writers_the_one_that_was_changed_is_named(anchored: Home, tmp_path: Path, form: str) -> None:
    append_notes(Home.at(tmp_path / "other"), 6)
    (far,) = Home.at(tmp_path / "other").writers()
    with Ledger.open(anchored.path) as ledger:
        ledger.merge(tmp_path / "other")
    taken = given_as(form, anchor(anchored), tmp_path)
    earlier = copy_of(anchored, tmp_path / "earlier")
    recompute(anchored, far, 3, lambda body: body.replace(b"event", b"avent"))
    (finding,) = (one for one in verify(anchored, anchors=[taken]).findings if str(taken.name) in one.message)
    assert (finding.kind, far in finding.message) == ("line_rewritten", True)
    for writer in earlier.writers():
        cut_lines(earlier, writer, 1)
    assert kinds(earlier, taken) == ["end_missing", "end_missing", "home_rolled_back"]


def test_a_head_says_so_where_only_its_digest_does_not_fit(anchored: Home) -> None:
    """The few digits of each hash only say which line it is; what proves is the digest."""
    taken = anchor(anchored)
    other = Anchor(taken.lines, "0" * 32)
    assert kinds(anchored, Anchor.read(other.head)) == ["anchor_differs"]


def test_several_anchors_are_judged_each_by_itself(anchored: Home) -> None:
    early = anchor(anchored)
    append_notes(anchored, 5)
    late = anchor(anchored)
    cut_lines(anchored, anchored.writers()[0], 2)
    found = verify(anchored, anchors=[early, late])
    assert [holds for _, holds in found.anchors] == [True, False]
    assert [finding.kind for finding in found.findings] == ["end_missing"]


def test_a_torn_tail_is_not_named_and_a_line_that_is_no_event_not_either(anchored: Home) -> None:
    whole = anchor(anchored)
    path = newest_segment(anchored)
    with open(path, "ab") as file:
        file.write(b'{"specversion":"1.0"')
    assert anchor(anchored).lines == whole.lines
    edit_line(path, -2, lambda line: line.replace(b"x", b"y", 1))
    assert anchor(anchored).lines[0].seq == whole.lines[0].seq - 1


class WatchedDisk(Disk):
    """A disk that tells in which order it is locked, synced and closed, and may fail to sync."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.told: list[str] = []

    def lock(self, descriptor: int, wait_s: float) -> bool:
        self.told.append(f"lock {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        return super().lock(descriptor, wait_s)

    def sync(self, descriptor: int) -> None:
        self.told.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        if self.fails:
            raise OSError(5, "Input/output error")
        super().sync(descriptor)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the system does not tell which file is synced")
def test_what_is_named_is_synced_under_the_lock(anchored: Home) -> None:
    disk = WatchedDisk()
    anchor(anchored, disk=disk)
    below, newest = (path.name for path in anchored.segments(anchored.writers()[0])[-2:])
    assert disk.told == ["lock lock", f"lock {below}", f"lock {newest}", f"sync {newest}"]
    with pytest.raises(HomeError, match="Input/output error; nothing was anchored"):
        anchor(anchored, disk=WatchedDisk(fails=True))


def test_a_lock_that_is_not_to_be_had_is_told(anchored: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    with open(anchored.lock, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HomeError, match="nothing was anchored"):
            anchor(anchored)
    anchored.lock.unlink()  # as in a copy that was made file by file
    assert anchor(anchored).lines
    assert not anchored.lock.exists()


def test_there_must_be_something_to_anchor(home: Home) -> None:
    with pytest.raises(NotFound, match="there is no keledger home"):
        anchor(home)
    home.path.mkdir(mode=0o700)
    with pytest.raises(NotFound, match="holds no events yet"):
        anchor(home)


def test_an_anchor_of_another_home_is_refused(anchored: Home, tmp_path: Path) -> None:
    append_notes(Home.at(tmp_path / "other"), 1)
    with pytest.raises(UsageError, match=r"names no writer of .*: it was taken of another home"):
        verify(anchored, anchors=[anchor(Home.at(tmp_path / "other"))])


def test_of_a_home_whose_own_writer_is_gone_an_anchor_tells(anchored: Home) -> None:
    taken = anchor(anchored)
    shutil.rmtree(anchored.journal)
    assert kinds(anchored, taken) == ["writer_missing"]


def _broken_head(edit: Callable[[str], str]) -> Callable[[Anchor], bytes]:
    return lambda taken: edit(taken.head).encode()


def _broken_json(**changed: Any) -> Callable[[Anchor], bytes]:
    return lambda taken: orjson.dumps({**taken.as_json(), **changed})


def _broken_line(**changed: Any) -> Callable[[Anchor], bytes]:
    return lambda taken: orjson.dumps({**taken.as_json(), "positions": [{**taken.lines[0].as_json(), **changed}]})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(_broken_head(lambda head: head[:-1]), "not an anchor", id="cut"),
        pytest.param(_broken_head(lambda head: head.replace("keledger1", "keledger2")), "not an anchor", id="newer"),
        pytest.param(
            _broken_head(lambda head: head[:12] + ("0" if head[12] != "0" else "1") + head[13:]),
            "misspelled",
            id="a slip",
        ),
        pytest.param(_broken_head(lambda head: ""), "not an anchor", id="empty"),
        pytest.param(lambda _: b"\xff\x00", "not an anchor", id="bytes"),
        pytest.param(lambda _: b"{", "not an anchor", id="half JSON"),
        pytest.param(lambda _: b"{}", "not an anchor", id="another object"),
        pytest.param(_broken_json(schema_version=2), "not an anchor", id="newer JSON"),
        pytest.param(_broken_json(positions=[]), "not an anchor", id="no positions"),
        pytest.param(_broken_json(positions=[1]), "not an anchor", id="positions of no use"),
        pytest.param(_broken_json(time="yesterday"), "not an anchor", id="a time"),
        pytest.param(_broken_json(head="keledger1:0"), "contradicts itself", id="another head"),
        pytest.param(_broken_line(seq=7), "contradicts itself", id="another seq"),
        pytest.param(_broken_line(seq=True), "not an anchor", id="seq is no number"),
        pytest.param(_broken_line(writer="../../etc"), "not an anchor", id="a path for a writer"),
        pytest.param(_broken_line(hash="g" * 64), "not an anchor", id="no hash"),
    ],
)
def test_what_is_no_anchor_is_refused_in_one_sentence(
    anchored: Home, tmp_path: Path, made: Callable[[Anchor], bytes], words: str
) -> None:
    path = tmp_path / "anchor"
    path.write_bytes(made(anchor(anchored)))
    with pytest.raises(UsageError, match=words) as refused:
        Anchor.read(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing", ".", "fifo", "keledger1:xyz", "a\0b", ""])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    with pytest.raises(UsageError):
        Anchor.read(name)


def test_a_changed_digit_of_a_head_is_a_slip_and_no_alarm(anchored: Home) -> None:
    head = anchor(anchored).head
    alarms = 0
    for place in range(len("keledger1:"), len(head)):
        for digit in "07af":
            if head[place] in (":", ".", ",", digit):
                continue
            try:
                Anchor.read(head[:place] + digit + head[place + 1 :])
            except UsageError:
                continue
            alarms += 1
    assert alarms == 0
