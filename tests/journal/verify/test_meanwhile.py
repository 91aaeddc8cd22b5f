"""Progress that is told, and what others append and merge meanwhile."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, verify
from keledger.journal._verify import _Progress
from tests.journal.support import call

from .harms import tear_the_tail
from .support import own


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_goes_on_to_the_end_and_never_back(home: Home, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tear_the_tail(home)
    told: list[tuple[int, int]] = []
    verify(home, workers=workers, on_progress=lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for writer in home.writers() for path in home.segments(writer))
    assert told == sorted(told)
    assert len(told) > len(own(home))
    assert {total for _, total in told} == {size}
    assert told[-1] == (size, size)


def test_what_is_merged_while_verify_is_at_it_is_not_missing(home: Home, tmp_path: Path) -> None:
    """The event that names the merged writer is read, though the writer was not there when the pass began."""
    with Ledger.open(tmp_path / "new") as new:
        new.record(**call())
    (writer,) = Home.at(tmp_path / "new").writers()

    def merge(done: int, total: int) -> None:
        if writer not in home.writers():
            with Ledger.open(home.path) as ledger:
                ledger.merge(tmp_path / "new")

    found = verify(home, workers=0, on_progress=merge)
    assert found.types["merge.completed"] == 2
    assert writer not in found.writers
    assert found.findings == []


def test_progress_waits_where_a_segment_is_read_again() -> None:
    told: list[tuple[int, int]] = []
    progress = _Progress(lambda done, total: told.append((done, total)))
    one, other = Path("1"), Path("2")
    progress.expect(one, 10)
    progress.expect(other, 20)
    for path, done in ((one, 6), (one, 2), (one, 8), (other, 30), (one, 10)):
        progress.tell(path, done)
    progress.finish()
    assert told == [(6, 30), (8, 30), (28, 30), (30, 30)]


APPENDING = """
import sys
from keledger.journal import Ledger, _limits as limits
limits.SEGMENT_BYTES_MAX = 20_000
home, others = sys.argv[1], sys.argv[2]
number = 0
with Ledger.open(home) as ledger:
    while True:
        ledger.record(provider="openai", model="gpt-5-mini", usage={"input_uncached": 1})
        number += 1
        if number == 5:
            print("going", flush=True)
        if number % 10 == 0 and number < 200:
            with Ledger.open(f"{others}/{number}") as other:
                other.record(provider="openai", model="gpt-5-mini", usage={"input_uncached": 1})
            ledger.merge(f"{others}/{number}")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_found_while_another_process_appends_and_merges(home: Home, tmp_path: Path, workers: int) -> None:
    (tmp_path / "others").mkdir()
    command = [sys.executable, "-c", APPENDING, str(home.path), str(tmp_path / "others")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            before = verify(home).lines
            for look in itertools.count(1):  # until something has come while it was looked at
                found = verify(home, workers=workers)
                assert found.findings == []
                assert process.poll() is None
                if look >= 6 and found.lines > before:
                    break
        finally:
            process.send_signal(signal.SIGKILL)
