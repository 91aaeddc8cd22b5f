"""The command itself, on a part of its work that every test run can afford."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from keledger.journal import Home

from ._work import acknowledged

EVENTS = 20_000


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.endurance", "--events", str(EVENTS), "--folder", str(folder), *options]
    return subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=300
    )


def test_killed_processes_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    done = _run(tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "every promise held"
    kills = re.search(r"^kill -9 +(\d+)", done.stdout, re.MULTILINE)
    assert kills is not None
    assert int(kills[1]) > 5


def test_the_reckoning_sees_a_lost_call(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert _run(folder, "--events", "200", "--processes", "2").returncode == 0
    home = Home.at(folder / "home")
    (writer,) = (writer for writer in home.writers() if home.segments(writer))  # a kill may leave one that never wrote
    path = home.segments(writer)[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    again = _run(folder, "--events", "200", "--processes", "2", "--reckon")
    assert again.returncode == 1
    assert "WRONG  acknowledged calls lost: 1, not 0" in again.stdout


def test_what_was_acknowledged_is_the_last_whole_line(tmp_path: Path) -> None:
    told = tmp_path / "told"
    assert acknowledged(told) == 0
    told.write_bytes(b"3\n17\n2")
    assert acknowledged(told) == 17
