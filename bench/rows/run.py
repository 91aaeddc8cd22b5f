"""A whole KePrompt run under ``keledger run`` against the same run without, and what the pieces take alone."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench._figures import Figure, difference, ratio
from bench._processes import PYTHON, keledger, run
from bench._workshop import Workshop
from keledger.cli._demo import Stage
from keledger.cli._demo import answer as demo_answer
from keledger.cli.demo import LocalProvider
from keledger.journal import Home, verify
from keledger.journal.capture import _enable

SHORT_RUNS = 4
"""What takes some ten milliseconds is run so many times as often as a KePrompt."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """A real KePrompt against the local provider of ``keledger demo``; the launcher; an enabled interpreter."""
    folder = workshop.new_folder("run")
    yield _keprompt(workshop, folder)
    yield _launcher(workshop)
    yield _enabled(workshop, folder)


def _keprompt(workshop: Workshop, folder: Path) -> Figure:
    command = [str(Path(PYTHON).with_name("keprompt")), "chat", "new", "--prompt", "hello", "--json"]
    with LocalProvider(demo_answer) as provider:
        stage = Stage.build(folder, provider.url)
        alone_s, watched_s = _in_turns(
            workshop.size.pairs, command, keledger("run", "--", *command), stage.environment, stage.workspace
        )
    journaled = verify(Home.at(stage.environment["KELEDGER_HOME"])).types["call.completed"]
    runs = len(provider.sent) // 2
    if journaled != runs:
        raise AssertionError(f"{runs} calls were watched, and {journaled} are journaled")
    value, spread = ratio(watched_s, alone_s)
    return Figure(
        "run",
        "a KePrompt run, whole process",
        value,
        "x",
        f"without keledger {1000 * statistics.median(alone_s):.0f} ms",
        spread,
        at_most=1.15,
        measured={"alone_s": statistics.median(alone_s), "watched_s": statistics.median(watched_s)},
    )


def _launcher(workshop: Workshop) -> Figure:
    command = [shutil.which("true") or "/bin/true"]
    environment = workshop.environment | {"KELEDGER_HOME": str(workshop.folder / "never-made")}
    runs = SHORT_RUNS * workshop.size.pairs
    alone_s, watched_s = _in_turns(runs, command, keledger("run", "--", *command), environment, None)
    return _added("the launcher alone", alone_s, watched_s, f"{command[0]}", 25.0)


def _enabled(workshop: Workshop, folder: Path) -> Figure:
    """Two equal environments, one with the ``.pth`` file that ``keledger keprompt enable`` writes."""
    for name in ("plain", "enabled"):
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder / name], check=True)
    site_folder = next((folder / "enabled").glob("lib/python*/site-packages"))
    client = Path(_enable.__file__).with_name("client.py")
    (site_folder / _enable.PTH_NAME).write_text(_enable.pth_text(client, PYTHON))
    plain, enabled = ([str(folder / name / "bin" / "python"), "-c", "pass"] for name in ("plain", "enabled"))
    runs = SHORT_RUNS * workshop.size.pairs
    alone_s, watched_s = _in_turns(runs, plain, enabled, workshop.environment, None)
    return _added("a python with .pth enabled, no call", alone_s, watched_s, "python -c pass", 2.0)


def _in_turns(
    rounds: int,
    alone: Sequence[str],
    watched: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None,
) -> tuple[list[float], list[float]]:
    """Seconds of each, run one after the other; the first round of both warms the disk's cache and does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for kept, command in zip(times, (alone, watched), strict=True):
            wall_s = run(command, environment, folder=folder).wall_s
            if number:
                kept.append(wall_s)
    return times


def _added(what: str, alone_s: Sequence[float], watched_s: Sequence[float], floor: str, at_most: float) -> Figure:
    alone_ms, watched_ms = ([1000 * time_s for time_s in times_s] for times_s in (alone_s, watched_s))
    value, spread = difference(watched_ms, alone_ms)
    return Figure(
        "run",
        f"{what}, added",
        value,
        "ms",
        f"{floor} {statistics.median(alone_ms):.1f} ms",
        spread,
        at_most=at_most,
        measured={"alone_ms": statistics.median(alone_ms), "watched_ms": statistics.median(watched_ms)},
    )
