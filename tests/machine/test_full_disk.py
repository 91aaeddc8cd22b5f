"""A disk that is really full: a file system of some kilobytes in memory."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, Ledger, verify
from keledger.journal._writer import Appender
from tests.cli.support import keledger_process
from tests.journal.support import call, events, note, tree_bytes

from .conftest import Mount

pytestmark = pytest.mark.machine

PAGE_KIB = 4
ROOMY_KIB = 8192
"""Room for a price book and some calls."""


@pytest.fixture
def disk(tmp_path: Path, mount: Mount) -> Path:
    """A folder on which 16 KiB fit: folders and names cost nothing there, contents whole pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs")
    return folder


def _grow(mount: Mount, disk: Path, size_kib: int) -> None:
    mount(disk, "-o", f"remount,size={size_kib}k")


def _texts(home: Home) -> list[str]:
    return [event["data"]["text"] for event in events(home) if event["type"] == "test.noted"]


@pytest.mark.parametrize("length", [1, 100, 1000, 3000])
@pytest.mark.parametrize("size_kib", range(16, 36, PAGE_KIB))
def test_a_full_disk_refuses_what_is_new_and_harms_nothing(
    tmp_path: Path, mount: Mount, disk: Path, size_kib: int, length: int
) -> None:
    _grow(mount, disk, size_kib)
    home = Home.at(disk / "home")
    appender = Appender(home)
    acknowledged: list[str] = []
    complaints: list[str] = []
    while len(complaints) < 5 and len(acknowledged) < 200:
        text = f"{len(acknowledged)}" + "x" * length
        try:
            (Appender(home) if len(complaints) % 2 else appender).append([note(text)])
            acknowledged.append(text)
        except (AppendRefused, AppendUnknown) as error:
            complaints.append(str(error))
    assert all("make room on that disk" in said or "send it again" in said for said in complaints), complaints
    assert len(complaints) == 5
    assert set(acknowledged) <= set(_texts(home))
    before = tree_bytes(home.journal)

    _grow(mount, disk, size_kib + 32)
    appender.append([note("after")])
    Appender(home).append([note("and from another one")])
    assert [text for text in _texts(home) if text in {*acknowledged, "after"}] == [*acknowledged, "after"]
    result = verify(home)
    assert not result.damaged, result.findings
    now = tree_bytes(home.journal)
    assert all(now[name].startswith(content) for name, content in before.items())


def test_where_not_even_a_home_fits(tmp_path: Path, mount: Mount, disk: Path) -> None:
    (disk / "other").write_bytes(b"x" * 16 * 1024)
    with pytest.raises((HomeError, AppendRefused), match="make room on that disk"):
        Appender(Home.at(disk / "home")).append([note()])
    (disk / "other").unlink()
    Appender(Home.at(disk / "home")).append([note("now")])
    assert _texts(Home.at(disk / "home")) == ["now"]


def test_the_command_says_it_in_one_sentence_and_reports_go_on(tmp_path: Path, mount: Mount, disk: Path) -> None:
    _grow(mount, disk, ROOMY_KIB)
    home = Home.at(disk / "home")
    with Ledger.open(home.path) as ledger:
        ledger.record_many([call(time="2026-11-20T10:00:00Z") for _ in range(3)])
    _fill(disk)
    lines = "".join(json.dumps(call(id=f"call {number}")) + "\n" for number in range(40))
    refused = keledger_process("--home", str(home.path), "record", given=lines)
    assert refused.status == 1, refused
    assert refused.out == ""
    assert "no space left" in refused.complaint.lower()

    # The projection cannot be kept on a full disk: the reports answer from memory, all the same.
    daily = keledger_process("--home", str(home.path), "daily", "--json")
    assert daily.status == 0, daily
    # Of the refused batch a whole line may stand at the end, where the outcome was told to be unknown.
    assert daily.json["totals"]["calls"] in ((3, 4) if "may appear" in refused.complaint else (3,))
    assert keledger_process("--home", str(home.path), "sql", "SELECT count(*) AS n FROM calls").status == 0

    (disk / "filler").unlink()
    done = keledger_process("--home", str(home.path), "record", given=lines)
    assert (done.status, len(done.out.split())) == (0, 40)
    assert keledger_process("--home", str(home.path), "daily", "--json").json["totals"]["calls"] == 43
    assert keledger_process("--home", str(home.path), "verify").status == 0


def test_a_watched_call_goes_to_the_spool_and_comes_in_later(tmp_path: Path, mount: Mount, disk: Path) -> None:
    home = Home.at(disk / "home")
    _grow(mount, disk, ROOMY_KIB)
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
        _grow(mount, disk, _used_kib(disk))
        for _ in range(40):
            with ledger.call(provider="openai", model="gpt-5-mini") as watched:
                watched.complete({"usage": call()["usage_raw"], "model": "gpt-5-mini"})
        waiting = len(list(home.spool.glob("*.json")))
        assert waiting > 30
        _grow(mount, disk, ROOMY_KIB)
        ledger.record(**call())
        assert not list(home.spool.glob("*.json"))
    assert len([event for event in events(home) if event["type"] == "call.completed"]) == 42
    assert not verify(home).damaged


def _fill(disk: Path) -> None:
    """Leave not a page of room."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 1024):
            pass


def _used_kib(disk: Path) -> int:
    """What is taken, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * PAGE_KIB for path in disk.rglob("*") if path.is_file())
