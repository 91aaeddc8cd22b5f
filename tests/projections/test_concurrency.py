"""Readers, appenders and a rebuild at once, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keledger.journal import Home
from keledger.projections import digest, open_projection, rebuild

from .support import append, call, expected, hold_to

LOOKS = 8
BATCH = 20

_HEAD = """
    import os, sys, time
    from keledger.journal import Home
    from keledger.projections import _projection, open_projection, rebuild, report_daily, run_sql
    from tests.projections.support import append, call
    home = Home.at(sys.argv[1])
    _projection.TAIL_BYTES_MAX = 64 * 1024
"""

READER = """
    calls = 0
    for _ in range(int(sys.argv[2])):
        with open_projection(home) as projection:
            report = report_daily(projection)
            for finding in report.findings:
                assert not finding.damage, finding
            assert report.totals["calls"] >= calls, (report.totals, calls)
            calls = report.totals["calls"]
            assert report.totals["cost_usd"] == str(calls * 2), report.totals
            (seq,) = report.position.values() or (0,)
            rows = run_sql(projection, "SELECT COUNT(*) AS n, SUM(usd) AS usd FROM charges").rows
            assert rows == ({"n": 2 * calls, "usd": f"{2 * calls}.000000000000" if calls else None},), rows
"""

APPENDER = """
    number = 0
    while not os.path.exists(sys.argv[2]):
        number += 1
        append(home, *(call(f"{os.getpid()} {number} {place}", usd="2") for place in range(int(sys.argv[3]))))
        time.sleep(0.01)
    print(number)
"""

REBUILDER = """
    made = 0
    while not os.path.exists(sys.argv[2]):
        rebuild(home)
        made += 1
        time.sleep(0.05)
    print(made)
"""


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process; killed if it is still there at the end."""
    root = Path(__file__).parents[2]
    source = textwrap.dedent(_HEAD) + textwrap.dedent(text)
    process = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_readers_see_no_lock_and_no_wrong_figure(home: Home, tmp_path: Path) -> None:
    append(home, call("first", usd="2"))
    over = tmp_path / "over"
    with (
        program(REBUILDER, home.path, over) as rebuilder,
        program(APPENDER, home.path, over, BATCH) as appender,
        program(APPENDER, home.path, over, BATCH) as other,
        program(READER, home.path, LOOKS) as first,
        program(READER, home.path, LOOKS) as second,
    ):
        for reader in (first, second):
            finish(reader)
        over.touch()
        batches = sum(int(finish(process)) for process in (appender, other))
        assert int(finish(rebuilder)) > 0
    wanted = expected(home)
    assert len(wanted.counted) == 1 + batches * BATCH
    hold_to(home, wanted)


@pytest.mark.parametrize("delay_s", [0.3, 0.5, 0.7])
def test_a_killed_rebuild_leaves_the_old_cache(home: Home, tmp_path: Path, delay_s: float) -> None:
    append(home, *(call(number) for number in range(2000)))
    rebuild(home)
    with open_projection(home) as projection:
        wanted = digest(projection)
    with program(REBUILDER, home.path, tmp_path / "never") as rebuilder:
        time.sleep(delay_s)
        os.kill(rebuilder.pid, signal.SIGKILL)
        rebuilder.wait()
    with open_projection(home) as projection:
        assert digest(projection) == wanted
    rebuild(home)
    assert len(list(home.projections.glob("*/layer-*"))) == 1
